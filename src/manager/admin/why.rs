//! Why a service is as it is, in words. Pure.

use std::fmt::Write as _;

use crate::api::manager::ContainerStatus;
use crate::api::manager::Note;
use crate::api::manager::RecoveryStatus;
use crate::api::manager::ServiceStatus;

/// Decisions that are told; all of them are beside the text.
const NOTES: usize = 8;

/// The text, in lines.
pub(super) fn text(service: &ServiceStatus, notes: &[Note], is_leader: bool, is_frozen: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", verdict(service));
    for instance in &service.instances {
        let more = match (instance.draining, instance.ejected) {
            (true, _) => ", gets no new requests",
            (false, true) => ", left out for a while for its answers",
            (false, false) => "",
        };
        let _ = writeln!(text, "  {} is {}{more}: {}", instance.address, instance.standing, instance.why);
    }
    match &service.recovery {
        Some(recovery) => tell_recovery(recovery, is_leader, is_frozen, &mut text),
        None => {
            let _ =
                writeln!(text, "recovery can do nothing about it: it has no control in the manager's file.");
        }
    }
    let unit = service.control.as_ref().map_or("", |control| control.unit.as_str());
    for container in &service.containers {
        tell_container(container, unit, &mut text);
    }
    if !notes.is_empty() {
        let _ = writeln!(text, "last decisions:");
    }
    for note in notes.iter().skip(notes.len().saturating_sub(NOTES)) {
        let _ = writeln!(text, "  {} ago  {}: {}", age(note.ago_ms), note.decision, note.why);
    }
    text
}

fn verdict(service: &ServiceStatus) -> String {
    let up = service.instances.iter().filter(|instance| instance.standing == "up").count();
    let all = service.instances.len();
    let name = &service.service;
    match service.state.as_str() {
        "away" => format!("{name} is away: it is being repaired, and {} requests wait.", service.parked),
        "unknown" if all == 0 => format!("{name} is unknown: none of its names has an address yet."),
        "unknown" => format!("{name} is unknown: its check has not ended yet."),
        state => {
            format!("{name} is {state}: {up} of {all} instances take requests, {} wait.", service.parked)
        }
    }
}

fn tell_recovery(recovery: &RecoveryStatus, is_leader: bool, is_frozen: bool, text: &mut String) {
    let _ = writeln!(text, "recovery is {}, with {} actions left.", recovery.phase, recovery.budget);
    if let Some(ms) = recovery.paused_ms {
        let _ = writeln!(text, "  a person has paused it for {} more.", age(ms));
    }
    if let Some(why) = &recovery.held_by {
        let _ = writeln!(text, "  it would act, but {why}.");
    }
    if is_frozen {
        let _ = writeln!(text, "  half of everything is ill, so nothing is touched.");
    }
    if !is_leader {
        let _ = writeln!(text, "  another manager acts.");
    }
    for sign in &recovery.signs {
        let colon = if sign.why.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "  {} looks {}{colon}{}", sign.instance, sign.sign, sign.why);
    }
}

fn tell_container(container: &ContainerStatus, unit: &str, text: &mut String) {
    match (&container.error, container.units.iter().find(|known| known.unit == unit)) {
        (Some(why), _) => {
            let _ = writeln!(text, "svinit in {} was not asked: {why}", container.name);
        }
        (None, Some(known)) => {
            let _ = writeln!(
                text,
                "svinit in {} says: {unit} is {} for {}: {}",
                container.name,
                known.state,
                age(known.since_ms),
                known.why
            );
        }
        (None, None) => {
            let _ = writeln!(text, "svinit in {} has no unit {unit}.", container.name);
        }
    }
}

/// `3 s`, `12 min`, `5 h`, `2 d`.
fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;
    use super::text;
    use crate::api::manager::InstanceStatus;
    use crate::api::manager::Note;
    use crate::api::manager::RecoveryStatus;
    use crate::api::manager::Requests;
    use crate::api::manager::ServiceStatus;

    #[test]
    fn it_says_what_is_what_is_done_and_what_was_decided() {
        let service = ServiceStatus {
            service: "backend".into(),
            state: "down".into(),
            parked: 7,
            away: false,
            instances: vec![InstanceStatus {
                address: "10.0.0.2:8000".into(),
                container: None,
                standing: "gone".into(),
                why: "its check fails: connection refused".into(),
                ejected: false,
                draining: false,
                in_flight: 0,
            }],
            requests: Requests::default(),
            control: None,
            recovery: Some(RecoveryStatus {
                phase: "waiting".into(),
                held_by: Some("it needs database, which is not well".into()),
                paused_ms: None,
                budget: 3,
                signs: Vec::new(),
            }),
            containers: Vec::new(),
        };
        let note = Note { ago_ms: 61_000, decision: "ill".into(), why: "connection refused".into() };
        assert_eq!(
            text(&service, &[note], true, false),
            "backend is down: 0 of 1 instances take requests, 7 wait.\n\
             \x20 10.0.0.2:8000 is gone: its check fails: connection refused\n\
             recovery is waiting, with 3 actions left.\n\
             \x20 it would act, but it needs database, which is not well.\n\
             last decisions:\n\
             \x20 61 s ago  ill: connection refused\n"
        );
        assert_eq!((age(0), age(3_600_000), age(200_000_000)), ("0 s".into(), "60 min".into(), "2 d".into()));
    }
}
