//! compose/flask: three web apps that write each request down, behind a load balancer.

use std::collections::BTreeSet;
use std::fs;

use crate::engine::load::Load;
use crate::engine::{System, root};

/// Rows of the page: number, and who served it.
fn rows(page: &str) -> Vec<(u64, String)> {
    let cells = |line: &str| -> Vec<String> {
        line.split("<td>")
            .skip(1)
            .map(|cell| cell.split("</td>").next().unwrap_or_default().to_owned())
            .collect()
    };
    page.lines()
        .filter(|line| line.starts_with("<tr><td>"))
        .map(cells)
        .map(|cells| (cells[0].parse().expect("a number"), cells[2].clone()))
        .collect()
}

fn page(flask: &System) -> Vec<(u64, String)> {
    let answer = flask.http("HTTP_PORT", "/").expect("the load balancer answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    rows(&answer.body)
}

#[test]
fn the_last_25_requests_are_shown_with_this_one_and_survive() {
    let Some(flask) = System::laid_out("flask") else { return };
    // As its first authors wrote it.
    flask.start(&["--scale", "webapp=3"]);
    for expected in 1..=30_usize {
        let shown = page(&flask);
        assert_eq!(shown.len(), expected.min(25));
        assert!(shown.windows(2).all(|pair| pair[0].0 > pair[1].0), "newest first: {shown:?}");
    }
    back_up_and_restore(&flask);
    let before = page(&flask);
    let hosts: BTreeSet<&String> = before.iter().map(|(_, host)| host).collect();
    assert_eq!(hosts.len(), 3, "{before:?}");
    assert!(flask.project.starts_with("svinit-test"), "not that of a person");

    flask.compose(&["stop"]).well();
    for service in ["lb", "webapp", "db"] {
        for container in flask.containers(service) {
            assert_eq!(container.exit_code(), 0, "{service}: {}", container.words());
        }
    }
    flask.compose(&["down"]).well();
    flask.start(&[]);
    let after = page(&flask);
    assert_eq!(after[1..], before[..24], "what was written before is there, below the request just made");
}

/// By the two lines of README.md: the rows of before come back, those written since go.
fn back_up_and_restore(flask: &System) {
    let readme = fs::read_to_string(root().join("compose/flask/README.md")).unwrap();
    let line = |program: &str| -> String {
        let line = readme.lines().find(|line| line.contains(program)).expect("README.md says how");
        let dump = flask.own_file("requests.dump");
        line.trim().replace("docker compose", "$COMPOSE").replace("requests.dump", dump.to_str().unwrap())
    };
    let before = page(flask);
    flask.shell(&line("pg_dump")).well();
    let dropped = "exec -T db svctl exec postgres -- psql -d requests -c 'TRUNCATE requests'";
    flask.shell(&format!("$COMPOSE {dropped}")).well();
    assert_eq!(page(flask).len(), 1, "only the request just made");
    flask.shell(&line("pg_restore")).well();
    assert_eq!(page(flask)[1..], before[..24]);
}

#[test]
fn everything_in_it_is_killed_and_restarted_and_the_page_stays() {
    let Some(flask) = System::up("flask") else { return };
    for (service, unit) in [("lb", "nginx"), ("lb", "upstreams"), ("webapp", "flask"), ("db", "postgres")] {
        let container = flask.containers(service).remove(0);
        let same = container.identity();
        let old = container.kill(unit);
        container.wait_for_successor(unit, old);
        flask.wait_until("the page is there", || {
            flask.http("HTTP_PORT", "/").is_ok_and(|answer| answer.status == 200)
        });

        let load = Load::begin(&flask.at("HTTP_PORT"), "/");
        load.go_on_to(40);
        container.svctl(&format!("restart {unit}"));
        load.go_on_to(load.asked() + 40);
        let told = load.end();
        assert_eq!(told.failed, 0, "{service}, restart {unit}: {:?}", told.why);
        assert_eq!(container.identity(), same, "{service}, {unit}");
    }
}

#[test]
fn a_hung_app_is_replaced_while_the_others_answer() {
    let Some(flask) = System::up("flask") else { return };
    let hung = flask.containers("webapp").remove(0);
    let old = hung.pid("flask").expect("it runs");
    hung.svctl("signal --tree STOP flask");
    let load = Load::begin(&flask.at("HTTP_PORT"), "/");
    hung.wait_for_successor("flask", old);
    load.go_on_to(load.asked() + 40);
    let told = load.end();
    // Requests that it had taken are asked of the next one when its patience with them ends.
    assert_eq!(told.failed, 0, "{:?}", told.why);
}
