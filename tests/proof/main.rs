//! What the README says about change without downtime, shown: requests at full rate through every planned change.
//!
//!     make proof                 # 100,000 requests a cell, and the table
//!     make proof PROOF=5000      # a quick look
//!     make proof UPDATE=1        # also writes the tables of README.md anew
//!
//! Then svinit itself is replaced 200 times and crashes 100 times (`UPGRADES`, `CRASHES`), and nobody may notice.
//!
//! A request that fails, a change that fails, or one that did not happen is a failure of the proof. Without `PROOF` in
//! the environment nothing is run, because `cargo test` runs every test binary; the short forms are in `tests/it`.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts svinit as a user would, has threads of its own, and reads the clock for its table"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]
#![allow(clippy::print_stdout, unreachable_pub, reason = "it prints what it has found out")]

mod itself;
mod load;
mod programs;
mod svinit;
mod table;

use std::time::{Duration, Instant};

use crate::itself::Itself;
use crate::load::Load;
use crate::programs::Program;
use crate::svinit::{Svinit, address, until_answered};

/// Changes in the course of the requests of one cell.
const CHANGES: u64 = 20;

/// Upgrades of svinit itself.
const UPGRADES: usize = 200;

/// Crashes of svinit itself, of all kinds together.
const CRASHES: usize = 100;

/// The services of `make run`.
const SERVICES: [&str; 3] = ["nginx", "gunicorn", "postgres"];

/// Of each way to restart, for the median.
const RESTARTS: usize = 9;

/// Something that is done to a service, or to svinit, while clients ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// `svctl restart`: stopped, then started; connections wait in the queue of the held socket.
    Restart,
    /// The same with `[restart] mode = "start-first"`.
    StartFirst,
    /// `svctl restart` of three instances, one after the other.
    Rolling,
    /// Another definition, by `svctl update`.
    Update,
    /// svinit itself.
    Upgrade,
}

impl Change {
    const ALL: [Self; 5] = [Self::Restart, Self::StartFirst, Self::Rolling, Self::Update, Self::Upgrade];

    fn words(self) -> &'static str {
        match self {
            Self::Restart => "`svctl restart`, held socket",
            Self::StartFirst => "`svctl restart`, start-first",
            Self::Rolling => "`svctl restart`, 3 instances",
            Self::Update => "`svctl update`",
            Self::Upgrade => "`svctl upgrade`",
        }
    }

    fn unit(self, program: &Program, at: &str, generation: u64) -> String {
        match self {
            Self::Restart | Self::Upgrade => program.unit(at, "", 0),
            Self::StartFirst => program.unit(at, "restart.mode = \"start-first\"\n", 0),
            Self::Rolling => program.unit(at, "instances = 3\n", 0),
            Self::Update => program.unit(at, "restart.mode = \"start-first\"\n", generation),
        }
    }

    fn make(self, svinit: &Svinit, program: &Program, at: &str, generation: u64) -> Result<(), String> {
        match self {
            Self::Restart | Self::StartFirst | Self::Rolling => svinit.svctl(&["restart", "web"]),
            Self::Update => {
                svinit.write(&self.unit(program, at, generation));
                svinit.svctl(&["update"])
            }
            Self::Upgrade => {
                svinit.replace_executable();
                svinit.svctl(&["upgrade"])
            }
        }
        .map(drop)
    }
}

/// What one program and one change came to.
pub struct Cell {
    program: &'static str,
    change: Change,
    changes: u64,
    requests: u64,
    failed: u64,
    longest: Duration,
    wrong: Vec<String>,
}

/// How long until the first good answer.
pub struct Restart {
    what: String,
    took: Duration,
}

fn main() {
    let Ok(requests) = std::env::var("PROOF") else {
        println!("skipped: PROOF=REQUESTS runs the proof, make proof 100000 of them for each change");
        return;
    };
    let requests: u64 = requests.parse().expect("PROOF is a number of requests");
    let only = std::env::var("PROOF_CHANGE").ok();
    let dir = tempfile::Builder::new().prefix("svinit-proof-").tempdir().unwrap();
    let mut cells = Vec::new();
    for program in programs::all(dir.path()) {
        for change in Change::ALL {
            if only.as_ref().is_none_or(|only| change.words().contains(only.as_str())) {
                let cell = prove(&program, change, requests);
                println!("{}", table::line(&cell));
                cells.push(cell);
            }
        }
    }
    let itself = if only.as_ref().is_none_or(|only| "itself".contains(only.as_str())) {
        prove_itself(dir.path())
    } else {
        Vec::new()
    };
    let restarts = if only.is_none() { compare() } else { Vec::new() };
    let tables = [
        ("changes", table::changes(&cells), !cells.is_empty()),
        ("itself", table::itself(&itself), !itself.is_empty()),
        ("restarts", table::restarts(&restarts), !restarts.is_empty()),
    ];
    let made = tables.into_iter().filter(|(.., is_made)| *is_made).map(|(name, table, _)| (name, table));
    let made: Vec<(&str, String)> = made.collect();
    made.iter().for_each(|(_, table)| println!("\n{table}"));
    if std::env::var_os("UPDATE").is_some() {
        table::publish("README.md", &made);
    }
    let wrong = cells.into_iter().flat_map(|cell| cell.wrong);
    let wrong: Vec<String> = wrong.chain(itself.into_iter().flat_map(|itself| itself.wrong)).collect();
    assert!(wrong.is_empty(), "the promise was broken:\n  {}", wrong.join("\n  "));
}

/// Changes it again and again while so many requests are made.
fn prove(program: &Program, change: Change, requests: u64) -> Cell {
    let at = address();
    let svinit = Svinit::start(&change.unit(program, &at, 0));
    until_answered(Instant::now(), &at, program.path);
    let load = Load::begin(&at, program.path);
    let mut wrong = Vec::new();
    let mut changes = 0;
    for number in 1..=CHANGES {
        load.go_on_to(requests * number / (CHANGES + 1));
        let before = svinit.pids();
        match change.make(&svinit, program, &at, number) {
            Ok(()) => changes += 1,
            Err(why) => wrong.push(why),
        }
        let after = svinit.pids();
        let stayed = before.iter().filter(|pid| after.contains(pid)).count();
        let is_made = if change == Change::Upgrade { stayed == before.len() } else { stayed == 0 };
        if !is_made || after.is_empty() {
            wrong.push(format!("{}: main processes were {before:?} and are {after:?}", change.words()));
        }
    }
    load.go_on_to(requests);
    let answers = load.end();
    wrong.extend(answers.why);
    for why in &mut wrong {
        *why = format!("{}, {}: {why}", program.name, change.words());
    }
    if !wrong.is_empty() {
        println!("{}", svinit.said());
    }
    let requests = answers.good + answers.failed;
    let (program, failed, longest) = (program.name, answers.failed, answers.longest);
    Cell { program, change, changes, requests, failed, longest, wrong }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// svinit is replaced, and crashes in each way.
fn prove_itself(dir: &std::path::Path) -> Vec<Itself> {
    let Some(program) = programs::all(dir).into_iter().next() else { return Vec::new() };
    let crashes = number("CRASHES", CRASHES);
    let kinds = [("panic", "a panic"), ("segv", "SIGSEGV"), ("abort", "`abort()`")];
    let mut all = vec![itself::upgrades(&program, number("UPGRADES", UPGRADES))];
    println!("{}", table::itself(&all));
    for (nth, (kind, words)) in kinds.into_iter().enumerate() {
        // A hundred does not divide by three.
        let times = (crashes + kinds.len() - 1 - nth) / kinds.len();
        all.push(itself::crashes(&program, kind, words, times));
        println!("{}", table::itself(&all[nth + 1..]));
    }
    all
}

/// The repair of one service of `make run` against the restart of everything: each until a page is there that takes
/// nginx, gunicorn and PostgreSQL.
fn compare() -> Vec<Restart> {
    let Some((mut svinit, at)) = Svinit::start_stack() else { return Vec::new() };
    let mut took = SERVICES.map(|_| Vec::new());
    let mut all = Vec::new();
    for _ in 0..RESTARTS {
        for (service, took) in SERVICES.iter().zip(&mut took) {
            let began = Instant::now();
            svinit.svctl(&["restart", service]).unwrap();
            took.push(until_answered(began, &at, "/"));
        }
        all.push(svinit.begin_anew(&at, "/"));
    }
    let of = |(what, took)| Restart { what, took: median(took) };
    let services = SERVICES.iter().map(|service| format!("`svctl restart {service}`")).zip(took);
    services.chain([("everything: svinit stopped and started again".to_owned(), all)]).map(of).collect()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}
