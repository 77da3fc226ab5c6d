//! What recovery is told, and what it wishes: facts in the past tense, wishes in the imperative.

use std::sync::Arc;

use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::recovery::tally::Came;

/// Milliseconds since the manager was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// One try at something, so that a late answer to an old one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// How an instance is, as far as anybody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It serves.
    Well,
    /// It runs and does not do what it should.
    Ill(String),
    /// It has ended or is being started, and its svinit is about to have it up again.
    Coming(String),
    /// It has ended, and nobody will start it.
    Down(String),
    /// A person has stopped or paused it, or its container.
    Held(String),
    /// It cannot be looked at, which says nothing about it.
    Unseen(String),
    /// It was ill or had ended, and there is no way to it any more: nobody can do anything about it.
    Lost(String),
    /// It is no instance any more.
    Gone,
}

impl Sign {
    /// It needs something to be done, sooner or later.
    #[must_use]
    pub const fn is_sick(&self) -> bool {
        matches!(self, Self::Ill(_) | Self::Coming(_) | Self::Down(_) | Self::Lost(_))
    }

    /// In a word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Ill(_) => "ill",
            Self::Coming(_) => "coming",
            Self::Down(_) => "down",
            Self::Held(_) => "held",
            Self::Unseen(_) => "unseen",
            Self::Lost(_) => "lost",
            Self::Gone => "gone",
        }
    }

    /// Why; empty when there is nothing to say.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Well | Self::Gone => "",
            Self::Ill(why)
            | Self::Coming(why)
            | Self::Down(why)
            | Self::Held(why)
            | Self::Unseen(why)
            | Self::Lost(why) => why,
        }
    }
}

/// Why an action did not do what it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This cannot be done with it; the next rung can.
    NotApplicable(String),
    /// A person has stopped it.
    Held(String),
    /// It was tried.
    Failed(String),
}

/// An instance that needs somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailing {
    /// Of this service.
    pub service: Arc<str>,
    /// Which of them.
    pub instance: Arc<str>,
    /// How it is, as far as anybody knows.
    pub sign: Sign,
}

/// Something that was tried since a service is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// With which instance.
    pub instance: Arc<str>,
    /// What.
    pub rung: Rung,
    /// What came of it.
    pub came: Came,
    /// Why.
    pub why: String,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An instance looks like this.
    Seen {
        /// Of this service.
        service: Arc<str>,
        /// Which of them.
        instance: Arc<str>,
        /// How.
        sign: Sign,
    },
    /// A second look has been taken.
    Confirmed {
        /// Of this service.
        service: Arc<str>,
        /// Which was asked for.
        attempt: Attempt,
        /// It is ill, and why; `None`: it is not.
        ill: Option<String>,
    },
    /// An action has ended.
    Done {
        /// Of this service.
        service: Arc<str>,
        /// Which was asked for.
        attempt: Attempt,
        /// How.
        result: Result<(), Failure>,
    },
    /// A person wants it left alone until then; `None` is every service.
    Paused {
        /// Which.
        service: Option<Arc<str>>,
        /// How long.
        until: Time,
    },
    /// The end of that.
    Resumed {
        /// Which.
        service: Option<Arc<str>>,
    },
    /// A person wants it restarted now.
    Asked {
        /// Which.
        service: Arc<str>,
        /// What is to be done.
        rung: Rung,
        /// Who it was.
        who: String,
    },
    /// Another file says what may be done about it. Not while an action on it runs.
    Ruled {
        /// Which; it need not be known yet.
        service: Arc<str>,
        /// This; `None`: it is not looked after any more.
        policy: Option<Policy>,
    },
    /// This manager is the one that acts, or is not any more.
    Led(bool),
    /// A deadline may have passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Look again, by another kind of check; answer with [`Fact::Confirmed`].
    Confirm {
        /// Of this service.
        service: Arc<str>,
        /// Which of them.
        instance: Arc<str>,
        /// To be named in the answer.
        attempt: Attempt,
    },
    /// Do this; answer with [`Fact::Done`].
    Act {
        /// Of this service.
        service: Arc<str>,
        /// Which of them.
        instance: Arc<str>,
        /// What.
        rung: Rung,
        /// To be named in the answer.
        attempt: Attempt,
    },
    /// Requests for it are to wait.
    Park(Arc<str>),
    /// They are let go.
    Unpark(Arc<str>),
    /// People are to be told.
    Alert {
        /// About this service; `None`: all of them.
        service: Option<Arc<str>>,
        /// What, with all of the following in words.
        why: String,
        /// Whom it is about.
        ailing: Vec<Ailing>,
        /// What has not helped, the oldest first.
        tried: Vec<Tried>,
    },
    /// This was decided, and why: a line of the audit log.
    Note {
        /// About this service; `None`: all of them.
        service: Option<Arc<str>>,
        /// One word.
        decision: &'static str,
        /// In words.
        why: String,
    },
}
