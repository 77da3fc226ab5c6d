//! The gateway's check of a database, against the real ones: MySQL with `caching_sha2_password`, MariaDB with `mysql_native_password`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::engine::{Single, build, docker, image, is_there, root, run, wait_until};
use crate::gateway::Manager;

/// Checks after which nobody may be locked out.
const CHECKS: u64 = 1000;

/// Connections that may end within their handshake before a server locks their host out. When a manager of a test is ended, as many of
/// its checks do so as it has services.
const ERRORS_MAX: u64 = 100;

/// Services that are one and the same database: each is checked 20 times a second.
const SERVICES: usize = 10;

/// A database that looks names of hosts up, which ours do not: without that it locks nobody out.
fn database(image: &str) -> Option<(Single, tempfile::TempDir)> {
    let own = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = own.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        path
    };
    fs::set_permissions(own.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let image_conf = fs::read_to_string(root().join(format!("images/{image}/server.cnf"))).unwrap();
    let conf = image_conf.replace(
        "skip_name_resolve = ON",
        &format!("skip_name_resolve = OFF\nmax_connect_errors = {ERRORS_MAX}"),
    );
    assert_ne!(conf, image_conf);
    let secret =
        format!("--volume={}:/run/secrets/db_password:ro", write("db_password", "right-password").display());
    let conf = format!("--volume={}:/etc/mysql/server.cnf:ro", write("server.cnf", &conf).display());
    if !is_there() {
        return None;
    }
    // It has to find a name for this machine, or it would not remember it.
    let gateway =
        docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]).well();
    let name = format!("--add-host=this-machine.example:{}", gateway.trim());
    // Nor is it to be restarted in the midst of it because its own check was late on a busy machine.
    let patient = write("mysql.toml", "[health]\non_failure = \"none\"\n");
    let patient = format!("--volume={}:/etc/svinit/local/mysql.toml:ro", patient.display());
    let database = Single::run(image, &[&secret, &conf, &name, &patient], &[])?;
    wait_for_health(&database);
    Some((database, own))
}

fn wait_for_health(database: &Single) {
    let is_well = || docker(&["exec", &database.name, "svctl", "health"]).code == 0;
    wait_until("it is well", || database.words(), is_well);
}

fn sql(database: &Single, text: &str) -> String {
    database.exec(&["mysql", "--batch", "--skip-column-names", &format!("--execute={text}")]).well()
}

/// One of the server's counts.
fn count(database: &Single, name: &str) -> u64 {
    let said = sql(database, &format!("SHOW GLOBAL STATUS LIKE '{name}'"));
    said.split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Where it is reached from this machine, which is another host to it.
fn address(database: &Single) -> String {
    let networks = database.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}");
    format!("{}:3306", networks.split(' ').next().expect("it has an address"))
}

/// A manager that checks it by each of these users, each by as many services.
fn checking(at: &str, check: &str) -> Manager {
    let service = |number: usize| {
        format!(
            "[service.db{number}]\ntargets = [\"tcp://{at}\"]\nhealth = {{ {check}, interval = \"50ms\", \
             unhealthy_interval = \"50ms\", timeout = \"10s\", retries = 1, rise = 1 }}\n"
        )
    };
    Manager::start(&(0..SERVICES).map(service).collect::<String>())
}

fn is_checked_without_an_end(image: &str, method: &str) {
    let Some((database, _own)) = database(image) else { return };
    let at = address(&database);
    sql(&database, "CREATE USER 'watcher'@'%'; CREATE USER 'closed'@'%' IDENTIFIED BY 'right-password'");
    let methods = sql(&database, "SELECT DISTINCT plugin FROM mysql.user WHERE User = 'closed'");
    assert_eq!(methods.trim(), method);

    // A user that may come in, one that needs a password, and one that nobody knows: in each case the server is well.
    let aborted = |database: &Single| count(database, "Aborted_connects");
    let (connections, before) = (count(&database, "Connections"), aborted(&database));
    let manager = checking(&at, "mysql = \"watcher\"");
    manager.wait_for(" up: its check passes");
    wait_until(
        "it is checked",
        || manager.said(),
        || count(&database, "Connections") >= connections + CHECKS,
    );
    assert!(!manager.said().contains("its check fails"), "{}", manager.said());
    assert_eq!(aborted(&database), before, "{CHECKS} checks of {image}, and none was broken off");
    // Who comes in has the errors of its host forgotten: no check of this one may fall among those below.
    drop(manager);
    for user in ["closed", "stranger"] {
        let connections = count(&database, "Connections");
        let manager = checking(&at, &format!("mysql = \"{user}\""));
        manager.wait_for(" up: its check passes");
        wait_until(
            "it is checked",
            || manager.said(),
            || count(&database, "Connections") >= connections + CHECKS,
        );
        assert!(!manager.said().contains("its check fails"), "{user}: {}", manager.said());
    }
    assert!(logs_in(&at, "right-password"), "after {} checks the host may come in", 3 * CHECKS);
    assert!(!logs_in(&at, "wrong-password"));

    // What the check is for: connections without a word lock the host out, and a TCP check never learns of it.
    let before = aborted(&database);
    // Some before the greeting, and some in its midst: the two servers do not mind the same ones.
    for _ in 0..3 * ERRORS_MAX {
        drop(TcpStream::connect(&at).unwrap());
        // Whoever is locked out is told so, and that is read as well.
        let _ = TcpStream::connect(&at).unwrap().read_exact(&mut [0]);
    }
    wait_until("they are counted", || database.words(), || aborted(&database) >= before + 3 * ERRORS_MAX);
    let manager = checking(&at, "mysql = \"watcher\"");
    let line = manager.wait_for("its check fails");
    assert!(line.contains("error 1129"), "{line}");
    let tcp = checking(&at, "tcp = true");
    tcp.wait_for(" up: its check passes");
}

/// Whether this machine is let in as `closed`, by the client of an image, with the addresses of this machine.
fn logs_in(at: &str, password: &str) -> bool {
    build(&["mysql"]);
    let (host, port) = at.split_once(':').expect("an address with a port");
    let env: BTreeMap<String, String> = [("MYSQL_PWD".to_owned(), password.to_owned())].into();
    let image = image("mysql");
    let command = [
        "docker",
        "run",
        "--rm",
        "--pull",
        "never",
        "--network",
        "host",
        "--env",
        "MYSQL_PWD",
        "--entrypoint",
        "mysql",
        &image,
        "--host",
        host,
        "--port",
        port,
        "--user",
        "closed",
        "--execute=SELECT 1",
    ];
    run(&command, &env).code == 0
}

#[test]
fn a_thousand_checks_lock_nobody_out_of_mysql() {
    is_checked_without_an_end("mysql", "caching_sha2_password");
}

#[test]
fn a_thousand_checks_lock_nobody_out_of_mariadb() {
    is_checked_without_an_end("mariadb", "mysql_native_password");
}

#[test]
fn our_own_databases_lock_nobody_out_whatever_checks_them() {
    for image in ["mysql", "mariadb"] {
        let conf = fs::read_to_string(root().join(format!("images/{image}/server.cnf"))).unwrap();
        assert!(conf.contains("\nskip_name_resolve = ON\n"), "{image}");
    }
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("db_password");
    fs::write(&path, "right-password").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let secret = format!("--volume={}:/run/secrets/db_password:ro", path.display());
    let Some(database) = Single::run("mariadb", &[&secret], &[]) else { return };
    wait_for_health(&database);
    let at = address(&database);
    let connections = count(&database, "Connections");
    let tcp = checking(&at, "tcp = true");
    wait_until("it is pinged", || tcp.said(), || count(&database, "Connections") >= connections + CHECKS);
    let manager = checking(&at, "mysql = \"stranger\"");
    manager.wait_for(" up: its check passes");
}
