//! `/metrics`, judged by Prometheus' own tool.

#![expect(clippy::disallowed_methods, reason = "a test runs promtool, and is itself a scraper")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::fixture::{Essential, PATIENCE, Setup, Svinit, skip};

/// Head and body of the answer.
fn scrape(svinit: &Svinit, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(svinit.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: svinit\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}");
    (head.to_lowercase(), body.to_owned())
}

/// On the PATH, or where `scripts/setup` unpacks it.
fn promtool() -> Option<PathBuf> {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    [PathBuf::from("promtool"), unpacked].into_iter().find(|program| {
        let tried =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// Units in as many states as can be had at once.
fn in_many_states() -> Svinit {
    let never = "restart.policy = \"never\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]";
    let svinit = Setup::new()
        .http()
        .unit("ready", "command = [\"sleep\", \"600\"]")
        .unit("failed", never)
        .unit("backoff", "restart.delay = \"10m\"\nrestart.max_delay = \"10m\"\ncommand = [\"false\"]")
        .unit("completed", "type = \"oneshot\"\ncommand = [\"true\"]")
        .unit("inactive", "enabled = false\ncommand = [\"sleep\", \"600\"]")
        .unit(
            "starting",
            "ready.log = \"never said\"\nready.timeout = \"10m\"\ncommand = [\"sleep\", \"600\"]",
        )
        .unit(
            "ill",
            "command = [\"sleep\", \"600\"]\n[health]\nexec = [\"false\"]\ninterval = \"1s\"\nretries = 1000",
        )
        .start();
    for unit in ["ready", "failed", "backoff", "completed", "inactive", "starting"] {
        svinit.wait_for(unit, unit);
    }
    svinit.wait_for("ill", "ready");
    svinit
}

#[test]
fn promtool_finds_nothing_wrong_with_metrics() {
    let Some(promtool) = promtool() else {
        return skip("promtool is not there: scripts/setup test unpacks it", Essential::Yes);
    };
    let svinit = in_many_states();
    let (head, body) = scrape(&svinit, "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for unit in ["ready", "failed", "backoff", "completed", "inactive", "starting"] {
        let line = format!("svinit_unit_state{{unit=\"{unit}\",state=\"{unit}\"}} 1");
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{body}");
}

#[test]
fn who_asks_for_openmetrics_gets_it_whole() {
    let svinit = in_many_states();
    // As Prometheus asks.
    let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                  text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let (head, body) = scrape(&svinit, accept);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    assert_eq!(body.matches("# EOF").count(), 1);
    let mut family = String::new();
    let mut families = Vec::new();
    for line in body.lines().filter(|line| *line != "# EOF") {
        match line.strip_prefix("# HELP ") {
            Some(rest) => {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(!families.contains(&family), "{family} is told in two places");
                families.push(family.clone());
            }
            None if line.starts_with('#') => assert_eq!(line.split(' ').nth(2), Some(&*family), "{line}"),
            None => assert!(line.starts_with(&family), "{line} is no sample of {family}"),
        }
    }
}
