//! What a unit's processes find in their environment, and what they never do.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Inherited, Read, compose};
use crate::os::user::Ids;
use crate::runtime::command::add_main;
use crate::units::spec::{UnitSet, UnitSpec};

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn unit(environment: &[(&str, &str)]) -> Arc<UnitSpec> {
    let mut set = UnitSet::default();
    let name = add_main(&mut set, vec!["true".to_owned()], PathBuf::from("/")).unwrap();
    let mut spec = (*set.units[&name]).clone();
    spec.context.environment = environment.iter().map(|(name, value)| pair(name, value)).collect();
    Arc::new(spec)
}

fn app() -> Ids {
    Ids {
        uid: 10,
        gid: 10,
        groups: Vec::new(),
        name: Some("app".to_owned()),
        home: Some(PathBuf::from("/home/app")),
        shell: None,
    }
}

#[test]
fn what_was_promised_to_svinit_is_not_passed_on() {
    let outside = [
        pair("NOTIFY_SOCKET", "/x"),
        pair("LISTEN_FDS", "1"),
        pair("LISTEN_PID", "1"),
        pair("WATCHDOG_USEC", "1"),
        pair("LANG", "C"),
    ];
    let env = compose(&Inherited::new(outside), &unit(&[]), None, Read::default());
    let names: Vec<_> = env.keys().map(String::as_str).collect();
    assert_eq!(names, ["LANG", "PATH", "SVINIT_UNIT"]);
}

#[test]
fn later_layers_win() {
    let inherited = Inherited::new(["A", "B", "C", "D", "E"].map(|name| pair(name, "container")));
    let spec = unit(&[("C", "unit"), ("D", "unit"), ("E", "unit")]);
    let read = Read {
        files: vec![pair("B", "first file"), pair("B", "file"), pair("C", "file")],
        secrets: vec![pair("D", "secret"), pair("E", "secret")],
        promised: vec![pair("E", "promised")],
    };
    let env = compose(&inherited, &spec, None, read);
    let values = ["A", "B", "C", "D", "E"].map(|name| env[name].as_str());
    assert_eq!(values, ["container", "file", "unit", "secret", "promised"]);
}

#[test]
fn a_unit_that_changes_user_gets_that_users_home() {
    let inherited = Inherited::new([pair("HOME", "/root"), pair("USER", "root")]);
    let env = compose(&inherited, &unit(&[]), Some(&app()), Read::default());
    assert_eq!((env["HOME"].as_str(), env["LOGNAME"].as_str()), ("/home/app", "app"));
    let env = compose(&inherited, &unit(&[]), None, Read::default());
    assert_eq!(env["HOME"], "/root");
    let env = compose(&inherited, &unit(&[("HOME", "/srv")]), Some(&app()), Read::default());
    assert_eq!(env["HOME"], "/srv");
}

#[test]
fn there_is_always_a_path() {
    let env = compose(&Inherited::default(), &unit(&[]), None, Read::default());
    assert!(env["PATH"].contains("/usr/bin"));
    let given = Inherited::new([pair("PATH", "/only")]);
    assert_eq!(compose(&given, &unit(&[]), None, Read::default())["PATH"], "/only");
}
