//! Whether a unit that is up is well: one check at a time, `retries` failures in a row make it ill.
//!
//! Docker's words: for `start_period` after it became ready, failures do not count, until a check has passed.

use serde::{Deserialize, Serialize};

use crate::lifecycle::errand::{Errand, Verdict};
use crate::lifecycle::event::Event;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::start::named;
use crate::lifecycle::state;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Tidying};
use crate::units::name::UnitName;
use crate::units::spec::Health;

/// The watch over one unit that is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HealthWatch {
    pub(super) state: state::Health,
    /// In a row, that count.
    pub(super) failures: u32,
    pub(super) errand: Option<Errand>,
    pub(super) next: Time,
    /// Failures before this do not count.
    pub(super) lenient_until: Time,
    /// What the last failure said.
    pub(super) why: String,
}

impl HealthWatch {
    /// The first check comes at once: an operator who looks wants to know.
    pub(super) fn new(rule: &Health, now: Time) -> Self {
        Self {
            state: state::Health::Unknown,
            failures: 0,
            errand: None,
            next: now,
            lenient_until: now.after(rule.start_period),
            why: String::new(),
        }
    }

    pub(super) fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        match &mut self.errand {
            Some(errand) => f(&mut errand.by),
            None => f(&mut self.next),
        }
        // `lenient_until` is compared with, it wakes nobody.
    }

    /// Says in words what is wrong, each time that it has become or is still ill after `retries` failures.
    pub(super) fn on_event(
        &mut self,
        unit: &UnitName,
        rule: &Health,
        event: &Event,
        tidying: &mut Tidying,
        cx: &mut Cx<'_>,
    ) -> Option<String> {
        let verdict = self.errand.as_ref().and_then(|errand| errand.on_event(event, tidying, cx));
        let ill = verdict.and_then(|verdict| {
            self.errand = None;
            self.next = cx.now.after(rule.interval);
            self.judge(rule, verdict, cx.now)
        });
        if ill.is_none() && self.errand.is_none() && cx.now >= self.next {
            self.errand = Some(Errand::check(unit, &rule.check, rule.timeout, cx));
        }
        ill
    }

    fn judge(&mut self, rule: &Health, verdict: Verdict, now: Time) -> Option<String> {
        let Verdict::Failed { why, said } = verdict else {
            self.failures = 0;
            self.lenient_until = Time::ZERO;
            self.state = state::Health::Pass;
            self.why.clear();
            return None;
        };
        let said = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        self.why = format!("{}: {why}{said}", named(&rule.check));
        if now < self.lenient_until && !planted(Bug::HealthCountsInStartPeriod) {
            return None;
        }
        self.failures += 1;
        if self.failures < rule.retries && !planted(Bug::RetriesIgnored) {
            return None;
        }
        // The count begins anew, so that a remedy that did not help is tried again after as many failures.
        self.failures = 0;
        self.state = state::Health::Fail;
        let times =
            if rule.retries == 1 { String::new() } else { format!(" ({} times in a row)", rule.retries) };
        Some(format!("health check failed{times}: {}", self.why))
    }

    /// No check until further notice.
    pub(super) fn abandon(&mut self, tidying: &mut Tidying, cx: &mut Cx<'_>) {
        if let Some(errand) = self.errand.take() {
            errand.abandon(tidying, cx);
        }
    }

    /// A check as soon as possible.
    pub(super) fn check_soon(&mut self, now: Time) {
        self.next = now;
    }
}
