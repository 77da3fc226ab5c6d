//! What a process will do with its life, drawn when it is made.

use std::time::Duration;

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::ExitStatus;
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::Manner;
use crate::units::spec::{Kind, UnitSpec};

/// The life of a process, as far as nobody interferes.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// It ends by itself after this, so.
    pub(super) end: Option<(Duration, ExitStatus, bool)>,
    /// What it does when it is told to stop.
    pub(super) when_told: WhenTold,
    /// It is up after this; `None` is never.
    pub(super) up_after: Option<Duration>,
    /// It is ill after this.
    pub(super) ill_after: Option<Duration>,
    /// Percentage of checks that get an answer by chance.
    pub(super) lies: u64,
    /// It makes a child after this, which lives on without it.
    pub(super) children: Vec<(Duration, Box<Script>)>,
    /// It is stopped (`T`) after this.
    pub(super) frozen_after: Option<Duration>,
    /// SIGKILL takes effect only after this.
    pub(super) stuck_for: Duration,
    /// It takes more memory than it may.
    pub(super) leaks: bool,
    /// Its end does what it is for: a stop command tells the main process, a reload is done.
    pub(super) effective: bool,
}

/// What a process does when it gets a signal that asks it to stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum WhenTold {
    /// Takes no notice.
    Nothing,
    /// Ends after this, so.
    End(Duration, ExitStatus),
}

const WELL: ExitStatus = ExitStatus::Code(0);

fn signalled(number: i32) -> ExitStatus {
    ExitStatus::Signal { number, core: false }
}

impl Script {
    fn plain() -> Self {
        Self {
            end: None,
            when_told: WhenTold::End(Duration::from_millis(3), WELL),
            up_after: Some(Duration::ZERO),
            ill_after: None,
            lies: 0,
            children: Vec::new(),
            frozen_after: None,
            stuck_for: Duration::ZERO,
            leaks: false,
            effective: true,
        }
    }

    /// For a process of this unit, made for this. `calm`: faults have ceased.
    pub(super) fn draw(
        dice: &mut Dice,
        spec: &UnitSpec,
        purpose: Purpose,
        manner: &Manner,
        calm: bool,
    ) -> Self {
        match purpose {
            Purpose::Main if calm && manner.broken => Self::broken(dice),
            Purpose::Main if calm => Self::well(dice, spec),
            Purpose::Main => Self::main(dice, spec, manner),
            Purpose::PreStart
            | Purpose::PostStart
            | Purpose::PreStop
            | Purpose::PostStop
            | Purpose::StopCommand
            | Purpose::ReloadCommand
            | Purpose::Test
            | Purpose::Remedy
            | Purpose::Probe => Self::helper(dice, manner, calm),
        }
    }

    fn well(dice: &mut Dice, spec: &UnitSpec) -> Self {
        let mut script = Self::plain();
        script.up_after = Some(dice.millis(0, 60));
        script.when_told = WhenTold::End(dice.millis(0, 40), WELL);
        if spec.kind == Kind::Oneshot {
            script.end = Some((dice.millis(1, 100), WELL, false));
        }
        script
    }

    fn broken(dice: &mut Dice) -> Self {
        let code = dice.pick(&[1, 2, 127]);
        Self { end: Some((dice.millis(0, 20), ExitStatus::Code(code), false)), ..Self::plain() }
    }

    fn main(dice: &mut Dice, spec: &UnitSpec, manner: &Manner) -> Self {
        if manner.broken {
            return Self::broken(dice);
        }
        let mut script = Self::well(dice, spec);
        if dice.percent(manner.crash) {
            let end = dice.pick(&[
                ExitStatus::Code(0),
                ExitStatus::Code(1),
                ExitStatus::Code(1),
                ExitStatus::Code(3),
                ExitStatus::Code(78),
                signalled(11),
                signalled(9),
                signalled(15),
            ]);
            let after = if dice.percent(50) { dice.millis(0, 300) } else { dice.millis(100, 12_000) };
            script.end = Some((after, end, end == signalled(9) && dice.percent(50)));
        }
        if dice.percent(manner.never_ready) {
            script.up_after = None;
            if spec.kind == Kind::Oneshot {
                script.end = None;
            }
        }
        if dice.percent(manner.deaf) {
            script.when_told = WhenTold::Nothing;
        } else if dice.percent(manner.slow) {
            let how = dice.pick(&[WELL, ExitStatus::Code(1), signalled(15)]);
            script.when_told = WhenTold::End(dice.millis(50, 4_000), how);
        }
        if dice.percent(manner.litter) {
            for _ in 0..dice.number(1, 3) {
                let child = Box::new(Self::child(dice));
                script.children.push((dice.millis(0, 500), child));
            }
        }
        if dice.percent(manner.lies) {
            script.lies = dice.number(10, 90);
        }
        if dice.percent(manner.ill) {
            script.ill_after = Some(dice.millis(0, 8_000));
        }
        if dice.percent(manner.frozen) {
            script.frozen_after = Some(dice.millis(0, 5_000));
        }
        if dice.percent(manner.stuck) {
            script.stuck_for = dice.millis(0, 12_000);
        }
        script.leaks = dice.percent(manner.leaks);
        script
    }

    /// A child that is nobody's main process: most live until they are killed.
    fn child(dice: &mut Dice) -> Self {
        let mut script = Self::plain();
        if dice.percent(30) {
            script.end = Some((dice.millis(0, 3_000), WELL, false));
        }
        if dice.percent(60) {
            script.when_told = WhenTold::Nothing;
        }
        script
    }

    /// A hook, a command, a test or a check by exec.
    fn helper(dice: &mut Dice, manner: &Manner, calm: bool) -> Self {
        let mut script = Self::plain();
        let fails = !calm && dice.percent(manner.helpers_fail);
        script.end = match dice.below(3) {
            0 if fails => None,
            1 if fails => Some((dice.millis(0, 200), ExitStatus::Code(1), false)),
            2 if fails => Some((dice.millis(50, 2_000), signalled(6), false)),
            _ => Some((dice.millis(0, 80), WELL, false)),
        };
        if fails {
            script.when_told = WhenTold::Nothing;
            script.effective = dice.percent(50);
            if dice.percent(manner.litter) {
                script.children.push((dice.millis(0, 50), Box::new(Self::child(dice))));
            }
        }
        script
    }
}
