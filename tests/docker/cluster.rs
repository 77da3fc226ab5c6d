//! compose/cluster: a load balancer, three web servers and PostgreSQL, brought up by one command, broken and healed.

#![expect(clippy::disallowed_methods, reason = "measures by a clock")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine::load::Load;
use crate::engine::{Container, Said, System, compose_config, docker, is_there, root};
use crate::items;

/// Its services, and the units of each that have a process.
const SERVICES: [(&str, &[&str]); 5] = [
    ("lb", &["nginx", "upstreams"]),
    ("web1", &["nginx"]),
    ("web2", &["nginx"]),
    ("web3", &["nginx"]),
    ("db", &["postgres"]),
];

fn up() -> Option<System> {
    let cluster = System::laid_out("cluster")?.file("compose.start-interval.yaml");
    start(&cluster, &[]);
    Some(cluster)
}

/// Compose's check of the database asks PostgreSQL; its user and its password are the work of a unit that comes after.
fn start(cluster: &System, with: &[&str]) {
    cluster.start(with);
    let db = cluster.container("db");
    cluster.wait_until("all units of the database are well", || db.exec(&["svctl", "health"]).code == 0);
}

/// Who sends the page, asked so many times.
fn senders(cluster: &System, times: usize) -> BTreeSet<String> {
    let ask = |_| {
        let answer = cluster.http("HTTP_PORT", "/").expect("the load balancer answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("X-Served-By").expect("a web server says who it is").to_owned()
    };
    (0..times).map(ask).collect()
}

/// An SQL command as the cluster's user, with the password, over the network of the container.
fn sql(cluster: &System, command: &str) -> Said {
    let password = format!("PGPASSWORD={}", cluster.secret("postgres_password"));
    let psql = [
        "env",
        &password,
        "psql",
        "-h",
        "127.0.0.1",
        "-U",
        "cluster_user",
        "-d",
        "clusterdb",
        "-Atc",
        command,
    ];
    cluster.container("db").exec(&psql)
}

#[test]
fn the_cluster_is_as_it_was_asked_for() {
    let Some(cluster) = up() else { return };
    assert_eq!(senders(&cluster, 12).len(), 3, "all three web servers take their turn");
    assert_eq!(
        sql(&cluster, "SELECT current_user, current_database()").well().trim(),
        "cluster_user|clusterdb"
    );

    for (service, units) in SERVICES {
        let container = cluster.container(service);
        let expected = if service == "db" { "999" } else { "101" };
        for unit in units {
            let pid = container.pid(unit).expect("it runs");
            let owner = container.exec(&["stat", "-c", "%u", &format!("/proc/{pid}")]).well();
            assert_eq!(owner.trim(), expected, "{service}: {unit}");
        }
        let published = container.inspect("{{range $p, $to := .HostConfig.PortBindings}}{{$p}} {{end}}");
        let ports = match service {
            "lb" => "80/tcp",
            "db" => "5432/tcp",
            _ => "",
        };
        assert_eq!(published, ports, "{service}");
        let health = container.inspect(
            "{{with .Config.Healthcheck}}{{.Interval}} {{.Timeout}} {{.Retries}} {{.StartPeriod}}{{end}}",
        );
        assert_eq!(health, "30s 10s 3 40s", "{service}");
    }
    // The secret is nowhere but in its file: not in an environment, not in what svinit shows, not in the log.
    let (db, secret) = (cluster.container("db"), cluster.secret("postgres_password"));
    for told in [
        db.inspect("{{json .Config}}"),
        db.svctl("cat postgres-setup"),
        db.svctl("env postgres-setup"),
        db.words(),
    ] {
        assert!(!told.contains(&secret), "{told}");
    }

    // The transaction log is on the volume of the logs, and so is the error log, as a file.
    let wal = db.exec(&["readlink", "/var/lib/postgresql/data/pg_wal"]).well();
    assert!(wal.starts_with("/var/log/postgresql/wal."), "{wal}");
    db.exec(&["test", "-s", "/var/log/postgresql/postgresql.log"]).well();
    answers_are_kept_for_those_they_are_for(&cluster);
    back_up_and_restore(&cluster);
    down_and_up_keeps_the_data(&cluster);
}

/// What may be kept is asked for once; another name's answer, and that to somebody who says who he is, are others.
fn answers_are_kept_for_those_they_are_for(cluster: &System) {
    let lb = cluster.container("lb");
    let cache = |header: &str| {
        let said = lb
            .exec(&["curl", "-s", "-o", "/dev/null", "-D", "-", "-H", header, "http://localhost/style.css"])
            .well();
        let line = said.lines().find_map(|line| line.strip_prefix("X-Cache: ")).unwrap_or_default();
        line.trim().to_owned()
    };
    cache("Host: one");
    assert_eq!(cache("Host: one"), "HIT");
    assert_eq!(cache("Host: two"), "MISS");
    assert_eq!(cache("Host: two"), "HIT");
    assert_eq!(cache("Authorization: Basic YTpi"), "BYPASS");
    assert_eq!(cache("Authorization: Basic YTpi"), "BYPASS");
}

/// By the two lines of README.md: a dump to a file outside, everything dropped, the dump played back.
fn back_up_and_restore(cluster: &System) {
    sql(cluster, "CREATE TABLE notes AS SELECT n, md5(n::text) AS note FROM generate_series(1, 1000) n")
        .well();
    let sum = "SELECT count(*), sum(n), md5(string_agg(note, '' ORDER BY n)) FROM notes";
    let before = sql(cluster, sum).well();
    let dump = cluster.own_file("clusterdb.dump");
    let line = |program: &str| cluster.readme_line(program, "clusterdb.dump", &dump);
    cluster.shell(&line("pg_dump")).well();
    sql(cluster, "DROP TABLE notes").well();
    assert_ne!(sql(cluster, sum).code, 0, "it is gone");
    cluster.shell(&line("pg_restore")).well();
    assert_eq!(sql(cluster, sum).well(), before);
}

/// And ends in order: each with 0, within its grace, PostgreSQL with a last checkpoint.
fn down_and_up_keeps_the_data(cluster: &System) {
    for (services, grace) in [(&["lb"][..], 15), (&["web1", "web2", "web3"], 15), (&["db"], 45)] {
        let began = Instant::now();
        cluster.compose(&[&["stop"], services].concat()).well();
        assert!(began.elapsed() < Duration::from_secs(grace), "{services:?}: {:?}", began.elapsed());
    }
    for (service, _) in SERVICES {
        let container = cluster.container(service);
        assert_eq!(container.exit_code(), 0, "{service}: {}", container.words());
    }
    let words = cluster.container("db").words();
    assert!(words.contains("database system is shut down"), "{words}");
    cluster.compose(&["down"]).well();
    start(cluster, &[]);
    assert_eq!(sql(cluster, "SELECT count(*) FROM notes").well().trim(), "1000");
    let words = cluster.container("db").words();
    assert!(!words.contains("not properly shut down"), "{words}");
}

/// What must not change while something else in the container is repaired.
fn neighbours(container: &Container, unit: &str) -> Vec<(String, u64)> {
    container.pids().into_iter().filter(|(name, _)| name != unit).collect()
}

#[test]
fn every_service_of_the_cluster_is_killed_and_restarted_alone() {
    let Some(cluster) = up() else { return };
    for (service, units) in SERVICES {
        let container = cluster.container(service);
        for unit in units {
            let (same, others) = (container.identity(), neighbours(&container, unit));
            let old = container.kill(unit);
            let killed = container.wait_for_successor(unit, old);

            let load = Load::begin(&cluster.at("HTTP_PORT"), "/");
            load.go_on_to(40);
            container.svctl(&format!("restart {unit}"));
            load.go_on_to(load.asked() + 40);
            let told = load.end();
            assert_eq!(told.failed, 0, "{service}, restart {unit}: {:?}", told.why);
            assert_ne!(container.pid(unit), Some(killed));

            assert_eq!(container.identity(), same, "{service}, {unit}");
            assert_eq!(neighbours(&container, unit), others, "{service}, {unit}");
        }
    }
    inserts_survive_a_restart(&cluster);
    assert_eq!(senders(&cluster, 12).len(), 3);
}

#[test]
fn web_servers_go_and_come_and_are_scaled_and_nobody_notices() {
    let Some(cluster) = System::laid_out("cluster") else { return };
    // Nobody here is root, which is another variant of the database.
    let cluster = cluster.file("compose.start-interval.yaml").file("compose.rootless.yaml");
    items::open_secrets(&cluster);
    start(&cluster, &[]);
    assert_eq!(items::users(&cluster.container("db")), ["999"]);
    assert_eq!(sql(&cluster, "SELECT current_user").well().trim(), "cluster_user");

    hang_of_a_web_server_is_not_noticed(&cluster);
    let load = Load::begin(&cluster.at("HTTP_PORT"), "/");
    load.go_on_to(40);
    cluster.container("web1").stop();
    load.go_on_to(load.asked() + 100);
    docker(&["kill", &cluster.container("web2").name]).well();
    load.go_on_to(load.asked() + 100);
    let told = load.end();
    assert_eq!(told.failed, 0, "one and two of three gone: {:?}", told.why);
    assert_eq!(senders(&cluster, 6).len(), 1);

    cluster.container("web3").stop();
    cluster.wait_until("the load balancer says that nobody is there", || {
        cluster.http("HTTP_PORT", "/").is_ok_and(|answer| answer.status == 503)
    });
    assert_eq!(cluster.http("HTTP_PORT", "/").unwrap().header("Retry-After"), Some("2"));
    // What Docker asks of it, and that it will call it unhealthy after three times.
    let lb = cluster.container("lb");
    assert_eq!(lb.inspect("{{json .Config.Healthcheck.Test}}"), r#"["CMD","curl","-f","http://localhost"]"#);
    assert_ne!(lb.exec(&["curl", "-f", "http://localhost"]).code, 0);
    cluster.compose(&["start"]).well();
    cluster.wait_until("all three are back", || listed(&cluster) == 3);
    assert_eq!(senders(&cluster, 12).len(), 3);

    start(&cluster, &["--scale", "web1=5", "--scale", "web2=5", "--scale", "web3=5"]);
    let mut seen = BTreeSet::new();
    cluster.wait_until("all fifteen have sent a page", || {
        seen.append(&mut senders(&cluster, 15));
        seen.len() == 15
    });
}

/// Servers that the load balancer has found well.
fn listed(cluster: &System) -> usize {
    let list = cluster.container("lb").exec(&["cat", "/tmp/nginx/servers.conf"]).out;
    list.lines().filter(|line| line.starts_with("server ") && !line.contains("down")).count()
}

/// The load balancer leaves it out, and asks another one what it was silent about; svinit replaces it.
fn hang_of_a_web_server_is_not_noticed(cluster: &System) {
    let web = cluster.container("web1");
    let load = Load::begin(&cluster.at("HTTP_PORT"), "/");
    load.go_on_to(40);
    let old = items::hang(&web, "nginx");
    cluster.wait_until("it is left out", || listed(cluster) == 2);
    web.wait_for_successor("nginx", old);
    cluster.wait_until("it is taken in again", || listed(cluster) == 3);
    load.go_on_to(load.asked() + 40);
    let told = load.end();
    assert_eq!(told.failed, 0, "one of three hangs: {:?}", told.why);
}

/// Rows that were acknowledged while the database was restarted under them.
fn inserts_survive_a_restart(cluster: &System) {
    let db = cluster.container("db");
    sql(cluster, "CREATE TABLE counted (n int PRIMARY KEY)").well();
    let password = format!("PGPASSWORD={}", cluster.secret("postgres_password"));
    let insert = "n=0; while [ ! -e /tmp/over ]; do n=$((n + 1)); \
                  psql -qh 127.0.0.1 -U cluster_user -d clusterdb -c \"INSERT INTO counted VALUES ($n)\" 2>/dev/null && \
                  echo $n >>/tmp/acknowledged; done; touch /tmp/ended";
    docker(&["exec", "--detach", "--env", &password, &db.name, "sh", "-c", insert]).well();
    let acknowledged =
        || -> Vec<String> { db.exec(&["cat", "/tmp/acknowledged"]).out.lines().map(str::to_owned).collect() };
    cluster.wait_until("rows are inserted", || acknowledged().len() > 20);
    db.svctl("restart postgres");
    let so_far = acknowledged().len();
    cluster.wait_until("rows are inserted again", || acknowledged().len() > so_far + 20);
    db.exec(&["touch", "/tmp/over"]).well();
    cluster.wait_until("it has ended", || db.exec(&["test", "-e", "/tmp/ended"]).code == 0);
    let there = sql(cluster, "SELECT n FROM counted").well();
    let there: BTreeSet<&str> = there.lines().collect();
    let lost: Vec<String> = acknowledged().into_iter().filter(|n| !there.contains(n.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn the_file_has_the_numbers_of_its_first_authors() {
    if !is_there() {
        return;
    }
    let said = compose_config(&[&root().join("compose/cluster/compose.yaml")]).well();
    let config: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(config["networks"]["cluster-network"]["driver"], "bridge");
    for volume in ["cluster_db_data", "cluster_db_logs", "cluster_nginx_cache"] {
        let found = &config["volumes"][volume];
        assert_eq!((&found["name"], &found["driver"]), (&json!(volume), &json!("local")));
    }
    let is_healthy = json!({ "condition": "service_healthy", "required": true });
    assert_eq!(
        config["services"]["lb"]["depends_on"],
        json!({ "web1": is_healthy, "web2": is_healthy, "web3": is_healthy })
    );
    for (name, _) in SERVICES {
        let service = &config["services"][name];
        let check = match name {
            "db" => json!(["CMD", "pg_isready", "-U", "cluster_user", "-d", "clusterdb"]),
            _ => json!(["CMD", "curl", "-f", "http://localhost"]),
        };
        let timing = json!({ "test": check, "interval": "30s", "timeout": "10s", "retries": 3, "start_period": "40s" });
        assert_eq!(service["healthcheck"], timing, "{name}");
        let resources = &service["deploy"]["resources"];
        assert_eq!(resources["limits"]["cpus"].as_f64(), Some(1.0), "{name}");
        assert_eq!(resources["limits"]["memory"], "536870912", "{name}");
        assert_eq!(resources["reservations"]["memory"], "268435456", "{name}");
        assert_eq!(service["networks"], json!({ "cluster-network": null }), "{name}");
        let published: Vec<&str> = service["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|port| port["published"].as_str())
            .collect();
        let expected: &[&str] = match name {
            "lb" => &["8080"],
            "db" => &["5432"],
            _ => &[],
        };
        assert_eq!(published, expected, "{name}");
    }
}
