//! svinit executes itself anew, and nobody notices: processes, lines, sockets, timers, signals and clients go on.
//!
//! `UPGRADES=200 cargo test --test it upgrade -- --nocapture` makes the long form of it, and says how long the longest
//! pause was.

#![expect(
    clippy::disallowed_methods,
    reason = "clients are processes and threads, and their waits have bounds"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixture::{Setup, Svinit, both, eventually, executable, kill, processes_with, rounds};

/// In an ordinary run; each takes some tenths of a second, most of them for the test of the new program.
fn upgrades() -> usize {
    let asked = std::env::var("UPGRADES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| rounds(20))
}

/// Upgrades once; says for how many milliseconds nobody listened.
fn upgrade(svinit: &Svinit) -> f64 {
    let answer = svinit.svctl("upgrade --json");
    assert_eq!(answer.code, 0, "{answer:?}\n{}", svinit.output());
    let told: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    told["paused_ms"].as_f64().unwrap()
}

/// A unit that counts as fast as it can, until there is a file `stop`.
const COUNTER: &str = r#"
command = ["sh", "-c", "i=0; while [ ! -e {dir}/stop ]; do echo $i; i=$((i+1)); done; echo end"]
restart.policy = "never"
"#;

/// What a unit has said in svinit's own output.
fn lines_of(output: &str, unit: &str) -> Vec<String> {
    let start = format!("{unit} | ");
    output.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
}

#[test]
fn an_upgrade_changes_no_process_no_counter_and_no_state() {
    both(|setup| {
        let svinit = setup
            .replaceable()
            .unit("web", r#"command = ["sleep", "600"]"#)
            .unit("job", "command = [\"true\"]\ntype = \"oneshot\"")
            .unit("held", r#"command = ["sleep", "600"]"#)
            .unit("bad", "command = [\"false\"]\n[restart]\ndelay = \"1h\"\nmax_delay = \"1h\"")
            .start();
        let web = svinit.wait_for("web", "ready");
        svinit.wait_for("job", "completed");
        svinit.wait_for("bad", "backoff");
        assert_eq!(svinit.svctl("stop held").code, 0);
        let (pid, before) = (svinit.pid(), svinit.get("/v1/units"));
        upgrade(&svinit);
        assert_eq!((svinit.pid(), svinit.wait_for("web", "ready")), (pid, web));
        let after = svinit.get("/v1/units");
        for (one, other) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
            for key in
                ["unit", "state", "pid", "since", "restarts", "last_exit", "why", "held", "wanted", "health"]
            {
                assert_eq!(one[key], other[key], "{key} of {}", one["unit"]);
            }
        }
        let status = svinit.get("/v1/supervisor");
        assert_eq!((&status["upgrades"], &status["replaced"]), (&1.into(), &false.into()));
        // It is in charge: what it has taken over ends, comes back, and goes with it.
        assert_eq!(svinit.svctl("restart web").code, 0);
        let new = svinit.wait_for_another("web", "ready", web);
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
        assert!(new.is_some());
    });
}

/// How nice each thread of a process is.
fn niceness(pid: i32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // proc_pid_stat(5): the 19th, of which two are before the end of the name.
    stats.map(|stat| stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().to_owned()).collect()
}

#[test]
fn the_haste_of_an_upgrade_is_over_with_it() {
    both(|setup| {
        // It says how nice it is.
        let setup = setup.replaceable().unit("web", r#"shell = "nice; exec sleep 600""#);
        let svinit = setup.prepared(&["nice", "-n", "3"]).start();
        svinit.wait_for("web", "ready");
        upgrade(&svinit);
        let all = niceness(svinit.pid());
        assert!(!all.is_empty() && all.iter().all(|one| one == "3"), "{all:?}");
        assert_eq!(svinit.svctl("restart web").code, 0);
        eventually("both have said it", || lines_of(&svinit.output(), "web") == ["3", "3"]);
    });
}

#[test]
fn whoever_looks_at_a_terminal_is_told_of_another_program_on_the_disk() {
    let svinit = Setup::new().replaceable().unit("web", r#"command = ["sleep", "600"]"#).start();
    svinit.wait_for("web", "ready");
    let said = svinit.svctl_at_terminal("status");
    assert!(said.contains("web") && !said.contains("svctl upgrade"), "{said}");
    fs::copy(executable(), svinit.path("new")).unwrap();
    fs::rename(svinit.path("new"), svinit.path("svinit")).unwrap();
    let said = svinit.svctl_at_terminal("status");
    assert!(said.contains("binary replaced: svctl upgrade"), "{said}");
}

#[test]
fn a_program_that_reads_the_status_is_told_of_another_one_on_the_disk_beside_the_list() {
    let svinit = Setup::new().replaceable().unit("web", r#"command = ["sleep", "600"]"#).start();
    svinit.wait_for("web", "ready");
    for words in ["status", "status --json"] {
        let answer = svinit.svctl(words);
        assert!(answer.code == 0 && answer.stderr.is_empty(), "{words}: {answer:?}");
    }
    fs::copy(executable(), svinit.path("new")).unwrap();
    fs::rename(svinit.path("new"), svinit.path("svinit")).unwrap();
    for words in ["status", "status --json"] {
        let answer = svinit.svctl(words);
        assert!(answer.stderr.starts_with("svctl: binary replaced: svctl upgrade"), "{words}: {answer:?}");
        assert!(!answer.stdout.contains("replaced"), "{words}: {answer:?}");
    }
    let list: serde_json::Value = serde_json::from_str(&svinit.svctl("status --json").stdout).unwrap();
    assert_eq!(list[0]["unit"], "web");
    // Whoever asks for one unit is told of that one.
    assert_eq!(svinit.svctl("status web --json").stderr, "");
    assert_eq!(svinit.get("/v1/supervisor")["replaced"], true);
    assert_eq!(svinit.svctl("upgrade").code, 0);
    assert_eq!(svinit.svctl("status").stderr, "");
}

#[test]
fn one_that_has_closed_half_of_its_output_is_taken_over_like_any_other() {
    let half = r#"command = ["sh", "-c", "echo up; exec 2>&-; exec sleep 600"]"#;
    let svinit = Setup::new().replaceable().unit("web", half).start();
    svinit.wait_for_line("web | up");
    let pid = svinit.wait_for("web", "ready").unwrap();
    eventually("it is closed", || !Path::new(&format!("/proc/{pid}/fd/2")).exists());
    // A question makes sure that svinit has seen the end of the pipe.
    assert_eq!(svinit.status("web")["state"], "ready");
    upgrade(&svinit);
    kill(pid, "KILL");
    svinit.wait_for_another("web", "ready", Some(pid));
    assert!(!svinit.output().contains("has crashed"), "{}", svinit.output());
}

#[test]
fn what_an_update_has_changed_is_what_the_next_svinit_goes_by() {
    let unit = |word: &str| format!("command = [\"sh\", \"-c\", \"echo {word}; exec sleep 600\"]\n");
    let stay = r#"command = ["sleep", "600"]"#;
    let svinit = Setup::new().replaceable().unit("web", &unit("old")).unit("gone", stay).start();
    svinit.wait_for_line("web | old");
    svinit.wait_for("gone", "ready");
    fs::write(svinit.path("units/web.toml"), unit("new")).unwrap();
    fs::write(svinit.path("units/added.toml"), stay).unwrap();
    fs::remove_file(svinit.path("units/gone.toml")).unwrap();
    let updated = svinit.svctl("update");
    assert_eq!(updated.code, 0, "{updated:?}");
    svinit.wait_for_line("web | new");
    let before = (svinit.wait_for("web", "ready"), svinit.wait_for("added", "ready"));
    // For this one nobody has asked.
    fs::write(svinit.path("units/web.toml"), unit("newest")).unwrap();
    upgrade(&svinit);
    assert_eq!((svinit.wait_for("web", "ready"), svinit.wait_for("added", "ready")), before);
    assert_eq!(svinit.svctl("status gone").code, 4);
    assert_eq!(svinit.svctl("restart web").code, 0);
    svinit.wait_for_another("web", "ready", before.0);
    assert!(!svinit.output().contains("web | newest"), "{}", svinit.output());
}

#[test]
fn no_line_of_a_counter_is_lost_doubled_or_moved_over_many_upgrades() {
    let svinit = Setup::new()
        .replaceable()
        .unit("counter", &format!("{COUNTER}log.file = \"{{dir}}/counter.log\"\n"))
        .unit("quiet", r#"command = ["sleep", "600"]"#)
        .start();
    let counter = svinit.wait_for("counter", "ready");
    let quiet = svinit.wait_for("quiet", "ready");
    let mut pauses: Vec<f64> = (0..upgrades()).map(|_| upgrade(&svinit)).collect();
    assert_eq!((svinit.wait_for("counter", "ready"), svinit.wait_for("quiet", "ready")), (counter, quiet));
    fs::write(svinit.path("stop"), "").unwrap();
    svinit.wait_for_line("counter | end");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    let file = fs::read_to_string(svinit.path("counter.log")).unwrap();
    for (place, said) in [
        ("stdout", lines_of(&svinit.output(), "counter")),
        ("file", file.lines().map(str::to_owned).collect()),
    ] {
        let numbers: Vec<usize> = said.iter().filter_map(|line| line.parse().ok()).collect();
        let first_odd = numbers.iter().enumerate().find(|(at, number)| at != *number);
        assert_eq!(first_odd, None, "{place} of {} lines", numbers.len());
        assert!(numbers.len() > 1000, "{place}: {}", numbers.len());
    }
    pauses.sort_by(f64::total_cmp);
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    println!("{} upgrades, pause: median {median:.1} ms, longest {longest:.1} ms", pauses.len());
}

#[test]
fn half_a_line_before_an_upgrade_and_half_after_it_are_one() {
    let halves = r#"
command = ["sh", "-c", "printf half; touch {dir}/said; while [ ! -e {dir}/go ]; do sleep 0.01; done; echo ' and half'; exec sleep 600"]
"#;
    let svinit = Setup::new().replaceable().unit("web", halves).start();
    let pid = svinit.wait_for("web", "ready");
    eventually("the first half is said", || svinit.path("said").exists());
    upgrade(&svinit);
    fs::write(svinit.path("go"), "").unwrap();
    svinit.wait_for_line("web | half and half");
    let logs = svinit.svctl("logs web").stdout;
    assert!(logs.contains("half and half"), "{logs}");
    assert_eq!(svinit.wait_for("web", "ready"), pid);
}

#[test]
fn what_a_blocked_stdout_has_not_taken_is_written_after_the_upgrade() {
    let flood = r#"command = ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exec sleep 600"]"#;
    let setup = Setup::new().replaceable().unit("flood", flood);
    let fifo = setup.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let words = format!("exec \"$@\" > {}", fifo.display());
    let svinit = setup.prepared(&["sh", "-c", &words, "sh"]).launch();
    let reader = fs::File::open(&fifo).unwrap();
    svinit.wait_for_socket();
    svinit.wait_for("flood", "ready");
    for _ in 0..3 {
        upgrade(&svinit);
    }
    let mut numbers = 0;
    for line in BufReader::new(reader).lines() {
        let line = line.unwrap();
        assert_eq!(line, format!("flood | {numbers}"));
        numbers += 1;
        if numbers == 20_000 {
            break;
        }
    }
    assert_eq!(numbers, 20_000);
}

#[test]
fn a_program_that_cannot_take_over_is_refused_and_nothing_has_changed() {
    let svinit = Setup::new().replaceable().unit("web", r#"command = ["sleep", "600"]"#).start();
    let web = svinit.wait_for("web", "ready");
    let place = svinit.path("svinit");
    let whole = fs::read(executable()).unwrap();
    let foreign = fs::read("/bin/true").unwrap();
    let put = |bytes: &[u8]| {
        use std::os::unix::fs::PermissionsExt;

        let new = svinit.path("svinit.new");
        fs::write(&new, bytes).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &place).unwrap();
    };
    for (bytes, why) in [
        (&b"garbage"[..], "no program (no ELF file)"),
        (b"#!/bin/sh\nexit 0\n", "no program (no ELF file)"),
        // Within what is loaded: what lies behind it is for debuggers.
        (&whole[..200_000], "cannot take over"),
        (&foreign, "it is no svinit that could take over"),
    ] {
        put(bytes);
        for check in ["upgrade", "upgrade --check"] {
            let answer = svinit.svctl(check);
            assert_eq!(answer.code, 1, "{answer:?}");
            assert!(answer.stderr.contains(why), "{answer:?}");
        }
        assert_eq!(svinit.get("/v1/supervisor")["replaced"], true);
    }
    fs::remove_file(&place).unwrap();
    let answer = svinit.svctl("upgrade");
    assert!(answer.code == 1 && answer.stderr.contains("no such file"), "{answer:?}");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    crate::fixture::put_program(&place);
    let answer = svinit.svctl("upgrade --check");
    assert_eq!((answer.code, svinit.get("/v1/supervisor")["upgrades"].as_u64()), (0, Some(0)), "{answer:?}");
    upgrade(&svinit);
    assert_eq!(svinit.wait_for("web", "ready"), web);
}

#[test]
fn an_older_svinit_is_refused_and_nothing_has_changed() {
    let svinit = Setup::new()
        .replaceable()
        .env("SVINIT_FAULTS", "older")
        .unit("web", r#"command = ["sleep", "600"]"#)
        .start();
    let web = svinit.wait_for("web", "ready");
    for words in ["upgrade", "upgrade --check"] {
        let answer = svinit.svctl(words);
        let why = format!("it is svinit 0.0.0, and {} runs here", env!("CARGO_PKG_VERSION"));
        assert!(answer.code == 1 && answer.stderr.contains(&why), "{answer:?}");
    }
    assert_eq!(svinit.get("/v1/supervisor")["upgrades"], 0);
    assert_eq!(svinit.wait_for("web", "ready"), web);
}

#[test]
fn usr2_upgrades_and_a_lone_command_gets_it_for_itself() {
    let svinit = Setup::new().replaceable().unit("web", r#"command = ["sleep", "600"]"#).start();
    let web = svinit.wait_for("web", "ready");
    svinit.signal("USR2");
    svinit.wait_for_line("goes on with 1 unit of svinit");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert_eq!(svinit.get("/v1/supervisor")["upgrades"], 1);
}

#[test]
fn term_at_any_moment_of_an_upgrade_is_an_orderly_end() {
    for round in 0..rounds(8) {
        let mark = format!("61{}", 1000 + round);
        let unit = format!("command = [\"sleep\", \"{mark}\"]");
        let Some(setup) = Setup::new().replaceable().pid1() else { return };
        let svinit = setup.unit("web", &unit).start();
        svinit.wait_for("web", "ready");
        let socket = svinit.socket();
        let mut client = Command::new(executable());
        client.args(["--as", "svctl", "--socket"]).arg(socket).arg("upgrade");
        let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The pause lies anywhere in the first tenths of a second; the wait is for nothing, and for ever at most so long.
        let pause = Duration::from_millis(25 * u64::try_from(round).unwrap());
        let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(pause);
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "round {round}: {}", svinit.output());
        client.wait().unwrap();
        assert_eq!(processes_with(&format!("sleep {mark}")), [] as [i32; 0], "round {round}");
    }
}

#[test]
fn other_signals_at_any_moment_of_an_upgrade_are_acted_upon() {
    let unit = |text: &str| format!("description = \"{text}\"\ncommand = [\"sleep\", \"600\"]");
    let svinit = Setup::new().replaceable().unit("web", &unit("first")).start();
    let web = svinit.wait_for("web", "ready");
    for round in 0..rounds(8) {
        let text = format!("round {round}");
        fs::write(svinit.path("units/web.toml"), unit(&text)).unwrap();
        let mut client = waiting(&svinit, &["upgrade"]);
        let pause = Duration::from_millis(25 * u64::try_from(round).unwrap());
        let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(pause);
        svinit.signal("HUP");
        svinit.signal("USR1");
        assert!(client.wait().unwrap().success(), "{}", svinit.output());
        for done in ["update by SIGHUP: web changes", "log files opened again (SIGUSR1)"] {
            eventually(done, || svinit.output().matches(done).count() == round + 1);
        }
    }
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert_eq!(svinit.get("/v1/supervisor")["upgrades"], rounds(8));
}

#[test]
fn what_ends_or_was_to_be_done_meanwhile_is_seen_to_after_the_upgrade() {
    let svinit = Setup::new()
        .replaceable()
        .unit("brief", "command = [\"sh\", \"-c\", \"while [ ! -e {dir}/go ]; do sleep 0.01; done; exit 7\"]\nrestart.policy = \"never\"")
        .unit("slow", "command = [\"sh\", \"-c\", \"sleep 1; echo up; exec sleep 600\"]\n[ready]\nlog = \"^up$\"")
        .unit("deaf", "command = [\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 0.1; done\"]\n[stop]\ntimeout = \"1s\"")
        .start();
    svinit.wait_for("brief", "ready");
    svinit.wait_for("deaf", "ready");
    assert_eq!(svinit.svctl("stop deaf --no-wait").code, 0);
    svinit.wait_for("deaf", "stopping");
    upgrade(&svinit);
    fs::write(svinit.path("go"), "").unwrap();
    upgrade(&svinit);
    svinit.wait_for("brief", "failed");
    assert_eq!(svinit.status("brief")["last_exit"]["code"], 7);
    // A sign of readiness that was watched for, and a stop that was to end in a kill.
    svinit.wait_for("slow", "ready");
    svinit.wait_for("deaf", "inactive");
}

/// A client that waits, as a process of its own.
fn waiting(svinit: &Svinit, words: &[&str]) -> Child {
    let mut command = Command::new(executable());
    command.args(["--as", "svctl", "--socket"]).arg(svinit.socket()).args(words);
    command
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn clients_that_wait_get_their_answers_after_the_upgrades() {
    let slow = "command = [\"sh\", \"-c\", \"while [ ! -e {dir}/go ]; do sleep 0.01; done; echo up; exec sleep 600\"]\n[ready]\nlog = \"^up$\"\ntimeout = \"60s\"";
    let svinit = Setup::new()
        .replaceable()
        .unit("slow", &format!("enabled = false\n{slow}"))
        .unit(
            "count",
            "command = [\"sh\", \"-c\", \"i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done\"]",
        )
        .start();
    svinit.wait_for("count", "ready");
    // A job, by svctl and so in chunks; lines and events in both forms of HTTP.
    let start = waiting(&svinit, &["start", "slow"]);
    svinit.wait_for("slow", "starting");
    let mut logs = waiting(&svinit, &["logs", "-f", "-n", "1", "--raw", "count"]);
    let lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    let first = lines.next().unwrap();
    let events = svinit.request("GET", "/v1/events?units=slow", "");
    let mut events = BufReader::new(events).lines();
    assert_eq!(events.next().unwrap().unwrap(), "HTTP/1.0 200 OK");
    for _ in 0..3 {
        upgrade(&svinit);
    }
    fs::write(svinit.path("go"), "").unwrap();
    let told = start.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success() && said.starts_with("slow: ready"), "{told:?}\n{}", svinit.output());
    let ready = events.map(Result::unwrap).find(|line| line.contains("\"state\":\"ready\""));
    assert!(ready.is_some(), "the stream goes on");
    // The first may come twice: what is kept, and what is followed, overlap rather than leave a gap.
    let lines = lines.skip_while(|number| *number <= first);
    for (number, wanted) in lines.zip(first + 1..first + 100) {
        assert_eq!(number, wanted);
    }
    logs.kill().unwrap();
    logs.wait().unwrap();
}

#[test]
fn a_state_that_nobody_has_left_is_refused() {
    let mut command = Command::new(executable());
    let output = command.args(["--resume=9:8", "--units", "/nowhere"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("nothing was left to go on with"), "{said}");
}

#[test]
fn a_program_that_crashes_while_it_takes_over_gives_way_to_the_one_before() {
    let svinit = Setup::new()
        .replaceable()
        .env("SVINIT_FAULTS", "takeover")
        .unit("web", r#"command = ["sleep", "600"]"#)
        .start();
    let (pid, web) = (svinit.pid(), svinit.wait_for("web", "ready"));
    let answer = svinit.svctl("upgrade");
    assert_eq!(answer.code, 1, "{answer:?}");
    svinit.wait_for_line("the program on the disk could not: panic at");
    assert_eq!((svinit.pid(), svinit.wait_for("web", "ready")), (pid, web));
    assert_eq!(svinit.get("/v1/supervisor")["upgrades"], 0);
    assert_eq!(svinit.svctl("restart web").code, 0);
    svinit.wait_for_another("web", "ready", web);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
}

#[test]
fn nobody_who_asks_svinit_is_refused_or_cut_off_over_many_upgrades() {
    let svinit = Setup::new().replaceable().http().unit("web", r#"command = ["sleep", "600"]"#).start();
    svinit.wait_for("web", "ready");
    let (health, socket) = (svinit.http(), svinit.socket());
    let is_over = AtomicBool::new(false);
    let ask = |mut stream: Box<dyn ReadWrite>, path: &str| {
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?}");
    };
    let asked = AtomicUsize::new(0);
    let count = |ask: &dyn Fn()| {
        while !is_over.load(Ordering::Relaxed) {
            ask();
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count(&|| ask(Box::new(TcpStream::connect(&health).unwrap()), "/health")));
            scope.spawn(|| {
                count(&|| ask(Box::new(UnixStream::connect(&socket).unwrap()), "/v1/units?usage=true"))
            });
        }
        // One connection for all of its requests, idle most of the time.
        scope.spawn(|| {
            let stream = TcpStream::connect(&health).unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !is_over.load(Ordering::Relaxed) {
                if (&stream).write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").is_err() {
                    // Longer than a connection may live.
                    return;
                }
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                assert_eq!(line, "HTTP/1.1 200 OK\r\n");
                let mut length = 0;
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
            }
        });
        for _ in 0..upgrades() / 2 {
            upgrade(&svinit);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{} requests over {} upgrades", asked.load(Ordering::Relaxed), upgrades() / 2);
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}
