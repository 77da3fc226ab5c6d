//! What is known of an instance: svinit's word and the gateway's checks, brought to one sign.
//!
//! svinit's word that a unit is down, held or coming is believed before any check; a check that fails is believed before svinit's
//! word that all is well, because a process can be there and hang.

use crate::api::status::UnitStatus;
use crate::manager::recovery::fact::Sign;

/// What is known of an instance from its two sources.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) pushed: Option<Sign>,
    pub(super) checked: Option<Sign>,
    /// Why there is no way to it: neither its svinit nor its engine can be reached.
    pub(super) cut: Option<String>,
}

impl Known {
    /// svinit says so.
    pub(super) fn push(&mut self, sign: Sign) {
        // It has just said that it is ready: a check that failed before is of the process before.
        if sign == Sign::Well && self.pushed.as_ref() != Some(&Sign::Well) {
            self.checked = None;
        }
        self.pushed = Some(sign);
        self.cut = None;
    }

    /// There is no way to it any more. What was wrong with it stays wrong as far as anybody knows.
    pub(super) fn cut(&mut self, why: &str) {
        let sign = self.sign();
        if self.checked.is_none() && sign.is_sick() {
            self.checked = Some(Sign::Ill(sign.why().to_owned()));
        }
        self.cut = Some(why.to_owned());
    }

    /// All of it in one.
    pub(super) fn sign(&self) -> Sign {
        if let Some(cut) = &self.cut {
            return match &self.checked {
                Some(Sign::Ill(why)) => {
                    Sign::Lost(format!("{why}; and nobody can do anything about it: {cut}"))
                }
                Some(sign) => sign.clone(),
                None => Sign::Unseen(cut.clone()),
            };
        }
        match (&self.pushed, &self.checked) {
            (
                Some(sign @ (Sign::Coming(_) | Sign::Down(_) | Sign::Held(_) | Sign::Ill(_) | Sign::Gone)),
                _,
            ) => sign.clone(),
            (_, Some(sign)) => sign.clone(),
            (Some(sign), None) => sign.clone(),
            (None, None) => Sign::Unseen("it has not been looked at yet".to_owned()),
        }
    }
}

/// What a status says.
pub(in crate::manager) fn sign_of(status: &UnitStatus) -> Sign {
    if status.paused {
        return Sign::Held("a person has paused it".to_owned());
    }
    let why = status.health_why.as_deref().filter(|_| status.health == "fail").unwrap_or(&status.why);
    sign(&status.state, &status.health, why, status.held)
}

/// What a state says.
pub(super) fn sign(state: &str, health: &str, why: &str, held: bool) -> Sign {
    let why = if why.is_empty() { state.to_owned() } else { format!("{state}: {why}") };
    match state {
        "ready" | "reloading" if health == "fail" => Sign::Ill(format!("svinit's check fails: {why}")),
        "ready" | "reloading" | "scheduled" => Sign::Well,
        "failed" => Sign::Down(why),
        "inactive" | "completed" if held => Sign::Held(why),
        "inactive" | "completed" => Sign::Down(why),
        _ => Sign::Coming(why),
    }
}

#[cfg(test)]
mod tests {
    use super::Known;
    use super::sign;
    use crate::manager::recovery::fact::Sign;

    #[test]
    fn what_a_unit_is_says_what_may_be_done_about_it() {
        for (state, health, held, expected) in [
            ("ready", "pass", false, "Well"),
            ("ready", "unknown", false, "Well"),
            ("ready", "fail", false, "Ill"),
            ("backoff", "unknown", false, "Coming"),
            ("starting", "unknown", false, "Coming"),
            ("stopping", "unknown", false, "Coming"),
            ("failed", "unknown", false, "Down"),
            ("inactive", "unknown", false, "Down"),
            ("inactive", "unknown", true, "Held"),
        ] {
            let told = format!("{:?}", sign(state, health, "", held));
            assert!(told.starts_with(expected), "{state} {health} {held}: {told}");
        }
    }

    #[test]
    fn svinit_is_believed_that_it_is_down_and_checks_that_it_is_ill() {
        let known = |pushed: Sign, checked: Sign| {
            Known { pushed: Some(pushed), checked: Some(checked), cut: None }.sign()
        };
        let ill = || Sign::Ill("503".into());
        assert_eq!(known(Sign::Well, ill()), ill());
        assert_eq!(known(Sign::Well, Sign::Well), Sign::Well);
        assert_eq!(known(Sign::Down("x".into()), Sign::Well), Sign::Down("x".into()));
        assert_eq!(known(Sign::Held("x".into()), ill()), Sign::Held("x".into()));
        assert_eq!(known(Sign::Unseen("x".into()), Sign::Well), Sign::Well);
        assert_eq!(Known { pushed: Some(Sign::Well), checked: None, cut: None }.sign(), Sign::Well);
    }

    #[test]
    fn what_was_ill_when_the_way_to_it_was_cut_is_lost_until_there_is_one_again() {
        let mut known = Known::default();
        known.push(Sign::Well);
        known.cut("no engine");
        assert_eq!(known.sign(), Sign::Unseen("no engine".into()));
        known.checked = Some(Sign::Ill("503".into()));
        assert_eq!(known.sign().word(), "lost");
        known.checked = Some(Sign::Well);
        assert_eq!(known.sign(), Sign::Well);
        known.push(Sign::Down("killed".into()));
        assert_eq!(known.sign(), Sign::Down("killed".into()));
        known.checked = None;
        known.cut("no engine");
        assert_eq!(known.sign().word(), "lost");
        known.push(Sign::Well);
        assert_eq!(known.sign(), Sign::Well);
    }
}
