//! Recovery as it runs: looks at services, tells the machine, and carries out what it wishes.
//!
//! It decides nothing: [`crate::manager::recovery::machine`] does. Three things tell it how an instance is: svinit's stream of
//! events (`watch`; a crash is known when it happens), the gateway's own checks, and svinit's answer when it is asked
//! (`second_look`). `known` brings them to one sign, `hands` carries wishes out, `rounds` is the loop.

mod ears;
pub(in crate::manager) mod halted;
mod hands;
pub(in crate::manager) mod known;
pub mod patient;
mod rounds;
mod second_look;
pub mod surroundings;
mod watch;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::api::command::Outcome;
use crate::manager::gate::Gate;
use crate::manager::news::News;
use crate::manager::reach::Instance;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::machine::View;
use crate::manager::recovery::policy::Rung;
use crate::manager::repair::patient::Patient;
use crate::manager::repair::patient::Roster;
use crate::manager::repair::rounds::Rounds;
use crate::manager::repair::surroundings::Surroundings;

/// Questions of people that may wait; who asks waits then.
const ASKS_MAX: usize = 64;

/// Where lines for people go.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What a person asks of it. `who` is for the audit log.
pub enum Ask {
    /// How everything stands.
    Overview(oneshot::Sender<Overview>),
    /// That this is done now.
    Act {
        /// With which service.
        service: Arc<str>,
        /// What.
        rung: Rung,
        /// Who it is.
        who: String,
        /// Told when it has ended, or is refused.
        answer: oneshot::Sender<Acted>,
    },
    /// That nothing is done for so long.
    Pause {
        /// With which service; `None`: all of them.
        service: Option<Arc<str>>,
        /// How long.
        length: Duration,
        /// Who it is.
        who: String,
    },
    /// The end of that.
    Resume {
        /// Of which service; `None`: of the pause of all.
        service: Option<Arc<str>>,
        /// Who it is.
        who: String,
    },
    /// That these are looked after from now on, and nobody else: the manager's file says so.
    LookAfter(Roster),
    /// That this is remembered: it was asked of svinit itself.
    Note {
        /// About which service.
        service: Arc<str>,
        /// What it was, and who.
        why: String,
    },
}

/// How everything stands.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Each service that is looked after.
    pub views: Vec<View>,
    /// This manager acts.
    pub is_leader: bool,
    /// Half of everything is ill, so nothing is touched.
    pub is_frozen: bool,
    /// How often that came to pass.
    pub freezes: u64,
    /// How often each service was found ill, and by whom.
    pub detections: BTreeMap<Arc<str>, Detections>,
    /// All of them are left alone until then.
    pub paused_until: Option<Time>,
    /// When this was so.
    pub now: Time,
}

/// How often a service was found not to be well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detections {
    /// Its svinit has said so, when it happened.
    pub push: u64,
    /// A check of the gateway's has found it, when it was made.
    pub poll: u64,
}

/// What came of [`Ask::Act`].
#[derive(Clone, Debug)]
pub enum Acted {
    /// It was not tried, for this reason.
    Refused(String),
    /// It was tried.
    Ended {
        /// Where.
        instance: String,
        /// Whether it was of use.
        result: Result<(), Failure>,
        /// In svinit's own words, if it has said any.
        outcome: Option<Outcome>,
    },
}

/// For who asks.
pub type Asks = mpsc::Sender<Ask>;

/// What the tasks tell.
enum Told {
    /// By a watch of `patient`; what one says whose patient was replaced meanwhile is passed over.
    Pushed {
        patient: Arc<Patient>,
        instance: Instance,
        sign: Sign,
    },
    /// There is no way to an instance of it.
    Cut {
        patient: Arc<Patient>,
        instance: Instance,
        why: String,
    },
    Fact(Fact),
}

/// Begins to look after those of `roster`; ends when the runtime does. What can be asked goes through the answer.
#[must_use]
pub fn start(roster: Roster, gate: Gate, around: Surroundings, news: News, say: Say) -> Asks {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    tokio::spawn(Rounds { roster, gate, around, news, say }.run(asked));
    asks
}
