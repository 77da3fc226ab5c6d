//! Connections that are switched to another protocol.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::fixture::{Asked, Manager, Reply, Service, one, value};

/// Switches and sends every byte back.
fn echo(asked: &mut Asked) -> std::io::Result<()> {
    let Some(protocol) = value(&asked.head, "upgrade").map(str::to_owned) else {
        return asked.ok("plain");
    };
    asked.reply(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Accept: x\r\n\r\n"
    ))?;
    // It waits for as long as the other side is there.
    asked.stream.get_ref().set_read_timeout(None)?;
    let mut bytes = [0; 4096];
    loop {
        let read = asked.stream.read(&mut bytes)?;
        if read == 0 {
            return Err(std::io::Error::other("the end"));
        }
        asked.reply(&bytes[..read])?;
    }
}

fn upgrade(manager: &Manager, lines: &str) -> (Reply, BufReader<TcpStream>) {
    upgrade_to(manager, "websocket", lines)
}

fn upgrade_to(manager: &Manager, protocol: &str, lines: &str) -> (Reply, BufReader<TcpStream>) {
    let mut stream = BufReader::new(manager.connect());
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Protocol: vite-hmr\r\nSec-WebSocket-Key: x\r\n{lines}\r\n"
    );
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    (Reply::read(&mut stream, false).unwrap(), stream)
}

fn echoes(stream: &mut BufReader<TcpStream>, bytes: &[u8]) {
    stream.get_mut().write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

/// A text frame, as a server sends it.
const FRAME: &[u8] = &[0x81, 2, b'h', b'i'];

/// Service restart.
const RESTARTING: [u8; 4] = [0x88, 2, 0x03, 0xf4];

#[test]
fn a_websocket_passes_both_ways() {
    let service = Service::new(echo);
    let manager = Manager::start(&one(&service.targets()));
    let (reply, mut stream) = upgrade(&manager, "");
    assert_eq!(
        (reply.status, reply.value("upgrade"), reply.value("sec-websocket-accept")),
        (101, Some("websocket"), Some("x"))
    );
    let head = service.heads().remove(0);
    assert_eq!(value(&head, "connection"), Some("Upgrade"));
    assert_eq!(value(&head, "sec-websocket-protocol"), Some("vite-hmr"));
    echoes(&mut stream, FRAME);
    echoes(&mut stream, &[5; 100_000]);
    drop(stream);
    let line = manager.wait_for("upgrade=websocket");
    assert!(line.contains(" 101 100004B "), "{line}");
}

#[test]
fn a_client_is_told_to_come_again_when_its_service_goes_away() {
    let service = Service::new(echo);
    let manager = Manager::start(&one(&service.targets()));
    let (_, mut stream) = upgrade(&manager, "");
    echoes(&mut stream, FRAME);
    service.stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, RESTARTING);
}

#[test]
fn a_client_is_told_to_come_again_when_the_gateway_stops() {
    let service = Service::new(echo);
    let mut manager = Manager::start(&one(&service.targets()));
    let (_, mut stream) = upgrade(&manager, "");
    echoes(&mut stream, FRAME);
    manager.signal(nix::sys::signal::Signal::SIGTERM);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, RESTARTING);
    assert_eq!(manager.wait(), Some(0));
}

#[test]
fn a_protocol_that_is_not_listed_is_not_switched_to() {
    let service = Service::new(echo);
    let manager = Manager::start(&one(&format!("{}upgrade = []\n", service.targets())));
    let (reply, _) = upgrade(&manager, "");
    assert_eq!((reply.status, reply.text().as_str()), (200, "plain"));
    assert_eq!(value(&service.heads()[0], "upgrade"), None);
}

#[test]
fn another_protocol_that_is_listed_passes_both_ways_and_is_just_closed_at_its_end() {
    let service = Service::new(echo);
    let file = one(&format!("{}upgrade = [\"websocket\", \"echo\"]\n", service.targets()));
    let (stays, mut stops) = (Manager::start(&file), Manager::start(&file));
    let [mut service_ends, mut gateway_stops] = [&stays, &stops].map(|manager| {
        let (reply, mut stream) = upgrade_to(manager, "echo", "");
        assert_eq!((reply.status, reply.value("upgrade")), (101, Some("echo")));
        // Also what would be a frame of a WebSocket is bytes like others.
        echoes(&mut stream, FRAME);
        echoes(&mut stream, &[5; 100_000]);
        stream
    });
    assert!(service.heads().iter().all(|head| value(head, "upgrade") == Some("echo")));
    let mut rest = Vec::new();
    stops.signal(nix::sys::signal::Signal::SIGTERM);
    gateway_stops.read_to_end(&mut rest).unwrap();
    assert_eq!(stops.wait(), Some(0));
    service.stop();
    service_ends.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    let line = stays.wait_for("upgrade=echo");
    assert!(line.contains(" 101 100004B "), "{line}");
}

#[test]
fn a_page_of_another_origin_cannot_switch() {
    let service = Service::new(echo);
    let cors = "[cors]\nallow_origins = [\"https://good.example\"]\n";
    let manager = Manager::start(&format!("{cors}{}", one(&service.targets())));
    for (origin, status) in
        [("http://app.example", 101), ("https://good.example", 101), ("https://evil.example", 403)]
    {
        assert_eq!(upgrade(&manager, &format!("Origin: {origin}\r\n")).0.status, status, "{origin}");
    }
}

#[test]
fn a_service_may_refuse_to_switch() {
    let service =
        Service::new(|asked| asked.reply("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno"));
    let manager = Manager::start(&one(&service.targets()));
    let (reply, _) = upgrade(&manager, "");
    assert_eq!((reply.status, reply.text().as_str()), (426, "no"));
}

/// Every other time limit that there is, as short as a file may have it.
const SHORT: &str = "[timeouts]\nheader = \"500ms\"\nkeep_alive = \"500ms\"\nclient = \"500ms\"\n";
const SHORT_OF_SERVICE: &str =
    "response_timeout = \"2s\"\nidle_timeout = \"500ms\"\nidle_connection_timeout = \"500ms\"\n";

/// Nothing comes on it for so long.
fn is_silent_for(stream: &mut BufReader<TcpStream>, time: Duration) {
    let before = stream.get_ref().read_timeout().unwrap();
    stream.get_ref().set_read_timeout(Some(time)).unwrap();
    let error = stream.read(&mut [0]).expect_err("something came, or the end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    stream.get_ref().set_read_timeout(before).unwrap();
}

#[test]
fn a_websocket_may_be_silent_for_longer_than_anything_else_may_take() {
    let service = Service::new(echo);
    let manager =
        Manager::start(&format!("{SHORT}{}", one(&format!("{}{SHORT_OF_SERVICE}", service.targets()))));
    let (_, mut stream) = upgrade(&manager, "");
    echoes(&mut stream, FRAME);
    // A connection on which nothing is asked is closed, again and again; the websocket is not.
    for _ in 0..5 {
        let mut idle = manager.connect();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    }
    // An hour is MANAGER_IDLE=3600.
    let seconds = std::env::var("MANAGER_IDLE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    is_silent_for(&mut stream, Duration::from_secs(seconds));
    echoes(&mut stream, FRAME);
    echoes(&mut stream, &[5; 100_000]);
}

#[test]
fn a_websocket_that_is_silent_for_too_long_is_closed_where_that_is_asked_for() {
    let service = Service::new(echo);
    let manager = Manager::start(&one(&format!("{}upgrade_timeout = \"2s\"\n", service.targets())));
    let (_, mut stream) = upgrade(&manager, "");
    // What moves, in either direction, is not silent.
    for _ in 0..4 {
        is_silent_for(&mut stream, Duration::from_millis(700));
        echoes(&mut stream, FRAME);
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest[0] == 0x88, "the end, or a frame that says so: {rest:?}");
}
