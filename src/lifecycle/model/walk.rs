//! Every path through a small world that has no more than a few disturbances.
//!
//! What happens by itself costs nothing, so a path is as long as it takes; what disturbs (a command, a fault, news that
//! are late) costs one. States are visited once, by the path with the fewest disturbances, so that the first path to
//! a broken law is also the easiest to read. Only states that may still be disturbed are kept; of the others, no more
//! than a fingerprint.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{Event, RunId};
use crate::lifecycle::model::form::Form;
use crate::lifecycle::model::kernel::{Kernel, Move};
use crate::lifecycle::model::laws::{Broken, Step, is_at_rest};
use crate::lifecycle::model::worlds::World;
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::time::Time;

/// A moment of the supervisor's clock at which it is started.
const BOOT: Time = Time::from_millis(1_000_000);

/// When nothing disturbs it any more, a world comes to rest within this.
const REST_WITHIN: Duration = Duration::from_secs(90);

/// And within so many things that happen.
const REST_STEPS: u32 = 200;

const LIVENESS: &str = "every unit comes to rest when faults have ceased";

const NONE: u32 = u32::MAX;

/// The machine and what is around it.
#[derive(Clone)]
struct Place {
    machine: Supervisor,
    kernel: Kernel,
}

/// A place, as much of it as is kept for ever.
struct Node {
    from: u32,
    by: Option<Move>,
    /// Where it goes when nothing disturbs it.
    next: u32,
    at_rest: bool,
    /// What that takes.
    takes: Duration,
}

/// Fingerprints are as even as any hash can make them.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().take(8) {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u128(&mut self, word: u128) {
        let [.., a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        self.0 = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    }
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) steps: u64,
    /// It ended because it had seen everything, not because it had seen enough.
    pub(super) is_complete: bool,
    /// The longest way to rest from any state: time, and things that happen.
    pub(super) slowest: Duration,
    pub(super) longest: u32,
}

/// A broken law, and how to get there.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) sentence: &'static str,
    pub(super) story: String,
}

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) disturbances: u32,
    pub(super) states: usize,
}

struct Walk<'a> {
    world: &'a World,
    visited: HashMap<u128, u32, BuildHasherDefault<AsItIs>>,
    nodes: Vec<Node>,
    steps: u64,
    /// Enough has been seen.
    is_full: bool,
    bound: Bound,
}

/// Walks through a world.
pub(super) fn walk(world: &World, bound: Bound) -> Result<Found, Box<Violation>> {
    let mut walk =
        Walk { world, visited: HashMap::default(), nodes: Vec::new(), steps: 0, is_full: false, bound };
    walk.all().map_err(|(broken, path)| Box::new(tell(world, &broken, &path)))
}

type Lost = (Broken, Vec<Move>);

impl Walk<'_> {
    fn all(&mut self) -> Result<Found, Lost> {
        let start = boot(self.world).map_err(|broken| (broken, Vec::new()))?;
        let mut kept = Vec::new();
        let mut keep = |node, place| kept.push((node, place));
        self.close(NONE, None, start, &mut keep)?;
        for disturbed in 1..=self.bound.disturbances {
            let mut next = Vec::new();
            let is_last = disturbed == self.bound.disturbances;
            for (node, place) in std::mem::take(&mut kept) {
                for what in place.kernel.disturbances(self.world, place.machine.next_deadline()) {
                    let after =
                        self.go(&place, what).map_err(|broken| (broken, self.path(node, Some(what))))?;
                    let mut keep = |node, place| {
                        if !is_last {
                            next.push((node, place));
                        }
                    };
                    self.close(node, Some(what), after, &mut keep)?;
                }
                if self.is_full {
                    break;
                }
            }
            kept = next;
        }
        let (slowest, longest) = self.all_come_to_rest()?;
        Ok(Found {
            states: self.nodes.len(),
            steps: self.steps,
            is_complete: !self.is_full,
            slowest,
            longest,
        })
    }

    /// Everything that follows from here by itself, in whatever order.
    fn close(
        &mut self,
        from: u32,
        by: Option<Move>,
        place: Place,
        keep: &mut dyn FnMut(u32, Place),
    ) -> Result<(), Lost> {
        let mut queue = VecDeque::new();
        let (node, is_new) = self.visit(from, by, &place)?;
        if is_new {
            queue.push_back((node, place));
        }
        while let Some((node, place)) = queue.pop_front() {
            let mut first = true;
            for what in place.kernel.natural(self.world, place.machine.next_deadline()) {
                let after = self.go(&place, what).map_err(|broken| (broken, self.path(node, Some(what))))?;
                let takes = after.kernel.now.since(place.kernel.now);
                let (next, is_new) = self.visit(node, Some(what), &after)?;
                if std::mem::take(&mut first) {
                    let here = &mut self.nodes[node as usize];
                    (here.next, here.takes) = (next, takes);
                }
                if is_new {
                    queue.push_back((next, after));
                }
            }
            keep(node, place);
        }
        Ok(())
    }

    fn visit(&mut self, from: u32, by: Option<Move>, place: &Place) -> Result<(u32, bool), Lost> {
        let new = u32::try_from(self.nodes.len()).expect("fewer than 4 thousand million states");
        let at = *self.visited.entry(place.form(self.world)).or_insert(new);
        if at != new {
            return Ok((at, false));
        }
        let at_rest = is_at_rest(self.world, &place.machine, &place.kernel);
        self.nodes.push(Node { from, by, next: NONE, at_rest, takes: Duration::ZERO });
        if at_rest {
            self.rests_rightly(place).map_err(|broken| (broken, self.path(new, None)))?;
        }
        self.is_full |= self.nodes.len() >= self.bound.states;
        Ok((new, true))
    }

    fn rests_rightly(&self, place: &Place) -> Result<(), Broken> {
        for unit in 0..2 {
            let held = |name: &&crate::units::name::UnitName| place.kernel.units[self.world.index(name)].held;
            let below = self.world.spec(unit).requires.iter().find(held);
            if let Some(below) = below.filter(|_| !place.kernel.ended && place.kernel.has_main(unit)) {
                let what = format!("{} runs and {below} was stopped", self.world.names[unit]);
                return Err(Broken { sentence: "stopping a unit stops what requires it", what });
            }
        }
        Ok(())
    }

    fn go(&mut self, place: &Place, what: Move) -> Result<Place, Broken> {
        self.steps += 1;
        go(self.world, place, what).1
    }

    fn path(&self, node: u32, last: Option<Move>) -> Vec<Move> {
        let mut path: Vec<Move> = last.into_iter().collect();
        let mut at = node;
        while at != NONE {
            let node = &self.nodes[at as usize];
            path.extend(node.by);
            at = node.from;
        }
        path.reverse();
        path
    }

    /// From every state, what happens by itself leads to rest.
    fn all_come_to_rest(&self) -> Result<(Duration, u32), Lost> {
        let mut known: Vec<Option<(Duration, u32)>> =
            self.nodes.iter().map(|node| node.at_rest.then_some((Duration::ZERO, 0))).collect();
        let (mut slowest, mut longest) = (Duration::ZERO, 0);
        for start in 0..self.nodes.len() {
            let mut way = Vec::new();
            let mut at = start;
            while known[at].is_none() {
                way.push(at);
                let next = self.nodes[at].next;
                if next == NONE && self.is_full {
                    break;
                }
                if next == NONE || way.len() > REST_STEPS as usize {
                    let what = format!("{} things later it is not at rest", way.len());
                    return Err((Broken { sentence: LIVENESS, what }, self.path_on(start)));
                }
                at = next as usize;
            }
            let Some((mut time, mut steps)) = known[at] else { continue };
            for node in way.into_iter().rev() {
                (time, steps) = (time + self.nodes[node].takes, steps + 1);
                known[node] = Some((time, steps));
                (slowest, longest) = (slowest.max(time), longest.max(steps));
            }
            if time > REST_WITHIN {
                let what = format!("it comes to rest only after {time:?}");
                return Err((Broken { sentence: LIVENESS, what }, self.path_on(start)));
            }
        }
        Ok((slowest, longest))
    }

    /// The path to here, and what would follow by itself.
    fn path_on(&self, node: usize) -> Vec<Move> {
        let mut path = self.path(u32::try_from(node).unwrap_or(NONE), None);
        let mut at = node;
        for _ in 0..12 {
            let next = self.nodes[at].next;
            if next == NONE {
                break;
            }
            // The way on by itself is always the first that can happen.
            path.push(Move::GoOn(u8::MAX));
            at = next as usize;
        }
        path
    }
}

impl Place {
    fn form(&self, world: &World) -> u128 {
        let runs: Vec<RunId> = self.kernel.runs.iter().map(|run| run.id).collect();
        let mut form = Form::new(self.kernel.now, &runs);
        if !self.kernel.ended {
            form.machine(&self.machine);
            self.kernel.add_to(&mut form, world);
        }
        form.done()
    }
}

fn boot(world: &World) -> Result<Place, Broken> {
    let mut place =
        Place { machine: Supervisor::new(&world.set, world.settings, BOOT), kernel: Kernel::at(BOOT) };
    let before = place.machine.clone();
    let actions = place.machine.boot(BOOT);
    let step = Step { world, what: None, event: None, before: &before, after: &place.machine };
    step.follow(&mut place.kernel, &actions)?;
    Ok(place)
}

/// One step, with what was said in it.
fn go(world: &World, from: &Place, what: Move) -> ((Event, Vec<Action>), Result<Place, Broken>) {
    let mut place = from.clone();
    let due = from.machine.next_deadline();
    let event = place.kernel.take(world, what, due);
    let actions = place.machine.step(event.clone(), place.kernel.now);
    let step =
        Step { world, what: Some(what), event: Some(&event), before: &from.machine, after: &place.machine };
    let kept = step.follow(&mut place.kernel, &actions);
    ((event, actions), kept.map(|()| place))
}

/// The story of a path, line by line, as `stories` tells them.
fn tell(world: &World, broken: &Broken, path: &[Move]) -> Violation {
    let mut story = String::new();
    let begin = || -> Result<Place, Broken> { boot(world) };
    let _ = writeln!(story, "in the world where {}:", world.title);
    if let Ok(mut place) = begin() {
        let mut plain = Supervisor::new(&world.set, world.settings, BOOT);
        let _ = writeln!(story, "  {:>9} boot => {}", "0ms", words(&plain.boot(BOOT)));
        for what in path {
            let due = place.machine.next_deadline();
            let by_itself = || place.kernel.natural(world, due).first().copied();
            let what = if *what == Move::GoOn(u8::MAX) { by_itself().unwrap_or(Move::Wait) } else { *what };
            let ((event, actions), next) = go(world, &place, what);
            let at = next.as_ref().map_or(place.kernel.now, |next| next.kernel.now);
            let at = format!("{}ms", at.since(BOOT).as_millis());
            let _ = writeln!(story, "  {at:>9} {} => {}", event_words(&event), words(&actions));
            let Ok(next) = next else { break };
            place = next;
        }
    }
    let _ = writeln!(story, "broken: {}\n        {}", broken.sentence, broken.what);
    Violation { sentence: broken.sentence, story }
}

fn event_words(event: &Event) -> String {
    match event {
        Event::Tick => "tick".to_owned(),
        Event::Asked { job, command } => format!("job {}: {command:?}", job.0),
        other => format!("{other:?}"),
    }
}

fn words(actions: &[Action]) -> String {
    let said = actions.iter().map(|action| match action {
        Action::Spawn { run, unit, purpose, .. } => format!("spawn {run} {unit} {purpose:?}"),
        Action::Report(report) => {
            format!("[{} {} -> {}: {}]", report.unit, report.was.as_str(), report.label.as_str(), report.why)
        }
        Action::Answer { job, outcome } => {
            format!(
                "job {} {} {}: {}",
                job.0,
                outcome.unit,
                if outcome.ok { "ok" } else { "no" },
                outcome.why
            )
        }
        other => format!("{other:?}"),
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
}
