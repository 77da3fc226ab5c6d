//! Which pages may read answers, those that the gateway itself gives as well.

use std::io::Read;

use crate::fixture::{Manager, Reply, Service, one};

const CORS: &str = "[cors]\nallow_origins = [\"https://app.example\"]\nallow_origin_patterns = [\"https://[a-z]+\\\\.preview\\\\.example\"]\n\
                    allow_credentials = true\nexpose_headers = [\"X-Total\"]\n";

fn service() -> Service {
    Service::new(|asked| {
        asked.drain()?;
        asked.reply("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\nContent-Length: 2\r\n\r\nhi")
    })
}

#[test]
fn a_preflight_is_answered_without_asking_the_service() {
    let service = service();
    let manager = Manager::start(&format!("{CORS}{}", one(&service.targets())));
    for (origin, is_allowed) in [
        ("https://app.example", true),
        ("https://pr.preview.example", true),
        ("http://app.example", false),
        ("https://app.example.evil", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let reply = manager.send(format!(
            "OPTIONS /a HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\
             Access-Control-Request-Headers: x-token\r\n\r\n"
        ));
        assert_eq!(reply.status, 204, "{origin}");
        assert_eq!(reply.value("access-control-allow-origin"), is_allowed.then_some(origin));
        assert_eq!(reply.value("access-control-allow-credentials"), is_allowed.then_some("true"));
        assert_eq!(reply.value("access-control-allow-headers"), is_allowed.then_some("x-token"));
        assert_eq!(reply.value("access-control-max-age"), is_allowed.then_some("600"));
        assert!(reply.value("vary").unwrap().starts_with("Origin, "), "{}", reply.head);
    }
    assert_eq!(service.count(), 0);
    // Without the method that it is about it is a request like any other.
    assert_eq!(
        manager.send("OPTIONS /a HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n").status,
        200
    );
    assert_eq!(service.count(), 1);
}

/// An origin that is allowed, and one that is not.
const ORIGINS: [(&str, bool); 2] = [("https://app.example", true), ("https://evil.example", false)];

/// An answer to a page of `origin` says that it may read it, if it may, and nobody else.
fn says_who_may_read_it(reply: &Reply, origin: &str, is_allowed: bool) {
    let allowed: Vec<&str> =
        reply.head.lines().filter(|line| line.starts_with("Access-Control-Allow-Origin")).collect();
    let expected = if is_allowed { vec![format!("Access-Control-Allow-Origin: {origin}")] } else { vec![] };
    assert_eq!(allowed, expected, "{origin}: {}", reply.head);
    assert!(reply.head.contains("\r\nVary: Origin\r\n"), "{}", reply.head);
}

#[test]
fn every_answer_says_who_may_read_it() {
    let service = service();
    let gone = Service::named("gone");
    let address = gone.address;
    gone.stop();
    let manager = Manager::start(&format!(
        "{CORS}[limits]\nbody_size = \"1K\"\n[[route]]\npath = \"/app\"\nservice = \"app\"\n[[route]]\npath = \"/gone\"\nservice = \"gone\"\n\
         [service.app]\n{}[service.gone]\ntargets = [\"http://{address}\"]\npark = {{ max_requests = 0 }}\n",
        service.targets()
    ));
    for (request, status) in [
        ("GET /app HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n", 404),
        ("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n", 413),
        ("GET /gone HTTP/1.1\r\nHost: a\r\n", 502),
        ("GET /gone HTTP/1.1\r\nHost: a\r\n", 503),
        ("GET /app HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
    ] {
        for (origin, is_allowed) in ORIGINS {
            let reply = manager.send(format!("{request}Origin: {origin}\r\n\r\n"));
            let is_status = reply.status == status || (matches!(status, 502 | 503) && reply.status == 503);
            assert!(is_status, "{request}: {}", reply.head);
            says_who_may_read_it(&reply, origin, is_allowed);
        }
    }
    let reply = manager.get("/app");
    assert_eq!(reply.value("access-control-allow-origin"), None);
    assert!(reply.head.contains("Vary: Accept\r\n") && reply.head.contains("Vary: Origin\r\n"));
}

#[test]
fn what_is_said_in_the_place_of_a_service_that_fails_says_who_may_read_it() {
    // It says nothing for as long as anybody waits.
    let late = Service::new(|asked| asked.stream.read(&mut [0]).map(drop));
    let broken = Service::new(|_| Err(std::io::Error::other("it closes")));
    let manager = Manager::start(&format!(
        "{CORS}[[route]]\npath = \"/late\"\nservice = \"late\"\n[[route]]\npath = \"/broken\"\nservice = \"broken\"\n\
         [service.late]\n{}response_timeout = \"200ms\"\n[service.broken]\n{}retries = 0\n",
        late.targets(),
        broken.targets()
    ));
    for (path, status) in [("/late", 504), ("/broken", 502)] {
        for (origin, is_allowed) in ORIGINS {
            let reply = manager.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"));
            assert_eq!(reply.status, status, "{}", reply.text());
            assert_eq!(reply.value("content-type"), Some("application/problem+json"));
            assert_eq!(reply.value("access-control-allow-credentials"), is_allowed.then_some("true"));
            says_who_may_read_it(&reply, origin, is_allowed);
        }
    }
    assert_eq!((late.count(), broken.count()), (2, 2));
}

#[test]
fn without_the_table_what_the_service_says_passes_as_it_is() {
    let service = service();
    let manager = Manager::start(&one(&service.targets()));
    let reply = manager.send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\n\r\n");
    assert_eq!(
        (reply.value("access-control-allow-origin"), reply.value("vary")),
        (Some("*"), Some("Accept"))
    );
}
