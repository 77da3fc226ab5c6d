//! What a gateway and a service could understand differently is refused, and reaches no service.

use std::io::{BufReader, Read, Write};

use crate::fixture::{Manager, Reply, Service, one, value};

/// What is sent, and the status it is answered with. `\r\n\r\n` is put behind it.
const REFUSED: &[(&str, u16)] = &[
    // Two lengths.
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999", 400),
    // Codings.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: x", 400),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked", 400),
    // Lines.
    ("GET / HTTP/1.1\nHost: a\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\nX: b", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n folded", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX y: b", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b", 400),
    ("GET  / HTTP/1.1\r\nHost: a", 400),
    ("GET /a b HTTP/1.1\r\nHost: a", 400),
    ("GET / HTTP/1.1 \r\nHost: a", 400),
    ("GET / HTTP/1.2\r\nHost: a", 505),
    ("PRI * HTTP/2.0", 505),
    ("G\u{e9}T / HTTP/1.1\r\nHost: a", 400),
    // Hosts.
    ("GET / HTTP/1.1", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: a", 400),
    ("GET / HTTP/1.1\r\nHost: a/b", 400),
    ("GET / HTTP/1.1\r\nHost: u@a", 400),
    ("GET / HTTP/1.1\r\nHost: a:99999", 400),
    ("GET http://b/ HTTP/1.1\r\nHost: a", 421),
    ("GET http://a:81/ HTTP/1.1\r\nHost: a", 421),
    ("GET https://a/ HTTP/1.1\r\nHost: a", 400),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a", 400),
    ("GET //b/ HTTP/1.0\r\nHost: a\r\nHost: b", 400),
    // Methods.
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443", 501),
    ("CONNECT / HTTP/1.1\r\nHost: a", 501),
    ("TRACE / HTTP/1.1\r\nHost: a", 501),
    // Paths.
    ("GET /../b HTTP/1.1\r\nHost: a", 400),
    ("GET /a/%2e%2e/../b HTTP/1.1\r\nHost: a", 400),
    ("GET /api/..%2f HTTP/1.1\r\nHost: a", 400),
    ("GET /api/..%2Fadmin HTTP/1.1\r\nHost: a", 400),
    ("GET /api/..;/admin HTTP/1.1\r\nHost: a", 400),
    ("GET /api/..%3b/admin HTTP/1.1\r\nHost: a", 400),
    ("GET /api\\..\\admin HTTP/1.1\r\nHost: a", 400),
    ("GET /api%5c..%5cadmin HTTP/1.1\r\nHost: a", 400),
    ("GET /a%00 HTTP/1.1\r\nHost: a", 400),
    ("GET /a%zz HTTP/1.1\r\nHost: a", 400),
    ("GET /a#b HTTP/1.1\r\nHost: a", 400),
    ("GET a HTTP/1.1\r\nHost: a", 400),
    ("GET * HTTP/1.1\r\nHost: a", 400),
    // Connection.
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-Host", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nconnection: x-forwarded-for", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Length", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: host", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Cookie", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected", 417),
];

#[test]
fn what_could_be_understood_in_two_ways_reaches_no_service() {
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    for (text, status) in REFUSED {
        let mut stream = manager.connect();
        // A second request behind it, which would be smuggled in if the first were understood otherwise.
        let bytes = format!("{text}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let reply = Reply::read(&mut stream, false).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(reply.status, *status, "{text:?}: {}", reply.text());
        assert!(reply.closes, "{text:?}");
        // Nothing more is answered.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "{text:?}");
    }
    assert_eq!(service.heads(), [] as [&str; 0]);
    assert_eq!(manager.get("/good").status, 200);
    assert_eq!(service.count(), 1);
}

#[test]
fn a_body_whose_chunks_are_none_is_cut_off_before_its_service_could_misread_it() {
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "x\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
    ] {
        let reply =
            manager.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        assert_eq!((reply.status, reply.closes), (400, true), "{body:?}");
    }
    assert_eq!(manager.get("/good").text(), "app");
}

#[test]
fn paths_are_forwarded_as_they_were_matched() {
    let (api, web) = (Service::named("api"), Service::named("web"));
    let manager = Manager::start(&format!(
        "[[route]]\npath = \"/api/\"\nservice = \"api\"\nstrip = true\n[[route]]\npath = \"/\"\nservice = \"web\"\n\
         [[route]]\npath = \"/api/health\"\nexact = true\nrewrite = \"/health\"\nservice = \"api\"\n\
         [service.api]\n{}[service.web]\n{}",
        api.targets(),
        web.targets()
    ));
    for (path, name, seen) in [
        ("/api/a?b=/../c", "api", "/a?b=/../c"),
        ("/api/./a//b", "api", "/a/b"),
        ("/%61pi/a", "api", "/a"),
        ("/api/%2e%2e/web", "web", "/web"),
        ("/api/a%2fb", "api", "/a%2Fb"),
        ("/api", "web", "/api"),
        ("/apis/a", "web", "/apis/a"),
        ("/API/a", "web", "/API/a"),
        ("//api/a", "api", "/a"),
        ("/api/health", "api", "/health"),
        ("/a%3Fb", "web", "/a%3Fb"),
    ] {
        let reply = manager.get(path);
        assert_eq!((reply.status, reply.text().as_str()), (200, name), "{path}");
        let heads = if name == "api" { api.heads() } else { web.heads() };
        assert_eq!(heads.last().unwrap().split(' ').nth(1), Some(seen), "{path}");
    }
    let whole = manager.send("GET http://app.example/api/a HTTP/1.1\r\nHost: app.example\r\n\r\n");
    assert_eq!(whole.text(), "api");
    assert_eq!(value(api.heads().last().unwrap(), "host"), Some("app.example"));
}

#[test]
fn a_prefix_is_taken_away_in_whole_parts_and_leaves_no_dots_that_climb() {
    let (api, web) = (Service::named("api"), Service::named("web"));
    let manager = Manager::start(&format!(
        "[[route]]\npath = \"/api\"\nservice = \"api\"\nstrip = true\n[[route]]\npath = \"/\"\nservice = \"web\"\n\
         [service.api]\n{}[service.web]\n{}",
        api.targets(),
        web.targets()
    ));
    // Taken for a beginning of text, `/api` would leave `/../x`.
    for path in ["/api../x", "/api..%2fx", "/api..", "/api.;/x"] {
        let reply = manager.get(path);
        assert!(reply.status == 400 || reply.text() == "web", "{path}: {} {}", reply.status, reply.text());
    }
    assert_eq!(manager.get("/api../x").text(), "web");
    assert_eq!(api.count(), 0);
    let seen: Vec<String> =
        web.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert!(
        seen.contains(&"/api../x".to_owned()) && !seen.iter().any(|path| path.contains("/..")),
        "{seen:?}"
    );
    assert_eq!(
        (manager.get("/api/x").text(), api.heads()[0].split(' ').nth(1)),
        ("api".to_owned(), Some("/x"))
    );
}

#[test]
fn a_get_with_a_body_is_one_request_and_its_body_is_no_other() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    let (length, chunk) = (smuggled.len(), format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()));
    for (framing, body) in [
        (format!("Content-Length: {length}"), smuggled.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), chunk),
    ] {
        let stream = manager.connect();
        let mut stream = BufReader::new(stream);
        let first = format!("GET /first HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}");
        let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.get_mut().write_all(format!("{first}{second}").as_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(Reply::read(&mut stream, false).unwrap().text(), "app", "{framing}");
        }
    }
    let seen: Vec<String> =
        service.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(seen, ["/first", "/second", "/first", "/second"]);
}

#[test]
fn a_name_of_a_header_line_is_bounded_like_the_head_it_is_in() {
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    for name in ["x".repeat(16 << 10), "x".repeat(100_000)] {
        let reply = manager.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n\r\n"));
        assert_eq!((reply.status, reply.closes), (431, true), "{}", name.len());
    }
    assert_eq!(service.count(), 0);
    let name = "x".repeat(8 << 10);
    assert_eq!(manager.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n\r\n")).status, 200);
    assert_eq!(value(&service.heads()[0], &name), Some("1"));
}
