//! What a child does between clone and exec. Runs in the memory of svinit, on its own stack, while the thread that made
//! it stands still: no allocation, no lock, no panic, plain system calls only.
//!
//! The order matters: what needs privilege comes before the change of user, the directory is entered as the user, and
//! signals are let in last, when every disposition is the default one.

use std::ffi::CStr;

use super::plan::{Identity, Limit, Plan, Privileges, Session};
use super::report::{Failed, Report, Step};
use crate::os::sys;
use crate::os::tag;

/// Highest number of a capability that could come to be.
const CAPABILITIES_MAX: u64 = 64;

const OOM_SCORE: &CStr = c"/proc/self/oom_score_adj";

/// Who writes "0" to it joins the group.
const PROCS: &CStr = c"cgroup.procs";

/// What is there already when a child begins; it depends on the call that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// The table of descriptors is still svinit's; those from this one on are not needed.
    pub(super) shares_fds_above: Option<u32>,
    /// Signals that have another disposition than the default one.
    pub(super) signals: u64,
    /// It is in its control group.
    pub(super) is_in_cgroup: bool,
}

/// Carries out the plan. Comes back only when a step has failed, with what is told to the shell's sense.
pub(super) fn run(plan: &Plan, birth: Birth, report: &Report<'_>) -> i32 {
    report.fail(steps(plan, birth, report));
    127
}

fn steps(plan: &Plan, birth: Birth, report: &Report<'_>) -> Failed {
    sys::default_signals(birth.signals);
    match prepare(plan, birth, report) {
        Ok(()) => execute(plan),
        Err(failed) => failed,
    }
}

fn prepare(plan: &Plan, birth: Birth, report: &Report<'_>) -> Result<(), Failed> {
    if let Some(first) = birth.shares_fds_above {
        // Before anything that changes the table.
        sys::unshare_descriptors_below(first).map_err(at(Step::Descriptor))?;
    }
    session(plan.session).map_err(at(Step::Session))?;
    if let Some(dir) = &plan.cgroup
        && !birth.is_in_cgroup
    {
        warn_of(report, Step::Cgroup, sys::write_to(dir.get(), PROCS, b"0"));
    }
    descriptors(plan)?;
    if let Some(score) = &plan.oom_score {
        let written = sys::write_to(libc::AT_FDCWD, OOM_SCORE, score.text.as_bytes());
        if !score.is_reset {
            warn_of(report, Step::OomScore, written);
        }
    }
    if let Some(nice) = plan.nice {
        warn_of(report, Step::Nice, sys::set_nice(nice));
    }
    plan.limits.iter().flatten().for_each(|limit| set_limit(limit, report));
    if let Some((soft, hard)) = plan.tag {
        warn_of(report, Step::Tag, sys::set_limit(tag::RESOURCE, soft, hard));
    }
    sys::umask(plan.umask);
    if let Some(privileges) = &plan.privileges {
        lower_bounding(privileges, report);
    }
    if let Some(identity) = &plan.identity {
        change_user(identity, plan.privileges.as_ref())?;
    }
    if let Some(privileges) = &plan.privileges {
        set_capabilities(privileges).map_err(at(Step::Capabilities))?;
    }
    sys::chdir(&plan.working_dir).map_err(at(Step::WorkingDir))?;
    if plan.no_new_privileges {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(at(Step::NoNewPrivileges))?;
    }
    Ok(())
}

fn at(step: Step) -> impl Fn(i32) -> Failed {
    move |errno| Failed { step, errno, detail: 0 }
}

fn warn_of(report: &Report<'_>, step: Step, result: Result<(), i32>) {
    if let Err(errno) = result {
        report.warn(step, errno);
    }
}

fn session(session: Session) -> Result<(), i32> {
    match session {
        Session::Own => sys::setsid(),
        Session::Foreground => {
            sys::own_group()?;
            // SIGTTOU is blocked here, so asking from the background does not stop us. Without the terminal the program
            // still runs.
            let _ = sys::set_foreground(0, sys::own_pid());
            Ok(())
        }
        Session::OwnWithTerminal => {
            sys::setsid()?;
            // Somebody else may have the terminal, or descriptor 0 is none.
            let _ = sys::take_terminal();
            Ok(())
        }
        Session::Keep => Ok(()),
    }
}

fn descriptors(plan: &Plan) -> Result<(), Failed> {
    let failed =
        |target: i32| move |errno| Failed { step: Step::Descriptor, errno, detail: target.unsigned_abs() };
    // A source whose number is one of the targets would be overwritten before it is copied.
    for (source, target) in &plan.fds {
        if source.get() <= plan.fd_highest && source.get() != *target {
            source.set(sys::dup_above(source.get(), plan.fd_highest + 1).map_err(failed(*target))?);
        }
    }
    match &plan.open_fds {
        None => sys::close_range_at_exec(3).map_err(failed(3))?,
        Some(open) => open.iter().filter(|fd| **fd > 2).for_each(|fd| {
            // It may have been closed since the list was made.
            let _ = sys::close_at_exec(*fd);
        }),
    }
    for (source, target) in &plan.fds {
        let handed = if source.get() == *target {
            sys::keep_at_exec(*target)
        } else {
            sys::dup_onto(source.get(), *target)
        };
        handed.map_err(failed(*target))?;
    }
    Ok(())
}

/// As wanted; else as much as the hard limit allows, and a warning.
fn set_limit(limit: &Limit, report: &Report<'_>) {
    if let Err(errno) = sys::set_limit(limit.resource, limit.wanted, limit.ceiling) {
        report.warn(limit.step, errno);
        // Lowering is always allowed.
        let _ = sys::set_limit(limit.resource, limit.wanted.min(limit.hard), limit.hard);
    }
}

fn lower_bounding(privileges: &Privileges, report: &Report<'_>) {
    if !privileges.bound {
        return;
    }
    for capability in 0..CAPABILITIES_MAX {
        if privileges.kept & (1 << capability) != 0 {
            continue;
        }
        match sys::prctl(libc::PR_CAPBSET_READ, capability, 0) {
            Ok(0) => continue,
            Ok(_) => {}
            // There are no more.
            Err(_) => return,
        }
        if let Err(errno) = sys::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            return report.warn(Step::Bounding, errno);
        }
    }
}

fn change_user(identity: &Identity, privileges: Option<&Privileges>) -> Result<(), Failed> {
    sys::set_groups(&identity.groups).map_err(at(Step::Groups))?;
    sys::set_gid(identity.gid).map_err(at(Step::Group))?;
    if privileges.is_some_and(|privileges| privileges.kept != 0 && privileges.ambient) {
        sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0).map_err(at(Step::Capabilities))?;
    }
    sys::set_uid(identity.uid).map_err(at(Step::User))
}

fn set_capabilities(privileges: &Privileges) -> Result<(), i32> {
    // Ambient ones that are not inheritable any longer leave by themselves.
    let kept = privileges.kept;
    sys::set_capabilities(sys::Capabilities { effective: kept, permitted: kept, inheritable: kept })?;
    if privileges.ambient {
        for capability in (0..CAPABILITIES_MAX).filter(|capability| kept & (1 << capability) != 0) {
            let raise = u64::from(libc::PR_CAP_AMBIENT_RAISE.unsigned_abs());
            sys::prctl(libc::PR_CAP_AMBIENT, raise, capability)?;
        }
    }
    Ok(())
}

/// Tries the candidates in order, as a shell would: one that may not be executed does not hide a later one that may.
fn execute(plan: &Plan) -> Failed {
    let mut digits = [0; 12];
    let digits = decimal(sys::own_pid().unsigned_abs(), &mut digits);
    for (text, at) in &plan.own_pid_at {
        plan.envp.patch(*text, *at, digits);
    }
    // A mask of our own four words away from nothing: it cannot fail.
    let _ = sys::set_mask(0);
    let mut worst = Failed { step: Step::Exec, errno: libc::ENOENT, detail: 0 };
    for (candidate, number) in plan.candidates.iter().zip(0..) {
        let errno = sys::execve(candidate, &plan.argv, &plan.envp);
        let failed = Failed { step: Step::Exec, errno, detail: number };
        match errno {
            libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ELOOP => {
                if plan.candidates.len() == 1 {
                    worst = failed;
                }
            }
            libc::EACCES => worst = failed,
            _ => return failed,
        }
    }
    worst
}

/// A number as text, without the allocator.
fn decimal(mut number: u32, room: &mut [u8; 12]) -> &[u8] {
    let mut at = room.len();
    for (position, digit) in room.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        at = position;
        if number == 0 {
            break;
        }
    }
    room.get(at..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_allocation() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 12]), number.to_string().as_bytes());
        }
    }
}
