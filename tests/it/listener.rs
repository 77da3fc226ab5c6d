//! The public listener among strangers: half requests, slow ones, odd ones, too many, a flood while services restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fixture::{PATIENCE, Setup, Svinit, eventually};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Connections at a time, as documented.
const CONNECTIONS_MAX: usize = 128;

fn connect(at: &str) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that still comes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well: what came before it counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answer(at: &str, bytes: &[u8]) -> String {
    let mut stream = connect(at);
    // Who is refused early may find the door closed while it still talks.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

fn health(at: &str) -> String {
    answer(at, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

#[test]
fn half_heads_and_endless_guests_are_shown_out() {
    let svinit = Setup::new().http().unit("web", STAY).start();
    let at = svinit.http();
    // One asks again and again and never leaves.
    let guest = {
        let at = at.clone();
        std::thread::Builder::new().spawn(move || {
            let mut stream = connect(&at);
            let mut answers = 0;
            while stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").is_ok() {
                let mut piece = [0; 4096];
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => answers += 1,
                    _ => break,
                }
            }
            answers
        })
    };
    let mut held: Vec<TcpStream> = (0..CONNECTIONS_MAX + 40)
        .map(|_| {
            let mut stream = connect(&at);
            stream.write_all(b"GET /health HTTP/1.1\r\nHo").unwrap();
            stream
        })
        .collect();
    let pid = svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("restart web").code, 0);
    assert!(svinit.wait_for_another("web", "ready", pid).is_some());
    let guest = guest.unwrap();
    assert_eq!(rest(&mut held[0]), "");
    assert!(!guest.is_finished(), "half a head goes after two seconds, a guest after ten");
    for stream in &mut held {
        assert!(!rest(stream).contains(" 200 "));
    }
    assert!(guest.join().unwrap() > 0, "it was served for a while, and then not");
    assert!(health(&at).starts_with("HTTP/1.1 200"));
}

#[test]
fn only_looks_without_a_body_are_served_and_odd_requests_are_not() {
    let svinit = Setup::new().http().unit("web", STAY).start();
    let at = svinit.http();
    svinit.wait_for("web", "ready");
    let request = |line: &str, headers: &str| {
        answer(&at, format!("{line}\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").as_bytes())
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"] {
        let answer = request(&format!("{method} /health HTTP/1.1"), "");
        assert!(
            answer.starts_with("HTTP/1.1 405") || answer.starts_with("HTTP/1.1 400"),
            "{method}: {answer}"
        );
    }
    let head = request("HEAD /health HTTP/1.1", "");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    for body in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let answer = request("GET /health HTTP/1.1", body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
    }
    for (path, status) in [
        ("/v1/units", "404"),
        ("/v1/jobs", "404"),
        ("/health/../v1/units", "404"),
        ("/health/%2e%2e%2fv1", "404"),
        ("http://other.example/health", "200"),
        ("/", "404"),
    ] {
        let answer = request(&format!("GET {path} HTTP/1.1"), "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    for odd in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: \0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        let answer = answer(&at, odd);
        assert!(!answer.contains(" 200 "), "{}: {answer}", String::from_utf8_lossy(odd));
    }
    let long = request("GET /health HTTP/1.1", &format!("X: {}\r\n", "y".repeat(9 << 10)));
    let many = request("GET /health HTTP/1.1", &"a: b\r\n".repeat(70));
    assert!(long.starts_with("HTTP/1.1 431") && many.starts_with("HTTP/1.1 431"), "{long} {many}");
    assert!(health(&at).starts_with("HTTP/1.1 200"));
}

/// How long ten restarts take, as svinit measures them, the middle one of them.
fn restart_ms(svinit: &Svinit) -> f64 {
    let mut took: Vec<f64> = (0..10)
        .map(|_| {
            let body = json!({"verb": "restart", "units": ["web"]}).to_string();
            let mut answer = String::new();
            svinit.request("POST", "/v1/jobs", &body).read_to_string(&mut answer).unwrap();
            let line =
                answer.lines().find(|line| line.contains("took_ms")).unwrap_or_else(|| panic!("{answer}"));
            let outcome: Value = serde_json::from_str(line).unwrap();
            assert_eq!(outcome["ok"], true, "{answer}");
            outcome["took_ms"].as_f64().unwrap()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[5]
}

#[test]
fn a_flood_of_questions_does_not_keep_a_service_from_being_restarted() {
    let svinit = Setup::new().http().unit("web", STAY).start();
    svinit.wait_for("web", "ready");
    let at = svinit.http();
    let quiet = restart_ms(&svinit);
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let refused = Arc::new(Mutex::new(String::new()));
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let (at, over, asked, refused) =
                (at.clone(), Arc::clone(&over), Arc::clone(&asked), Arc::clone(&refused));
            std::thread::Builder::new().spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = connect(&at);
                    let mut answer = vec![0; 64 << 10];
                    // Until it is shown out.
                    while !over.load(Ordering::Relaxed)
                        && stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
                    {
                        let Ok(n @ 1..) = stream.read(&mut answer) else { break };
                        let text = String::from_utf8_lossy(&answer[..n]);
                        if !text.starts_with("HTTP/1.1 200") && !text.starts_with("HTTP/1.1 503") {
                            *refused.lock().unwrap() = text.into_owned();
                        }
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    eventually("the flood has begun", || asked.load(Ordering::Relaxed) > 200);
    let before = asked.load(Ordering::Relaxed);
    let flooded = restart_ms(&svinit);
    let during = asked.load(Ordering::Relaxed) - before;
    over.store(true, Ordering::Relaxed);
    flood.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
    assert_eq!(*refused.lock().unwrap(), "");
    println!("restart took {quiet:.1} ms, and {flooded:.1} ms while {during} questions were answered");
    assert!(during > 0);
    // A flood costs its share of the processor, and nothing more: no restart waits behind questions.
    assert!(flooded < 50.0 * quiet.max(2.0), "{quiet} ms, flooded {flooded} ms");
}
