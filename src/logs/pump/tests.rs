//! The pump on real pipes and a real writer. Waits for facts by name with a bound, never for time.

use std::fs;
use std::io::{PipeReader, Write};

use tempfile::TempDir;

use super::*;
use crate::logs::writer::{Files, Streams};
use crate::units::spec::{Argv, Forward, Log, LogFormat, WhenBlocked};

const BOUND: Duration = Duration::from_secs(20);

/// A pump whose stdout and stderr are pipes of our own.
struct World {
    pump: Pump,
    poller: Arc<Poller>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    facts: Vec<Fact>,
    runs: u64,
}

impl World {
    fn new(format: LogFormat) -> Self {
        let (stdout, out) = io::pipe().unwrap();
        let (stderr, err) = io::pipe().unwrap();
        let mut world = Self::with(format, Some(out.into()), Some(err.into()));
        world.stdout = Some(stdout);
        world.stderr = Some(stderr);
        world
    }

    fn with(format: LogFormat, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Self {
        let streams = Streams { stdout, stderr, format, buffer_total: 16 << 20 };
        let writer = Writer::start(streams, Files::Some);
        let own = Own::new(&writer, LogLevel::Info);
        let poller = Arc::new(Poller::new().unwrap());
        let pump = Pump::new(writer, own, Arc::clone(&poller), 16 << 20).unwrap();
        Self { pump, poller, stdout: None, stderr: None, facts: Vec::new(), runs: 0 }
    }

    fn open(&mut self, spec: &Arc<UnitSpec>, keep: Keep) -> (RunId, Pipes) {
        self.runs += 1;
        let run = RunId(self.runs);
        (run, self.pump.open(spec, run, keep, None).unwrap())
    }

    /// One turn of the driver; false when nothing was ready within `ms`.
    fn turn(&mut self, ms: u16) -> bool {
        self.pump.wake();
        let mut tokens = Vec::new();
        self.poller.wait(&mut tokens, ms).unwrap();
        for token in &tokens {
            assert!(Pump::owns(*token));
            self.facts.extend(self.pump.on_ready(*token));
        }
        !tokens.is_empty()
    }

    fn until(&mut self, what: impl Fn(&mut Pump, &[Fact]) -> bool) {
        let start = clock::now();
        while !what(&mut self.pump, &self.facts) {
            self.turn(100);
            assert!(clock::now().since(start) < BOUND, "it never came");
        }
    }

    /// Runs all to the end; returns what stdout and stderr got.
    fn end(mut self) -> (String, String) {
        let stdout = reading(self.stdout.take().unwrap());
        let stderr = reading(self.stderr.take().unwrap());
        assert_eq!(self.pump.flush(BOUND), 0);
        drop(self);
        (stdout.join().unwrap(), stderr.join().unwrap())
    }

    fn kept(&mut self, n: usize) -> Vec<String> {
        let lines = self.pump.kept(&[], n);
        lines.iter().map(|line| format!("{}: {}", line.unit, String::from_utf8_lossy(&line.text))).collect()
    }
}

fn reading(mut reader: PipeReader) -> std::thread::JoinHandle<String> {
    std::thread::Builder::new()
        .spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        })
        .unwrap()
}

/// Writes on a thread of its own, as a process would.
fn writing(fd: OwnedFd, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new().spawn(move || File::from(fd).write_all(&bytes).unwrap()).unwrap()
}

fn log() -> Log {
    Log { max_size: 0, max_age: Duration::ZERO, compress: false, buffer: 64 << 10, ..Log::default() }
}

fn spec(name: &str, log: Log) -> Arc<UnitSpec> {
    let command = Argv(vec!["true".to_owned()]);
    Arc::new(UnitSpec { log, ..UnitSpec::new(UnitName::new(name).unwrap(), command) })
}

fn put(fd: &OwnedFd, text: &str) {
    File::from(fd.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
}

fn ended(run: RunId) -> impl Fn(&mut Pump, &[Fact]) -> bool {
    move |_, facts| facts.contains(&Fact::Ended(run))
}

#[test]
fn lines_of_two_units_come_whole_and_each_once() {
    let mut world = World::new(LogFormat::Text);
    let readers = (world.stdout.take().unwrap(), world.stderr.take().unwrap());
    let (stdout, stderr) = (reading(readers.0), reading(readers.1));
    let lines = |unit: &str| (0..60_000).map(|n| format!("{unit} says {n}\n")).collect::<String>();
    let mut writers = Vec::new();
    let mut runs = Vec::new();
    for name in ["a", "b"] {
        let (run, pipes) = world.open(&spec(name, log()), Keep::Unit);
        writers.push(writing(pipes.stdout, lines(name).into_bytes()));
        writers.push(writing(pipes.stderr, lines(name).into_bytes()));
        runs.push(run);
    }
    runs.iter().for_each(|run| world.until(ended(*run)));
    assert_eq!(world.pump.flush(BOUND), 0);
    assert_eq!(
        world.pump.counts(),
        Counts { lines: 240_000, bytes: 4 * lines("a").len() as u64, dropped: 0 }
    );
    drop(world);
    for all in [stdout.join().unwrap(), stderr.join().unwrap()] {
        for name in ["a", "b"] {
            let prefix = format!("{name} | ");
            let got: String =
                all.lines().filter_map(|line| line.strip_prefix(&prefix)).flat_map(|l| [l, "\n"]).collect();
            assert!(got == lines(name), "lines of {name} are not what was written");
        }
        assert_eq!(all.lines().count(), 120_000);
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn a_blocked_stdout_holds_the_unit_and_no_line_is_lost() {
    let mut world = World::new(LogFormat::Text);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let expected: String = text.lines().flat_map(|line| ["web | ", line, "\n"]).collect();
    drop(pipes.stderr);
    let writer = writing(pipes.stdout, text.into_bytes());
    world.until(|pump, _| !pump.held.is_empty());
    // Nobody reads: the turns of the driver return at once, and the unit's pipe does not wake it.
    while world.turn(0) {}
    assert!(!world.facts.contains(&Fact::Ended(run)));
    assert!(world.pump.counts().bytes < 300 << 10, "{:?}", world.pump.counts());
    let stdout = reading(world.stdout.take().unwrap());
    world.until(ended(run));
    writer.join().unwrap();
    assert_eq!(world.pump.flush(BOUND), 0);
    assert_eq!(world.pump.counts().dropped, 0);
    drop(world);
    assert!(stdout.join().unwrap() == expected);
}

#[test]
fn a_blocked_stdout_drops_the_oldest_and_says_how_many() {
    let mut world = World::new(LogFormat::Text);
    let log = Log { when_blocked: WhenBlocked::DropOldest, ..log() };
    let (run, pipes) = world.open(&spec("web", log), Keep::Unit);
    let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    drop(pipes.stderr);
    // The whole of it is taken although nobody reads stdout.
    writing(pipes.stdout, text.into_bytes()).join_while(&mut world, run);
    let dropped = world.pump.counts().dropped;
    assert!(dropped > 10_000, "{dropped}");
    let (stdout, _) = world.end();
    let said = stdout.lines().filter_map(|line| {
        line.strip_prefix("svinit | web: ")?.strip_suffix(" lines dropped, stdout is blocked")
    });
    assert_eq!(said.map(|count| count.parse::<u64>().unwrap()).sum::<u64>(), dropped);
    let lines: Vec<&str> = stdout.lines().filter(|line| line.starts_with("web | ")).collect();
    assert_eq!(lines.len() as u64 + dropped, 100_000);
    assert_eq!((lines[0], *lines.last().unwrap()), ("web | line 0", "web | line 99999"));
}

trait JoinWhile {
    fn join_while(self, world: &mut World, run: RunId);
}

impl JoinWhile for std::thread::JoinHandle<()> {
    fn join_while(self, world: &mut World, run: RunId) {
        world.until(ended(run));
        self.join().unwrap();
    }
}

#[test]
fn a_blocked_unit_does_not_hold_another_one_or_its_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("quiet.log");
    let mut world = World::new(LogFormat::Text);
    let (_, flood) = world.open(&spec("flood", log()), Keep::Unit);
    let (quiet_run, quiet) =
        world.open(&spec("quiet", Log { file: Some(path.clone()), ..log() }), Keep::Unit);
    let writer = writing(flood.stdout, b"x\n".repeat(500_000));
    world.until(|pump, _| !pump.held.is_empty());
    put(&quiet.stdout, "one\ntwo\n");
    drop(quiet);
    world.until(ended(quiet_run));
    world.until(|_, _| fs::read_to_string(&path).is_ok_and(|text| text == "one\ntwo\n"));
    let stdout = reading(world.stdout.take().unwrap());
    drop(flood.stderr);
    world.until(|_, facts| facts.len() == 2);
    writer.join().unwrap();
    world.pump.flush(BOUND);
    drop(world);
    assert!(stdout.join().unwrap().contains("quiet | one\nquiet | two\n"));
}

#[test]
fn a_reader_that_is_gone_or_a_full_disk_stops_nothing() {
    let (reader, closed) = io::pipe().unwrap();
    drop(reader);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut world = World::with(LogFormat::Json, Some(closed.into()), Some(full.into()));
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    put(&pipes.stdout, "a\nb\n");
    put(&pipes.stderr, "c\n");
    drop(pipes);
    world.until(ended(run));
    world.pump.say(None, LogLevel::Error, "still here");
    world.pump.flush(BOUND);
    assert_eq!(world.pump.counts().dropped, 3);
    let mut kept = world.kept(9);
    kept[..3].sort();
    assert_eq!(kept, ["web: a", "web: b", "web: c", "svinit: still here"]);
}

#[test]
fn no_stdout_at_all_stops_nothing() {
    let mut world = World::with(LogFormat::Text, None, None);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    put(&pipes.stdout, "a\n");
    drop(pipes);
    world.until(ended(run));
    world.pump.flush(BOUND);
    assert_eq!(world.pump.counts().dropped, 1);
}

#[test]
fn last_words_are_read_although_a_grandchild_keeps_the_pipe() {
    let mut world = World::new(LogFormat::Text);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    put(&pipes.stdout, "first\nlast wor");
    assert_eq!(world.pump.finish(run), []);
    assert_eq!(world.kept(9), ["web: first"]);
    put(&pipes.stdout, "ds");
    world.pump.close(run);
    assert_eq!(world.kept(9), ["web: first", "web: last words"]);
    assert!(world.pump.pipes.iter().all(Option::is_none));
    assert_eq!(world.end().0, "web | first\nweb | last words\n");
}

#[test]
fn a_closed_stdout_does_not_spin() {
    let mut world = World::new(LogFormat::Text);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    drop(pipes.stdout);
    assert!(world.turn(1000));
    assert!(!world.turn(0));
    drop(pipes.stderr);
    world.until(ended(run));
    assert!(!world.turn(0));
}

#[test]
fn what_hooks_say_is_kept_for_them_and_probes_stay_out_of_the_log() {
    let mut world = World::new(LogFormat::Text);
    let (hook, hook_pipes) = world.open(&spec("web", log()), Keep::Said);
    let (probe, probe_pipes) = world.open(&spec("web", log()), Keep::Quiet);
    put(&hook_pipes.stdout, "migrating\n");
    put(&hook_pipes.stderr, "it broke");
    put(&probe_pipes.stdout, &"a line of the probe\n".repeat(1000));
    world.pump.finish(hook);
    world.pump.finish(probe);
    assert_eq!(world.pump.said(hook), "migrating\nit broke");
    let said = world.pump.said(probe);
    assert!(said.len() <= 2048 && said.lines().all(|line| line == "a line of the probe"), "{said}");
    world.pump.close(hook);
    world.pump.close(probe);
    assert_eq!(world.pump.said(hook), "");
    assert_eq!(world.kept(9), ["web: migrating", "web: it broke"]);
}

#[test]
fn a_watched_line_is_told_once() {
    let mut world = World::new(LogFormat::Text);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    world.pump.watch(run, r"listening on \d+").unwrap();
    put(&pipes.stderr, "starting\nlistening on 80\nlistening on 81\n");
    world.until(|_, facts| facts.contains(&Fact::Matched(run)));
    put(&pipes.stderr, "listening on 82\n");
    world.until(|pump, _| pump.counts().lines == 4);
    assert_eq!(world.facts, [Fact::Matched(run)]);
    let error = world.pump.watch(run, "(").unwrap_err().to_string();
    assert!(error.starts_with("cannot watch for \"(\": "), "{error}");
}

#[test]
fn a_rate_lets_so_many_pass_and_counts_the_others() {
    let mut world = World::new(LogFormat::Text);
    let (run, pipes) = world.open(&spec("web", Log { rate: 3, ..log() }), Keep::Unit);
    put(&pipes.stdout, "1\n2\n3\n4\n5\n");
    drop(pipes);
    world.until(ended(run));
    assert_eq!(world.pump.counts().dropped, 2);
    let (stdout, stderr) = world.end();
    assert_eq!(stdout, "web | 1\nweb | 2\nweb | 3\n");
    assert_eq!(stderr, "svinit | web: 2 lines dropped, more than 3 a second\n");
}

#[test]
fn json_lines_tell_unit_pid_and_stream() {
    let mut world = World::new(LogFormat::Json);
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    world.pump.set_pid(run, Pid(77));
    put(&pipes.stderr, "he said \"hi\"\r\n");
    drop(pipes);
    world.until(ended(run));
    world.pump.say(Some(&UnitName::new("web").unwrap()), LogLevel::Warn, "is gone");
    let (stdout, stderr) = world.end();
    assert_eq!(stdout, "");
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["unit"], &lines[0]["pid"]), (&"web".into(), &77.into()));
    assert_eq!((&lines[0]["stream"], &lines[0]["message"]), (&"stderr".into(), &"he said \"hi\"".into()));
    assert_eq!((&lines[1]["stream"], &lines[1]["level"]), (&"svinit".into(), &"warn".into()));
}

#[test]
fn a_file_takes_both_streams_stamped_or_as_they_came() {
    let dir = TempDir::new().unwrap();
    let (plain, stamped) = (dir.path().join("plain.log"), dir.path().join("stamped.log"));
    let mut world = World::new(LogFormat::Text);
    let no = Log { forward: Forward::No, ..log() };
    let (a, a_pipes) = world.open(&spec("a", Log { file: Some(plain.clone()), ..no.clone() }), Keep::Unit);
    let stamps = Log { file: Some(stamped.clone()), timestamps: true, ..no };
    let (b, b_pipes) = world.open(&spec("b", stamps), Keep::Unit);
    put(&a_pipes.stdout, "raw \0\u{fffd}\rx\ndos\r\n\nhalf");
    put(&b_pipes.stderr, "one\n");
    drop((a_pipes, b_pipes));
    world.until(ended(a));
    world.until(ended(b));
    let (stdout, stderr) = world.end();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(plain).unwrap(), "raw \0\u{fffd}\rx\ndos\n\nhalf\n");
    let stamped = fs::read_to_string(stamped).unwrap();
    let (stamp, text) = stamped.split_once(' ').unwrap();
    assert_eq!((stamp.len(), text), (27, "one\n"));
}

#[test]
fn rotation_under_load_loses_no_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("app.log");
    let mut world = World::new(LogFormat::Text);
    let log = Log {
        forward: Forward::No,
        file: Some(path.clone()),
        max_size: 50_000,
        keep: 10_000,
        compress: true,
        ..log()
    };
    let (run, pipes) = world.open(&spec("web", log), Keep::Unit);
    let text: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    drop(pipes.stderr);
    writing(pipes.stdout, text.clone().into_bytes()).join_while(&mut world, run);
    assert_eq!(world.pump.flush(BOUND), 0);
    drop(world);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| !name.to_string_lossy().ends_with(".tmp"));
    names.sort();
    names.rotate_left(1);
    let mut all = String::new();
    for name in &names {
        let bytes = fs::read(name).unwrap_or_else(|_| {
            // Compressed between the listing and now.
            fs::read(format!("{}.gz", name.display())).unwrap()
        });
        match bytes.strip_prefix(&[0x1f, 0x8b]) {
            Some(_) => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut all).unwrap()),
            None => all.push_str(&String::from_utf8(bytes).unwrap()),
        }
    }
    assert!(all == text, "{} of {} bytes", all.len(), text.len());
    assert!(names.len() > 40, "{}", names.len());
}

#[test]
fn a_file_that_cannot_be_written_is_told_once_and_written_later() {
    let dir = TempDir::new().unwrap();
    let blocked = dir.path().join("logs");
    fs::write(&blocked, "not a directory").unwrap();
    let path = blocked.join("app.log");
    let mut world = World::new(LogFormat::Text);
    let log = Log { forward: Forward::No, file: Some(path.clone()), ..log() };
    let (run, pipes) = world.open(&spec("web", log), Keep::Unit);
    put(&pipes.stdout, "one\n");
    let is_told =
        |line: &String| line.contains("not a directory") && line.starts_with("svinit: cannot write");
    world.pump.follow();
    let start = clock::now();
    while !world.kept(9).iter().any(is_told) {
        world.turn(10);
        assert!(clock::now().since(start) < BOUND);
    }
    put(&pipes.stdout, "two\n");
    fs::remove_file(&blocked).unwrap();
    drop(pipes);
    world.until(ended(run));
    let (_, stderr) = world.end();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert!(stderr.ends_with("app.log is written again\n"));
}

#[test]
fn a_broken_disk_never_holds_a_unit() {
    let mut world = World::new(LogFormat::Text);
    let log = Log { forward: Forward::No, file: Some("/dev/full".into()), ..log() };
    let (run, pipes) = world.open(&spec("web", log), Keep::Unit);
    drop(pipes.stderr);
    writing(pipes.stdout, b"a line\n".repeat(100_000)).join_while(&mut world, run);
    let left = world.pump.flush(Duration::ZERO);
    assert!(left > 0 && world.pump.counts().dropped > 0);
}

#[test]
fn a_line_without_end_keeps_memory_flat() {
    let mut world = World::new(LogFormat::Text);
    let log = Log { forward: Forward::No, ..log() };
    let (run, pipes) = world.open(&spec("web", log), Keep::Unit);
    drop(pipes.stderr);
    writing(pipes.stdout, vec![b'x'; 32 << 20]).join_while(&mut world, run);
    assert_eq!(world.pump.counts().lines, 2048);
    assert!(world.pump.kept_bytes <= 64 << 10);
    assert!(world.pump.intake.room(1).len() == 1 && world.pump.kept(&[], 9).len() == 3);
}

#[test]
fn followers_get_every_line_and_what_svinit_says() {
    let mut world = World::new(LogFormat::Text);
    let mut follower = world.pump.follow();
    let (run, pipes) = world.open(&spec("web", log()), Keep::Unit);
    put(&pipes.stdout, "a\n");
    world.until(|pump, _| pump.counts().lines == 1);
    world.pump.own.say(None, LogLevel::Info, "ready");
    world.pump.own.say(None, LogLevel::Debug, "not said at this level");
    assert!(world.turn(5000), "the bell rings when somebody follows");
    let lines: Vec<_> = std::iter::from_fn(|| follower.try_recv().ok()).collect();
    let texts: Vec<_> = lines.iter().map(|line| (&*line.unit, &line.text[..], line.stream)).collect();
    assert_eq!(texts, [("web", &b"a"[..], Stream::Stdout), ("svinit", b"ready", Stream::Svinit)]);
    drop(follower);
    drop(pipes);
    world.until(ended(run));
    assert!(world.pump.followers.is_none());
}

#[test]
fn memory_of_all_units_together_is_bounded() {
    let mut world = World::new(LogFormat::Text);
    world.pump.kept_max = 100_000;
    let log = Log { forward: Forward::No, ..log() };
    for n in 0..10 {
        let (run, pipes) = world.open(&spec(&format!("u{n}"), log.clone()), Keep::Unit);
        drop(pipes.stderr);
        writing(pipes.stdout, b"some line or other\n".repeat(4000)).join_while(&mut world, run);
        world.pump.close(run);
    }
    let real: usize = world.pump.units.iter().flatten().map(|unit| unit.tail.bytes()).sum();
    assert!(real <= 100_000 && real == world.pump.kept_bytes, "{real}");
}

#[test]
fn a_crash_loop_at_a_blocked_stdout_uses_a_bounded_number_of_pipes() {
    let mut world = World::new(LogFormat::Text);
    let unit = spec("web", log());
    let (flood, pipes) = world.open(&unit, Keep::Unit);
    let writer = writing(pipes.stdout, b"x\n".repeat(500_000));
    world.until(|pump, _| !pump.held.is_empty());
    for n in 0..100 {
        let (run, pipes) = world.open(&unit, Keep::Unit);
        put(&pipes.stdout, &format!("life {n}\n"));
        drop(pipes);
        world.pump.finish(run);
        world.pump.close(run);
        assert!(world.pump.pipes.iter().flatten().count() <= LEFT_PIPES + 4);
    }
    drop(pipes.stderr);
    let dropped = world.pump.counts().dropped;
    assert!(dropped > 50, "{dropped}");
    let stdout = reading(world.stdout.take().unwrap());
    world.until(ended(flood));
    writer.join().unwrap();
    assert_eq!(world.pump.flush(BOUND), 0);
    drop(world);
    let lives = stdout.join().unwrap().lines().filter(|line| line.contains("life")).count() as u64;
    assert_eq!(lives + dropped, 100);
}

#[test]
fn a_unit_that_is_gone_is_forgotten_after_its_last_line() {
    let mut world = World::new(LogFormat::Text);
    let unit = spec("web", log());
    let (run, pipes) = world.open(&unit, Keep::Unit);
    world.pump.forget(&unit.name);
    put(&pipes.stdout, "still here\n");
    drop(pipes);
    world.until(ended(run));
    assert!(world.pump.counts_by_unit().is_empty());
    assert_eq!(world.pump.counts().lines, 1);
    assert_eq!(world.end().0, "web | still here\n");
}

#[test]
fn the_end_of_svinit_writes_what_is_still_in_the_pipes() {
    let mut world = World::new(LogFormat::Text);
    let (_, pipes) = world.open(&spec("web", log()), Keep::Unit);
    put(&pipes.stdout, "one\ntwo");
    assert_eq!(world.end().0, "web | one\nweb | two\n");
}

#[test]
fn the_end_of_svinit_does_not_wait_for_ever_for_a_blocked_stdout() {
    let mut world = World::new(LogFormat::Text);
    let (_, pipes) = world.open(&spec("web", log()), Keep::Unit);
    let writer = std::thread::Builder::new();
    let writer = writer.spawn(move || File::from(pipes.stdout).write_all(&b"x\n".repeat(8_000_000)).is_err());
    let writer = writer.unwrap();
    world.until(|pump, _| !pump.held.is_empty());
    assert!(world.pump.flush(Duration::from_millis(1)) > 0);
    assert!(writer.join().unwrap(), "its pipe is closed");
    drop(world.stdout.take());
}

#[test]
fn the_write_end_is_given_to_the_units_user() {
    use std::os::unix::fs::MetadataExt;
    let mut world = World::new(LogFormat::Text);
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let owner = if uid == 0 { 12_345 } else { uid };
    let pipes = world.pump.open(&spec("web", log()), RunId(1), Keep::Unit, Some(owner)).unwrap();
    assert_eq!(File::from(pipes.stdout).metadata().unwrap().uid(), owner);
    let flags = fcntl(&pipes.stderr, FcntlArg::F_GETFL).unwrap();
    assert!(!OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK));
}
