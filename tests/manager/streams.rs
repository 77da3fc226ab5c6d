//! Bodies of any length, both ways, as they come.

use std::io::{BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::fixture::{Manager, Reply, Service, eventually, one, read_head};

/// Resident memory that must do for a stream of any length, in KiB.
const MEMORY_MAX: u64 = 40 << 10;

/// Bytes of a long stream.
fn long() -> u64 {
    std::env::var("MANAGER_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(128 << 20)
}

const PIECE: usize = 64 << 10;

#[test]
fn a_long_upload_and_a_long_download_need_little_memory() {
    let total = long();
    let service = Service::new(move |asked| {
        if asked.head.starts_with("POST") {
            let received = asked.drain()?;
            return asked.ok(&received.to_string());
        }
        if asked.target() == "/length" {
            asked.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"))?;
        } else {
            asked.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        }
        let piece = vec![7; PIECE];
        let is_chunked = asked.target() == "/chunked";
        for _ in 0..total / PIECE as u64 {
            if is_chunked {
                asked.reply(format!("{PIECE:x}\r\n"))?;
            }
            asked.reply(&piece)?;
            if is_chunked {
                asked.reply("\r\n")?;
            }
        }
        if is_chunked { asked.reply("0\r\n\r\n") } else { Ok(()) }
    });
    let manager = Manager::start(&one(&service.targets()));
    for lines in [format!("Content-Length: {total}"), "Transfer-Encoding: chunked".to_owned()] {
        let mut stream = manager.connect();
        write!(stream, "POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").unwrap();
        let is_chunked = lines.starts_with('T');
        let piece = vec![7; PIECE];
        for _ in 0..total / PIECE as u64 {
            if is_chunked {
                write!(stream, "{PIECE:x}\r\n").unwrap();
            }
            stream.write_all(&piece).unwrap();
            if is_chunked {
                stream.write_all(b"\r\n").unwrap();
            }
        }
        if is_chunked {
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
        let reply = Reply::read(&mut BufReader::new(stream), false).unwrap();
        assert_eq!((reply.status, reply.text()), (200, total.to_string()), "{lines}");
    }
    for path in ["/length", "/chunked"] {
        let mut stream = manager.connect();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
        let mut stream = BufReader::with_capacity(PIECE, stream);
        let head = read_head(&mut stream).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert_eq!(std::io::copy(&mut stream, &mut std::io::sink()).unwrap(), total, "{path}");
    }
    let peak = manager.memory_peak();
    assert!(peak < MEMORY_MAX, "{peak} KiB for {total} bytes each way");
}

#[test]
fn an_event_arrives_when_it_happens_and_not_with_the_next_one() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let service = Service::new(move |asked| {
        asked.reply("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")?;
        // Not before the first one has arrived.
        let _ = released.lock().unwrap().recv();
        asked.reply("data: 2\n\n")?;
        Err(std::io::Error::other("the end"))
    });
    let manager = Manager::start(&one(&service.targets()));
    let mut stream = BufReader::new(manager.connect());
    stream.get_mut().write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    let mut event = [0; 14];
    stream.read_exact(&mut event).unwrap();
    assert_eq!(&event, b"9\r\ndata: 1\n\n\r\n");
    release.send(()).unwrap();
    stream.read_exact(&mut event).unwrap();
    assert_eq!(&event, b"9\r\ndata: 2\n\n\r\n");
    let mut end = [0; 5];
    stream.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
}

#[test]
fn a_client_that_does_not_read_slows_its_service_down_and_fills_no_memory() {
    let (written, is_stuck) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, stuck) = (written.clone(), is_stuck.clone());
    let service = Service::new(move |asked| {
        asked.stream.get_ref().set_write_timeout(Some(Duration::from_millis(500)))?;
        asked.reply("HTTP/1.1 200 OK\r\n\r\n")?;
        let piece = vec![7; PIECE];
        loop {
            if let Err(error) = asked.reply(&piece) {
                // Nothing was taken for half a second.
                stuck.store(true, Ordering::SeqCst);
                return Err(error);
            }
            count.fetch_add(PIECE as u64, Ordering::SeqCst);
        }
    });
    let manager = Manager::start(&one(&service.targets()));
    let mut stream = manager.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the service cannot write on", || is_stuck.load(Ordering::SeqCst));
    // The kernel's buffers of two connections, and 64 KiB of ours.
    assert!(
        written.load(Ordering::SeqCst) < 64 << 20,
        "{} bytes went somewhere",
        written.load(Ordering::SeqCst)
    );
    assert!(manager.memory_peak() < MEMORY_MAX, "{} KiB", manager.memory_peak());
}

#[test]
fn an_answer_that_comes_before_the_body_has_ended_is_passed_on() {
    let service = Service::new(|asked| {
        asked.reply("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        Err(std::io::Error::other("the rest is not read"))
    });
    let manager = Manager::start(&one(&service.targets()));
    let mut stream = manager.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf").unwrap();
    let reply = Reply::read(&mut BufReader::new(stream), false).unwrap();
    assert_eq!((reply.status, reply.text().as_str(), reply.closes), (403, "no", false));
}

#[test]
fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    let service = Service::new(|asked| {
        match asked.target() {
            "/length" => asked.reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?,
            _ => asked.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")?,
        }
        Err(std::io::Error::other("it breaks"))
    });
    let manager = Manager::start(&one(&service.targets()));
    for path in ["/length", "/chunked"] {
        let asked = manager.try_send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(asked.is_err(), "{path}: {asked:?}");
    }
    manager.wait_for("(upstream: it closed the connection within an answer)");
}

#[test]
fn early_hints_are_passed_on_before_the_answer() {
    let service = Service::new(|asked| {
        asked.reply("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
        asked.ok("app")
    });
    let manager = Manager::start(&one(&service.targets()));
    let mut stream = BufReader::new(manager.connect());
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let hints = Reply::read(&mut stream, false).unwrap();
    assert_eq!((hints.status, hints.value("link")), (103, Some("</a.css>")));
    assert_eq!(Reply::read(&mut stream, false).unwrap().status, 200);
}
