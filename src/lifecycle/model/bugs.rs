//! Shows that the laws see: bugs that can be planted into the machine break the law that they should.
//!
//! Four of the simulator's are missing: what takes many failures in a row (the growth of the back-off, the fork rate) or
//! finer rules of a health check than the worlds have stays the simulator's business.

use crate::lifecycle::model::walk::{Bound, Violation, walk};
use crate::lifecycle::model::worlds::{self, World};
use crate::lifecycle::planted::{Bug, plant};

/// Each bug, how many disturbances it takes to be seen, in which world, and the law that it breaks.
const BUGS: &[(Bug, u32, &str, &str)] = &[
    (Bug::ForgetKillTimer, 1, "two requires one", "a stop ends within its timeouts"),
    (Bug::RestartHeldUnit, 1, "two requires one", "what is shown of a unit is what was reported"),
    (
        Bug::SkipTreeWait,
        1,
        "two requires one",
        "a replacement starts only when nothing of its predecessor is left",
    ),
    (Bug::AcceptStaleExit, 0, "one is a oneshot", "what is about a run that is over changes nothing"),
    (Bug::NoLimit, 2, "two requires one", "the limit of restarts within the window is kept"),
    (Bug::StopOrderForward, 1, "two requires one", "what builds on a unit is down before that is stopped"),
    (Bug::AnswerTwice, 1, "two requires one", "every request gets one answer a unit"),
    (Bug::LoseAnswer, 1, "two requires one", "every request gets one answer a unit"),
    (
        Bug::CountPersonStart,
        1,
        "two requires one",
        "a start asked for by a person does not count as a restart",
    ),
    (
        Bug::ReadyWithoutProbe,
        0,
        "one is ready when its check passes",
        "a unit is ready only when its sign has come",
    ),
    (Bug::IllButLeftAlone, 1, "one is watched", "an ill unit gets its remedy"),
    (
        Bug::IgnorePartOf,
        1,
        "two is part of one",
        "what is part of a unit is stopped and restarted along with it",
    ),
    (Bug::IgnoreConflict, 1, "one and two conflict", "units that conflict never run at the same time"),
    (Bug::EndWithZero, 1, "one is never started again", "the status at the end is true"),
    (
        Bug::DeadlineForgottenInShutdown,
        1,
        "one forks its daemon",
        "the shutdown ends by its deadline, from any state",
    ),
    (Bug::SecondShutdownIgnored, 2, "two requires one", "a second request to shut down kills at once"),
    (Bug::ReportTwice, 0, "two requires one", "every change is reported once, and as it was"),
    (Bug::HealthUntold, 0, "one is watched", "what is shown of a unit is what was reported"),
    (
        Bug::TestIgnored,
        2,
        "one is tested before it is reloaded",
        "a restart or reload that went well has passed its test",
    ),
    (Bug::PausedStillRestarts, 2, "two requires one", "a paused unit is not restarted"),
    (
        Bug::SuspendFailsHealth,
        1,
        "two requires one, and the machine is suspended",
        "a suspension is held against nobody",
    ),
    (
        Bug::WaitForSkipped,
        0,
        "two waits for the outside",
        "a unit starts only when the outside things it waits for have answered",
    ),
    (Bug::WantsBlocks, 2, "two wants one", "every unit comes to rest when faults have ceased"),
    (Bug::RequiresSkipped, 0, "two requires one", "a unit starts only when what it requires is up"),
    (
        Bug::LastLookSkipped,
        1,
        "two prepares before it starts",
        "a unit starts only when what it requires is up",
    ),
    (
        Bug::FailedDependencyForgotten,
        1,
        "two requires one",
        "every unit comes to rest when faults have ceased",
    ),
    (Bug::OnLimitRetryNever, 2, "two requires one", "nobody gives up too early"),
    (
        Bug::HookTimeoutForgotten,
        0,
        "two prepares before it starts",
        "a hook, test or check does not outlive its timeout",
    ),
    (
        Bug::PreStartFailureIgnored,
        1,
        "two prepares before it starts",
        "the main process starts only when every pre_start hook has succeeded",
    ),
    (
        Bug::PermanentCodeIgnored,
        1,
        "one is started again after failures",
        "only what its policy wants back is restarted",
    ),
    (Bug::PolicyIgnored, 1, "one is never started again", "only what its policy wants back is restarted"),
    (Bug::DeadlineStays, 0, "one is ready after a delay", "after a tick, the next deadline is still to come"),
    (
        Bug::StopLeavesDependants,
        1,
        "two requires one",
        "what builds on a unit is down before that is stopped",
    ),
    (Bug::ReloadAlwaysWell, 2, "one is tested before it is reloaded", "an answer is true"),
    (Bug::StartInShutdown, 2, "two requires one", "nothing is started while svinit is on its way out"),
];

const STATES: usize = 1_000_000;

fn violation(bug: Bug, world: &World, disturbances: u32) -> Option<Box<Violation>> {
    plant(Some(bug));
    let walked = walk(world, Bound { disturbances, states: STATES });
    plant(None);
    walked.err()
}

fn world<'a>(worlds: &'a [World], title: &str) -> &'a World {
    worlds.iter().find(|world| world.title == title).expect("a world of this title")
}

#[test]
fn every_bug_of_the_table_breaks_its_law_in_its_world() {
    let worlds = worlds::all();
    let mut missed = Vec::new();
    for (bug, disturbances, title, sentence) in BUGS {
        let found = violation(*bug, world(&worlds, title), *disturbances).map(|violation| violation.sentence);
        if found != Some(*sentence) {
            missed.push(format!("{bug:?}: {found:?} instead of: {sentence}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    println!("{} planted bugs found", BUGS.len());
}

#[test]
fn the_way_to_a_broken_law_is_told_line_by_line() {
    let worlds = worlds::all();
    let violation = violation(Bug::SkipTreeWait, world(&worlds, "two requires one"), 1).expect("a violation");
    let lines: Vec<&str> = violation.story.lines().map(str::trim_start).collect();
    assert_eq!(lines[0], "in the world where two requires one:");
    assert!(lines[1].starts_with("0ms boot => [one inactive -> waiting"), "{}", violation.story);
    assert!(lines.iter().any(|line| line.starts_with("0ms Exited { run: RunId(1)")), "{}", violation.story);
    assert!(
        lines[lines.len() - 2].starts_with("broken: a replacement starts only when"),
        "{}",
        violation.story
    );
}
