//! `mutants ROOT [--sample N] [--only N] [--list]`: how many small mistakes in the lifecycle does a test see?
//!
//! A copy of `src/lifecycle` and `src/units` gets all mistakes at once, each behind a switch (mutant schemata), and is
//! compiled once, as a crate of its own without the rest of svinit. Then the tests run once for each mistake, with the
//! number of that in `MUTANT`. So a mutant costs a second and not a build. What is sampled is every so-manieth, no dice.
//!
//! Exit status 1 when fewer than `LEAST` percent are seen, or when the tests fail without any mistake.

mod schemata;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use schemata::Mutant;

/// What is mutated: the machine, and the order of units. Tests, the planted bugs and the simulator are not.
const LEFT_OUT: &[&str] = &["planted.rs", "stories.rs", "mod.rs", "sim", "model", "tests.rs", "stories"];

/// Percent that have to be seen.
const LEAST: usize = 90;

/// How many lines below a `return` that is left out its lack may show.
const NEAR: usize = 20;

/// How often it is tried to leave out what does not compile.
const ATTEMPTS: usize = 6;

/// Longer than this, and the mistake has made a loop: it is seen.
const PATIENCE: Duration = Duration::from_secs(90);

/// The tests in the order in which they are asked, cheapest first: arguments and environment.
const STAGES: &[(&[&str], &[(&str, &str)])] = &[
    (&["lifecycle::", "units::graph", "--skip", "lifecycle::sim", "--skip", "lifecycle::model"], &[]),
    (&["lifecycle::model::no_path"], &[("MODEL_DISTURBANCES", "1")]),
    (&["lifecycle::sim::no_schedule"], &[("SIM_RUNS", "600")]),
    (&["lifecycle::model::no_path"], &[("MODEL_DISTURBANCES", "2")]),
    (&["lifecycle::sim::no_schedule"], &[("SIM_RUNS", "10000")]),
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for on the command line.
struct Asked {
    root: PathBuf,
    sample: usize,
    only: Option<u32>,
    /// Print them all and run none.
    lists: bool,
}

fn asked() -> Result<Asked, String> {
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: mutants ROOT [--sample N] [--only N] [--list]")?;
    let root = fs::canonicalize(&root).map_err(|why| format!("cannot find {root}: {why}"))?;
    let mut asked = Asked { root, sample: usize::MAX, only: None, lists: false };
    while let Some(arg) = args.next() {
        if arg == "--list" {
            asked.lists = true;
            continue;
        }
        let value =
            args.next().and_then(|value| value.parse().ok()).ok_or(format!("{arg} needs a number"))?;
        match arg.as_str() {
            "--sample" => asked.sample = value,
            "--only" => asked.only = u32::try_from(value).ok(),
            other => return Err(format!("no such option: {other}")),
        }
    }
    Ok(asked)
}

fn run() -> Result<bool, String> {
    let asked = asked()?;
    let home = asked.root.join("target/mutants");
    let (mutants, binary) = build(&asked.root, &home)?;
    println!("{} mutants", mutants.len());
    if asked.lists {
        mutants.iter().for_each(|mutant| println!("{mutant}"));
        println!("{}", binary.display());
        return Ok(true);
    }
    let (baseline, _) = first_failure(&binary, 0);
    if let Some(stage) = baseline {
        return Err(format!("without any mistake, stage {stage} fails: {}", binary.display()));
    }
    let step = mutants.len().div_ceil(asked.sample.clamp(1, mutants.len().max(1))).max(1);
    let chosen: Vec<&Mutant> = match asked.only {
        Some(id) => mutants.iter().filter(|mutant| mutant.id == id).collect(),
        None => mutants.iter().step_by(step).collect(),
    };
    let began = Instant::now();
    let mut alive = Vec::new();
    let mut seen_by = [0; STAGES.len()];
    let mut report = String::new();
    for (count, mutant) in chosen.iter().enumerate() {
        let (stage, took) = first_failure(&binary, mutant.id);
        let fate = match stage {
            Some(stage) => {
                seen_by[stage] += 1;
                format!("seen by {stage}")
            }
            None => {
                alive.push(*mutant);
                "ALIVE".to_owned()
            }
        };
        report.push_str(&format!("{fate:9} {mutant} ({:.1}s)\n", took.as_secs_f64()));
        if stage.is_none() {
            println!("ALIVE {mutant}");
        }
        if count % 100 == 99 {
            println!("... {} of {}, {} alive, {:?}", count + 1, chosen.len(), alive.len(), began.elapsed());
        }
    }
    write(&home.join("report.txt"), &report)?;
    let killed = chosen.len() - alive.len();
    println!(
        "{killed} of {} mutants seen ({:.1} %), by stage {seen_by:?}, in {:?}; all of them: {}",
        chosen.len(),
        100.0 * killed as f64 / chosen.len().max(1) as f64,
        began.elapsed(),
        home.join("report.txt").display()
    );
    Ok(killed * 100 >= chosen.len() * LEAST)
}

/// The first stage that fails with this mistake; `None` when no test sees it.
fn first_failure(binary: &Path, id: u32) -> (Option<usize>, Duration) {
    let began = Instant::now();
    let fails = |(args, vars): &(&[&str], &[(&str, &str)])| !passes(binary, args, vars, id);
    (STAGES.iter().position(fails), began.elapsed())
}

fn passes(binary: &Path, args: &[&str], vars: &[(&str, &str)], id: u32) -> bool {
    // A mistake may eat all memory; then it is seen as well.
    let mut child = match Command::new("sh")
        .args(["-c", "ulimit -v 6000000; exec \"$0\" \"$@\""])
        .arg(binary)
        .args(args)
        .envs(vars.iter().copied())
        .env("MUTANT", id.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(child) => child,
        Err(why) => {
            eprintln!("mutants: cannot start the tests: {why}");
            return false;
        }
    };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// Makes the crate of mistakes and compiles its tests. What the compiler does not accept is left out.
fn build(root: &Path, home: &Path) -> Result<(Vec<Mutant>, PathBuf), String> {
    let mut without = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let mut mutants = write_all(root, home, &without)?;
        match compile(home, &mutants)? {
            Ok(binary) => {
                mutants.retain(|mutant| !without.contains(&mutant.id));
                return Ok((mutants, binary));
            }
            Err(refused) => {
                println!("{} mistakes do not compile and are left out", refused.len());
                without.extend(refused);
            }
        }
    }
    Err(format!("the mistakes do not compile; see {}", home.join("src").display()))
}

/// The numbers in what the compiler says about a mistake.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split("mutant::").skip(1).filter_map(|rest| {
        let digits = rest.split_once('(')?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// The `return`s that are left out in the lines around the place of an error.
fn around(error: &str, mutants: &[Mutant]) -> Vec<u32> {
    let place = error.split("--> ").nth(1).unwrap_or_default();
    let mut parts = place.split(':');
    let (file, line) =
        (parts.next().unwrap_or_default(), parts.next().and_then(|line| line.parse::<usize>().ok()));
    let Some(line) = line else { return Vec::new() };
    let goes_on = |mutant: &&Mutant| {
        mutant.file == file
            && mutant.line.abs_diff(line) <= NEAR
            && mutant.what.starts_with("left out: return")
    };
    mutants.iter().filter(goes_on).map(|mutant| mutant.id).collect()
}

fn write_all(root: &Path, home: &Path, without: &BTreeSet<u32>) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    let mut all = String::new();
    let _ = fs::remove_dir_all(home.join("src"));
    for floor in ["lifecycle", "units"] {
        for path in all_files(&root.join("src").join(floor)).map_err(|why| why.to_string())? {
            let inside = path.strip_prefix(root).map_err(|why| why.to_string())?;
            let text =
                fs::read_to_string(&path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
            let named = inside.display().to_string();
            let is_left_out =
                inside.components().any(|part| LEFT_OUT.iter().any(|out| part.as_os_str() == *out));
            let is_rust = named.ends_with(".rs");
            let is_meant = is_rust && (floor == "lifecycle" || named.ends_with("graph.rs"));
            let text = if is_left_out || !is_meant {
                text
            } else {
                schemata::with_mistakes(&named, &text, &mut mutants, without)?
            };
            write(&home.join(inside), &text)?;
            if is_rust {
                all.push_str(&text);
            }
        }
    }
    write(
        &home.join("src/lib.rs"),
        "#![allow(warnings)]\npub mod lifecycle;\npub mod mutant;\npub mod units;\n",
    )?;
    write(&home.join("src/mutant.rs"), include_str!("switch.rs"))?;
    for data in ["schema"] {
        copy_all(&root.join(data), &home.join(data)).map_err(|why| why.to_string())?;
    }
    let own = fs::read_to_string(root.join("Cargo.toml")).map_err(|why| why.to_string())?;
    write(&home.join("Cargo.toml"), &manifest(&own, &all))?;
    fs::copy(root.join("Cargo.lock"), home.join("Cargo.lock")).map_err(|why| why.to_string())?;
    Ok(mutants)
}

/// The test binary, or the numbers of the mistakes that the compiler refuses.
fn compile(home: &Path, mutants: &[Mutant]) -> Result<Result<PathBuf, BTreeSet<u32>>, String> {
    let out = Command::new("cargo")
        .args(["test", "--no-run", "--lib", "--message-format", "json"])
        .current_dir(home)
        .env("CARGO_TARGET_DIR", home.join("target"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        let errors = text.lines().filter(|line| line.contains("\"level\":\"error\""));
        // Without `return` a later line may be at fault that shows no mistake: then those around it go.
        let at_fault = |line: &str| {
            let named: Vec<u32> = numbers(line).collect();
            if named.is_empty() { around(line, mutants) } else { named }
        };
        let refused: BTreeSet<u32> = errors.flat_map(at_fault).collect();
        return if refused.is_empty() {
            Err("the copy does not compile".to_owned())
        } else {
            Ok(Err(refused))
        };
    }
    let found = text.lines().filter(|line| line.contains("\"profile\"") && line.contains("\"test\":true"));
    let path = found.filter_map(|line| line.split("\"executable\":\"").nth(1)?.split('"').next()).last();
    Ok(Ok(PathBuf::from(path.ok_or("cargo made no test")?)))
}

/// svinit's own manifest, with the library only and what that still uses.
fn manifest(own: &str, all: &str) -> String {
    let mut text = String::from(
        "[package]\nname = \"mistakes\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    let mut keeps = false;
    for line in own.lines() {
        if line.starts_with('[') {
            keeps = ["[dependencies]", "[dev-dependencies]", "[profile.test]"].contains(&line);
        }
        let is_used = match line.split_once(" = ") {
            Some((name, _)) if line.contains('"') => all.contains(&format!("{}::", name.replace('-', "_"))),
            _ => true,
        };
        if keeps && (is_used || line.starts_with("debug")) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn all_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(all_files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_all(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|why| format!("cannot write {}: {why}", path.display()))
}
