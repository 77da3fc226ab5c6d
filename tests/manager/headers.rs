//! The header lines a service sees, and those a client gets back.

use serde_json::{Value, json};

use crate::fixture::{Manager, Reply, Service, one, value};

#[test]
fn a_client_can_neither_set_nor_take_away_what_the_gateway_says() {
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    let lies = "X-Forwarded-For: 1.1.1.1\r\nX-FORWARDED-PROTO: https\r\nx_forwarded_proto: https\r\nForwarded: for=1.1.1.1\r\n\
                X-Real-IP: 1.1.1.1\r\nX-Svinit-User: root\r\nProxy: http://evil\r\nX-Request-Id: mine\r\nConnection: X-Hop\r\n\
                X-Hop: 1\r\nTE: trailers\r\nTrailer: x\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\n";
    let reply = manager.send(format!("GET / HTTP/1.1\r\nHost: app.example:8080\r\n{lies}\r\n"));
    assert_eq!(reply.status, 200);
    let head = service.heads().remove(0);
    let names: Vec<String> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    let expected = [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-real-ip",
        "x-request-id",
        "via",
        "x-forwarded-host",
    ];
    assert_eq!(names, expected, "{head}");
    for (name, expected) in [
        ("host", "app.example:8080"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8080"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-host", "app.example:8080"),
    ] {
        assert_eq!(value(&head, name), Some(expected), "{name}");
    }
    assert_eq!(value(&head, "x-request-id"), reply.value("x-request-id"));
    assert_ne!(reply.value("x-request-id"), Some("mine"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let service = Service::named("app");
    let manager =
        Manager::start(&format!("trusted_proxies = [\"127.0.0.0/8\"]\n{}", one(&service.targets())));
    let lines = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc\r\n";
    let reply = manager.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let head = service.heads().remove(0);
    assert_eq!(value(&head, "x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
    assert_eq!(value(&head, "x-real-ip"), Some("192.0.2.7"));
    assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(reply.value("x-request-id"), Some("abc"));
    assert!(manager.wait_for("id=abc").contains(" 192.0.2.7 GET a/ 200 3B "), "{}", manager.said());
}

#[test]
fn an_answer_keeps_its_own_lines_and_loses_those_of_its_connection() {
    let service = Service::new(|asked| {
        asked.reply(
            "HTTP/1.1 201 Made It\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=b\r\n\
             Set-Cookie: c=d\r\nContent-Length: 2\r\n\r\nhi",
        )
    });
    let manager = Manager::start(&one(&service.targets()));
    let reply = manager.get("/");
    assert!(
        reply.head.starts_with("HTTP/1.1 201 Made It\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"),
        "{}",
        reply.head
    );
    assert_eq!((reply.value("x-hop"), reply.value("keep-alive"), reply.text().as_str()), (None, None, "hi"));
}

#[test]
fn an_answer_that_is_no_http_is_the_fault_of_the_service() {
    let service = Service::new(|asked| match asked.target() {
        "/both" => {
            asked.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi")
        }
        "/twice" => asked.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"),
        "/lf" => asked.reply("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"),
        "/ssh" => asked.reply("SSH-2.0-OpenSSH\r\n\r\n"),
        "/large" => asked.reply(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(100_000))),
        "/switch" => asked.reply("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        _ => Err(std::io::Error::other("no answer")),
    });
    let manager = Manager::start(&one(&format!("{}retries = 0\n", service.targets())));
    for path in ["/both", "/twice", "/lf", "/ssh", "/large", "/switch", "/silent"] {
        let reply = manager.get(path);
        assert_eq!(reply.status, 502, "{path}");
        let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(told["fault"], "upstream", "{path}");
        assert_eq!(told["request_id"].as_str(), reply.value("x-request-id"), "{path}");
        assert!(
            !reply.text().contains("127.0.0.1"),
            "an error tells nothing about the inside: {}",
            reply.text()
        );
    }
}

#[test]
fn one_connection_of_a_client_carries_many_requests() {
    let service = Service::named("app");
    let manager = Manager::start(&one(&service.targets()));
    let mut stream = manager.connect();
    std::io::Write::write_all(&mut stream, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /4 HTTP/1.0\r\n\r\n".as_bytes()).unwrap();
    let mut stream = std::io::BufReader::new(stream);
    for is_head in [false, true, false, false] {
        let reply = crate::fixture::Reply::read(&mut stream, is_head).unwrap();
        assert_eq!((reply.status, reply.value("content-length")), (200, Some("3")));
    }
    let targets: Vec<String> =
        service.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(targets, ["/1", "/2", "/3", "/4"]);
    // One was kept for the next.
    assert_eq!(service.accepted(), 1);
}

#[test]
fn the_log_as_json_has_one_object_for_each_request() {
    let service = Service::named("app");
    let manager = Manager::start(&format!("access_log = \"json\"\n{}", one(&service.targets())));
    let answered = manager.send(
        "POST /a?b=%22 HTTP/1.1\r\nHost: app.example:8080\r\nUser-Agent: \"x\"\\\r\nContent-Length: 2\r\n\r\nhi",
    );
    let refused = manager.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!((answered.status, refused.status), (200, 400));
    let told = |reply: &Reply| {
        let id = reply.value("x-request-id").unwrap();
        let line = manager.wait_for(&format!("\"request_id\":\"{id}\""));
        let mut object: Value = serde_json::from_str(&line).unwrap();
        // What is different each time.
        assert!(object["ts"].take().as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(object["took_ms"].take().as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(object["request_id"].take(), id);
        object
    };
    let mut object = told(&answered);
    assert!(object["answered_ms"].take().as_f64().unwrap() > 0.0);
    assert_eq!(
        object,
        json!({
            "ts": null, "client": "127.0.0.1", "method": "POST", "host": "app.example", "target": "/a?b=%22", "status": 200,
            "received": 2, "sent": 3, "took_ms": null, "answered_ms": null, "parked_ms": 0.0, "service": "app",
            "instance": service.address.to_string(), "retries": 0, "request_id": null, "agent": "\"x\"\\", "upgrade": "",
            "error": ""
        })
    );
    let object = told(&refused);
    assert_eq!(
        (&object["status"], &object["instance"], &object["answered_ms"]),
        (&json!(400), &Value::Null, &Value::Null)
    );
    assert!(object["error"].as_str().unwrap().starts_with("client: "), "{object}");
    let objects = manager.said().lines().filter(|line| line.starts_with('{')).count();
    assert_eq!(objects, 2, "{}", manager.said());
}
