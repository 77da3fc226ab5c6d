//! What may be done about a service, and how often.

use std::sync::Arc;

/// One thing that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// `svctl reload UNIT`.
    Reload,
    /// `svctl restart UNIT`.
    RestartUnit,
    /// `svctl restart --with-dependants UNIT`.
    RestartDependants,
    /// The container is restarted.
    RestartContainer,
    /// People are told.
    Alert,
}

impl Rung {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::RestartUnit => "restart-unit",
            Self::RestartDependants => "restart-dependents",
            Self::RestartContainer => "restart-container",
            Self::Alert => "alert",
        }
    }

    /// Whether requests have to wait for the end of it.
    #[must_use]
    pub const fn takes_away(self) -> bool {
        matches!(self, Self::RestartUnit | Self::RestartDependants | Self::RestartContainer)
    }
}

/// Of one service. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// One after the other; never empty.
    pub ladder: Vec<Rung>,
    /// From the first sign of illness to the first thing that is done.
    pub grace: u64,
    /// Between two actions.
    pub cooldown: u64,
    /// For an action to end, and then for the service to be well.
    pub patience: u64,
    /// Actions in [`Policy::window`].
    pub budget: usize,
    /// See there; also how long it has to be well to be as good as new.
    pub window: u64,
    /// Changes between well and not in [`Policy::flap_window`] that are too many.
    pub flaps: usize,
    /// See there.
    pub flap_window: u64,
    /// How long nothing is tried when nothing has helped.
    pub quarantine: u64,
    /// So many instances are well at any time, as far as that is up to recovery.
    pub healthy_min: usize,
    /// Services without which it cannot be well.
    pub needs: Vec<Arc<str>>,
}

impl Policy {
    /// What a person may set of it, in words.
    pub(super) fn words(&self) -> String {
        let rungs: Vec<&str> = self.ladder.iter().map(|rung| rung.as_str()).collect();
        let needs = if self.needs.is_empty() { "nobody".to_owned() } else { self.needs.join(", ") };
        let (grace, cooldown) = (self.grace, self.cooldown);
        format!("{}; grace {grace} ms, cooldown {cooldown} ms, needs {needs}", rungs.join(", "))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ladder: vec![Rung::Reload, Rung::RestartUnit, Rung::Alert],
            grace: 5_000,
            cooldown: 30_000,
            patience: 60_000,
            budget: 3,
            window: 600_000,
            flaps: 6,
            flap_window: 300_000,
            quarantine: 600_000,
            healthy_min: 1,
            needs: Vec::new(),
        }
    }
}

/// The first pause after an action that did not help; doubles with each further one.
pub(super) const BACKOFF_MIN: u64 = 1_000;

/// The longest.
pub(super) const BACKOFF_MAX: u64 = 300_000;
