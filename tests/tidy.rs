//! The house rules, as tests: what a reviewer would otherwise have to look for in every change.
//!
//! Each rule is a function from a text to what is wrong with it, so that `mod proof` at the end can show that it does
//! find what it is for. The tests run them over the whole tree, and each finding says what to do instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/hazards.rs"]
mod hazards;

/// Which floors a floor may name: only those above it, so that no circle can form. The map is in `src/lib.rs`.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("api", &[]),
    ("lifecycle", &["units"]),
    ("os", &["units", "lifecycle"]),
    ("net", &[]),
    ("logs", &["units", "lifecycle", "os"]),
    ("runtime", &["units", "lifecycle", "os", "net", "logs"]),
    ("client", &["api", "net"]),
    ("http", &["units", "api", "lifecycle", "runtime"]),
    ("control", &["units", "api", "lifecycle", "net", "logs", "runtime", "http"]),
    ("manager", &["units", "api", "os", "net", "client", "http"]),
    (
        "cli",
        &[
            "units",
            "api",
            "lifecycle",
            "os",
            "net",
            "logs",
            "runtime",
            "client",
            "http",
            "control",
            "manager",
        ],
    ),
];

/// The only place where Rust cannot check memory for us.
const UNSAFE_HOME: &str = "src/os/sys.rs";

/// Directories that are made, not written.
const MADE: &[&str] = &["target", "run", ".git", ".venv", "__pycache__", ".cache"];

/// One thing that is wrong: the line, counted from 1, and what to do about it.
type Finding = (usize, String);

#[test]
fn a_floor_names_only_floors_above_it() {
    over_rust("src", |path, text| if path == "src/lib.rs" { Vec::new() } else { wrong_floors(path, text) });
}

#[test]
fn the_table_of_floors_is_the_tree() {
    let folders: BTreeSet<String> = entries(&root().join("src"))
        .into_iter()
        .filter(|path| path.is_dir())
        .map(|path| name_of(&path).to_owned())
        .collect();
    let table: BTreeSet<String> = MAY_NAME.iter().map(|(floor, _)| (*floor).to_owned()).collect();
    assert_eq!(folders, table, "every folder of src/ has a row in MAY_NAME, and every row a folder");
    for (place, (floor, named)) in MAY_NAME.iter().enumerate() {
        for name in *named {
            let above = MAY_NAME[..place].iter().any(|(other, _)| other == name);
            assert!(above, "MAY_NAME: {floor} names {name}, which is not above it");
        }
    }
}

#[test]
fn a_use_line_names_one_module() {
    over_rust("src", |_, text| grouped_uses(text));
}

#[test]
fn every_file_says_what_it_is() {
    over_rust("src", |_, text| without_module_docs(text));
    over_rust("tests", |_, text| without_module_docs(text));
}

#[test]
fn unsafe_is_in_one_file() {
    over_rust("src", |path, text| if path == UNSAFE_HOME { Vec::new() } else { unsafe_words(text) });
    over_rust("tests", |_, text| unsafe_words(text));
}

#[test]
fn tests_wait_for_events_and_not_for_time() {
    over_rust("tests", |_, text| sleeps(text));
}

#[test]
fn no_test_is_ignored() {
    over_rust("src", |_, text| ignored_tests(text));
    over_rust("tests", |_, text| ignored_tests(text));
}

#[test]
fn nothing_is_left_half_done() {
    over_rust("src", |_, text| unfinished(text));
    over_rust("tests", |_, text| unfinished(text));
}

#[test]
fn files_are_named_after_what_they_are() {
    let wrong: Vec<String> = rust_files("src").iter().filter_map(|path| poor_name(path)).collect();
    report(&wrong);
}

#[test]
fn every_integration_test_is_in_the_one_binary() {
    let main = read(&root().join("tests/it/main.rs"));
    let names = entries(&root().join("tests/it")).into_iter().map(|path| name_of(&path).to_owned());
    report(&missing_modules(&main, &names.collect()));
}

#[test]
fn no_text_names_a_directory_of_one_machine() {
    let mut here = vec![root().display().to_string()];
    here.extend(
        ["HOME", "CARGO_HOME"].iter().filter_map(|name| std::env::var(name).ok()).filter(|dir| dir.len() > 1),
    );
    let mut wrong = Vec::new();
    for path in written_files() {
        for (line, what) in machine_paths(&read_lossy(&root().join(&path)), &here) {
            wrong.push(format!("{path}:{line}: {what}"));
        }
    }
    report(&wrong);
}

#[test]
fn every_crate_comes_from_crates_io() {
    let wrong = foreign_sources(&read(&root().join("Cargo.lock")));
    report(&wrong.into_iter().map(|(line, what)| format!("Cargo.lock:{line}: {what}")).collect::<Vec<_>>());
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for path in written_files().into_iter().filter(|path| path.ends_with(".md")) {
        let file = root().join(&path);
        let folder = file.parent().expect("a file is in a folder");
        for (line, target) in links(&read(&file)) {
            if !folder.join(&target).exists() {
                wrong.push(format!("{path}:{line}: links to {target}, which is not there: correct the path"));
            }
        }
    }
    report(&wrong);
}

// The rules.

/// Floors that `text`, the file at `path`, names and may not.
fn wrong_floors(path: &str, text: &str) -> Vec<Finding> {
    let parts: Vec<&str> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    if parts.len() == 1 {
        return named(text, "svinit::")
            .into_iter()
            .filter(|(_, name)| name != "cli")
            .map(|(line, name)| (line, format!("names svinit::{name}; {path} goes through svinit::cli")))
            .collect();
    }
    let floor = parts[0];
    // How many `super::` lead from this file to the root of the crate.
    let depth = if parts.last() == Some(&"mod") { parts.len() - 1 } else { parts.len() };
    let allowed = MAY_NAME.iter().find(|(name, _)| *name == floor).map_or(&[][..], |(_, named)| *named);
    let is_floor = |name: &str| MAY_NAME.iter().any(|(floor, _)| *floor == name);
    let mut names = named(text, "crate::");
    names.extend(named(text, &"super::".repeat(depth)).into_iter().filter(|(_, name)| is_floor(name)));
    names
        .into_iter()
        .filter(|(_, name)| name != floor && !allowed.contains(&name.as_str()))
        .map(|(line, name)| {
            let may = if allowed.is_empty() { "no other floor".to_owned() } else { allowed.join(", ") };
            (line, format!("{floor} names {name}, but may name {may}: hand in what it needs, or move the code to a floor that may"))
        })
        .collect()
}

/// What follows each `prefix` in the code of `text`: the next identifier, unless that is a macro or a list.
fn named(text: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, code) in code_lines(text) {
        for (at, _) in code.match_indices(prefix) {
            let inside_a_word = code[..at].ends_with(|c: char| is_word(c) || c == ':');
            let rest = &code[at + prefix.len()..];
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if !inside_a_word && !name.is_empty() && !rest[name.len()..].starts_with('!') {
                found.push((line, name));
            }
        }
    }
    found
}

/// `use crate::{a, b}`: the reader and this test want to see one module a line.
fn grouped_uses(text: &str) -> Vec<Finding> {
    lines_with(text, &["use crate::{"], "write one `use crate::FLOOR::MODULE::...` line a module")
}

/// A file that does not open with `//!`.
fn without_module_docs(text: &str) -> Vec<Finding> {
    if text.starts_with("//!") {
        return Vec::new();
    }
    vec![(1, "open with `//!`: what this is, what it must not do, what is easy to get wrong".to_owned())]
}

/// The keyword `unsafe`.
fn unsafe_words(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, code) in code_lines(text) {
        if code.split(|c| !is_word(c)).any(|word| word == "unsafe") {
            found.push((line, format!("unsafe: put the call into {UNSAFE_HOME}, behind a safe function")));
        }
    }
    found
}

/// Waiting for time.
fn sleeps(text: &str) -> Vec<Finding> {
    let words = ["thread::sleep", "sleep_ms(", "time::sleep("];
    lines_with(text, &words, "wait for an event by its name, with a bound, never for time")
}

/// Tests that do not run.
fn ignored_tests(text: &str) -> Vec<Finding> {
    let remedy = "assert what happens today and say why it is wrong, or leave the test out; print \"skipped: WHY\" where it cannot run";
    lines_with(text, &["#[ignore"], remedy)
}

/// Code that is not there yet, or was for looking only.
fn unfinished(text: &str) -> Vec<Finding> {
    lines_with(text, &["todo!", "unimplemented!", "dbg!"], "finish it before it is committed")
}

/// A file name that says nothing.
fn poor_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    let (name, folder) = (parts[parts.len() - 1], parts[parts.len() - 2]);
    if name == folder {
        return Some(format!(
            "{path}: named as its folder; name it after the thing it holds, or make it mod.rs"
        ));
    }
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "shared"];
    vague
        .contains(&name)
        .then(|| format!("{path}: \"{name}\" could hold anything; name it after the thing it holds"))
}

/// Files beside `main` that it does not name.
fn missing_modules(main: &str, files: &BTreeSet<String>) -> Vec<String> {
    files
        .iter()
        .filter(|file| *file != "main.rs" && !file.starts_with('.'))
        .map(|file| file.trim_end_matches(".rs"))
        .filter(|name| !main.lines().any(|line| line.trim() == format!("mod {name};")))
        .map(|name| format!("tests/it/main.rs: without `mod {name};` the tests in tests/it/{name} never run"))
        .collect()
}

/// Directories of the machine that this was written on.
fn machine_paths(text: &str, here: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, content) in numbered(text) {
        for dir in here {
            if content.contains(&format!("{dir}/")) {
                found.push((line, format!("{dir} is a directory of this machine: write it relative, or take it from the environment")));
            }
        }
    }
    found
}

/// Crates in a lock file that are not from the public registry.
fn foreign_sources(lock: &str) -> Vec<Finding> {
    numbered(lock)
        .filter(|(_, line)| line.starts_with("source = "))
        .filter(|(_, line)| !line.contains("\"registry+https://github.com/rust-lang/crates.io-index\""))
        .map(|(number, line)| {
            (number, format!("{line}: a clean clone elsewhere could not build it; take it from crates.io"))
        })
        .collect()
}

/// The targets of relative links in a Markdown text, code blocks left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target: String =
                line[at + 2..].chars().take_while(|c| !matches!(c, ')' | ' ' | '#')).collect();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number, target));
            }
        }
    }
    found
}

// Reading.

/// Lines of code that hold one of `words`, each with `remedy`.
fn lines_with(text: &str, words: &[&str], remedy: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, code) in code_lines(text) {
        for word in words.iter().filter(|word| code.contains(**word)) {
            found.push((line, format!("{word}: {remedy}")));
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn code_lines(text: &str) -> Vec<(usize, String)> {
    numbered(&code_of(text)).map(|(line, code)| (line, code.to_owned())).collect()
}

/// `text` with what comments and string literals hold left out, so that a rule may be named in either.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_length(rest, code.chars().last());
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        let (token, after) = rest.split_at(taken);
        if skipped == 0 {
            code.push(first);
        } else {
            code.extend(token.chars().filter(|c| *c == '\n'));
            code.push(' ');
        }
        rest = after;
    }
    code
}

/// How long the comment, string or character literal is that `rest` begins with; 0 if it begins with code.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let up_to =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return up_to("*/", 2);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('r') && !before.is_some_and(|c| is_word(c) && c != 'b') {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return up_to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    // 'x' and '\n' are characters, 'a without an end is a lifetime.
    if rest.starts_with("'\\") || (rest.starts_with('\'') && rest.chars().nth(2) == Some('\'')) {
        return quoted_length(rest, '\'');
    }
    0
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

// The tree.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("cannot read {}: {why}", path.display()))
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Every file below `folder` that a person wrote, as a path relative to the root.
fn files_below(folder: &Path, out: &mut Vec<String>) {
    for path in entries(folder) {
        if MADE.contains(&name_of(&path)) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files_below(&path, out);
        } else if let Ok(relative) = path.strip_prefix(root()) {
            out.push(relative.display().to_string());
        }
    }
}

fn written_files() -> Vec<String> {
    let mut out = Vec::new();
    files_below(&root(), &mut out);
    out
}

fn rust_files(folder: &str) -> Vec<String> {
    let mut out = Vec::new();
    files_below(&root().join(folder), &mut out);
    out.retain(|path| path.ends_with(".rs"));
    assert!(!out.is_empty(), "no Rust file below {folder}: is this rule looking in the right place?");
    out
}

fn over_rust(folder: &str, rule: impl Fn(&str, &str) -> Vec<Finding>) {
    let mut wrong = Vec::new();
    for path in rust_files(folder) {
        for (line, what) in rule(&path, &read(&root().join(&path))) {
            wrong.push(format!("{path}:{line}: {what}"));
        }
    }
    report(&wrong);
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} against the house rules:\n  {}\n", wrong.len(), wrong.join("\n  "));
}

/// The rules find what they are for, and leave alone what only looks like it.
mod proof {
    use super::*;

    fn lines(found: &[Finding]) -> Vec<usize> {
        found.iter().map(|(line, _)| *line).collect()
    }

    #[test]
    fn a_name_from_below_is_found_in_use_lines_and_in_paths() {
        let text = "//! About crate::cli.\nuse crate::units::name::UnitName;\nuse crate::os::clock;\nfn f() { crate::runtime::go() }\n";
        assert_eq!(lines(&wrong_floors("src/lifecycle/unit.rs", text)), [3, 4]);
        assert_eq!(lines(&wrong_floors("src/cli/exit.rs", text)), [] as [usize; 0]);
    }

    #[test]
    fn a_way_round_through_super_is_found() {
        let text = "use super::super::cli::exit;\nuse super::logs::tail;\n";
        assert_eq!(lines(&wrong_floors("src/control/routes.rs", text)), [1]);
        assert_eq!(lines(&wrong_floors("src/control/mod.rs", "use super::cli::exit;")), [1]);
    }

    #[test]
    fn an_unknown_floor_is_found_and_a_macro_is_none() {
        assert_eq!(
            lines(&wrong_floors("src/units/a.rs", "crate::elsewhere::f();\ncrate::bug!(out);\n")),
            [1]
        );
    }

    #[test]
    fn main_goes_through_cli() {
        assert_eq!(
            lines(&wrong_floors("src/main.rs", "svinit::cli::run();\nsvinit::os::reap::peek();\n")),
            [2]
        );
    }

    #[test]
    fn the_remedy_names_both_floors() {
        let found = wrong_floors("src/logs/pump.rs", "use crate::runtime::handle::Handle;");
        assert!(
            found[0].1.starts_with("logs names runtime, but may name units, lifecycle, os:"),
            "{}",
            found[0].1
        );
    }

    #[test]
    fn a_grouped_use_is_found() {
        assert_eq!(lines(&grouped_uses("use crate::{a, b};\nuse crate::units::spec::{Log, Stop};\n")), [1]);
    }

    #[test]
    fn a_file_without_docs_is_found() {
        assert_eq!(lines(&without_module_docs("use std::fs;\n")), [1]);
        assert_eq!(lines(&without_module_docs("//! Words.\n")), [] as [usize; 0]);
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        let text = "// unsafe\n#![deny(unsafe_code)]\nlet a = \"unsafe\";\nlet b = r#\"un\"safe unsafe\"#;\nunsafe { f() }\n";
        assert_eq!(lines(&unsafe_words(text)), [5]);
    }

    #[test]
    fn literals_of_every_kind_are_left_out() {
        let text = "'\"' + \"a\\\"dbg!\" + b\"todo!\" + '\\'' /* dbg!\n */ + f::<'a>(x) + dbg!(1)";
        assert_eq!(lines(&unfinished(text)), [2]);
    }

    #[test]
    fn a_sleep_an_ignored_test_and_an_open_end_are_found() {
        assert_eq!(lines(&sleeps("std::thread::sleep(d);\ntokio::time::sleep(d).await;\n")), [1, 2]);
        assert_eq!(lines(&ignored_tests("#[test]\n#[ignore = \"slow\"]\n")), [2]);
        assert_eq!(lines(&unfinished("todo!()\nunimplemented!()\ndbg!(x)\n")), [1, 2, 3]);
    }

    #[test]
    fn a_poor_name_is_found() {
        assert!(poor_name("src/units/units.rs").is_some());
        assert!(poor_name("src/os/utils.rs").is_some());
        assert!(poor_name("src/os/mod.rs").is_none());
    }

    #[test]
    fn a_test_file_that_nothing_names_is_found() {
        let files = ["main.rs", "boot.rs", "lost.rs"].map(str::to_owned).into();
        let found = missing_modules("//! All.\nmod boot;\n// mod lost;\n", &files);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("mod lost;"), "{}", found[0]);
    }

    #[test]
    fn a_directory_of_this_machine_is_found() {
        let here = ["/srv/build".to_owned()];
        assert_eq!(lines(&machine_paths("a\ncd /srv/build/x\n/srv/builder/y\n", &here)), [2]);
    }

    #[test]
    fn a_crate_from_elsewhere_is_found() {
        let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nsource = \"git+https://example.org/x\"\n";
        assert_eq!(lines(&foreign_sources(lock)), [2]);
    }

    #[test]
    fn links_are_read_without_anchors_addresses_and_code() {
        let text = "[a](docs/a.md#top) [b](https://example.org) [c](#here)\n```\n[d](no.md)\n```\n![e](img/e.svg \"E\")\n";
        assert_eq!(links(text), [(1, "docs/a.md".to_owned()), (5, "img/e.svg".to_owned())]);
    }
}
