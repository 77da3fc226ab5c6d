//! compose/cluster: a load balancer, three web servers and PostgreSQL, brought up by one command, broken and healed.

#![expect(clippy::disallowed_methods, reason = "measures by a clock")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::engine::load::Load;
use crate::engine::{Container, Said, System};

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
    cluster.start(&[]);
    Some(cluster)
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

    back_up_and_restore(&cluster);
    down_and_up_keeps_the_data(&cluster);
}

/// As README.md writes it: a dump to a file outside, everything dropped, the dump played back.
fn back_up_and_restore(cluster: &System) {
    sql(cluster, "CREATE TABLE notes AS SELECT n, md5(n::text) AS note FROM generate_series(1, 1000) n")
        .well();
    let sum = "SELECT count(*), sum(n), md5(string_agg(note, '' ORDER BY n)) FROM notes";
    let before = sql(cluster, sum).well();
    let dump = [
        "exec",
        "-T",
        "db",
        "svctl",
        "exec",
        "postgres",
        "--",
        "pg_dump",
        "-Fc",
        "-f",
        "/tmp/clusterdb.dump",
        "clusterdb",
    ];
    cluster.compose(&dump).well();
    sql(cluster, "DROP TABLE notes").well();
    assert_ne!(sql(cluster, sum).code, 0, "it is gone");
    let restore = [
        "exec",
        "-T",
        "db",
        "svctl",
        "exec",
        "postgres",
        "--",
        "pg_restore",
        "--clean",
        "--if-exists",
        "-d",
        "clusterdb",
        "/tmp/clusterdb.dump",
    ];
    cluster.compose(&restore).well();
    assert_eq!(sql(cluster, sum).well(), before);
}

/// And ends in order: each with 0, within its grace, PostgreSQL with a last checkpoint.
fn down_and_up_keeps_the_data(cluster: &System) {
    let began = Instant::now();
    cluster.compose(&["stop"]).well();
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    for (service, _) in SERVICES {
        let container = cluster.container(service);
        assert_eq!(container.exit_code(), 0, "{service}: {}", container.words());
    }
    let words = cluster.container("db").words();
    assert!(words.contains("database system is shut down"), "{words}");
    cluster.compose(&["down"]).well();
    cluster.start(&[]);
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
    assert_eq!(sql(&cluster, "SELECT 1").well().trim(), "1");
    assert_eq!(senders(&cluster, 12).len(), 3);
}

#[test]
fn web_servers_go_and_come_and_are_scaled_and_nobody_notices() {
    let Some(cluster) = up() else { return };
    let load = Load::begin(&cluster.at("HTTP_PORT"), "/");
    load.go_on_to(40);
    cluster.container("web1").stop();
    load.go_on_to(load.asked() + 100);
    crate::engine::docker(&["kill", &cluster.container("web2").name]).well();
    load.go_on_to(load.asked() + 100);
    let told = load.end();
    assert_eq!(told.failed, 0, "one and two of three gone: {:?}", told.why);
    assert_eq!(senders(&cluster, 6).len(), 1);

    cluster.container("web3").stop();
    cluster.wait_until("the load balancer says that nobody is there", || {
        cluster.http("HTTP_PORT", "/").is_ok_and(|answer| answer.status == 503)
    });
    cluster.compose(&["start"]).well();
    cluster.wait_until("all three are back", || {
        let lists = cluster.container("lb").exec(&["cat", "/tmp/nginx/servers.conf"]);
        lists.out.lines().filter(|line| line.starts_with("server ") && !line.contains("down")).count() == 3
    });
    assert_eq!(senders(&cluster, 12).len(), 3);

    cluster.start(&["--scale", "web1=5", "--scale", "web2=5", "--scale", "web3=5"]);
    let mut seen = BTreeSet::new();
    cluster.wait_until("all fifteen have sent a page", || {
        seen.append(&mut senders(&cluster, 15));
        seen.len() == 15
    });
}
