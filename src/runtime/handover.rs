//! The document that one svinit leaves to the next: everything it knows, in sections, each with an owner.
//!
//! Units are in it as the texts that were read, so that the next svinit reads them with its own reader; what they were
//! expanded with, the environment, it inherits. What it does not know it passes on ([`Unknown`]). A document of a newer format
//! is refused, and with it the program that it was meant for, before anything has changed.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lifecycle::event::Event;
use crate::lifecycle::saved::Saved;
use crate::lifecycle::time::Time;
use crate::logs::pump::SavedLogs;
use crate::os::binary::Binary;
use crate::os::cgroup::{Places, SavedCgroups};
use crate::os::crash;
use crate::os::handover::{Kept, Left, Luggage, Parcel};
use crate::os::own::Given;
use crate::runtime::clients::SavedClient;
use crate::runtime::rehearsal::{RESUME, SAFE};
use crate::runtime::saved::SavedHands;
use crate::runtime::unknown::Unknown;
use crate::runtime::upgrade::{SUMMONS_AT, args_behind};
use crate::units::source::Source;

/// The format that is written. What reads a format reads all before it.
pub const FORMAT: u32 = 1;

/// This svinit.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything.
#[derive(Serialize, Deserialize)]
pub struct Document {
    /// Who wrote it, and what it takes to take over.
    pub header: Header,
    /// The units, as they were read.
    pub sources: Vec<Source>,
    /// Those that an update was read from which not every unit has taken over: all of them, or none.
    #[serde(default)]
    pub coming: Vec<Source>,
    /// What happens to them.
    pub machine: Saved,
    /// With what.
    pub hands: SavedHands,
    /// What they say.
    pub logs: SavedLogs,
    /// Where all this is.
    pub place: Place,
    /// Who waits for the rest of an answer.
    #[serde(default)]
    pub clients: Vec<SavedClient>,
    /// Of a later svinit.
    #[serde(skip)]
    pub unknown: Unknown,
}

/// Who wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Its version.
    pub version: String,
    /// The descriptors that are left open.
    pub kept: Vec<Kept>,
    /// Its program, to go back to.
    pub program: Kept,
    /// Where that was started from.
    pub path: PathBuf,
    /// When it stopped to listen.
    pub stopped: Time,
    /// How nice it was before it hurried; see [`crate::os::haste`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub niceness: Option<i32>,
    /// How often svinit has been upgraded, this time included.
    pub upgrades: u64,
    /// When it went on after faults of its own, as far back as it matters.
    #[serde(default)]
    pub recoveries: Vec<Time>,
    /// For a crash: where it stands what was heard since, and the number of this state.
    #[serde(default)]
    pub heard: Option<(Kept, u64)>,
}

/// Where svinit is and what it holds open for itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// The control socket, with its path.
    pub control: Option<(Kept, PathBuf)>,
    /// The listener of `/health`.
    pub http: Option<Kept>,
    /// The listener of the control API over TCP.
    #[serde(default)]
    pub remote: Option<Kept>,
    /// For notify sockets and credentials.
    pub dir: PathBuf,
    /// The limits that the first svinit was given.
    pub given: Given,
    /// When the first svinit was started.
    pub started: Time,
    /// What the wall clock showed then.
    pub wall_us_at_start: i64,
    /// The control groups that it was started in.
    pub groups: Places,
    /// And the one that it has made, if it could.
    pub own_group: Option<SavedCgroups>,
    /// The number of the latest change that was told.
    pub change_id: u64,
    /// And of the latest command.
    pub job_id: u64,
}

/// What a program says of itself that has tested whether it could take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// Its version.
    pub svinit: String,
    /// The newest format that it reads.
    pub format: u32,
    /// The units that it would go on with.
    pub units: usize,
}

impl Fit {
    /// Itself, unless it is of an older svinit than `version`: that would lose what it does not know of.
    ///
    /// # Errors
    /// In words, which is which.
    pub fn not_older_than(self, version: &str) -> Result<Self, String> {
        // What comes behind the three numbers makes no difference that matters here.
        let numbers = |text: &str| -> Vec<u64> {
            text.split(|c: char| !c.is_ascii_digit()).take(3).map(|part| part.parse().unwrap_or(0)).collect()
        };
        if numbers(&self.svinit) < numbers(version) {
            let theirs = &self.svinit;
            return Err(format!(
                "it is svinit {theirs}, and {version} runs here: an older one takes a new start of the container"
            ));
        }
        Ok(self)
    }
}

impl Document {
    /// Reads what is in the file.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn open(file: OwnedFd) -> Result<(Self, Parcel), String> {
        let parcel = Parcel::open(file, FORMAT)?;
        let document = Self::read(&parcel.text);
        Ok((document.map_err(|error| format!("the state is not what it should be: {error}"))?, parcel))
    }

    fn read(text: &str) -> serde_json::Result<Self> {
        let document: Self = serde_json::from_str(text)?;
        let known = serde_json::to_string(&document)?;
        if known == text {
            return Ok(document);
        }
        let (read, known): (Value, Value) = (serde_json::from_str(text)?, serde_json::from_str(&known)?);
        Ok(Self { unknown: Unknown::between(read, &known), ..document })
    }

    /// In JSON, with what is not known.
    fn text(&mut self) -> serde_json::Result<String> {
        let mut unknown = std::mem::take(&mut self.unknown);
        if unknown.is_empty() {
            return serde_json::to_string(self);
        }
        let mut value = serde_json::to_value(&*self)?;
        unknown.fill(&mut value);
        self.unknown = unknown;
        Ok(value.to_string())
    }

    /// Writes it down with its luggage.
    ///
    /// # Errors
    /// In words: there is no memory or no descriptor left.
    pub fn pack(&mut self, luggage: &Luggage) -> Result<OwnedFd, String> {
        let text = self.text().map_err(|error| format!("cannot write down the state: {error}"))?;
        luggage.pack(FORMAT, &text).map_err(|error| error.to_string())
    }
}

/// What was left to us, read and found good.
pub struct Arrival {
    /// How it came to that.
    pub how: How,
    /// What a fault ends in until there is a state of our own.
    pub before: Option<Before>,
    /// The document.
    pub document: Document,
    /// Bytes beside it.
    pub parcel: Parcel,
    /// Descriptors.
    pub left: Left,
    /// What was heard since, in a crash.
    pub heard: Vec<Event>,
}

/// The state that was left, and the program that is to go on with it should this one crash before it has one of its own:
/// the one that it came from, or this one itself in the safest way.
pub struct Before {
    _state: OwnedFd,
    _program: OwnedFd,
}

impl Before {
    fn prepare(state: OwnedFd, program: Option<OwnedFd>, kept: &[Kept]) -> Option<Self> {
        let (start, program) = match program {
            Some(program) => (RESUME, program),
            None => (SAFE, std::fs::File::open("/proc/self/exe").ok()?.into()),
        };
        let args = args_behind(format!("{start}{}::", state.as_raw_fd()));
        let own = [Kept::of_number(state.as_raw_fd()), Kept::of_number(program.as_raw_fd())];
        let highest = kept.iter().chain(&own).max().copied()?;
        crash::prepare(program.as_fd(), args, SUMMONS_AT, highest);
        Some(Self { _state: state, _program: program })
    }
}

/// How one svinit came to go on with what another has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// As planned.
    Upgrade,
    /// The program that was to take over could not, for this reason: the one before goes on.
    Return(String),
    /// After a fault of its own: which.
    Crash(String),
}

/// Where the state is, by number: `STATE[:PROGRAM[:WHY]]`, as one svinit tells the next on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summons {
    state: i32,
    /// To go back to; none for the one that was gone back to.
    program: Option<i32>,
    why: Option<String>,
}

impl Summons {
    /// Reads it; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let state = parts.next()?.parse().ok().filter(|fd| *fd > 2)?;
        let program = parts.next().and_then(|text| text.parse().ok()).filter(|fd| *fd > 2);
        let why = parts.next().map(str::to_owned);
        Some(Self { state, program, why })
    }

    /// For the svinit that is to take over.
    #[must_use]
    pub fn text(state: &OwnedFd, program: &Binary) -> String {
        format!("{}:{}", state.as_raw_fd(), program.as_fd().as_raw_fd())
    }

    /// Reads the document and has `check` look at it; then takes all descriptors that were left. When it cannot be read or
    /// does not please, everything stays as it was.
    ///
    /// # Errors
    /// In words, why not.
    pub fn follow<T>(
        &self,
        is_crash: bool,
        check: impl FnOnce(&Document) -> Result<T, String>,
    ) -> Result<(Arrival, T), String> {
        let none = || "nothing was left to go on with".to_owned();
        let file = Left::one(Kept::of_number(self.state)).ok_or_else(none)?;
        let copy = file.try_clone().map_err(|error| format!("the state cannot be read: {error}"));
        // It must stay open: should this not work out, another will read it.
        let _ = file.into_raw_fd();
        let (document, parcel) = Document::open(copy?)?;
        let checked = check(&document)?;
        let state = Kept::of_number(self.state);
        let mut left = Left::take(document.header.kept.iter().copied().chain([state]));
        let state = left.fd(state).ok_or_else(none)?;
        let program = self.program.and_then(|fd| left.fd(Kept::of_number(fd)));
        let heard = document.header.heard.and_then(|(file, number)| {
            let words = crash::heard(&left.fd(file)?.into(), number)?;
            serde_json::from_str(&words).ok()
        });
        let heard = heard.unwrap_or_default();
        let before = Before::prepare(state, program, &document.header.kept);
        let how = match (&self.why, is_crash) {
            (why, true) => How::Crash(why.clone().unwrap_or_default()),
            (Some(why), false) => How::Return(why.clone()),
            (None, false) => How::Upgrade,
        };
        Ok((Arrival { how, before, document, parcel, left, heard }, checked))
    }

    /// The state, for one who only tests whether it could go on with it.
    #[must_use]
    pub fn state(&self) -> Option<OwnedFd> {
        Left::one(Kept::of_number(self.state))
    }

    /// The listeners at which people ask how it stands, for one who cannot read the rest.
    #[must_use]
    pub fn doors(&self) -> Vec<OwnedFd> {
        let copy = |state: OwnedFd| {
            let copy = state.try_clone().ok();
            // It must stay open.
            let _ = state.into_raw_fd();
            copy
        };
        let doors = self.state().and_then(copy).map(Parcel::doors).unwrap_or_default();
        doors.into_iter().filter_map(Left::one).collect()
    }

    /// Whether there is a state at all, whatever is in it: else nobody has left anything.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state().map(IntoRawFd::into_raw_fd).is_some()
    }

    /// Gives way to the program that left all this, since this one cannot go on with it. Comes back only if that cannot be.
    pub fn go_back(&self, why: &str, args: impl FnOnce(String) -> Vec<std::ffi::OsString>) {
        let Some(program) = self.program.and_then(|fd| Left::one(Kept::of_number(fd))) else { return };
        let plain: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = crate::os::handover::execute(program.as_fd(), args(format!("{}::{plain}", self.state)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::state::Label;
    use crate::lifecycle::supervisor::Supervisor;
    use crate::runtime::boot;
    use crate::units::name::UnitName;
    use crate::units::reading;
    use crate::units::spec::UnitSet;

    /// The first format as it was written by the first svinit that could. It is never written again: whoever comes later
    /// must read it.
    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/state-1");

    #[test]
    fn an_older_svinit_does_not_take_over() {
        let fit = |svinit: &str| Fit { svinit: svinit.to_owned(), format: FORMAT, units: 1 };
        for newer in ["1.2.3", "1.2.4", "1.10.0", "2.0.0", "1.2.3-rc.1"] {
            assert!(fit(newer).not_older_than("1.2.3").is_ok(), "{newer}");
        }
        for older in ["1.2.2", "1.1.9", "0.9.9", "", "none"] {
            let why = fit(older).not_older_than("1.2.3").unwrap_err();
            assert!(why.contains("and 1.2.3 runs here"), "{older}: {why}");
        }
        assert!(fit(VERSION).not_older_than(VERSION).is_ok());
    }

    #[test]
    fn the_first_format_is_read_for_ever() {
        let parcel = Parcel::parse(GOLDEN, FORMAT).unwrap();
        let document: Document = serde_json::from_str(&parcel.text).unwrap();
        let Ok(reading) = reading::read(&document.sources, &|_| None) else { panic!("its units are read") };
        let settings = boot::settings(&reading.daemon, 0);
        let machine =
            Supervisor::restore(document.machine, &reading.set, &UnitSet::default(), settings).unwrap();
        let label = |unit: &str| machine.view(&UnitName::new(unit).unwrap()).unwrap().label;
        let labels = ["bad", "checked", "deaf", "held", "job", "slow", "web"].map(label);
        let wanted = [
            Label::Backoff,
            Label::Ready,
            Label::Stopping,
            Label::Inactive,
            Label::Completed,
            Label::Starting,
            Label::Waiting,
        ];
        assert_eq!(labels, wanted);
    }

    #[test]
    fn what_a_later_svinit_has_written_is_passed_on() {
        let text = Parcel::parse(GOLDEN, FORMAT).unwrap().text;
        let mut later: Value = serde_json::from_str(&text).unwrap();
        let at =
            ["", "/header", "/machine", "/machine/units/web", "/machine/common", "/hands/runs/0", "/place"];
        for (number, at) in at.into_iter().enumerate() {
            later.pointer_mut(at).unwrap()["later"] = serde_json::json!({ "number": number });
        }
        let mut document = Document::read(&later.to_string()).unwrap();
        let again: Value = serde_json::from_str(&document.text().unwrap()).unwrap();
        for (number, at) in at.into_iter().enumerate() {
            assert_eq!(again.pointer(at).unwrap()["later"]["number"], number, "{at} in {again}");
        }
    }

    #[test]
    fn of_what_this_svinit_has_written_it_knows_everything() {
        let text = Parcel::parse(GOLDEN, FORMAT).unwrap().text;
        let mut document = Document::read(&text).unwrap();
        assert_eq!(document.unknown, Unknown::default());
        let again = document.text().unwrap();
        assert_eq!(Document::read(&again).unwrap().text().unwrap(), again);
    }

    #[test]
    fn a_summons_is_read_as_it_was_written() {
        let parsed = |text: &str| Summons::parse(text);
        let plain = Summons { state: 7, program: Some(8), why: None };
        assert_eq!(parsed("7:8"), Some(plain));
        let back = Summons { state: 7, program: None, why: Some("no: such unit".to_owned()) };
        assert_eq!(parsed("7::no: such unit"), Some(back));
        assert_eq!(parsed("0"), None);
        assert_eq!(parsed("x:8"), None);
    }
}
