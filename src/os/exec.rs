//! Becomes a process of a unit, for `svctl exec`: the same context by the same code, without a new process.

use crate::lifecycle::event::SpawnFailure;
use crate::os::spawn;
use crate::os::spawn::Launch;

/// Applies `launch` to this process and executes its program. Comes back only with the reason why it could not; the
/// process may have changed its user by then and should end. Session, terminal and tag stay as they are: what a person
/// runs beside a unit does not die with it.
#[must_use]
pub fn become_unit(launch: &Launch) -> SpawnFailure {
    spawn::become_program(launch)
}
