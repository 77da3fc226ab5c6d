//! Which instance takes a request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::{Manager, Reply, Service, eventually};

fn two(a: &Service, b: &Service, keys: &str) -> String {
    format!(
        "[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://{}\", \"http://{}\"]\n{keys}",
        a.address, b.address
    )
}

/// How many of so many requests each service answers.
fn shares(manager: &Manager, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let reply = manager.get("/");
        assert_eq!(reply.status, 200);
        *shares.entry(reply.text()).or_default() += 1;
    }
    shares
}

#[test]
fn requests_take_turns() {
    let (a, b) = (Service::named("a"), Service::named("b"));
    let manager = Manager::start(&two(&a, &b, ""));
    assert_eq!(shares(&manager, 10), BTreeMap::from([("a".into(), 5), ("b".into(), 5)]));
}

#[test]
fn a_client_stays_at_its_instance_with_a_cookie() {
    let (a, b) = (Service::named("a"), Service::named("b"));
    let manager = Manager::start(&two(&a, &b, "sticky = \"seat\"\n"));
    let first = manager.get("/");
    let cookie = first.value("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..10 {
        let reply = manager.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {pair}\r\n\r\n"));
        assert_eq!((reply.text(), reply.value("set-cookie")), (first.text(), None));
    }
}

#[test]
fn the_same_key_leads_to_the_same_instance_whatever_else_is_asked() {
    let (a, b) = (Service::named("a"), Service::named("b"));
    for hash_on in ["client", "path", "header:X-Tenant", "cookie:tenant"] {
        let file = two(&a, &b, &format!("balance = \"hash\"\nhash_on = \"{hash_on}\"\n"));
        let manager = Manager::start(&format!("trusted_proxies = [\"127.0.0.0/8\"]\n{file}"));
        let who = |key: usize, rest: usize| {
            let of = |name| if name == hash_on { key } else { rest };
            let reply = manager.send(format!(
                "GET /{} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.{}\r\nX-Tenant: {}\r\nCookie: x=y; tenant={}\r\n\r\n",
                of("path"),
                of("client"),
                of("header:X-Tenant"),
                of("cookie:tenant")
            ));
            assert_eq!(reply.status, 200);
            reply.text()
        };
        let first: Vec<String> = (0..32).map(|key| who(key, 0)).collect();
        let again: Vec<String> = (0..32).map(|key| who(key, 200 - key)).collect();
        assert_eq!(first, again, "{hash_on}");
        // That 32 keys have one instance by chance happens once in two thousand million times.
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2, "{hash_on}");
    }
}

/// Answers everything but `/long`, which it is busy with for as long as it is waited for.
fn with_long_work(name: &'static str) -> Service {
    Service::new(move |asked| match asked.target() {
        "/long" => asked.stream.read(&mut [0]).map(drop),
        _ => asked.ok(name),
    })
}

#[test]
fn who_is_busy_gets_no_more_while_another_one_is_free() {
    let (a, b) = (with_long_work("a"), with_long_work("b"));
    let manager = Manager::start(&two(&a, &b, "balance = \"least-connections\"\n"));
    let mut long = manager.connect();
    long.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("one of them is busy", || a.count() + b.count() == 1);
    let free = if a.count() == 1 { "b" } else { "a" };
    // On one connection a request comes when the one before it is over, for the gateway as well.
    let mut stream = BufReader::new(manager.connect());
    for _ in 0..10 {
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(Reply::read(&mut stream, false).unwrap().text(), free);
    }
    drop(long);
    eventually("both take turns again", || shares(&manager, 4).len() == 2);
}

#[test]
fn an_instance_that_nobody_can_reach_costs_no_request() {
    let (a, b) = (Service::named("a"), Service::named("b"));
    let manager = Manager::start(&two(&a, &b, ""));
    assert_eq!(shares(&manager, 4).len(), 2);
    b.stop();
    assert_eq!(shares(&manager, 10), BTreeMap::from([("a".into(), 10)]));
    assert_eq!(manager.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status, 200);
}

#[test]
fn a_check_takes_an_instance_out_and_in_again() {
    let is_well = Arc::new(AtomicBool::new(true));
    let told = is_well.clone();
    let a = Service::new(move |asked| {
        if asked.target() == "/health" && !told.load(Ordering::SeqCst) {
            return asked.reply("HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n");
        }
        asked.ok("a")
    });
    let b = Service::named("b");
    let health = "health = { http = \"/health\", interval = \"50ms\", unhealthy_interval = \"50ms\", retries = 2, timeout = \"30s\" }\n";
    let manager = Manager::start(&two(&a, &b, health));
    manager.wait_for(&format!("app {}: up", a.address));
    is_well.store(false, Ordering::SeqCst);
    let line = manager.wait_for(&format!("app {}: ill", a.address));
    assert!(line.ends_with("its check fails: /health answers 503"), "{line}");
    assert_eq!(shares(&manager, 10), BTreeMap::from([("b".into(), 10)]));
    is_well.store(true, Ordering::SeqCst);
    eventually("it serves again", || shares(&manager, 4).len() == 2);
}

#[test]
fn bad_answers_eject_an_instance_but_never_the_last() {
    let a = Service::new(|asked| asked.reply("HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\na"));
    let b = Service::named("b");
    let manager = Manager::start(&two(&a, &b, "eject = { failures = 3, duration = \"10m\" }\n"));
    let bad = (0..20).filter(|_| manager.get("/").status == 500).count();
    assert_eq!(bad, 3);
    manager.wait_for("3 bad answers in a row, the last one: it answered 500");
    drop(b);
    // With the other one gone a bad answer is better than none.
    assert_eq!(manager.get("/").text(), "a");
}

#[test]
fn a_broken_connection_is_tried_again_only_where_that_is_safe() {
    let a = Service::new(|_| Err(std::io::Error::other("it breaks")));
    let b = Service::named("b");
    let manager = Manager::start(&two(&a, &b, "eject = { failures = 0 }\n"));
    assert!((0..10).all(|_| manager.get("/").text() == "b"));
    let posts: Vec<u16> = (0..10)
        .map(|_| manager.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status)
        .collect();
    let failed = posts.iter().filter(|status| **status == 502).count();
    assert_eq!(failed, 5, "{posts:?}");
    // Not one of them was sent twice.
    let all = a.heads().into_iter().chain(b.heads());
    assert_eq!(all.filter(|head| head.starts_with("POST")).count(), 10);
}
