//! What a container that does not run says about the service in it.

use crate::manager::reach::Instance;
use crate::manager::reach::engine::fates::End;
use crate::manager::recovery::fact::Sign;

/// The sign of an instance whose container does not run; `None`: it runs, and its svinit is to be asked.
///
/// What nobody has seen the end of is left alone: a person may have stopped it.
pub(in crate::manager) fn halted(instance: &Instance) -> Option<Sign> {
    let state = instance.state.as_str();
    Some(match (state, &instance.end) {
        ("running", _) => return None,
        ("paused", _) => Sign::Held("its container is paused".to_owned()),
        ("restarting", Some(End::Own(how) | End::Fresh { how, .. })) => {
            Sign::Coming(format!("its container has ended ({how}), and the engine starts it again"))
        }
        ("restarting", Some(End::Asked(_)) | None) => {
            Sign::Coming("the engine starts its container again".to_owned())
        }
        ("exited" | "dead", Some(End::Own(how))) => {
            Sign::Down(format!("its container has ended by itself: {how}"))
        }
        ("exited" | "dead", Some(End::Fresh { how, .. })) => {
            Sign::Coming(format!("its container has ended: {how}"))
        }
        ("exited" | "dead", Some(End::Asked(who))) => Sign::Held(format!("its container is {state}: {who}")),
        ("exited" | "dead", None) => {
            Sign::Held(format!("its container is {state}, and nobody has seen how it ended"))
        }
        _ => Sign::Held(format!("its container is {state}")),
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::halted;
    use crate::manager::reach::Instance;
    use crate::manager::reach::engine::fates::End;

    #[test]
    fn only_what_was_seen_to_end_by_itself_needs_anybody() {
        let own = || Some(End::Own("exit status 1".into()));
        let fresh = || Some(End::Fresh { how: "exit status 1".into(), judged_at: Instant::now() });
        let asked = || Some(End::Asked("a person has stopped it".into()));
        for (state, end, expected) in [
            ("running", None, None),
            ("running", own(), None),
            ("paused", None, Some("held: its container is paused")),
            ("created", None, Some("held: its container is created")),
            ("exited", None, Some("held: its container is exited, and nobody has seen how it ended")),
            ("exited", asked(), Some("held: its container is exited: a person has stopped it")),
            ("exited", fresh(), Some("coming: its container has ended: exit status 1")),
            ("exited", own(), Some("down: its container has ended by itself: exit status 1")),
            ("dead", own(), Some("down: its container has ended by itself: exit status 1")),
            (
                "restarting",
                own(),
                Some("coming: its container has ended (exit status 1), and the engine starts it again"),
            ),
            ("restarting", None, Some("coming: the engine starts its container again")),
        ] {
            let instance =
                Instance { id: "c".into(), name: "c".into(), address: None, state: state.into(), end };
            let told = halted(&instance).map(|sign| format!("{}: {}", sign.word(), sign.why()));
            assert_eq!(told.as_deref(), expected, "{instance:?}");
        }
    }
}
