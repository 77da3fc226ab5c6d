//! What the child tells, through words in shared memory: which step went wrong and why.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::plan::Plan;
use crate::lifecycle::event::{SpawnCause, SpawnFailure};
use crate::os::error::errno_words;
use crate::os::sys;

/// What a child does, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Step {
    Session = 1,
    Descriptor,
    Cgroup,
    OomScore,
    Nice,
    Nofile,
    Nproc,
    Core,
    Tag,
    Bounding,
    Groups,
    Group,
    User,
    Capabilities,
    WorkingDir,
    NoNewPrivileges,
    Exec,
}

const STEPS: [Step; 17] = [
    Step::Session,
    Step::Descriptor,
    Step::Cgroup,
    Step::OomScore,
    Step::Nice,
    Step::Nofile,
    Step::Nproc,
    Step::Core,
    Step::Tag,
    Step::Bounding,
    Step::Groups,
    Step::Group,
    Step::User,
    Step::Capabilities,
    Step::WorkingDir,
    Step::NoNewPrivileges,
    Step::Exec,
];

/// Words of the report: the step that failed, its error number, a detail; then from here an error number for each step
/// that went wrong without harm.
const WARNINGS_FROM: usize = 8;

/// A step that failed: nothing comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) step: Step,
    pub(super) errno: i32,
    /// Which descriptor, which candidate.
    pub(super) detail: u32,
}

/// The words, as both sides see them.
pub(super) struct Report<'a>(pub(super) &'a [AtomicU32; sys::REPORT_WORDS]);

impl Report<'_> {
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    pub(super) fn fail(&self, failed: Failed) {
        self.0[1].store(failed.errno.unsigned_abs(), Ordering::Relaxed);
        self.0[2].store(failed.detail, Ordering::Relaxed);
        self.0[0].store(failed.step as u32, Ordering::Release);
    }

    pub(super) fn warn(&self, step: Step, errno: i32) {
        if let Some(word) = self.0.get(WARNINGS_FROM + step as usize) {
            word.store(errno.unsigned_abs(), Ordering::Release);
        }
    }

    pub(super) fn failed(&self) -> Option<Failed> {
        let number = self.0[0].load(Ordering::Acquire);
        let step = STEPS.into_iter().find(|step| *step as u32 == number)?;
        let errno = i32::try_from(self.0[1].load(Ordering::Relaxed)).unwrap_or(0);
        Some(Failed { step, errno, detail: self.0[2].load(Ordering::Relaxed) })
    }

    /// What went wrong without harm, in words.
    pub(super) fn warnings(&self, plan: &Plan) -> Vec<String> {
        let warned = STEPS.into_iter().filter_map(|step| {
            let errno = self.0[WARNINGS_FROM + step as usize].load(Ordering::Acquire);
            (errno != 0).then(|| warning(plan, step, i32::try_from(errno).unwrap_or(0)))
        });
        plan.warnings.iter().cloned().chain(warned).collect()
    }
}

fn warning(plan: &Plan, step: Step, errno: i32) -> String {
    let cause = errno_words(errno);
    let limit = |name: &str, which: usize| {
        let limit = plan.limits.iter().flatten().find(|limit| limit.step as usize == which);
        let (wanted, got) = limit.map_or((0, 0), |limit| (limit.wanted, limit.wanted.min(limit.hard)));
        format!("cannot raise {name} to {wanted}: {cause} (needs CAP_SYS_RESOURCE); it is {got}")
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other steps fail, they do not warn")]
    match step {
        Step::Nofile => limit("nofile", step as usize),
        Step::Nproc => limit("nproc", step as usize),
        Step::Core => limit("core", step as usize),
        Step::Nice => format!("cannot set nice: {cause} (needs CAP_SYS_NICE)"),
        Step::OomScore => format!("cannot set oom_score_adj: {cause} (needs CAP_SYS_RESOURCE)"),
        Step::Cgroup => format!("cannot join the unit's control group: {cause}; its limits are not enforced"),
        Step::Tag => format!("cannot tag the process: {cause}; it is followed by its session only"),
        Step::Bounding => {
            format!("cannot lower the capability bounding set: {cause} (needs CAP_SETPCAP)")
        }
        other => format!("cannot carry out {other:?}: {cause}"),
    }
}

/// A failure in words.
pub(super) fn failure(plan: &Plan, failed: Failed) -> SpawnFailure {
    let cause = errno_words(failed.errno);
    let privilege =
        if failed.errno == libc::EPERM { " (svinit needs CAP_SETUID and CAP_SETGID)" } else { "" };
    let why = match failed.step {
        Step::Session => format!("cannot start a session: {cause}"),
        Step::Descriptor => format!("cannot hand over descriptor {}: {cause}", failed.detail),
        Step::Cgroup => format!("cannot join the control group: {cause}"),
        Step::OomScore => format!("cannot set oom_score_adj: {cause}"),
        Step::Nice => format!("cannot set nice: {cause}"),
        Step::Nofile | Step::Nproc | Step::Core => format!("cannot set a resource limit: {cause}"),
        Step::Tag => format!("cannot tag the process: {cause}"),
        Step::Bounding => format!("cannot lower the capability bounding set: {cause}"),
        Step::Groups => format!("cannot set the groups of {}: {cause}{privilege}", plan.user_words),
        Step::Group => format!("cannot change to the group of {}: {cause}{privilege}", plan.user_words),
        Step::User => format!("cannot change to {}: {cause}{privilege}", plan.user_words),
        Step::Capabilities => format!("cannot set capabilities: {cause}"),
        Step::WorkingDir => {
            format!("cannot enter {} as {}: {cause}", plan.working_dir.to_string_lossy(), plan.user_words)
        }
        Step::NoNewPrivileges => format!("cannot set no_new_privileges: {cause}"),
        Step::Exec => return exec_failure(plan, failed),
    };
    SpawnFailure { cause: kind_of(failed.errno, SpawnCause::Context), why }
}

fn exec_failure(plan: &Plan, failed: Failed) -> SpawnFailure {
    let candidate = plan.candidates.get(usize::try_from(failed.detail).unwrap_or(0));
    let path = candidate.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = match failed.errno {
        libc::ENOENT | libc::ENOTDIR => SpawnCause::Missing,
        libc::E2BIG => SpawnCause::Context,
        _ => SpawnCause::NotExecutable,
    };
    let why = match failed.errno {
        libc::ENOENT if plan.is_searched => {
            format!("cannot find {} in PATH ({})", plan.program, plan.search_path)
        }
        // The file is there: what is missing is what it names itself.
        libc::ENOENT if Path::new(&plan.working_dir.to_string_lossy().into_owned()).join(&path).exists() => {
            format!("cannot execute {path}: its interpreter or loader is not there")
        }
        errno => format!("cannot execute {path}: {}", errno_words(errno)),
    };
    SpawnFailure { cause: kind_of(failed.errno, kind), why }
}

/// Why a process could not be made, when what it was to start with could not be opened or read.
#[must_use]
pub fn cause_of(error: &io::Error) -> SpawnCause {
    kind_of(error.raw_os_error().unwrap_or(0), SpawnCause::Context)
}

/// Trouble of the machine is not the unit's fault, whatever step it hits.
pub(super) fn kind_of(errno: i32, otherwise: SpawnCause) -> SpawnCause {
    match errno {
        libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOSPC => SpawnCause::NoResources,
        _ => otherwise,
    }
}
