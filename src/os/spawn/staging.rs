//! Low descriptors through which a child is handed its own.
//!
//! A child that copies our table of descriptors pays for all of them, and again when it closes them at exec: with a
//! thousand units that is several thousand, for each start. So it shares our table, and takes with it only the part
//! below a line, where nothing lives but what was open when svinit started and these few. What it is to have is copied
//! there before it is made and taken away after, since a forgotten end of a pipe would hide that the pipe was closed.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::plan::{self, Plan};
use crate::os::sys;

/// Descriptors that most children are handed: two pipes, a readiness pipe, the control group.
const SLOTS: usize = 4;

/// With more than that below the line, copying everything costs no more.
const LINE_MAX: RawFd = 256;

/// The slots of one thread, in use while it makes a child.
pub(super) struct Staging {
    slots: Vec<OwnedFd>,
    empty: RawFd,
    line: RawFd,
}

impl Staging {
    /// Takes the lowest numbers that are free: to be called before much is open. `None` when that is too late, or the
    /// kernel cannot part a table, or there is no descriptor left.
    pub(super) fn new() -> Option<Self> {
        if !plan::can_range() {
            return None;
        }
        let empty = plan::null().ok()?;
        let slots = (0..SLOTS).map(|_| empty.try_clone_to_owned()).collect::<Result<Vec<_>, _>>().ok()?;
        let empty = empty.as_raw_fd();
        let line = slots.iter().map(AsRawFd::as_raw_fd).max()?.max(empty) + 1;
        (line <= LINE_MAX).then_some(Self { slots, empty, line })
    }

    /// Puts what `plan` hands over below the line. `None` when that does not fit: the child then gets a table of its own
    /// the expensive way.
    pub(super) fn hold<'a>(&'a self, plan: &'a Plan) -> Option<Held<'a>> {
        let high = || plan.sources().filter(|source| source.get() >= self.line);
        if high().count() > self.slots.len() {
            return None;
        }
        let mut held = Held { staging: self, moved: [None; SLOTS] };
        for ((source, slot), moved) in high().zip(&self.slots).zip(&mut held.moved) {
            sys::dup_onto_at_exec(source.get(), slot.as_raw_fd()).ok()?;
            *moved = Some((source, source.replace(slot.as_raw_fd())));
        }
        Some(held)
    }
}

/// Slots in use; when this is dropped they are empty, and the plan is as it was.
pub(super) struct Held<'a> {
    staging: &'a Staging,
    moved: [Option<(&'a Cell<RawFd>, RawFd)>; SLOTS],
}

impl Held<'_> {
    /// The first descriptor that the child does not need.
    pub(super) fn line(&self) -> u32 {
        self.staging.line.unsigned_abs()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for ((source, was), slot) in self.moved.iter().flatten().zip(&self.staging.slots) {
            source.set(*was);
            // Both are open, so nothing can be refused.
            let _ = sys::dup_onto_at_exec(self.staging.empty, slot.as_raw_fd());
        }
    }
}
