//! A unit that is up says now and then that it has not hung (`WATCHDOG=1` of `sd_notify`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::time::Time;

/// How long it may still be silent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Watchdog {
    pub(super) window: Duration,
    pub(super) by: Time,
}

impl Watchdog {
    pub(super) fn new(window: Duration, now: Time) -> Self {
        Self { window, by: now.after(window) }
    }

    pub(super) fn heard(&mut self, now: Time) {
        self.by = now.after(self.window);
    }

    /// It has been silent for too long.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        now >= self.by
    }
}
