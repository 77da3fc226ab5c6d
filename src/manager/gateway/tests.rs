//! What recovery does through the gate, seen by a client and a service over real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::manager::config::reading;
use crate::manager::gate::{Report, Standing};
use crate::manager::listener::{self, Given, Seats};
use crate::manager::probe;
use crate::manager::reach::engine::Engine;
use crate::units::source::Source;

/// Bounds every wait; none takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not take that long")
}

/// A service that says `name` as often as it is let: each request takes a permit.
async fn service(name: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<()>, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (asked, heard) = mpsc::unbounded_channel();
    let open = watch::Sender::new(true);
    let at = listener.local_addr().unwrap();
    let gate = open.subscribe();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (asked, mut gate) = (asked.clone(), gate.clone());
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await? > 0 {
                    let _ = asked.send(());
                    let _ = gate.wait_for(|is_open| *is_open).await;
                    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                    stream.write_all(text.as_bytes()).await?;
                }
                Ok::<(), io::Error>(())
            });
        }
    });
    (at, heard, open)
}

/// A gateway in front of these instances of the service `app`, and where it listens.
async fn gateway(instances: &[SocketAddr]) -> (Gate, SocketAddr) {
    let (_, gate, at) = scaled(instances).await;
    (gate, at)
}

/// The same, and the service, which may get other instances.
async fn scaled(instances: &[SocketAddr]) -> (Arc<Live>, Gate, SocketAddr) {
    let targets: Vec<String> = instances.iter().map(|at| format!("\"http://{at}\"")).collect();
    let text = format!("[[route]]\nservice = \"app\"\n[service.app]\ntargets = [{}]\n", targets.join(", "));
    let config = reading::read(&Source::manager("manager.toml", text), &|_| None).unwrap().config;
    let gateway = Arc::new(Gateway::new(config.clone(), Journal::silent()));
    for live in gateway.take_over(config) {
        let engine = Arc::new(Engine::new("/nonexistent".into()));
        tokio::spawn(probe::run(live, engine));
    }
    let gate = gateway.gate();
    let live = gateway.services.get("app").unwrap();
    live.list(instances.iter().copied().collect());
    let listener = Given::new(Vec::new()).listener("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let served = listener::serve(listener, gateway, Arc::new(Seats::new(100)), stop.subscribe());
    tokio::spawn(async move {
        let _stop = stop;
        served.await;
    });
    (live, gate, at)
}

async fn ask(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    soon(stream.read_to_string(&mut text)).await.unwrap();
    format!("{} {}", &text[9..12], text.split("\r\n\r\n").nth(1).unwrap())
}

#[tokio::test]
async fn requests_wait_while_a_service_is_away_and_go_on_when_it_is_back() {
    let (a, mut heard, _open) = service("a").await;
    let (gate, at) = gateway(&[a]).await;
    assert_eq!(ask(at).await, "200 a");
    heard.recv().await.unwrap();
    gate.begin_away("app");
    assert!(gate.services()[0].is_away);
    let waiting = tokio::spawn(ask(at));
    while gate.services()[0].parked == 0 {
        tokio::task::yield_now().await;
    }
    assert!(heard.try_recv().is_err());
    gate.end_away("app");
    assert_eq!(soon(waiting).await.unwrap(), "200 a");
}

#[tokio::test]
async fn a_fresh_instance_takes_what_waits_for_the_one_that_is_away() {
    let (a, ..) = service("a").await;
    let (b, _heard, _open) = service("b").await;
    let (live, gate, at) = scaled(&[a]).await;
    gate.begin_away("app");
    let waiting = tokio::spawn(ask(at));
    while gate.services()[0].parked == 0 {
        tokio::task::yield_now().await;
    }
    live.list([a, b].into());
    assert_eq!(soon(waiting).await.unwrap(), "200 b");
}

#[tokio::test]
async fn an_instance_is_drained_when_its_last_request_has_ended() {
    let (a, mut heard, open) = service("a").await;
    let (b, _heard, _open) = service("b").await;
    let (gate, at) = gateway(&[a, b]).await;
    open.send_replace(false);
    let mut slow = Vec::new();
    while heard.try_recv().is_err() {
        slow.push(tokio::spawn(ask(at)));
        tokio::task::yield_now().await;
    }
    gate.drain("app", a);
    assert!(!gate.drained("app", a, Duration::from_millis(10)).await);
    assert_eq!(ask(at).await, "200 b");
    let drained = gate.drained("app", a, PATIENCE);
    open.send_replace(true);
    assert!(drained.await);
    for request in slow {
        assert!(soon(request).await.unwrap().starts_with("200 "));
    }
}

#[tokio::test]
async fn what_recovery_hears_counts_at_once_and_every_change_is_told() {
    let (a, ..) = service("a").await;
    let (b, ..) = service("b").await;
    let (gate, at) = gateway(&[a, b]).await;
    let mut health = gate.health();
    gate.report("app", a, Report::NotReady("its process was killed".to_owned()));
    let told = soon(health.recv()).await.unwrap();
    assert_eq!((&*told.service, told.instance, told.standing, told.serving), ("app", a, Standing::Gone, 1));
    assert_eq!(told.cause.to_string(), "its process was killed");
    assert_eq!(ask(at).await, "200 b");
    gate.report("app", a, Report::Ready);
    let told = soon(health.recv()).await.unwrap();
    assert_eq!((told.instance, told.standing, told.serving), (a, Standing::Up, 2));
}
