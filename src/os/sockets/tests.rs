//! Real sockets, on addresses of this test's own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread::Builder;

use super::*;
use crate::units::socket::BACKLOG_DEFAULT;

fn spec(address: &str) -> SocketSpec {
    SocketSpec {
        name: "http".to_owned(),
        address: SocketAddress::parse(address).unwrap(),
        is_of_instance: false,
        r#type: SocketType::Stream,
        backlog: BACKLOG_DEFAULT,
        reuse_port: false,
        nonblocking: false,
        v6only: false,
        mode: 0o660,
        owner: None,
        group: None,
    }
}

/// A port that is free for now; nobody else of this machine should take it in the meantime.
fn free(ip: &str) -> String {
    let listener = TcpListener::bind(format!("{ip}:0")).unwrap();
    listener.local_addr().unwrap().to_string()
}

fn refusal(spec: &SocketSpec) -> String {
    HeldSocket::open(spec, None).unwrap_err().to_string()
}

#[test]
fn a_socket_that_is_to_be_nonblocking_is_handed_over_so_every_time() {
    let held = HeldSocket::open(&SocketSpec { nonblocking: true, ..spec(&free("127.0.0.1")) }, None).unwrap();
    for _ in 0..2 {
        let copy = TcpListener::from(held.hand_over(Use::Idle).unwrap());
        assert_eq!(copy.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        copy.set_nonblocking(false).unwrap();
    }
}

#[test]
fn connections_wait_while_nobody_accepts_and_are_accepted_by_the_next() {
    let at = free("127.0.0.1");
    let held = HeldSocket::open(&spec(&at), None).unwrap();
    let first = TcpListener::from(held.hand_over(Use::Idle).unwrap());
    drop(first);
    let mut waits = TcpStream::connect(&at).unwrap();
    waits.write_all(b"hello").unwrap();
    let next = TcpListener::from(held.hand_over(Use::Idle).unwrap());
    let (mut stream, _) = next.accept().unwrap();
    waits.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
}

#[test]
fn what_a_process_did_to_it_is_undone_for_the_next_one() {
    let at = free("127.0.0.1");
    let held = HeldSocket::open(&spec(&at), None).unwrap();
    let first = TcpListener::from(held.hand_over(Use::Idle).unwrap());
    first.set_nonblocking(true).unwrap();
    nix::sys::socket::shutdown(first.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
    drop(first);
    let next = TcpListener::from(held.hand_over(Use::Idle).unwrap());
    let client = Builder::new().spawn(move || TcpStream::connect(at).map(drop)).unwrap();
    next.accept().unwrap();
    client.join().unwrap().unwrap();
}

#[test]
fn what_is_shared_is_left_as_it_is() {
    let held = HeldSocket::open(&spec(&free("127.0.0.1")), None).unwrap();
    let first = TcpListener::from(held.hand_over(Use::Idle).unwrap());
    first.set_nonblocking(true).unwrap();
    let next = TcpListener::from(held.hand_over(Use::Shared).unwrap());
    assert_eq!(next.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn an_address_in_use_is_refused_with_who_has_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let said = refusal(&spec(&at.to_string()));
    let wanted = format!(
        "cannot listen on {at}, socket http: address in use by svinit itself (stop it, or take another address)"
    );
    assert_eq!(said, wanted);
}

#[test]
fn one_address_can_be_shared_by_those_who_both_say_so() {
    let shared = SocketSpec { reuse_port: true, ..spec(&free("127.0.0.1")) };
    let _one = HeldSocket::open(&shared, None).unwrap();
    let _other = HeldSocket::open(&shared, None).unwrap();
    assert!(HeldSocket::open(&SocketSpec { reuse_port: false, ..shared }, None).is_err());
}

#[test]
fn an_address_that_is_not_here_is_told() {
    let said = refusal(&spec("192.0.2.1:8000"));
    assert!(said.contains("there is no such address here (take one that the container has"), "{said}");
}

#[test]
fn messages_are_kept_while_nobody_reads() {
    let at = free("127.0.0.1");
    let held = HeldSocket::open(&SocketSpec { r#type: SocketType::Datagram, ..spec(&at) }, None).unwrap();
    drop(held.hand_over(Use::Idle).unwrap());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", &at).unwrap();
    let reader = UdpSocket::from(held.hand_over(Use::Idle).unwrap());
    let mut bytes = [0; 16];
    assert_eq!(reader.recv(&mut bytes).unwrap(), 5);
}

#[test]
fn a_unix_socket_has_mode_and_owner_replaces_a_dead_one_and_goes_with_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    // Left behind: the listener is gone, its file is not.
    drop(UnixListener::bind(&path).unwrap());
    let ids = Ids { uid: 65534, gid: 65534, ..Ids::default() };
    let ids = (sys::geteuid() == 0).then_some(&ids);
    let wanted = SocketSpec { mode: 0o620, ..spec(&format!("unix:{}", path.display())) };
    let held = HeldSocket::open(&wanted, ids).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o620);
    assert!(ids.is_none_or(|ids| (found.uid(), found.gid()) == (ids.uid, ids.gid)));
    UnixStream::connect(&path).unwrap();
    let said = refusal(&wanted);
    assert!(said.contains("address in use by svinit itself (stop it, or take another path)"), "{said}");
    drop(held);
    assert!(!path.exists());
}

#[test]
fn owner_and_group_can_be_chosen() {
    if sys::geteuid() != 0 {
        println!("skipped: only root can give a socket away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let given = |owner: &str, group: &str| SocketSpec {
        owner: Some(owner.to_owned()),
        group: Some(group.to_owned()),
        ..spec(&format!("unix:{}", path.display()))
    };
    let _held = HeldSocket::open(&given("4711", "4712"), None).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (4711, 4712));
    assert!(refusal(&given("nobody-of-that-name", "0")).contains("no such user"));
}

#[test]
fn another_file_at_the_end_is_not_ours_to_remove() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let held = HeldSocket::open(&spec(&format!("unix:{}", path.display())), None).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"precious").unwrap();
    drop(held);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(
        refusal(&spec(&format!("unix:{}", path.display()))).contains("something that is no socket is there")
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let said = refusal(&spec("unix:/nowhere/at/all/app.sock"));
    let wanted = "cannot listen on unix:/nowhere/at/all/app.sock, socket http: there is no directory /nowhere/at/all \
                  (make it in the image, or in a pre_start hook)";
    assert_eq!(said, wanted);
}

#[test]
fn unix_messages_are_kept_while_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let wanted = SocketSpec { r#type: SocketType::Datagram, ..spec(&format!("unix:{}", path.display())) };
    let held = HeldSocket::open(&wanted, None).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"hello", &path).unwrap();
    assert!(refusal(&wanted).contains("address in use by a process that cannot be seen"));
    let reader = UnixDatagram::from(held.hand_over(Use::Idle).unwrap());
    assert_eq!(reader.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn an_ipv6_address_takes_ipv4_unless_it_is_told_not_to() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: there is no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for v6only in [false, true] {
        let wanted = SocketSpec { v6only, ..spec(&format!("[::]:{port}")) };
        let _held = HeldSocket::open(&wanted, None).unwrap();
        assert!(TcpStream::connect(format!("[::1]:{port}")).is_ok());
        assert_eq!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), v6only);
    }
}

fn obstacle(spec: &SocketSpec) -> (Part, String) {
    let found = HeldSocket::try_out(spec).unwrap_err();
    (found.part, found.error.to_string())
}

#[test]
fn what_is_in_the_way_is_found_without_opening_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let found = HeldSocket::try_out(&spec(&at.to_string())).unwrap_err();
    assert_eq!(found.holder, Answerer::Somebody(Some(Pid(sys::own_pid()))));
    assert_eq!(found.error.to_string(), refusal(&spec(&at.to_string())));
    let messages = SocketSpec { r#type: SocketType::Datagram, ..spec(&at.to_string()) };
    HeldSocket::try_out(&messages).expect("TCP is in nobody's way who wants UDP");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let wanted = spec(&format!("unix:{}", path.display()));
    HeldSocket::try_out(&wanted).unwrap();
    assert!(!path.exists(), "it was only tried");
    let held = HeldSocket::open(&wanted, None).unwrap();
    assert_eq!(HeldSocket::try_out(&wanted).unwrap_err().error.to_string(), refusal(&wanted));
    drop(held);
    for make in [
        |path: &Path| fs::create_dir(path).unwrap(),
        |path: &Path| {
            fs::remove_dir(path).unwrap();
            fs::write(path, b"precious").unwrap();
        },
    ] {
        make(&path);
        assert_eq!(obstacle(&wanted), (Part::Address, refusal(&wanted)));
    }
    let below = spec(&format!("unix:{}/app.sock", path.display()));
    let (_, said) = obstacle(&below);
    assert!(said.contains("app.sock is no directory (take another path)"), "{said}");
    let (_, said) = obstacle(&spec("unix:/nowhere/at/all/app.sock"));
    assert!(said.contains("there is no directory /nowhere/at/all (make it in the image"), "{said}");
}

#[test]
fn nobody_to_whom_a_socket_can_belong_is_found_without_opening_it() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = spec(&format!("unix:{}/app.sock", dir.path().display()));
    let owner = Some("nobody-of-that-name".to_owned());
    let (part, said) = obstacle(&SocketSpec { owner: owner.clone(), ..wanted.clone() });
    assert!(
        part == Part::Owner && said.contains("no such user") && said.contains("make it in the image"),
        "{said}"
    );
    let (part, said) = obstacle(&SocketSpec { group: owner, ..wanted.clone() });
    assert!(part == Part::Group && said.contains("no such group"), "{said}");
    let given = SocketSpec { owner: Some("4711".to_owned()), ..wanted };
    match HeldSocket::try_out(&given) {
        Ok(()) => assert!(HeldSocket::open(&given, None).is_ok()),
        Err(found) => {
            assert_eq!(found.part, Part::Owner);
            assert!(found.error.to_string().contains("needs CAP_CHOWN"), "{}", found.error);
        }
    }
}
