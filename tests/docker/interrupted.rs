//! A first start that is killed in the middle: the next one begins anew and leaves nothing half behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::engine::{Single, docker, unique, wait_until};

/// A named volume that goes with the value.
struct Volume(String);

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "--force", &self.0]);
    }
}

/// An image of a database: where its volume is, and where in it the data directory gets its place.
fn is_killed_and_begins_anew(image: &str, volume_at: &str, data: &str, client: &[&str]) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "first'word").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o400)).unwrap();
    let volume = Volume(unique(image));
    let options = [
        format!("--volume={}:{volume_at}", volume.0),
        format!("--volume={}:/run/secrets/db_password:ro", secret.path().display()),
        "--env=POSTGRES_PASSWORD_FILE=/run/secrets/db_password".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    {
        let Some(first) = Single::run(image, &options, &[]) else { return };
        let begun = format!("until ls -A {data}.new 2>/dev/null | grep -q .; do sleep 0.01; done");
        wait_until("it has begun", || first.words(), || first.exec(&["sh", "-c", &begun]).code == 0);
        docker(&["kill", &first.name]).well();
        assert!(!first.words().contains("ready for connections"), "that was too late: {}", first.words());
    }
    let Some(second) = Single::run(image, &options, &[]) else { return };
    wait_until("it is well", || second.words(), || second.exec(&["svctl", "health"]).code == 0);
    let there = second.exec(&["sh", "-c", &format!("ls -d {data}*")]).well();
    assert_eq!(there.trim(), data, "nothing half is left");
    second.exec(client).well();
}

#[test]
fn a_killed_first_start_of_postgres_leaves_nothing_that_looks_like_a_cluster() {
    let client = ["svctl", "exec", "postgres", "--", "psql", "-c", "SELECT 1"];
    is_killed_and_begins_anew("postgres", "/var/lib/postgresql", "/var/lib/postgresql/data", &client);
}

#[test]
fn a_killed_first_start_of_mysql_and_of_mariadb_leaves_nothing_that_looks_like_a_database() {
    let client = ["mysql", "--execute=SHOW TABLES", "app"];
    for image in ["mysql", "mariadb"] {
        is_killed_and_begins_anew(image, "/var/lib/mysql", "/var/lib/mysql/data", &client);
    }
}
