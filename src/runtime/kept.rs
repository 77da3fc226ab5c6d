//! Descriptors that services have handed to svinit for their own next main process (`FDSTORE=1` of `sd_notify`).
//!
//! They outlive crashes and restarts, and go when their unit is down for good. What is easy to get wrong: a descriptor
//! that is watched must leave the poller before it is closed, since the service may still have the same file open.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{SFlag, fstat};
use serde::{Deserialize, Serialize};

use crate::os::handover::{self, Luggage};
use crate::os::poll::Poller;
use crate::units::name::UnitName;
use crate::units::sockets::FIRST;
use crate::units::spec::{ReadySign, UnitSpec};

/// Descriptors that are kept for one unit at most.
pub(super) const KEPT_MAX: usize = 64;

/// All of them.
pub(super) struct Kept {
    poller: Arc<Poller>,
    by_unit: BTreeMap<UnitName, Vec<One>>,
}

struct One {
    name: String,
    fd: OwnedFd,
    /// The poller's mark, where it is watched.
    token: Option<u64>,
}

/// One as it is left to the next svinit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedKept {
    pub(super) unit: UnitName,
    pub(super) name: String,
    pub(super) fd: handover::Kept,
    pub(super) is_watched: bool,
}

/// Some of those of a unit.
pub(super) enum Which<'a> {
    /// The unit is down for good, or is no more.
    All,
    /// Of this name.
    Named(&'a str),
    /// The one with this mark has come to its end.
    Dead(u64),
}

impl Which<'_> {
    fn means(&self, one: &One) -> bool {
        match self {
            Self::All => true,
            Self::Named(name) => one.name == *name,
            Self::Dead(token) => one.token == Some(*token),
        }
    }
}

/// Why a descriptor was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Kept {
    /// None yet; their ends will be told by `poller`.
    #[must_use]
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self { poller, by_unit: BTreeMap::new() }
    }

    /// Keeps `fd` under `name`, unless it is kept so already. Comes back with `token` if that will tell its end.
    ///
    /// # Errors
    /// There are `room` of them.
    pub(super) fn keep(
        &mut self,
        unit: &UnitName,
        name: &str,
        fd: OwnedFd,
        token: Option<u64>,
        room: usize,
    ) -> Result<Option<u64>, Full> {
        let mine = self.by_unit.entry(unit.clone()).or_default();
        let id = identity(&fd);
        if id.is_some() && mine.iter().any(|one| one.name == name && identity(&one.fd) == id) {
            return Ok(None);
        }
        if mine.len() >= room {
            return Err(Full);
        }
        // What cannot be watched, as a plain file, never ends by itself.
        let token = token.filter(|token| self.poller.add_for_end(&fd, *token).is_ok());
        mine.push(One { name: name.to_owned(), fd, token });
        Ok(token)
    }

    /// Lets those go that `goes` says; their marks mean nothing any more.
    #[must_use]
    pub(super) fn let_go(&mut self, unit: &UnitName, goes: &Which<'_>) -> Vec<u64> {
        let Some(mine) = self.by_unit.get_mut(unit) else { return Vec::new() };
        let gone: Vec<One> = mine.extract_if(.., |one| goes.means(one)).collect();
        if mine.is_empty() {
            self.by_unit.remove(unit);
        }
        for one in gone.iter().filter(|one| one.token.is_some()) {
            // Watched until now, so it is there.
            let _ = self.poller.remove(&one.fd);
        }
        gone.into_iter().filter_map(|one| one.token).collect()
    }

    /// For the next svinit.
    #[must_use]
    pub(super) fn save(&self, luggage: &mut Luggage) -> Vec<SavedKept> {
        let all = self.by_unit.iter().flat_map(|(unit, all)| all.iter().map(move |one| (unit, one)));
        let saved = all.map(|(unit, one)| SavedKept {
            unit: unit.clone(),
            name: one.name.clone(),
            fd: luggage.fd(&one.fd),
            is_watched: one.token.is_some(),
        });
        saved.collect()
    }

    /// Their names, in the order in which they came.
    pub(super) fn names(&self, unit: &UnitName) -> impl Iterator<Item = &str> {
        self.by_unit.get(unit).into_iter().flatten().map(|one| one.name.as_str())
    }

    /// Copies for a new process, in the same order.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn copies(&self, unit: &UnitName) -> io::Result<Vec<OwnedFd>> {
        self.by_unit.get(unit).into_iter().flatten().map(|one| one.fd.try_clone()).collect()
    }
}

/// How many can be kept for a unit: their numbers come after its sockets and end before its readiness descriptor.
pub(super) fn room(spec: &UnitSpec) -> usize {
    let used = i32::try_from(spec.sockets.len()).unwrap_or(i32::MAX).saturating_add(FIRST);
    match spec.ready.as_ref().map(|ready| &ready.sign) {
        Some(ReadySign::Fd(number)) => usize::try_from(number - used).unwrap_or(0).min(KEPT_MAX),
        Some(ReadySign::Check(_) | ReadySign::Log(_) | ReadySign::Notify | ReadySign::Delay(_)) | None => {
            KEPT_MAX
        }
    }
}

/// By what it is known again; `None` for what has no file of its own, as an eventfd. The flags tell the ends of a pipe.
fn identity(fd: &OwnedFd) -> Option<(u64, u64, i32)> {
    let found = fstat(fd).ok()?;
    let has_file = SFlag::from_bits_truncate(found.st_mode).intersects(SFlag::S_IFMT);
    has_file.then_some((found.st_dev, found.st_ino, fcntl(fd, FcntlArg::F_GETFL).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::spec::{Argv, Ready};

    fn kept() -> (Kept, Arc<Poller>) {
        let poller = Arc::new(Poller::new().unwrap());
        (Kept::new(Arc::clone(&poller)), poller)
    }

    fn web() -> UnitName {
        UnitName::new("web").unwrap()
    }

    fn names(kept: &Kept) -> Vec<String> {
        kept.names(&web()).map(str::to_owned).collect()
    }

    #[test]
    fn the_same_descriptor_is_kept_once_under_a_name_and_the_ends_of_a_pipe_are_two() {
        let (mut kept, _) = kept();
        let (reader, writer) = io::pipe().unwrap();
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        for (name, fd) in [("a", &reader), ("a", &reader), ("a", &writer), ("b", &reader)] {
            kept.keep(&web(), name, fd.try_clone().unwrap(), None, 3).unwrap();
        }
        assert_eq!(names(&kept), ["a", "a", "b"]);
        assert_eq!(kept.keep(&web(), "c", reader, None, 3), Err(Full));
        assert_eq!(kept.copies(&web()).unwrap().len(), 3);
        assert!(kept.let_go(&web(), &Which::Named("a")).is_empty());
        assert_eq!(names(&kept), ["b"]);
    }

    #[test]
    fn one_whose_other_end_is_closed_is_told_and_goes_and_takes_its_watch_along() {
        let (mut kept, poller) = kept();
        let (reader, writer) = io::pipe().unwrap();
        let ours = OwnedFd::from(reader);
        let theirs = ours.try_clone().unwrap();
        kept.keep(&web(), "a", ours, Some(7), 1).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, 0).unwrap();
        assert!(ready.is_empty());
        drop(writer);
        poller.wait(&mut ready, 0).unwrap();
        assert_eq!(ready, [7]);
        assert_eq!(kept.let_go(&web(), &Which::Dead(7)), [7]);
        assert!(names(&kept).is_empty());
        ready.clear();
        poller.wait(&mut ready, 0).unwrap();
        assert!(ready.is_empty(), "its file is still open elsewhere, and nobody watches it");
        drop(theirs);
    }

    #[test]
    fn kept_descriptors_leave_the_number_of_the_readiness_descriptor_free() {
        let mut spec = UnitSpec::new(web(), Argv(Vec::new()));
        assert_eq!(room(&spec), KEPT_MAX);
        for (number, left) in [(3, 0), (5, 2), (1000, KEPT_MAX)] {
            let sign = ReadySign::Fd(number);
            spec.ready = Some(Ready { sign, interval: std::time::Duration::ZERO });
            assert_eq!(room(&spec), left);
        }
    }
}
