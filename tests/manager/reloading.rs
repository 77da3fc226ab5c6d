//! Another file, other addresses of a name, and the end: without a failed request.

#![expect(clippy::disallowed_methods, reason = "clients of a test are threads")]

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::fixture::{Manager, Reply, Service, eventually, one};

/// Asks without pause, on one connection, until it is dropped.
struct Load {
    is_over: Arc<AtomicBool>,
    client: thread::JoinHandle<Vec<(u16, String)>>,
}

impl Load {
    fn on(manager: &Manager) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, mut stream) = (is_over.clone(), BufReader::new(manager.connect()));
        let client = thread::spawn(move || {
            let mut answers = Vec::new();
            while !over.load(Ordering::SeqCst) {
                stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let reply = Reply::read(&mut stream, false).unwrap();
                answers.push((reply.status, reply.text()));
            }
            answers
        });
        Self { is_over, client }
    }

    /// Every answer was good: which services gave them.
    fn end(self) -> BTreeSet<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let answers = self.client.join().unwrap();
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        answers.into_iter().map(|(_, text)| text).collect()
    }
}

#[test]
fn another_file_is_taken_over_between_two_requests() {
    let (a, b) = (Service::named("a"), Service::named("b"));
    let manager = Manager::start(&one(&a.targets()));
    let load = Load::on(&manager);
    eventually("the first serves", || a.count() > 10);
    manager.rewrite(&one(&b.targets()));
    manager.signal(Signal::SIGHUP);
    manager.wait_for("taken over: 1 routes, 1 services");
    eventually("the second serves", || b.count() > 10);
    assert_eq!(load.end(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_shown() {
    let a = Service::named("a");
    let manager = Manager::start(&one(&a.targets()));
    manager.rewrite(&one("targets = [\"http://x:1\"]\nbalanse = \"hash\"\n"));
    manager.signal(Signal::SIGHUP);
    manager.wait_for("no such key in [service.app]: \"balanse\"; did you mean \"balance\"?");
    assert_eq!(manager.get("/").text(), "a");
}

#[test]
fn what_waits_for_a_new_start_is_said() {
    let a = Service::named("a");
    let manager = Manager::start(&one(&a.targets()));
    manager.rewrite(&format!("limits.connections = 77\n{}", one(&a.targets())));
    manager.signal(Signal::SIGHUP);
    manager.wait_for("limits.connections is in force when svmanager is next started");
    assert_eq!(manager.get("/").text(), "a");
}

#[test]
fn a_name_is_followed_when_its_service_is_scaled() {
    let a = Service::named("a");
    let second: SocketAddr = ([127, 0, 0, 2], a.address.port()).into();
    let manager = Manager::with_hosts(
        &one(&format!("targets = [\"http://backend:{}\"]\n", a.address.port())),
        "127.0.0.1 backend\n",
    );
    let load = Load::on(&manager);
    eventually("the first serves", || a.count() > 10);
    let b = Service::at(second, "b");
    manager.rename("127.0.0.1 backend\n127.0.0.2 backend\n");
    eventually("the second serves as well", || b.count() > 10);
    manager.rename("127.0.0.2 backend\n");
    manager.wait_for(&format!("app {}: gone: it is not there any more", a.address));
    let before = a.count();
    eventually("the second serves alone", || b.count() > 100);
    assert!(a.count() <= before + 1);
    assert_eq!(load.end(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_stop_lets_the_requests_that_are_there_end() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let service = Service::new(move |asked| {
        let _ = released.lock().unwrap().recv();
        asked.ok("late")
    });
    let mut manager = Manager::start(&one(&service.targets()));
    let mut idle = manager.connect();
    let mut stream = BufReader::new(manager.connect());
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the request is there", || service.count() == 1);
    manager.signal(Signal::SIGTERM);
    manager.wait_for("stopping, as SIGTERM asks");
    // Who asks for nothing is not waited for.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    release.send(()).unwrap();
    let reply = Reply::read(&mut stream, false).unwrap();
    assert_eq!((reply.status, reply.text().as_str(), reply.closes), (200, "late", true));
    assert_eq!(manager.wait(), Some(0));
    manager.wait_for("stopped: every request was answered");
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let service = Service::new(|asked| {
        asked.reply("HTTP/1.1 200 OK\r\n\r\nforever")?;
        let _ = asked.stream.read(&mut [0]);
        Ok(())
    });
    let mut manager = Manager::start(&format!("shutdown_timeout = \"300ms\"\n{}", one(&service.targets())));
    let mut stream = manager.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the request is there", || service.count() == 1);
    manager.signal(Signal::SIGTERM);
    assert_eq!(manager.wait(), Some(0));
    manager.wait_for("stopped: 1 connections were still open");
}
