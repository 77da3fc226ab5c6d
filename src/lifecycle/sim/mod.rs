//! A hundred thousand bad days: the machine among processes that crash, hang, lie, fork and will not die.
//!
//! A seed makes a `plan` (units, how their processes behave, what people ask for and when) and drives it through a
//! `world` (a small kernel and a small outside). Every promise of DESIGN §4 and §5 is a sentence with a watcher in
//! `starting`, `stopping`, `restarting`, `replacing`, `rolling`, `updating`, `watching`, `asking`, `telling`,
//! `roster`, `clocked` or `crashing`; they know what happened from the `book` and
//! what is really so from the world, and see nothing of the machine's inside. `bugs` shows that they are not blind.
//!
//! `sweep` lets one wish after the other fail.
//!
//! `SIM_SEED=73 cargo test sim` repeats one schedule and tells its last events in words; `SIM_RUNS=1000000` runs more;
//! `SIM_BUG=NoLimit` shows which promises a planted bug breaks.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a watcher looks at few kinds of events and lets all others pass, also those that are still to come"
)]

mod asking;
mod book;
mod bugs;
mod clocked;
mod crashing;
mod dice;
mod plan;
mod promise;
mod replacing;
mod rest;
mod restarting;
mod rolling;
mod roster;
mod schedule;
mod script;
mod starting;
mod stopping;
mod sweep;
mod telling;
mod updating;
mod watching;
mod words;
mod world;

use std::collections::BTreeMap;
use std::thread;

use crate::lifecycle::sim::schedule::Keep;

/// Schedules in an ordinary test run.
const RUNS: u64 = 100_000;

/// Threads that share them.
const THREADS: u64 = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What many schedules came to.
#[derive(Default)]
struct Tally {
    steps: u64,
    calm: u64,
    /// The seeds that broke each promise.
    broken: BTreeMap<&'static str, Vec<u64>>,
}

/// So many failures are enough to see what is wrong.
const ENOUGH: usize = 100;

fn run_all(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    if let Ok(bug) = std::env::var("SIM_BUG") {
        bugs::plant_named(&bug);
    }
    for seed in seeds {
        match schedule::run_keeping(seed, Keep::Nothing) {
            Ok(outcome) => {
                tally.steps += outcome.steps;
                tally.calm += u64::from(outcome.was_calm);
            }
            Err(failure) => tally.broken.entry(failure.sentence).or_default().push(seed),
        }
        if tally.broken.values().map(Vec::len).sum::<usize>() >= ENOUGH {
            break;
        }
    }
    tally
}

/// Runs these seeds on all threads.
fn run_on_threads(from: u64, runs: u64) -> Tally {
    let mut total = Tally::default();
    thread::scope(|scope| {
        let begin = |nth| {
            let seeds = (from..from + runs).filter(move |seed| seed % THREADS == nth);
            thread::Builder::new().spawn_scoped(scope, move || run_all(seeds)).expect("a thread")
        };
        let threads: Vec<_> = (0..THREADS).map(begin).collect();
        for thread in threads {
            let tally = thread.join().expect("a schedule does not panic");
            total.steps += tally.steps;
            total.calm += tally.calm;
            for (sentence, seeds) in tally.broken {
                total.broken.entry(sentence).or_default().extend(seeds);
            }
        }
    });
    total
}

/// So many of them are shown.
const SHOWN: usize = 12;

/// Every broken promise with its seeds, and the shortest story of the first of them.
fn explain(broken: &BTreeMap<&'static str, Vec<u64>>) -> String {
    let mut text = String::new();
    for (sentence, seeds) in broken {
        let first = seeds.iter().min().expect("a broken promise has a seed");
        text.push_str(&format!("\n{} schedules broke the promise: {sentence}\n", seeds.len()));
        text.push_str(&format!("seeds: {:?}\n", &seeds[..seeds.len().min(SHOWN)]));
        if let Err(failure) = schedule::run_keeping(*first, Keep::Words) {
            text.push_str(&failure.to_string());
        }
    }
    text
}

#[test]
fn no_schedule_breaks_a_promise() {
    if let Some(seed) = number("SIM_SEED") {
        match schedule::run_keeping(seed, Keep::Words) {
            Ok(outcome) => println!("SIM_SEED={seed}: all promises held, {} steps", outcome.steps),
            Err(failure) => panic!("\n{failure}"),
        }
        return;
    }
    let (runs, from) = (number("SIM_RUNS").unwrap_or(RUNS), number("SIM_FROM").unwrap_or(0));
    let tally = run_on_threads(from, runs);
    assert!(tally.broken.is_empty(), "{}", explain(&tally.broken));
    println!("{runs} schedules, {} steps, {} came to rest: all promises held", tally.steps, tally.calm);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..500 {
        let hash = || schedule::run_keeping(seed, Keep::Hash).map(|outcome| outcome.hash).ok();
        assert_eq!(hash(), hash(), "SIM_SEED={seed}: two runs differ");
    }
}
