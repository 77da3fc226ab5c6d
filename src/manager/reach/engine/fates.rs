//! How containers have ended: by themselves, or by a person. A pure machine that is told the engine's events.
//!
//! Only events can tell. A container that `docker stop` has stopped has the same exit status in the engine's lists as one that has
//! ended by itself, but its end is told otherwise:
//!
//! ```text
//!   by itself                 (oom) die
//!   docker stop     kill            die   stop
//!   docker kill     kill            die
//!   docker restart  kill            die   stop   start   restart
//! ```
//!
//! So an end with neither `kill` before it nor `stop` behind it is the container's own. `stop` comes after `die`, and a `kill` may
//! have been missed while nobody listened: judgement is passed [`SETTLE`] after the end. What ended unseen is not judged at all.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::manager::reach::engine::answers::Happening;

/// From `die` to `stop` it is milliseconds.
const SETTLE: Duration = Duration::from_secs(1);

/// So soon after a signal that need not end anything, an end is taken for its work: the signal may be what the image says that it is to
/// be stopped with.
const SIGNAL_WORKS: Duration = Duration::from_secs(10);

/// Signals that end nothing, as a rule: HUP, USR1, USR2, CONT, WINCH.
const HARMLESS: &[&str] = &["1", "10", "12", "18", "28"];

/// Containers of which something is remembered. Who runs thousands of managed containers at one engine is not judged further.
const CONTAINERS_MAX: usize = 4096;

/// How a container has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Just now. Who has done it is known at this time.
    Fresh {
        /// In words.
        how: String,
        /// When to ask again.
        judged_at: Instant,
    },
    /// By itself.
    Own(String),
    /// A person has stopped it.
    Asked(String),
}

/// What is known of the ends of all containers.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    of: BTreeMap<String, Fate>,
}

/// Of one container, since it was started.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// The last signal that was sent through the engine.
    signal: Option<(String, Instant)>,
    is_out_of_memory: bool,
    /// When, and with which status.
    died: Option<(Instant, String)>,
    is_stopped: bool,
    /// Recovery restarts it: what stops it until then is no person.
    is_ours_until: Option<Instant>,
}

impl Fates {
    /// Tells what has happened. Whether it may change which containers there are and how they are.
    pub fn step(&mut self, happening: &Happening, now: Instant) -> bool {
        let id = happening.actor.id.as_str();
        let attribute = |name: &str| happening.actor.attributes.get(name).cloned().unwrap_or_default();
        match happening.action.as_str() {
            "kill" => {
                let signal = attribute("signal");
                self.tell(id, |fate| {
                    if !fate.is_ours(now) {
                        fate.signal = Some((signal, now));
                    }
                });
                false
            }
            "oom" => {
                self.tell(id, |fate| fate.is_out_of_memory = true);
                false
            }
            "die" => {
                self.tell(id, |fate| fate.died = Some((now, attribute("exitCode"))));
                true
            }
            "stop" => {
                self.tell(id, |fate| fate.is_stopped |= !fate.is_ours(now));
                true
            }
            // Whatever it was before, it is another life.
            "start" | "destroy" => {
                self.of.remove(id);
                true
            }
            "create" | "pause" | "unpause" | "rename" | "restart" => true,
            // Of what runs in it, of terminals, of files, of the engine's own health checks.
            _ => false,
        }
    }

    /// Events were missed, or may have been: nothing that was known is sure.
    pub fn forget(&mut self) {
        self.of.clear();
    }

    /// Recovery restarts this container, which ends within `patience`.
    pub fn begin_own(&mut self, id: &str, patience: Duration, now: Instant) {
        self.tell(id, |fate| fate.is_ours_until = Some(now + patience));
    }

    /// How a container that does not run has ended; `None`: nobody has seen it.
    #[must_use]
    pub fn end(&self, id: &str, now: Instant) -> Option<End> {
        let fate = self.of.get(id)?;
        if fate.is_stopped {
            return Some(End::Asked("a person has stopped it".to_owned()));
        }
        let (at, status) = fate.died.as_ref()?;
        if let Some((signal, sent)) = &fate.signal
            && (!HARMLESS.contains(&signal.as_str()) || at.saturating_duration_since(*sent) < SIGNAL_WORKS)
        {
            return Some(End::Asked(format!("a person has sent it signal {signal}")));
        }
        let memory = if fate.is_out_of_memory { ", out of memory" } else { "" };
        let how = format!("exit status {status}{memory}");
        let judged_at = *at + SETTLE;
        Some(if judged_at <= now { End::Own(how) } else { End::Fresh { how, judged_at } })
    }

    fn tell(&mut self, id: &str, tell: impl FnOnce(&mut Fate)) {
        if self.of.len() < CONTAINERS_MAX || self.of.contains_key(id) {
            tell(self.of.entry(id.to_owned()).or_default());
        }
    }
}

impl Fate {
    fn is_ours(&self, now: Instant) -> bool {
        self.is_ours_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::End;
    use super::Fates;

    /// Tells events as `ms action [status or signal]`, and what is known of the end `later` after the last.
    fn told(events: &str, later: u64) -> String {
        let began = Instant::now();
        let (mut fates, mut last) = (Fates::default(), 0);
        for event in events.split(", ") {
            let words: Vec<&str> = event.split(' ').collect();
            last = words[0].parse().unwrap();
            let now = began + Duration::from_millis(last);
            let value = words.get(2).copied().unwrap_or_default();
            match words[1] {
                "own" => fates.begin_own("c", Duration::from_secs(15), now),
                "missed" => fates.forget(),
                action => {
                    let attributes = json!({ "signal": value, "exitCode": value });
                    let event = json!({ "Action": action, "Actor": { "ID": "c", "Attributes": attributes } });
                    fates.step(&serde_json::from_value(event).unwrap(), now);
                }
            }
        }
        match fates.end("c", began + Duration::from_millis(last + later)) {
            Some(End::Fresh { how, .. }) => format!("fresh: {how}"),
            Some(End::Own(how)) => format!("own: {how}"),
            Some(End::Asked(how)) => format!("asked: {how}"),
            None => "unseen".to_owned(),
        }
    }

    #[test]
    fn an_end_without_a_signal_before_it_or_a_stop_behind_it_is_its_own() {
        for (events, later, expected) in [
            ("0 die 1", 0, "fresh: exit status 1"),
            ("0 die 1", 1_000, "own: exit status 1"),
            ("0 oom, 0 die 137", 1_000, "own: exit status 137, out of memory"),
            // docker stop, with a grace of minutes as well, and when its first half was missed.
            ("0 kill 15, 10 die 0, 12 stop", 0, "asked: a person has stopped it"),
            ("0 kill 15, 300000 die 0", 0, "asked: a person has sent it signal 15"),
            ("0 die 0, 12 stop", 5_000, "asked: a person has stopped it"),
            // docker kill.
            ("0 kill 9, 10 die 137", 5_000, "asked: a person has sent it signal 9"),
            // An image may say that WINCH stops it; and HUP is for reading a file again.
            ("0 kill 28, 10 die 0", 5_000, "asked: a person has sent it signal 28"),
            ("0 kill 1, 60000 die 1", 5_000, "own: exit status 1"),
            // Another life.
            ("0 kill 15, 10 die 0, 12 stop, 20 start", 5_000, "unseen"),
            ("0 kill 15, 10 die 0, 12 stop, 20 start, 90 die 2", 5_000, "own: exit status 2"),
            ("0 die 2, 90 destroy", 5_000, "unseen"),
            ("0 kill 15, 5 missed, 10 start", 0, "unseen"),
            ("0 die 1, 5 missed", 5_000, "unseen"),
            // A restart by recovery that does not bring it up again is no person's stop; a later stop is.
            ("0 own, 1 kill 15, 10 die 0, 12 stop", 5_000, "own: exit status 0"),
            (
                "0 own, 1 kill 15, 10 die 0, 12 stop, 20 start, 21 restart, 50 kill 15, 60 die 0, 61 stop",
                0,
                "asked: a person has stopped it",
            ),
        ] {
            assert_eq!(told(events, later), expected, "{events}");
        }
    }

    #[test]
    fn what_runs_in_a_container_is_no_reason_to_look_at_it_again() {
        let mut fates = Fates::default();
        let mut is_news = |action: &str| {
            let event = json!({ "Action": action, "Actor": { "ID": "c" } });
            fates.step(&serde_json::from_value(event).unwrap(), Instant::now())
        };
        for action in ["create", "start", "die", "stop", "pause", "unpause", "rename", "destroy", "restart"] {
            assert!(is_news(action), "{action}");
        }
        for action in
            ["exec_create", "exec_start", "exec_die", "health_status: healthy", "top", "kill", "oom", ""]
        {
            assert!(!is_news(action), "{action}");
        }
    }
}
