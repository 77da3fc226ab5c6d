//! A quarter of an hour of a bad day: one svinit, fifty units, and nothing of it may grow.
//!
//!     make soak              # 15 minutes
//!     SOAK=60 make soak      # one minute
//!
//! Units are restarted twice a second, crash, leave orphans, write 5 MB/s of logs into files that are rotated; some
//! twenty checks and fifty requests a second come on top. All the while svinit's own descriptors, threads, memory,
//! zombies, children and files are counted. What is counted in the last third must not be above the first third, but
//! for the slack that stands beside each count in `samples`. Without `SOAK` in the environment nothing is run, because
//! `cargo test` runs every test binary.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts svinit as a user would, has threads of its own, and reads the clock for its bounds"
)]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]
#![allow(clippy::print_stdout, unreachable_pub, reason = "it prints what it has found out")]

mod day;
mod samples;
mod traffic;
mod units;

use std::time::{Duration, Instant};

use crate::day::{Day, Pace};
use crate::samples::Samples;
use crate::traffic::Traffic;

/// Samples of a run, however long it is.
const SAMPLES: u32 = 90;

/// Before the first sample: until every buffer has had its fill and every log has as many rotated files as it keeps.
const WARM_UP: Duration = Duration::from_secs(40);

fn main() {
    let Some(seconds) = std::env::var("SOAK").ok() else {
        println!("skipped: SOAK=SECONDS runs the soak test, make soak a quarter of an hour of it");
        return;
    };
    let seconds: u64 = seconds.parse().expect("SOAK is a number of seconds");
    let whole = Duration::from_secs(seconds);
    let Some(day) = Day::begin() else { return };
    let traffic = Traffic::begin(&day);
    let pace = Pace::default();
    pace.wait(WARM_UP);
    let mut samples = Samples::default();
    let began = Instant::now();
    for _ in 0..SAMPLES {
        samples.take(&day, began.elapsed());
        pace.wait(whole / SAMPLES);
    }
    let done = traffic.end();
    let is_reaped = day.comes(|day| samples::zombies(day) == 0);
    let left = day.end();
    println!("{}\n\n{done}\n{left}", samples.table());
    let mut wrong = samples.risen();
    wrong.extend(done.wrong());
    wrong.extend(left.wrong());
    if !is_reaped {
        wrong.push("zombies stay although nothing is asked of svinit any more".to_owned());
    }
    assert!(wrong.is_empty(), "the soak test has found:\n  {}", wrong.join("\n  "));
}
