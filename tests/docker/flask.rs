//! compose/flask: three web apps that write each request down, behind a load balancer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::engine::load::Load;
use crate::engine::{Container, System, compose_config, is_there, root, wait_until};

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
    let dump = flask.own_file("requests.dump");
    let line = |program: &str| flask.readme_line(program, "requests.dump", &dump);
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
    let Some(flask) = System::laid_out("flask") else { return };
    // The code of its own, to be worked on.
    let app = flask.own_file("app");
    copy(&root().join("compose/flask/app"), &app);
    let flask =
        flask.overlay(&format!("services: {{ webapp: {{ volumes: [\"{}:/app:ro\"] }} }}\n", app.display()));
    flask.start(&[]);
    for (service, unit) in [("lb", "nginx"), ("lb", "upstreams"), ("webapp", "flask"), ("db", "postgres")] {
        let container = flask.containers(service).remove(0);
        let (same, neighbours) = (container.identity(), neighbours(&container, unit));
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
        assert_eq!(self::neighbours(&container, unit), neighbours, "{service}, {unit}");
    }
    code_is_loaded_anew(&flask.containers("webapp").remove(0), &app.join("app.py"));
}

/// As README.md says: what is changed is served after a reload, and what does not load replaces nothing.
fn code_is_loaded_anew(webapp: &Container, code: &Path) {
    let shown = || {
        let read =
            "import urllib.request; print(urllib.request.urlopen('http://localhost:8000/').read().decode())";
        rows(&webapp.exec(&["python", "-c", read]).well()).len()
    };
    let text = fs::read_to_string(code).unwrap();
    let master = webapp.pid("flask");
    assert_eq!(shown(), 25);
    fs::write(code, text.replace("SHOWN = 25", "SHOWN = 7")).unwrap();
    webapp.svctl("reload flask");
    wait_until("the new code is served", || webapp.words(), || shown() == 7);

    fs::write(code, "this is no Python\n").unwrap();
    let refused = webapp.exec(&["svctl", "reload", "flask"]);
    assert!(refused.code != 0 && webapp.words().contains("SyntaxError"), "{refused:?}");
    assert_eq!((shown(), webapp.pid("flask")), (7, master), "what works goes on");
    fs::write(code, text).unwrap();
}

/// What must not change while something else in the container is repaired.
fn neighbours(container: &Container, unit: &str) -> Vec<(String, u64)> {
    container.pids().into_iter().filter(|(name, _)| name != unit).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).unwrap() }
    }
}

#[test]
fn the_names_are_those_of_its_first_authors() {
    if !is_there() {
        return;
    }
    let said = compose_config(&[&root().join("compose/flask/docker-compose.yml")]).well();
    let config: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(config["name"], "excercise12");
    assert_eq!(config["volumes"]["pg_data"]["name"], "excercise12_pg_data");
    assert_eq!(config["services"]["webapp"]["deploy"]["replicas"], 3);
    let port = &config["services"]["lb"]["ports"][0];
    assert_eq!((&port["target"], &port["published"]), (&json!(80), &json!("80")));
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
