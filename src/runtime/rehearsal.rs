//! The test of another svinit: it is started as a process with a copy of the state, and says whether it could go on.

use std::io;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::lifecycle::event::{ExitStatus, Pid, RunId};
use crate::lifecycle::time::Time;
use crate::os::binary::Binary;
use crate::os::clock;
use crate::os::error::{Doing, Error};
use crate::os::own;
use crate::os::posture::Posture;
use crate::os::spawn::{Launch, Output};
use crate::runtime::handover::Fit;
use crate::runtime::hands::Hands;

/// For all of it. It reads some megabytes at most.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is read of its words at most.
const WORDS_MAX: u64 = 4096;

/// The tag of what is of no unit.
const NOBODYS: RunId = RunId(0);

/// Descriptors of the child: the state and its own program.
const STATE: i32 = 3;
const PROGRAM: i32 = 4;

/// Tells a program that it is to test itself, with the number of the state behind it.
pub const SELFTEST: &str = "--selftest=";

/// Tells a program that it is to go on after a fault of its own.
pub const RECOVER: &str = "--recover=";

/// Tells a program that going on has failed, and that it is to do as little as it can.
pub const SAFE: &str = "--safe=";

/// Tells a program that it is to take over.
pub const RESUME: &str = "--resume=";

/// A test that is under way or has ended.
pub struct Rehearsal {
    pub(super) pid: Pid,
    pub(super) status: Option<ExitStatus>,
    by: Time,
    words: io::PipeReader,
    is_late: bool,
}

impl Rehearsal {
    /// When it is given up.
    pub(super) fn by(&self) -> Time {
        if self.is_late { Time::NEVER } else { self.by }
    }

    /// Gives it up when its time has come.
    pub(super) fn on_time(&mut self, now: Time) {
        if now >= self.by() {
            self.is_late = true;
            // Its end is on its way to us if it is not there any more.
            let _ = own::signal_child(self.pid, libc::SIGKILL);
        }
    }

    /// What it came to, once it has ended.
    ///
    /// # Errors
    /// In words, why it could not take over.
    pub(super) fn result(self) -> Result<Fit, String> {
        if self.is_late {
            return Err(format!("it has not tested itself within {} s", TIMEOUT.as_secs()));
        }
        let mut text = Vec::new();
        let _ = self.words.take(WORDS_MAX).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().next_back().unwrap_or_default();
        match (self.status, serde_json::from_str::<Fit>(last)) {
            (Some(ExitStatus::Code(0)), Ok(fit)) => Ok(fit),
            (Some(ExitStatus::Code(0)), Err(_)) => Err("it is no svinit that could take over".to_owned()),
            (Some(ExitStatus::Code(code)), _) => {
                let first = text.lines().find(|line| !line.trim().is_empty());
                Err(first.map_or_else(|| format!("its test ended with status {code}"), plain))
            }
            (Some(ExitStatus::Signal { number, .. }), _) => {
                Err(format!("its test was ended by signal {number}"))
            }
            (None, _) => Err("its test has not ended".to_owned()),
        }
    }
}

/// Words of another program, for a log and a terminal.
fn plain(words: &str) -> String {
    words.trim().chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Hands {
    /// Starts the test of `program` with `state`.
    ///
    /// # Errors
    /// It cannot even be executed.
    pub(super) fn rehearse(&mut self, program: &Binary, state: std::os::fd::OwnedFd) -> Result<(), Error> {
        let doing = || format!("test {}", program.path().display());
        let (words, said) = io::pipe().doing(doing)?;
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().doing(doing);
        let at = if Posture::look().has_proc {
            Path::new("/proc/self/fd").join(PROGRAM.to_string())
        } else {
            program.path().to_owned()
        };
        let text = |arg: std::ffi::OsString| arg.to_string_lossy().into_owned();
        let mut argv = vec![text(at.into()), format!("{SELFTEST}{STATE}")];
        argv.extend(super::upgrade::own_args().into_iter().skip(1).map(text));
        let said: std::os::fd::OwnedFd = said.into();
        let launch = Launch {
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            working_dir: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            given: self.setting.given,
            stdout: Output::Fd(said.try_clone().doing(doing)?),
            stderr: Output::Fd(said),
            fds: vec![(state, STATE), (copy(std::os::fd::AsFd::as_fd(program))?, PROGRAM)],
            ..Launch::new(NOBODYS, argv)
        };
        let child = self.spawners.launch_all(std::iter::once(launch)).into_iter().next();
        let child = child.ok_or_else(|| Error::new(doing(), "it was not started"))?;
        let child = child.map_err(|failure| Error::new(doing(), failure.why))?;
        let by = clock::now().after(TIMEOUT);
        self.rehearsal = Some(Rehearsal { pid: child.pid, status: None, by, words, is_late: false });
        Ok(())
    }
}
