//! How the gateway finds out how an instance is: each kind of check, and svinit's stream of events, which is quicker than all of them.

#![expect(
    clippy::disallowed_methods,
    reason = "a server of a test is a thread, and a test times what it waits for"
)]

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::backend::by_socket;
use crate::backend::free_port;
use crate::backend::web;
use crate::fixture::Manager;
use crate::fixture::eventually;
use crate::supervisor::Setup;
use crate::supervisor::kill;

#[test]
fn a_crash_is_known_from_svinit_and_not_by_the_next_check() {
    let port = free_port();
    let svinit = web(port, "");
    let manager = Manager::start(&format!(
        "[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://127.0.0.1:{port}\"]\ncontrol = {}\n\
         health = {{ http = \"/\", interval = \"1h\", timeout = \"1h\" }}\nrecovery = {{ ladder = [\"alert\"] }}\n",
        by_socket(&svinit)
    ));
    manager.wait_for(": up: ");
    manager.wait_for("leader: this manager acts");
    let pid = svinit.status("web")["pid"].as_i64().unwrap();
    let began = Instant::now();
    kill(i32::try_from(pid).unwrap(), "KILL");
    manager.wait_for("gone: stopping: was killed by SIGKILL");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_service_is_as_well_as_its_own_check_in_its_container_says() {
    let unit = "command = [\"sleep\", \"600\"]\n[health]\nexec = [\"test\", \"-e\", \"{dir}/well\"]\ninterval = \"200ms\"\n\
                start_period = \"0s\"\nretries = 1\non_failure = \"none\"\n";
    let svinit = Setup::new().file("well", "").unit("worker", unit).start();
    svinit.wait_for("worker", "ready");
    let manager = Manager::start(&format!(
        "[service.worker]\ntargets = [\"tcp://127.0.0.1:1\"]\n\
         health = {{ exec = true, interval = \"100ms\", unhealthy_interval = \"100ms\", timeout = \"10s\", retries = 1, rise = 1 }}\n\
         control = {{ driver = \"socket\", path = \"{}\" }}\nrecovery = {{ ladder = [\"alert\"] }}\n",
        svinit.socket().display()
    ));
    manager.wait_for("worker 127.0.0.1:1: up: ");
    fs::remove_file(svinit.path("well")).unwrap();
    let line = manager.wait_for("worker 127.0.0.1:1: ill");
    assert!(line.contains("svinit's check fails"), "{line}");
    fs::write(svinit.path("well"), "").unwrap();
    eventually("it is well again", || manager.lines_with("worker 127.0.0.1:1: up: ") >= 2);
}

#[test]
fn a_service_is_as_well_as_its_svinit_tells_everybody() {
    let unit = "command = [\"sleep\", \"600\"]\nrestart.policy = \"never\"\n";
    let svinit =
        Setup::new().http().unit("web", unit).unit("beside", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    let manager = Manager::start(&format!(
        "[service.web]\ntargets = [\"tcp://127.0.0.1:1\"]\nhealth = {{ svinit = \"web\", port = {}, interval = \"100ms\", \
         unhealthy_interval = \"100ms\", timeout = \"10s\", retries = 1, rise = 1 }}\n",
        svinit.http().rsplit(':').next().unwrap()
    ));
    manager.wait_for("web 127.0.0.1:1: up: its check passes");
    kill(i32::try_from(svinit.status("web")["pid"].as_i64().unwrap()).unwrap(), "KILL");
    let line = manager.wait_for("web 127.0.0.1:1: ill");
    assert!(line.ends_with("/health/web answers 503"), "{line}");
}

/// As much of MySQL as a login needs. It counts connections that end before the handshake does, as the real one does.
struct Database {
    port: u16,
    logins: Arc<AtomicUsize>,
    aborted: Arc<AtomicUsize>,
    is_blocking: Arc<AtomicBool>,
}

impl Database {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let database = Self {
            port: listener.local_addr().unwrap().port(),
            logins: Arc::default(),
            aborted: Arc::default(),
            is_blocking: Arc::default(),
        };
        let (logins, aborted) = (database.logins.clone(), database.aborted.clone());
        let is_blocking = database.is_blocking.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = match serve(stream, is_blocking.load(Ordering::SeqCst)) {
                    Ok(()) => &logins,
                    Err(_) => &aborted,
                };
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        database
    }
}

/// One connection, from the greeting to the end that its client asks for.
fn serve(mut stream: TcpStream, is_blocking: bool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    if is_blocking {
        return send(
            &mut stream,
            0,
            b"\xff\x69\x04Host '127.0.0.1' is blocked because of many connection errors",
        );
    }
    send(&mut stream, 0, b"\x0a8.4.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0")?;
    let (number, login) = receive(&mut stream)?;
    if number != 1 || !login[32..].starts_with(b"watcher\0\0") {
        return Err(std::io::Error::other("it is no login of watcher without a password"));
    }
    send(&mut stream, 2, b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0")?;
    let (number, nothing) = receive(&mut stream)?;
    if number != 3 || !nothing.is_empty() {
        return Err(std::io::Error::other("it has another password than none"));
    }
    send(&mut stream, 4, b"\0\0\0\x02\0\0\0")?;
    match receive(&mut stream)? {
        (0, command) if command == [1] => Ok(()),
        other => Err(std::io::Error::other(format!("{other:?} does not end the session"))),
    }
}

fn send(stream: &mut TcpStream, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let head = [u8::try_from(payload.len()).unwrap(), 0, 0, number];
    stream.write_all(&[&head[..], payload].concat())
}

fn receive(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(head[0])];
    stream.read_exact(&mut payload)?;
    Ok((head[3], payload))
}

#[test]
fn a_database_is_asked_for_a_login_and_never_left_in_the_midst_of_it() {
    let database = Database::start();
    let manager = Manager::start(&format!(
        "[service.database]\ntargets = [\"tcp://127.0.0.1:{}\"]\nhealth = {{ mysql = \"watcher\", interval = \"50ms\", \
         unhealthy_interval = \"50ms\", timeout = \"10s\", retries = 1, rise = 1 }}\n",
        database.port
    ));
    manager.wait_for("up: its check passes");
    // More than a server takes before it blocks a host.
    eventually("it is asked again and again", || database.logins.load(Ordering::SeqCst) > 100);
    assert_eq!(database.aborted.load(Ordering::SeqCst), 0);
    database.is_blocking.store(true, Ordering::SeqCst);
    let line = manager.wait_for("ill: its check fails");
    assert!(line.contains("error 1129: Host '127.0.0.1' is blocked"), "{line}");
}
