//! One failure after the other: each wish that can fail does so once, in the same schedule.
//!
//! Chance alone meets few of the moments that a schedule has. Here the schedule of a seed is run with its first wish
//! failing, then with its second, and so on until there is none left to fail; every promise must hold each time. What
//! can fail is the making of a process (for each reason in turn), a check, and the reading of a pid file.
//!
//! `SIM_SWEEP=N` sweeps N seeds instead of the usual number.

use crate::lifecycle::sim::number;
use crate::lifecycle::sim::schedule::{Keep, run_failing};

/// Seeds in an ordinary run; they have some sixteen wishes each.
const SEEDS: u64 = 150;

#[test]
fn a_failure_of_any_single_wish_breaks_no_promise() {
    let seeds = number("SIM_SWEEP").unwrap_or(SEEDS);
    let mut schedules = 0;
    let mut broken = Vec::new();
    for seed in 0..seeds {
        for nth in 1.. {
            schedules += 1;
            match run_failing(seed, nth, Keep::Nothing) {
                Ok(outcome) if outcome.wishes < nth => break,
                Ok(_) => {}
                Err(failure) => broken.push((nth, failure.seed)),
            }
        }
        if broken.len() > 20 {
            break;
        }
    }
    if let Some((nth, seed)) = broken.first() {
        let failure = run_failing(*seed, *nth, Keep::Words).err().map(|failure| failure.to_string());
        let told = failure.unwrap_or_else(|| "it does not fail again".to_owned());
        panic!("{} failures; with wish number {nth} of seed {seed} failing:\n{told}", broken.len());
    }
    println!("{schedules} schedules of {seeds} seeds, each with one wish failing: all promises held");
}
