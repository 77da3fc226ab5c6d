//! The reference in `docs/manager.md` has every key, and its examples are sound.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::ManagerFile;
use crate::manager::config::reading::read;
use crate::units::source::Source;
use crate::units::table::{Change, KeyInfo, Keys, Shape};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/manager.md")
}

/// The keys of the table that a key holds, if it holds one: itself, a list of them, or by name.
fn below(shape: &Shape) -> Option<&'static [KeyInfo]> {
    match shape {
        Shape::Table(keys) => Some(keys),
        Shape::List(item) | Shape::Map(item) => below(item),
        Shape::Bool
        | Shape::Integer(..)
        | Shape::Number(..)
        | Shape::Text(..)
        | Shape::OneOf(_)
        | Shape::Any(_) => None,
    }
}

fn table_of(keys: &[KeyInfo]) -> String {
    let mut out = "| key | value | default | meaning | changed |\n|---|---|---|---|---|\n".to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    for info in keys {
        let shape = (info.shape)();
        let value = if below(&shape).is_some() { "see below".to_owned() } else { shape.expected() };
        let default =
            info.default.map_or_else(|| info.unset.unwrap_or("").to_owned(), |text| format!("`{text}`"));
        let change = if info.change == Change::Boot { "next start" } else { "" };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {change} |",
            info.name,
            cell(&value),
            cell(&default),
            cell(&info.about())
        );
    }
    out
}

fn fill(text: &mut String, name: &str, keys: &[KeyInfo]) {
    let begin = format!("<!-- keys of {name} -->\n");
    let start = text.find(&begin).unwrap_or_else(|| panic!("docs/manager.md lacks {begin}")) + begin.len();
    let stop = start + text[start..].find("<!-- end -->").unwrap();
    text.replace_range(start..stop, &table_of(keys));
    for info in keys {
        if let Some(keys) = below(&(info.shape)()) {
            fill(text, &format!("{name} {}", info.name), keys);
        }
    }
}

#[test]
fn the_reference_has_every_key_of_the_manager() {
    let held = std::fs::read_to_string(path()).unwrap();
    let mut text = held.clone();
    fill(&mut text, "manager.toml", ManagerFile::KEYS);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(), &text).unwrap();
    } else {
        assert!(
            held == text,
            "docs/manager.md is not what the table of keys says; run the tests with UPDATE=1"
        );
    }
}

#[test]
fn the_examples_of_the_manager_are_sound() {
    let text = std::fs::read_to_string(path()).unwrap();
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let said = read(&Source::manager("manager.toml", block), &|_| None).map(|reading| reading.warnings);
        assert_eq!(said.map_err(|problems| problems.to_string()), Ok(Vec::new()), "{block}");
    }
}
