//! Bugs that the simulator plants into the machine, to show that each of its promises has a checker that sees.
//!
//! A bug is one branch at the place where somebody could make the mistake: `if planted(Bug::RestartHeldUnit) { ... }`.
//! Outside tests [`planted`] is a constant `false`, so nothing of it is in the program. A bug is planted for one
//! thread at a time, so schedules with and without bugs can run side by side.

/// One mistake that could be made in the machine. The promise that must see it is named in `sim::bugs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// The stop timeout is never looked at: what ignores its stop signal lives on.
    ForgetKillTimer,
    /// A person's stop is forgotten: the unit comes back by itself.
    RestartHeldUnit,
    /// A replacement is started when the main process has ended, whatever of its tree is left.
    SkipTreeWait,
    /// What arrives about an old run is taken for news of the present one.
    AcceptStaleExit,
    /// Restarts are not counted against the limit.
    NoLimit,
    /// At a shutdown, what others stand on is stopped first.
    StopOrderForward,
    /// A unit's answer is given twice.
    AnswerTwice,
    /// One unit's answer is never given.
    LoseAnswer,
    /// A start asked for by a person counts as an automatic restart.
    CountPersonStart,
    /// Every retry comes after the first delay.
    BackoffNotGrowing,
    /// A unit with `[ready]` is up as soon as its process is made.
    ReadyWithoutProbe,
    /// Failed checks in the start period count.
    HealthCountsInStartPeriod,
    /// One failed check is an illness, whatever `retries` says.
    RetriesIgnored,
    /// The remedy for an ill unit is not applied.
    IllButLeftAlone,
    /// One that says that it is alive is not heard.
    AliveUnheard,
    /// One that says nothing is left alone.
    SilenceIgnored,
    /// Units that are part of another are not stopped or restarted along with it.
    IgnorePartOf,
    /// A unit is started beside one that it conflicts with.
    IgnoreConflict,
    /// svinit ends with 0, whatever ended it.
    EndWithZero,
    /// The deadline of the shutdown is forgotten.
    DeadlineForgottenInShutdown,
    /// A second request to shut down changes nothing.
    SecondShutdownIgnored,
    /// Changes are reported twice.
    ReportTwice,
    /// Changes of health are not reported.
    HealthUntold,
    /// A restart goes ahead although the test has failed.
    TestIgnored,
    /// A paused unit is restarted when it ends.
    PausedStillRestarts,
    /// The bound on automatic restarts of all units together is not kept.
    ForkRateOff,
    /// After a suspension, checks that could not run count as failed.
    SuspendFailsHealth,
    /// A unit is started before the outside things it waits for answer.
    WaitForSkipped,
    /// A unit waits for ever for one it merely wants, when that has failed.
    WantsBlocks,
    /// A unit is started before what it requires is up.
    RequiresSkipped,
    /// A unit goes on to its main process although what it requires went down while it was prepared.
    LastLookSkipped,
    /// What waited for a failed unit is not started when that comes back.
    FailedDependencyForgotten,
    /// At its limit, a unit is not tried again later.
    OnLimitRetryNever,
    /// A hook that hangs is waited for, for ever.
    HookTimeoutForgotten,
    /// The main process is started although a `pre_start` hook has failed.
    PreStartFailureIgnored,
    /// Exit codes that forbid a new try do not.
    PermanentCodeIgnored,
    /// `policy = "never"` restarts.
    PolicyIgnored,
    /// A passed deadline stays the next one.
    DeadlineStays,
    /// What requires a unit is not stopped when a person stops that unit.
    StopLeavesDependants,
    /// A reload that failed is answered as done.
    ReloadAlwaysWell,
    /// The end of a reload that began before one was asked for is taken for its end.
    EarlierReloadCounts,
    /// What has said that it stops is told to.
    LeavingIsTold,
    /// An update restarts whatever has changed at all.
    UpdateRestartsAll,
    /// A new definition is never taken over.
    DefinitionLost,
    /// A new definition is taken over in the middle of things.
    DefinitionTakenTooEarly,
    /// Starts are still made while everything is being shut down.
    StartInShutdown,
    /// The commands that nobody has had an answer to yet are not handed over.
    HandOverForgetsJobs,
    /// Of a unit that is handed over it is forgotten that a person has stopped it.
    HandOverForgetsHeld,
    /// The old one is told to stop before the new one is up.
    OldStopsFirst,
    /// A new one that does not come up takes the old one with it.
    FailureTakesTheOldOne,
    /// The first health check of a new one is not awaited.
    SuccessorUnchecked,
    /// The instances of a group are restarted all at once.
    AllAtOnce,
    /// The next instance has its turn although the one before did not come up.
    RollGoesOn,
    /// Of turns that are still to come the next svinit knows nothing.
    HandOverForgetsTurns,
    /// Of definitions that are still to come the next svinit knows nothing.
    HandOverForgetsUpdates,
    /// A unit that is stopped while it is replaced leaves the new one behind.
    SuccessorStays,
    /// A restart is answered as done although the new one did not come up.
    FailedReplacementIsWell,
    /// What is handed over says nothing of how often a unit was restarted.
    HandOverForgetsCounts,
    /// What is handed over has no deadlines.
    HandOverForgetsDeadlines,
    /// A moment of a schedule starts a unit that a person has stopped.
    MomentStartsStopped,
    /// A moment that comes while a run is under way is skipped, and not counted.
    SkipUncounted,
    /// A moment that was queued is forgotten when the run before it is over.
    QueueForgotten,
    /// A moment does not end the run that it is to end.
    KillForgotten,
    /// One that is run by the clock has done its work with its first run.
    FirstRunIsLast,
    /// A run by the clock begins whatever became of the one before.
    OverlapIgnored,
    /// The next instance is reloaded while the one before still is.
    ReloadsAtOnce,
    /// The next instance is reloaded although the reload of the one before has failed.
    ReloadsGoOn,
    /// Who has had no turn in an update gets its definition with its next process.
    NoTurnNoMatter,
    /// A definition is told to be in force still, although its process did not come up.
    FailedDefinitionStays,
    /// A definition whose process did not come up is that of the next process.
    FailedDefinitionComesBack,
    /// A new one that has taken over has the definition of the old one.
    SuccessorHasOldDefinition,
    /// The old one is killed as soon as the new one is up.
    DrainCutShort,
    /// What is still on its way down beside a unit that is down is not seen.
    LeaversUnseen,
    /// What is to begin anew with another definition is stopped for good.
    UpdateStopsForGood,
    /// Units that go are stopped without regard to who builds on whom.
    GoingLosesOrder,
    /// A unit that goes is forgotten with all that it has left alive.
    GoneLeavesProcesses,
    /// A unit that comes with an update is not started.
    ComingNotStarted,
    /// With a unit that goes, what it required is stopped.
    GoingTakesNeeds,
    /// A unit that is defined again before it is down is forgotten as if it were not.
    ReturnForgotten,
    /// Of units that go, the next svinit does not know that they do.
    HandOverForgetsGoing,
    /// After a crash of svinit, what it had just heard is forgotten.
    CrashForgetsNews,
    /// After a crash, the end of a process that nobody saw is not told.
    CrashHidesEnds,
    /// After a crash, what was made in its last turn goes on to live.
    CrashLeavesStrays,
    /// After a crash, runs get numbers that others have.
    CrashReusesRuns,
    /// After a crash, everything is killed and made again.
    CrashKillsAll,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether the machine is to make this mistake. Always `false` outside tests.
#[cfg(test)]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether the machine is to make this mistake. Always `false` outside tests.
#[cfg(not(test))]
pub(super) const fn planted(_: Bug) -> bool {
    false
}

/// Plants a bug into every machine of this thread, or takes it out.
#[cfg(test)]
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
