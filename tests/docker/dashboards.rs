//! Prometheus, its rules, and Grafana's dashboards of the system redis: every panel's question is asked of the Prometheus
//! that runs.
//!
//! Grafana's server is to be had from a registry only. Its image is built around a stand-in that answers on its port,
//! which shows that image, unit and check go together; what it would show is shown by asking what it would ask.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::engine::{Container, System, TAG, ask, build, build_as, docker, image, is_there, root};

/// Says that it is well, and nothing else, where Grafana would be.
const STAND_IN: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
$ENV{GF_SECURITY_ADMIN_PASSWORD} or die "no password";
open(my $file, ">", "/var/lib/grafana/grafana.db") or die "cannot write: $!";
my $server = IO::Socket::INET->new(LocalPort => 3000, Listen => 16, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line eq "\r\n" }
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $client;
}
"#;

fn folder() -> PathBuf {
    root().join("compose/redis")
}

fn monitoring(system: &System, arguments: &[&str]) -> String {
    system.beside(&folder().join("docker-compose.monitoring.yml"), arguments).well()
}

pub(crate) fn container(system: &System, service: &str) -> Container {
    Container { name: monitoring(system, &["ps", "--quiet", service]).trim().to_owned() }
}

/// Prometheus, the exporter, and Grafana around a stand-in.
pub(crate) fn build_images() {
    build(&["prometheus-rootless", "redis-exporter"]);
    let dir = tempfile::tempdir().unwrap();
    let stand_in = format!("svinit/grafana-stand-in:{TAG}");
    fs::write(dir.path().join("grafana"), STAND_IN).unwrap();
    fs::write(
        dir.path().join("Dockerfile"),
        "FROM debian:trixie-slim\nCOPY --chmod=0755 grafana /usr/share/grafana/bin/grafana\n",
    )
    .unwrap();
    docker(&["build", "--quiet", "--tag", &stand_in, dir.path().to_str().expect("a path")]).well();
    build_as(&["grafana"], &[("SVINIT_TAG", TAG), ("GRAFANA_IMAGE", &stand_in)]);
}

/// The second command of the system, which waits for nobody.
pub(crate) fn start(system: &System) {
    monitoring(system, &["up", "-d"]);
}

/// Everything that can be asked is asked, until it has an answer: who is there, each panel, the monitoring itself.
pub(crate) fn show_something_in_every_panel(system: &System) {
    for (service, user) in [("prometheus", "909"), ("grafana", "472"), ("redis-exporter", "912")] {
        let container = container(system, service);
        container.wait_for_health("healthy");
        assert_eq!(crate::items::users(&container), [user], "{service}");
    }
    let at = system.at("PROMETHEUS_PORT");
    let get = |path: &str| -> Value {
        let answer = ask(&at, path).unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|why| panic!("{path}: {why}: {}", answer.body))
    };
    // Six of Redis and Sentinel, twice; the application; three of the monitoring; Prometheus and the exporter themselves.
    system.wait_until("Prometheus reaches everybody", || {
        let all = get("/api/v1/targets?state=active");
        let all = all["data"]["activeTargets"].as_array().expect("a list").clone();
        all.len() == 6 + 6 + 1 + 3 + 2 && all.iter().all(|target| target["health"] == "up")
    });
    for (panel, question) in questions() {
        system.wait_until(&format!("{panel} shows something: {question}"), || {
            let answer = get(&format!("/api/v1/query?query={}", encoded(&question)));
            assert_eq!(answer["status"], "success", "{panel}: {answer}");
            answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty())
        });
    }
    // svinit's own word of a container that Prometheus cannot reach, and of nobody whom the relay does not know.
    let relay = container(system, "redis-exporter");
    let prometheus = container(system, "prometheus");
    let fetch = |url: &str| {
        prometheus.exec(&["wget", "--quiet", "--tries=1", "--timeout=3", "--output-document=-", url])
    };
    let told = fetch("http://redis-exporter:9122/svinit/redis-replica-1").well();
    assert!(told.contains("svinit_unit_state{unit=\"redis\",state=\"ready\"} 1"), "{told}");
    for nobody in ["http://redis-exporter:9122/svinit/localhost", "http://redis-master:9500/metrics"] {
        assert_ne!(fetch(nobody).code, 0, "{nobody}");
    }
    assert_eq!(relay.units().len(), 2);
}

/// The dashboards, as they are provisioned.
fn dashboards() -> Vec<Value> {
    let dir = folder().join("grafana/provisioning/dashboards");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    });
    texts.collect()
}

/// What every panel asks, as Grafana would ask it of all nodes.
fn questions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for board in dashboards() {
        for panel in board["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().expect("targets") {
                let question = target["expr"].as_str().expect("a question");
                let question = question.replace("$node", ".*").replace("$__rate_interval", "1m");
                assert!(!question.contains('$'), "a variable that nobody knows: {question}");
                all.push((format!("{}: {}", board["title"], panel["title"]), question));
            }
        }
    }
    all
}

/// For a URL: everything but letters and digits as `%XX`.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[test]
fn dashboards_and_what_provisions_them_go_together() {
    let read = |name: &str| fs::read_to_string(folder().join("grafana/provisioning").join(name)).unwrap();
    let source = read("datasources/prometheus.yml");
    assert!(
        source.contains("uid: prometheus\n") && source.contains("url: http://prometheus:9090\n"),
        "{source}"
    );
    assert!(read("dashboards/dashboards.yml").contains("path: /etc/grafana/provisioning/dashboards\n"));
    let boards = dashboards();
    let titles: BTreeSet<&str> = boards.iter().filter_map(|board| board["title"].as_str()).collect();
    assert_eq!(titles, BTreeSet::from(["Redis", "svinit"]));
    for board in &boards {
        assert!(
            board["uid"].is_string() && board["schemaVersion"].is_u64() && board["id"].is_null(),
            "{}",
            board["title"]
        );
        let panels = board["panels"].as_array().expect("panels");
        let numbers: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(numbers.len(), panels.len(), "each panel of {} has a number of its own", board["title"]);
        let mut taken = BTreeSet::new();
        for panel in panels {
            let title = &panel["title"];
            assert!(["stat", "table", "timeseries"].iter().any(|kind| panel["type"] == *kind), "{title}");
            assert_eq!(panel["datasource"]["uid"], "prometheus", "{title}");
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            assert!(at("x") + at("w") <= 24, "{title} is wider than the page");
            for place in
                (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
            {
                assert!(taken.insert(place), "{title} covers another panel");
            }
            let letters: BTreeSet<&str> = panel["targets"]
                .as_array()
                .expect("targets")
                .iter()
                .filter_map(|one| one["refId"].as_str())
                .collect();
            assert_eq!(letters.len(), panel["targets"].as_array().map_or(0, Vec::len), "{title}");
        }
    }
    assert!(questions().len() > 30);
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    if !is_there() {
        return;
    }
    build(&["prometheus-rootless"]);
    let mount = format!("{}:/compose:ro", folder().join("prometheus").display());
    let image = image("prometheus-rootless");
    let promtool = |words: &[&str]| {
        let run = ["run", "--rm", "--pull", "never", "--volume", &mount, "--entrypoint", "promtool", &image];
        docker(&[&run[..], words].concat()).well()
    };
    promtool(&["test", "rules", "/compose/alerts-test.yml"]);
    let mounted = format!("{}:/etc/prometheus:ro", folder().join("prometheus").display());
    let check = ["run", "--rm", "--pull", "never", "--volume", &mounted, "--entrypoint", "promtool", &image];
    let said = docker(&[&check[..], &["check", "config", "/etc/prometheus/prometheus.yml"]].concat()).well();
    // Each alert of the rules is in that test.
    let tests = fs::read_to_string(folder().join("prometheus/alerts-test.yml")).unwrap();
    for name in ["redis", "svinit"] {
        let rules = fs::read_to_string(folder().join(format!("prometheus/rules/{name}.yml"))).unwrap();
        for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
            let expected = format!("alertname: {alert}\n        exp_alerts:");
            assert!(tests.contains(&expected), "{alert} is not seen to fire");
        }
    }
    assert!(said.contains("SUCCESS"), "{said}");
}
