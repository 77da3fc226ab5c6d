//! Which instance takes a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::{Manager, Service, eventually};

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
