//! The terminal that svinit was started on: lent to the foreground command, and taken back.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};

use crate::os::sys;

/// Who had the terminal before it was lent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lent {
    group: i32,
}

/// Notes who has the terminal on descriptor 0, so that it can be given back; `None` when there is none, or when it is not ours to give.
#[must_use]
pub fn lend() -> Option<Lent> {
    is_ours().then(|| sys::foreground(0).ok()).flatten().map(|group| Lent { group })
}

/// Descriptor 0 is the controlling terminal of our own session.
#[must_use]
pub fn is_ours() -> bool {
    std::io::stdin().is_terminal()
        && sys::terminal_session(0).is_ok_and(|session| session == sys::own_session())
}

impl Lent {
    /// Gives it back to who had it, or to ourselves if they are gone. SIGTTOU must be ignored, as `Signals::install` does.
    pub fn take_back(&self) {
        if sys::set_foreground(0, self.group).is_err() {
            // When this fails too, the terminal is gone: nothing is left to give back.
            let _ = sys::set_foreground(0, sys::own_process_group());
        }
    }
}
