//! The sockets that svinit holds for its units: one table, by unit or group.
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
use crate::units::socket::{SocketAddress, SocketSpec, SocketType};
use crate::units::sockets::FIRST;
use crate::units::spec::{UnitSet, UnitSpec};

/// All of them, by who holds them: a unit, or all instances of a group together.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<UnitName, Vec<One>>);

/// One of them.
#[derive(Debug)]
struct One {
    spec: SocketSpec,
    /// For whom it was made.
    ids: Option<(u32, u32)>,
    socket: HeldSocket,
}

/// Who holds a socket of this unit. One that all instances have is that of their group.
fn holder<'a>(spec: &'a UnitSpec, socket: &SocketSpec) -> &'a UnitName {
    match spec.group() {
        Some(group) if !socket.is_of_instance => group,
        Some(_) | None => &spec.name,
    }
}

/// Somebody of `set` wants a socket like this one of `by`.
fn is_wanted(set: &UnitSet, by: &UnitName, one: &SocketSpec) -> bool {
    let wants = |spec: &UnitSpec| {
        spec.sockets.iter().any(|wanted| is_same(wanted, one) && holder(spec, wanted) == by)
    };
    let lone = set.units.get(by).is_some_and(|spec| wants(spec));
    lone || set.instances(by.as_str()).into_iter().any(|spec| wants(spec))
}

/// At the same place.
fn is_same(one: &SocketSpec, other: &SocketSpec) -> bool {
    one.address == other.address && one.r#type == other.r#type
}

impl Held {
    /// Opens what is not open yet, for processes of `ids`. What could be opened stays open when another cannot be.
    ///
    /// # Errors
    /// The first that cannot be opened, with its place.
    pub(super) fn open(&mut self, spec: &UnitSpec, ids: Option<&Ids>) -> Result<(), Error> {
        for wanted in &spec.sockets {
            let open = self.0.entry(holder(spec, wanted).clone()).or_default();
            if !open.iter().any(|one| is_same(&one.spec, wanted)) {
                let socket = HeldSocket::open(wanted, ids).map_err(|error| {
                    let doing = format!("{} of {}", error.doing, spec.origin.display());
                    Error { doing, ..error }
                })?;
                open.push(One { spec: wanted.clone(), ids: whose(ids), socket });
            }
        }
        Ok(())
    }

    /// Copies for a new process, with the numbers that they are to have. `others` says whether another process has what
    /// this one holds.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn hand_over(
        &self,
        spec: &UnitSpec,
        others: impl Fn(&UnitName) -> Use,
    ) -> Result<Vec<(OwnedFd, i32)>, Error> {
        let find = |wanted: &SocketSpec| {
            let holder = holder(spec, wanted);
            let one = self.0.get(holder)?.iter().find(|one| is_same(&one.spec, wanted))?;
            Some((holder, one))
        };
        let copies = spec.sockets.iter().filter_map(find).zip(FIRST..).map(|((holder, held), number)| {
            let copy = held.socket.hand_over(others(holder));
            Ok((copy.doing(|| format!("hand over descriptor {number}"))?, number))
        });
        copies.collect()
    }

    /// For the next svinit.
    #[must_use]
    pub(super) fn save(&self, luggage: &mut Luggage) -> SavedHeld {
        let mut save = |sockets: &Vec<One>| {
            let one =
                |one: &One| (key(&one.spec), SavedOne { ids: one.ids, socket: one.socket.save(luggage) });
            sockets.iter().map(one).collect()
        };
        SavedHeld(self.0.iter().map(|(holder, sockets)| (holder.clone(), save(sockets))).collect())
    }

    /// From the svinit before, for the units of `set`. One that is missing is opened again when its unit starts.
    #[must_use]
    pub(super) fn restore(saved: SavedHeld, set: &UnitSet, left: &mut Left) -> Self {
        let mut restore = |by: &UnitName, sockets: BTreeMap<String, SavedOne>| {
            let lone = set.units.get(by).into_iter();
            let specs: Vec<_> = lone.chain(set.instances(by.as_str())).collect();
            let one = |(name, saved): (String, SavedOne)| {
                // The first svinit that could be upgraded wrote the socket's name instead.
                let is_it = |spec: &&SocketSpec| key(spec) == name || spec.name == name;
                let spec = specs.iter().find_map(|spec| spec.sockets.iter().find(is_it))?.clone();
                let socket = HeldSocket::restore(saved.socket, left)?;
                Some(One { spec, ids: saved.ids, socket })
            };
            sockets.into_iter().filter_map(one).collect()
        };
        let all = saved.0.into_iter().map(|(by, sockets)| {
            let open = restore(&by, sockets);
            (by, open)
        });
        Self(all.collect())
    }

    /// Something was opened for `unit`.
    pub(super) fn has(&self, unit: &UnitSpec) -> bool {
        self.0.contains_key(&unit.name) || unit.group().is_some_and(|group| self.0.contains_key(group))
    }

    /// What a unit of `set` is to hold and another one holds that is not to any longer, is handed on: a unit that is
    /// renamed takes its sockets along, two may change places, and one that becomes several shares them.
    pub(super) fn hand_on(&mut self, set: &UnitSet) {
        for (spec, wanted) in
            set.units.values().flat_map(|spec| spec.sockets.iter().map(move |one| (spec, one)))
        {
            let to = holder(spec, wanted);
            if self.0.get(to).is_some_and(|open| open.iter().any(|one| is_same(&one.spec, wanted))) {
                continue;
            }
            let found = self.0.iter().find_map(|(by, open)| {
                let at = open.iter().position(|one| is_same(&one.spec, wanted))?;
                (by != to && !is_wanted(set, by, &open[at].spec)).then(|| (by.clone(), at))
            });
            if let Some((by, at)) = found
                && let Some(one) = self.0.get_mut(&by).map(|open| open.remove(at))
            {
                self.0.entry(to.clone()).or_default().push(one);
            }
        }
    }

    /// Whether `wanted` of a unit of `set` is open already, or will be handed on to it.
    #[must_use]
    pub(super) fn is_had(&self, spec: &UnitSpec, wanted: &SocketSpec, set: &UnitSet) -> bool {
        let to = holder(spec, wanted);
        self.0.iter().any(|(by, open)| {
            open.iter().any(|one| is_same(&one.spec, wanted) && (by == to || !is_wanted(set, by, &one.spec)))
        })
    }

    /// Whether what is in the way of `wanted` is held here, and will not be once `set` is in force.
    #[must_use]
    pub(super) fn makes_room(&self, wanted: &SocketSpec, set: &UnitSet) -> bool {
        self.0.iter().any(|(by, open)| {
            open.iter().any(|one| one.spec.clashes(wanted) && !is_wanted(set, by, &one.spec))
        })
    }

    /// Makes what is held fit `spec`, one of `set`. What is at the same place stays open, whatever it is called; what is
    /// new is opened before the others are closed. What other instances have, which `is_used` knows, stays as it is
    /// until nobody has it.
    ///
    /// # Errors
    /// The first that cannot be opened, with its place.
    pub(super) fn fit(
        &mut self,
        spec: &UnitSpec,
        set: &UnitSet,
        is_used: impl Fn(&UnitName) -> bool,
        ids: Option<&Ids>,
    ) -> Result<(), Error> {
        let mut old = Vec::new();
        for by in [Some(&spec.name), spec.group()].into_iter().flatten() {
            let Some(mut open) = self.0.remove(by) else { continue };
            let mut stay = Vec::new();
            for wanted in spec.sockets.iter().filter(|wanted| holder(spec, wanted) == by) {
                let Some(at) = open.iter().position(|one| is_same(&one.spec, wanted)) else { continue };
                let mut one = open.remove(at);
                if one.fits(wanted, ids) {
                    one.socket.adjust(wanted);
                    one.spec = wanted.clone();
                    stay.push(one);
                } else if is_used(by) {
                    stay.push(one);
                }
                // Else it would be in the way of its successor.
            }
            for one in open {
                if is_wanted(set, by, &one.spec) { stay.push(one) } else { old.push(one) }
            }
            self.0.insert(by.clone(), stay);
        }
        old.retain(|one| !spec.sockets.iter().any(|wanted| wanted.address == one.spec.address));
        let opened = self.open(spec, ids);
        drop(old);
        opened
    }

    /// Closes what `group` has and nobody of `sets` wants.
    pub(super) fn release_unwanted(&mut self, group: &UnitName, sets: [&UnitSet; 2]) {
        if let Some(open) = self.0.get_mut(group) {
            open.retain(|one| sets.iter().any(|set| is_wanted(set, group, &one.spec)));
        }
    }

    /// Closes what `holder` has.
    pub(super) fn release(&mut self, holder: &UnitName) {
        self.0.remove(holder);
    }
}

/// By this it is found again: `0.0.0.0:53 datagram`.
fn key(spec: &SocketSpec) -> String {
    match spec.r#type {
        SocketType::Stream => spec.address.to_string(),
        SocketType::Datagram => format!("{} datagram", spec.address),
    }
}

impl One {
    /// It can serve as this one: only what can be changed while it is open differs.
    fn fits(&self, wanted: &SocketSpec, ids: Option<&Ids>) -> bool {
        let SocketSpec {
            name: _,
            address,
            is_of_instance: _,
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
