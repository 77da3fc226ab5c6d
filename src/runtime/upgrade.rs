//! svinit executes what is in its place on the disk, and that goes on where this one stopped.
//!
//! First the other program tests itself with a copy of the state; then nothing more is read or written, the state is
//! written down once more, and the program takes our place. Until that call comes back, which it does only with an error,
//! nothing has changed that could not be taken up again. Signals are blocked all the while and wait; so do children that
//! end, and connections to whatever listens.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::lifecycle::state::Phase;
use crate::lifecycle::time::Time;
use crate::os::binary::Binary;
use crate::os::cgroup::{Cgroups, Places};
use crate::os::clock;
use crate::os::crash::Vault;
use crate::os::handover::{Left, Luggage, execute};
use crate::os::haste;
use crate::runtime::clients::Clients;
use crate::runtime::driver::Driver;
use crate::runtime::handle::{Extent, JobNumbers, Upgrade, UpgradeNote};
use crate::runtime::handover::{Before, Document, Fit, Header, Place, Summons, VERSION};
use crate::runtime::ledger::{Ledger, Turn};
use crate::runtime::rehearsal::{RECOVER, RESUME, Rehearsal, SAFE, SELFTEST};
use crate::runtime::unknown::{Unclaimed, Unknown};
use crate::units::source::Source;
use crate::units::spec::LogLevel;

/// Until the threads that write have come to rest. A pipe that nobody reads is no hindrance; a disk that hangs is.
const REST_MAX: Duration = Duration::from_secs(1);

/// For clients that are in the middle of a request; then they lose their connection.
const SETTLE_MAX: Duration = Duration::from_millis(100);

/// Turns that the servers get, to pass on what they were told.
const LAST_TURNS: usize = 16;

/// Between two looks at them.
const SETTLE_EVERY: Duration = Duration::from_millis(1);

/// After an upgrade, SIGUSR2 means the one that was, for so long: a signal can be sent without end.
const USR2_APART: Duration = Duration::from_secs(1);

/// What the next svinit needs beside what the driver owns.
pub(super) struct Surroundings {
    /// The program that runs; `None` where that cannot be told.
    pub(super) program: Option<Arc<Binary>>,
    /// How often svinit has executed itself.
    pub(super) upgrades: u64,
    /// When this program began.
    pub(super) began: Time,
    pub(super) sources: Vec<Source>,
    pub(super) control: Option<(OwnedFd, PathBuf)>,
    pub(super) http: Option<OwnedFd>,
    pub(super) remote: Option<OwnedFd>,
    pub(super) groups: Places,
    pub(super) clients: Clients,
    pub(super) jobs: JobNumbers,
    /// What a fault ends in until then.
    pub(super) before: Option<Before>,
    /// When svinit went on after faults of its own.
    pub(super) recoveries: Vec<Time>,
    /// What a later svinit knew.
    pub(super) unknown: Unknown,
    /// And the descriptors that this is about.
    pub(super) unclaimed: Unclaimed,
}

/// Who is to be told what came of it.
type Notes = UnboundedSender<UpgradeNote>;

/// An upgrade that was asked for.
pub(super) struct Asked {
    program: Binary,
    extent: Extent,
    notes: Option<Notes>,
    by: String,
    /// Carried out then at the latest.
    until: Time,
}

/// The arguments of this process, without what is between one svinit and the next.
pub(super) fn own_args() -> Vec<OsString> {
    let is_ours = |arg: &OsString| {
        arg.to_str()
            .is_some_and(|text| [RESUME, SELFTEST, RECOVER, SAFE].iter().any(|start| text.starts_with(start)))
    };
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(is_ours) {
        args.remove(1);
    }
    args
}

/// The same with `RESUME` and what follows it in front.
#[must_use]
pub fn args_with(summons: &str) -> Vec<OsString> {
    args_behind(format!("{RESUME}{summons}"))
}

/// The same with this in front.
pub(super) fn args_behind(first: String) -> Vec<OsString> {
    let mut args = own_args();
    args.insert(SUMMONS_AT.min(args.len()), first.into());
    args
}

/// Its place among the arguments.
pub(super) const SUMMONS_AT: usize = 1;

impl Driver {
    /// Somebody wants what is on the disk by now. It is tested first.
    pub(super) fn on_upgrade_asked(&mut self, by: String, extent: Extent, notes: Option<Notes>) {
        let told = match self.begin_upgrade() {
            Ok(program) => {
                self.asked = Some(Asked { program, extent, notes, by, until: Time::NEVER });
                return;
            }
            Err(why) => why,
        };
        self.refuse_upgrade(&by, notes.as_ref(), told);
    }

    /// SIGUSR2 has come.
    pub(super) fn on_usr2(&mut self) {
        let began = self.surroundings.began;
        if self.surroundings.upgrades == 0 || clock::now().since(began) >= USR2_APART {
            self.on_upgrade_asked("SIGUSR2".to_owned(), Extent::Change, None);
        } else {
            self.hands.tally.signals_ignored += 1;
        }
    }

    /// When something about an upgrade is to be looked at again.
    pub(super) fn upgrade_due(&self) -> Option<Time> {
        let settling = self.approved.as_ref().map(|_| clock::now().after(SETTLE_EVERY));
        settling.or_else(|| self.hands.rehearsal.as_ref().map(Rehearsal::by))
    }

    fn refuse_upgrade(&mut self, by: &str, notes: Option<&Notes>, why: String) {
        let text = format!("no upgrade ({by}): {why}; everything goes on as it was");
        self.hands.pump.say(None, LogLevel::Warn, &text);
        if let Some(notes) = notes {
            let _ = notes.send(UpgradeNote::Refused(why));
        }
    }

    fn begin_upgrade(&mut self) -> Result<Binary, String> {
        if self.supervisor.phase() == Phase::Stopping {
            return Err("svinit is shutting down".to_owned());
        }
        if self.asked.is_some() || self.approved.is_some() {
            return Err("another upgrade is under way".to_owned());
        }
        let own = self.surroundings.program.as_ref().ok_or("there is no /proc to find the program by")?;
        let program = own.on_disk().map_err(|error| error.to_string())?;
        let (mut document, luggage) = self.document().ok_or("there is no /proc to find the program by")?;
        let state = document.pack(&luggage)?;
        self.hands.rehearse(&program, state).map_err(|error| error.to_string())?;
        Ok(program)
    }

    /// Looks whether a test has ended. What has passed is carried out when this turn is over.
    pub(super) fn look_at_rehearsal(&mut self) {
        let Some(rehearsal) = &mut self.hands.rehearsal else { return };
        rehearsal.on_time(clock::now());
        if rehearsal.status.is_none() {
            return;
        }
        let (Some(rehearsal), Some(asked)) = (self.hands.rehearsal.take(), self.asked.take()) else { return };
        let path = asked.program.path().display().to_string();
        match rehearsal.result().and_then(|fit| fit.not_older_than(VERSION)) {
            Ok(fit) => {
                let upgrade = self.about(&fit);
                if let Some(notes) = &asked.notes {
                    let _ = notes.send(UpgradeNote::Fit(upgrade));
                }
                if asked.extent == Extent::Change {
                    self.approved = Some(Asked { until: clock::now().after(SETTLE_MAX), ..asked });
                }
            }
            Err(why) => {
                let why = format!("{path} cannot take over: {why}");
                self.refuse_upgrade(&asked.by, asked.notes.as_ref(), why);
            }
        }
    }

    fn about(&self, fit: &Fit) -> Upgrade {
        Upgrade { from: VERSION.to_owned(), to: fit.svinit.clone(), upgrades: self.surroundings.upgrades + 1 }
    }

    /// Carries out an upgrade whose test has passed. Comes back only when it could not be.
    pub(super) async fn upgrade(&mut self) {
        let Some(asked) = self.approved.take() else { return };
        self.surroundings.clients.settle(true);
        // What was told in this turn is passed on first.
        for _ in 0..LAST_TURNS {
            tokio::task::yield_now().await;
        }
        if clock::now() < asked.until && !self.surroundings.clients.are_settled() {
            // Who is being answered is answered first, and units are looked after meanwhile.
            self.approved = Some(asked);
            return;
        }
        let Asked { program, by, notes, .. } = asked;
        if self.supervisor.phase() == Phase::Stopping {
            self.surroundings.clients.settle(false);
            return self.refuse_upgrade(&by, notes.as_ref(), "svinit is shutting down".to_owned());
        }
        let niceness = haste::begin();
        let why = self.execute(&program, niceness);
        if let Some(niceness) = niceness {
            haste::end(niceness);
        }
        self.hands.pump.go_on();
        self.surroundings.clients.settle(false);
        self.refuse_upgrade(&by, notes.as_ref(), why);
    }

    fn execute(&mut self, program: &Binary, niceness: Option<i32>) -> String {
        let stopped = clock::now();
        if !self.hands.pump.rest(REST_MAX) {
            return "a disk with log files does not answer".to_owned();
        }
        let Some((mut document, luggage)) = self.document() else {
            return "there is no /proc to find the program by".to_owned();
        };
        document.header.stopped = stopped;
        document.header.niceness = niceness;
        let state = match document.pack(&luggage) {
            Ok(state) => state,
            Err(why) => return why,
        };
        let mut luggage = luggage;
        luggage.fd(&state);
        let own = self.surroundings.program.as_deref();
        let summons = own.map_or_else(String::new, |own| Summons::text(&state, own));
        luggage.keep();
        let error = execute(program.as_fd(), args_with(&summons));
        luggage.keep_no_more();
        format!("cannot execute {}: {error}", program.path().display())
    }

    /// Everything that the next svinit needs.
    fn document(&mut self) -> Option<(Document, Luggage)> {
        let mut luggage = Luggage::default();
        let (mut header, place) = self.about_itself(&mut luggage)?;
        header.upgrades += 1;
        let clients = self.surroundings.clients.save(&mut luggage);
        let (hands, logs) = (self.hands.save(&mut luggage), self.hands.pump.save(&mut luggage));
        header.kept = luggage.fds();
        let (sources, coming) = (self.texts(), self.texts_to_come());
        let machine = self.supervisor.save();
        let unknown = self.surroundings.unknown.clone();
        Some((Document { header, sources, coming, machine, hands, logs, place, clients, unknown }, luggage))
    }

    fn about_itself(&mut self, luggage: &mut Luggage) -> Option<(Header, Place)> {
        self.surroundings.unclaimed.pack(&self.surroundings.unknown, luggage);
        let own = self.surroundings.program.as_deref()?;
        let (program, path) = (luggage.fd(own), own.path().to_owned());
        let info = self.board.info();
        let place = Place {
            control: self.surroundings.control.as_ref().map(|(fd, path)| (luggage.door(fd), path.clone())),
            http: self.surroundings.http.as_ref().map(|fd| luggage.door(fd)),
            remote: self.surroundings.remote.as_ref().map(|fd| luggage.fd(fd)),
            dir: self.hands.setting.dir.clone(),
            given: self.hands.setting.given,
            started: info.started,
            wall_us_at_start: info.wall_us_at_start,
            groups: self.surroundings.groups.clone(),
            own_group: self.hands.cgroups.as_ref().map(Cgroups::save),
            change_id: self.board.change_id(),
            job_id: self.surroundings.jobs.last(),
        };
        let header = Header {
            version: VERSION.to_owned(),
            kept: Vec::new(),
            program,
            path,
            stopped: clock::now(),
            niceness: None,
            upgrades: self.surroundings.upgrades,
            recoveries: self.surroundings.recoveries.clone(),
            heard: None,
        };
        Some((header, place))
    }

    /// From here on a fault of svinit's own is not the end of it.
    pub(super) fn prepare_for_crash(&mut self) {
        let Some(program) = self.surroundings.program.as_deref() else { return };
        let opened = Vault::open(program, |state| args_behind(format!("{RECOVER}{state}")), SUMMONS_AT);
        match opened {
            Ok(vault) => {
                self.supervisor.nothing_is_saved();
                self.ledger = Some(Ledger::new(vault, &self.texts(), &self.texts_to_come()));
            }
            Err(error) => self.hands.pump.say(None, LogLevel::Warn, &error.to_string()),
        }
        self.keep_current();
        // There is a state of our own from here on.
        self.surroundings.before = None;
    }

    /// Of what is left when everything has been taken over, what only a later svinit knows the use of stays open.
    pub(super) fn keep_unclaimed(&mut self, left: &mut Left) {
        self.surroundings.unclaimed = Unclaimed::of(&self.surroundings.unknown, left);
    }

    /// Writes down how things are, when something has changed.
    pub(super) fn keep_current(&mut self) {
        let Some(mut ledger) = self.ledger.take() else { return };
        if std::mem::take(&mut self.is_renewed) {
            ledger.set_sources(&self.texts(), &self.texts_to_come());
        }
        let mut luggage = Luggage::default();
        let heard = ledger.pack_itself(&mut luggage);
        if let Some((mut header, place)) = self.about_itself(&mut luggage) {
            let (hands, logs) = (self.hands.save(&mut luggage), self.hands.pump.save_pipes(&mut luggage));
            header.kept = luggage.fds();
            header.heard = Some(heard);
            // Without memory the state before stays, which is the best that there is then.
            let turn = Turn { header, place, hands, logs, luggage };
            let _ = ledger.write(&mut self.supervisor, &turn, &mut self.surroundings.unknown);
        }
        self.ledger = Some(ledger);
    }
}
