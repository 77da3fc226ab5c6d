//! Real processes. Several tests run in one process at once, so nobody here reaps but by number.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use super::*;
use crate::lifecycle::event::ExitStatus;
use crate::os::sys;
use crate::os::tag;

/// Every test of this program has its own run, since all share one /proc.
pub(in crate::os) fn next_run() -> RunId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(1000);
    RunId(LAST.fetch_add(1, Ordering::Relaxed))
}

pub(in crate::os) fn sh(script: &str) -> Launch {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Launch { env: vec![("PATH".into(), "/usr/bin:/bin".into())], ..Launch::new(next_run(), argv) }
}

/// Waits for the end of a child of ours.
pub(in crate::os) fn end_of(child: &Child) -> ExitStatus {
    let pidfd = child.pidfd.as_ref().expect("this kernel has pidfds");
    let mut polled = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
    // Another test takes signals, which interrupt this.
    while nix::poll::poll(&mut polled, 20_000_u16) == Err(nix::errno::Errno::EINTR) {}
    crate::os::reap::reap(child.pid).expect("has ended").status
}

fn output_of(mut wanted: Launch) -> (String, ExitStatus, Vec<String>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    wanted.stderr = Output::Fd(writer.try_clone().unwrap().into());
    wanted.stdout = Output::Fd(writer.into());
    let child = launch(&wanted).unwrap();
    drop(wanted);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let status = end_of(&child);
    (said, status, child.warnings)
}

fn said(script: &str) -> String {
    output_of(sh(script)).0
}

fn is_root() -> bool {
    sys::geteuid() == 0
}

fn nobody() -> Ids {
    Ids { uid: 65534, gid: 65534, ..Ids::default() }
}

#[test]
fn a_child_starts_clean_whatever_we_are() {
    // Blocks in this thread only; an ignored signal is for all of the process, so a harmless one.
    let before = sys::set_mask(1 << 9).unwrap();
    sys::ignore_signals(sys::signal_bit(libc::SIGXFSZ));
    let text = said("exec cat /proc/self/status");
    sys::set_mask(before).unwrap();
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn our_own_mask_is_as_it_was_afterwards() {
    let before = sys::set_mask(1 << 11).unwrap();
    said("true");
    assert_eq!(sys::set_mask(before).unwrap(), 1 << 11);
}

#[test]
fn a_child_has_the_descriptors_it_was_promised_and_no_other() {
    let leak = std::fs::File::open("/").unwrap();
    sys::keep_at_exec(leak.as_raw_fd()).unwrap();
    assert_eq!(said("exec ls /proc/self/fd").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut wanted = sh("ls /proc/$$/fd; readlink /proc/$$/fd/0");
    wanted.fds = vec![(reader.into(), 7), (writer.into(), 3)];
    let (text, ..) = output_of(wanted);
    let numbers: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "7", "/dev/null"]);
}

#[test]
fn descriptors_may_change_places_or_stay_where_they_are() {
    let (first, mut first_end) = std::io::pipe().unwrap();
    let (second, mut second_end) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut first_end, b"first\n").unwrap();
    std::io::Write::write_all(&mut second_end, b"second\n").unwrap();
    let (first, second): (OwnedFd, OwnedFd) = (first.into(), second.into());
    let numbers = [first.as_raw_fd(), second.as_raw_fd()];
    drop((first_end, second_end));
    let mut wanted = sh(&format!("cat /proc/self/fd/{}; cat /proc/self/fd/{}", numbers[0], numbers[1]));
    wanted.fds = vec![(first, numbers[1]), (second, numbers[0])];
    assert_eq!(output_of(wanted).0, "second\nfirst\n");
    let (stays, mut end) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut end, b"stays\n").unwrap();
    drop(end);
    let number = stays.as_raw_fd();
    let mut wanted = sh(&format!("cat /proc/self/fd/{number}"));
    wanted.fds = vec![(stays.into(), number)];
    assert_eq!(output_of(wanted).0, "stays\n");
}

#[test]
fn a_child_leads_a_session_and_a_group_and_has_its_tag() {
    let wanted = sh("cat /proc/$$/stat; cat /proc/$$/limits");
    let run = wanted.run;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = launch(&Launch { stdout: Output::Fd(writer.into()), ..wanted }).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    end_of(&child);
    let stat = crate::os::procfs::parse_stat(text.lines().next().unwrap().as_bytes()).unwrap();
    assert_eq!((stat.session, stat.group), (child.pid.0, child.pid.0));
    assert_eq!(crate::os::procfs::parse_rttime(text.as_bytes()), Some(tag::number(run)));
}

#[test]
fn umask_directory_and_environment_are_what_was_asked_for() {
    let mut wanted = sh("umask; pwd; exec env");
    wanted.umask = 0o077;
    wanted.working_dir = PathBuf::from("/usr");
    wanted.env =
        vec![("A".into(), "b c=d".into()), ("ME".into(), OWN_PID.into()), ("Z".into(), String::new())];
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = launch(&Launch { stdout: Output::Fd(writer.into()), ..wanted }).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    end_of(&child);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["0077", "/usr"]);
    assert!(lines.contains(&"A=b c=d") && lines.contains(&"Z="));
    assert!(lines.contains(&format!("ME={}", child.pid).as_str()), "{text}");
}

#[test]
fn a_limit_that_cannot_be_raised_is_a_warning_and_one_that_can_be_lowered_is_lowered() {
    let mut wanted = sh("ulimit -n; ulimit -c");
    wanted.rlimits.nofile = Some(64);
    wanted.rlimits.core = Some(0);
    let (text, _, warnings) = output_of(wanted);
    assert_eq!(text, "64\n0\n");
    assert_eq!(warnings, Vec::<String>::new());
    let (_, hard) = sys::get_limit(libc::RLIMIT_NOFILE).unwrap();
    let mut wanted = sh("ulimit -n");
    // Above fs.nr_open, which not even privilege passes.
    wanted.rlimits.nofile = Some(1 << 40);
    let (text, status, warnings) = output_of(wanted);
    assert_eq!(text, format!("{hard}\n"));
    assert_eq!(status, ExitStatus::Code(0));
    assert!(warnings[0].starts_with("cannot raise nofile to 1099511627776: "), "{warnings:?}");
}

#[test]
fn every_failure_to_execute_is_of_its_kind_and_leaves_no_zombie() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        ("no-such-program".to_owned(), SpawnCause::Missing, "cannot find no-such-program in PATH"),
        ("/no/such".to_owned(), SpawnCause::Missing, "cannot execute /no/such: no such file or directory"),
        (file("plain", "x", 0o644), SpawnCause::NotExecutable, "permission denied"),
        (file("garbage", "garbage", 0o755), SpawnCause::NotExecutable, "not a program for this machine"),
        (
            file("lost", "#!/no/interpreter\n", 0o755),
            SpawnCause::Missing,
            "its interpreter or loader is not there",
        ),
        (dir.path().to_str().unwrap().to_owned(), SpawnCause::NotExecutable, "permission denied"),
        (String::new(), SpawnCause::Context, "the command is empty"),
        ("a\0b".to_owned(), SpawnCause::Context, "NUL"),
    ];
    for (program, cause, words) in cases {
        let failure = launch(&Launch::new(next_run(), vec![program.clone()])).unwrap_err();
        assert_eq!(failure.cause, cause, "{program}: {failure:?}");
        assert!(failure.why.contains(words), "{failure:?}");
    }
    let failure = launch(&Launch { working_dir: "/no/dir".into(), ..sh("true") }).unwrap_err();
    assert_eq!(failure.cause, SpawnCause::Context);
    assert!(failure.why.starts_with("cannot enter /no/dir as user "), "{failure:?}");
}

#[test]
fn a_program_that_may_not_be_executed_does_not_hide_a_later_one_in_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("true"), "x").unwrap();
    let path = format!("/no/dir:{}:/usr/bin:/bin", dir.path().display());
    let wanted = Launch { env: vec![("PATH".into(), path)], ..Launch::new(next_run(), vec!["true".into()]) };
    assert_eq!(output_of(wanted).1, ExitStatus::Code(0));
    let path = format!("{}:/no/dir", dir.path().display());
    let wanted = Launch { env: vec![("PATH".into(), path)], ..Launch::new(next_run(), vec!["true".into()]) };
    assert_eq!(launch(&wanted).unwrap_err().cause, SpawnCause::NotExecutable);
}

#[test]
fn a_change_of_user_is_whole_and_leaves_no_privilege() {
    if !is_root() {
        println!("skipped: only root can change user");
        return;
    }
    let ids = Ids { groups: vec![5, 6], ..nobody() };
    let (text, ..) =
        output_of(Launch { ids: Some(ids), no_new_privileges: true, ..sh("cat /proc/self/status") });
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "Gid:\t65534\t65534\t65534\t65534",
        "Groups:\t5 6 ",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn a_user_without_privilege_can_keep_one_capability_and_root_only_those_named() {
    if !is_root() {
        println!("skipped: only root has capabilities to hand on");
        return;
    }
    let capabilities = Some(vec!["NET_BIND_SERVICE".to_owned()]);
    let wanted =
        Launch { ids: Some(nobody()), capabilities: capabilities.clone(), ..sh("cat /proc/self/status") };
    let (text, _, warnings) = output_of(wanted);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000400")), "{set} in {text}");
    }
    assert_eq!(warnings, Vec::<String>::new());
    let (text, ..) = output_of(Launch { capabilities, ..sh("cat /proc/self/status") });
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(text.contains(&format!("{set}:\t0000000000000400")), "{set} in {text}");
    }
    let wanted = Launch { capabilities: Some(vec!["FLY".into()]), ..sh("true") };
    assert!(launch(&wanted).unwrap_err().why.contains("FLY"));
}

#[test]
fn the_directory_is_entered_as_the_user() {
    if !is_root() {
        println!("skipped: only root can change user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let wanted = Launch { ids: Some(nobody()), working_dir: dir.path().into(), ..sh("true") };
    let failure = launch(&wanted).unwrap_err();
    assert!(failure.why.ends_with("as user 65534: permission denied"), "{failure:?}");
}

#[test]
fn what_needs_privilege_fails_in_words_without_it() {
    let drop_all = Launch { ids: Some(nobody()), ..sh("true") };
    if is_root() {
        // As nobody, this test binary cannot be told to spawn; the plan's own words are checked instead.
        let plan = plan::Plan::new(&drop_all, plan::Session::Own).unwrap();
        let failed = report::Failed { step: report::Step::User, errno: libc::EPERM, detail: 0 };
        let why = report::failure(&plan, failed).why;
        assert!(
            why.starts_with("cannot change to user 65534: operation not permitted (svinit needs"),
            "{why}"
        );
    } else {
        let failure = launch(&drop_all).unwrap_err();
        assert_eq!(failure.cause, SpawnCause::Context);
        assert!(failure.why.contains("operation not permitted"), "{failure:?}");
    }
}

#[test]
fn a_child_with_a_copy_of_our_memory_fails_as_loudly() {
    let bad = Launch::new(next_run(), vec!["/no/such".into()]);
    let plan = plan::Plan::new(&bad, plan::Session::Own).unwrap();
    let failure = workers::start_with_a_copy(&plan).unwrap_err();
    assert_eq!(failure.cause, SpawnCause::Missing);
    let good = sh("exit 3");
    let plan = plan::Plan::new(&good, plan::Session::Own).unwrap();
    let child = workers::start_with_a_copy(&plan).unwrap();
    let child = Child { pidfd: PidFd::open(child.pid).ok(), ..child };
    assert_eq!(end_of(&child), ExitStatus::Code(3));
}

#[test]
fn many_launches_come_back_in_their_order() {
    let spawners = Spawners::new(2);
    let launches: Vec<Launch> = (0..40_u8)
        .map(|code| {
            if code == 7 { Launch::new(next_run(), vec!["/no".into()]) } else { sh(&format!("exit {code}")) }
        })
        .collect();
    for (made, code) in spawners.launch_all(launches).into_iter().zip(0..) {
        match made {
            Ok(child) => assert_eq!(end_of(&child), ExitStatus::Code(code)),
            Err(failure) => assert_eq!((failure.cause, code), (SpawnCause::Missing, 7)),
        }
    }
    assert!(
        Spawners::new(0).launch_all(vec![sh("exit 1")])[0].as_ref().map(end_of).unwrap()
            == ExitStatus::Code(1)
    );
}

#[test]
fn an_end_by_any_signal_is_told_by_its_number() {
    for signal in [9, 15, 34, 64] {
        let child = launch(&sh("sleep 100")).unwrap();
        child.pidfd.as_ref().unwrap().signal(signal).unwrap();
        assert_eq!(end_of(&child), ExitStatus::Signal { number: signal, core: false });
        let gone = child.pidfd.as_ref().unwrap().signal(9).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }
}
