//! What is too much, too large or too slow.

use std::io::{BufReader, Read, Write};

use crate::fixture::{Manager, Reply, Service, one};

#[test]
fn five_hundred_clients_that_never_finish_their_head_delay_nobody() {
    let service = Service::named("app");
    let manager = Manager::start(&format!("[timeouts]\nheader = \"10m\"\n{}", one(&service.targets())));
    let slow: Vec<_> = (0..500)
        .map(|number| {
            let mut stream = manager.connect();
            write!(stream, "GET /{number} HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(manager.get("/").status, 200);
    }
    assert_eq!(service.count(), 20);
    // And they are served when they do finish.
    let mut stream = slow.into_iter().next().unwrap();
    stream.write_all(b"x\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut BufReader::new(stream), false).unwrap().status, 200);
}

#[test]
fn a_head_that_does_not_end_is_answered_and_closed() {
    let service = Service::named("app");
    let manager = Manager::start(&format!(
        "[timeouts]\nheader = \"200ms\"\nkeep_alive = \"200ms\"\n{}",
        one(&service.targets())
    ));
    let reply = manager.send("GET / HTTP/1.1\r\nHost: a\r\n");
    assert_eq!((reply.status, reply.closes), (408, true));
    // One that has said nothing is closed without a word.
    let mut silent = manager.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let mut idle = manager.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut idle = BufReader::new(idle);
    assert_eq!(Reply::read(&mut idle, false).unwrap().status, 200);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_body_that_does_not_come_is_answered_and_closed() {
    let service = Service::named("app");
    let manager = Manager::start(&format!("[timeouts]\nclient = \"200ms\"\n{}", one(&service.targets())));
    let reply = manager.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!((reply.status, reply.closes), (408, true));
}

#[test]
fn what_is_too_large_is_refused() {
    let service = Service::named("app");
    let manager = Manager::start(&format!(
        "[limits]\nheader_size = \"2K\"\nheaders = 10\nbody_size = \"10B\"\n[[route]]\npath = \"/upload\"\nservice = \"app\"\nbody_size = \"0\"\n{}",
        one(&service.targets())
    ));
    let long = "a".repeat(3000);
    let lines = "A: b\r\n".repeat(11);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a".to_owned(), 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789".to_owned(), 200),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n".to_owned(), 413),
        ("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n".to_owned(), 200),
    ] {
        assert_eq!(manager.send(&request).status, status, "{}", &request[..60.min(request.len())]);
    }
}

#[test]
fn a_client_has_as_many_connections_as_it_may_have() {
    let service = Service::named("app");
    let manager =
        Manager::start(&format!("[limits]\nconnections_per_client = 2\n{}", one(&service.targets())));
    let ask = |stream: &mut BufReader<std::net::TcpStream>| {
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        Reply::read(stream, false)
    };
    let mut two: Vec<_> = (0..2).map(|_| BufReader::new(manager.connect())).collect();
    assert!(two.iter_mut().all(|stream| ask(stream).unwrap().status == 200));
    assert!(ask(&mut BufReader::new(manager.connect())).is_err());
    drop(two.pop());
    crate::fixture::eventually("the place is free again", || {
        ask(&mut BufReader::new(manager.connect())).is_ok_and(|reply| reply.status == 200)
    });
}

#[test]
fn a_service_that_does_not_answer_in_time_is_told_apart() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let service = Service::new(move |asked| {
        if asked.target() == "/slow" {
            let _ = released.lock().unwrap().recv();
        }
        asked.ok("app")
    });
    let manager = Manager::start(&one(&format!("{}response_timeout = \"200ms\"\n", service.targets())));
    let reply = manager.get("/slow");
    let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (reply.status, told["fault"].as_str(), told["retry"].as_str()),
        (504, Some("upstream"), Some("unknown"))
    );
    drop(release);
    // It has answered late, to nobody: the next request does not get that answer.
    assert_eq!(manager.get("/").text(), "app");
}

#[test]
fn a_client_that_goes_away_is_not_held_against_its_instance() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let service = Service::new(move |asked| {
        if asked.target() == "/slow" {
            let _ = released.lock().unwrap().recv();
        }
        asked.ok("app")
    });
    let manager = Manager::start(&one(&format!("{}eject = {{ failures = 1 }}\n", service.targets())));
    let mut stream = manager.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    crate::fixture::eventually("the request is there", || service.count() == 1);
    drop(stream);
    manager.wait_for(" GET a/slow 499 ");
    drop(release);
    assert_eq!(manager.get("/").text(), "app");
    assert!(!manager.said().contains("ill:"), "{}", manager.said());
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let service = Service::named("app");
    let manager = Manager::start(&format!("[limits]\nbody_size = \"1K\"\n{}", one(&service.targets())));
    let mut stream = BufReader::new(manager.connect());
    let ask = |length: u32| {
        format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
    };
    stream.get_mut().write_all(ask(2).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream, false).unwrap().status, 100);
    stream.get_mut().write_all(b"hi").unwrap();
    assert_eq!(Reply::read(&mut stream, false).unwrap().status, 200);
    // And not when it need not send it at all.
    assert_eq!(manager.send(ask(4096)).status, 413);
}
