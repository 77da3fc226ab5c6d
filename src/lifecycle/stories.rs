//! Stories: what happens to units, told line by line. One table in, the same table out.
//!
//! A line is `TIME EVENT`, and behind it what follows: wishes, and changes in brackets. The world of the stories is
//! quiet: it answers nothing by itself, so that each line shows one cause and its consequences.

mod answers;
mod edges;
mod replacing;
mod rolls;
mod schedules;
mod speaking;
mod updates;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::{
    Command, Event, ExitStatus, JobId, Otherwise, Pid, Reach, RunId, Sign, SpawnCause, SpawnFailure, Whom,
};
use crate::lifecycle::supervisor::{Settings, Supervisor};
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{
    Argv, Check, Health, HostPort, KillMode, Kind, OnFailure, Policy, Ready, ReadySign, ReloadHow, Restart,
    SignalName, UnitSet, UnitSpec, WaitFor,
};

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

fn argv(text: &str) -> Argv {
    Argv(text.split(' ').map(str::to_owned).collect())
}

/// A unit as the defaults make it, without jitter.
fn unit(text: &str) -> UnitSpec {
    let plain = UnitSpec::new(name(text), argv("run"));
    UnitSpec { restart: Restart { jitter: 0.0, ..plain.restart }, ..plain }
}

fn names(list: &[&str]) -> Vec<UnitName> {
    list.iter().map(|text| name(text)).collect()
}

const SETTINGS: Settings = Settings {
    seed: 1,
    shutdown_timeout: Duration::from_millis(9500),
    fork_rate: 50,
    limits_enforced: false,
};

struct Story {
    machine: Supervisor,
    jobs: u64,
    told: String,
    /// What updates say, by number from 1.
    sets: Vec<UnitSet>,
}

fn set(specs: impl IntoIterator<Item = UnitSpec>) -> UnitSet {
    let units = specs.into_iter().map(|spec| (spec.name.clone(), Arc::new(spec))).collect();
    UnitSet { units, aliases: BTreeMap::new() }
}

fn millis(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

impl Story {
    fn of(specs: impl IntoIterator<Item = UnitSpec>) -> Self {
        let set = set(specs);
        Self {
            machine: Supervisor::new(&set, SETTINGS, Time::ZERO),
            jobs: 0,
            told: String::new(),
            sets: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let now = Time::from_millis(words.next().unwrap().parse().unwrap());
        let event: Vec<_> = words.take_while(|word| *word != "=>").collect();
        let actions = match event.as_slice() {
            ["boot"] => self.machine.boot(now),
            ["upgrade"] => {
                self.upgrade();
                Vec::new()
            }
            ["update", number] => {
                self.jobs += 1;
                let set = &self.sets[number.parse::<usize>().unwrap() - 1];
                self.machine.adopt(JobId(self.jobs), set, now)
            }
            words => {
                let event = self.event(words);
                self.machine.step(event, now)
            }
        };
        let due = self.machine.next_deadline();
        assert!(
            due.is_none_or(|due| due > now || event[0] != "tick"),
            "after a tick at {now}, due at {due:?}"
        );
        let said: Vec<_> = actions.iter().filter_map(Self::words).collect();
        let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", ") };
        writeln!(self.told, "{} {} => {said}", now.0 / 1000, event.join(" ")).unwrap();
    }

    /// Another machine goes on, which knows what was written down and the definitions.
    fn upgrade(&mut self) {
        let text = serde_json::to_string(&self.machine.save()).unwrap();
        let to_come = self.machine.definitions();
        let names: Vec<_> = self.machine.views().into_iter().map(|view| view.name).collect();
        let in_force = names.into_iter().map(|name| (name.clone(), self.machine.spec(&name).unwrap()));
        let in_force = UnitSet { units: in_force.collect(), aliases: BTreeMap::new() };
        let saved = serde_json::from_str(&text).unwrap();
        self.machine = Supervisor::restore(saved, &in_force, &to_come, SETTINGS).unwrap();
    }

    fn event(&mut self, words: &[&str]) -> Event {
        let run = |text: &str| RunId(text.trim_start_matches('#').parse().unwrap());
        match words {
            ["tick"] => Event::Tick,
            ["spawned", of] => {
                Event::Spawned { run: run(of), pid: Pid(100 + i32::try_from(run(of).0).unwrap()) }
            }
            ["missing", of] => Event::SpawnFailed {
                run: run(of),
                failure: SpawnFailure {
                    cause: SpawnCause::Missing,
                    why: "cannot execute run: not found".to_owned(),
                },
            },
            ["no-room", of] => Event::SpawnFailed {
                run: run(of),
                failure: SpawnFailure {
                    cause: SpawnCause::NoResources,
                    why: "cannot fork: no room".to_owned(),
                },
            },
            ["exit", of, code] => Event::Exited {
                run: run(of),
                status: ExitStatus::Code(code.parse().unwrap()),
                oom: false,
                said: String::new(),
            },
            ["killed", of, number] => Event::Exited {
                run: run(of),
                status: ExitStatus::Signal { number: number.parse().unwrap(), core: false },
                oom: false,
                said: String::new(),
            },
            ["gone", of] => Event::TreeGone { run: run(of) },
            ["passed", of] => Event::Passed { run: run(of) },
            ["refused", of] => Event::NotPassed { run: run(of), why: "connection refused".to_owned() },
            ["ready", of] => Event::Signed { run: run(of), sign: Sign::Ready },
            ["main", of, pid] => Event::MainFound { run: run(of), pid: Pid(pid.parse().unwrap()) },
            ["no-main", of] => Event::MainNotFound { run: run(of), why: "not there yet".to_owned() },
            ["measured", of, bytes] => Event::Measured { run: run(of), memory: bytes.parse().unwrap() },
            ["said", of, code, what] => Event::Exited {
                run: run(of),
                status: ExitStatus::Code(code.parse().unwrap()),
                oom: false,
                said: (*what).to_owned(),
            },
            ["oom", of] => Event::Exited {
                run: run(of),
                status: ExitStatus::Signal { number: 9, core: false },
                oom: true,
                said: String::new(),
            },
            ["dumped", of] => Event::Exited {
                run: run(of),
                status: ExitStatus::Signal { number: 11, core: true },
                oom: false,
                said: String::new(),
            },
            ["reloading", of] => Event::Signed { run: run(of), sign: Sign::Reloading(None) },
            ["reloading", of, since] => {
                let since = Time::from_millis(since.parse().unwrap());
                Event::Signed { run: run(of), sign: Sign::Reloading(Some(since)) }
            }
            ["leaving", of] => Event::Signed { run: run(of), sign: Sign::Stopping },
            ["status", of, what] => Event::Signed { run: run(of), sign: Sign::Status((*what).to_owned()) },
            ["alive", of] => Event::Signed { run: run(of), sign: Sign::Alive },
            ["hung", of] => Event::Signed { run: run(of), sign: Sign::Hung },
            ["alive-every", of, time] => Event::Signed { run: run(of), sign: Sign::AliveEvery(millis(time)) },
            ["more-time", of, time] => Event::Signed { run: run(of), sign: Sign::MoreTime(millis(time)) },
            ["reason", of, what] => Event::Signed { run: run(of), sign: Sign::Reason((*what).to_owned()) },
            ["mainpid", of, pid] => {
                Event::Signed { run: run(of), sign: Sign::MainPid(Pid(pid.parse().unwrap())) }
            }
            ["reload-or-restart", units @ ..] => {
                self.jobs += 1;
                let command = Command::Reload { units: names(units), otherwise: Otherwise::Restart };
                Event::Asked { job: JobId(self.jobs), command }
            }
            ["signal", units @ ..] => {
                self.jobs += 1;
                let signal = SignalName("USR1".to_owned());
                let command = Command::Signal { units: names(units), signal, whom: Whom::Main };
                Event::Asked { job: JobId(self.jobs), command }
            }
            ["due", of] => Event::Due { unit: name(of), is_on_time: true, missed: 0 },
            ["missed", of, count] => {
                Event::Due { unit: name(of), is_on_time: false, missed: count.parse().unwrap() }
            }
            ["shutdown"] => Event::ShutdownAsked { why: "SIGTERM".to_owned() },
            [verb, units @ ..] => {
                self.jobs += 1;
                Event::Asked { job: JobId(self.jobs), command: command(verb, names(units)) }
            }
            [] => panic!("a line without an event"),
        }
    }

    fn words(action: &Action) -> Option<String> {
        Some(match action {
            Action::Spawn { run, unit, purpose: Purpose::Main, .. } => format!("spawn {run} {unit}"),
            Action::Spawn { run, unit, purpose, .. } => {
                format!("{} {run} {unit}", format!("{purpose:?}").to_lowercase())
            }
            Action::Signal { run, signal, whom: Whom::Main } => format!("{} {run}", signal.0),
            Action::Signal { run, signal, whom: Whom::Tree } => format!("{} {run}*", signal.0),
            Action::Kill { run, whom: Whom::Main } => format!("kill {run}"),
            Action::Kill { run, whom: Whom::Tree } => format!("kill {run}*"),
            Action::AwaitTree { run } => format!("await {run}*"),
            Action::Probe { run, .. } => format!("probe {run}"),
            Action::CancelProbe { run } => format!("cancel {run}"),
            Action::ReadPidFile { run, .. } => format!("pidfile {run}"),
            Action::Measure { run } => format!("measure {run}"),
            Action::Report(report) if report.was == report.label && report.health_was == report.health => {
                return None;
            }
            Action::Report(report) if report.was == report.label => {
                format!("[{} {}]", report.unit, report.health.as_str())
            }
            Action::Report(report) => format!("[{} {}]", report.unit, report.label.as_str()),
            Action::Answer { job, outcome } => {
                format!("job {} {} {}", job.0, outcome.unit, if outcome.ok { "ok" } else { "no" })
            }
            Action::Define { spec } => format!("define {}", spec.name),
            Action::Forget { unit } => format!("forget {unit}"),
            Action::JobDone { job } => format!("job {} done", job.0),
            Action::End(end) => format!("end {}", end.status),
        })
    }
}

fn command(verb: &str, units: Vec<UnitName>) -> Command {
    match verb {
        "start" => Command::Start(units),
        "stop" => Command::Stop(units),
        "restart" => Command::Restart { units, reach: Reach::Alone },
        "restart-all" => Command::Restart { units, reach: Reach::WithDependants },
        "reload" => Command::Reload { units, otherwise: Otherwise::Refuse },
        "reset" => Command::Reset(units),
        "pause" => Command::Pause(units),
        "resume" => Command::Resume(units),
        other => panic!("no such event: {other}"),
    }
}

/// Plays the events of `table` and compares what follows with what it says.
fn check(specs: impl IntoIterator<Item = UnitSpec>, table: &str) {
    check_updates(specs, Vec::new(), table);
}

/// The same, where `update N` takes over the set number N of `sets`.
fn check_updates(specs: impl IntoIterator<Item = UnitSpec>, sets: Vec<UnitSet>, table: &str) {
    let mut story = Story { sets, ..Story::of(specs) };
    let wanted: Vec<_> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect();
    for line in &wanted {
        story.line(line);
    }
    let wanted = wanted.join("\n") + "\n";
    assert!(story.told == wanted, "what happened:\n{}\nwhat should have:\n{wanted}", story.told);
}

fn tcp() -> Check {
    Check::Tcp(HostPort { host: "127.0.0.1".to_owned(), port: 80 })
}

fn ready_by(check: Check) -> Option<Ready> {
    Some(Ready { sign: ReadySign::Check(check), interval: Duration::from_millis(100) })
}

#[test]
fn a_simple_unit_is_ready_when_exec_has_succeeded() {
    check(
        [unit("web")],
        "
        0 boot       => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => [web ready]
    ",
    );
}

#[test]
fn a_crash_is_answered_by_a_new_process_at_once_when_nothing_is_left_of_the_old() {
    check(
        [unit("web")],
        "
        0    boot       => [web waiting], spawn #1 web, [web starting]
        1    spawned #1 => [web ready]
        1000 exit #1 1  => kill #1*, [web stopping]
        1001 gone #1    => [web waiting], spawn #2 web, [web starting]
        1002 spawned #2 => [web ready]
    ",
    );
}

#[test]
fn the_third_crash_in_a_row_waits() {
    check(
        [unit("web")],
        "
        0   boot       => [web waiting], spawn #1 web, [web starting]
        0   spawned #1 => [web ready]
        10  exit #1 1  => kill #1*, [web stopping]
        10  gone #1    => [web waiting], spawn #2 web, [web starting]
        10  spawned #2 => [web ready]
        20  exit #2 1  => kill #2*, [web stopping]
        20  gone #2    => [web waiting], spawn #3 web, [web starting]
        20  spawned #3 => [web ready]
        30  exit #3 1  => kill #3*, [web stopping]
        30  gone #3    => [web backoff]
        129 tick       => nothing
        130 tick       => [web waiting], spawn #4 web, [web starting]
    ",
    );
}

#[test]
fn the_exit_of_an_old_run_does_not_end_the_new_one() {
    check(
        [unit("web")],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => [web ready]
        1000 restart web => TERM #1, [web stopping]
        1200 exit #1 0   => kill #1*
        1200 gone #1     => [web waiting], spawn #2 web, [web starting]
        1201 exit #1 0   => nothing
        1202 gone #1     => nothing
        1203 spawned #2  => [web ready], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn a_unit_waits_until_what_it_requires_is_ready() {
    let db = UnitSpec { ready: ready_by(tcp()), ..unit("db") };
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [db, web],
        "
        0   boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        1   spawned #1 => probe #2
        2   refused #2 => nothing
        101 tick       => nothing
        102 tick       => probe #3
        103 passed #3  => [db ready], spawn #4 web, [web starting]
        104 spawned #4 => [web ready]
    ",
    );
}

#[test]
fn what_never_becomes_ready_is_stopped_and_tried_again() {
    let slow = UnitSpec { kind: Kind::Notify, ready_timeout: Duration::from_secs(5), ..unit("slow") };
    check(
        [slow],
        "
        0    boot       => [slow waiting], spawn #1 slow, [slow starting]
        1    spawned #1 => nothing
        5000 tick       => TERM #1, [slow stopping]
        5100 exit #1 0  => kill #1*
        5100 gone #1    => [slow waiting], spawn #2 slow, [slow starting]
        5101 spawned #2 => nothing
        5102 ready #1   => nothing
        5103 ready #2   => [slow ready]
    ",
    );
}

#[test]
fn what_ignores_term_is_killed_after_the_timeout() {
    check(
        [unit("web")],
        "
        0     boot       => [web waiting], spawn #1 web, [web starting]
        0     spawned #1 => [web ready]
        1000  stop web   => TERM #1, [web stopping]
        8999  tick       => nothing
        9000  tick       => kill #1*
        9001  killed #1 9 => kill #1*
        9002  gone #1    => [web inactive], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn a_unit_stopped_by_a_person_stays_down_until_asked_for() {
    check(
        [unit("a"), unit("web")],
        "
        0    boot       => [a waiting], [web waiting], spawn #1 a, [a starting], spawn #2 web, [web starting]
        0    spawned #1 => [a ready]
        0    spawned #2 => [web ready]
        1000 stop web   => TERM #2, [web stopping]
        1001 killed #2 15 => kill #2*
        1002 gone #2    => [web inactive], job 1 web ok, job 1 done
        2000 tick       => nothing
        3000 start web  => [web waiting], spawn #3 web, [web starting]
        3001 spawned #3 => [web ready], job 2 web ok, job 2 done
    ",
    );
}

#[test]
fn stopping_a_unit_stops_what_requires_it_first_and_starting_it_brings_that_back() {
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0  boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1 => [db ready], spawn #2 web, [web starting]
        0  spawned #2 => [web ready]
        10 stop db    => TERM #2, [web stopping]
        11 exit #2 0  => kill #2*
        12 gone #2    => [web waiting], TERM #1, [db stopping]
        13 exit #1 0  => kill #1*
        14 gone #1    => [db inactive], job 1 db ok, job 1 done
        20 start db   => [db waiting], spawn #3 db, [db starting]
        21 spawned #3 => [db ready], spawn #4 web, [web starting], job 2 db ok, job 2 done
    ",
    );
}

#[test]
fn a_surgical_restart_leaves_dependants_up() {
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0  boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1 => [db ready], spawn #2 web, [web starting]
        0  spawned #2 => [web ready]
        10 restart db => TERM #1, [db stopping]
        11 exit #1 0  => kill #1*
        12 gone #1    => [db waiting], spawn #3 db, [db starting]
        13 spawned #3 => [db ready], job 1 db ok, job 1 done
    ",
    );
}

#[test]
fn what_is_part_of_a_unit_restarts_along_with_it() {
    let web = UnitSpec { requires: names(&["db"]), part_of: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0  boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1 => [db ready], spawn #2 web, [web starting]
        0  spawned #2 => [web ready]
        10 restart db => TERM #2, [web stopping]
        11 exit #2 0  => kill #2*
        12 gone #2    => [web waiting], TERM #1, [db stopping]
        13 exit #1 0  => kill #1*
        14 gone #1    => [db waiting], spawn #3 db, [db starting]
        15 spawned #3 => [db ready], spawn #4 web, [web starting], job 1 db ok, job 1 done
        16 spawned #4 => [web ready]
    ",
    );
}

#[test]
fn what_is_part_of_a_part_restarts_along_with_it() {
    let part = |of: &str, name: &str| UnitSpec { part_of: names(&[of]), ..unit(name) };
    check(
        [unit("a"), part("a", "b"), part("b", "c")],
        "
        0  boot       => [a waiting], [b waiting], [c waiting], spawn #1 a, [a starting], spawn #2 b, [b starting], spawn #3 c, [c starting]
        0  spawned #1 => [a ready]
        0  spawned #2 => [b ready]
        0  spawned #3 => [c ready]
        10 exit #1 1  => kill #1*, [a stopping], TERM #2, [b stopping], TERM #3, [c stopping]
    ",
    );
}

#[test]
fn a_dependant_of_a_failed_unit_starts_by_itself_when_that_comes_back() {
    let mut db = unit("db");
    db.restart.policy = Policy::Never;
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check([unit("a"), db, web], "
        0  boot       => [a waiting], [db waiting], [web waiting], spawn #1 a, [a starting], spawn #2 db, [db starting]
        0  spawned #1 => [a ready]
        0  spawned #2 => [db ready], spawn #3 web, [web starting]
        0  exit #3 1  => kill #3*, [web stopping]
        0  exit #2 1  => kill #2*, [db stopping]
        0  gone #2    => [db failed]
        1  gone #3    => [web waiting]
        2  start web  => [db waiting], spawn #4 db, [db starting]
        3  spawned #4 => [db ready], spawn #5 web, [web starting]
        4  spawned #5 => [web ready], job 1 web ok, job 1 done
    ");
}

#[test]
fn a_wanted_unit_that_fails_is_not_waited_for() {
    let mut cache = unit("cache");
    cache.restart.policy = Policy::Never;
    let web = UnitSpec { wants: names(&["cache"]), ..unit("web") };
    check(
        [cache, web],
        "
        0 boot       => [cache waiting], [web waiting], spawn #1 cache, [cache starting]
        1 missing #1 => [cache failed], spawn #2 web, [web starting]
        2 spawned #2 => [web ready]
    ",
    );
}

#[test]
fn shutdown_stops_in_reverse_order_and_ends_with_the_last_process() {
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0  boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1 => [db ready], spawn #2 web, [web starting]
        0  spawned #2 => [web ready]
        10 shutdown   => TERM #2, [web stopping]
        11 exit #2 0  => kill #2*
        12 gone #2    => [web inactive], TERM #1, [db stopping]
        13 exit #1 0  => kill #1*
        14 gone #1    => [db inactive], end 0
    ",
    );
}

#[test]
fn what_builds_on_a_completed_oneshot_stops_before_what_that_was_done_to() {
    let migrate = UnitSpec { kind: Kind::Oneshot, requires: names(&["db"]), ..unit("migrate") };
    let web = UnitSpec { requires: names(&["migrate"]), ..unit("web") };
    check(
        [unit("db"), migrate, web],
        "
        0  boot       => [db waiting], [migrate waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1 => [db ready], spawn #2 migrate, [migrate starting]
        0  spawned #2 => nothing
        1  exit #2 0  => kill #2*, [migrate stopping]
        1  gone #2    => [migrate completed], spawn #3 web, [web starting]
        2  spawned #3 => [web ready]
        10 shutdown   => TERM #3, [web stopping]
        4760 tick     => kill #3*
        4761 killed #3 9 => kill #3*
        4762 gone #3  => [web inactive], TERM #1, [db stopping]
        4763 exit #1 0 => kill #1*
        4764 gone #1  => [db inactive], end 0
    ",
    );
}

#[test]
fn the_time_for_a_shutdown_is_divided_over_the_stop_order() {
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0    boot       => [db waiting], [web waiting], spawn #1 db, [db starting]
        0    spawned #1 => [db ready], spawn #2 web, [web starting]
        0    spawned #2 => [web ready]
        0    shutdown   => TERM #2, [web stopping]
        4749 tick       => nothing
        4750 tick       => kill #2*
        4751 killed #2 9 => kill #2*
        4752 gone #2    => [web inactive], TERM #1, [db stopping]
        9499 tick       => nothing
        9500 tick       => kill #1*
        9501 killed #1 9 => kill #1*
        9502 gone #1    => [db inactive], end 0
    ",
    );
}

#[test]
fn a_second_signal_kills_at_once() {
    let web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    check(
        [unit("db"), web],
        "
        0  boot        => [db waiting], [web waiting], spawn #1 db, [db starting]
        0  spawned #1  => [db ready], spawn #2 web, [web starting]
        0  spawned #2  => [web ready]
        10 shutdown    => TERM #2, [web stopping]
        20 shutdown    => TERM #1, kill #1*, [db stopping], kill #2*
        21 killed #1 9 => kill #1*
        21 gone #1     => [db inactive]
        22 killed #2 9 => kill #2*
        23 gone #2     => [web inactive], end 0
    ",
    );
}

#[test]
fn what_the_kernel_does_not_let_go_does_not_hold_up_the_end() {
    check(
        [unit("web")],
        "
        0     boot       => [web waiting], spawn #1 web, [web starting]
        0     spawned #1 => [web ready]
        0     shutdown   => TERM #1, [web stopping]
        8000  tick       => kill #1*
        9500  tick       => nothing
        9900  tick       => end 0
    ",
    );
}

#[test]
fn the_container_ends_with_the_status_of_what_is_essential() {
    let mut main = UnitSpec { essential: true, ..unit("main") };
    main.restart.policy = Policy::Never;
    check([main, unit("side")], "
        0  boot       => [main waiting], [side waiting], spawn #1 main, [main starting], spawn #2 side, [side starting]
        0  spawned #1 => [main ready]
        0  spawned #2 => [side ready]
        10 exit #1 7  => kill #1*, [main stopping]
        11 gone #1    => [main failed], TERM #2, [side stopping]
        12 killed #2 15 => kill #2*
        13 gone #2    => [side inactive], end 7
    ");
}

#[test]
fn with_nothing_left_to_run_the_end_tells_of_the_first_failure() {
    let once = |text: &str| {
        let mut spec = UnitSpec { kind: Kind::Oneshot, ..unit(text) };
        spec.restart.policy = Policy::Never;
        spec
    };
    check(
        [once("a"), once("b")],
        "
        0  boot       => [a waiting], [b waiting], spawn #1 a, [a starting], spawn #2 b, [b starting]
        0  spawned #1 => nothing
        0  spawned #2 => nothing
        10 exit #2 3  => kill #2*, [b stopping]
        10 gone #2    => [b failed]
        20 exit #1 0  => kill #1*, [a stopping]
        21 gone #1    => [a completed], end 3
    ",
    );
}

#[test]
fn a_missing_program_fails_the_start_that_asked_for_it() {
    let mut web = unit("web");
    web.enabled = false;
    web.restart.policy = Policy::Never;
    check(
        [unit("a"), web],
        "
        0 boot       => [a waiting], spawn #1 a, [a starting]
        0 spawned #1 => [a ready]
        1 start web  => [web waiting], spawn #2 web, [web starting]
        2 missing #2 => [web failed], job 1 web no, job 1 done
    ",
    );
}

#[test]
fn want_of_room_is_no_fault_of_the_unit_and_is_tried_again_for_ever() {
    check(
        [unit("web")],
        "
        0   boot       => [web waiting], spawn #1 web, [web starting]
        0   no-room #1 => [web backoff]
        100 tick       => [web waiting], spawn #2 web, [web starting]
        100 no-room #2 => [web backoff]
        300 tick       => [web waiting], spawn #3 web, [web starting]
    ",
    );
}

#[test]
fn who_asks_for_a_restart_while_one_is_tested_is_answered_by_a_test_of_their_own() {
    let mut nginx = unit("nginx");
    nginx.reload.test = Some(argv("nginx -t"));
    check(
        [nginx],
        "
        0  boot          => [nginx waiting], spawn #1 nginx, [nginx starting]
        0  spawned #1    => [nginx ready]
        20 restart nginx => test #2 nginx
        21 restart nginx => nothing
        22 exit #2 1     => kill #2*, test #3 nginx
        22 gone #2       => nothing
        23 exit #3 1     => kill #3*, job 1 nginx no, job 1 done, job 2 nginx no, job 2 done
    ",
    );
}

#[test]
fn a_failed_test_leaves_the_old_process_alone() {
    let mut nginx = unit("nginx");
    nginx.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
    nginx.reload.test = Some(argv("nginx -t"));
    check(
        [nginx],
        "
        0  boot          => [nginx waiting], spawn #1 nginx, [nginx starting]
        0  spawned #1    => [nginx ready]
        10 reload nginx  => test #2 nginx, [nginx reloading]
        11 exit #2 1     => kill #2*, [nginx ready], job 1 nginx no, job 1 done
        11 gone #2       => nothing
        20 restart nginx => test #3 nginx
        21 exit #3 1     => kill #3*, job 2 nginx no, job 2 done
        21 gone #3       => nothing
        30 reload nginx  => test #4 nginx, [nginx reloading]
        31 exit #4 0     => kill #4*, HUP #1, [nginx ready], job 3 nginx ok, job 3 done
        31 gone #4       => nothing
        40 restart nginx => test #5 nginx
        41 exit #5 0     => kill #5*, TERM #1, [nginx stopping]
        41 gone #5       => nothing
        42 exit #1 0     => kill #1*
        43 gone #1       => [nginx waiting], spawn #6 nginx, [nginx starting]
        44 spawned #6    => [nginx ready], job 4 nginx ok, job 4 done
    ",
    );
}

fn healthy(on_failure: OnFailure) -> Option<Health> {
    Some(Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 2,
        start_period: Duration::from_secs(5),
        on_failure,
    })
}

#[test]
fn so_many_failed_checks_in_a_row_restart_the_unit() {
    let web = UnitSpec { health: healthy(OnFailure::Restart), ..unit("web") };
    check(
        [web],
        "
        0     boot       => [web waiting], spawn #1 web, [web starting]
        0     spawned #1 => probe #2, [web ready]
        1     refused #2 => nothing
        10001 tick       => probe #3
        10002 passed #3  => [web pass]
        20002 tick       => probe #4
        23002 tick       => cancel #4
        33002 tick       => probe #5
        33003 refused #5 => TERM #1, [web stopping]
        33004 exit #1 0  => kill #1*
        33005 gone #1    => [web waiting], spawn #6 web, [web starting]
    ",
    );
}

#[test]
fn a_machine_that_stood_still_holds_no_silence_against_anybody() {
    let web = UnitSpec { health: healthy(OnFailure::Restart), ..unit("web") };
    check(
        [web],
        "
        0     boot       => [web waiting], spawn #1 web, [web starting]
        0     spawned #1 => probe #2, [web ready]
        60000 tick       => nothing
        60001 passed #2  => [web pass]
    ",
    );
}

#[test]
fn a_paused_unit_is_neither_checked_nor_restarted() {
    let web = UnitSpec { health: healthy(OnFailure::Restart), ..unit("web") };
    check(
        [unit("a"), web],
        "
        0     boot       => [a waiting], [web waiting], spawn #1 a, [a starting], spawn #2 web, [web starting]
        0     spawned #1 => [a ready]
        0     spawned #2 => probe #3, [web ready]
        1     passed #3  => [web pass]
        2     pause web  => job 1 web ok, job 1 done
        20000 tick       => nothing
        20001 killed #2 9 => kill #2*, [web stopping]
        20002 gone #2    => [web failed]
        20003 resume web => [web waiting], job 2 web ok, job 2 done, spawn #4 web, [web starting]
    ",
    );
}

#[test]
fn the_outside_must_answer_before_the_first_start_only() {
    let outside =
        WaitFor { checks: vec![tcp()], timeout: Duration::from_secs(60), interval: Duration::from_secs(1) };
    let web = UnitSpec { wait_for: Some(outside), ..unit("web") };
    check(
        [web],
        "
        0    boot       => [web waiting], probe #1
        1    refused #1 => nothing
        1001 tick       => probe #2
        1002 passed #2  => spawn #3 web, [web starting]
        1003 spawned #3 => [web ready]
        2000 exit #3 1  => kill #3*, [web stopping]
        2001 gone #3    => [web waiting], spawn #4 web, [web starting]
    ",
    );
}

#[test]
fn hooks_run_in_order_and_post_stop_comes_last() {
    let mut web = unit("web");
    web.hooks.pre_start = vec![argv("one"), argv("two")];
    web.hooks.post_start = vec![argv("three")];
    web.hooks.pre_stop = vec![argv("four")];
    web.hooks.post_stop = vec![argv("five")];
    check(
        [web],
        "
        0  boot       => [web waiting], prestart #1 web, [web starting]
        1  exit #1 0  => kill #1*
        2  gone #1    => prestart #2 web
        3  exit #2 0  => kill #2*
        4  gone #2    => spawn #3 web
        5  spawned #3 => poststart #4 web, [web ready]
        6  exit #4 0  => kill #4*
        7  gone #4    => nothing
        10 stop web   => prestop #5 web, [web stopping]
        11 exit #5 0  => kill #5*, TERM #3
        12 exit #3 0  => kill #3*
        13 gone #3    => nothing
        14 gone #5    => poststop #6 web
        15 exit #6 0  => kill #6*
        16 gone #6    => [web inactive], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn a_daemon_that_forks_is_followed_by_its_pid_file() {
    let kind = Kind::Forking { pid_file: PathBuf::from("/run/d.pid") };
    check(
        [UnitSpec { kind, ..unit("d") }],
        "
        0    boot        => [d waiting], spawn #1 d, [d starting]
        0    spawned #1  => nothing
        10   exit #1 0   => pidfile #1
        10   no-main #1  => nothing
        60   tick        => pidfile #1
        61   main #1 500 => [d ready]
        1000 exit #1 1   => kill #1*, [d stopping]
        1001 gone #1     => [d waiting], spawn #2 d, [d starting]
    ",
    );
}

#[test]
fn a_group_has_time_to_end_after_its_main_process() {
    let mut web = unit("web");
    web.stop.kill = KillMode::Group;
    check(
        [web],
        "
        0    boot       => [web waiting], spawn #1 web, [web starting]
        0    spawned #1 => [web ready]
        10   stop web   => TERM #1*, [web stopping]
        11   exit #1 0  => await #1*
        8009 tick       => nothing
        8010 tick       => kill #1*
        8011 gone #1    => [web inactive], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn the_last_word_counts_and_every_asker_gets_an_answer() {
    check(
        [unit("web")],
        "
        0  boot        => [web waiting], spawn #1 web, [web starting]
        0  spawned #1  => [web ready]
        10 restart web => TERM #1, [web stopping]
        11 stop web    => job 1 web no, job 1 done
        12 exit #1 0   => kill #1*
        13 gone #1     => [web inactive], job 2 web ok, job 2 done
    ",
    );
}

#[test]
fn memory_above_the_bound_for_long_enough_restarts_gracefully() {
    let mut web = unit("web");
    web.limits.memory_high = Some(1000);
    web.limits.memory_for = Duration::from_secs(10);
    check(
        [web],
        "
        0     boot             => [web waiting], spawn #1 web, [web starting]
        0     spawned #1       => [web ready]
        2000  tick             => measure #1
        2001  measured #1 2000 => nothing
        4000  tick             => measure #1
        4001  measured #1 500  => nothing
        6000  tick             => measure #1
        6001  measured #1 2000 => nothing
        8000  tick             => measure #1
        10000 tick             => measure #1
        12000 tick             => measure #1
        14000 tick             => measure #1
        16000 tick             => measure #1
        16002 measured #1 2000 => TERM #1, [web stopping]
    ",
    );
}

#[test]
fn of_two_that_conflict_the_one_that_is_started_stays() {
    let mut green = unit("green");
    green.enabled = false;
    green.conflicts = names(&["blue"]);
    let blue = UnitSpec { conflicts: names(&["green"]), ..unit("blue") };
    check(
        [blue, green],
        "
        0  boot        => [blue waiting], spawn #1 blue, [blue starting]
        0  spawned #1  => [blue ready]
        10 start green => [green waiting], TERM #1, [blue stopping]
        11 exit #1 0   => kill #1*
        12 gone #1     => [blue inactive], spawn #2 green, [green starting]
        13 spawned #2  => [green ready], job 1 green ok, job 1 done
    ",
    );
}

#[test]
fn a_stop_during_pre_start_ends_it_there() {
    let mut db = unit("db");
    db.hooks.pre_start = vec![argv("prepare")];
    let mut web = unit("web");
    web.wants = names(&["db"]);
    check(
        [db, web],
        "
        0 boot      => [db waiting], [web waiting], prestart #1 db, [db starting]
        1 stop db   => kill #1*, [db stopping], spawn #2 web, [web starting]
        2 exit #1 0 => nothing
        3 gone #1   => [db inactive], job 1 db ok, job 1 done
    ",
    );
}

#[test]
fn what_ended_while_its_stop_command_ran_is_cleared_away_all_the_same() {
    let mut web = unit("web");
    web.stop.command = Some(argv("quit"));
    web.stop.kill = KillMode::Group;
    check(
        [web],
        "
        0 boot       => [web waiting], spawn #1 web, [web starting]
        0 spawned #1 => [web ready]
        10 stop web  => stopcommand #2 web, [web stopping]
        20 exit #1 0 => await #1*
        8010 tick    => kill #2*, kill #1*, kill #2*
        8011 gone #2 => nothing
        8012 gone #1 => [web inactive], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn a_stop_asked_for_after_a_restart_stands_although_the_test_passes_later() {
    let mut db = unit("db");
    db.reload.test = Some(argv("check"));
    let mut web = unit("web");
    web.requires = names(&["db"]);
    check(
        [db, web],
        "
        0 boot        => [db waiting], [web waiting], spawn #1 db, [db starting]
        0 spawned #1  => [db ready], spawn #2 web, [web starting]
        0 spawned #2  => [web ready]
        10 restart db => test #3 db
        11 stop db    => TERM #2, [web stopping], job 1 db no, job 1 done
        12 exit #3 0  => kill #3*
        13 exit #2 0  => kill #2*
        14 gone #2    => [web waiting], TERM #1, [db stopping]
        15 exit #1 0  => kill #1*
        16 gone #1    => nothing
    ",
    );
}

#[test]
fn a_start_asked_for_while_post_stop_runs_is_no_automatic_restart() {
    let mut web = unit("web");
    web.restart.policy = Policy::Never;
    web.hooks.post_stop = vec![argv("sweep")];
    check(
        [web],
        "
        0 boot        => [web waiting], spawn #1 web, [web starting]
        0 spawned #1  => [web ready]
        10 exit #1 1  => kill #1*, [web stopping]
        10 gone #1    => poststop #2 web
        11 start web  => nothing
        12 exit #2 0  => kill #2*
        13 gone #2    => [web waiting], spawn #3 web, [web starting]
        14 spawned #3 => [web ready], job 1 web ok, job 1 done
    ",
    );
}

#[test]
fn what_waits_behind_a_completed_oneshot_starts_when_that_ones_base_is_up() {
    let db = unit("db");
    let mut migrate = unit("migrate");
    migrate.kind = Kind::Oneshot;
    migrate.requires = names(&["db"]);
    let mut web = unit("web");
    web.requires = names(&["migrate"]);
    web.enabled = false;
    check(
        [db, migrate, web],
        "
        0 boot        => [db waiting], [migrate waiting], spawn #1 db, [db starting]
        0 spawned #1  => [db ready], spawn #2 migrate, [migrate starting]
        0 spawned #2  => nothing
        1 exit #2 0   => kill #2*, [migrate stopping]
        1 gone #2     => [migrate completed]
        10 stop db    => TERM #1, [db stopping]
        11 exit #1 0  => kill #1*
        11 gone #1    => [db inactive], job 1 db ok, job 1 done
        20 start web  => [web waiting], [db waiting], spawn #3 db, [db starting]
        21 spawned #3 => [db ready], spawn #4 web, [web starting]
        22 spawned #4 => [web ready], job 2 web ok, job 2 done
    ",
    );
}

#[test]
fn resume_without_pause_leaves_the_check_under_way_alone() {
    let mut web = unit("web");
    web.health = Some(Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 3,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    });
    check(
        [web],
        "
        0 boot       => [web waiting], spawn #1 web, [web starting]
        0 spawned #1 => probe #2, [web ready]
        1 resume web => job 1 web ok, job 1 done
        2 passed #2  => [web pass]
    ",
    );
}

#[test]
fn a_restart_is_not_lost_when_the_unit_ends_well_while_its_test_runs() {
    let mut web = unit("web");
    web.restart.policy = Policy::OnFailure;
    web.reload.test = Some(argv("check"));
    check(
        [web],
        "
        0  boot        => [web waiting], spawn #1 web, [web starting]
        0  spawned #1  => [web ready]
        10 restart web => test #2 web
        11 exit #1 0   => kill #2*, kill #1*, [web stopping]
        12 gone #2     => nothing
        13 gone #1     => [web waiting], spawn #3 web, [web starting]
        14 spawned #3  => [web ready], job 1 web ok, job 1 done
    ",
    );
}
