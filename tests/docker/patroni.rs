//! compose/swarm-postgres on one machine: etcd, PostgreSQL under Patroni, HAProxy, broken in every way one after the other while
//! somebody writes through HAProxy without a pause.
//!
//! What was acknowledged is counted at the end, and must be there. Of each fault the longest time without an acknowledgement is
//! told; NUMBERS=1 UPDATE=1 writes that table into the system's README.

#![expect(clippy::disallowed_methods, reason = "measures by a clock")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::{Container, Identity, Said, System, docker, image, root, wait_until};
use crate::{items, numbers};

const ETCD: [&str; 3] = ["etcd1", "etcd2", "etcd3"];
const POSTGRES: [&str; 3] = ["postgres1", "postgres2", "postgres3"];

/// After a fault is healed, so many more rows are to be acknowledged.
const ROWS_AFTER: usize = 60;

/// Asks who leads, on a new connection each time, until 100 have answered. What fails asks again.
const ASK: &str = "
import sys, psycopg2
answers = []
while len(answers) < 100:
    try:
        connection = psycopg2.connect(sys.argv[1], connect_timeout=5)
        cursor = connection.cursor()
        cursor.execute('SELECT pg_is_in_recovery()')
        answers.append(cursor.fetchone()[0])
        connection.close()
    except psycopg2.Error:
        pass
print(answers.count(False), 'times the leader,', answers.count(True), 'times another')
";

/// A leader that is silent for longer may be followed by another one (`ttl` of Patroni, with room). Only a machine that is
/// busy with other things takes so long to start a process.
const LEASE: f64 = 20.0;

/// A container that writes numbers through HAProxy, and says which were acknowledged and when.
pub(crate) struct Writer {
    container: Container,
}

impl Writer {
    fn begin(system: &System) -> Self {
        let network = format!("{}_overlay_network", system.project);
        let to = "host=haproxy port=5000 user=app dbname=app";
        Self::of(&system.project, &network, &system.secret("app_password"), to)
    }

    /// In that network, with a name of its own, to where libpq is told.
    pub(crate) fn of(name: &str, network: &str, password: &str, to: &str) -> Self {
        let (name, password) = (format!("{name}-writer"), format!("PGPASSWORD={password}"));
        let run =
            ["run", "--detach", "--pull", "never", "--name", &name, "--network", network, "--env", &password];
        let program = ["--entrypoint", "python3", &image("patroni"), "-c", include_str!("writer.py"), to];
        docker(&[&run[..], &program].concat()).well();
        Self { container: Container { name } }
    }

    /// Numbers that were acknowledged, and when, in order.
    fn acknowledged(&self) -> Vec<(u64, f64)> {
        let said = docker(&["logs", &self.container.name]).well();
        let row = |line: &str| {
            let (number, time) = line.split_once(' ')?;
            Some((number.parse().ok()?, time.parse().ok()?))
        };
        said.lines().filter_map(row).collect()
    }

    /// Waits until more is acknowledged; `said` is what is told if that does not happen.
    #[track_caller]
    pub(crate) fn goes_on(&self, said: impl Fn() -> String) {
        let so_far = self.acknowledged().len();
        wait_until("rows are written", said, || self.acknowledged().len() > so_far + ROWS_AFTER);
    }

    /// The longest time without an acknowledgement since then, in seconds.
    pub(crate) fn longest_gap(&self, since: f64) -> f64 {
        let times: Vec<f64> = self.acknowledged().into_iter().map(|(_, time)| time).collect();
        let gaps = times.windows(2).filter(|pair| pair[1] >= since).map(|pair| pair[1] - pair[0]);
        gaps.fold(0.0, f64::max)
    }

    /// Ends it, and looks for each number that was acknowledged; says how many rows there are.
    #[track_caller]
    pub(crate) fn has_lost_nothing(&self, sql: impl Fn(&str) -> String) -> usize {
        sql("CREATE TABLE over ()");
        let words = || docker(&["logs", "--tail", "20", &self.container.name]).out;
        wait_until("the writer has ended", words, || self.container.inspect("{{.State.Running}}") == "false");
        let acknowledged = self.acknowledged();
        let there: BTreeSet<u64> =
            sql("SELECT n FROM written").lines().filter_map(|line| line.parse().ok()).collect();
        let lost: Vec<u64> = acknowledged.iter().map(|(n, _)| *n).filter(|n| !there.contains(n)).collect();
        println!("{} acknowledged, {} lost", acknowledged.len(), lost.len());
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        there.len()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.container.name]);
    }
}

pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// All that is done to the cluster, and what it has cost.
struct Trial {
    system: System,
    writer: Writer,
    table: String,
}

impl Trial {
    /// Breaks something and waits until it is `healed`, and until more is acknowledged; `by` is who is to heal it. Gives the
    /// longest time without an acknowledgement, in seconds.
    #[track_caller]
    fn fault<T>(
        &mut self,
        what: &str,
        by: &str,
        act: impl FnOnce(&System) -> T,
        mut healed: impl FnMut(&System) -> bool,
    ) -> f64 {
        self.writer.goes_on(|| self.system.words());
        let since = now();
        act(&self.system);
        self.system.wait_until(what, || healed(&self.system));
        self.writer.goes_on(|| self.system.words());
        let gap = self.writer.longest_gap(since);
        println!("{what}: {gap:.2} s without an acknowledgement");
        let _ = writeln!(self.table, "| {what} | {by} | {gap:.1} s |");
        gap
    }
}

/// What a member says of itself: `leader`, `quorum_standby` ...
fn role(member: &Container) -> String {
    member.exec(&["member", "role"]).out.trim().to_owned()
}

#[track_caller]
fn leader(system: &System) -> Container {
    let mut found = None;
    system.wait_until("somebody leads", || {
        found = POSTGRES.iter().map(|name| system.container(name)).find(|member| role(member) == "leader");
        found.is_some()
    });
    found.expect("was waited for")
}

/// The leader, and two that follow it and are acknowledged with.
#[track_caller]
fn everybody_is_there(system: &System) {
    for name in POSTGRES {
        system.container(name).exec(&["member", "wait"]).well();
    }
}

fn is_postgres_up(member: &Container) -> bool {
    member.exec(&["pg_isready", "-q", "-h", "/tmp/postgresql"]).code == 0
}

fn postmaster(member: &Container) -> String {
    member.exec(&["head", "-n", "1", "/var/lib/postgresql/data/postmaster.pid"]).well().trim().to_owned()
}

/// An SQL command through HAProxy, as the application does it.
fn sql(system: &System, port: &str, command: &str) -> Said {
    let password = format!("PGPASSWORD={}", system.secret("app_password"));
    let psql =
        ["env", &password, "psql", "-h", "haproxy", "-p", port, "-U", "app", "-d", "app", "-Atc", command];
    system.container("postgres1").exec(&psql)
}

#[test]
fn a_replicated_database_loses_nothing_whatever_fails() {
    if std::env::var_os("PATRONI").is_none() {
        println!(
            "left out: every fault of a replicated database takes ten minutes; PATRONI=1, or make patroni"
        );
        return;
    }
    let Some(system) = System::up("swarm-postgres") else { return };
    everybody_is_there(&system);
    it_is_as_it_was_asked_for(&system);

    let writer = Writer::begin(&system);
    let mut trial = Trial { system, writer, table: String::new() };
    processes_are_killed(&mut trial);
    containers_are_killed(&mut trial);
    the_leader_changes(&mut trial);

    let Trial { system, writer, table } = trial;
    what_was_acknowledged_is_there(&system, &writer);
    drop(writer);
    a_backup_is_kept_and_restored(&system);
    publish(&system, &table);
    it_ends_in_order_and_comes_back(&system);
}

fn it_is_as_it_was_asked_for(system: &System) {
    for (names, unit, user) in
        [(&ETCD[..], "etcd", "102"), (&POSTGRES, "patroni", "999"), (&["haproxy"], "haproxy", "103")]
    {
        for name in names {
            let container = system.container(name);
            let pid = container.pid(unit).expect("it runs");
            assert_eq!(
                container.exec(&["stat", "-c", "%u", &format!("/proc/{pid}")]).well().trim(),
                user,
                "{name}"
            );
            assert_eq!(container.health(), "healthy", "{name}");
        }
    }
    let leader = leader(system);
    for name in POSTGRES {
        let member = system.container(name);
        let says = member.unit("patroni")["status_text"].as_str().unwrap_or_default().to_owned();
        let expected = if member.name == leader.name { "leader of main" } else { "replica of main" };
        assert_eq!(says, expected, "{name}");
        let same = member.pid("patroni");
        member.svctl("reload patroni");
        assert_eq!(member.pid("patroni"), same, "a reload is by HUP");
    }
    let haproxy = system.container("haproxy");
    let same = haproxy.pid("haproxy");
    haproxy.svctl("reload haproxy");
    assert_eq!(haproxy.pid("haproxy"), same);
    // 5000 is who leads, 5001 who does not.
    assert_eq!(sql(system, "5000", "SELECT pg_is_in_recovery()").well().trim(), "f");
    assert_eq!(sql(system, "5001", "SELECT pg_is_in_recovery()").well().trim(), "t");
    assert_eq!(system.http("STATS_PORT", "/primary").unwrap().status, 200);
    assert!(system.http("STATS_PORT", "/metrics").unwrap().body.contains("haproxy_server_status"));

    // Patroni's own port: everybody may look, who has the password may change something.
    let post = |with: &str| {
        let ask = format!(
            "import urllib.request as u, base64, os; r = u.Request('http://{}:8008/reload', method='POST', headers={with}); u.urlopen(r)",
            leader.exec(&["printenv", "PATRONI_NAME"]).well().trim()
        );
        leader.exec(&["python3", "-c", &ask])
    };
    let refused = post("{}");
    assert!(refused.code != 0 && refused.err.contains("401"), "{}", refused.err);
    let password = format!("patroni:{}", system.secret("patroni_password"));
    let header = format!("{{'Authorization': 'Basic ' + base64.b64encode(b'{password}').decode()}}");
    post(&header).well();

    // The secrets are nowhere but in their files and in who needs them.
    for secret in ["app_password", "replication_password", "rewind_password", "patroni_password"]
        .map(|name| system.secret(name))
    {
        for told in [
            leader.inspect("{{json .Config}}"),
            leader.svctl("cat patroni"),
            leader.svctl("env patroni"),
            leader.words(),
        ] {
            assert!(!told.contains(&secret), "{told}");
        }
    }
    // The superuser comes in from inside only.
    let outside =
        leader.exec(&["env", "PGPASSWORD=x", "psql", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT 1"]);
    assert!(outside.code != 0 && outside.err.contains("pg_hba.conf rejects"), "{}", outside.err);
}

/// In its container each is replaced by its neighbour or by svinit, and nobody else takes over.
fn processes_are_killed(trial: &mut Trial) {
    let first = leader(&trial.system);
    let (same, patroni, old) = (first.identity(), first.pid("patroni"), postmaster(&first));
    let gap = trial.fault(
        "`kill -9` of the leader's PostgreSQL",
        "Patroni, in its container",
        |_| first.disaster(&["kill", "-9", &old]).well(),
        |_| is_postgres_up(&first) && postmaster(&first) != old,
    );
    everybody_is_there(&trial.system);
    assert_eq!((first.identity(), first.pid("patroni")), (same, patroni));
    assert!(gap > LEASE || role(&first) == "leader", "nobody else has led meanwhile");

    let first = leader(&trial.system);
    let (same, old, postgres) =
        (first.identity(), first.pid("patroni").expect("it runs"), postmaster(&first));
    let gap = trial.fault(
        "`kill -9` of the leader's Patroni",
        "svinit, in its container; PostgreSQL goes on",
        |system| {
            first.kill("patroni");
            let another = || first.pid("patroni").is_some_and(|pid| pid != old);
            system.wait_until("there is another Patroni", another);
            assert_eq!(postmaster(&first), postgres, "PostgreSQL goes on without it");
        },
        |_| is_replaced(&first, "patroni", old),
    );
    everybody_is_there(&trial.system);
    assert_eq!(first.identity(), same);
    if gap <= LEASE {
        assert_eq!((postmaster(&first), role(&first).as_str()), (postgres, "leader"), "and is taken over");
        assert_eq!(first.unit("patroni")["status_text"], "leader of main");
    }

    for (service, unit) in [("haproxy", "haproxy"), ("etcd1", "etcd")] {
        let container = trial.system.container(service);
        let (same, old) = (container.identity(), container.pid(unit).expect("it runs"));
        trial.fault(
            &format!("`kill -9` of {unit}"),
            "svinit, in its container",
            |_| container.kill(unit),
            |_| is_replaced(&container, unit, old),
        );
        assert_eq!(container.identity(), same);
    }
    everybody_is_there(&trial.system);
}

fn is_replaced(container: &Container, unit: &str, old: u64) -> bool {
    let now = container.unit(unit);
    now["state"] == "ready" && now["pid"].as_u64().is_some_and(|pid| pid != old)
}

fn containers_are_killed(trial: &mut Trial) {
    let first = leader(&trial.system);
    trial.fault(
        "`docker restart` of the leader's container",
        "Docker; another one leads",
        |_| docker(&["restart", "--time", "45", &first.name]).well(),
        |_| is_postgres_up(&first),
    );
    everybody_is_there(&trial.system);

    // With its data: the others have to take another one in under its name.
    let volume = format!("{}_swarm_etcd2_data", trial.system.project);
    let healthy = ["etcdctl", "endpoint", "health", "--cluster"];
    trial.fault(
        "a member of etcd lost with its volume, and a new one in its place",
        "the unit `etcd-member` of the new one",
        |system| {
            system.compose(&["rm", "--force", "--stop", "etcd2"]).well();
            docker(&["volume", "rm", &volume]).well();
            system.compose(&["up", "--detach", "--pull", "never", "etcd2"]).well();
        },
        |system| system.container("etcd2").exec(&healthy).code == 0,
    );
    let words = trial.system.container("etcd2").words();
    assert!(words.contains("it is taken in anew"), "{words}");

    let second = leader(&trial.system);
    trial.fault(
        "`docker kill` of the leader's container, as when its node is lost",
        "Patroni: another one leads",
        |_| docker(&["kill", &second.name]).well(),
        |system| POSTGRES.iter().map(|name| system.container(name)).any(|one| role(&one) == "leader"),
    );
    docker(&["start", &second.name]).well();
    everybody_is_there(&trial.system);
    assert_eq!(role(&second), "quorum_standby", "it has come back by itself, and follows");
}

fn the_leader_changes(trial: &mut Trial) {
    let first = leader(&trial.system);
    let switchover = ["svctl", "exec", "patroni", "--", "patronictl", "switchover", "--force"];
    trial.fault(
        "`patronictl switchover`",
        "planned",
        |_| first.exec(&switchover).well(),
        |_| role(&first) == "quorum_standby",
    );
    everybody_is_there(&trial.system);

    let before: Vec<_> = POSTGRES.iter().map(|name| member_now(&trial.system, name)).collect();
    let restart = root().join("compose/swarm-postgres/restart");
    trial.fault(
        "`restart --replica-first`: every member, one after the other",
        "planned",
        |system| system.shell(&format!("{} --replica-first", restart.display())).well(),
        |_| true,
    );
    everybody_is_there(&trial.system);
    for (name, (identity, pid)) in POSTGRES.iter().zip(before) {
        let (now, successor) = member_now(&trial.system, name);
        assert!(now == identity && successor != pid, "{name}: in its container");
    }
}

fn member_now(system: &System, name: &str) -> (Identity, Option<u64>) {
    let member = system.container(name);
    (member.identity(), member.pid("patroni"))
}

/// On the leader and, soon, on the others.
fn what_was_acknowledged_is_there(system: &System, writer: &Writer) {
    let rows = writer.has_lost_nothing(|command| sql(system, "5000", command).well());
    for name in POSTGRES {
        let member = system.container(name);
        system.wait_until("each member has all of it", || {
            inside(&member, "SELECT count(*) FROM written").trim() == rows.to_string()
        });
    }
}

/// As the superuser, from inside.
fn inside(member: &Container, command: &str) -> String {
    let psql = [
        "svctl",
        "exec",
        "patroni",
        "--",
        "psql",
        "-h",
        "/tmp/postgresql",
        "-U",
        "postgres",
        "-d",
        "app",
        "-Atc",
    ];
    member.exec(&[&psql[..], &[command]].concat()).out
}

fn a_backup_is_kept_and_restored(system: &System) {
    let (leader, sum) = (leader(system), "SELECT count(*), sum(n) FROM written");
    let before = sql(system, "5000", sum).well();
    let files = |member: &Container| member.exec(&["ls", "/var/backups/postgresql"]).well();
    for name in POSTGRES {
        let member = system.container(name);
        member.svctl("start backup");
        assert_eq!(files(&member).lines().count(), 1, "{name} has its own");
    }
    sql(system, "5000", "DROP TABLE written").well();
    leader.exec(&["restore"]).well();
    assert_eq!(sql(system, "5000", sum).well(), before);

    // From another member's, by the lines of README.md.
    let dump = system.own_file("app.dump");
    sql(system, "5000", "DELETE FROM written").well();
    system.shell(&system.readme_line("cat", "app.dump", &dump)).well();
    let service = leader.inspect("{{index .Config.Labels \"com.docker.compose.service\"}}");
    let line = system.readme_line("restore -", "app.dump", &dump).replace("postgres1", &service);
    system.shell(&line).well();
    assert_eq!(sql(system, "5000", sum).well(), before);

    // The newest BACKUP_KEEP stay.
    let make_old =
        "for day in 1 2 3 4 5 6 7 8 9; do touch /var/backups/postgresql/app-2000010${day}T000000Z.dump; done";
    leader.exec(&["svctl", "exec", "patroni", "--", "sh", "-c", make_old]).well();
    leader.svctl("start backup");
    let kept = files(&leader);
    assert_eq!(kept.lines().count(), 7, "{kept}");
    assert!(!kept.contains("20000104") && kept.contains("20000105"), "the oldest go: {kept}");

    let follows =
        POSTGRES.iter().map(|name| system.container(name)).find(|one| one.name != leader.name).unwrap();
    let refused = follows.exec(&["restore"]);
    assert!(refused.code != 0 && refused.err.contains("does not lead"), "{}", refused.err);
    leader.svctl("start database");
}

/// Memory of svinit in each container, and the table of faults.
fn publish(system: &System, faults: &str) {
    let mut memory = String::from("| container | svinit | the whole container |\n| --- | ---: | ---: |\n");
    for name in ETCD.iter().chain(&POSTGRES).chain(&["haproxy"]) {
        let container = system.container(name);
        let rollup = container.disaster(&["grep", "^Pss:", "/proc/1/smaps_rollup"]).well();
        let own: f64 = rollup.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap();
        let said = docker(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &container.name]).well();
        let whole = said.split(" / ").next().unwrap_or_default().replace("MiB", " MiB");
        let _ = writeln!(memory, "| `{name}` | {:.1} MiB | {whole} |", own / 1024.0);
    }
    println!("{faults}\n{memory}");
    let faults = format!(
        "| what | healed by | longest time without an acknowledged write |\n| --- | --- | ---: |\n{faults}"
    );
    let readme = "compose/swarm-postgres/README.md";
    numbers::publish(readme, "faults", &faults);
    numbers::publish(readme, "memory", &memory);
}

/// All that it has said.
fn lines(container: &Container) -> String {
    let said = docker(&["logs", &container.name]);
    format!("{}{}", said.out, said.err)
}

fn it_ends_in_order_and_comes_back(system: &System) {
    system.compose(&["stop"]).well();
    for name in ETCD.iter().chain(&POSTGRES).chain(&["haproxy"]) {
        let container = system.container(name);
        assert_eq!(container.exit_code(), 0, "{name}: {}", container.words());
    }
    for name in POSTGRES {
        let said = lines(&system.container(name));
        let last = said.lines().rev().find(|line| line.contains("database system is "));
        assert!(last.is_some_and(|line| line.ends_with("shut down")), "{name}: {last:?}");
    }
    // Nobody waits for anybody by order of Compose: all start at once, and the units wait.
    system.compose(&["down"]).well();
    system.start(&[]);
    everybody_is_there(system);
    assert_ne!(sql(system, "5000", "SELECT count(*) FROM written").well().trim(), "0");
    for name in POSTGRES {
        let said = lines(&system.container(name));
        assert!(!said.contains("not properly shut down"), "{name}");
    }
}

/// Nobody here is root: svinit is postgres, and any other number as well.
#[test]
fn the_replicated_database_runs_without_root() {
    let Some(system) = System::laid_out("swarm-postgres") else { return };
    let other = |name: &&str| format!("  {name}: {{ user: \"12345:0\" }}\n");
    let others: String = ["etcd1", "haproxy"].iter().chain(&POSTGRES).map(other).collect();
    let system = system.file("compose.rootless.yaml").overlay(&format!("services:\n{others}"));
    items::open_secrets(&system);
    system.start(&[]);
    everybody_is_there(&system);
    for name in ["etcd1", "haproxy", "postgres1"] {
        assert_eq!(items::users(&system.container(name)), ["12345"], "{name}");
    }
    sql(&system, "5000", "CREATE TABLE written (n int)").well();
    whoever_writes_is_given_to_the_leader_whenever_it_comes(&system);
    whoever_reads_is_given_to_the_leader_when_nobody_follows(&system);
}

/// HAProxy is replaced meanwhile, by a reload and by a restart.
fn whoever_writes_is_given_to_the_leader_whenever_it_comes(system: &System) {
    let haproxy = system.container("haproxy");
    let to = format!("host=haproxy port=5000 user=app dbname=app password={}", system.secret("app_password"));
    for round in 0..4 {
        let (member, to) = (system.container("postgres1"), to.clone());
        let asking = thread::spawn(move || member.exec(&["python3", "-c", ASK, &to]).well());
        for act in ["reload haproxy", "restart haproxy", "reload haproxy"] {
            system.wait_until("it knows who leads", || haproxy.exec(&["haproxy-asks", "/primary"]).code == 0);
            haproxy.svctl(act);
        }
        let said = asking.join().expect("it has asked");
        assert_eq!(said.trim(), "100 times the leader, 0 times another", "round {round}");
    }
}

fn whoever_reads_is_given_to_the_leader_when_nobody_follows(system: &System) {
    let leader = leader(system);
    let others =
        POSTGRES.map(|name| system.container(name)).into_iter().filter(|one| one.name != leader.name);
    let others: Vec<Container> = others.collect();
    for other in &others {
        docker(&["pause", &other.name]).well();
    }
    let password = format!("PGPASSWORD={}", system.secret("app_password"));
    let psql = [
        "psql",
        "-h",
        "haproxy",
        "-p",
        "5001",
        "-U",
        "app",
        "-d",
        "app",
        "-Atc",
        "SELECT pg_is_in_recovery()",
    ];
    system.wait_until("the leader answers who reads", || {
        leader.exec(&[&["env", &password, "PGCONNECT_TIMEOUT=2"][..], &psql].concat()).out.trim() == "f"
    });
    for other in &others {
        docker(&["unpause", &other.name]).well();
    }
    everybody_is_there(system);
}
