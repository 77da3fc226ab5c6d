//! Small worlds, gone through completely: two units, one link, and everything that can happen, in every order.
//!
//! The simulator (`sim`) lives long lives by lot; this walks through short ones without leaving anything out. `worlds`
//! says what the worlds are, `kernel` what can happen next, `laws` what is always true, `form` when two states are
//! the same, `walk` goes. `bugs` shows that the laws see.
//!
//! `make check-model` goes one disturbance further in all worlds: ten million states, some minutes.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is told of a path names a few kinds of events and lets all others print themselves"
)]

mod bugs;
pub(super) mod form;
mod kernel;
mod laws;
mod walk;
mod worlds;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::lifecycle::model::walk::{Bound, Found, Violation, walk};
use crate::lifecycle::model::worlds::World;

/// Commands, faults and late news on one path, in an ordinary test run; in the plainest worlds there is one more.
const DISTURBANCES: u32 = 2;

/// States of one world after which it is enough.
const STATES: usize = 20_000_000;

const THREADS: usize = 2;

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

type Outcome = (usize, Result<Found, Box<Violation>>);

/// Walks through all worlds, on all threads.
fn walk_all(worlds: &[World], bound: impl Fn(&World) -> Bound + Sync) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(world) = worlds.get(at) else { return outcomes };
            outcomes.push((at, walk(world, bound(world))));
        }
    };
    let mut all = thread::scope(|scope| {
        let begin = |_| thread::Builder::new().spawn_scoped(scope, work).expect("a thread");
        let threads: Vec<_> = (0..THREADS).map(begin).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a walk does not panic"))
            .collect::<Vec<_>>()
    });
    all.sort_by_key(|(at, _)| *at);
    all
}

#[test]
fn no_path_through_a_small_world_breaks_a_law() {
    let worlds = worlds::all();
    let asked = number("MODEL_DISTURBANCES").and_then(|n| u32::try_from(n).ok());
    let states = number("MODEL_STATES").unwrap_or(STATES);
    let bound = |world: &World| {
        let disturbances = asked.unwrap_or(DISTURBANCES + u32::from(world.is_plain));
        Bound { disturbances, states }
    };
    let (mut states, mut steps, mut broken) = (0, 0, String::new());
    for (at, outcome) in walk_all(&worlds, bound) {
        match outcome {
            Ok(found) => {
                let all = if found.is_complete { "all" } else { "not all" };
                println!(
                    "{:9} states ({all}) {:10} steps, at rest after {:?} and {} at most: {}",
                    found.states, found.steps, found.slowest, found.longest, worlds[at].title
                );
                (states, steps) = (states + found.states, steps + found.steps);
            }
            Err(violation) => broken.push_str(&format!("\n{}", violation.story)),
        }
    }
    assert!(broken.is_empty(), "{broken}");
    println!("{states} states, {steps} steps: all laws hold, and everything comes to rest");
}
