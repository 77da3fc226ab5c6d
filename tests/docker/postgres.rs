//! The image postgres by itself: initialisation that may be broken off and repeated, and never touches what is there.

use std::fs;

use tempfile::TempDir;

use crate::engine::{Said, Single, docker, wait_until};

/// Files that the image is given: a secret, and two of /docker-entrypoint-initdb.d.
struct Given {
    dir: TempDir,
}

impl Given {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("password"), "first'word").unwrap();
        fs::create_dir(dir.path().join("initdb")).unwrap();
        fs::write(
            dir.path().join("initdb/1.sql"),
            "CREATE TABLE visits (n int);\nINSERT INTO visits VALUES (1);\n",
        )
        .unwrap();
        Self { dir }
    }

    fn mounts(&self) -> [String; 2] {
        let dir = self.dir.path().display();
        [
            format!("--volume={dir}/password:/run/secrets/postgres_password:ro"),
            format!("--volume={dir}/initdb:/docker-entrypoint-initdb.d:ro"),
        ]
    }
}

fn start(image: &str, given: &Given, options: &[&str]) -> Option<Single> {
    let mounts = given.mounts();
    let fixed = ["--env=POSTGRES_USER=app", "--env=POSTGRES_DB=shop", &mounts[0], &mounts[1]];
    Single::run(image, &[&fixed[..], options].concat(), &[])
}

fn sql(postgres: &Single, password: &str, command: &str) -> Said {
    let password = format!("PGPASSWORD={password}");
    postgres.exec(&["env", &password, "psql", "-h", "127.0.0.1", "-U", "app", "-d", "shop", "-Atc", command])
}

/// A named volume that goes with the value.
struct Volume(String);

impl Volume {
    fn new(stem: &str) -> Self {
        Self(format!("svinit-test-{stem}-{}", std::process::id()))
    }

    fn option(&self) -> String {
        format!("--volume={}:/var/lib/postgresql", self.0)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "--force", &self.0]);
    }
}

#[test]
fn a_new_cluster_is_filled_once_and_one_that_is_there_is_left_alone() {
    let (given, volume) = (Given::new(), Volume::new("pg-once"));
    {
        let Some(postgres) = start("postgres", &given, &[&volume.option()]) else { return };
        postgres.wait_for_health("healthy");
        assert_eq!(sql(&postgres, "first'word", "SELECT count(*) FROM visits").well().trim(), "1");
        assert_ne!(sql(&postgres, "another", "SELECT 1").code, 0, "a wrong password does not do");
        postgres.svctl("restart postgres-setup");
        sql(&postgres, "first'word", "DELETE FROM visits").well();
        // Killed without a word: what was written before must be there, and nothing be made anew.
        docker(&["kill", &postgres.name]).well();
    }
    fs::write(given.dir.path().join("password"), "second").unwrap();
    fs::write(given.dir.path().join("initdb/2.sql"), "DROP TABLE visits;\n").unwrap();
    let Some(postgres) = start("postgres", &given, &[&volume.option()]) else { return };
    postgres.wait_for_health("healthy");
    assert_eq!(
        sql(&postgres, "second", "SELECT count(*) FROM visits").well().trim(),
        "0",
        "the secret is the new one"
    );
}

#[test]
fn an_initialisation_that_is_broken_off_is_finished_without_doing_anything_twice() {
    let (given, volume) = (Given::new(), Volume::new("pg-half"));
    let second = given.dir.path().join("initdb/2.sql");
    fs::write(&second, "INSERT INTO visits VALUES (2);\nSELECT 1/0;\n").unwrap();
    let Some(postgres) = start("postgres", &given, &[&volume.option()]) else { return };
    wait_until(
        "the second file has failed",
        || postgres.words(),
        || postgres.words().contains("division by zero"),
    );
    fs::write(&second, "INSERT INTO visits VALUES (2);\n").unwrap();
    postgres.wait_for_health("healthy");
    assert_eq!(
        sql(&postgres, "first'word", "SELECT string_agg(n::text, ',') FROM visits").well().trim(),
        "1,2"
    );
    assert_eq!(
        sql(&postgres, "first'word", "SELECT 1 FROM pg_namespace WHERE nspname = 'svinit_init'").well(),
        ""
    );
}

#[test]
fn postgres_runs_rootless_in_every_posture() {
    let hard = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
    let postures: [&[&str]; 2] =
        [&[&hard[..], &["--init"]].concat(), &[&hard[..], &["--user=12345:0"]].concat()];
    for posture in postures {
        let (given, volume) = (Given::new(), Volume::new("pg-posture"));
        let Some(postgres) =
            start("postgres-rootless", &given, &[&[volume.option().as_str()], posture].concat())
        else {
            return;
        };
        postgres.wait_for_health("healthy");
        let old = postgres.kill("postgres");
        postgres.wait_for_successor("postgres", old);
        assert_eq!(
            sql(&postgres, "first'word", "SELECT count(*) FROM visits").well().trim(),
            "1",
            "{posture:?}"
        );
        postgres.stop();
        assert_eq!(postgres.exit_code(), 0, "{}", postgres.words());
    }
}
