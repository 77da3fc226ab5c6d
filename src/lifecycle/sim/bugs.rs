//! Shows that the watchers see: each bug that can be planted into the machine breaks the promise that it should.
//!
//! A bug that no watcher finds means that a promise has no watcher, or one that is blind. Whoever adds a promise adds a
//! bug that only this promise can see. `SIM_BUG=AllAtOnce` plants that one only.

use crate::lifecycle::planted::{Bug, plant};
use crate::lifecycle::sim::schedule::{self, Keep};

/// Each bug, and the promise that it breaks.
const BUGS: &[(Bug, &str)] = &[
    (Bug::ForgetKillTimer, "a stop ends within its timeouts"),
    (Bug::RestartHeldUnit, "what is shown of a unit is what was reported"),
    (Bug::SkipTreeWait, "a replacement starts only when nothing of its predecessor is left"),
    (Bug::AcceptStaleExit, "what is about a run that is over changes nothing"),
    (Bug::NoLimit, "the limit of restarts within the window is kept"),
    (Bug::StopOrderForward, "what builds on a unit is down before that is stopped"),
    (Bug::AnswerTwice, "every request gets one answer a unit"),
    (Bug::LoseAnswer, "every request gets one answer a unit"),
    (Bug::CountPersonStart, "a start asked for by a person does not count as a restart"),
    (Bug::BackoffNotGrowing, "retries come at the pace of their back-off"),
    (Bug::ReadyWithoutProbe, "a unit is ready only when its sign has come"),
    (Bug::HealthCountsInStartPeriod, "a unit is ill only after as many failed checks as it may have"),
    (Bug::RetriesIgnored, "a unit is ill only after as many failed checks as it may have"),
    (Bug::IllButLeftAlone, "an ill unit gets its remedy"),
    (Bug::AliveUnheard, "a unit is ended for its silence only after its watchdog time"),
    (Bug::SilenceIgnored, "a unit that is silent for its watchdog time is ended"),
    (Bug::LeavingIsTold, "what has said that it stops is not told to"),
    (Bug::EarlierReloadCounts, "a reload is over when a reload is that began after it was asked for"),
    (Bug::UpdateRestartsAll, "an update touches only what has to be restarted for it"),
    (Bug::DefinitionTakenTooEarly, "a process lives and ends by the definition that it was started with"),
    (Bug::DefinitionLost, "what an update has asked for is in force when everything rests"),
    (Bug::IgnorePartOf, "what is part of a unit is stopped and restarted along with it"),
    (Bug::IgnoreConflict, "units that conflict never run at the same time"),
    (Bug::EndWithZero, "the status at the end is true"),
    (Bug::DeadlineForgottenInShutdown, "the shutdown ends by its deadline, from any state"),
    (Bug::SecondShutdownIgnored, "a second request to shut down kills at once"),
    (Bug::ReportTwice, "every change is reported once, and as it was"),
    (Bug::HealthUntold, "every change is reported once, and as it was"),
    (Bug::TestIgnored, "a restart or reload that went well has passed its test"),
    (Bug::PausedStillRestarts, "a paused unit is not restarted"),
    (Bug::ForkRateOff, "automatic restarts of all units keep the fork rate"),
    (Bug::SuspendFailsHealth, "a suspension is held against nobody"),
    (Bug::WaitForSkipped, "a unit starts only when the outside things it waits for have answered"),
    (Bug::WantsBlocks, "every unit comes to rest when faults have ceased"),
    (Bug::RequiresSkipped, "a unit starts only when what it requires is up"),
    (Bug::LastLookSkipped, "a unit starts only when what it requires is up"),
    (Bug::FailedDependencyForgotten, "every unit comes to rest when faults have ceased"),
    (Bug::OnLimitRetryNever, "nobody gives up too early"),
    (Bug::HookTimeoutForgotten, "a hook, test or check does not outlive its timeout"),
    (Bug::PreStartFailureIgnored, "the main process starts only when every pre_start hook has succeeded"),
    (Bug::PermanentCodeIgnored, "only what its policy wants back is restarted"),
    (Bug::PolicyIgnored, "only what its policy wants back is restarted"),
    (Bug::DeadlineStays, "after a tick, the next deadline is still to come"),
    (Bug::StopLeavesDependants, "stopping a unit stops what requires it"),
    (Bug::ReloadAlwaysWell, "an answer is true"),
    (Bug::StartInShutdown, "nothing is started while svinit is on its way out"),
    (Bug::HandOverForgetsJobs, "what is handed over is what was"),
    (Bug::HandOverForgetsJobs, "every request comes to its end"),
    (Bug::HandOverForgetsHeld, "what is handed over is what was"),
    (Bug::HandOverForgetsHeld, "what is shown of a unit is what was reported"),
    (Bug::HandOverForgetsCounts, "what is handed over is what was"),
    (Bug::HandOverForgetsDeadlines, "every unit comes to rest when faults have ceased"),
    (Bug::FailedReplacementIsWell, "an answer is true"),
    (Bug::OldStopsFirst, "the old one is not told to stop before the new one is up"),
    (Bug::FailureTakesTheOldOne, "a new one that does not come up changes nothing"),
    (Bug::SuccessorUnchecked, "a new one takes over only when its health check has passed"),
    (Bug::AllAtOnce, "a restart of a group takes one away at a time"),
    (Bug::RollGoesOn, "the turns of a group end with one that does not come up"),
    (Bug::HandOverForgetsTurns, "what is handed over is what was"),
    (Bug::HandOverForgetsUpdates, "what an update has asked for is in force when everything rests"),
    (Bug::MomentStartsStopped, "every moment of a schedule is run, kept for later or counted as skipped"),
    (Bug::SkipUncounted, "every moment of a schedule is run, kept for later or counted as skipped"),
    (Bug::QueueForgotten, "every moment of a schedule is run, kept for later or counted as skipped"),
    (Bug::KillForgotten, "a moment does to a run what overlap says"),
    (Bug::FirstRunIsLast, "a schedule that is armed and has nothing to do waits for its next moment"),
    (Bug::OverlapIgnored, "two runs of a schedule are never there at once"),
    (Bug::CrashForgetsNews, "an order to stop is carried out, whatever happens"),
    (Bug::CrashForgetsNews, "after a crash svinit knows what it knew, and what it has heard since"),
    (Bug::CrashHidesEnds, "what is shown as running runs"),
    (Bug::CrashLeavesStrays, "no process lives of which svinit does not know"),
    (Bug::CrashReusesRuns, "every action makes sense to the kernel"),
    (Bug::CrashKillsAll, "a crash of svinit touches no process that it knows"),
    (Bug::SuccessorStays, "nobody takes the place of a unit that a person has stopped"),
    (Bug::AllAtOnce, "an update of a group takes one away at a time"),
    (Bug::AllAtOnce, "of a group one is replaced beside itself at a time"),
    (Bug::RollGoesOn, "an update of a group ends with one that does not come up"),
    (Bug::NoTurnNoMatter, "whoever had no turn in an update keeps its definition"),
    (Bug::ReloadsAtOnce, "of a group one is reloaded at a time"),
    (Bug::ReloadsGoOn, "the reloads of a group end with one that fails"),
    (Bug::FailedDefinitionStays, "the definition in force is the one that the main process was started with"),
    (
        Bug::SuccessorHasOldDefinition,
        "the definition in force is the one that the main process was started with",
    ),
    (Bug::FailedDefinitionComesBack, "a definition whose process did not come up is given up"),
    (Bug::DrainCutShort, "a main process has its stop timeout before it is killed"),
    (Bug::LeaversUnseen, "a unit that is down has no process beside it"),
    (Bug::UpdateStopsForGood, "an update changes nobody's goal"),
    (Bug::GoingLosesOrder, "what builds on a unit that goes is down before that is stopped"),
    (Bug::GoneLeavesProcesses, "nothing is left of a unit that is no more"),
    (Bug::ComingNotStarted, "a unit that comes is started if it is enabled"),
    (Bug::GoingTakesNeeds, "units that come and go leave all others as they are"),
    (Bug::ReturnForgotten, "nothing is left of a unit that is no more"),
    (Bug::HandOverForgetsGoing, "what is handed over is what was"),
    (Bug::HandOverForgetsGoing, "when everything rests there are the units that are defined"),
];

/// Plants the bug of this name for this thread.
pub(super) fn plant_named(name: &str) {
    let found = BUGS.iter().map(|(bug, _)| *bug).find(|bug| format!("{bug:?}") == name);
    plant(Some(found.unwrap_or_else(|| panic!("there is no bug {name}"))));
}

/// Within so many schedules each bug is found.
const WITHIN: u64 = 6000;

/// The first seed with which this bug breaks this promise.
fn finds(bug: Bug, sentence: &str) -> Option<u64> {
    plant(Some(bug));
    let breaks =
        |seed: &u64| schedule::run_keeping(*seed, Keep::Nothing).is_err_and(|f| f.sentence == sentence);
    let found = (0..WITHIN).find(breaks);
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found_by_the_promise_it_breaks() {
    let mut missed = Vec::new();
    let only = std::env::var("SIM_BUG").ok();
    for (bug, sentence) in BUGS {
        if only.as_ref().is_some_and(|only| *only != format!("{bug:?}")) {
            continue;
        }
        match finds(*bug, sentence) {
            Some(seed) => println!("{bug:?}: SIM_SEED={seed} breaks the promise: {sentence}"),
            None => missed.push(format!("{bug:?} never breaks the promise: {sentence}")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
