//! Requests wait while their service is away.

#![expect(clippy::disallowed_methods, reason = "clients of a test are threads")]

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::fixture::{Manager, Reply, Service, eventually, one};

#[test]
fn no_request_fails_while_the_only_instance_is_started_again() {
    let service = Service::named("app");
    let address = service.address;
    let manager = Arc::new(Manager::start(&one(&service.targets())));
    let is_over = Arc::new(AtomicBool::new(false));
    let begun: Vec<Arc<AtomicUsize>> = (0..8).map(|_| Arc::default()).collect();
    let clients: Vec<_> = begun
        .iter()
        .cloned()
        .map(|begun| {
            let (manager, is_over) = (manager.clone(), is_over.clone());
            thread::spawn(move || {
                let mut answers = Vec::new();
                let mut stream = BufReader::new(manager.connect());
                while !is_over.load(Ordering::SeqCst) {
                    begun.fetch_add(1, Ordering::SeqCst);
                    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                    answers.push(Reply::read(&mut stream, false).unwrap().status);
                }
                answers
            })
        })
        .collect();
    let all_begin = |more: usize| {
        let before: Vec<usize> = begun.iter().map(|begun| begun.load(Ordering::SeqCst)).collect();
        eventually("every client asks", || {
            begun.iter().zip(&before).all(|(begun, before)| begun.load(Ordering::SeqCst) >= before + more)
        });
    };
    let mut service = Some(service);
    for _ in 0..5 {
        all_begin(5);
        let before = manager.lines_with("gone: no connection: connection refused");
        service.take().unwrap().stop();
        eventually("somebody has found nobody there", || {
            manager.lines_with("gone: no connection: connection refused") > before
        });
        service = Some(Service::at(address, "app"));
    }
    all_begin(5);
    is_over.store(true, Ordering::SeqCst);
    let answers: Vec<u16> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let failed = answers.iter().filter(|status| **status != 200).count();
    assert_eq!(failed, 0, "{failed} of {} failed", answers.len());
    assert!(manager.said().contains(" parked="), "nobody has waited");
}

#[test]
fn who_waits_too_long_or_is_one_too_many_is_told_when_to_come_again() {
    let service = Service::named("app");
    let address = service.address;
    service.stop();
    let manager = Manager::start(&one(&format!(
        "targets = [\"http://{address}\"]\npark = {{ max_requests = 2, timeout = \"1s\" }}\n"
    )));
    let mut waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = BufReader::new(manager.connect());
            stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let statuses: Vec<u16> = (0..3).map(|_| manager.get("/").status).collect();
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    for stream in &mut waiting {
        let reply = Reply::read(stream, false).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((reply.status, reply.value("retry-after")), (503, Some("1")));
        assert_eq!((told["fault"].as_str(), told["retry"].as_str()), (Some("upstream"), Some("safe")));
    }
    manager.wait_for("(upstream: no instance could take it in time)");
}

#[test]
fn a_body_waits_with_its_request() {
    let service = Service::named("app");
    let address = service.address;
    service.stop();
    let manager = Manager::start(&one(&format!("targets = [\"http://{address}\"]\n")));
    let mut stream = BufReader::new(manager.connect());
    stream.get_mut().write_all(b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").unwrap();
    manager.wait_for("gone: no connection: connection refused");
    let service = Service::serving(address, |asked| {
        let received = asked.drain()?;
        asked.ok(&received.to_string())
    });
    stream.get_mut().write_all(b"llo").unwrap();
    let reply = Reply::read(&mut stream, false).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "5"));
    assert_eq!(service.heads().iter().filter(|head| head.starts_with("POST")).count(), 1);
}
