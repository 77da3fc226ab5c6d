//! Numbers of processes that are given to another process the moment they are free: whoever has the number then must
//! not get the signals that were meant for the one before.

use crate::fixture::{Essential, PATIENCE, Setup, is_root, rounds, skip};

/// Inside the namespace of svinit: has units stopped and killed, and takes each number as soon as it is free, by telling
/// the kernel which was the last. A victim dies of any signal, or is seen to have stopped or gone on.
const REUSER: &str = r#"
import http.client, json, os, signal, socket, sys, time

class Control(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("sock")

def ask(method, path, body=None):
    control = Control("svinit")
    control.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
    answer = control.getresponse().read()
    control.close()
    return answer

last = os.open("/proc/sys/kernel/ns_last_pid", os.O_WRONLY)

def take(pid):
    os.pwrite(last, str(pid - 1).encode(), 0)
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    if child == pid:
        return True
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False

def is_gone(pid):
    try:
        os.kill(pid, 0)
        return False
    except ProcessLookupError:
        return True

wanted, reused, wrong, rounds = int(sys.argv[1]), 0, 0, 0
while reused < wanted:
    rounds += 1
    ask("POST", "/v1/jobs", {"verb": "start", "units": ["quick*", "slow*", "crash*"]})
    units = {unit["unit"]: unit["pid"] for unit in json.loads(ask("GET", "/v1/units"))}
    free = [pid for name, pid in units.items() if pid and name[:5] in ("quick", "slow-", "crash")]
    ask("POST", "/v1/jobs", {"verb": "stop", "units": ["quick*", "slow*"], "wait": False})
    for name, pid in units.items():
        if pid and name.startswith("crash"):
            os.kill(pid, signal.SIGKILL)
    victims = []
    # A number that svinit itself has given to a replacement is not to be had.
    until = time.monotonic() + 0.1
    while free and time.monotonic() < until:
        for pid in [pid for pid in free if is_gone(pid)]:
            free.remove(pid)
            if take(pid):
                victims.append(pid)
    # By the end of this start, every timer of the stops above has come and gone.
    ask("POST", "/v1/jobs", {"verb": "stop", "units": ["quick*", "slow*"]})
    ask("POST", "/v1/jobs", {"verb": "restart", "units": ["timer"]})
    for pid in victims:
        reused += 1
        if os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED) != (0, 0):
            wrong += 1
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
print("reused", reused, "wrong", wrong, "rounds", rounds, flush=True)
signal.pause()
"#;

#[test]
fn the_next_owner_of_a_number_gets_no_signal_that_was_for_the_last() {
    if !is_root() {
        return skip("only root can choose the next number of a process", Essential::No);
    }
    let Some(mut setup) = Setup::new().pid1() else { return };
    let again = "[restart]\nlimit = 0\nmax_delay = \"100ms\"\n[stop]\ntimeout = \"20ms\"";
    for number in 0..8 {
        let unit = |start: &str, command: &str| format!("{start}command = {command}\n{again}");
        let leaves = "setsid sleep 600 & exec sleep 600";
        setup = setup
            // Ends at once when it is told to: the timer of its stop is still to come.
            .unit(&format!("quick{number}"), &unit("", "[\"sleep\", \"600\"]"))
            // Is killed by that timer.
            .unit(&format!("slow-{number}"), &unit("", "[\"sh\", \"-c\", \"trap '' TERM; exec sleep 600\"]"))
            // Is killed by somebody else, and leaves a process that is cleared away before it comes back.
            .unit(&format!("crash{number}"), &unit("", &format!("[\"sh\", \"-c\", {leaves:?}]")));
    }
    // Outlasts their stops by as much again.
    let timer = "command = [\"sh\", \"-c\", \"trap '' TERM; exec sleep 600\"]\n[stop]\ntimeout = \"40ms\"";
    let wanted = rounds(1000).to_string();
    let reuser = format!(
        "enabled = false\nworking_dir = \"{{dir}}\"\ncommand = [\"python3\", \"-c\", {REUSER:?}, \"{wanted}\"]"
    );
    let svinit = setup.unit("timer", timer).unit("reuser", &reuser).config("fork_rate = 10000\n").start();
    svinit.wait_for("timer", "ready");
    assert_eq!(svinit.svctl("start reuser").code, 0);
    let line = svinit.wait_long_for_line(PATIENCE * u32::try_from(rounds(1)).unwrap(), "reuser | reused");
    eprintln!("{line}");
    assert!(line.contains(" wrong 0 "), "{line}");
}
