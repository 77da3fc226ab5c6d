//! scripts/demo and scripts/secrets, as somebody with a fresh clone uses them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::engine::{Said, TAG, ask, docker, free_ports, is_there, root, run, unique};

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_system_is_brought_up_and_taken_away_by_one_command_each() {
    if !is_there() {
        return;
    }
    let (project, port) = (unique("demo"), free_ports(2));
    let (prefix, ports) = (format!("{project}_"), format!("{port}-{}", port + 1));
    let binary = std::env::var("SVINIT_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_svinit").to_owned());
    let env = env(&[
        ("COMPOSE_PROJECT_NAME", &project),
        ("VOLUME_PREFIX", &prefix),
        ("HTTP_PORT", &ports),
        ("SVINIT_TAG", TAG),
        ("SVINIT_BINARY", &binary),
    ]);
    let demo = |words: &[&str]| -> Said { run(&[&["scripts/demo"], words].concat(), &env) };
    let up = demo(&["monolith"]);
    let said = up.out.clone();
    let found = said.split("http://localhost:").nth(1).and_then(|rest| rest.split('/').next());
    let answer = found.map(|port| ask(&format!("127.0.0.1:{port}"), "/api/health"));
    let down = demo(&["monolith", "down"]);
    let left = docker(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("label=com.docker.compose.project={project}"),
    ]);
    docker(&["volume", "rm", &format!("{prefix}monolith_data")]).well();
    up.well();
    let answer = answer.expect("it says where it is").expect("it is there");
    assert_eq!(answer.status, 200, "the port is the real one: {said}");
    assert!(said.contains("docker compose exec monolith svctl restart gunicorn"), "{said}");
    down.well();
    assert_eq!(left.well(), "");
}

#[test]
fn a_system_that_is_not_there_is_refused_with_those_that_are() {
    for words in [&["scripts/demo"][..], &["scripts/demo", "cloud"], &["scripts/demo", ".."]] {
        let said = run(words, &BTreeMap::new());
        assert_eq!(said.code, 1, "{words:?}");
        for system in ["cluster", "flask", "monolith", "three-tier", "two-tier"] {
            assert!(said.err.contains(system), "{}", said.err);
        }
    }
}

#[test]
fn an_engine_that_is_too_old_is_refused_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    // Answers as such an engine would, and notes down what else it is asked.
    let docker = "#!/bin/sh\ncase \"$*\" in *version*) echo '24.0.7 linux amd64' ;; *) echo \"$*\" >>\"$0.asked\" ;; esac\n";
    let program = dir.path().join("docker");
    fs::write(&program, docker).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let home = dir.path().join("home");
    let said = run(
        &["scripts/images", "nginx"],
        &env(&[
            ("PATH", &path),
            ("DOCKER_HERE_HOME", home.to_str().unwrap()),
            ("SVINIT_BINARY", "/bin/true"),
        ]),
    );
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("the Docker engine is 24.0.7: these images need 25 or later"), "{}", said.err);
    let asked = fs::read_to_string(dir.path().join("docker.asked")).unwrap_or_default();
    assert!(!asked.contains("bake"), "{asked}");
}

#[test]
fn secrets_are_made_once_for_their_owner_alone_and_are_never_committed() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().join("secrets");
    let make = || {
        run(&["scripts/secrets", "three-tier"], &env(&[("SECRETS_DIR", secrets.to_str().unwrap())])).well();
        let read = |name: &str| fs::read_to_string(secrets.join(name)).unwrap();
        [read("secret_key"), read("db_password")]
    };
    let made = make();
    assert!(made.iter().all(|secret| secret.len() >= 32) && made[0] != made[1], "{made:?}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&secrets), 0o700);
    for name in ["secret_key", "db_password"] {
        assert_eq!(mode(&secrets.join(name)), 0o600, "{name}");
    }
    assert_eq!(make(), made, "what is there stays");
    if !root().join(".git").exists() {
        println!("skipped: no git here, so nothing can be committed");
        return;
    }
    for system in ["cluster", "flask", "three-tier", "two-tier"] {
        let path = format!("compose/{system}/secrets/db_password");
        assert_eq!(run(&["git", "check-ignore", &path], &BTreeMap::new()).code, 0, "{path}");
    }
}

#[test]
fn a_pid_file_of_an_earlier_boot_is_no_daemon_and_nobody_is_ended_for_it() {
    let home = tempfile::tempdir().unwrap();
    let set = env(&[("DOCKER_HERE_HOME", home.path().to_str().unwrap())]);
    // No such process, ours, and nothing at all.
    for number in ["4194304999", &std::process::id().to_string(), ""] {
        fs::write(home.path().join("dockerd.pid"), number).unwrap();
        let said = run(&["tests/docker-here", "down"], &set);
        assert_eq!(
            (said.code, said.err.as_str()),
            (0, "docker-here: no daemon that this script started\n"),
            "{number}"
        );
    }
}
