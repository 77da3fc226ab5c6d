//! Connections that are switched to another protocol.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::fixture::{Asked, Manager, Reply, Service, one, value};

/// Switches and sends every byte back.
fn echo(asked: &mut Asked) -> std::io::Result<()> {
    if value(&asked.head, "upgrade").is_none() {
        return asked.ok("plain");
    }
    asked.reply("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")?;
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
    let mut stream = BufReader::new(manager.connect());
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
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
