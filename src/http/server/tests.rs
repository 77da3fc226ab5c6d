//! The router by calling it, and the loop through real sockets.

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::{CONNECTIONS_MAX, app, serve};
use crate::lifecycle::state::{Health, Label, Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::runtime::clients::Clients;
use crate::runtime::handle::Reader;
use crate::runtime::world::{view, world};

async fn ask(reader: &Reader, method: &str, target: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(target).body(Body::empty()).unwrap();
    let response = app(reader.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_is_200_while_all_is_well_and_503_when_one_unit_is_not() {
    let world = world();
    let reader = world.reader();
    let (status, body) = ask(&reader, "GET", "/health").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["status"]), (StatusCode::OK, &Value::from("pass")));
    assert_eq!(report["checks"]["web"][0]["observedValue"], "ready");

    world.board.change(Time::ZERO, Label::Ready, Health::Unknown, view("web", Label::Backoff));
    let (status, body) = ask(&reader, "GET", "/health").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["status"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("fail")));
    assert!(report["output"].as_str().unwrap().starts_with("web: backoff"));
    assert_eq!(ask(&reader, "GET", "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&reader, "GET", "/health/web").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&reader, "GET", "/health/django").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&reader, "GET", "/health/db").await.0, StatusCode::OK);
    assert_eq!(ask(&reader, "GET", "/health/nope").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_paused_unit_is_a_warning_and_still_200() {
    let world = world();
    let paused = UnitView { paused: true, ..view("web", Label::Ready) };
    world.board.change(Time::ZERO, Label::Ready, Health::Unknown, paused);
    let (status, body) = ask(&world.reader(), "GET", "/health").await;
    assert!(status == StatusCode::OK && body.contains("\"status\":\"warn\""), "{body}");
}

#[tokio::test]
async fn while_svinit_boots_or_leaves_it_is_alive_and_not_ready() {
    let world = world();
    for phase in [Phase::Booting, Phase::Stopping] {
        world.board.set_phase(phase);
        assert_eq!(ask(&world.reader(), "GET", "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&world.reader(), "GET", "/livez").await.0, StatusCode::OK);
    }
    assert_eq!(ask(&world.reader(), "GET", "/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
    world.board.set_phase(Phase::Running);
    assert_eq!(ask(&world.reader(), "GET", "/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn nothing_but_a_look_is_served() {
    let reader = world().reader();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        assert_eq!(ask(&reader, method, "/health").await.0, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    assert_eq!(ask(&reader, "HEAD", "/health").await, (StatusCode::OK, String::new()));
    assert_eq!(ask(&reader, "GET", "/v1/units").await.0, StatusCode::NOT_FOUND);
    let body = Request::get("/health").header("content-length", "3").body(Body::from("abc")).unwrap();
    assert_eq!(app(reader).oneshot(body).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn metrics_measure_once_for_many_who_ask() {
    let mut world = world();
    let mut asks = world.asks();
    let app = app(world.reader());
    let request = || Request::get("/metrics").body(Body::empty()).unwrap();
    let first = tokio::spawn(app.clone().oneshot(request()));
    let Some(crate::runtime::handle::Ask::Usage { reply, .. }) = asks.recv().await else { panic!() };
    let _ = reply.send(std::collections::BTreeMap::new());
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    for _ in 0..50 {
        assert_eq!(app.clone().oneshot(request()).await.unwrap().status(), StatusCode::OK);
    }
    assert!(asks.try_recv().is_err(), "the others were shown the same measurement");
}

#[tokio::test(start_paused = true)]
async fn metrics_do_not_wait_for_a_driver_that_is_busy() {
    let world = world();
    let (status, body) = ask(&world.reader(), "GET", "/metrics").await;
    assert!(status == StatusCode::OK && body.contains("svinit_unit_state{"), "{body}");
}

async fn listening() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, world().reader(), Clients::default(), Vec::new()));
    at
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is as good an end as any: what came before it counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_answers_over_tcp() {
    let mut stream = TcpStream::connect(listening().await).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("application/health+json"), "{answer}");
}

#[tokio::test]
async fn heads_that_are_too_big_are_refused() {
    let at = listening().await;
    let long = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9 << 10));
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(70));
    for bomb in [long, many] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(bomb.as_bytes()).await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_cut_off_after_two_seconds_and_a_flood_of_them_ends() {
    let at = listening().await;
    let began = tokio::time::Instant::now();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 20 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /health HT").await.unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        assert!(!rest(stream).await.contains("200"));
    }
    let took = began.elapsed().as_secs();
    assert!((2..9).contains(&took), "{took} s");
}
