//! The units and schemas that come with svinit.

#![expect(clippy::disallowed_methods, reason = "a test runs svctl as a user would")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::fixture::executable;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn svctl(args: &[&str]) -> Output {
    let mut command = Command::new(executable());
    command.args(["--as", "svctl"]).args(args).current_dir(repository()).stdin(Stdio::null());
    // What the units of etcd and Patroni must be told; an image of a system has it from Compose.
    command.env("ETCD_NAME", "etcd1").env("PATRONI_NAME", "postgres1");
    command.env_remove("SVINIT_UNITS").env_remove("SVINIT_CONFIG").output().unwrap()
}

fn sound(args: &[&str]) -> String {
    let output = svctl(args);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "svctl {}: {said}", args.join(" "));
    said
}

/// The directories below `above` that hold units.
fn unit_directories(above: &Path) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(above).unwrap().map(|entry| entry.unwrap().path()).collect();
    let has_units = |path: &Path| {
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        is_toml && !path.ends_with("svinit.toml")
    };
    let mut found: Vec<PathBuf> =
        entries.iter().filter(|path| path.is_dir()).flat_map(|dir| unit_directories(dir)).collect();
    if entries.iter().any(|path| has_units(path)) {
        found.push(above.to_owned());
    }
    found.sort();
    found
}

#[test]
fn every_unit_that_comes_with_svinit_is_accepted_by_itself() {
    let found = unit_directories(&repository().join("units"));
    assert!(found.len() >= 3, "{found:?}");
    for directory in found {
        // A warning is fine: the database has more time to stop than svinit has unless it is told so.
        sound(&["check", directory.to_str().unwrap()]);
    }
}

#[test]
fn the_examples_are_accepted_on_top_of_the_units_that_they_wire() {
    let units = ["gunicorn", "nginx", "postgres"].map(|name| repository().join("units").join(name));
    let examples = unit_directories(&repository().join("examples"));
    assert!(!examples.is_empty());
    for example in examples {
        let config = example.parent().unwrap().join("svinit.toml");
        let mut args = vec!["check", "--strict", "--config", config.to_str().unwrap()];
        args.extend(units.iter().map(|path| path.to_str().unwrap()));
        args.push(example.to_str().unwrap());
        let said = sound(&args);
        assert!(said.contains("sound"), "{said}");
    }
}

#[test]
fn svctl_prints_the_schemas_of_the_repository() {
    for (args, file) in [
        (&["schema"][..], "schema/unit.schema.json"),
        (&["schema", "unit"], "schema/unit.schema.json"),
        (&["schema", "svinit"], "schema/svinit.schema.json"),
    ] {
        assert_eq!(sound(args), fs::read_to_string(repository().join(file)).unwrap(), "{args:?}");
    }
}
