//! Each system call of svinit fails once, and svinit goes on or refuses to start with a reason.
//!
//! First a scenario is lived without a fault and its calls are counted. Then it is lived again for each of them: the
//! n-th such call returns an error that the kernel could give. svinit must not panic, hang or end by itself; its
//! service must come up, be replaced when it crashes and restarted when that is asked for; TERM must end all of it.
//! A refusal to start, with words and a status of svinit's own, is fine as well.
//!
//! An ordinary run lets each kind of call fail once. `SWEEP=all` (`make sweep`) takes each single call, its errors in turn,
//! and then each kind of call from its first time on for good, where only an end without panic is asked for.
//! `SWEEP=every` takes each single call with each of its errors. `SWEEP_ONLY=accept4` looks at one kind only.

mod calls;
mod scenario;
mod tracer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use self::scenario::{CRASH, SIGNS, Scenario};
use self::tracer::{Calls, Fault, Tracing, Who};
use crate::fixture::{Essential, Setup, skip};

/// Lives at the same time.
const THREADS: usize = 2;

/// So many failures are enough to see what is wrong.
const ENOUGH: usize = 20;

/// All lives can take half an hour: so many are told of.
const TOLD_EACH: usize = 250;

/// What became of many lives.
#[derive(Default)]
struct Tally {
    lives: usize,
    met: usize,
    refused: usize,
    wrong: Vec<String>,
}

fn wish(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Each kind of call once: early, in the middle or late in turn, and with one of its errors in turn.
fn some_faults(calls: &Calls) -> Vec<Fault> {
    let each = calls.iter().filter(|((_, call), _)| !calls::errors(*call).is_empty()).enumerate();
    each.map(|(place, ((who, call), count))| {
        let errors = calls::errors(*call);
        let nth = 1 + [0, *count / 2, *count - 1][place % 3];
        Fault {
            who: *who,
            call: *call,
            nth: nth.min(*count),
            lasting: false,
            errno: errors[place % errors.len()],
        }
    })
    .collect()
}

/// Each call with one of its errors in turn, or with each of them; then each kind of call for good.
fn all_faults(calls: &Calls, every: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for ((who, call), count) in calls {
        let errors = calls::errors(*call);
        for nth in 1..=*count {
            let turn = usize::try_from(nth).expect("a small number");
            for (place, errno) in errors.iter().enumerate() {
                if every || place == turn % errors.len() {
                    faults.push(Fault { who: *who, call: *call, nth, lasting: false, errno: *errno });
                }
            }
        }
    }
    for (who, call) in calls.keys() {
        // Who is told to try again for ever may do so.
        let lasts = |errno: &&i32| ![libc::EINTR, libc::EAGAIN].contains(*errno);
        if let Some(errno) = calls::errors(*call).iter().find(lasts) {
            faults.push(Fault { who: *who, call: *call, nth: 1, lasting: true, errno: *errno });
        }
    }
    faults
}

fn words(fault: &Fault) -> String {
    let Fault { who, call, nth, lasting, errno } = fault;
    let error = nix::errno::Errno::from_raw(*errno);
    let lasting = if *lasting { " and all that follow" } else { "" };
    format!("{} number {nth} of {who:?}{lasting} returned {error:?}", calls::name(*call))
}

fn live_all(scenario: &Scenario, faults: &[Fault]) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = scenario.run(Some(*fault));
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.lives += 1;
                    if tally.lives.is_multiple_of(TOLD_EACH) {
                        eprintln!("{}: {} of {} lives", scenario.name, tally.lives, faults.len());
                    }
                    tally.met += usize::from(verdict.met);
                    tally.refused += usize::from(verdict.refused);
                    if let Some(wrong) = verdict.wrong {
                        let wrong = format!("when {}: {wrong}", words(fault));
                        // All of it can take half an hour: what is known is told now.
                        eprintln!("{wrong}");
                        tally.wrong.push(wrong);
                        if tally.wrong.len() >= ENOUGH {
                            return;
                        }
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn sweep(scenario: &Scenario) {
    if scenario.is_pid1 && Setup::new().pid1().is_none() {
        return skip("no PID namespace can be made here", Essential::No);
    }
    if let Some(why) = Tracing::refusal() {
        return skip(&format!("no process can be traced here: {why}"), Essential::No);
    }
    let untouched = scenario.run(None);
    assert!(untouched.wrong.is_none(), "{}: without a fault: {}", scenario.name, untouched.wrong.unwrap());
    let calls = untouched.calls;
    let mut faults = match wish("SWEEP").as_str() {
        "" => some_faults(&calls),
        all => all_faults(&calls, all == "every"),
    };
    let only = wish("SWEEP_ONLY");
    faults.retain(|fault| only.is_empty() || calls::name(fault.call) == only);
    let kinds = calls.len();
    let made: u32 = calls.values().sum();
    assert!(calls.keys().any(|(who, _)| *who == Who::Child), "no child was seen: {calls:?}");
    let tally = live_all(scenario, &faults);
    eprintln!(
        "{}: {made} calls of {kinds} kinds; {} lives, the fault was met in {}, {} refusals to start, {} wrong",
        scenario.name,
        tally.lives,
        tally.met,
        tally.refused,
        tally.wrong.len()
    );
    assert!(tally.wrong.is_empty(), "{}:\n\n{}", scenario.name, tally.wrong.join("\n\n"));
}

#[test]
fn a_crash_and_a_restart_outlast_any_failed_call() {
    sweep(&CRASH);
}

#[test]
fn every_sign_of_readiness_outlasts_any_failed_call() {
    sweep(&SIGNS);
}
