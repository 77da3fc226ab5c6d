//! Runs a target over its corpus and over what is made of it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::time::ClockId;

use crate::mutate::{Dice, mutate};

/// One thing that reads bytes.
pub struct Target {
    /// Its corpus is below this name.
    pub name: &'static str,
    /// Reads; what is wrong with what came of it.
    pub read: fn(&[u8]) -> Result<(), String>,
    /// Words of its language.
    pub dictionary: &'static [&'static str],
    /// Bytes of an input at most.
    pub most: usize,
    /// Executions of an ordinary run.
    pub runs: u64,
}

/// CPU time that no input may take; the longest honest one takes a thousandth.
const SLOW: Duration = Duration::from_secs(5);

/// Panics of any thread since the start: one in a task of a runtime does not come up to us.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A failed test is a panic too, but not one of what is tested.
            if !info.location().is_some_and(|place| place.file().ends_with("tests/fuzz/target.rs")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
    });
}

/// Fails when any input breaks what the target promises.
pub fn fuzz(target: &Target) {
    count_panics();
    if let Some(file) = std::env::var_os("FUZZ_INPUT") {
        let bytes = fs::read(&file).expect("FUZZ_INPUT names a file");
        return try_one(target, &bytes, &format!("FUZZ_INPUT={}", file.display()));
    }
    let corpus = corpus(target.name);
    for (path, bytes) in &corpus {
        try_one(target, bytes, &path.display().to_string());
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let (seed, runs) = (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_RUNS").unwrap_or(target.runs));
    let began = Instant::now();
    for run in 0..runs {
        let mut dice = Dice::new(seed.wrapping_mul(0x1_0000_0000).wrapping_add(run));
        let bytes = mutate(&mut dice, &corpus, target.dictionary, target.most);
        try_one(target, &bytes, &format!("FUZZ_SEED={seed}, execution {run}"));
    }
    println!("{}: {runs} executions in {:.1} s: no failure", target.name, began.elapsed().as_secs_f64());
}

fn try_one(target: &Target, bytes: &[u8], origin: &str) {
    let began = cpu_time();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes)));
    let wrong = match outcome {
        Ok(Ok(())) if cpu_time() - began > SLOW => format!("it takes {:.1?} of the CPU", cpu_time() - began),
        Ok(Ok(())) => return,
        Ok(Err(wrong)) => wrong,
        // The message of it stands above.
        Err(_) => "it panics".to_owned(),
    };
    give_up(target, bytes, origin, &wrong);
}

/// Of this thread, so that it does not matter what else the machine does.
fn cpu_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("every thread has this clock").into()
}

/// A panic in another task since `before`; targets with a runtime ask for it.
pub fn panicked_since(before: usize) -> bool {
    panics() != before
}

/// How many there were.
pub fn panics() -> usize {
    PANICS.load(Ordering::Relaxed)
}

fn give_up(target: &Target, bytes: &[u8], origin: &str, wrong: &str) -> ! {
    let folder = root().join("target/fuzz");
    let file = folder.join(format!("{}-{:016x}", target.name, hash(bytes)));
    let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, bytes));
    let (name, shown) = (target.name, String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned());
    panic!(
        "{name}: {wrong}\nby {origin}; the input, {} bytes, is in {}{}:\n{shown}\n\n\
         again: FUZZ_INPUT={} cargo test --test fuzz\n\
         when it is mended, keep it: mv {} fuzz/corpus/{name}/SAY-WHAT-IT-IS\n",
        bytes.len(),
        file.display(),
        kept.err().map_or_else(String::new, |error| format!(" (no: {error})")),
        file.display(),
        file.display(),
    );
}

fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds nothing to begin with", folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
