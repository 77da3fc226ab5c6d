//! `svctl update` and SIGHUP on real units: what differs is touched, and nothing else.
//!
//! Each test that listens has a loopback address of its own.

#![expect(clippy::disallowed_methods, reason = "clients are threads, and their waits have bounds")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::fixture::{PATIENCE, Setup, Svinit, both, eventually};

const SLEEP: &str = "command = [\"sleep\", \"600\"]\n";

/// Puts this into the file of `unit`, in one step as an editor does.
fn write(svinit: &Svinit, unit: &str, text: &str) {
    let (path, new) = (svinit.path(&format!("units/{unit}.toml")), svinit.path("new"));
    fs::write(&new, text.replace("{dir}", svinit.path("").to_str().unwrap().trim_end_matches('/'))).unwrap();
    fs::rename(new, path).unwrap();
}

fn pid(svinit: &Svinit, unit: &str) -> i64 {
    svinit.status(unit)["pid"].as_i64().unwrap_or(0)
}

fn pids(svinit: &Svinit, units: &[&str]) -> Vec<i64> {
    units.iter().map(|unit| pid(svinit, unit)).collect()
}

#[test]
fn only_what_has_changed_is_touched() {
    both(|setup| {
        let svinit = setup
            .unit("db", SLEEP)
            .unit("web", &format!("{SLEEP}requires = [\"db\"]\n"))
            .unit("api", &format!("{SLEEP}requires = [\"web\"]\n"))
            .unit("old", SLEEP)
            .start();
        for unit in ["db", "web", "api", "old"] {
            svinit.wait_for(unit, "ready");
        }
        let before = pids(&svinit, &["db", "web", "api"]);
        write(&svinit, "web", "command = [\"sleep\", \"601\"]\nrequires = [\"db\"]\n");
        write(&svinit, "api", &format!("{SLEEP}requires = [\"web\"]\nstop.timeout = \"1s\"\n"));
        write(&svinit, "db", &format!("# a remark\n{SLEEP}"));
        write(&svinit, "new", &format!("{SLEEP}after = [\"web\"]\n"));
        write(&svinit, "idle", &format!("{SLEEP}enabled = false\n"));
        fs::remove_file(svinit.path("units/old.toml")).unwrap();
        assert_eq!(svinit.status("web")["changed_on_disk"], true);
        assert_eq!(svinit.status("old")["changed_on_disk"], true);

        let dry = svinit.svctl("update --dry-run");
        assert_eq!(dry.code, 0, "{dry:?}");
        for line in [
            "~ web restarts\n    command: [\"sleep\", \"600\"] -> [\"sleep\", \"601\"]\n",
            "~ api changes at once, its processes stay\n    stop.timeout: \"8s\" -> \"1s\"\n",
            "+ new starts\n",
            "+ idle is not enabled",
            "- old stops\n",
            "would change 5 units: 1 to restart, 1 to start, 1 to stop",
        ] {
            assert!(dry.stdout.contains(line), "{line:?} in {}", dry.stdout);
        }
        assert!(!dry.stdout.contains("db"), "{}", dry.stdout);
        assert_eq!(pids(&svinit, &["db", "web", "api"]), before, "it was only said");

        let done = svinit.svctl("update");
        assert_eq!(done.code, 0, "{done:?}");
        let after = pids(&svinit, &["db", "web", "api"]);
        assert_eq!((after[0], after[2]), (before[0], before[2]), "{done:?}");
        assert_ne!(after[1], before[1]);
        assert_eq!(svinit.status("new")["state"], "ready");
        assert_eq!(svinit.status("idle")["state"], "inactive");
        assert_eq!(svinit.svctl("status old").code, 4, "it is no more");
        assert!(svinit.svctl("cat api").stdout.contains("timeout = \"1s\""));
        assert_eq!(svinit.status("web")["changed_on_disk"], false);
        let again = svinit.svctl("update");
        assert!(again.stdout.contains("nothing differs"), "{again:?}");
    });
}

#[test]
fn whoever_looks_is_told_which_files_have_changed_and_what_takes_that_over() {
    let svinit = Setup::new().unit("web", SLEEP).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let told = |is_told: bool| {
        let (list, one) = (svinit.svctl("status").stdout, svinit.svctl("status web").stdout);
        let seen = svinit.svctl_at_terminal("status");
        let words = [
            (&list, "ready (changed on disk)"),
            (&one, "on disk  changed since it was read: svctl update takes it over"),
            (&seen, "(changed on disk)"),
            (&seen, "svctl update takes over what has changed on disk"),
        ];
        for (text, part) in words {
            assert_eq!(text.matches(part).count(), usize::from(is_told), "{part:?} in {text}");
        }
        assert!(!svinit.svctl("status api").stdout.contains("on disk"));
    };
    told(false);
    write(&svinit, "web", "command = [\"sleep\", \"601\"]\n");
    told(true);
    assert_eq!(svinit.svctl("update").code, 0);
    told(false);
}

#[test]
fn a_mistake_in_any_file_changes_nothing_and_is_told_with_its_place() {
    let svinit = Setup::new().unit("web", SLEEP).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let before = pids(&svinit, &["web", "api"]);
    write(&svinit, "web", "command = [\"sleep\", \"601\"]\n");
    for (bad, told) in [
        ("comand = 'x'\n", "api.toml:1:1: no such key: \"comand\""),
        ("command = [\"sleep\", \"60", "not TOML"),
        ("command = 'x'\nrequires = ['nobody']\n", "nobody"),
    ] {
        write(&svinit, "api", bad);
        for words in ["update", "update --dry-run"] {
            let refused = svinit.svctl(words);
            assert_eq!(refused.code, 78, "{refused:?}");
            assert!(
                refused.stderr.contains(told) && refused.stderr.contains("nothing was changed"),
                "{refused:?}"
            );
        }
        let checked = svinit.svctl("check");
        assert!(checked.stdout.contains(told), "the same words: {checked:?}");
    }
    svinit.signal("HUP");
    svinit.wait_for_line("SIGHUP: nothing was changed");
    assert_eq!(pids(&svinit, &["web", "api"]), before);
    // The sound half alone is no better.
    assert_eq!(svinit.svctl("update web").code, 78);
    fs::remove_file(svinit.path("units/api.toml")).unwrap();
    fs::remove_file(svinit.path("units/web.toml")).unwrap();
    let refused = svinit.svctl("update");
    assert!(refused.code == 1 && refused.stderr.contains("no unit would be left"), "{refused:?}");
    assert_eq!(pids(&svinit, &["web", "api"]), before);
}

#[test]
fn a_hangup_is_an_update_and_its_outcome_is_in_the_log() {
    let svinit = Setup::new().unit("web", SLEEP).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let (web, api) =
        (svinit.status("web")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()), pid(&svinit, "api"));
    write(&svinit, "web", "command = [\"sleep\", \"601\"]\n[environment]\nA = \"hush\"\n");
    svinit.signal("HUP");
    svinit.wait_for_line("SIGHUP: web restarts");
    svinit.wait_for_another("web", "ready", web);
    assert_eq!(pid(&svinit, "api"), api);
    assert!(!svinit.output().contains("hush"), "values are for who asks");
    svinit.signal("HUP");
    svinit.wait_for_line("SIGHUP: nothing differs");
}

#[test]
fn a_unit_that_cannot_live_by_its_new_definition_is_told_of_and_comes_back_with_the_next() {
    let svinit = Setup::new().unit("web", SLEEP).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    let api = pid(&svinit, "api");
    write(
        &svinit,
        "web",
        "shell = \"echo what went wrong; exit 3\"\nready.delay = \"10s\"\nrestart.policy = \"never\"\n",
    );
    let failed = svinit.svctl("update");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("what went wrong"), "{failed:?}");
    svinit.wait_for("web", "failed");
    write(&svinit, "web", SLEEP);
    let mended = svinit.svctl("update --json");
    assert_eq!(mended.code, 0, "{mended:?}");
    let told: serde_json::Value = serde_json::from_str(&mended.stdout).unwrap();
    assert_eq!(told["units"][0]["follows"], "restart");
    assert_eq!(told["outcomes"][0]["ok"], true);
    assert_eq!((svinit.status("web")["state"].clone(), pid(&svinit, "api")), ("ready".into(), api));
}

#[test]
fn one_unit_can_be_taken_over_alone() {
    let svinit = Setup::new().unit("web", SLEEP).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let before = pids(&svinit, &["web", "api"]);
    for unit in ["web", "api"] {
        write(&svinit, unit, "command = [\"sleep\", \"601\"]\n");
    }
    write(&svinit, "new", &format!("{SLEEP}requires = [\"newer\"]\n"));
    write(&svinit, "newer", SLEEP);
    assert_eq!(svinit.svctl("update web").code, 0);
    let after = pids(&svinit, &["web", "api"]);
    assert!(after[0] != before[0] && after[1] == before[1]);
    let refused = svinit.svctl("update new");
    assert!(refused.code == 1 && refused.stderr.contains("update newer as well"), "{refused:?}");
    assert_eq!(svinit.svctl("update new newer").code, 0);
    assert_eq!(svinit.status("new")["state"], "ready");
    assert_eq!(svinit.svctl("update nobody").code, 1);
}

#[test]
fn logs_health_and_notify_sockets_follow_their_definition() {
    let ticks = "shell = \"while sleep 0.05; do echo tick; done\"\n";
    let svinit = Setup::new().unit("web", ticks).unit("plain", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("plain", "ready");
    let before = pid(&svinit, "web");
    write(
        &svinit,
        "web",
        &format!(
            "{ticks}log.file = \"{{dir}}/web.log\"\n[health]\nexec = \"false\"\ninterval = \"100ms\"\nretries = 1\nstart_period = \"0\"\non_failure = \"none\"\n"
        ),
    );
    assert_eq!(svinit.svctl("update").code, 0);
    eventually("the new file is written to", || {
        fs::read_to_string(svinit.path("web.log")).is_ok_and(|text| text.contains("tick"))
    });
    eventually("the new check is asked", || svinit.status("web")["health"] == "fail");
    write(&svinit, "web", ticks);
    assert_eq!(svinit.svctl("update").code, 0);
    assert_eq!(svinit.status("web")["health"], "unknown");
    assert_eq!(pid(&svinit, "web"), before);
    // Nothing needed a directory of svinit's own before.
    let says = "type = \"notify\"\ncommand = [\"python3\", \"-c\", \"import os,socket,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(600)\"]\n";
    write(&svinit, "plain", says);
    let done = svinit.svctl("update");
    assert_eq!(done.code, 0, "{done:?} {}", svinit.output());
}

const SERVER: &str = r#"
import os, select, signal, socket
n = int(os.environ["LISTEN_FDS"])
woken, wake = os.pipe(); os.set_blocking(wake, False); signal.set_wakeup_fd(wake)
ended = []; signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
listeners = [socket.socket(fileno=3 + i) for i in range(n)]
print("serving", flush=True)
while not ended:
    ready, _, _ = select.select(listeners + [woken], [], [])
    for listener in ready:
        if ended or listener is woken: break
        client, _ = listener.accept()
        while client.recv(4096): pass
        client.sendall(b"ok"); client.close()
"#;

fn ask(at: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(at).map_err(|error| format!("refused: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").map_err(|error| error.to_string())?;
    stream.shutdown(std::net::Shutdown::Write).map_err(|error| error.to_string())?;
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(|error| format!("lost: {error}"))?;
    if said == "ok" { Ok(()) } else { Err(format!("answered {said:?}")) }
}

/// A loopback address of the test of this number, with a free port of it.
fn address(test: u32) -> String {
    let process = std::process::id();
    let ip = format!("127.{}.{}.{test}", 1 + process / 250 % 250, 1 + process % 250);
    let port = TcpListener::bind(format!("{ip}:0")).unwrap().local_addr().unwrap().port();
    format!("{ip}:{port}")
}

fn server(at: &str, more: &str) -> String {
    format!(
        "command = [\"python3\", \"{{dir}}/server.py\"]\nready.log = \"^serving$\"\n[sockets]\nhttp = \"{at}\"\n{more}"
    )
}

#[test]
fn updates_under_load_fail_no_request_where_the_socket_stays() {
    let at = address(251);
    let svinit =
        Setup::new().file("server.py", SERVER).unit("web", &server(&at, "")).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, good, at) = (Arc::clone(&stop), Arc::clone(&good), at.clone());
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match ask(&at) {
                        Ok(()) => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => failed.push(why),
                    }
                }
                failed
            })
        })
        .collect();
    let more = ["umask = \"027\"\n", "umask = \"022\"\n", "stop.timeout = \"9s\"\n"];
    for round in 0..5 {
        let first = more[round % 3];
        write(&svinit, "web", &format!("{first}{}", server(&at, "")));
        let before = good.load(Ordering::Relaxed);
        let done = svinit.svctl("update");
        assert_eq!(done.code, 0, "{done:?}");
        eventually("clients are answered", || good.load(Ordering::Relaxed) > before + 20);
    }
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), good.load(Ordering::Relaxed));
    println!("{} requests through 5 updates, none failed", good.load(Ordering::Relaxed));
}

#[test]
fn a_socket_moves_with_its_address_and_stays_where_its_name_alone_changes() {
    let (at, other) = (address(252), address(253));
    let both = |name: &str, at: &str, second: &str| server(at, "").replace("http", name) + second;
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &both("http", &at, "")).start();
    svinit.wait_for("web", "ready");
    let inode = |at: &str| {
        let port = at.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let tail = format!(":{port:04X}");
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[1].ends_with(&tail) && fields[3] == "0A"
        });
        line.map(|line| line.split_whitespace().nth(9).unwrap().to_owned())
    };
    let first = inode(&at).expect("it is held");
    write(&svinit, "web", &both("renamed", &at, &format!("admin = \"{other}\"\n")));
    let done = svinit.svctl("update");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(inode(&at), Some(first), "it was never closed");
    ask(&at).unwrap();
    ask(&other).unwrap();
    write(&svinit, "web", &both("renamed", &other, ""));
    assert_eq!(svinit.svctl("update").code, 0);
    ask(&other).unwrap();
    assert!(ask(&at).unwrap_err().starts_with("refused"), "nobody listens there any more");
    fs::remove_file(svinit.path("units/web.toml")).unwrap();
    write(&svinit, "api", SLEEP);
    assert_eq!(svinit.svctl("update").code, 0);
    assert!(ask(&other).unwrap_err().starts_with("refused"));
}

#[test]
fn a_renamed_unit_takes_its_socket_along() {
    let at = address(254);
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &server(&at, "")).start();
    svinit.wait_for("web", "ready");
    fs::rename(svinit.path("units/web.toml"), svinit.path("units/site.toml")).unwrap();
    let done = svinit.svctl("update");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!svinit.output().contains("address in use"), "{}", svinit.output());
    ask(&at).unwrap();
    assert_eq!(svinit.svctl("stop site").code, 0);
    // Nobody serves, and what comes waits.
    TcpStream::connect(&at).unwrap();
}

#[test]
fn a_new_definition_that_does_not_come_up_beside_the_old_one_is_given_up() {
    let careful = "ready.log = \"^up$\"\nrestart.mode = \"start-first\"\n";
    let good = |word: &str| format!("shell = \"echo up; echo {word}; exec sleep 600\"\n{careful}");
    let svinit = Setup::new().unit("web", &good("first")).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let before = pids(&svinit, &["web", "api"]);
    write(&svinit, "web", &format!("shell = \"echo no such table; exit 3\"\n{careful}"));
    let failed = svinit.svctl("update");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed.stdout.contains("it goes on as it was") && failed.stderr.contains("no such table"),
        "{failed:?}"
    );
    assert_eq!(pids(&svinit, &["web", "api"]), before);
    assert!(svinit.svctl("cat web").stdout.contains("first"), "the old definition is in force");
    assert_eq!(svinit.status("web")["changed_on_disk"], true);
    write(&svinit, "web", &good("second"));
    assert_eq!(svinit.svctl("update").code, 0);
    svinit.wait_for_line("web | second");
    let after = pids(&svinit, &["web", "api"]);
    assert!(after[0] != before[0] && after[1] == before[1]);
    assert!(svinit.svctl("update").stdout.contains("nothing differs"));
}

#[test]
fn an_update_that_asks_for_a_socket_that_cannot_be_had_changes_nothing() {
    let (at, other) = (address(241), address(242));
    let svinit =
        Setup::new().file("server.py", SERVER).unit("web", &server(&at, "")).unit("api", SLEEP).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("api", "ready");
    let before = pids(&svinit, &["web", "api"]);
    let taken = TcpListener::bind(&other).unwrap();
    write(&svinit, "web", &server(&at, &format!("admin = \"{other}\"\n")));
    write(&svinit, "api", "command = [\"sleep\", \"601\"]\n");
    let place = format!("web.toml:5:9: cannot listen on {other}, socket admin: address in use by");
    for words in ["update --dry-run", "update", "update web"] {
        let refused = svinit.svctl(words);
        assert_eq!(refused.code, 78, "{refused:?}");
        for told in [
            "nothing was changed",
            &place,
            &format!("(PID {})", std::process::id()),
            "; stop it, or take another address",
            &format!("  5 | admin = \"{other}\""),
        ] {
            assert!(refused.stderr.contains(told), "{told:?} in {refused:?}");
        }
    }
    svinit.signal("HUP");
    svinit.wait_for_line(&place);
    svinit.wait_for_line("SIGHUP: nothing was changed");
    assert_eq!(pids(&svinit, &["web", "api"]), before);
    assert!(!svinit.svctl("cat web").stdout.contains("admin"));
    ask(&at).unwrap();
    // Who asks for nothing of it is not held up by it.
    assert_eq!(svinit.svctl("update api").code, 0);
    drop(taken);
    let done = svinit.svctl("update");
    assert_eq!(done.code, 0, "{done:?}");
    ask(&other).unwrap();
    // A directory that only a hook could make is said, and tried.
    write(&svinit, "web", &server(&at, "file = \"unix:{dir}/none/a.sock\"\n"));
    let refused = svinit.svctl("update");
    assert!(
        refused.code == 78 && refused.stderr.contains("; make it in the image, or in a pre_start hook"),
        "{refused:?}"
    );
    let hook = "hooks.pre_start = [\"mkdir -p {dir}/none\"]\n";
    write(&svinit, "web", &format!("{hook}{}", server(&at, "file = \"unix:{dir}/none/a.sock\"\n")));
    let done = svinit.svctl("update");
    assert!(done.code == 0 && format!("{done:?}").contains("warning: cannot listen on"), "{done:?}");
    assert!(svinit.path("none/a.sock").exists());
}

#[test]
fn what_an_update_itself_makes_room_for_is_in_nobodys_way() {
    let (at, other) = (address(243), address(244));
    let own = "command = [\"python3\", \"-c\", \"\"\"import socket, time\ns = socket.create_server(('IP', PORT))\n\
               print('serving', flush=True)\ntime.sleep(600)\"\"\"]\nready.log = \"^serving$\"\n";
    let (ip, port) = other.split_once(':').unwrap();
    let own = own.replace("IP", ip).replace("PORT", port);
    let setup = Setup::new().file("server.py", SERVER).unit("web", &server(&at, "")).unit("late", &own);
    let svinit = setup.start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("late", "ready");
    // Another unit wants what a unit listens at by itself that stays.
    write(&svinit, "new", &server(&other, ""));
    let refused = svinit.svctl("update");
    assert!(refused.code == 78 && refused.stderr.contains("address in use by python3"), "{refused:?}");
    fs::remove_file(svinit.path("units/new.toml")).unwrap();
    // The unit is to have its own address held from now on, and the other one gives its address to a third.
    write(&svinit, "late", &server(&other, ""));
    write(&svinit, "web", SLEEP);
    write(&svinit, "api", &server(&at, ""));
    assert_eq!(svinit.svctl("check").code, 0, "{:?}", svinit.svctl("check"));
    let done = svinit.svctl("update");
    assert_eq!(done.code, 0, "{done:?}");
    ask(&at).unwrap();
    ask(&other).unwrap();
    // From one address to all with the same port: the old one is in the way of the new one until it is closed.
    write(&svinit, "api", &server(&format!("0.0.0.0:{}", at.split_once(':').unwrap().1), ""));
    let dry = svinit.svctl("update --dry-run");
    assert_eq!(dry.code, 0, "{dry:?}");
}
