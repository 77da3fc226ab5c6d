//! The fifty units: quiet ones, checked ones, and those that crash, write, leave orphans or say when they are ready.

use std::fs;
use std::path::Path;

/// Bytes that a writing unit writes ten times a second.
const CHUNK: usize = 100_000;

/// Names of the units that are restarted by request.
pub fn restarted() -> Vec<String> {
    let quiet = (0..QUIET).map(|nth| format!("quiet-{nth}"));
    quiet.chain((0..CHECKED).map(|nth| format!("checked-{nth}"))).chain([said(0)]).collect()
}

/// They do nothing.
const QUIET: usize = 22;
/// Checked every half second.
const CHECKED: usize = 10;
/// They end after a second or so and come back.
const CRASHING: usize = 6;
/// A megabyte a second each.
const WRITING: usize = 5;
/// They leave processes behind all the time.
const FORKING: usize = 5;
/// They say that they are ready.
const SAYING: usize = 2;

fn said(nth: usize) -> String {
    format!("saying-{nth}")
}

/// How many there are.
pub const COUNT: usize = QUIET + CHECKED + CRASHING + WRITING + FORKING + SAYING;

/// Writes all of them below `dir`; `port` answers their checks.
pub fn write(dir: &Path, port: u16) {
    let units = dir.join("units");
    fs::create_dir(&units).unwrap();
    let line = "the quick brown fox jumps over the lazy dog and is written into a file that is rotated\n";
    fs::write(dir.join("chunk"), line.repeat(CHUNK / line.len())).unwrap();
    fs::write(dir.join("say.py"), SAY).unwrap();
    let put = |name: String, text: String| fs::write(units.join(format!("{name}.toml")), text).unwrap();
    for nth in 0..QUIET {
        put(format!("quiet-{nth}"), "command = [\"sleep\", \"100000\"]\n".to_owned());
    }
    for nth in 0..CHECKED {
        // One of them by a command, which is a process each time.
        let check = if nth == 0 {
            "exec = [\"true\"]".to_owned()
        } else {
            format!("http = \"http://127.0.0.1:{port}/\"")
        };
        put(
            format!("checked-{nth}"),
            format!("command = [\"sleep\", \"100000\"]\n[health]\n{check}\ninterval = \"450ms\"\n"),
        );
    }
    for nth in 0..CRASHING {
        put(
            format!("crashing-{nth}"),
            format!(
                "command = [\"sh\", \"-c\", \"echo up; sleep 1.{nth}; exit 1\"]\n\
                 restart = {{ delay = \"100ms\", factor = 1.0, limit = 0 }}\n"
            ),
        );
    }
    for nth in 0..WRITING {
        let chunk = dir.join("chunk");
        put(
            format!("writing-{nth}"),
            format!(
                "command = [\"sh\", \"-c\", \"while :; do cat {}; sleep 0.1; done\"]\n\
                 [log]\nforward = {}\nfile = \"{}\"\nmax_size = \"4M\"\nkeep = 3\n",
                chunk.display(),
                nth == 0,
                dir.join(format!("writing-{nth}.log")).display()
            ),
        );
    }
    for nth in 0..FORKING {
        put(
            format!("forking-{nth}"),
            "command = [\"sh\", \"-c\", \"while :; do (setsid sleep 0.2 &); (setsid true &); sleep 0.4; done\"]\n"
                .to_owned(),
        );
    }
    for nth in 0..SAYING {
        let script = dir.join("say.py");
        put(said(nth), format!("type = \"notify\"\ncommand = [\"python3\", \"{}\"]\n", script.display()));
    }
}

const SAY: &str = r#"
import os, socket, time
say = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
place = os.environ["NOTIFY_SOCKET"]
say.sendto(b"READY=1\nSTATUS=up", place)
count = 0
while True:
    time.sleep(0.5)
    count += 1
    say.sendto(b"STATUS=turn %d" % count, place)
"#;
