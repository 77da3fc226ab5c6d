//! The sockets that svinit holds for its units: one table, by unit.
//!
//! They are opened once and stay open while their unit is loaded, whatever becomes of its processes: each main process
//! gets copies, and what comes in between waits in the queue of the kernel. Several processes of one unit share them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::os::error::{Doing, Error};
use crate::os::handover::{Left, Luggage};
use crate::os::sockets::{HeldSocket, SavedSocket, Use};
use crate::os::user::Ids;
use crate::units::name::UnitName;
use crate::units::socket::{SocketAddress, SocketSpec};
use crate::units::sockets::FIRST;
use crate::units::spec::{UnitSet, UnitSpec};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<UnitName, BTreeMap<String, One>>);

/// One of them.
#[derive(Debug)]
struct One {
    spec: SocketSpec,
    /// For whom it was made.
    ids: Option<(u32, u32)>,
    socket: HeldSocket,
}

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
                let one = One { spec: wanted.clone(), ids: whose(ids), socket: held };
                open.insert(wanted.name.clone(), one);
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
            let copy = held.socket.hand_over(r#use).doing(|| format!("hand over descriptor {number}"))?;
            Ok((copy, number))
        });
        copies.collect()
    }

    /// For the next svinit.
    #[must_use]
    pub(super) fn save(&self, luggage: &mut Luggage) -> SavedHeld {
        let mut save = |sockets: &BTreeMap<String, One>| {
            let one = |(name, one): (&String, &One)| {
                (name.clone(), SavedOne { ids: one.ids, socket: one.socket.save(luggage) })
            };
            sockets.iter().map(one).collect()
        };
        SavedHeld(self.0.iter().map(|(holder, sockets)| (holder.clone(), save(sockets))).collect())
    }

    /// From the svinit before, for the units of `set`. One that is missing is opened again when its unit starts.
    #[must_use]
    pub(super) fn restore(saved: SavedHeld, set: &UnitSet, left: &mut Left) -> Self {
        let mut restore = |holder: &UnitName, sockets: BTreeMap<String, SavedOne>| {
            let owner = set.units.values().find(|spec| spec.name == *holder);
            let one = |(name, saved): (String, SavedOne)| {
                let spec = owner?.sockets.iter().find(|spec| spec.name == name)?.clone();
                let socket = HeldSocket::restore(saved.socket, left)?;
                Some((name, One { spec, ids: saved.ids, socket }))
            };
            sockets.into_iter().filter_map(one).collect()
        };
        Self(
            saved
                .0
                .into_iter()
                .map(|(holder, sockets)| {
                    let open = restore(&holder, sockets);
                    (holder, open)
                })
                .collect(),
        )
    }

    /// Something was opened for `unit`.
    pub(super) fn has(&self, unit: &UnitName) -> bool {
        self.0.contains_key(unit)
    }

    /// What a unit of `set` is to hold and another one holds that is not to any longer, is handed on: a unit that is
    /// renamed takes its sockets along, and two may change places.
    pub(super) fn hand_on(&mut self, set: &UnitSet) {
        let wants = |unit: &UnitName, one: &SocketSpec| {
            let spec = set.units.get(unit);
            spec.is_some_and(|spec| spec.sockets.iter().any(|wanted| wanted.address == one.address))
        };
        for spec in set.units.values() {
            for wanted in &spec.sockets {
                let is_it =
                    |one: &One| one.spec.address == wanted.address && one.spec.r#type == wanted.r#type;
                let found = self.0.iter().find_map(|(unit, held)| {
                    let (name, one) = held.iter().find(|(_, one)| is_it(one))?;
                    (*unit != spec.name && !wants(unit, &one.spec)).then(|| (unit.clone(), name.clone()))
                });
                let Some((unit, name)) = found else { continue };
                if let Some(one) = self.0.get_mut(&unit).and_then(|held| held.remove(&name)) {
                    // No socket has an address for its name, so that none is in its way until its unit takes it.
                    self.0.entry(spec.name.clone()).or_default().insert(wanted.address.to_string(), one);
                }
            }
        }
    }

    /// Makes what is held fit `spec`. What is at the same place stays open, whatever it is called; what is new is opened
    /// before the others are closed.
    ///
    /// # Errors
    /// The first that cannot be opened, with its place.
    pub(super) fn fit(&mut self, spec: &UnitSpec, ids: Option<&Ids>) -> Result<(), Error> {
        let mut old = self.0.remove(&spec.name).unwrap_or_default();
        let mut stay = BTreeMap::new();
        for wanted in &spec.sockets {
            let fits = |one: &One| one.fits(wanted, ids);
            let same = old.iter().find(|(_, one)| fits(one)).map(|(name, _)| name.clone());
            if let Some(mut one) = same.and_then(|name| old.remove(&name)) {
                one.socket.adjust(wanted);
                one.spec = wanted.clone();
                stay.insert(wanted.name.clone(), one);
            }
        }
        // One at the same address that cannot stay as it is would be in the way of its successor.
        old.retain(|_, one| !spec.sockets.iter().any(|wanted| wanted.address == one.spec.address));
        if !spec.sockets.is_empty() {
            self.0.insert(spec.name.clone(), stay);
        }
        let opened = self.open(spec, ids);
        drop(old);
        opened
    }

    /// Closes what is held for `unit`.
    pub(super) fn release(&mut self, unit: &UnitName) {
        self.0.remove(unit);
    }
}

impl One {
    /// It can serve as this one: only what can be changed while it is open differs.
    fn fits(&self, wanted: &SocketSpec, ids: Option<&Ids>) -> bool {
        let SocketSpec {
            name: _,
            address,
            r#type,
            backlog: _,
            reuse_port,
            nonblocking: _,
            v6only,
            mode,
            owner,
            group,
        } = &self.spec;
        let is_unix = matches!(address, SocketAddress::Unix(_));
        *address == wanted.address
            && *r#type == wanted.r#type
            && *reuse_port == wanted.reuse_port
            && *v6only == wanted.v6only
            && (*mode, owner, group) == (wanted.mode, &wanted.owner, &wanted.group)
            && (!is_unix || self.ids == whose(ids))
    }
}

fn whose(ids: Option<&Ids>) -> Option<(u32, u32)> {
    ids.map(|ids| (ids.uid, ids.gid))
}

/// As they are left to the next svinit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedHeld(BTreeMap<UnitName, BTreeMap<String, SavedOne>>);

#[derive(Debug, Serialize, Deserialize)]
struct SavedOne {
    #[serde(default)]
    ids: Option<(u32, u32)>,
    #[serde(flatten)]
    socket: SavedSocket,
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
