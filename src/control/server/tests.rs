//! The router by calling it, and the loop through real sockets.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tower::ServiceExt;

use super::{CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX, Seats, Visitor, serve};
use crate::control::peer::{Access, Peer, Policy, Who};
use crate::control::routes::{ROUTES, app};
use crate::lifecycle::event::Command;
use crate::lifecycle::state::{Health, Label};
use crate::lifecycle::time::Time;
use crate::runtime::handle::{Ask, CHANGES_BACKLOG};
use crate::runtime::world::{World, line, name, view, world};

const ROOT: Peer = Peer { pid: Some(7), uid: 0, gid: 0 };
pub(crate) const OWNER: Visitor = Visitor { who: Who::Local(ROOT), admitted: Ok(Access::Operate) };

fn request(method: &str, target: &str, body: &str) -> Request<Body> {
    Request::builder().method(method).uri(target).extension(OWNER).body(Body::from(body.to_owned())).unwrap()
}

async fn asked(world: &World, request: Request<Body>) -> (StatusCode, Vec<Value>) {
    let response = app(world.handle.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        std::str::from_utf8(&body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    )
}

/// Everything that the next frame of a stream holds.
async fn frame(body: &mut Body) -> String {
    let frame = body.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_restart_tells_progress_both_pids_and_the_end() {
    let world = world().drive();
    let (status, lines) =
        asked(&world, request("POST", "/v1/jobs", r#"{"verb":"restart","units":["django"]}"#)).await;
    assert_eq!(status, StatusCode::OK);
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["accepted", "progress", "outcome", "done"]);
    assert_eq!(lines[0]["units"], serde_json::json!(["web"]));
    assert_eq!((&lines[2]["old_pid"], &lines[2]["new_pid"]), (&Value::from(100), &Value::from(200)));
    assert_eq!(lines[3]["ok"], true);
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_what_was_meant() {
    let world = world().drive();
    let (status, answer) = asked(&world, request("GET", "/v1/units/wbe", "")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(answer[0]["error"], "no_such_unit");
    assert_eq!(answer[0]["did_you_mean"][0], "web");
    let (status, _) = asked(&world, request("POST", "/v1/jobs", r#"{"verb":"stop","units":["x*"]}"#)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stranger_is_refused_on_every_path_with_a_reason() {
    let world = world().drive();
    let stranger = Visitor { who: Who::Local(Peer { uid: 9, ..ROOT }), admitted: Err("not you".into()) };
    let everything = ROUTES.iter().map(|route| (route.method.as_str(), route.path));
    for (method, path) in everything.chain([("GET", "/nowhere"), ("DELETE", "/v1/units")]) {
        let mut request = request(method, &path.replace("{name}", "web"), "");
        request.extensions_mut().insert(stranger.clone());
        let (status, answer) = asked(&world, request).await;
        assert_eq!(
            (status, &answer[0]["message"]),
            (StatusCode::FORBIDDEN, &Value::from("not you")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn who_may_only_look_cannot_operate() {
    let world = world().drive();
    for route in ROUTES {
        let mut request = request(route.method.as_str(), &route.path.replace("{name}", "web"), "");
        request.extensions_mut().insert(Visitor { who: Who::Local(ROOT), admitted: Ok(Access::Read) });
        let status = app(world.handle.clone()).oneshot(request).await.unwrap().status();
        assert_eq!(status == StatusCode::FORBIDDEN, route.access == Access::Operate, "{}", route.path);
    }
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let world = world().drive();
    let (status, answer) = asked(&world, request("POST", "/v1/jobs", &" ".repeat(70_000))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer[0]["error"], "bad_request");
}

#[tokio::test]
async fn when_svinit_leaves_a_job_is_refused() {
    let mut world = world();
    drop(world.asks());
    let (status, answer) =
        asked(&world, request("POST", "/v1/jobs", r#"{"verb":"stop","units":["web"]}"#)).await;
    assert_eq!(
        (status, &answer[0]["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &Value::from("shutting_down"))
    );
}

#[tokio::test]
async fn a_signal_is_taken_by_its_name_only_if_there_is_one() {
    let mut world = world();
    let mut asks = world.asks();
    let body = r#"{"verb":"signal","units":["web"],"signal":"sighup","wait":false}"#;
    assert_eq!(asked(&world, request("POST", "/v1/jobs", body)).await.0, StatusCode::ACCEPTED);
    let Some(Ask::Job { command: Command::Signal { signal, .. }, .. }) = asks.recv().await else { panic!() };
    assert_eq!(signal.0, "HUP");
    for wrong in ["SIGNOPE", "0", "65", ""] {
        let body = serde_json::json!({"verb": "signal", "units": ["web"], "signal": wrong}).to_string();
        assert_eq!(
            asked(&world, request("POST", "/v1/jobs", &body)).await.0,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_end_the_job() {
    let mut world = world();
    let mut asks = world.asks();
    let body = r#"{"verb":"stop","units":["web"]}"#;
    let response = app(world.handle.clone()).oneshot(request("POST", "/v1/jobs", body)).await.unwrap();
    drop(response);
    let Some(Ask::Job { notes, .. }) = asks.recv().await else { panic!() };
    // The telling ends; nothing was asked of the driver that would undo the job.
    notes.closed().await;
    assert!(asks.try_recv().is_err());
}

#[tokio::test]
async fn events_begin_with_what_is_and_go_on_with_what_changes() {
    let world = world();
    let response = app(world.handle.clone())
        .oneshot(request("GET", "/v1/events?initial=true&units=web", ""))
        .await
        .unwrap();
    let mut body = response.into_body();
    let first: Value = serde_json::from_str(&frame(&mut body).await).unwrap();
    assert_eq!((&first["unit"], &first["initial"]), (&Value::from("web"), &Value::from(true)));
    for unit in ["db", "web"] {
        world.board.change(
            Time::from_millis(3000),
            Label::Ready,
            Health::Unknown,
            view(unit, Label::Backoff),
        );
    }
    let second: Value = serde_json::from_str(&frame(&mut body).await).unwrap();
    assert_eq!(
        (&second["unit"], &second["state"], &second["id"]),
        (&"web".into(), &"backoff".into(), &2.into())
    );
    assert_eq!(second["ts"], "2023-11-14T22:13:22.000Z");
}

#[tokio::test]
async fn who_listens_for_server_sent_events_gets_them_with_their_numbers() {
    let world = world();
    let mut asked = request("GET", "/v1/events", "");
    asked.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let response = app(world.handle.clone()).oneshot(asked).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    world.board.change(Time::ZERO, Label::Ready, Health::Unknown, view("web", Label::Stopping));
    let text = frame(&mut response.into_body()).await;
    assert!(text.starts_with("event: unit\nid: 1\ndata: {") && text.ends_with("}\n\n"), "{text}");
}

#[tokio::test]
async fn a_slow_listener_is_told_how_much_it_has_missed() {
    let world = world();
    let response = app(world.handle.clone()).oneshot(request("GET", "/v1/events", "")).await.unwrap();
    for _ in 0..CHANGES_BACKLOG + 10 {
        world.board.change(Time::ZERO, Label::Ready, Health::Unknown, view("web", Label::Ready));
    }
    let first: Value = serde_json::from_str(&frame(&mut response.into_body()).await).unwrap();
    assert_eq!(first, serde_json::json!({"lagged": true, "missed": 10}));
}

#[tokio::test]
async fn logs_are_those_kept_and_those_to_come_of_the_units_asked_for() {
    let world = world().drive();
    let response = app(world.handle.clone())
        .oneshot(request("GET", "/v1/logs?units=web&follow=true", ""))
        .await
        .unwrap();
    let mut body = response.into_body();
    assert!(frame(&mut body).await.contains("\"message\":\"kept\""));
    for unit in ["db", "web"] {
        world.lines.send(line(unit, unit)).unwrap();
    }
    assert!(frame(&mut body).await.contains("\"unit\":\"web\""));
}

#[test]
fn one_user_cannot_take_all_seats_and_a_free_seat_is_taken_again() {
    let seats = Seats::default();
    let mut of_one: Vec<_> = (0..CONNECTIONS_OF_ONE_MAX).map(|_| seats.take(Some(9)).unwrap()).collect();
    assert!(seats.take(Some(9)).is_none());
    assert!(seats.take(Some(10)).is_some());
    of_one.pop();
    assert!(seats.take(Some(9)).is_some());
    drop(of_one);
    let all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| seats.take(None).unwrap()).collect();
    assert!(seats.take(None).is_none());
    drop(all);
    assert!(seats.lock().by_user.is_empty());
    assert_eq!(seats.lock().all, 0);
}

struct Served {
    dir: tempfile::TempDir,
    world: World,
}

fn served(policy: impl FnOnce(Policy) -> Policy) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    let world = world().drive();
    let own_uid = UnixStream::pair().unwrap().0.peer_cred().unwrap().uid();
    let policy = policy(Policy { own_uid, group: None, allow_other_namespaces: false });
    tokio::spawn(serve(listener, world.handle.clone(), policy, Vec::new()));
    Served { dir, world }
}

impl Served {
    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("s")).await.unwrap()
    }

    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn the_own_user_is_served_through_the_socket() {
    let served = served(|policy| policy);
    let answer = served.say("GET /v1/units/web HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"state\":\"ready\""), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_big_is_refused() {
    let served = served(|policy| policy);
    let bomb =
        format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(14 << 10));
    assert!(served.say(&bomb).await.contains("404"), "that much is taken");
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(80));
    assert!(served.say(&many).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_cut_off_after_five_seconds() {
    let served = served(|policy| policy);
    let began = tokio::time::Instant::now();
    let answer = served.say("GET /v1/units HTTP/1.1\r\nhos").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!((5..7).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_there_is_room_again_later() {
    let served = served(|policy| policy);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        held.push(served.connect().await);
    }
    let mut extra = served.connect().await;
    let mut answer = String::new();
    extra.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too many connections"), "{answer}");
    drop(held);
    let mut tries = 0;
    while !served
        .say("GET /v1/supervisor HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .contains("200 OK")
    {
        tries += 1;
        assert!(tries < 1000);
    }
}

#[tokio::test]
async fn a_client_that_disconnects_ends_its_stream() {
    let served = served(|policy| policy);
    let mut stream = served.connect().await;
    stream.write_all(b"GET /v1/logs?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 64];
    let _ = stream.read(&mut first).await.unwrap();
    while served.world.lines.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let gone = async {
        while served.world.lines.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert!(served.world.handle.reader().unit(name("web").as_str()).is_some());
}
