//! What units write, on its way to a stdout that is frozen, shared or strange: no line is lost, none is forged, and
//! nobody waits for it but who wrote it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::fixture::{Setup, Svinit, eventually, is_root, kill, processes_with, rounds};
use crate::observer::{self, Reader};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Lines of a flood: a few megabytes, far more than all buffers on the way hold.
const LINES: usize = 400_000;

/// Starts with its output going to a reader that does not read.
fn frozen(setup: Setup) -> (Svinit, Reader) {
    let reader = Reader::at(&setup.path("stdout"));
    let words = reader.takes_both();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let svinit = setup.through(&words).launch();
    svinit.wait_for_socket();
    (svinit, reader)
}

/// The numbers that `unit` has counted, in the order in which they came.
fn counted(lines: &[String], unit: &str) -> Vec<usize> {
    let prefix = format!("{unit} | ");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

fn flood(log: &str) -> String {
    format!("{log}\ncommand = [\"sh\", \"-c\", \"seq 1 {LINES}; exec sleep 600\"]")
}

/// Everything that is asked of svinit while nobody reads what it writes.
fn is_of_use(svinit: &Svinit) {
    for _ in 0..rounds(10) {
        let web = svinit.status("web")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        assert_eq!(svinit.svctl("restart web").code, 0);
        let web = svinit.wait_for_another("web", "ready", web).unwrap();
        kill(web, "KILL");
        svinit.wait_for_another("web", "ready", Some(web));
        assert_eq!(svinit.svctl("status").code, 0);
        assert_eq!(svinit.svctl("health").code, 0);
    }
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert_eq!(svinit.svctl("start web").code, 0);
}

#[test]
fn a_frozen_stdout_holds_who_writes_and_nobody_else_and_no_line_is_lost() {
    let (svinit, mut reader) = frozen(Setup::new().unit("web", STAY).unit("flood", &flood("")));
    let flood = svinit.wait_for("flood", "ready");
    is_of_use(&svinit);
    assert!(!processes_with(&format!("seq 1 {LINES}")).is_empty(), "it waits in its write");
    let lines = reader.lines_until(|line| line == format!("flood | {LINES}"));
    assert_eq!(counted(&lines, "flood"), (1..=LINES).collect::<Vec<_>>());
    assert!(!lines.iter().any(|line| line.contains("dropped")), "nothing is dropped");
    assert_eq!(svinit.wait_for("flood", "ready"), flood);
    // What happened meanwhile is told now.
    assert!(lines.iter().any(|line| line.contains("web: ready")));
}

#[test]
fn a_unit_that_would_rather_lose_lines_does_not_wait_for_a_frozen_stdout_and_they_are_counted() {
    let once = format!(
        "type = \"oneshot\"\ncommand = [\"seq\", \"{LINES}\"]\n[log]\nwhen_blocked = \"drop-oldest\"\nbuffer = \"64K\""
    );
    let (svinit, mut reader) = frozen(Setup::new().unit("web", STAY).unit("flood", &once));
    // It writes all that it has while nobody reads.
    svinit.wait_for("flood", "completed");
    is_of_use(&svinit);
    let lines = reader.lines_until(|line| line == format!("flood | {LINES}"));
    let seen = counted(&lines, "flood");
    assert!(seen.is_sorted() && seen.len() < LINES);
    let dropped: usize = lines
        .iter()
        .filter_map(|line| {
            line.strip_prefix("svinit | flood: ")?.strip_suffix(" lines dropped, stdout is blocked")
        })
        .map(|number| number.parse::<usize>().unwrap())
        .sum();
    assert_eq!(seen.len() + dropped, LINES);
}

#[test]
fn a_blocked_unit_can_be_stopped_and_what_it_wrote_is_not_lost() {
    let (svinit, mut reader) = frozen(Setup::new().unit("web", STAY).unit("flood", &flood("")));
    svinit.wait_for("flood", "ready");
    let last = || svinit.svctl("logs flood -n 1").stdout.split_whitespace().last()?.parse().ok();
    eventually("a thousand lines have come", || last().is_some_and(|number: usize| number > 1000));
    assert_eq!(svinit.svctl("stop flood").code, 0);
    svinit.wait_for("flood", "inactive");
    is_of_use(&svinit);
    let kept = svinit.svctl("logs flood -n 1");
    svinit.signal("TERM");
    let lines = reader.lines_until(|line| line.starts_with("svinit | flood: stopped"));
    let seen = counted(&lines, "flood");
    assert_eq!(seen, (1..=seen.len()).collect::<Vec<_>>(), "{kept:?}");
    assert!(seen.len() > 1000);
}

#[test]
fn svinit_ends_within_its_time_although_nobody_reads_its_last_words() {
    let (svinit, reader) = frozen(Setup::new().unit("web", STAY).unit("flood", &flood("")));
    svinit.wait_for("flood", "ready");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    drop(reader);
}

/// The flags of a descriptor, as the kernel has them.
fn flags(pid: i32, fd: i32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap()
}

#[test]
fn the_streams_that_svinit_was_given_stay_as_they_are() {
    const NONBLOCK: u32 = 0o4000;
    // 300 kB at once are more than a pipe holds: were it not to block, head would end with an error.
    let whole =
        "type = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"head -c 300000 /dev/zero; echo; echo end $?\"]\n";
    let setup = Setup::new()
        .unit("web", STAY)
        .unit("shared", &format!("{whole}log.forward = \"inherit\""))
        .unit("piped", &format!("{whole}after = [\"shared\"]"));
    let mut reader = Reader::at(&setup.path("stdout"));
    let words = reader.takes_stdout();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let svinit = setup.through(&words).launch();
    svinit.wait_for_socket();
    let lines = reader.lines_until(|line| line == "piped | end 0");
    assert!(lines.iter().any(|line| line == "end 0"), "the shared one has written all");
    let zeros = |line: &&String| line.bytes().filter(|byte| *byte == 0).count();
    assert_eq!(lines.iter().map(|line| zeros(&line)).max(), Some(300_000));
    for fd in 0..3 {
        assert_eq!(flags(svinit.pid(), fd) & NONBLOCK, 0, "descriptor {fd}");
    }
}

/// Makes its stdout nonblocking, as some other process that shares it may, and becomes what follows.
const NONBLOCKING: &str = "
import os, sys
os.set_blocking(1, False)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_stdout_that_somebody_made_nonblocking_loses_nothing_either() {
    let setup = Setup::new().unit("flood", &flood("")).unit("web", STAY);
    let mut reader = Reader::at(&setup.path("stdout"));
    let mut words = reader.takes_both();
    words.extend(["python3", "-c", NONBLOCKING].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let svinit = setup.through(&words).launch();
    svinit.wait_for_socket();
    is_of_use(&svinit);
    let share = observer::share_of_a_core(svinit.pid(), || observer::pass("1"));
    assert!(share < 0.5, "svinit spins: {share}");
    let lines = reader.lines_until(|line| line == format!("flood | {LINES}"));
    assert_eq!(counted(&lines, "flood"), (1..=LINES).collect::<Vec<_>>());
}

#[test]
fn a_unit_of_another_user_may_open_its_streams_by_name() {
    let user = if is_root() { "user = \"nobody\"\n" } else { "" };
    let script = "echo to stdout > /dev/stdout; echo to stderr > /dev/stderr; echo to fd > /proc/self/fd/1";
    let setup = Setup::new()
        .unit("web", STAY)
        .unit("show", &format!("{user}type = \"oneshot\"\ncommand = [\"sh\", \"-ec\", {script:?}]"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let svinit = setup.start();
    svinit.wait_for("show", "completed");
    for part in ["to stdout", "to stderr", "to fd"] {
        svinit.wait_for_line(&format!("show | {part}"));
    }
}

#[test]
fn a_line_without_an_end_costs_no_memory() {
    let length = rounds(64) << 20;
    let script = format!("head -c {length} /dev/zero | tr '\\\\0' x; echo; echo over");
    let setup = Setup::new()
        .unit("web", STAY)
        .unit("giant", &format!("enabled = false\ncommand = [\"sh\", \"-c\", \"{script}; exec sleep 600\"]"));
    let mut reader = Reader::at(&setup.path("stdout"));
    let words = reader.takes_stdout();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let svinit = setup.through(&words).launch();
    svinit.wait_for_socket();
    svinit.wait_for("web", "ready");
    let before = observer::status_number(svinit.pid(), "VmHWM");
    assert_eq!(svinit.svctl("start giant").code, 0);
    let (mut seen, mut end) = (0, Vec::new());
    while !end.ends_with(b"giant | over\n") {
        let bytes = reader.bytes();
        seen += bytes.iter().filter(|byte| **byte == b'x').count();
        end.extend_from_slice(&bytes);
        end.drain(..end.len().saturating_sub(64));
    }
    assert_eq!(seen, length);
    let grown = observer::status_number(svinit.pid(), "VmHWM") - before;
    assert!(grown < 8 << 10, "{grown} kB more at its highest");
}

/// Bytes with which a unit could pose as another on a terminal or in a log, or break whoever reads it.
const FORGERIES: &str = "
import sys
out = sys.stdout.buffer
for text in (b'x\\rweb | forged', b'\\x1b[2K\\x1b[1Gsvinit | web: failed', b'a\\x08\\x08\\x08web | forged', b'nul \\0 here',
             b'bad \\xff\\xfe\\xc0\\x80 utf-8', b'\\x1b]0;title\\x07', b'line\\x0bweb | forged', b'\\x1b[31mred\\x1b[0m',
             '\\u2028web | forged'.encode(), b'\\x85web | forged', b'over'):
    out.write(text + b'\\n')
out.flush()
";

#[test]
fn no_unit_can_pose_as_another_whatever_it_writes() {
    let unit = format!("type = \"oneshot\"\ncommand = [\"python3\", \"-c\", {FORGERIES:?}]");
    let svinit = Setup::new().unit("web", STAY).unit("forger", &unit).start();
    svinit.wait_for_line("forger | over");
    let said = svinit.output();
    let forged: Vec<&str> = said.lines().filter(|line| line.contains("forged")).collect();
    assert_eq!(forged.len(), 5, "{said}");
    for line in said.lines() {
        assert!(line.starts_with("forger | ") || line.starts_with("svinit | "), "{line:?}");
        assert!(line.starts_with("svinit | ") || !line.contains("\u{1b}[2K"), "{line:?}");
        assert!(!line.contains(['\r', '\u{8}', '\u{b}']), "{line:?}");
    }
}

#[test]
fn in_json_every_line_is_an_object_of_its_own_unit() {
    let unit = format!("type = \"oneshot\"\ncommand = [\"python3\", \"-c\", {FORGERIES:?}]");
    let svinit = Setup::new().unit("web", STAY).unit("forger", &unit).args(&["--log-format", "json"]).start();
    svinit.wait_for_line("\"message\":\"over\"");
    let objects: Vec<Value> =
        svinit.output().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let forger = |object: &&Value| object["unit"] == "forger" && object["stream"] == "stdout";
    assert_eq!(objects.iter().filter(forger).count(), 11);
    assert!(objects.iter().any(|object| object["message"] == "x\rweb | forged"), "{objects:?}");
}

#[test]
fn the_last_words_of_everything_that_dies_are_there() {
    const EACH: usize = 50;
    let unit = |number: usize| {
        let script = format!(
            "echo first of {number}; echo second of {number} >&2; printf 'last of {number}'; kill -9 $$$$"
        );
        format!(
            "type = \"oneshot\"\nenabled = false\nrestart.policy = \"never\"\ncommand = [\"sh\", \"-c\", {script:?}]"
        )
    };
    let setup =
        (0..EACH).fold(Setup::new().unit("web", STAY), |setup, n| setup.unit(&format!("dies{n}"), &unit(n)));
    let svinit = setup.start();
    let times = rounds(20);
    for _ in 0..times {
        let answer = svinit.svctl("restart dies* --json");
        assert!(answer.stdout.contains("SIGKILL"), "{answer:?}");
    }
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    let said = svinit.output();
    for number in 0..EACH {
        for word in ["first", "second", "last"] {
            let line = format!("dies{number} | {word} of {number}");
            assert_eq!(said.lines().filter(|said| **said == line).count(), times, "{line}");
        }
    }
}

#[test]
fn nobody_waits_for_a_pipe_that_a_grandchild_keeps_open() {
    let left = "sleep 3600.0301 & echo done";
    let job = format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {left:?}]");
    let hooked = format!("requires = [\"job\"]\nhooks.pre_start = [[\"sh\", \"-c\", {left:?}]]\n{STAY}");
    let svinit = Setup::new().unit("job", &job).unit("web", &hooked).start();
    svinit.wait_for("job", "completed");
    svinit.wait_for("web", "ready");
    svinit.wait_for_line("job | done");
    svinit.wait_for_line("web | done");
}

#[test]
fn a_service_that_closes_its_streams_costs_nothing() {
    let script = "exec 1>&- 2>&-; exec sleep 600";
    let setup = (0..10).fold(Setup::new(), |setup, number| {
        setup.unit(&format!("mute{number}"), &format!("command = [\"sh\", \"-c\", {script:?}]"))
    });
    let svinit = setup.start();
    for number in 0..10 {
        svinit.wait_for(&format!("mute{number}"), "ready");
    }
    let share = observer::share_of_a_core(svinit.pid(), || observer::pass("1.5"));
    assert!(share < 0.05, "svinit spins: {share}");
}
