//! The committed schemas and the tables of the reference are what the table of keys says, and agree with the reader.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::units::file::{DaemonFile, ONE_OF, UnitFile};
use crate::units::reading::read;
use crate::units::source::Source;
use crate::units::table::{KeyInfo, Keys, Shape};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a generated text with the file that holds it, or writes it with `UPDATE=1`.
fn generated(path: &str, text: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        held == text,
        "{} is not what the tables of keys say; run the tests with UPDATE=1",
        path.display()
    );
}

/// A variable may stand wherever text may.
#[expect(clippy::needless_pass_by_value, reason = "json! moves it")]
fn with_variable(other: Value) -> Value {
    json!({ "anyOf": [other, { "type": "string", "pattern": r"\$\{" }] })
}

fn of_shape(shape: &Shape, path: &str) -> Value {
    match shape {
        Shape::Bool => with_variable(json!({ "type": "boolean" })),
        Shape::Integer(min, max) if min == max => json!({ "const": min }),
        Shape::Integer(min, i64::MAX) => with_variable(json!({ "type": "integer", "minimum": min })),
        Shape::Integer(min, max) => {
            with_variable(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Shape::Number(min, max) => with_variable(json!({ "type": "number", "minimum": min, "maximum": max })),
        Shape::Text(_, None) => json!({ "type": "string" }),
        Shape::Text(_, Some(pattern)) => with_variable(json!({ "type": "string", "pattern": pattern })),
        Shape::OneOf(words) => with_variable(json!({ "enum": words })),
        Shape::List(item) => json!({ "type": "array", "items": of_shape(item, path) }),
        Shape::Map(item) => json!({ "type": "object", "additionalProperties": of_shape(item, path) }),
        Shape::Any(shapes) => {
            json!({ "anyOf": shapes.iter().map(|shape| of_shape(shape, path)).collect::<Vec<_>>() })
        }
        Shape::Table(keys) => of_keys(keys, path),
    }
}

fn of_keys(keys: &[KeyInfo], path: &str) -> Value {
    let mut properties = Map::new();
    for info in keys {
        let below = if path.is_empty() { info.name.to_owned() } else { format!("{path}.{}", info.name) };
        let mut value = json!({ "description": info.about() });
        if let Some(default) = info.default {
            let parsed: toml::Table = toml::from_str(&format!("x = {default}")).unwrap();
            value["default"] = serde_json::to_value(&parsed["x"]).unwrap();
        }
        for (key, item) in of_shape(&(info.shape)(), &below).as_object().unwrap() {
            value[key] = item.clone();
        }
        properties.insert(info.name.to_owned(), value);
    }
    let mut object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let pairs: Vec<Value> = ONE_OF
        .iter()
        .filter(|(table, keys)| {
            *table == path && keys.iter().all(|key| object["properties"].get(key).is_some())
        })
        .flat_map(|(_, keys)| {
            keys.iter().enumerate().flat_map(|(at, a)| keys[at + 1..].iter().map(move |b| (a, b)))
        })
        .map(|(a, b)| json!({ "not": { "required": [a, b] } }))
        .collect();
    if !pairs.is_empty() {
        object["allOf"] = pairs.into();
    }
    object
}

fn schema(keys: &[KeyInfo], title: &str) -> String {
    let mut schema = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    for (key, value) in of_keys(keys, "").as_object().unwrap() {
        schema[key] = value.clone();
    }
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

fn unit_schema() -> String {
    schema(UnitFile::KEYS, "A unit of svinit")
}

fn daemon_schema() -> String {
    schema(DaemonFile::KEYS, "svinit.toml")
}

#[test]
fn the_schemas_are_what_the_tables_say() {
    generated("schema/unit.schema.json", &unit_schema());
    generated("schema/svinit.schema.json", &daemon_schema());
}

fn validator(schema: &str) -> jsonschema::Validator {
    jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap()
}

fn as_json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn the_schema_and_the_reader_agree_on_samples() {
    let validator = validator(&unit_schema());
    let env = |name: &str| (name == "X").then(|| "true".to_owned());
    for (text, is_good) in [
        ("command = 'x'", true),
        ("command = ['x', 'y']\ntype = 'notify'\n[restart]\nfactor = 1.5\ndelay = '1.5s'", true),
        ("shell = 'x'\nenabled = '${X}'\n[limits]\nnofile = 1024\ncore = 0\nmemory_max = '1.5G'", true),
        ("command = 'x'\n[environment]\nA = 'b'\n[hooks]\npre_start = ['a b', ['c']]", true),
        (
            "command = 'x'\n[stop]\ntimeout = '${T:-8s}'\ncommand = []\n[log]\nforward = 'inherit'\nrate = '0'",
            true,
        ),
        ("command = 'x'\n[health]\ntcp = 'a:1'\non_failure = 'signal:USR1'", true),
        ("command = 'x'\nshell = 'y'", false),
        ("command = 1", false),
        ("comand = 'x'", false),
        ("command = 'x'\n[restart]\ndelay = 10", false),
        ("command = 'x'\n[restart]\npolicy = 'sometimes'", false),
        ("command = 'x'\n[restart]\nfactor = 0.5", false),
        ("command = 'x'\n[ready]\nhttp = 'http://a/'\ntcp = 'a:1'", false),
        ("command = 'x'\n[environment]\nA = 1", false),
        (
            "command = 'x'\n[sockets]\na = '0.0.0.0:80'\nb = '[::1]:80'\nc = 'unix:/a'\nd = '${Y:-0.0.0.0}:81'",
            true,
        ),
        ("command = 'x'\n[sockets.a]\naddress = '0.0.0.0:80'\ntype = 'datagram'\nreuse_port = true", true),
        ("command = 'x'\n[sockets]\na = 80", false),
        ("command = 'x'\n[sockets]\na = 'localhost:80'", false),
        ("command = 'x'\n[sockets.a]\naddress = '0.0.0.0:80'\nport = 1", false),
        ("command = 'x'\numask = '999'", false),
    ] {
        assert_eq!(validator.is_valid(&as_json(text)), is_good, "the schema on {text}");
        assert_eq!(read(&[Source::unit("a.toml", text)], &env).is_ok(), is_good, "the reader on {text}");
    }
}

fn toml_below(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            toml_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_shipped_unit_is_valid_by_the_schema() {
    let (unit, daemon) = (validator(&unit_schema()), validator(&daemon_schema()));
    let mut found = Vec::new();
    toml_below(&root().join("units"), &mut found);
    toml_below(&root().join("examples"), &mut found);
    for path in found {
        let is_daemon = path.file_name().is_some_and(|name| name == "svinit.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let validator = if is_daemon { &daemon } else { &unit };
        let errors: Vec<String> =
            validator.iter_errors(&as_json(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

fn kind_of(shape: &Shape) -> String {
    match shape {
        Shape::Table(_) | Shape::Map(_) => "table".to_owned(),
        Shape::Bool
        | Shape::Integer(..)
        | Shape::Number(..)
        | Shape::Text(..)
        | Shape::OneOf(_)
        | Shape::List(_)
        | Shape::Any(_) => shape.expected(),
    }
}

/// The reference of one table as Markdown.
fn table_of(keys: &[KeyInfo]) -> String {
    let mut out = "| key | value | default | meaning | changed |\n|---|---|---|---|---|\n".to_owned();
    for info in keys {
        let shape = (info.shape)();
        if matches!(shape, Shape::Table(_) | Shape::Map(_)) {
            continue;
        }
        let default =
            info.default.map_or_else(|| info.unset.unwrap_or("").to_owned(), |text| format!("`{text}`"));
        let cell = |text: &str| text.replace('|', "\\|");
        let about = info.about();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            info.name,
            cell(&kind_of(&shape)),
            cell(&default),
            cell(&about),
            info.change.as_str()
        );
    }
    out
}

/// Writes the tables between their marks in `docs/units.md`.
#[test]
fn the_reference_has_every_key() {
    let path = root().join("docs/units.md");
    let mut text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut seen = BTreeSet::new();
    fill(&mut text, "unit", UnitFile::KEYS, &mut seen);
    fill(&mut text, "svinit.toml", DaemonFile::KEYS, &mut seen);
    generated("docs/units.md", &text);
}

fn fill(text: &mut String, name: &str, keys: &[KeyInfo], seen: &mut BTreeSet<String>) {
    let (begin, end) = (format!("<!-- keys of {name} -->\n"), "<!-- end -->");
    if keys.iter().any(|info| !matches!((info.shape)(), Shape::Table(_) | Shape::Map(_))) {
        let start = text.find(&begin).unwrap_or_else(|| panic!("docs/units.md lacks {begin}")) + begin.len();
        let stop = start + text[start..].find(end).unwrap();
        text.replace_range(start..stop, &table_of(keys));
    }
    for info in keys {
        match (info.shape)() {
            // The same tables as those of a unit.
            Shape::Table(_) if name == "svinit.toml defaults" => {}
            Shape::Table(keys) => {
                let below =
                    if name == "unit" { info.name.to_owned() } else { format!("{name} {}", info.name) };
                seen.insert(below.clone());
                fill(text, &below, keys, seen);
            }
            Shape::Map(item) => {
                assert!(text.contains(&format!("[{}]", info.name)), "docs/units.md lacks {}", info.name);
                if let Shape::Any(shapes) = *item {
                    for shape in shapes {
                        if let Shape::Table(keys) = shape {
                            fill(text, info.name, keys, seen);
                        }
                    }
                }
            }
            Shape::Bool
            | Shape::Integer(..)
            | Shape::Number(..)
            | Shape::Text(..)
            | Shape::OneOf(_)
            | Shape::List(_)
            | Shape::Any(_) => {}
        }
    }
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let text = std::fs::read_to_string(root().join("docs/units.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let unit = validator(&unit_schema());
    let daemon = validator(&daemon_schema());
    assert!(blocks.len() > 8);
    for block in blocks {
        let json = as_json(block);
        assert!(unit.is_valid(&json) || daemon.is_valid(&json), "{block}");
        if block.contains("command") {
            let known =
                ["migrate", "postgres"].map(|name| Source::unit(format!("{name}.toml"), "command = 'x'"));
            let sources = [&known[..], &[Source::unit("example.toml", block)]].concat();
            let problems = read(&sources, &|_| None).map(|_| ()).map_err(|problems| problems.to_string());
            assert_eq!(problems, Ok(()), "{block}");
        }
    }
}
