//! What can be asked about a file without serving it.

use std::fs;

use crate::fixture::run;

const FILE: &str = r#"
trusted_proxies = ["10.0.0.0/8"]
[cors]
allow_origins = ["https://app.example"]
[[route]]
path = "/api/"
strip = true
service = "backend"
[[route]]
path = "/"
service = "frontend"
[service.backend]
targets = ["http://127.0.0.1:8000", "http://127.0.0.2:8000"]
[service.frontend]
targets = ["http://127.0.0.1:5173"]
"#;

fn with(text: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manager.toml");
    fs::write(&path, text).unwrap();
    let output = run(&[&["--config", path.to_str().unwrap()], words].concat());
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(dir.path().to_str().unwrap(), "DIR");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_says_that_a_file_is_sound_or_every_mistake_of_it() {
    assert_eq!(
        with(FILE, &["check"]),
        (Some(0), "DIR/manager.toml: sound: 2 routes, 2 services\n".to_owned(), String::new())
    );
    let (code, stdout, stderr) =
        with(&FILE.replace("strip = true", "stripp = 1").replace("/api/", "api"), &["check"]);
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    assert!(
        stderr.contains(
            "DIR/manager.toml:6:8: expected a path like \"/api/\", found \"api\"; write \"/api\"\n"
        ),
        "{stderr}"
    );
    assert!(
        stderr
            .contains("DIR/manager.toml:7:1: no such key in [route]: \"stripp\"; did you mean \"strip\"?\n"),
        "{stderr}"
    );
    // To serve it is refused in the same words.
    let (code, _, served) = with(&FILE.replace("strip = true", "stripp = 1").replace("/api/", "api"), &[]);
    assert_eq!((code, served), (Some(78), stderr));
    assert_eq!(with("", &["serve"]).0, Some(2));
}

#[test]
fn explain_shows_the_way_of_a_request() {
    let words = [
        "explain",
        "GET",
        "http://app.example/api/./users?x=1",
        "-H",
        "X-Forwarded-For: 1.1.1.1",
        "-H",
        "Accept: */*",
    ];
    let (code, stdout, stderr) = with(FILE, &words);
    let expected = "\
request   GET app.example/api/users?x=1
route     below /api/ of every host -> backend
path      /users
service   backend: in turn, of 127.0.0.1:8000, 127.0.0.2:8000
limits    body any size, answer within 1m, 2 retries, 200 wait for 10s at most
sends     GET /users?x=1 HTTP/1.1
        - X-Forwarded-For: 1.1.1.1
          Host: app.example
          Accept: */*
        + X-Forwarded-For: 192.0.2.1
        + X-Forwarded-Proto: http
        + X-Forwarded-Port: 80
        + X-Real-IP: 192.0.2.1
        + X-Request-Id: (new)
        + Via: 1.1 svmanager
        + X-Forwarded-Host: app.example
answers   with
        + Vary: Origin
";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), expected, ""));
    let (code, stdout, _) = with(FILE, &["explain", "GET", "/api/..%2fadmin"]);
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with("refused with 400: its \"..\" leads out of it"), "{stdout}");
    let (_, stdout, _) = with(
        FILE,
        &[
            "explain",
            "OPTIONS",
            "/api/",
            "-H",
            "Origin: https://app.example",
            "-H",
            "Access-Control-Request-Method: PUT",
        ],
    );
    assert!(
        stdout.starts_with(
            "preflight: answered here with 204\n        + Access-Control-Allow-Origin: https://app.example\n"
        ),
        "{stdout}"
    );
}
