//! What a person types and reads: `svctl` with the real supervisor behind it.

#![expect(clippy::disallowed_methods, reason = "a test is no supervisor: it makes its own processes")]

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::fixture::Answer;
use crate::fixture::Setup;
use crate::fixture::Svinit;
use crate::fixture::executable;

const WEB: &str = "command = [\"sleep\", \"600\"]\naliases = [\"www\"]\n[environment]\nCOLOUR = \"blue\"";

fn web() -> Svinit {
    let svinit = Setup::new().unit("web", WEB).start();
    svinit.wait_for("web", "ready");
    svinit
}

/// PIDs and times are different each time.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for word in text.trim_end().split_inclusive([' ', ',', '\n']) {
        let end = word.trim_end_matches([' ', ',', '\n']);
        let number = end.parse::<f64>().is_ok();
        out.push_str(if number { "N" } else { end });
        out.push_str(&word[end.len()..]);
    }
    out
}

fn said(answer: &Answer) -> (i32, String) {
    (answer.code, masked(&answer.stdout))
}

#[test]
fn restart_tells_both_pids() {
    let svinit = web();
    let before = svinit.status("web")["pid"].to_string();
    let answer = svinit.svctl("restart web");
    let after = svinit.status("web")["pid"].to_string();
    assert_eq!(said(&answer), (0, "web: ready, pid N -> N, took N ms".to_owned()), "{answer:?}");
    assert!(answer.stdout.contains(&format!("pid {before} -> {after},")), "{answer:?}");
}

#[test]
fn stop_start_and_the_exit_statuses_of_questions() {
    let svinit = web();
    assert_eq!(svinit.svctl("status web").code, 0);
    assert_eq!(svinit.svctl("stop www").code, 0);
    assert_eq!(svinit.svctl("status web").code, 3);
    assert_eq!(said(&svinit.svctl("is-active web")), (3, "inactive".to_owned()));
    assert_eq!(svinit.svctl("status").code, 0);
    assert_eq!(said(&svinit.svctl("start web")).0, 0);
    assert_eq!(said(&svinit.svctl("is-active web")), (0, "ready".to_owned()));
}

#[test]
fn an_unknown_name_is_answered_with_a_near_one() {
    let svinit = web();
    for verb in ["status", "restart", "stop", "logs", "why", "cat", "env", "health", "wait", "show", "run"] {
        let answer = svinit.svctl(&format!("{verb} wbe"));
        assert_eq!(answer.code, 4, "{verb}: {answer:?}");
        assert!(answer.stderr.contains("did you mean \"web\"?"), "{verb}: {answer:?}");
        assert_eq!(answer.stdout, "", "{verb}");
    }
}

#[test]
fn a_start_that_fails_shows_its_last_words() {
    let svinit = Setup::new()
        .unit("web", WEB)
        .unit("bad", "enabled = false\ntype = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"echo no such table >&2; exit 3\"]\nrestart.policy = \"never\"")
        .start();
    let answer = svinit.svctl("start bad");
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        answer.stdout.starts_with("bad: cannot start: ") && answer.stdout.lines().count() == 1,
        "{answer:?}"
    );
    assert!(answer.stderr.contains("  | no such table\n"), "{answer:?}");
    assert!(answer.stderr.contains("svctl why bad"), "{answer:?}");
    let why = svinit.svctl("why bad");
    assert!(why.stdout.contains("Its last process exited with status 3"), "{why:?}");
    assert!(why.stdout.contains("What to do: mend what its last lines complain about"), "{why:?}");
}

#[test]
fn run_prints_the_lines_of_a_oneshot_and_ends_with_its_status() {
    let job = "enabled = false\ntype = \"oneshot\"\nrestart.policy = \"never\"\n";
    let svinit = Setup::new()
        .unit("web", WEB)
        .unit("good", &format!("{job}command = [\"sh\", \"-c\", \"echo one; echo two\"]"))
        .unit("bad", &format!("{job}command = [\"sh\", \"-c\", \"echo one; exit 5\"]"))
        .start();
    for _ in 0..3 {
        let answer = svinit.svctl("run good");
        assert_eq!((answer.code, answer.stdout.as_str()), (0, "one\ntwo\n"), "{answer:?}");
    }
    let answer = svinit.svctl("run bad");
    assert_eq!((answer.code, answer.stdout.as_str()), (5, "one\n"), "{answer:?}");
}

#[test]
fn exec_runs_a_command_in_the_context_of_the_unit() {
    let svinit = web();
    let units = svinit.path("units").display().to_string();
    let exec =
        |words: &[&str]| svinit.svctl_args(&[&["exec", "--units", &units, "web", "--"], words].concat());
    let answer = exec(&["sh", "-c", "echo $COLOUR $SVINIT_UNIT $PWD"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "blue web /\n"), "{answer:?}");
    assert_eq!(exec(&["sh", "-c", "exit 42"]).code, 42);
    assert_eq!(exec(&["/no/such/program"]).code, 127);
}

#[test]
fn json_is_for_programs() {
    let svinit = web();
    let json = |words: &str| serde_json::from_str::<serde_json::Value>(&svinit.svctl(words).stdout).unwrap();
    assert_eq!(json("status --json web")[0]["state"], "ready");
    assert!(json("restart --json web")[0]["took_ms"].is_number());
    assert_eq!(json("why --json web")["unit"], "web");
    assert_eq!(json("env --json web")["COLOUR"], "blue");
    assert_eq!(json("version --json")["supervisor"]["phase"], "running");
}

#[test]
fn wait_gives_up_with_its_own_status() {
    let svinit = web();
    assert_eq!(svinit.svctl("wait web --for healthy").code, 0);
    let answer = svinit.svctl("wait web --for inactive --timeout 50ms");
    assert_eq!(answer.code, 7, "{answer:?}");
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert_eq!(svinit.svctl("wait web --for inactive").code, 0);
}

#[test]
fn a_reader_that_leaves_and_a_full_disk_do_no_harm() {
    let svinit = web();
    let socket = svinit.socket().display().to_string();
    let shell = |script: &str| {
        let svctl = format!("{} --as svctl --socket {socket}", executable());
        let command = script.replace("SVCTL", &svctl);
        Command::new("bash").args(["-c", &command]).output().unwrap()
    };
    let left = shell("SVCTL status | true; exit ${PIPESTATUS[0]}");
    assert_eq!((left.status.code(), String::from_utf8_lossy(&left.stderr).as_ref()), (Some(0), ""));
    let full = shell("SVCTL status > /dev/full");
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("no space left on the device"), "{full:?}");
    assert_eq!(shell("SVCTL status >&-").status.code(), Some(0));
}

/// `svctl` with its standard output on a socket of ours: a pipe has no deadline, a socket has.
fn following(svinit: &Svinit, words: &[&str]) -> (Child, impl Iterator<Item = String>) {
    following_on(svinit, words, Stdio::null())
}

fn following_on(svinit: &Svinit, words: &[&str], stdin: Stdio) -> (Child, impl Iterator<Item = String>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let follower = Command::new(executable())
        .args(["--as", "svctl", "--socket"])
        .arg(svinit.socket())
        .args(words)
        .stdin(stdin)
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    (follower, BufReader::new(ours).lines().map(Result::unwrap))
}

#[test]
fn logs_go_on_as_they_come() {
    let text = "command = [\"sh\", \"-c\", \"trap 'echo hung up' HUP; echo up; while :; do sleep 0.05; done\"]\nready.log = \"up\"";
    let svinit = Setup::new().unit("web", text).start();
    svinit.wait_for("web", "ready");
    let (mut follower, mut lines) = following(&svinit, &["logs", "-f", "web"]);
    assert!(lines.by_ref().any(|line| line == "web | up"));
    assert_eq!(svinit.svctl("signal HUP web").code, 0);
    assert!(lines.by_ref().any(|line| line == "web | hung up"));
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn what_listens_until_eof_ends_with_its_stdin_and_not_before() {
    let svinit = web();
    for words in [&["events", "--initial", "--until-eof", "web"][..], &["logs", "-f", "--until-eof", "web"]] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut follower, mut lines) = following_on(&svinit, words, Stdio::from(OwnedFd::from(theirs)));
        (&ours).write_all(b"nobody reads this\n").unwrap();
        assert!(svinit.svctl("restart web").code == 0);
        assert!(lines.any(|line| line.contains("web")), "{words:?}");
        assert_eq!(follower.try_wait().unwrap(), None, "{words:?}");
        drop(ours);
        assert_eq!(follower.wait().unwrap().code(), Some(0), "{words:?}");
    }
}

#[test]
fn who_follows_events_hears_the_end_and_leaves_in_peace() {
    let svinit = web();
    let (mut follower, mut lines) = following(&svinit, &["events", "--initial"]);
    assert!(lines.by_ref().any(|line| line.contains("web")));
    assert_eq!(svinit.svctl("shutdown --no-wait").code, 0);
    assert!(lines.any(|line| line.contains("inactive")), "the last change is told");
    assert_eq!(svinit.wait_for_end(), 0);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn shutdown_returns_when_svinit_has_ended() {
    let svinit = web();
    let answer = svinit.svctl("shutdown");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "svinit has ended\n"), "{answer:?}");
    assert_eq!(svinit.wait_for_end(), 0);
    assert_eq!(svinit.svctl("status").code, 6);
}
