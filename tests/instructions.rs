//! What the hot paths cost, in instructions: a guard against becoming slower little by little.
//!
//! Instructions do not depend on how busy the machine is, so a count can be held to a number where a time cannot. The
//! test runs itself once more under callgrind, which counts what happens between entering and leaving [`counted`]. Only
//! pure paths: callgrind cannot follow processes that are made with `CLONE_VM`. The numbers are those of the compiler, the
//! profile of tests and a processor with AVX2; after a change that is worth its instructions, or a new compiler,
//! `UPDATE=1 cargo test --test instructions` writes them anew.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]
#![expect(clippy::disallowed_methods, reason = "a test runs valgrind and asks for the compiler's version")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "instructions/paths.rs"]
mod paths;

/// Where the numbers stand.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions/counts.txt");

/// What a count may be above its number before it is too much, in percent.
const SLACK: u64 = 10;

/// Set for the process that is counted.
const COUNTED: &str = "SVINIT_TEST_COUNTED";

#[test]
fn hot_paths_cost_no_more_instructions_than_were_recorded() {
    if std::env::var_os(COUNTED).is_some() {
        return run_all();
    }
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("skipped: the instructions are recorded for x86_64");
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI runs every test, but: valgrind is not installed");
        return eprintln!("skipped: valgrind is not installed");
    }
    let counts = count();
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(RECORD, record(&counts)).unwrap();
    }
    let recorded = parse(&fs::read_to_string(RECORD).unwrap());
    assert!(
        recorded.keys().eq(counts.keys()),
        "the paths have other names than those recorded: UPDATE=1 cargo test --test instructions"
    );
    let wrong = too_many(&recorded, &counts);
    assert!(
        wrong.is_empty(),
        "{wrong}find out why (valgrind --tool=callgrind, callgrind_annotate), and when it is worth it, or the compiler is \
         another than the record names: UPDATE=1 cargo test --test instructions"
    );
}

#[test]
fn a_path_that_costs_more_than_the_slack_is_found() {
    let recorded = BTreeMap::from([("one".to_owned(), 1000)]);
    let now = |count| too_many(&recorded, &BTreeMap::from([("one".to_owned(), count)]));
    assert_eq!(now(1100), "");
    assert_eq!(now(10), "");
    assert_eq!(now(1101), "one: 1101 instructions, recorded 1000 (+10.1 %)\n");
}

/// Each path once to warm up what is made only once, and once between the marks.
fn run_all() {
    for (_, prepare) in paths::ALL {
        let mut work = prepare();
        work();
        counted(&mut work);
    }
}

/// What is between entering and leaving is counted; callgrind knows it by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Not the last call: that would become a jump, which callgrind does not see return.
    std::hint::black_box(());
}

/// Runs this very test under callgrind; the count of each path by its name.
fn count() -> BTreeMap<String, u64> {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=instructions::counted", "--dump-after=instructions::counted"])
        .arg(format!("--callgrind-out-file={}", dir.path().join("out").display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "hot_paths_cost_no_more_instructions_than_were_recorded", "--nocapture"])
        .env(COUNTED, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    paths::ALL
        .iter()
        .zip(1..)
        .map(|((name, _), part)| ((*name).to_owned(), total(&dir.path().join(format!("out.{part}")))))
        .collect()
}

/// The instructions in one of callgrind's files.
fn total(file: &Path) -> u64 {
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("callgrind has not counted a path: {}: {error}", file.display()));
    let count = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    let count = count.unwrap_or_else(|| panic!("{} has no totals", file.display()));
    assert!(count > 1000, "{count} instructions cannot be a whole path");
    count
}

fn too_many(recorded: &BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) -> String {
    let mut wrong = String::new();
    for (name, count) in counts {
        let before = recorded[name];
        if count * 100 > before * (100 + SLACK) {
            let tenths = (count - before) * 1000 / before;
            writeln!(
                wrong,
                "{name}: {count} instructions, recorded {before} (+{}.{} %)",
                tenths / 10,
                tenths % 10
            )
            .unwrap();
        }
    }
    wrong
}

fn record(counts: &BTreeMap<String, u64>) -> String {
    let compiler = Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    let compiler = String::from_utf8(compiler.unwrap_or_default()).unwrap();
    let mut text = format!(
        "# Instructions of the hot paths in the profile of tests: UPDATE=1 cargo test --test instructions\n# {}\n",
        compiler.trim()
    );
    for (name, count) in counts {
        writeln!(text, "{name} {count}").unwrap();
    }
    text
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.rsplit_once(' ').expect("NAME COUNT");
            (name.to_owned(), count.parse().expect("a number"))
        })
        .collect()
}
