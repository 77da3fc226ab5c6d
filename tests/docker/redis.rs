//! The system redis: a master, two replicas and three Sentinels. What is killed is healed in its container, and what is
//! lost has a successor; how long writes wait meanwhile is the table of its README.

#![expect(clippy::disallowed_methods, reason = "measures by a clock, and kills from outside")]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dashboards;
use crate::engine::{Container, System, TAG, docker, is_there, root, run, unique, wait_until};
use crate::items;
use crate::numbers::{publish, rounds};

/// Those at fixed addresses, and the last number of each.
const SERVERS: [(&str, u8); 3] = [("redis-master", 2), ("redis-replica-1", 3), ("redis-replica-2", 4)];
const SENTINELS: [(&str, u8); 3] =
    [("redis-sentinel-1", 5), ("redis-sentinel-2", 6), ("redis-sentinel-3", 7)];

/// Writes that are acknowledged before a fault, and after it until it counts as healed.
const WRITES: u64 = 50;

/// With the application that writes and reads, at 172.19 or wherever room is.
fn laid_out() -> Option<System> {
    let system = System::laid_out("redis")?;
    let free = system.shell("compose/redis/preflight --free").well();
    // The machine may be busy with other work, and then a successor takes its time.
    Some(system.set("REDIS_NET", free.trim()).set("COMPOSE_PROFILES", "demo").set("REDIS_PATIENCE", "35"))
}

/// The master and the replicas, as the application knows them of the Sentinels.
fn known(system: &System) -> (String, Vec<String>) {
    let answer = system.http("HTTP_PORT", "/status").unwrap();
    let status: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let replicas = status["replicas"].as_array().map(|all| all.iter().map(name).collect());
    (name(&status["master"]), replicas.unwrap_or_default())
}

/// What redis-cli says when everything is allowed; words between blanks.
fn admin(container: &Container, words: &str) -> String {
    container.exec(&[&["redis-admin", "--raw"], &words.split(' ').collect::<Vec<_>>()[..]].concat()).out
}

fn sentinel(system: &System, name: &str, words: &str) -> String {
    admin(&system.container(name), &format!("-p 26379 sentinel {words}"))
}

/// Waits until the Sentinels know so many replicas, and could name another master.
fn wait_until_settled(system: &System, replicas: usize) {
    system.wait_until(&format!("{replicas} replicas are known, and the Sentinels each other"), || {
        known(system).1.len() == replicas
            && SENTINELS.iter().all(|(name, _)| sentinel(system, name, "ckquorum mymaster").starts_with("OK"))
    });
}

/// A client that writes one key after the other, through the application.
struct Writer {
    over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Written>,
}

#[derive(Default)]
struct Written {
    /// Keys whose writing was acknowledged, and when.
    acknowledged: Vec<(Instant, String)>,
    refused: Vec<String>,
}

impl Writer {
    fn begin(at: &str, prefix: &str) -> Self {
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (at, prefix, ended, counted) =
            (at.to_owned(), prefix.to_owned(), Arc::clone(&over), Arc::clone(&count));
        let write = move || {
            let mut written = Written::default();
            while !ended.load(Ordering::Relaxed) {
                let key = format!("{prefix}{}", counted.load(Ordering::Relaxed));
                match items::send(&at, "PUT", &format!("/keys/{key}"), &json!("written")) {
                    Ok(answer) if answer.status == 200 => written.acknowledged.push((Instant::now(), key)),
                    Ok(answer) => written.refused.push(answer.body),
                    Err(why) => written.refused.push(why),
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            written
        };
        Self { over, count, thread: Builder::new().spawn(write).expect("a thread") }
    }

    /// Waits for so many more writes.
    fn go_on(&self, more: u64) {
        let until = self.count.load(Ordering::Relaxed) + more;
        wait_until("writes go on", String::new, || self.count.load(Ordering::Relaxed) >= until);
    }

    fn end(self) -> Written {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What a fault has cost.
struct Cost {
    /// Longest time in which no write was acknowledged.
    longest: Duration,
    acknowledged: usize,
    lost: usize,
    /// Whether the Sentinels have named another master.
    is_another: bool,
}

/// Does this harm to the master's container while a client writes: no write may be refused, and none that was
/// acknowledged lost.
fn harmed(system: &System, what: &str, harm: impl FnOnce(&str, &Container)) -> Cost {
    let (before, _) = known(system);
    let container = system.container(&before);
    let prefix = format!("{}:", unique(&what.replace(' ', "-")));
    let writer = Writer::begin(&system.at("HTTP_PORT"), &prefix);
    writer.go_on(WRITES);
    let began = Instant::now();
    harm(&before, &container);
    writer.go_on(WRITES);
    let written = writer.end();
    assert!(written.refused.is_empty(), "{what}: the client goes on: {:?}", written.refused);

    let times = written.acknowledged.windows(2).filter(|pair| pair[1].0 > began);
    let longest = times.map(|pair| pair[1].0 - pair[0].0).max().expect("something was written");
    let there = keys(system, &prefix);
    let lost = written.acknowledged.iter().filter(|(_, key)| !there.contains(key)).count();
    assert_eq!(lost, 0, "{what}: of {} that were acknowledged", written.acknowledged.len());
    let is_another = known(system).0 != before;
    Cost { longest, acknowledged: written.acknowledged.len(), lost, is_another }
}

fn keys(system: &System, prefix: &str) -> Vec<String> {
    let answer = system.http("HTTP_PORT", &format!("/keys?prefix={prefix}")).unwrap();
    serde_json::from_str(&answer.body).unwrap_or_else(|why| panic!("{why}: {}", answer.body))
}

/// A server that was away takes its place as a replica, and was never anything else since it came back.
fn wait_until_it_follows(system: &System, name: &str) {
    let container = system.container(name);
    system.wait_until(&format!("{name} is a replica again"), || {
        known(system).1.iter().any(|replica| replica == name)
            && admin(&container, "info replication").contains("master_link_status:up")
    });
}

#[test]
fn faults_are_healed_and_give_the_numbers_of_its_readme() {
    let Some(system) = laid_out() else { return };
    dashboards::build_images();
    system.start(&[]);
    dashboards::start(&system);
    wait_until_settled(&system, 2);
    names_and_rights_are_as_they_should(&system);

    let mut rows = String::new();
    let mut row = |fault: &str, by: &str, how: &dyn Fn() -> Cost| {
        let count = rounds().min(3);
        let mut costs: Vec<Cost> = (0..count).map(|_| how()).collect();
        costs.sort_by_key(|cost| cost.longest);
        let middle = &costs[count / 2];
        let (all, lost) =
            costs.iter().fold((0, 0), |sum, cost| (sum.0 + cost.acknowledged, sum.1 + cost.lost));
        let another = if middle.is_another { "yes" } else { "no" };
        let _ = writeln!(
            rows,
            "| {fault} | {by} | {another} | {} ms | {lost} of {all} |",
            middle.longest.as_millis()
        );
    };
    row("Redis is killed (`kill -9`)", "its svinit", &|| killed(&system));
    row("a Sentinel is killed (`kill -9`)", "its svinit", &|| sentinel_killed(&system));
    // For the table only: what a person does, what Docker does without svinit's help, and what takes a check long.
    if rounds() > 1 {
        row("`svctl restart redis`", "its svinit", &|| {
            harmed(&system, "unit restarted", |_, container| drop(container.svctl("restart redis")))
        });
        row("`docker restart`", "Docker", &|| {
            settled_after(&system, "container restarted", |_, container| {
                docker(&["restart", &container.name]).well();
            })
        });
        row("svinit is killed, and the container with it", "Docker (`restart: unless-stopped`)", &|| {
            settled_after(&system, "first process killed", |_, container| {
                Command::new("kill").args(["-9", &container.identity().pid]).status().unwrap();
            })
        });
        row("Redis hangs (`kill -STOP`)", "the Sentinels; its svinit replaces it", &|| {
            settled_after(&system, "hung", |_, container| {
                items::hang(container, "redis");
            })
        });
    }
    row("the container is gone (`docker kill`)", "the Sentinels", &|| lost(&system));
    let cut_off = std::cell::RefCell::new(String::new());
    row("the container is cut off (`docker network disconnect`)", "the Sentinels", &|| {
        cut(&system, &mut cut_off.borrow_mut())
    });
    let table = format!(
        "| fault, of the master's container | repaired by | another master | longest time without an acknowledged write | acknowledged and lost |\n\
         |---|---|---|---:|---:|\n{rows}"
    );
    let memory = memory(&system);
    println!("{table}\n{}\n{memory}", cut_off.borrow());
    publish("compose/redis/README.md", "faults", &table);
    publish("compose/redis/README.md", "cut off", &cut_off.borrow());
    publish("compose/redis/README.md", "memory", &memory);
    dashboards::show_something_in_every_panel(&system);
}

/// The fixed addresses; nobody but Redis's user; and nothing but a ping without a password.
fn names_and_rights_are_as_they_should(system: &System) {
    for (name, last) in SERVERS.iter().chain(&SENTINELS) {
        let container = system.container(name);
        let address = container.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
        assert_eq!(address, format!("{}.0.{last}", system.get("REDIS_NET")), "{name}");
        assert_eq!(items::users(&container), ["999"], "{name}");
        assert_eq!(container.inspect("{{.HostConfig.PortBindings}}"), "map[]", "{name} publishes nothing");
    }
    let master = system.container("redis-master");
    let cli = |words: &[&str]| master.exec(&[&["redis-cli"], words].concat()).out;
    assert_eq!(cli(&["ping"]), "PONG\n");
    for words in [&["get", "a"][..], &["info"], &["config", "get", "dir"]] {
        assert!(cli(words).starts_with("NOPERM"), "{words:?}: {}", cli(words));
    }
    let password = system.secret("app_password");
    let app =
        |words: &[&str]| cli(&[&["--user", "app", "--pass", &password, "--no-auth-warning"], words].concat());
    assert_eq!(app(&["exists", "a"]), "0\n");
    for words in [&["flushall"][..], &["shutdown"], &["config", "get", "dir"]] {
        assert!(app(words).starts_with("NOPERM"), "{words:?}: {}", app(words));
    }
    // A new secret is taken over without a restart.
    let old = master.pid("redis");
    let path = std::path::Path::new(system.get("SECRETS_DIR")).join("app_password");
    fs::write(&path, "another-one").unwrap();
    master.svctl("restart redis-users");
    assert!(app(&["exists", "a"]).starts_with("NOPERM"), "{}", app(&["exists", "a"]));
    fs::write(&path, &password).unwrap();
    master.svctl("restart redis-users");
    assert_eq!((app(&["exists", "a"]).as_str(), master.pid("redis")), ("0\n", old));
}

/// svinit has Redis back before the Sentinels miss it.
fn killed(system: &System) -> Cost {
    let (name, _) = known(system);
    let container = system.container(&name);
    let before = container.identity();
    let cost = harmed(system, "killed", |_, container| {
        let old = container.kill("redis");
        container.wait_for_successor("redis", old);
    });
    assert_eq!(container.identity(), before, "the container is the same");
    assert!(!cost.is_another, "nobody else has become the master");
    cost
}

fn sentinel_killed(system: &System) -> Cost {
    let cost = harmed(system, "sentinel killed", |_, _| {
        items::heal_after_kill(&system.container("redis-sentinel-1"), &["sentinel"])
    });
    assert!(!cost.is_another, "nobody else has become the master");
    cost
}

/// Does harm that heals by itself, and waits until everybody is there again.
fn settled_after(system: &System, what: &str, harm: impl FnOnce(&str, &Container)) -> Cost {
    let (before, _) = known(system);
    let cost = harmed(system, what, harm);
    if cost.is_another {
        wait_until_it_follows(system, &before);
    }
    wait_until_settled(system, 2);
    cost
}

/// The container goes and stays away; another server becomes the master; the old one comes back and follows it.
fn lost(system: &System) -> Cost {
    let (old, _) = known(system);
    let cost = harmed(system, "lost", |_, container| drop(docker(&["kill", &container.name]).well()));
    assert!(cost.is_another, "another one is the master");
    let container = system.container(&old);
    docker(&["start", &container.name]).well();
    wait_until_it_follows(system, &old);
    // Each start asks the Sentinels first: it was at no moment a second master.
    let (new, _) = known(system);
    let said = container.svctl("logs --lines 1000 redis");
    assert!(said.contains(&format!("a replica of {new} (the Sentinels say so)")), "{said}");
    assert!(!said.contains("the master ("), "{said}");
    cost
}

/// The container loses its network while somebody in it writes on: it stops taking writes within seconds, and what it has
/// taken until then is lost, for nobody else has it. Who asks for a witness (WAIT), as the application does, was not told
/// that it is written.
fn cut(system: &System, told: &mut String) -> Cost {
    let network = format!("{}redis-net", system.get("VOLUME_PREFIX"));
    let (old, _) = known(system);
    let container = system.container(&old);
    let prefix = unique("inside");
    let inside = format!(
        "rm -f /tmp/inside.*; export REDISCLI_AUTH=$(cat /run/secrets/app_password); i=0; \
         while [ ! -e /tmp/inside.over ]; do i=$((i + 1)); \
         echo $i $(redis-cli --user app set {prefix}:$i written 2>&1); sleep 0.02; done >/tmp/inside.log"
    );
    docker(&["exec", "--detach", &container.name, "sh", "-c", &inside]).well();
    let said = |word: &str| -> usize {
        container.exec(&["grep", "-c", word, "/tmp/inside.log"]).out.trim().parse().unwrap_or_default()
    };
    wait_until("somebody writes inside", || container.words(), || said("OK") > 0);
    let cost = harmed(system, "cut", |_, container| {
        docker(&["network", "disconnect", &network, &container.name]).well();
    });
    assert!(cost.is_another, "another one is the master");
    wait_until("it takes no writes any more", || container.words(), || said("NOREPLICAS") > 0);
    container.exec(&["touch", "/tmp/inside.over"]).well();

    let address = |last: u8| format!("{}.0.{last}", system.get("REDIS_NET"));
    let last = SERVERS.iter().find(|(name, _)| *name == old).expect("one of the three").1;
    docker(&["network", "connect", "--ip", &address(last), "--alias", &old, &network, &container.name])
        .well();
    wait_until_it_follows(system, &old);
    let (taken, left) = (said("OK"), keys(system, &format!("{prefix}:")).len());
    assert!(left < taken, "what was taken without a witness is gone: {left} of {taken}");
    *told = format!(
        "Somebody inside of the container that was cut off went on writing. Of {taken} writes that were acknowledged to \
         it, {} were lost: those\nof the time until it found that it had no replica any more. Of the {} that the application was told are \
         written (`WAIT`), none.\n",
        taken - left,
        cost.acknowledged
    );
    cost
}

/// What the first process of each container takes, and the program that it is there for.
fn memory(system: &System) -> String {
    let mut table = "| container | svinit: proportional (PSS) | resident (RSS) | its service: resident |\n|---|---:|---:|---:|\n".to_owned();
    let mut all: Vec<(String, Container, &str)> = Vec::new();
    for (name, unit) in [
        ("redis-master", "redis"),
        ("redis-replica-1", "redis"),
        ("redis-sentinel-1", "sentinel"),
        ("server", "server"),
    ] {
        all.push((name.to_owned(), system.container(name), unit));
    }
    for (name, unit) in [("prometheus", "prometheus"), ("redis-exporter", "exporter")] {
        all.push((name.to_owned(), dashboards::container(system, name), unit));
    }
    for (name, container, unit) in all {
        let kilobytes = |file: &str, word: &str| -> f64 {
            let text = container.disaster(&["cat", file]).well();
            let line = text.lines().find(|line| line.starts_with(word)).expect("the kernel says so");
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
        };
        let pid = container.pid(unit).expect("it runs");
        let _ = writeln!(
            table,
            "| {name} | {:.1} MB | {:.1} MB | {:.1} MB |",
            kilobytes("/proc/1/smaps_rollup", "Pss:") / 1024.0,
            kilobytes("/proc/1/status", "VmRSS:") / 1024.0,
            kilobytes(&format!("/proc/{pid}/status"), "VmRSS:") / 1024.0,
        );
    }
    table
}

/// As a hardened platform runs it: a user without a name, another first process, nothing to write to but the volumes.
#[test]
fn data_comes_back_from_a_backup_and_more_servers_are_added() {
    let Some(system) = laid_out() else { return };
    let any_user = |name: &str| format!("  {name}: {{ user: \"12345:0\", init: true }}\n");
    let all = SERVERS.iter().chain(&SENTINELS).map(|(name, _)| *name);
    let services: String = all.chain(["redis-replica", "redis-sentinel", "server"]).map(any_user).collect();
    let system = system.file("compose.rootless.yaml").overlay(&format!("services:\n{services}"));
    items::open_secrets(&system);
    system.start(&[]);
    let at = system.at("HTTP_PORT");
    for number in 0..40 {
        let answer = items::send(&at, "PUT", &format!("/keys/key:{number}"), &json!(number)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(items::users(&system.container("redis-master")), ["12345"]);
    backups_are_kept_and_restored(&system);
    the_literal_backup_is_restored(&system);
    more_are_added_and_taken_away(&system);
}

/// All data of the master, in order.
fn data(system: &System) -> String {
    let master = system.container(&known(system).0);
    let script = "local all = {} for _, key in ipairs(redis.call('keys', '*')) do \
                  all[#all + 1] = key .. '=' .. redis.call('get', key) end table.sort(all) return table.concat(all, ' ')";
    master.exec(&["redis-admin", "--raw", "eval", script, "0"]).well()
}

/// The line of the README that holds these words, with what is ours in the place of what is a person's.
fn line(system: &System, words: &str) -> String {
    let readme = fs::read_to_string(root().join("compose/redis/README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("    ") && line.contains(words));
    let line = line.unwrap_or_else(|| panic!("README.md has no line with {words}")).trim();
    line.replace("docker compose", "$COMPOSE")
        .replace(" redis_", &format!(" {}redis_", system.get("VOLUME_PREFIX")))
        .replace("/backup:/backup", &format!("{}:/backup", system.own_file("backup").display()))
        .replace("svinit/base:local", &format!("svinit/base:{TAG}"))
}

/// The unit `backup` of a replica keeps seven; the newest brings back what was there, and what is none changes nothing.
fn backups_are_kept_and_restored(system: &System) {
    let (replica, master) = (system.container("redis-replica-1"), system.container("redis-master"));
    let before = data(system);
    assert_eq!(before.split(' ').count(), 40, "{before}");
    let older = "for n in 1 2 3 4 5 6 7 8; do echo >/backup/redis-replica-1-2020010${n}T000000Z.rdb; done; echo >/backup/another";
    replica.exec(&["sh", "-c", older]).well();
    assert_eq!(replica.unit("backup")["state"], "scheduled");
    replica.svctl("start backup");
    let kept = replica.exec(&["sh", "-c", "ls /backup"]).well();
    assert_eq!(kept.matches("redis-replica-1-").count(), 7, "{kept}");
    assert!(kept.contains("20200108T") && !kept.contains("20200102T") && kept.contains("another"), "{kept}");

    let run = master.pid("redis");
    let refused = system.shell("echo nothing | $COMPOSE exec -T redis-master redis-restore");
    assert!(refused.code != 0 && refused.err.contains("nothing was changed"), "{refused:?}");
    assert_eq!((data(system), master.pid("redis")), (before.clone(), run));
    let elsewhere = system.shell("echo nothing | $COMPOSE exec -T redis-replica-2 redis-restore");
    assert!(elsewhere.code != 0 && elsewhere.err.contains("restore there"), "{elsewhere:?}");
    // What begins well and goes on badly is found out by Redis only, and then what was there is there again.
    let spoilt = "($COMPOSE exec -T redis-master redis-backup; echo spoilt) | $COMPOSE exec -T redis-master redis-restore";
    let taken_back = system.shell(spoilt);
    assert!(taken_back.code != 0 && taken_back.err.contains("it has what it had"), "{taken_back:?}");
    assert_eq!(data(system), before);

    // Without replicas that follow again nothing is written.
    system.wait_until("everything is wiped", || admin(&master, "flushall") == "OK\n");
    system.shell(&line(system, "redis-restore <\"$(ls")).well();
    assert_eq!((data(system), known(system).0), (before.clone(), "redis-master".to_owned()));
    system.wait_until("the replica follows", || admin(&replica, "dbsize") == "40\n");
}

/// By the seed's own line, with our image; everything else is wiped.
fn the_literal_backup_is_restored(system: &System) {
    let before = data(system);
    fs::create_dir(system.own_file("backup")).unwrap();
    system.shell(&line(system, "tar czf")).well();
    for step in ["docker compose down", "docker volume rm", "docker compose create", "tar xzf"] {
        system.shell(&line(system, step)).well();
    }
    system.start(&[]);
    assert_eq!(data(system), before);
    assert_eq!(known(system).0, "redis-master");
}

/// By the seed's own lines. What is taken away again counts until the Sentinels are told to forget it.
fn more_are_added_and_taken_away(system: &System) {
    let master = system.container("redis-master");
    system.compose(&["up", "-d", "--scale", "redis-replica=3"]).well();
    let replicas =
        |count: usize| admin(&master, "info replication").contains(&format!("connected_slaves:{count}\r"));
    system.wait_until("five replicas follow", || replicas(5));
    system.compose(&["up", "-d", "--scale", "redis-sentinel=3"]).well();
    system.wait_until("six Sentinels know each other", || {
        sentinel(system, "redis-sentinel-1", "ckquorum mymaster").starts_with("OK 6 usable")
    });
    system.compose(&["up", "-d"]).well();
    system.wait_until("three are no majority of six", || {
        sentinel(system, "redis-sentinel-1", "ckquorum mymaster").starts_with("NOQUORUM")
    });
    for (name, _) in SENTINELS {
        let said = system.container(name).exec(&["sentinel-forget"]).well();
        assert!(said.starts_with("OK 3 usable"), "{name}: {said}");
    }
    assert!(replicas(2), "{}", admin(&master, "info replication"));
}

#[test]
fn a_network_that_is_taken_is_refused_with_who_has_it_and_which_one_is_free() {
    if !is_there() {
        return;
    }
    let preflight = |net: &str, words: &[&str]| {
        let env = [("REDIS_NET", net), ("VOLUME_PREFIX", "nobody_")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        run(&[&["compose/redis/preflight"], words].concat(), &env.into())
    };
    let subnet =
        docker(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "bridge"]).well();
    let taken = subnet.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let said = preflight(&taken, &[]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains(&format!("{taken}.0.0/16 is taken by Docker network bridge")), "{}", said.err);
    let free = preflight(&taken, &["--free"]).well();
    assert!(said.err.contains(&format!("REDIS_NET={} docker compose up -d", free.trim())), "{}", said.err);
    assert_eq!(preflight(free.trim(), &[]).code, 0);
    assert_eq!(preflight("172", &[]).code, 2);
}
