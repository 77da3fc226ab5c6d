//! The loop: what the tasks, the gateway and people tell goes to the machine, one after the other.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::manager::audit::Audit;
use crate::manager::gate::Gate;
use crate::manager::leader::Leader;
use crate::manager::news::News;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::machine::Recovery;
use crate::manager::repair::Ask;
use crate::manager::repair::Overview;
use crate::manager::repair::Say;
use crate::manager::repair::Told;
use crate::manager::repair::hands::Hands;
use crate::manager::repair::patient::Roster;
use crate::manager::repair::surroundings::Surroundings;

/// Facts that may wait for the machine; who tells them waits then.
const FACTS_MAX: usize = 1024;

/// Who is repaired, and where.
pub(super) struct Rounds {
    pub(super) roster: Roster,
    pub(super) gate: Gate,
    pub(super) around: Surroundings,
    pub(super) news: News,
    pub(super) say: Say,
}

impl Rounds {
    /// Goes on for ever.
    pub(super) async fn run(self, mut asked: mpsc::Receiver<Ask>) {
        let began = Instant::now();
        let now = || Time(millis(began.elapsed()));
        let mut health = self.gate.health();
        let (tell, mut told) = mpsc::channel(FACTS_MAX);
        let mut leader = Leader::new(&self.around.state);
        let mut hands = self.hands(tell);
        let mut vote = |hands: &mut Hands, now: Time| {
            let is_leader = leader.vote();
            hands.write_if(is_leader);
            hands.step(Fact::Led(is_leader), now);
            // Who has the lock keeps it; only who waits for it looks again.
            Instant::now() + if is_leader { Leader::REST } else { Leader::EVERY }
        };
        let mut next_vote = vote(&mut hands, now());
        let mut is_open = true;
        loop {
            let due = hands.machine.next_deadline().map(|at| began + Duration::from_millis(at.0));
            tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Pushed { patient, instance, sign }) => {
                        hands.on_pushed(&patient, instance, sign, now());
                    }
                    Some(Told::Cut { patient, instance, why }) => hands.on_cut(&patient, instance, &why, now()),
                    Some(Told::Fact(fact)) => hands.step(fact, now()),
                    None => return,
                },
                changed = health.recv() => match changed {
                    Ok(changed) => hands.on_changed(&changed, now()),
                    Err(RecvError::Lagged(_)) => hands.look_at_gate(now()),
                    Err(RecvError::Closed) => return,
                },
                ask = asked.recv(), if is_open => match ask {
                    Some(ask) => heed(&mut hands, ask, now()),
                    // Nobody will ask any more; the rest goes on.
                    None => is_open = false,
                },
                () = sleep_until(due.unwrap_or(began)), if due.is_some() => hands.step(Fact::Tick, now()),
                () = sleep_until(next_vote) => next_vote = vote(&mut hands, now()),
            }
            hands.settle(now());
        }
    }

    fn hands(self, tell: mpsc::Sender<Told>) -> Hands {
        let (mut patients, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for (name, (patient, policy)) in self.roster.0 {
            policies.insert(Arc::clone(&name), policy);
            patients.insert(name, patient);
        }
        let mut hands = Hands {
            patients: BTreeMap::new(),
            watches: BTreeMap::new(),
            ears: None,
            coming: BTreeMap::new(),
            machine: Recovery::new(policies, RandomState::new().hash_one(0)),
            known: BTreeMap::new(),
            detections: BTreeMap::new(),
            gate: self.gate,
            audit: Audit::nowhere(),
            audit_path: self.around.state.join("audit.jsonl"),
            webhook: self.around.webhook,
            say: self.say,
            news: self.news,
            tell,
            asker: None,
            refusal: None,
        };
        for patient in patients.into_values() {
            hands.watch(patient);
        }
        hands
    }
}

/// Does what a person asks for.
fn heed(hands: &mut Hands, ask: Ask, now: Time) {
    match ask {
        Ask::Overview(answer) => {
            let overview = Overview {
                views: hands.machine.views(),
                is_leader: hands.machine.is_leader(),
                is_frozen: hands.machine.is_frozen(),
                freezes: hands.machine.freezes(),
                detections: hands.detections.clone(),
                paused_until: hands.machine.paused_until(),
                now,
            };
            // Who asked may have left.
            let _ = answer.send(overview);
        }
        Ask::Act { service, rung, who, answer } => hands.on_asked(service, rung, who, answer, now),
        Ask::Pause { service, length, who } => {
            let why = format!("to be left alone for {} s, by {who}", length.as_secs());
            hands.note(service.as_deref(), "asked", &why);
            hands.step(Fact::Paused { service, until: Time(now.0.saturating_add(millis(length))) }, now);
        }
        Ask::Resume { service, who } => {
            hands.note(service.as_deref(), "asked", &format!("to be looked after again, by {who}"));
            hands.step(Fact::Resumed { service }, now);
        }
        Ask::LookAfter(roster) => hands.look_after(roster, now),
        Ask::Note { service, why } => hands.note(Some(&service), "asked", &why),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// A clock on the wall may be set back for an hour or forward for a year: budgets, pauses and deadlines go by one that is not.
    #[test]
    fn the_wall_clock_is_read_for_the_time_of_an_audit_line_and_for_nothing_else() {
        let manager = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manager");
        let mut reads = Vec::new();
        for folder in ["recovery", "repair", "reach", "reach/engine"] {
            for entry in fs::read_dir(manager.join(folder)).unwrap().map(Result::unwrap) {
                let Ok(text) = fs::read_to_string(entry.path()) else { continue };
                // What is below is tests, which name them.
                let text = text.split("#[cfg(test)]").next().unwrap();
                let walls = ["SystemTime", "Timestamp::now", "Zoned::now", "clock::wall", "UNIX_EPOCH"];
                let found = text.lines().filter(|line| walls.iter().any(|wall| line.contains(wall)));
                reads.extend(found.map(|line| (entry.file_name(), line.trim().to_owned())));
                assert!(
                    folder != "recovery" || !text.contains("Instant"),
                    "{:?} reads a clock",
                    entry.path()
                );
            }
        }
        assert_eq!(reads, [("hands.rs".into(), "let ts = jiff::Timestamp::now().to_string();".to_owned())]);
    }
}
