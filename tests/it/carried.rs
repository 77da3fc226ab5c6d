//! What an upgrade carries over, thing by thing: numbers of runs, moments, counts, held sockets, what services say and have
//! given away, the memory of the log; and the only change of a unit that it waits for. A crash loses no more of it than
//! the log.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::fixture::{Setup, Svinit, eventually, kill};
use crate::keeping::speaker;

const SLEEP: &str = r#"command = ["sleep", "600"]"#;

fn upgrade(svinit: &Svinit) {
    let answer = svinit.svctl("upgrade");
    assert_eq!(answer.code, 0, "{answer:?}\n{}", svinit.output());
}

/// The ways in which one svinit goes on with what another has left.
const WAYS: [&str; 2] = ["upgrade", "crash"];

/// What is needed for both.
fn setup() -> Setup {
    Setup::new().replaceable().env("SVINIT_FAULTS", "1")
}

/// Another svinit takes over, in one of the [`WAYS`].
pub(crate) fn succeed(svinit: &Svinit, how: &str) {
    if how == "upgrade" {
        return upgrade(svinit);
    }
    let _ = svinit.request("POST", "/v1/fault/segv", "").read_to_string(&mut String::new());
    svinit.wait_for_line("has crashed (");
}

/// The number of the run that this process is of, as its tag says.
fn run_of(pid: Option<i32>) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max realtime timeout")).unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    soft - (1 << 60)
}

#[test]
fn runs_are_numbered_on_after_an_upgrade() {
    let svinit = Setup::new().replaceable().unit("web", SLEEP).unit("api", SLEEP).start();
    let (web, api) = (svinit.wait_for("web", "ready"), svinit.wait_for("api", "ready"));
    let latest = run_of(web).max(run_of(api));
    upgrade(&svinit);
    assert_eq!(svinit.svctl("restart web").code, 0);
    let new = svinit.wait_for_another("web", "ready", web);
    assert!(run_of(new) > latest, "{} after {latest}", run_of(new));
}

#[test]
fn moments_that_were_waited_for_come_when_they_were_due() {
    let svinit = Setup::new()
        .replaceable()
        .unit("bad", "command = [\"false\"]\nrestart.delay = \"4s\"\nrestart.jitter = 0.0\nrestart.limit = 0")
        .start();
    svinit.wait_for("bad", "backoff");
    let before = svinit.status("bad");
    upgrade(&svinit);
    let after = svinit.status("bad");
    // The pause goes on, and does not begin anew.
    assert_eq!(before["since"], after["since"]);
    let left = |status: &serde_json::Value| status["retry_ms"].as_u64().unwrap();
    assert!(left(&after) < left(&before), "{before} {after}");
    svinit.wait_for_event("bad", "is tried again", |unit| unit["state"] == "starting");
}

#[test]
fn counters_of_the_metrics_go_on() {
    let svinit = Setup::new().replaceable().http().unit("web", SLEEP).start();
    let mut pid = svinit.wait_for("web", "ready");
    for _ in 0..3 {
        kill(pid.unwrap(), "KILL");
        pid = svinit.wait_for_another("web", "ready", pid);
    }
    let counts = || -> Vec<(String, f64)> {
        let mut stream = TcpStream::connect(svinit.http()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let of_counter = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            name.ends_with("_total") && !line.starts_with('#')
        };
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        text.lines().filter(of_counter).map(pair).collect()
    };
    let before = counts();
    assert!(before.iter().any(|(name, value)| name.contains("restarts") && *value == 3.0), "{before:?}");
    upgrade(&svinit);
    let after = counts();
    for (name, value) in &before {
        let (_, now) =
            after.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} is gone"));
        assert!(now >= value, "{name} was {value} and is {now}");
    }
}

#[test]
fn what_waits_in_a_held_socket_waits_through_an_upgrade_and_through_a_crash() {
    let at = "127.11.84.3:18431";
    // It serves nobody before it is told to.
    let unit = format!(
        "command = [\"python3\", \"-c\", \"{}\"]\nsockets.http = \"{at}\"\n",
        "import os, socket, time\\nwhile not os.path.exists('{dir}/go'): time.sleep(0.01)\\nlistener = socket.socket(fileno=3)\\nwhile True:\\n  client, _ = listener.accept()\\n  client.sendall(b'served')\\n  client.close()"
    );
    for how in WAYS {
        let svinit = setup().unit("web", &unit).start();
        let pid = svinit.wait_for("web", "ready");
        let mut clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(at).unwrap()).collect();
        succeed(&svinit, how);
        clients.extend((0..5).map(|_| TcpStream::connect(at).unwrap()));
        // It is svinit that holds it: a restart still finds who waits.
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_another("web", "ready", pid);
        fs::write(svinit.path("go"), "").unwrap();
        for mut client in clients {
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, "served", "{how}");
        }
    }
}

#[test]
fn a_service_is_heard_after_an_upgrade_and_after_a_crash() {
    let code = "say('STATUS=before\\nREADY=1')\n\
                while not os.path.exists('{dir}/go'): time.sleep(0.01)\n\
                say('STATUS=after'); time.sleep(600)";
    for how in WAYS {
        let svinit = setup().unit("web", &speaker("", code)).start();
        let pid = svinit.wait_for("web", "ready");
        succeed(&svinit, how);
        assert_eq!(svinit.status("web")["status_text"], "before", "{how}");
        fs::write(svinit.path("go"), "").unwrap();
        eventually("it is heard", || svinit.status("web")["status_text"] == "after");
        assert_eq!(svinit.wait_for("web", "ready"), pid, "{how}");
    }
}

#[test]
fn one_that_starts_says_that_it_is_ready_to_the_next_svinit() {
    let late = "shell = \"echo begun; while [ ! -e {dir}/go ]; do sleep 0.01; done; echo >&3; exec sleep 600\"\n\
                ready.fd = 3\nready.timeout = \"10m\"";
    for how in WAYS {
        let svinit = setup().unit("web", late).start();
        svinit.wait_for_line("web | begun");
        succeed(&svinit, how);
        assert_eq!(svinit.status("web")["state"], "starting", "{how}");
        fs::write(svinit.path("go"), "").unwrap();
        svinit.wait_for("web", "ready");
        assert_eq!(svinit.output().matches("web | begun").count(), 1, "{how}: {}", svinit.output());
    }
}

#[test]
fn what_a_service_has_given_away_comes_back_after_an_upgrade_and_after_a_crash() {
    let code = "if names: print('found', names, os.pread(kept['state'], 9, 0).decode(), flush=True)\n\
                else: fd = os.memfd_create('x'); os.write(fd, b'remembers'); say('FDSTORE=1\\nFDNAME=state', [fd])\n\
                say('READY=1'); time.sleep(600)";
    for how in WAYS {
        let svinit = setup().unit("web", &speaker("", code)).start();
        let pid = svinit.wait_for("web", "ready");
        succeed(&svinit, how);
        assert_eq!(svinit.wait_for("web", "ready"), pid, "{how}");
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_line("web | found ['state'] remembers");
    }
}

/// A descriptor that comes or goes tells the machine nothing, and is written down for a crash all the same: by the number of one that
/// is gone the next process would be handed another file of svinit's.
#[test]
fn what_a_service_has_given_away_or_taken_back_last_is_so_after_a_crash() {
    let code = "print('begun', names, flush=True)\n\
                def heeded():\n  \
                  a, b = os.pipe(); say('BARRIER=1', [b]); os.close(b); os.read(a, 1)\n\
                fd = os.memfd_create('x'); say('FDSTORE=1\\nFDNAME=gone', [fd]); say('READY=1'); heeded()\n\
                say('FDSTORE=1\\nFDNAME=late', [fd]); say('FDSTOREREMOVE=1\\nFDNAME=gone'); heeded()\n\
                print('settled', flush=True); time.sleep(600)";
    for how in WAYS {
        let svinit = setup().unit("web", &speaker("", code)).start();
        svinit.wait_for_line("web | settled");
        succeed(&svinit, how);
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_line("web | begun ['late']");
    }
}

#[test]
fn the_lines_kept_in_memory_are_still_there_after_an_upgrade() {
    let says = "command = [\"sh\", \"-c\", \"for i in 1 2 3 4 5; do echo line $i; done; exec sleep 600\"]";
    let svinit = Setup::new().replaceable().unit("web", says).start();
    svinit.wait_for_line("web | line 5");
    let before = svinit.svctl("logs web").stdout;
    upgrade(&svinit);
    let after = svinit.svctl("logs web").stdout;
    assert!(before.contains("line 1") && after.starts_with(&before), "{before}\n{after}");
}

#[test]
fn a_new_one_of_another_definition_takes_over_after_an_upgrade() {
    let unit = |word: &str| {
        let ready = "ready.log = \"^up$\"\nready.timeout = \"10m\"\nrestart.mode = \"start-first\"\n";
        format!(
            "shell = \"while [ ! -e {{dir}}/{word} ]; do sleep 0.01; done; echo up; exec sleep 600\"\n{ready}"
        )
    };
    let svinit = Setup::new().replaceable().unit("web", &unit("old")).start();
    fs::write(svinit.path("old"), "").unwrap();
    let pid = svinit.wait_for("web", "ready");
    let text = unit("new").replace("{dir}", &svinit.path("").display().to_string());
    fs::write(svinit.path("units/web.toml"), text).unwrap();
    assert_eq!(svinit.svctl("update --no-wait").code, 0);
    upgrade(&svinit);
    assert_eq!(svinit.wait_for("web", "ready"), pid);
    fs::write(svinit.path("new"), "").unwrap();
    let new = svinit.wait_for_another("web", "ready", pid);
    svinit.wait_for_event("web", "stands alone", |unit| unit["beside"].as_array().is_none_or(Vec::is_empty));
    assert!(svinit.svctl("cat web").stdout.contains("/new ]"));
    let again = svinit.svctl("update");
    assert!(again.stdout.contains("nothing differs"), "{again:?}");
    assert_eq!(svinit.wait_for("web", "ready"), new);
}

#[test]
fn an_update_that_is_under_way_goes_on_after_an_upgrade_and_after_a_crash() {
    // It takes its time to stop, and is only then what it is to be.
    let unit = |word: &str| {
        let says = format!("trap '' TERM; echo {word}; while :; do sleep 0.1; done");
        format!("command = [\"sh\", \"-c\", \"{says}\"]\nstop.timeout = \"2s\"\ninstances = 2\n")
    };
    for how in WAYS {
        let svinit = setup().unit("web", &unit("old")).unit("api", SLEEP).start();
        svinit.wait_for_line("web@1 | old");
        svinit.wait_for_line("web@2 | old");
        let pids = ["web@1", "web@2"].map(|name| svinit.wait_for(name, "ready"));
        let api = svinit.wait_for("api", "ready");
        fs::write(svinit.path("units/web.toml"), unit("new")).unwrap();
        assert_eq!(svinit.svctl("update --no-wait").code, 0);
        svinit.wait_for("web@1", "stopping");
        succeed(&svinit, how);
        // One after the other: the second has not been touched before the first is there.
        assert_eq!(svinit.wait_for("web@2", "ready"), pids[1], "{how}");
        svinit.wait_for_line("web@1 | new");
        svinit.wait_for_another("web@1", "ready", pids[0]);
        svinit.wait_for("web@2", "stopping");
        svinit.wait_for_line("web@2 | new");
        svinit.wait_for_another("web@2", "ready", pids[1]);
        assert!(svinit.svctl("cat web@2").stdout.contains("echo new"), "{how}");
        let again = svinit.svctl("update");
        assert!(again.stdout.contains("nothing differs"), "{how}: {again:?}");
        assert_eq!(svinit.wait_for("api", "ready"), api, "{how}");
    }
}
