//! Whole calls of `svctl` against a supervisor that answers from a script.

use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::json;

use crate::cli::render::look::Look;
use crate::cli::render::out::Out;
use crate::cli::svctl::answer;
use crate::cli::svctl::session::Session;
use crate::client::server;
use crate::client::server::Server;

/// What was written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

const TERMINAL: Look = Look { colour: false, columns: Some(72), moves: false };

/// Calls `svctl` with `line`; the exit status, stdout, and stderr below a rule.
fn call(server: Option<&Server>, look: Look, line: &str) -> String {
    let (out, err) = (Paper::default(), Paper::default());
    let socket = server.map_or(PathBuf::from("/nonexistent/control.sock"), |server| server.socket.clone());
    let mut session = Session::for_test(
        Out::new(Box::new(out.clone()), look),
        Out::new(Box::new(err.clone()), look),
        socket,
    );
    let exit = answer(&mut session, line.split(' ').map(Into::into).collect());
    let exit = session.finish(exit).code();
    let complaint = if err.text().is_empty() { String::new() } else { format!("---\n{}", err.text()) };
    format!("{}{complaint}exit {exit}", out.text())
}

fn piped(answers: &[String], line: &str) -> String {
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    call(Some(&Server::answering(&answers)), Look::default(), line)
}

fn shown(answers: &[String], line: &str) -> String {
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    call(Some(&Server::answering(&answers)), TERMINAL, line)
}

fn unit(name: &str, state: &str, more: &serde_json::Value) -> serde_json::Value {
    let mut all = json!({
        "unit": name, "description": "", "state": state, "health": "unknown", "health_why": null, "pid": null,
        "since": "1970-01-01T03:20:00.000Z", "since_ms": 600_000, "uptime_ms": null, "restarts": 0, "last_exit": null,
        "why": "", "waits_for": [], "status_text": null, "retry_ms": null, "held": false, "paused": false, "wanted": true,
        "cpu_percent": null, "cpu_ms": null, "memory": null, "tasks": null, "start_took_ms": null, "stop_took_ms": null,
        "aliases": [], "enabled": true
    });
    let fields = all.as_object_mut().unwrap();
    more.as_object().unwrap().iter().for_each(|(name, value)| {
        fields.insert(name.clone(), value.clone());
    });
    all
}

fn web() -> serde_json::Value {
    unit(
        "web",
        "backoff",
        &json!({
            "restarts": 7, "why": "exited with status 1", "retry_ms": 2100,
            "last_exit": {"code": 1, "at": "1970-01-01T03:29:57Z"}
        }),
    )
}

fn db() -> serde_json::Value {
    unit(
        "postgres",
        "ready",
        &json!({
            "description": "The database", "health": "pass", "pid": 34, "uptime_ms": 11_520_000, "cpu_percent": 1.25,
            "memory": 182 << 20, "tasks": 5, "why": "accepts connections", "aliases": ["db"], "start_took_ms": 130
        }),
    )
}

fn ok(body: &serde_json::Value) -> String {
    server::json(200, &body.to_string())
}

fn lines(all: &[serde_json::Value]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    server::ndjson(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn log(message: &str) -> serde_json::Value {
    json!({"ts": "1970-01-01T03:29:57.001002Z", "unit": "web", "pid": 12, "stream": "stderr", "message": message})
}

fn all_three() -> String {
    ok(&json!([unit("migrate", "completed", &json!({})), db(), web()]))
}

#[test]
fn status_in_a_pipe_is_a_plain_table() {
    insta::assert_snapshot!(piped(&[all_three()], "svctl status"), @r#"
    UNIT      STATE      HEALTH   PID  UPTIME  RESTARTS   CPU   MEM
    migrate   completed  unknown    -       -         0     -     -
    postgres  ready      pass      34   3h12m         0  1.2%  182M
    web       backoff    unknown    -       -         7     -     -
    exit 0
    "#);
}

#[test]
fn status_on_a_terminal_says_why_and_what_next() {
    insta::assert_snapshot!(shown(&[all_three()], "svctl ls"), @r#"
    UNIT      STATE      HEALTH   PID  UPTIME  RESTARTS   CPU   MEM
    migrate   completed  unknown    -       -         0     -     -
    postgres  ready      pass      34   3h12m         0  1.2%  182M
    web       backoff    unknown    -       -         7     -     -
      exited with status 1; next try in 2.1 s

    3 units: 1 ready, 1 completed, 1 backoff
    svctl why web says more
    exit 0
    "#);
}

#[test]
fn status_of_units_tells_by_its_exit_status_whether_they_are_up() {
    assert!(piped(&[ok(&json!([db()])), lines(&[])], "svctl status db").ends_with("exit 0"));
    assert!(piped(&[ok(&json!([db(), web()]))], "svctl status db web").ends_with("exit 3"));
    assert!(
        piped(&[ok(&json!([unit("m", "completed", &json!({}))])), lines(&[])], "svctl status m")
            .ends_with("exit 0")
    );
    assert_eq!(piped(&[ok(&json!([db(), web()]))], "svctl is-active all"), "ready\nbackoff\nexit 3");
}

#[test]
fn status_of_one_unit_is_in_detail() {
    insta::assert_snapshot!(shown(&[ok(&json!([db()])), lines(&[log("hello")])], "svctl status postgres"), @r#"
    ● postgres - The database
        state  ready since 1970-01-01 03:20:00 (10m0s)
          why  accepts connections
       health  pass
          pid  34, up 3h12m, 5 tasks
       memory  182M
          cpu  1.2%
         took  130 ms to start
         also  db

    03:29:57.001  hello
    exit 0
    "#);
}

#[test]
fn why_says_it_in_words() {
    insta::assert_snapshot!(piped(&[ok(&json!([web()])), lines(&[log("boom\u{1b}[2J")])], "svctl why web"), @r#"
    web: backoff for 10m0s, exited with status 1
      Its last process exited with status 1, 3s ago.
      It will be tried again in 2.1 s.
      It was restarted 7 times by itself.

    Its last lines:
    03:29:57.001  boom [2J

    What to do: mend what its last lines complain about (svctl logs web)
    exit 0
    "#);
}

#[test]
fn restart_tells_both_pids_and_the_time() {
    let answer = lines(&[
        json!({"type": "accepted", "job": 3, "units": ["postgres"]}),
        json!({"type": "progress", "unit": "postgres", "state": "stopping", "why": "asked to"}),
        json!({"type": "outcome", "unit": "postgres", "ok": true, "state": "ready", "old_pid": 12, "new_pid": 34,
               "took_ms": 130.2, "why": ""}),
        json!({"type": "done", "ok": true}),
    ]);
    let server = Server::answering(&[&answer, &answer]);
    let text = call(Some(&server), Look::default(), "svctl restart db");
    assert_eq!(text, "postgres: ready, pid 12 -> 34, took 130 ms\nexit 0");
    let asked = r#"POST /v1/jobs {"verb":"restart","units":["db"],"tree":false,"with_dependants":false,"or_restart":false,"wait":true}"#;
    assert_eq!(server.asked(), [asked]);
    let text = call(Some(&server), Look::default(), "svctl --json restart db");
    let outcomes: serde_json::Value = serde_json::from_str(text.trim_end_matches("\nexit 0")).unwrap();
    assert_eq!(outcomes[0]["new_pid"], 34);
}

#[test]
fn a_job_that_failed_shows_its_last_words_and_what_to_do() {
    let answer = lines(&[
        json!({"type": "accepted", "job": 3, "units": ["web"]}),
        json!({"type": "outcome", "unit": "web", "ok": false, "state": "backoff", "old_pid": 12, "new_pid": null,
               "took_ms": 40.0, "why": "exited with status 1"}),
        json!({"type": "done", "ok": false}),
    ]);
    insta::assert_snapshot!(piped(&[answer, lines(&[log("no such table: users")])], "svctl start web"), @r#"
    web: cannot start: exited with status 1 (backoff, took 40 ms)
    ---
      | no such table: users
      what to do: svctl why web says more
    exit 1
    "#);
}

#[test]
fn a_job_that_is_cut_off_is_not_done() {
    let answer = lines(&[json!({"type": "accepted", "job": 3, "units": ["web"]})]);
    insta::assert_snapshot!(piped(&[answer], "svctl stop web"), @r#"
    ---
    svctl: the supervisor ended the answer before the job was done
    exit 1
    "#);
}

#[test]
fn a_signal_comes_first_or_by_its_option() {
    let answer = lines(&[
        json!({"type": "outcome", "unit": "web", "ok": true, "state": "ready", "old_pid": 12, "new_pid": 12,
               "took_ms": 0.1, "why": ""}),
        json!({"type": "done", "ok": true}),
    ]);
    for line in ["svctl signal sighup web", "svctl kill -s HUP web"] {
        let server = Server::answering(&[&answer]);
        assert_eq!(call(Some(&server), Look::default(), line), "web: signal sent to pid 12\nexit 0");
        assert!(server.asked()[0].contains(r#""units":["web"],"signal":"HUP""#), "{:?}", server.asked());
    }
    insta::assert_snapshot!(call(None, Look::default(), "svctl kill web"), @r#"
    ---
    svctl: which signal? For example: svctl signal TERM web
    exit 2
    "#);
}

#[test]
fn refusals_have_their_exit_statuses() {
    for (error, exit) in [("no_such_unit", 4), ("not_permitted", 5), ("bad_request", 2), ("refused", 1)] {
        let answer =
            server::json(404, &json!({"error": error, "message": "no", "did_you_mean": ["web"]}).to_string());
        let said = format!("---\nsvctl: no; did you mean \"web\"?\nexit {exit}");
        assert_eq!(piped(std::slice::from_ref(&answer), "svctl status wbe"), said);
        assert_eq!(piped(std::slice::from_ref(&answer), "svctl health wbe"), said);
        assert_eq!(piped(std::slice::from_ref(&answer), "svctl restart wbe"), said);
        assert_eq!(piped(&[answer], "svctl logs wbe"), said);
    }
}

#[test]
fn without_a_supervisor_the_places_and_the_remedy_are_named() {
    insta::assert_snapshot!(call(None, Look::default(), "svctl status"), @r#"
    ---
    svctl: cannot reach a supervisor: /nonexistent/control.sock: no such socket (is svinit running here? name its socket with --socket or SVINIT_SOCKET)
    exit 6
    "#);
}

#[test]
fn what_is_no_verb_or_no_option_is_a_mistake_of_usage() {
    insta::assert_snapshot!(call(None, Look::default(), "svctl retsart web"), @r#"
    ---
    svctl: no such verb: "retsart"; did you mean "restart"? (svctl help lists them)
    exit 2
    "#);
    insta::assert_snapshot!(call(None, Look::default(), "svctl restart --no-wiat web"), @r#"
    ---
    svctl: unexpected argument '--no-wiat' found

      tip: a similar argument exists: '--no-wait'

    Usage: svctl restart --no-wait <UNIT>...

    For more information, try '--help'.
    exit 2
    "#);
    insta::assert_snapshot!(call(None, Look::default(), "svctl restart"), @r#"
    ---
    svctl: the following required arguments were not provided:
      <UNIT>...

    Usage: svctl restart <UNIT>...

    For more information, try '--help'.
    exit 2
    "#);
}

#[test]
fn health_is_one_line_and_a_status() {
    let well = json!({"status": "pass", "version": "1", "checks": {"web": [
        {"componentType": "component", "status": "pass", "observedValue": "ready", "time": "t"}]}});
    let ill = json!({"status": "fail", "version": "1", "checks": {"web": [
        {"componentType": "component", "status": "fail", "observedValue": "backoff", "time": "t", "output": "exited"}]}});
    assert_eq!(piped(&[ok(&well)], "svctl health"), "pass: 1 unit\nexit 0");
    let text = piped(&[server::json(503, &ill.to_string())], "svctl health");
    assert_eq!(text, "fail: web is backoff, exited\nexit 3");
}

fn event(unit: &str, state: &str, why: &str) -> serde_json::Value {
    json!({"id": 1, "ts": "1970-01-01T03:29:57.001Z", "unit": unit, "was": "starting", "state": state,
           "health": "unknown", "pid": 7, "why": why})
}

#[test]
fn wait_ends_when_all_have_come_so_far() {
    let units = ok(&json!([db(), web()]));
    let events =
        lines(&[event("web", "backoff", ""), event("postgres", "ready", ""), event("web", "ready", "")]);
    let text = piped(&[units.clone(), events], "svctl wait all --timeout 5");
    assert_eq!(text, "postgres: ready, pid 7\nweb: ready, pid 7\nexit 0");
    let events = lines(&[event("web", "failed", "exited with status 1")]);
    insta::assert_snapshot!(piped(&[units, events], "svctl wait all"), @r#"
    ---
    svctl: web has failed: exited with status 1
      what to do: svctl why web says more
    exit 1
    "#);
}

#[test]
fn logs_are_as_in_docker_logs_and_end_when_nobody_reads() {
    let all = lines(&[log("a"), log("b")]);
    assert_eq!(piped(std::slice::from_ref(&all), "svctl logs web"), "web | a\nweb | b\nexit 0");
    assert_eq!(piped(std::slice::from_ref(&all), "svctl tail --raw web"), "a\nb\nexit 0");
    assert_eq!(
        piped(std::slice::from_ref(&all), "svctl logs -T web").lines().next(),
        Some("03:29:57.001 web | a")
    );
    let server = Server::answering(&[&all]);
    let json = call(Some(&server), Look::default(), "svctl logs --json -n all web");
    assert_eq!(serde_json::from_str::<serde_json::Value>(json.lines().next().unwrap()).unwrap(), log("a"));
    assert_eq!(server.asked(), ["GET /v1/logs?units=web&lines=4294967295&follow=false"]);
}

#[test]
fn events_are_one_line_each() {
    let text = piped(&[lines(&[event("web", "ready", "answers")])], "svctl events web");
    assert_eq!(text, "03:29:57.001 web starting -> ready (pid 7): answers\nexit 0");
}

#[test]
fn show_gives_single_facts_to_scripts() {
    let units = || ok(&json!([db()]));
    assert_eq!(piped(&[units()], "svctl show db -p pid,state"), "state=ready\npid=34\nexit 0");
    assert_eq!(piped(&[units()], "svctl show db -p pid --value"), "34\nexit 0");
    assert!(piped(&[units()], "svctl show db -p color").ends_with("exit 2"));
}

#[test]
fn run_prints_each_line_once_and_ends_as_the_unit_did() {
    let line = |message: &str| json!({"ts": message, "unit": "web", "pid": 12, "stream": "stdout", "message": message});
    let job = lines(&[
        json!({"type": "accepted", "job": 3, "units": ["web"]}),
        json!({"type": "outcome", "unit": "web", "ok": false, "state": "failed", "old_pid": null, "new_pid": null,
               "took_ms": 40.0, "why": "exited with status 3"}),
        json!({"type": "done", "ok": false}),
    ]);
    let failed = unit("web", "failed", &json!({"last_exit": {"code": 3, "at": "t"}}));
    let answers = [
        ok(&web()),
        lines(&[line("old")]),
        lines(&[line("a")]),
        job,
        lines(&[line("old"), line("a"), line("b")]),
        ok(&failed),
    ];
    let text = piped(&answers, "svctl run web");
    assert_eq!(text, "a\nb\n---\nsvctl: web: exited with status 3\nexit 3");
}

#[test]
fn check_needs_no_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("web.toml"), "command = [\"true\"]\n").unwrap();
    let line = format!("svctl check {}", dir.path().display());
    assert_eq!(call(None, Look::default(), &line), "sound: 1 unit\nexit 0");
    std::fs::write(dir.path().join("web.toml"), "command = [\"true\"]\n[restart]\npolcy = \"always\"\n")
        .unwrap();
    let text = call(None, Look::default(), &line);
    assert!(text.contains("web.toml:3:1: ") && text.ends_with("not sound: 1 mistake\nexit 78"), "{text}");
}

#[test]
fn graph_needs_no_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("web.toml"), "command = [\"true\"]\nrequires = [\"db\"]\n").unwrap();
    std::fs::write(dir.path().join("db.toml"), "command = [\"true\"]\n").unwrap();
    let text = call(None, Look::default(), &format!("svctl graph --units {}", dir.path().display()));
    assert_eq!(text, "  1  db\n  2  web  requires db\nexit 0");
}
