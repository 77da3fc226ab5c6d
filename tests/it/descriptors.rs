//! Descriptors and limits: none is passed on or left behind, running out of them stops nobody, and a limit that is
//! reached is waited for.

#![expect(clippy::disallowed_methods, reason = "a test makes the machine short of what it has")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::fixture::{Essential, Setup, Svinit, eventually, executable, is_root, kill, rounds, skip};
use crate::observer;

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Says that it is there each time that it is started.
const HERE: &str = "command = [\"sh\", \"-c\", \"echo here $$$$; exec sleep 600\"]";

/// Leaves many descriptors open, and becomes what follows.
const CARELESS: &str = "
import os, sys
for number in range(3, 120):
    os.dup2(0, number, inheritable=True)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn nothing_that_svinit_inherited_or_opened_reaches_a_process_of_a_unit() {
    let list = "echo $1 $(ls /proc/self/fd | wc -l)";
    let words = |name: &str| format!("[\"sh\", \"-c\", {list:?}, \"sh\", \"{name}\"]");
    let show = format!(
        "command = [\"sh\", \"-c\", {:?}]\nready.exec = {}\nhooks.pre_start = [{}]\nhooks.post_start = [{}]",
        "echo main $(ls /proc/self/fd | wc -l); exec sleep 600",
        "[\"sh\", \"-c\", \"ls /proc/self/fd | wc -l > {dir}/probe\"]",
        words("pre"),
        words("post")
    );
    let svinit = Setup::new()
        .through(&["python3", "-c", CARELESS])
        .http()
        .unit("web", STAY)
        .unit("show", &show)
        .start();
    svinit.wait_for("show", "ready");
    // The fourth is the directory that `ls` reads.
    for part in ["pre 4", "main 4", "post 4"] {
        svinit.wait_for_line(&format!("show | {part}"));
    }
    assert_eq!(fs::read_to_string(svinit.path("probe")).unwrap().trim(), "4");
}

#[test]
fn restarts_and_visits_leave_no_descriptor_thread_or_memory_behind() {
    let notifies = "type = \"oneshot\"\nenabled = false\ncommand = [\"sh\", \"-c\", \"echo done >&2\"]";
    let svinit = Setup::new().http().unit("web", STAY).unit("job", notifies).start();
    svinit.wait_for("web", "ready");
    let (pid, address) = (svinit.pid(), svinit.http());
    let visit = || {
        let mut answer = String::new();
        let restart = r#"{"verb": "restart", "units": ["web", "job"]}"#;
        svinit.request("POST", "/v1/jobs", restart).read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#"{"type":"done","ok":true}"#), "{answer}");
        assert!(observer::public(&address, "/health").contains("200 OK"));
        assert!(observer::public(&address, "/metrics").contains("svinit_processes_spawned"));
        // One that goes away in the middle of its request, and one in the middle of the answer.
        drop(UnixStream::connect(svinit.socket()).unwrap());
        drop(svinit.request("GET", "/v1/events?initial=true", ""));
    };
    (0..20).for_each(|_| visit());
    eventually("the visitors are gone", || observer::descriptors(pid) < 60);
    let threads = observer::threads(pid);
    let least = (0..50).map(|_| observer::descriptors(pid)).min().unwrap();
    let memory = observer::status_number(pid, "RssAnon");
    (0..rounds(100)).for_each(|_| visit());
    eventually("there are as many descriptors as before", || observer::descriptors(pid) <= least);
    assert_eq!(observer::threads(pid), threads);
    let grown = observer::status_number(pid, "RssAnon").saturating_sub(memory);
    assert!(grown < 1024, "{grown} kB more after {} rounds", rounds(100));
}

/// Connections that live on: streams of events on the control socket, and idle ones on the public listener.
struct Crowd {
    _streams: Vec<UnixStream>,
    _idle: Vec<TcpStream>,
}

impl Crowd {
    fn of(svinit: &Svinit, address: &str) -> Self {
        let streams = (0..64).filter_map(|_| {
            let mut stream = UnixStream::connect(svinit.socket()).ok()?;
            stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: svinit\r\n\r\n").ok()?;
            Some(stream)
        });
        let streams = streams.collect();
        Self { _streams: streams, _idle: (0..128).filter_map(|_| TcpStream::connect(address).ok()).collect() }
    }
}

#[test]
fn a_crash_is_repaired_while_visitors_hold_every_descriptor_that_they_can_get() {
    let limited = ["prlimit", "--nofile=72:72"];
    let user = if is_root() { "user = \"nobody\"\n" } else { "" };
    let setup = Setup::new().http().unit("web", &format!("{user}type = \"simple\"\n{HERE}"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let svinit = setup.through(&limited).start();
    let mut web = svinit.wait_for("web", "ready").unwrap();
    let (pid, address) = (svinit.pid(), svinit.http());
    let crowd = Crowd::of(&svinit, &address);
    eventually("there are many visitors", || observer::descriptors(pid) >= 50);
    for crash in 2..5 {
        kill(web, "KILL");
        let line = || {
            svinit
                .output()
                .lines()
                .filter(|line| line.contains("web | here"))
                .nth(crash - 1)
                .map(str::to_owned)
        };
        eventually("the unit is there again", || line().is_some());
        web = line().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap();
    }
    let share = observer::share_of_a_core(pid, || observer::pass("1.5"));
    assert!(share < 0.5, "svinit spins: {share}");
    let said = svinit.output();
    assert!(!said.contains("did not help") && !said.contains("svinit | web: cannot"), "{said}");
    drop(crowd);
    eventually("svctl is served again", || svinit.svctl("status web").code == 0);
    // The listener breathes before it accepts again.
    let is_served = || observer::asked(&address, "/health").is_ok_and(|answer| answer.contains("200 OK"));
    eventually("/health is served again", is_served);
    eventually("the descriptors are free again", || observer::descriptors(pid) < 40);
}

/// Becomes another user in whose name these processes are counted, or says why it cannot.
fn nobodys_processes(limit: u32) -> Option<(u32, Vec<String>)> {
    // A number that no account has, and no other test: the limit counts all processes of a user.
    let uid = 2_000_000 + std::process::id();
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let limit = format!("--nproc={limit}:{limit}");
    let words = ["setpriv", &user, &group, "--clear-groups", "prlimit", &limit].map(str::to_owned);
    let tried =
        Command::new(&words[0]).args(&words[1..]).args(["test", "-x", executable()]).output().unwrap();
    if !is_root() || !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        skip(&format!("a user without a name cannot execute {} here {why}", executable()), Essential::No);
        return None;
    }
    Some((uid, words.to_vec()))
}

#[test]
fn a_unit_comes_up_by_itself_when_processes_can_be_made_again() {
    let Some((uid, words)) = nobodys_processes(40) else { return };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let setup = Setup::new()
        .unit(
            "web",
            &format!("restart.limit = 2\nrestart.on_limit = \"fail\"\nrestart.max_delay = \"500ms\"\n{HERE}"),
        )
        .unit("other", STAY);
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let svinit = setup.through(&words).start();
    let web = svinit.wait_for("web", "ready").unwrap();
    let other = svinit.wait_for("other", "ready").unwrap();
    // Somebody else of the same user takes all there is, without a limit of their own.
    let hog = "for i in $(seq 60); do sleep 3600.0404 & done; echo full; read end; kill -9 0";
    let mut hog = Command::new("setsid")
        .args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups"])
        .args(["sh", "-c", hog])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hog.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    kill(web, "KILL");
    let why = |part: &str| svinit.status("web")["why"].as_str().unwrap().contains(part);
    svinit.wait_for("web", "backoff");
    eventually("it says why", || why("no room for another process"));
    // More often than the limit of restarts allows: this is no fault of the unit.
    for _ in 0..4 {
        let told = svinit.output().matches("no room for another process").count();
        eventually("it is tried again", || {
            svinit.output().matches("no room for another process").count() > told
        });
    }
    assert_eq!(svinit.status("other")["pid"], other);
    assert_eq!(svinit.svctl("status").code, 0);
    drop(hog.stdin.take());
    let _ = hog.wait();
    svinit.wait_for_another("web", "ready", Some(web));
    assert_eq!(svinit.status("other")["pid"], other);
}

#[test]
fn a_limit_of_svinit_is_not_passed_on_and_one_of_a_unit_is_its_own() {
    let script = "echo soft $(ulimit -Sn) hard $(ulimit -Hn) core $(ulimit -Sc) $(ulimit -Hc)";
    let show = |more: &str| format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {script:?}]\n{more}");
    let svinit = Setup::new()
        .through(&["prlimit", "--nofile=200:4000", "--core=1048576:8388608"])
        .unit("web", STAY)
        .unit("plain", &show(""))
        .unit("limited", &show("[limits]\nnofile = 333\ncore = 0\n"))
        .start();
    // The shell counts core files in blocks of 512 bytes.
    svinit.wait_for_line("plain | soft 200 hard 4000 core 2048 16384");
    svinit.wait_for_line("limited | soft 333 hard 333 core 0 0");
    let own = fs::read_to_string(format!("/proc/{}/limits", svinit.pid())).unwrap();
    let line = |name: &str| own.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    // svinit itself dumps nothing, and may open as much as it is allowed to: it holds pipes of every unit.
    assert!(line("Max core file size").contains(" 0 "), "{own}");
    assert!(line("Max open files").contains("4000                 4000"), "{own}");
}

#[test]
fn more_units_than_the_soft_limit_on_descriptors_has_room_for_run_all_the_same() {
    let count = 60;
    let setup = (0..count).fold(Setup::new(), |setup, n| setup.unit(&format!("unit{n}"), STAY));
    let svinit = setup.through(&["prlimit", "--nofile=64:4096"]).start();
    eventually("all are ready", || {
        let units = svinit.get("/v1/units");
        let units = units.as_array().cloned().unwrap_or_default();
        units.len() == count && units.iter().all(|unit| unit["state"] == "ready")
    });
    let said = svinit.output();
    assert!(!said.contains("cannot"), "{said}");
}

#[test]
fn every_unit_has_the_same_score_for_want_of_memory_whatever_svinit_was_given() {
    if !is_root() {
        return skip("only root can lower a score again", Essential::No);
    }
    let show =
        "type = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"echo score $(cat /proc/self/oom_score_adj)\"]\n";
    let svinit = Setup::new()
        .through(&["choom", "-n", "300", "--"])
        .unit("web", STAY)
        .unit("plain", show)
        .unit("victim", &format!("{show}[limits]\noom_score_adj = 700\n"))
        .start();
    svinit.wait_for_line("plain | score 0");
    svinit.wait_for_line("victim | score 700");
}
