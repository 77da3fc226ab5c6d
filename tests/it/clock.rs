//! Time that goes on without svinit: a machine that was suspended, a container that was paused, a clock that has run for
//! years. Steps of the wall clock are for the simulator and `tests/tidy.rs`: no test may set the clock of the machine.

#![expect(clippy::disallowed_methods, reason = "a test asks the machine what it permits")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Essential, Setup, Svinit, eventually, kill, skip};
use crate::observer::pass;

/// A unit whose check by a command takes nearly all of the time, so that one is under way whenever the world stands still.
fn watched(name: &str) -> String {
    let check = format!("sleep 1; test ! -e {{dir}}/{name}.sick");
    format!(
        "command = [\"sleep\", \"600\"]\n[health]\nexec = [\"sh\", \"-c\", \"{check}\"]\n\
         interval = \"100ms\"\ntimeout = \"2s\"\nretries = 1\nstart_period = \"0s\"\n"
    )
}

/// And by a question to a listener that is part of the unit, which stands still with it.
const LISTENER: &str = "
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind('{dir}/listener')
listener.listen(64)
print('up', flush=True)
while True: listener.accept()[0].close()
";

fn listening() -> String {
    format!(
        "command = [\"python3\", \"-c\", {LISTENER:?}]\nready.log = \"up\"\n[health]\nunix = \"{{dir}}/listener\"\n\
         interval = \"100ms\"\ntimeout = \"1s\"\nretries = 1\nstart_period = \"0s\"\n"
    )
}

fn setup() -> Setup {
    let notifies =
        "ready.delay = \"1s\"\nready.timeout = \"2s\"\ncommand = [\"sleep\", \"600\"]\nenabled = false";
    Setup::new().unit("web", &watched("web")).unit("app", &listening()).unit("slow", notifies)
}

fn all_pass(svinit: &Svinit) {
    for unit in ["web", "app"] {
        svinit.wait_for_event(unit, "to be well", |event| event["health"] == "pass");
    }
}

/// The units are what they were before: nothing was restarted, and checks mean something again.
fn nothing_has_happened(svinit: &Svinit, pids: [Option<i32>; 2]) {
    all_pass(svinit);
    // So many checks later that a failure would have been acted upon.
    pass("2");
    assert_eq!([svinit.wait_for("web", "ready"), svinit.wait_for("app", "ready")], pids);
    for unit in ["web", "app"] {
        let status = svinit.status(unit);
        assert_eq!((&status["restarts"], &status["health"]), (&0.into(), &"pass".into()), "{status}");
    }
    assert!(!svinit.output().contains("health fail"), "{}", svinit.output());
    fs::write(svinit.path("web.sick"), "").unwrap();
    svinit.wait_for_another("web", "ready", pids[0]);
}

#[test]
fn a_supervisor_that_stood_still_blames_nobody_when_it_goes_on() {
    let svinit = setup().start();
    let pids = [svinit.wait_for("web", "ready"), svinit.wait_for("app", "ready")];
    all_pass(&svinit);
    for length in ["3", "3"] {
        svinit.signal("STOP");
        pass(length);
        svinit.signal("CONT");
        all_pass(&svinit);
    }
    nothing_has_happened(&svinit, pids);
}

/// A control group that can be frozen; removed when dropped.
struct Freezer {
    dir: PathBuf,
    /// The file, and the words that freeze and thaw.
    state: (PathBuf, [&'static str; 2]),
}

impl Freezer {
    fn new() -> Option<Self> {
        let name = format!("svinit-test-clock-{}", std::process::id());
        let places = [
            ("/sys/fs/cgroup/freezer", "freezer.state", ["FROZEN", "THAWED"]),
            ("/sys/fs/cgroup/unified", "cgroup.freeze", ["1", "0"]),
            ("/sys/fs/cgroup", "cgroup.freeze", ["1", "0"]),
        ];
        places.into_iter().find_map(|(mount, file, words)| {
            let dir = Path::new(mount).join(&name);
            fs::create_dir(&dir).ok()?;
            let freezer = Self { state: (dir.join(file), words), dir };
            freezer.state.0.exists().then_some(freezer)
        })
    }

    fn set(&self, frozen: bool) {
        fs::write(&self.state.0, self.state.1[usize::from(!frozen)]).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set(false);
        let _ = fs::remove_dir(&self.dir);
    }
}

#[test]
fn a_container_that_was_paused_goes_on_as_if_nothing_had_been() {
    let Some(freezer) = Freezer::new() else {
        return skip("no control group can be frozen here", Essential::No);
    };
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", freezer.dir.display());
    let svinit = setup().through(&["sh", "-c", &join, "sh"]).start();
    let pids = [svinit.wait_for("web", "ready"), svinit.wait_for("app", "ready")];
    all_pass(&svinit);
    for length in ["3", "3"] {
        freezer.set(true);
        pass(length);
        freezer.set(false);
        all_pass(&svinit);
    }
    nothing_has_happened(&svinit, pids);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    eventually("the group is empty", || {
        fs::read_to_string(freezer.dir.join("cgroup.procs")).unwrap().is_empty()
    });
}

#[test]
fn a_clock_that_has_run_for_a_century_is_a_clock_like_any_other() {
    let century = "3155760000";
    let words =
        ["unshare", "--fork", "--kill-child", "--time", "--monotonic", century, "--boottime", century];
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skip("no namespace of time can be made here", Essential::No);
    }
    // Its monotonic clock is ahead of ours, which is as if ours were set back: nothing of it may be compared with ours.
    let words: Vec<&str> = words.into_iter().filter(|word| !word.starts_with("--fork")).collect();
    let crash = "command = [\"sh\", \"-c\", \"echo here $$$$; exec sleep 600\"]\nrestart.delay = \"100ms\"";
    let inner = ["sh", "-c", "exec \"$@\"", "sh"];
    let through: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "--kill-child")
        .chain(["--fork", "--kill-child"])
        .chain(inner)
        .collect();
    let svinit = setup().unit("crash", crash).through(&through).start();
    let pids = [svinit.wait_for("web", "ready"), svinit.wait_for("app", "ready")];
    all_pass(&svinit);
    let pid = svinit.wait_for("crash", "ready");
    kill(pid.unwrap(), "KILL");
    svinit.wait_for_another("crash", "ready", pid);
    assert_eq!(svinit.svctl("start slow").code, 0);
    let since = svinit.status("web")["since"].as_str().unwrap().to_owned();
    let year = |text: &str| text[..4].parse::<i32>().unwrap();
    let now = Command::new("date").args(["-u", "+%Y"]).output().unwrap();
    let now = year(std::str::from_utf8(&now.stdout).unwrap());
    assert!((year(&since) - now).abs() <= 1, "{since}");
    nothing_has_happened(&svinit, pids);
    // What makes the namespace is between us and svinit: a signal would end that, and leave the units.
    assert_eq!(svinit.svctl("shutdown").code, 0);
    assert_eq!(svinit.wait_for_end(), 0);
}
