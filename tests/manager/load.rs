//! No request fails while a service is restarted or healed: 200 a second, from the outside, through all of it.
//!
//! Their number is 1000 for each of the four, and `MANAGER_REQUESTS` if that is set; 20000 is what is promised.

#![expect(clippy::disallowed_methods, reason = "clients of a test are threads, which ask at set times")]

use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::backend::by_socket;
use crate::backend::free_port;
use crate::backend::manager;
use crate::backend::web;
use crate::fixture::Manager;
use crate::fixture::PATIENCE;
use crate::fixture::Reply;
use crate::fixture::eventually;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

/// Requests a second.
const RATE: usize = 200;

/// Each of them asks twice a second, so that requests go on to come while a hundred wait.
const CLIENTS: usize = 100;

fn requests() -> usize {
    std::env::var("MANAGER_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

/// Requests that come whatever becomes of those before them.
struct Load {
    clients: Vec<thread::JoinHandle<Vec<Result<Duration, String>>>>,
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn start(at: SocketAddr) -> Self {
        let (answered, is_over): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let began = Instant::now();
        let clients = (0..CLIENTS)
            .map(|client| {
                let (answered, is_over) = (answered.clone(), is_over.clone());
                thread::spawn(move || {
                    let mut outcomes = Vec::new();
                    // Nobody ever sends on it: it is waited on for a time.
                    let (_open, never) = mpsc::channel::<()>();
                    for round in 0.. {
                        let due = Duration::from_secs(1) / u32::try_from(RATE).unwrap()
                            * u32::try_from(round * CLIENTS + client).unwrap();
                        let _ = never.recv_timeout(due.saturating_sub(began.elapsed()));
                        if is_over.load(Ordering::SeqCst) {
                            break;
                        }
                        let asked = Instant::now();
                        outcomes.push(ask(at).map(|()| asked.elapsed()));
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    outcomes
                })
            })
            .collect();
        Self { clients, answered, is_over }
    }

    fn wait_for(&self, requests: usize) {
        let begun = self.answered.load(Ordering::SeqCst);
        // A piece at a time: twenty thousand take longer than anything else is waited for.
        for target in (begun..begun + requests).step_by(RATE).skip(1).chain([begun + requests]) {
            eventually("requests are answered", || self.answered.load(Ordering::SeqCst) >= target);
        }
    }

    /// Ends it; not one may have failed.
    fn end(self, what: &str) {
        self.is_over.store(true, Ordering::SeqCst);
        let outcomes: Vec<_> = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let failed: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        let mut times: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.clone().ok()).collect();
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        eprintln!(
            "{what}: {} requests, p50 {:?}, p99 {:?}, the longest {:?}",
            outcomes.len(),
            at(50),
            at(99),
            at(100)
        );
        assert!(
            failed.is_empty(),
            "{} of {} failed: {:?}",
            failed.len(),
            outcomes.len(),
            &failed[..failed.len().min(5)]
        );
    }
}

fn ask(at: SocketAddr) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(at).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").map_err(words)?;
    let reply = Reply::read(&mut BufReader::new(stream), false).map_err(words)?;
    if reply.status == 200 { Ok(()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
}

fn pid(svinit: &Svinit) -> i32 {
    i32::try_from(svinit.status("web")["pid"].as_i64().unwrap()).unwrap()
}

fn both() -> (Svinit, Manager) {
    let port = free_port();
    let svinit = web(port, "");
    let manager = manager(port, &by_socket(&svinit));
    (svinit, manager)
}

/// Restarts it again and again: so many requests are answered before each time, and so many from then on.
fn restart_under(load: &Load, svinit: &Svinit, before: usize, after: usize) {
    for _ in 0..requests().div_ceil(before + after) {
        load.wait_for(before);
        let answer = svinit.svctl("restart web");
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        load.wait_for(after);
    }
}

#[test]
fn no_request_fails_while_the_only_instance_is_restarted() {
    let (svinit, manager) = both();
    let load = Load::start(manager.address());
    restart_under(&load, &svinit, 100, 400);
    load.end("restarted");
}

/// Two of it, each under a svinit of its own, and a manager that sends requests to both.
fn two() -> ([Svinit; 2], Manager) {
    let [(a, first), (b, second)] = std::array::from_fn(|_| {
        let port = free_port();
        (port, web(port, ""))
    });
    let manager = Manager::start(&format!(
        "[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://127.0.0.1:{a}\", \"http://127.0.0.1:{b}\"]\n\
         health = {{ http = \"/\", interval = \"1s\", unhealthy_interval = \"500ms\", timeout = \"1s\", retries = 2 }}\n"
    ));
    for port in [a, b] {
        manager.wait_for(&format!("app 127.0.0.1:{port}: up: "));
    }
    ([first, second], manager)
}

#[test]
fn no_request_fails_while_one_of_two_is_restarted() {
    let ([svinit, _other], manager) = two();
    let load = Load::start(manager.address());
    // Long enough for it to be sent requests again, before it is restarted the next time.
    restart_under(&load, &svinit, 50, 250);
    load.end("one of two restarted");
}

#[test]
fn no_request_fails_while_a_killed_service_is_healed() {
    let (svinit, manager) = both();
    let load = Load::start(manager.address());
    load.wait_for(100);
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: healed:");
    load.wait_for(requests().saturating_sub(100));
    load.end("killed");
}

#[test]
fn no_request_fails_while_a_hung_service_is_healed_once_that_is_known() {
    let (svinit, manager) = both();
    kill(pid(&svinit), "STOP");
    manager.wait_for("recovery: app: act: restart-unit of");
    let load = Load::start(manager.address());
    manager.wait_for("recovery: app: healed:");
    load.wait_for(requests());
    load.end("hung");
}
