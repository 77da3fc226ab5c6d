//! svinit in surroundings that nobody would choose: as a user without a name, without a place to write, without
//! streams, without /proc, with the signals of a careless parent.

#![expect(clippy::disallowed_methods, reason = "a test asks the machine what it permits")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::{Essential, Setup, Svinit, executable, is_root, kill, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// The unit `web` runs, is replaced when it is killed, and svinit ends with 0 on TERM.
fn does_its_duty(svinit: &Svinit) {
    let pid = svinit.wait_for("web", "ready").expect("a ready service has a process");
    kill(pid, "KILL");
    assert!(svinit.wait_for_another("web", "ready", Some(pid)).is_some());
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
}

/// Runs what follows with its streams redirected.
fn redirected(how: &str) -> Vec<String> {
    ["sh", "-c", &format!("exec \"$@\" {how}"), "sh"].map(str::to_owned).to_vec()
}

#[test]
fn closed_and_full_streams_are_no_hindrance() {
    for how in [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"] {
        let words = redirected(how);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let chatty =
            "command = [\"sh\", \"-c\", \"for i in $(seq 1000); do echo a line; done; exec sleep 600\"]";
        let svinit = Setup::new().through(&words).unit("web", STAY).unit("chatty", chatty).launch();
        svinit.wait_for_socket();
        svinit.wait_for("chatty", "ready");
        does_its_duty(&svinit);
    }
}

#[test]
fn a_lone_command_has_its_status_passed_on_without_any_stream() {
    let words = redirected("<&- >&- 2>&-");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // A stream that was closed is not left to the first file that is opened.
    let script =
        "for fd in 0 1 2; do [ \"$(readlink /proc/$$/fd/$fd)\" = /dev/null ] || exit 9; done; exit 3";
    let svinit = Setup::new().through(&words).command(&["sh", "-c", script]).launch();
    assert_eq!(svinit.wait_for_end(), 3);
}

/// Blocks and ignores what a careless parent may have, and becomes what follows.
const CARELESS: &str = "
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1])
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
os.umask(0o077)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn services_do_not_inherit_the_signals_and_the_mask_of_a_careless_parent() {
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo umask $(umask)";
    let show = format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {script:?}]");
    let svinit =
        Setup::new().through(&["python3", "-c", CARELESS]).unit("show", &show).unit("web", STAY).start();
    svinit.wait_for("show", "completed");
    for expected in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "umask 0022"] {
        svinit.wait_for_line(&format!("show | {expected}"));
    }
    does_its_duty(&svinit);
}

#[test]
fn a_lone_command_does_not_inherit_them_either() {
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 4";
    let svinit = Setup::new().through(&["python3", "-c", CARELESS]).command(&["sh", "-c", script]).launch();
    assert_eq!(svinit.wait_for_end(), 4);
    for expected in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        svinit.wait_for_line(expected);
    }
}

/// A number that no account has, and no other run of the tests: it is part of the socket's place.
fn nobodys_number() -> u32 {
    1_000_000 + std::process::id()
}

/// The words that make what follows run as `uid`, with a `/run` that only root may write to; `None`, with the reason,
/// where that cannot be.
fn become_user(uid: u32) -> Option<Vec<String>> {
    if !is_root() {
        skip("only root can become a user without a name", Essential::No);
        return None;
    }
    // A /run of its own: whatever svinit there is on this machine would be found there first.
    let run = "mount -t tmpfs -o mode=755 none /run && exec \"$@\"";
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let words = ["unshare", "--mount", "sh", "-c", run, "sh", "setpriv", &user, &group, "--clear-groups"]
        .map(str::to_owned);
    let reached =
        Command::new(&words[0]).args(&words[1..]).args(["test", "-x", executable()]).output().unwrap();
    if !reached.status.success() {
        let why = String::from_utf8_lossy(&reached.stderr).trim().to_owned();
        skip(&format!("another user cannot execute {} here {why}", executable()), Essential::No);
        return None;
    }
    Some(words.to_vec())
}

/// `svctl` as that user, with nothing that says where the socket is; what it prints.
fn svctl_as(words: &[String], args: &[&str], xdg: Option<&Path>) -> String {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(executable()).args(["--as", "svctl"]).args(args).current_dir("/");
    command.env_remove("SVINIT_SOCKET").env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
    if let Some(dir) = xdg {
        command.env("XDG_RUNTIME_DIR", dir);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_user_without_a_name_runs_everything_and_svctl_finds_the_socket_in_tmp() {
    let uid = nobodys_number();
    let Some(words) = become_user(uid) else { return };
    let place = PathBuf::from(format!("/tmp/svinit-{uid}"));
    let clear = ["env", "-u", "XDG_RUNTIME_DIR"].map(str::to_owned);
    let through: Vec<&str> = words.iter().chain(&clear).map(String::as_str).collect();
    let script = "id -u; cat $CREDENTIALS_DIRECTORY/key";
    let show = format!(
        "type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {script:?}]\n[credentials]\nkey = \"{{dir}}/key\""
    );
    let setup = Setup::new().file("key", "the key\n").unit("show", &show).unit("web", STAY);
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let svinit = setup.through(&through).socket_found_at(place.join("control.sock")).start();
    svinit.wait_for("show", "completed");
    svinit.wait_for_line(&format!("show | {uid}"));
    svinit.wait_for_line("show | the key");
    svinit.wait_for("web", "ready");
    assert_eq!(fs::metadata(svinit.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(svctl_as(&words, &["status"], None).contains("web"));
    does_its_duty(&svinit);
    assert!(!svinit.socket().exists());
    assert!(!place.exists(), "nothing is left behind");
}

#[test]
fn the_users_own_runtime_directory_comes_before_tmp() {
    let uid = nobodys_number();
    let Some(words) = become_user(uid) else { return };
    let through: Vec<&str> = words.iter().map(String::as_str).collect();
    let setup = Setup::new().unit("web", STAY);
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let own = setup.path("xdg");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(uid), Some(uid)).unwrap();
    let setup = setup.through(&through).env("XDG_RUNTIME_DIR", own.to_str().unwrap());
    let svinit = setup.socket_found_at(own.join("svinit/control.sock")).start();
    svinit.wait_for("web", "ready");
    assert!(svctl_as(&words, &["status"], Some(&own)).contains("web"));
    does_its_duty(&svinit);
}

/// Through a mount namespace of its own in which `script` is run first; `None`, with the reason, where that cannot be.
pub(crate) fn mounted(setup: Setup, script: &str) -> Option<Setup> {
    let dir = setup.path("");
    let dir = dir.to_str().unwrap();
    let tried =
        Command::new("unshare").args(["--mount", "sh", "-ec", script, "sh", "true"]).env("DIR", dir).output();
    let why = match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        skip(&format!("no mount namespace can be made and changed here: {why}"), Essential::No);
        return None;
    }
    Some(setup.env("DIR", dir).through(&["unshare", "--mount", "sh", "-ec", script, "sh"]))
}

#[test]
fn a_read_only_root_is_enough() {
    let script = "mount --bind \"$DIR\" \"$DIR\"; mount -o remount,bind,ro /; ! touch /svinit-was-here 2>/dev/null; \
                  exec \"$@\"";
    let Some(setup) = mounted(Setup::new().unit("web", STAY), script) else { return };
    does_its_duty(&setup.start());
}

#[test]
fn without_any_place_to_write_there_is_no_socket_but_services_run_and_are_replaced() {
    let script = "mount -t tmpfs -o ro none /run; mount -o remount,bind,ro /; \
                  if mountpoint -q /tmp; then mount -o remount,bind,ro /tmp; fi; exec \"$@\"";
    let web = "command = [\"sh\", \"-c\", \"echo here $$$$; exec sleep 600\"]";
    let setup = Setup::new().unit("web", web);
    let place = setup.path("none");
    let Some(setup) = mounted(setup.socket_found_at(place), script) else { return };
    let svinit = setup.env("XDG_RUNTIME_DIR", "").launch();
    svinit.wait_for_line("no control socket, so no svctl");
    let line = svinit.wait_for_line("web | here");
    let pid: i32 = line.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap();
    kill(pid, "KILL");
    svinit.wait_for_line("was killed by SIGKILL");
    crate::fixture::eventually("there is another process", || {
        svinit.output().lines().filter(|line| line.contains("web | here")).count() == 2
    });
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
}

#[test]
fn proc_need_not_be_mounted() {
    let script = "umount --lazy /proc; test ! -e /proc/self; exec \"$@\"";
    let Some(setup) = mounted(Setup::new().unit("web", STAY), script) else { return };
    does_its_duty(&setup.start());
}
