//! The client against answers that are good, odd and hostile.

use std::io::BufReader;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::proptest;

use crate::api::event::UnitEvent;
use crate::client::body::Body;
use crate::client::connection::Client;
use crate::client::connection::Patience;
use crate::client::error::Error;
use crate::client::head;
use crate::client::head::Framing;
use crate::client::head::Head;
use crate::client::query::Path;
use crate::client::server::Server;
use crate::client::server::json;
use crate::client::server::ndjson;

fn client(server: &Server) -> Client {
    Client::new(vec![server.socket.clone()], Patience::default())
}

fn read(bytes: &[u8], framing: Framing) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    Body::new(BufReader::with_capacity(3, bytes), framing).read_to_end(&mut all).map(|_| all)
}

#[test]
fn a_head_says_where_the_body_ends() {
    let length = head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    assert_eq!(length, Ok(Head { status: 200, framing: Framing::Length(12) }));
    let chunked = head::parse(b"HTTP/1.1 503 No\r\ntransfer-encoding: Chunked\r\n\r\n");
    assert_eq!(chunked, Ok(Head { status: 503, framing: Framing::Chunked }));
    assert_eq!(head::parse(b"HTTP/1.0 200\r\n\r\n"), Ok(Head { status: 200, framing: Framing::UntilClose }));
    assert_eq!(
        head::parse(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Ok(Head { status: 204, framing: Framing::Length(0) })
    );
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    for odd in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        assert!(head::parse(odd.as_bytes()).is_err(), "{odd:?}");
    }
}

#[test]
fn chunks_are_put_together_and_a_cut_body_is_an_error() {
    assert_eq!(read(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", Framing::Chunked).unwrap(), b"abcde");
    for cut in ["3\r\nab", "3\r\nabc\r\n", "3", "", "3\r\nabcd\r\n0\r\n\r\n", "zz\r\n", "fffffffffff\r\n"] {
        assert!(read(cut.as_bytes(), Framing::Chunked).is_err(), "{cut:?}");
    }
    assert_eq!(read(b"abcde", Framing::Length(3)).unwrap(), b"abc");
    assert!(read(b"ab", Framing::Length(3)).is_err());
    assert_eq!(read(b"ab", Framing::UntilClose).unwrap(), b"ab");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = head::parse(&bytes);
        let _ = head::chunk_size(&bytes);
        let _ = read(&bytes, Framing::Chunked);
        let _ = read(&bytes, Framing::UntilClose);
    }

    #[test]
    fn any_text_in_any_chunks_comes_out_whole(parts in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut wire = Vec::new();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            wire.extend_from_slice(part);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(read(&wire, Framing::Chunked).unwrap(), parts.concat());
    }

    #[test]
    fn a_path_is_plain_ascii_whatever_is_in_it(name: String) {
        let path = Path::new("/v1/units").segment(&name).with("units", &name);
        assert!(path.as_str().bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(path.as_str().matches(['?', '&', '#']).count(), 1);
    }
}

#[test]
fn a_value_is_asked_for_and_read() {
    let server = Server::answering(&[&json(200, r#"["a","b"]"#)]);
    let names: Vec<String> = client(&server).get(&Path::new("/v1/units").units(&["web*".into()])).unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(server.asked(), ["GET /v1/units?units=web%2A"]);
}

#[test]
fn a_refusal_keeps_its_words_and_suggestions() {
    let body = r#"{"error":"no_such_unit","message":"no unit \"wbe\"","did_you_mean":["web"]}"#;
    let server = Server::answering(&[&json(404, body), &json(404, body)]);
    let error = client(&server).get::<Vec<String>>(&Path::new("/v1/units/wbe")).unwrap_err();
    assert_eq!(error.to_string(), r#"no unit "wbe"; did you mean "web"?"#);
    assert!(matches!(
        client(&server).follow::<UnitEvent>(&Path::new("/v1/events")),
        Err(Error::Refused { .. })
    ));
}

#[test]
fn places_are_tried_in_order_past_those_where_nobody_is() {
    let server = Server::answering(&[&json(200, "1")]);
    let stale = server.socket.with_file_name("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let places = vec![PathBuf::from("/nonexistent/control.sock"), stale, server.socket.clone()];
    let one: u32 = Client::new(places.clone(), Patience::default()).get(&Path::new("/v1/x")).unwrap();
    assert_eq!(one, 1);
    let nobody = Client::new(places[..2].to_vec(), Patience::default());
    let error = nobody.get::<u32>(&Path::new("/v1/x")).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot reach a supervisor: /nonexistent/control.sock: no such socket, "),
        "{error}"
    );
    assert!(error.contains("stale.sock: nobody answers (is svinit running here?"), "{error}");
}

#[test]
fn lines_come_one_by_one_and_a_stream_that_breaks_is_no_end() {
    let whole = ndjson(&["1", "", "2"]);
    let cut = whole.trim_end_matches("0\r\n\r\n");
    let server = Server::answering(&[&whole, cut]);
    let mut lines = client(&server).follow::<u32>(&Path::new("/v1/n")).unwrap();
    assert_eq!(
        (lines.read().unwrap(), lines.read().unwrap(), lines.read().unwrap()),
        (Some(1), Some(2), None)
    );
    let mut lines = client(&server).follow::<u32>(&Path::new("/v1/n")).unwrap();
    assert_eq!((lines.read().unwrap(), lines.read().unwrap()), (Some(1), Some(2)));
    assert!(matches!(lines.read(), Err(Error::Lost { .. })));
}

#[test]
fn the_line_end_behind_a_chunk_is_not_taken_for_the_next_line() {
    let mut body = Body::new(BufReader::new(&b"2\r\na\n\r\n2\r\nb\n\r\n0\r\n\r\n"[..6]), Framing::Chunked);
    let mut line = [0; 2];
    body.read_exact(&mut line).unwrap();
    assert!(!body.has_received());
    let mut body = Body::new(BufReader::new(&b"2\r\na\n\r\n2\r\nb"[..]), Framing::Chunked);
    body.read_exact(&mut line).unwrap();
    assert!(body.has_received());
}

#[test]
fn what_was_left_out_of_a_stream_is_counted() {
    let server = Server::answering(&[&ndjson(&["1", r#"{"lagged":true,"missed":5}"#, "2"]), &ndjson(&["x"])]);
    let mut lines = client(&server).follow::<u32>(&Path::new("/v1/n")).unwrap();
    assert_eq!((lines.read().unwrap(), lines.take_missed()), (Some(1), 0));
    assert_eq!((lines.read().unwrap(), lines.take_missed()), (Some(2), 5));
    let mut lines = client(&server).follow::<u32>(&Path::new("/v1/n")).unwrap();
    assert!(matches!(lines.read(), Err(Error::Protocol { .. })));
}

#[test]
fn a_supervisor_that_hangs_is_given_up() {
    // Accepts by its backlog and never answers.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let patience = Patience { answer: Duration::from_millis(20), stream: None };
    let error = Client::new(vec![socket], patience).get::<u32>(&Path::new("/v1/x")).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error}");
}

#[test]
fn what_is_no_supervisor_is_said_so() {
    let server = Server::answering(&["SSH-2.0-OpenSSH_10\r\n", &json(200, "{"), &json(500, "oops"), ""]);
    for says in ["not HTTP", "not what was asked for", "status 500 without words", "closed the connection"] {
        let error = client(&server).get::<u32>(&Path::new("/v1/x")).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
