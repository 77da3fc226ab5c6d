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
}

impl Known {
    /// Both in one.
    pub(super) fn sign(&self) -> Sign {
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
        "ready" | "reloading" => Sign::Well,
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
        let known =
            |pushed: Sign, checked: Sign| Known { pushed: Some(pushed), checked: Some(checked) }.sign();
        let ill = || Sign::Ill("503".into());
        assert_eq!(known(Sign::Well, ill()), ill());
        assert_eq!(known(Sign::Well, Sign::Well), Sign::Well);
        assert_eq!(known(Sign::Down("x".into()), Sign::Well), Sign::Down("x".into()));
        assert_eq!(known(Sign::Held("x".into()), ill()), Sign::Held("x".into()));
        assert_eq!(known(Sign::Unseen("x".into()), Sign::Well), Sign::Well);
        assert_eq!(Known { pushed: Some(Sign::Well), checked: None }.sign(), Sign::Well);
    }
}
