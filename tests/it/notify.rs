//! What processes say on notify sockets: all that they may say, who may say it, and what changes nothing.

use crate::fixture::{Setup, Svinit, eventually};
use crate::observer;

/// Sends what its arguments say, each a Python expression, then stays.
const SENDER: &str = "
import os, signal, socket, sys
path = os.environ.get('TARGET') or os.environ['NOTIFY_SOCKET']
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
refused = 0
for word in sys.argv[1:]:
    try:
        s.sendto(eval(word), path)
    except OSError as error:
        refused += 1
print('sent', len(sys.argv) - 1 - refused, flush=True)
signal.pause()
";

fn sender(kind: &str, words: &[&str], more: &str) -> String {
    let mut command = vec!["python3", "-c", SENDER];
    command.extend(words);
    format!("type = \"{kind}\"\ncommand = {command:?}\n{more}")
}

#[test]
fn datagrams_of_any_size_and_content_leave_the_socket_usable() {
    let words = [
        "b''",
        "b'\\n'",
        "b'='",
        "b'READY'",
        "b'x' * 70000",
        "b'READY=1' + b'x' * 70000",
        "b'x' * 150000 + b'\\nREADY=1'",
        "b'\\0' * 4096",
        "bytes(range(256)) * 10",
        "b'MAINPID=1'",
        "b'MAINPID=-1'",
        "b'MAINPID=99999999999999999999'",
        "b'STATUS=' + b'\\xff' * 3000",
        "b'READY=2'",
        "b'EXTEND_TIMEOUT_USEC=18446744073709551615'",
        "b'WATCHDOG=trigger'",
        "b'FDSTORE=1'",
        "b'ready=1'",
        "b'\\n' * 4000",
        "b''",
    ];
    let mut all: Vec<&str> = words.into_iter().cycle().take(words.len() * 20).collect();
    let quiet = sender("notify", &all, "ready.timeout = \"1h\"");
    all.push("b'STATUS=at last\\nREADY=1'");
    let svinit = Setup::new()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit("quiet", &quiet)
        .unit("loud", &sender("notify", &all, ""))
        .start();
    svinit.wait_for_line("loud | sent 4");
    svinit.wait_for("loud", "ready");
    assert_eq!(svinit.status("loud")["status_text"], "at last");
    svinit.wait_for_line("quiet | sent 4");
    assert_eq!(svinit.status("quiet")["state"], "starting", "nothing of that was READY=1");
    let main = svinit.status("loud")["pid"].as_i64();
    assert!(main > Some(1), "nobody has made itself another's main process");
    let share = observer::share_of_a_core(svinit.pid(), || observer::pass("1"));
    assert!(share < 0.1, "svinit spins: {share}");
}

fn of_another_unit(user: &str) -> Svinit {
    let waits = "type = \"notify\"\nready.timeout = \"1h\"\ncommand = [\"sh\", \"-c\", \"echo $NOTIFY_SOCKET > {dir}/path; exec sleep 600\"]";
    let script = format!(
        "while ! [ -s {{dir}}/path ]; do sleep 0.01; done; export TARGET=$(cat {{dir}}/path); exec python3 -c '{}' \"$@\"",
        SENDER.replace('\'', "\"")
    );
    let words = ["b\"READY=1\"", "b\"STATUS=forged\"", "b\"MAINPID=1\""];
    let mut command = vec!["sh", "-c", script.as_str(), "sh"];
    command.extend(words);
    Setup::new().unit("web", waits).unit("spy", &format!("{user}command = {command:?}")).start()
}

#[test]
fn a_unit_cannot_speak_for_another() {
    let svinit = of_another_unit("");
    svinit.wait_for_line("spy | sent 3");
    // What it has sent was read before anything that is asked now.
    eventually("it was heard", || svinit.svctl("status spy").code == 0);
    let web = svinit.status("web");
    assert_eq!(web["state"], "starting", "{web}");
    assert!(web["status_text"].is_null(), "{web}");
    assert_ne!(web["pid"], 1);
}

#[test]
fn ready_that_comes_twice_or_after_the_end_means_nothing() {
    // A process of the run before this one, out of reach of its unit's stop, cannot be; what is left of it is a datagram.
    let script =
        format!("python3 -c '{}' \"$@\" & wait $!", SENDER.replace('\'', "\"").replace("signal.pause()", ""));
    let mut twice = vec!["sh", "-c", script.as_str(), "sh"];
    twice.extend(["b\"READY=1\""; 200]);
    let dies =
        format!("type = \"notify\"\ncommand = {twice:?}\n[restart]\nmax_delay = \"100ms\"\nlimit = 0\n");
    let late = "type = \"notify\"\nready.timeout = \"300ms\"\nrestart.policy = \"never\"\ncommand = [\"sleep\", \"600\"]";
    let svinit = Setup::new()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit("twice", &sender("notify", &["b'READY=1'"; 50], ""))
        .unit("dies", &dies)
        .unit("late", late)
        .start();
    svinit.wait_for_line("twice | sent 50");
    svinit.wait_for("twice", "ready");
    svinit.wait_for("late", "failed");
    eventually("it has died a few times", || svinit.status("dies")["restarts"].as_u64() >= Some(3));
    assert_eq!(svinit.output().matches("svinit | twice: ready").count(), 1);
    // Each run was ready once at most, however often it said so.
    let said = svinit.output();
    let (ready, ended) =
        (said.matches("svinit | dies: ready").count(), said.matches("svinit | dies: backoff").count());
    assert!(ready <= ended + 2, "{ready} times ready, {ended} times not: {said}");
}
