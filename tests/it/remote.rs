//! The control API over TCP: opened by a token, and by nothing else.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use crate::fixture::PATIENCE;
use crate::fixture::Setup;
use crate::fixture::Svinit;

const WEB: &str = "command = [\"sleep\", \"600\"]";
const TOKEN: &str = "correct-horse-battery-staple";

fn setup() -> Setup {
    let setup = Setup::new().unit("web", WEB).file("token", &format!("{TOKEN}\n"));
    let path = setup.path("token").display().to_string();
    setup.config(&format!("[control]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"{path}\"\n"))
}

/// Where it listens, from its first words.
fn address(svinit: &Svinit) -> String {
    let line = svinit.wait_for_line("control API for who has the token at ");
    let rest = line.split("has the token at ").nth(1).unwrap();
    rest.split([',', ' ', '\n']).next().unwrap().trim().to_owned()
}

/// Sends a request with these headers; the answer can be read.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: svinit\r\nConnection: close\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
    )
    .unwrap();
    stream
}

fn answer(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut text = String::new();
    ask(address, method, path, headers, body).read_to_string(&mut text).unwrap();
    (text[9..12].parse().unwrap(), text)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn the_holder_of_the_token_may_do_what_svctl_may_and_a_stranger_nothing() {
    let svinit = setup().start();
    let before = svinit.wait_for("web", "ready");
    let at = address(&svinit);
    let restart = r#"{"verb":"restart","units":["web"]}"#;
    for headers in
        ["", &bearer("correct-horse-battery-stapl3"), &format!("{}Origin: http://x\r\n", bearer(TOKEN))]
    {
        let (status, text) = answer(&at, "POST", "/v1/jobs", headers, restart);
        assert_eq!(status, 403, "{text}");
        assert_eq!(answer(&at, "GET", "/v1/units", headers, "").0, 403);
    }
    assert_eq!(svinit.status("web")["pid"], Value::from(before), "nothing was done");
    let (status, text) = answer(&at, "POST", "/v1/jobs", &bearer(TOKEN), restart);
    assert!(status == 200 && text.contains("\"type\":\"done\",\"ok\":true"), "{text}");
    assert_ne!(svinit.status("web")["pid"], Value::from(before));
    svinit.wait_for_line("restart of web was asked for by the holder of the token at 127.0.0.1");
    assert!(!svinit.output().contains(TOKEN));
}

#[test]
fn it_listens_on_after_an_upgrade_and_streams_go_on() {
    let svinit = setup().start();
    svinit.wait_for("web", "ready");
    let at = address(&svinit);
    let events = ask(&at, "GET", "/v1/events?initial=true", &bearer(TOKEN), "");
    let mut lines = BufReader::new(events).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"initial\":true")));
    assert_eq!(svinit.svctl("upgrade").code, 0);
    assert_eq!(answer(&at, "GET", "/v1/supervisor", &bearer(TOKEN), "").0, 200);
    assert_eq!(svinit.svctl("restart web").code, 0);
    assert!(
        lines.any(|line| line.contains("\"state\":\"ready\"") && !line.contains("initial")),
        "the stream goes on"
    );
}

#[test]
fn svinit_does_not_start_without_a_token_worth_the_name() {
    let open = Setup::new().unit("web", WEB).config("[control]\nlisten = \"127.0.0.1:0\"\n").launch();
    assert_eq!(open.wait_for_end(), 78);
    assert!(
        open.output().contains("svinit.toml:2:10: the control API is not served over TCP without a token"),
        "{}",
        open.output()
    );
    for (content, why) in
        [("short", "is too short"), ("", "is empty"), ("two words are no token", "no header")]
    {
        let setup = setup().file("token", content).launch();
        assert_eq!(setup.wait_for_end(), 78, "{content}");
        assert!(setup.output().contains(why) && !setup.output().contains("two words"), "{}", setup.output());
    }
    let setup = setup();
    std::fs::remove_file(setup.path("token")).unwrap();
    let missing = setup.launch();
    assert_eq!(missing.wait_for_end(), 78);
    assert!(missing.output().contains("no such file"), "{}", missing.output());
}

/// Nobody comes in that way any more. That is no reason to end what runs.
#[test]
fn a_token_that_is_gone_refuses_an_upgrade_and_a_crash_goes_on_without_that_door() {
    let svinit = setup().env("SVINIT_FAULTS", "1").start();
    let web = svinit.wait_for("web", "ready");
    let at = address(&svinit);
    std::fs::remove_file(svinit.path("token")).unwrap();
    let refused = svinit.svctl("upgrade");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("cannot serve the control API at"), "{refused:?}");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    let open = answer(&at, "GET", "/v1/units", &bearer(TOKEN), "");
    assert_eq!(open.0, 200, "{}", open.1);

    let _ = svinit.request("POST", "/v1/fault/segv", "").read_to_string(&mut String::new());
    svinit.wait_for_line("has crashed (");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert!(svinit.output().contains("cannot serve the control API at"), "{}", svinit.output());
    assert_eq!(TcpStream::connect(&at).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
