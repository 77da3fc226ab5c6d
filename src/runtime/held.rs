//! The sockets that svinit holds for its units: one table, by unit.
//!
//! They are opened once and stay open while their unit is loaded, whatever becomes of its processes: each main process
//! gets copies, and what comes in between waits in the queue of the kernel. Several processes of one unit share them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::os::error::{Doing, Error};
use crate::os::sockets::{HeldSocket, Use};
use crate::os::user::Ids;
use crate::units::name::UnitName;
use crate::units::sockets::FIRST;
use crate::units::spec::UnitSpec;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<UnitName, BTreeMap<String, HeldSocket>>);

impl Held {
    /// Opens what is not open yet, for processes of `ids`. What could be opened stays open when another cannot be.
    ///
    /// # Errors
    /// The first that cannot be opened, with its place.
    pub(super) fn open(&mut self, spec: &UnitSpec, ids: Option<&Ids>) -> Result<(), Error> {
        if spec.sockets.is_empty() {
            return Ok(());
        }
        let open = self.0.entry(spec.name.clone()).or_default();
        for wanted in &spec.sockets {
            if !open.contains_key(&wanted.name) {
                let held = HeldSocket::open(wanted, ids).map_err(|error| {
                    let doing = format!("{} of {}", error.doing, spec.origin.display());
                    Error { doing, ..error }
                })?;
                open.insert(wanted.name.clone(), held);
            }
        }
        Ok(())
    }

    /// Copies for a new process, with the numbers that they are to have.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn hand_over(&self, spec: &UnitSpec, r#use: Use) -> Result<Vec<(OwnedFd, i32)>, Error> {
        let Some(open) = self.0.get(&spec.name) else { return Ok(Vec::new()) };
        let in_order = spec.sockets.iter().filter_map(|wanted| open.get(&wanted.name));
        let copies = in_order.zip(FIRST..).map(|(held, number)| {
            let copy = held.hand_over(r#use).doing(|| format!("hand over descriptor {number}"))?;
            Ok((copy, number))
        });
        copies.collect()
    }

    /// Closes what is held for `unit`.
    pub(super) fn release(&mut self, unit: &UnitName) {
        self.0.remove(unit);
    }
}

/// What tells a main process which descriptors it has, by the convention of `sd_listen_fds`.
pub(super) fn environment(names: &[&str], own_pid: &str) -> Vec<(String, String)> {
    if names.is_empty() {
        return Vec::new();
    }
    [
        ("LISTEN_FDS", names.len().to_string()),
        ("LISTEN_PID", own_pid.to_owned()),
        ("LISTEN_FDNAMES", names.join(":")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
