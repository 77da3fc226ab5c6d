//! Every row of the table in `of_unit`, and what becomes of many units.

use crate::lifecycle::state::{Health, Label, Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::lifecycle::verdict::{Boot, Verdict, of_unit, overall, readiness};
use crate::units::name::UnitName;

fn unit(name: &str, label: Label) -> UnitView {
    UnitView {
        name: UnitName::new(name).unwrap(),
        description: String::new(),
        label,
        health: Health::Unknown,
        health_why: String::new(),
        run: None,
        pid: None,
        since: Time::ZERO,
        started: None,
        restarts: 0,
        last_exit: None,
        why: String::new(),
        waits_for: Vec::new(),
        status_text: String::new(),
        retry_at: None,
        held: false,
        paused: false,
        wanted: true,
        start_took: None,
        stop_took: None,
        beside: Vec::new(),
        schedule: None,
    }
}

fn verdict(view: &UnitView, boot: Boot) -> Verdict {
    of_unit(view, boot).verdict
}

#[test]
fn what_is_up_passes_and_what_is_not_fails_while_it_is_wanted() {
    for label in [Label::Ready, Label::Reloading, Label::Completed] {
        assert_eq!(verdict(&unit("a", label), Boot::Enabled), Verdict::Pass, "{label:?}");
    }
    for label in
        [Label::Inactive, Label::Waiting, Label::Starting, Label::Stopping, Label::Backoff, Label::Failed]
    {
        assert_eq!(verdict(&unit("a", label), Boot::Disabled), Verdict::Fail, "{label:?}");
    }
}

#[test]
fn a_unit_that_nobody_wants_may_be_down() {
    let idle = UnitView { wanted: false, ..unit("a", Label::Inactive) };
    assert_eq!(verdict(&idle, Boot::Disabled), Verdict::Pass);
    assert_eq!(verdict(&idle, Boot::Enabled), Verdict::Warn);
}

#[test]
fn a_failed_unit_fails_unless_nobody_asked_for_it() {
    let failed = UnitView { wanted: false, ..unit("a", Label::Failed) };
    assert_eq!(verdict(&failed, Boot::Enabled), Verdict::Fail);
    assert_eq!(verdict(&failed, Boot::Disabled), Verdict::Warn);
}

#[test]
fn a_failing_check_fails_and_says_what_it_saw() {
    let ill =
        UnitView { health: Health::Fail, health_why: "HTTP status 500".into(), ..unit("a", Label::Ready) };
    let judgement = of_unit(&ill, Boot::Enabled);
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert_eq!(judgement.why, "health check fails: HTTP status 500");
}

#[test]
fn a_paused_unit_warns_whatever_it_shows() {
    for label in [Label::Ready, Label::Backoff, Label::Failed] {
        let paused = UnitView { paused: true, health: Health::Fail, ..unit("a", label) };
        assert_eq!(verdict(&paused, Boot::Enabled), Verdict::Warn, "{label:?}");
    }
}

#[test]
fn the_first_of_the_worst_gives_the_reason() {
    let units = [
        UnitView { paused: true, ..unit("a", Label::Ready) },
        UnitView { why: "restart 3 in 2s".into(), ..unit("b", Label::Backoff) },
        unit("c", Label::Starting),
        unit("d", Label::Ready),
    ];
    let judgement = overall(Phase::Running, units.iter().map(|view| (view, Boot::Enabled)));
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert_eq!(judgement.why, "b: backoff: restart 3 in 2s (and 1 more)");
}

#[test]
fn a_group_serves_while_one_of_it_does() {
    let of = |labels: [Label; 3]| {
        let units: Vec<UnitView> =
            labels.iter().zip(["web@1", "web@2", "web-3"]).map(|(label, name)| unit(name, *label)).collect();
        overall(Phase::Running, units.iter().map(|view| (view, Boot::Enabled)))
    };
    let one_away = of([Label::Starting, Label::Ready, Label::Ready]);
    assert_eq!((one_away.verdict, one_away.why.starts_with("web@1: starting")), (Verdict::Warn, true));
    assert_eq!(of([Label::Backoff, Label::Stopping, Label::Ready]).verdict, Verdict::Fail);
    assert_eq!(of([Label::Ready, Label::Ready, Label::Starting]).verdict, Verdict::Fail);
    assert_eq!(of([Label::Ready; 3]).verdict, Verdict::Pass);
}

#[test]
fn no_units_at_all_are_well() {
    assert_eq!(overall(Phase::Running, []).verdict, Verdict::Pass);
}

#[test]
fn nothing_is_well_or_ready_while_svinit_leaves() {
    let up = unit("a", Label::Ready);
    let leaving = overall(Phase::Stopping, [(&up, Boot::Enabled)]);
    assert_eq!(leaving.verdict, Verdict::Fail);
    assert_eq!(readiness(Phase::Stopping, leaving).verdict, Verdict::Fail);
}

#[test]
fn readiness_waits_for_the_end_of_boot_and_then_follows_health() {
    let up = unit("a", Label::Ready);
    let of = |phase| readiness(phase, overall(phase, [(&up, Boot::Enabled)])).verdict;
    assert_eq!(of(Phase::Booting), Verdict::Fail);
    assert_eq!(of(Phase::Running), Verdict::Pass);
    let down = unit("a", Label::Backoff);
    let ill = readiness(Phase::Running, overall(Phase::Running, [(&down, Boot::Enabled)]));
    assert_eq!(ill.verdict, Verdict::Fail);
}
