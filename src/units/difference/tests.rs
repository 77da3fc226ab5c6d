//! What differs is found key by key, with what it means; what could leak is not shown.

use super::*;
use crate::units::reading::read;
use crate::units::source::Source;
use crate::units::table::KeyInfo;

fn set(files: &[(&str, &str)]) -> UnitSet {
    let sources: Vec<Source> =
        files.iter().map(|(name, text)| Source::unit(format!("{name}.toml"), *text)).collect();
    read(&sources, &|_| None).unwrap().set
}

fn told(difference: &Difference) -> Vec<String> {
    let mut out = Vec::new();
    for (name, change) in &difference.0 {
        match change {
            UnitChange::Added { .. } => out.push(format!("+ {name}")),
            UnitChange::Removed => out.push(format!("- {name}")),
            UnitChange::Changed(keys) => out.extend(keys.iter().map(|key| {
                let [old, new] = [&key.old, &key.new].map(|value| value.as_deref().unwrap_or("-"));
                format!("{name} {}: {old} > {new} ({})", key.key, key.change.as_str())
            })),
        }
    }
    out
}

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

#[test]
fn each_key_is_told_with_both_values_and_what_it_needs() {
    let old = set(&[
        ("db", "command = 'db'"),
        (
            "web",
            "command = 'a b'\nrequires = ['db']\n[environment]\nA = '1'\nGONE = 'x'\n[health]\ntcp = 'h:1'",
        ),
        ("old", "command = 'x'"),
    ]);
    let new = set(&[
        ("db", "# another text, the same unit\ncommand = ['db']"),
        (
            "web",
            "command = 'a c'\nenabled = false\n[environment]\nA = '2'\n[health]\ntcp = 'h:1'\nretries = 5\n\
             [stop]\ntimeout = '1s'\n[hooks]\npre_start = ['x']\n[sockets]\nh = '127.0.0.1:1'",
        ),
        ("new", "command = 'x'"),
    ]);
    assert_eq!(
        told(&Difference::between(&old, &new)),
        [
            "+ new",
            "- old",
            "web command: [\"a\", \"b\"] > [\"a\", \"c\"] (restart)",
            "web enabled: true > false (next start of svinit)",
            "web requires: [\"db\"] > [] (at once)",
            "web environment.A: \"1\" > \"2\" (restart)",
            "web sockets.h: - > { address = \"127.0.0.1:1\", type = \"stream\", backlog = 4096, reuse_port = false } (restart)",
            "web health.retries: 3 > 5 (at once)",
            "web stop.timeout: \"8s\" > \"1s\" (at once)",
            "web hooks.pre_start: [] > [[\"x\"]] (next start)",
            "web environment.GONE: \"x\" > - (restart)",
        ]
    );
    assert_eq!(Difference::between(&old, &old).0.len(), 0);
}

#[test]
fn the_most_that_a_key_needs_is_what_the_unit_needs() {
    let change = |new: &str| {
        let sets = [set(&[("web", "command = 'x'")]), set(&[("web", new)])];
        Difference::between(&sets[0], &sets[1]).0[&name("web")].needs()
    };
    assert_eq!(change("command = 'x'\ndescription = 'd'"), Change::AtOnce);
    assert_eq!(change("command = 'x'\nenabled = false"), Change::Boot);
    assert_eq!(change("command = 'x'\nenabled = false\n[hooks]\npost_start = ['x']"), Change::NextStart);
    assert_eq!(change("command = 'x'\numask = '077'\n[hooks]\npost_start = ['x']"), Change::Restart);
}

#[test]
fn a_secret_is_its_path() {
    let sets =
        ["/run/a", "/run/b"].map(|path| set(&[("web", &format!("command = 'x'\nsecrets.KEY = '{path}'"))]));
    assert_eq!(
        told(&Difference::between(&sets[0], &sets[1])),
        ["web secrets.KEY: \"/run/a\" > \"/run/b\" (restart)"]
    );
}

#[test]
fn every_key_of_a_unit_says_what_it_needs_and_is_found_by_its_name() {
    fn look(keys: &[KeyInfo], table: &str) {
        for info in keys {
            let key = if table.is_empty() { info.name.to_owned() } else { format!("{table}.{}", info.name) };
            match ((info.shape)(), info.change) {
                (Shape::Table(keys), Change::Within) => look(keys, &key),
                (shape, change) => {
                    assert!(change != Change::Within, "{key} says nothing");
                    let below = if matches!(shape, Shape::Map(_)) { format!("{key}.X") } else { key };
                    assert_eq!(change_of(&below), change, "{below}");
                }
            }
        }
    }
    look(UnitFile::KEYS, "");
}

#[test]
fn some_units_can_be_taken_over_alone_if_they_fit() {
    let old = set(&[("a", "command = 'x'"), ("b", "command = 'x'\nafter = ['a']\naliases = ['c']")]);
    let new = set(&[
        ("a", "command = 'y'\nafter = ['b']"),
        ("b", "command = 'y'\nrequires = ['d']"),
        ("d", "command = 'x'\naliases = ['c']"),
    ]);
    let only = |names: &[&str]| only(&old, &new, &names.iter().map(|text| name(text)).collect());
    assert!(only(&["a"]).unwrap_err().contains("a, b would wait for each other in a circle"));
    assert!(only(&["b"]).unwrap_err().contains("b names d in requires, which would not be there"));
    assert!(only(&["d"]).unwrap_err().contains("c would mean both"));
    assert_eq!(only(&["b", "d"]).unwrap().units.len(), 3);
    assert_eq!(only(&["a", "b", "d"]).unwrap(), new);
}

#[test]
fn a_port_for_messages_is_in_the_way_of_none_for_connections() {
    let socket = |rest: &str| format!("command = 'x'\nsockets.one = {{ address = '127.0.0.1:53'{rest} }}");
    let old = set(&[("a", &socket("")), ("b", "command = 'x'")]);
    let moved = |rest: &str| set(&[("a", "command = 'x'"), ("b", &socket(rest))]);
    let only = |new: &UnitSet| only(&old, new, &[name("b")].into());
    assert!(only(&moved("")).unwrap_err().contains("a and b would both hold 127.0.0.1:53: update both"));
    assert!(only(&moved(", type = 'datagram'")).is_ok());
}
