//! Makes processes.
//!
//! One way for all: a clone with shared memory on a stack of its own, the calling thread standing still until the child
//! has executed. That takes some 50 microseconds however large svinit is and however much it has open ([`staging`]),
//! and the child tells what went wrong through the shared memory, so "started" means that exec has succeeded. Only
//! a control group needs `clone3`, which Docker's default seccomp profile does not know. Everything that could allocate
//! or look something up is done before, in [`plan`]; the child makes plain system calls only, in [`child`].
//!
//! A child starts clean, whatever svinit itself was started with: empty mask, all 64 dispositions default, only
//! the descriptors it was promised, its own session, and the tag of its run.

mod capability;
mod child;
mod plan;
mod report;
mod staging;
mod workers;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::lifecycle::event::{Pid, RunId, SpawnCause, SpawnFailure};
use crate::os::cgroup::Cgroup;
use crate::os::own::Given;
use crate::os::pidfd::PidFd;
use crate::os::user::Ids;
use crate::units::spec::Rlimits;

pub use self::report::cause_of;
pub use self::workers::Spawners;

/// The value of an environment variable that becomes the new process's own number (`LISTEN_PID`, `WATCHDOG_PID`).
pub const OWN_PID: &str = "\u{1}own-pid\u{1}";

/// Everything a process starts with.
#[derive(Debug)]
pub struct Launch {
    /// What it is known by: its tag.
    pub run: RunId,
    /// Program and arguments; without a slash it is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Whom it runs as; `None` keeps svinit's own.
    pub ids: Option<Ids>,
    /// File mode creation mask.
    pub umask: u32,
    /// Where it starts; entered as its user.
    pub working_dir: PathBuf,
    /// Limits of each process. What cannot be raised is a warning.
    pub rlimits: Rlimits,
    /// Soft limits that svinit has changed for itself, as they were: where the unit has none of its own.
    pub given: Given,
    /// It and what it starts never gain privileges.
    pub no_new_privileges: bool,
    /// The only capabilities that stay; `None`: as they are for root, none for others.
    pub capabilities: Option<Vec<String>>,
    /// Descriptor 0.
    pub stdin: Input,
    /// Descriptor 1.
    pub stdout: Output,
    /// Descriptor 2.
    pub stderr: Output,
    /// Further descriptors and the numbers they are to have, 3 or above.
    pub fds: Vec<(OwnedFd, i32)>,
    /// The control group it is put into.
    pub cgroup: Option<Arc<Cgroup>>,
    /// The terminal is handed over to it: a group of its own in our session, in the foreground.
    pub foreground: bool,
}

impl Launch {
    /// A launch with nothing special: the environment is empty, output is svinit's own.
    #[must_use]
    pub fn new(run: RunId, argv: Vec<String>) -> Self {
        Self {
            run,
            argv,
            env: Vec::new(),
            ids: None,
            umask: 0o022,
            working_dir: PathBuf::from("/"),
            rlimits: Rlimits::default(),
            given: Given::default(),
            no_new_privileges: false,
            capabilities: None,
            stdin: Input::Null,
            stdout: Output::Inherit,
            stderr: Output::Inherit,
            fds: Vec::new(),
            cgroup: None,
            foreground: false,
        }
    }
}

/// What a process reads.
#[derive(Debug)]
pub enum Input {
    /// `/dev/null`.
    Null,
    /// What svinit itself was given.
    Terminal,
    /// This.
    Fd(OwnedFd),
}

/// Where a process writes.
#[derive(Debug)]
pub enum Output {
    /// Where svinit itself writes.
    Inherit,
    /// Here.
    Fd(OwnedFd),
}

/// A process that has executed.
#[derive(Debug)]
pub struct Child {
    /// Its number; stays its own until it is reaped.
    pub pid: Pid,
    /// Signals go through this. `None` where the kernel has none.
    pub pidfd: Option<PidFd>,
    /// What was asked for and could not be had, each a sentence "cannot DO: CAUSE; ..."; it runs all the same.
    pub warnings: Vec<String>,
}

/// Makes the process; comes back when it has executed or cannot.
///
/// # Errors
/// There is no process then, and the failure says which step went wrong in words.
pub fn launch(launch: &Launch) -> Result<Child, SpawnFailure> {
    let plan = plan::Plan::new(launch, plan::Session::of(launch))?;
    workers::start(&plan)
}

/// Names of the capabilities whose bits are set.
pub(super) fn capability_names(bits: u64) -> Vec<String> {
    capability::names(bits)
}

/// The capability of that name exists; with or without `CAP_`, in any case.
#[must_use]
pub fn is_capability(name: &str) -> bool {
    capability::bit(name).is_some()
}

/// A failure that is about the context: user, directory, limits.
fn context(why: String) -> SpawnFailure {
    SpawnFailure { cause: SpawnCause::Context, why }
}

/// Applies `launch` to the calling process and becomes its program; comes back only with the reason why it could not.
pub(super) fn become_program(launch: &Launch) -> SpawnFailure {
    let plan = match plan::Plan::new(launch, plan::Session::Keep) {
        Ok(plan) => plan,
        Err(failure) => return failure,
    };
    let words = Default::default();
    let report = report::Report(&words);
    let birth = child::Birth { shares_fds_above: None, signals: u64::MAX, is_in_cgroup: false };
    child::run(&plan, birth, &report);
    match report.failed() {
        Some(failed) => report::failure(&plan, failed),
        None => {
            let why = format!("cannot execute {}: it came back", plan.program);
            SpawnFailure { cause: SpawnCause::NotExecutable, why }
        }
    }
}

#[cfg(test)]
pub(in crate::os) mod tests;
