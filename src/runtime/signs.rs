//! What units' processes say about themselves: datagrams of `sd_notify`, a newline on a readiness descriptor, and that one
//! has ended that is not our child.
//!
//! Every unit has a socket of its own, made before its process, so a datagram says by the socket which unit it is about
//! and the kernel says who sent it. A sender that has already gone cannot be looked up; it is believed when it had the
//! unit's user, since `systemd-notify` in a shell script has often ended before its word is read.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{Event, Pid, RunId, Sign};
use crate::os::error::{Doing, Error};
use crate::os::handover::{self, Left, Luggage};
use crate::os::notify::{self, Message, NotifySocket, Rights, SavedNotify};
use crate::os::pidfd::PidFd;
use crate::os::poll::Poller;
use crate::os::user::Ids;
use crate::runtime::kept::{Full, Kept, SavedKept, Which};
use crate::units::name::UnitName;

/// Datagrams that are read of one socket before others have their turn.
const DATAGRAMS_A_TURN: usize = 64;

/// The sockets and descriptors.
pub(super) struct Signs {
    dir: PathBuf,
    poller: Arc<Poller>,
    sockets: BTreeMap<UnitName, NotifySocket>,
    sources: BTreeMap<u64, Source>,
    last: u64,
    /// What services have handed over to be kept.
    pub(super) kept: Kept,
    /// A descriptor has come or gone, without a fact for the machine, that is left to the next svinit.
    pub(super) have_moved: bool,
}

/// What a service has said.
pub(super) enum Said {
    /// About itself.
    Fact(Event),
    /// About descriptors that it has sent along.
    Rights(UnitName, Rights, Vec<OwnedFd>),
    /// Nothing: the main process of this run, which was another's child, has ended.
    Ended(RunId, Pid),
}

/// As they are left to the next svinit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedSigns {
    sockets: BTreeMap<UnitName, SavedNotify>,
    descriptors: Vec<(RunId, handover::Kept)>,
    kept: Vec<SavedKept>,
}

enum Source {
    /// The socket of this unit.
    Socket(UnitName),
    /// The read end of the descriptor that was promised to this run.
    Descriptor(RunId, io::PipeReader),
    /// One that is kept for this unit.
    Kept(UnitName),
    /// For the end of the main process of this run.
    End(RunId, Pid, PidFd),
}

impl Signs {
    /// Sockets will be made in `dir` and watched by `poller`.
    #[must_use]
    pub(super) fn new(dir: PathBuf, poller: Arc<Poller>) -> Self {
        let kept = Kept::new(Arc::clone(&poller));
        let (sockets, sources) = (BTreeMap::new(), BTreeMap::new());
        Self { dir, poller, sockets, sources, last: 0, kept, have_moved: false }
    }

    /// Where the `NOTIFY_SOCKET` of `unit` is, or will be.
    #[must_use]
    pub(super) fn path(&self, unit: &UnitName) -> PathBuf {
        notify::path(&self.dir, unit)
    }

    /// Makes the `NOTIFY_SOCKET` of `unit`, for processes of `owner`, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make_socket(&mut self, unit: &UnitName, owner: Option<&Ids>) -> Result<(), Error> {
        if !self.sockets.contains_key(unit) {
            let socket = NotifySocket::new(&self.dir, unit, owner)?;
            let token = self.next_token();
            self.poller.add(&socket, token).doing(|| format!("watch the notify socket of {unit}"))?;
            self.sources.insert(token, Source::Socket(unit.clone()));
            self.sockets.insert(unit.clone(), socket);
        }
        Ok(())
    }

    /// The notify socket of `unit` is made anew when it is needed again.
    pub(super) fn drop_socket(&mut self, unit: &UnitName) {
        if self.sockets.remove(unit).is_some() {
            self.sources.retain(|_, source| !matches!(source, Source::Socket(of) if of == unit));
            self.have_moved = true;
        }
    }

    /// The write end of a readiness descriptor for `run`.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn descriptor(&mut self, run: RunId) -> Result<OwnedFd, Error> {
        let (reader, writer) = io::pipe().doing(|| "make the readiness descriptor".to_owned())?;
        let token = self.next_token();
        self.poller.add(&reader, token).doing(|| "watch the readiness descriptor".to_owned())?;
        self.sources.insert(token, Source::Descriptor(run, reader));
        Ok(writer.into())
    }

    /// Something is to be read. `run_of` tells which main run of the unit a message may speak for, if any.
    pub(super) fn on_ready(
        &mut self,
        token: u64,
        run_of: impl Fn(&UnitName, &Message) -> Option<RunId>,
    ) -> Vec<Said> {
        match self.sources.get_mut(&token) {
            Some(Source::Socket(unit)) => {
                let unit = unit.clone();
                self.hear(&unit, run_of)
            }
            Some(Source::Descriptor(run, reader)) => {
                let (run, heard) = (*run, listen(reader));
                if heard != Heard::Nothing {
                    self.close(token);
                }
                let ready = (heard == Heard::Newline).then_some(Event::Signed { run, sign: Sign::Ready });
                ready.into_iter().map(Said::Fact).collect()
            }
            Some(Source::Kept(unit)) => {
                let unit = unit.clone();
                self.let_go(&unit, &Which::Dead(token));
                Vec::new()
            }
            Some(Source::End(run, pid, _)) => {
                let ended = Said::Ended(*run, *pid);
                self.close(token);
                vec![ended]
            }
            None => Vec::new(),
        }
    }

    /// From here on it is told when `pid` ends, the main process of `run`; of none, nothing is. On a kernel without such
    /// descriptors its end is heard of with that of its parent.
    pub(super) fn watch_end(&mut self, run: RunId, pid: Option<Pid>) {
        self.close_all(|source| matches!(source, Source::End(of, ..) if *of == run));
        let Some((pid, pidfd)) = pid.and_then(|pid| Some((pid, PidFd::open(pid).ok()?))) else { return };
        let token = self.next_token();
        if self.poller.add(&pidfd, token).is_ok() {
            self.sources.insert(token, Source::End(run, pid, pidfd));
        }
    }

    /// What has been said to the socket of `unit` by now.
    pub(super) fn hear(
        &self,
        unit: &UnitName,
        run_of: impl Fn(&UnitName, &Message) -> Option<RunId>,
    ) -> Vec<Said> {
        self.sockets.get(unit).map_or_else(Vec::new, |socket| datagrams(socket, unit, run_of))
    }

    /// Keeps `fd` for the next main process of `unit`.
    ///
    /// # Errors
    /// There are `room` of them.
    pub(super) fn keep(
        &mut self,
        unit: &UnitName,
        name: &str,
        fd: OwnedFd,
        also_dead: bool,
        room: usize,
    ) -> Result<(), Full> {
        let token = (!also_dead).then(|| self.next_token());
        if let Some(token) = self.kept.keep(unit, name, fd, token, room)? {
            self.sources.insert(token, Source::Kept(unit.clone()));
        }
        self.have_moved = true;
        Ok(())
    }

    /// Does not keep these any longer.
    pub(super) fn let_go(&mut self, unit: &UnitName, which: &Which<'_>) {
        for token in self.kept.let_go(unit, which) {
            self.sources.remove(&token);
        }
        self.have_moved = true;
    }

    /// For the next svinit.
    #[must_use]
    pub(super) fn save(&self, luggage: &mut Luggage) -> SavedSigns {
        let sockets =
            self.sockets.iter().map(|(unit, socket)| (unit.clone(), socket.save(luggage))).collect();
        let descriptors = self.sources.values().filter_map(|source| match source {
            Source::Descriptor(run, reader) => Some((*run, luggage.fd(reader))),
            // The last is opened again.
            Source::Socket(_) | Source::Kept(_) | Source::End(..) => None,
        });
        let descriptors = descriptors.collect();
        SavedSigns { sockets, descriptors, kept: self.kept.save(luggage) }
    }

    /// From the svinit before. What cannot be watched says nothing any more, as on a machine without room.
    pub(super) fn restore(&mut self, saved: SavedSigns, left: &mut Left) {
        for (unit, socket) in saved.sockets {
            let Some(socket) = NotifySocket::restore(socket, left) else { continue };
            let token = self.next_token();
            let _ = self.poller.add(&socket, token);
            self.sources.insert(token, Source::Socket(unit.clone()));
            self.sockets.insert(unit, socket);
        }
        for (run, fd) in saved.descriptors {
            let Some(reader) = left.fd(fd).map(io::PipeReader::from) else { continue };
            let token = self.next_token();
            let _ = self.poller.add(&reader, token);
            self.sources.insert(token, Source::Descriptor(run, reader));
        }
        for SavedKept { unit, name, fd, is_watched } in saved.kept {
            if let Some(fd) = left.fd(fd) {
                // There was room for it before.
                let _ = self.keep(&unit, &name, fd, !is_watched, usize::MAX);
            }
        }
    }

    /// The run is over: its descriptor, if it still has one, says nothing any more.
    pub(super) fn end(&mut self, run: RunId) {
        self.close_all(
            |source| matches!(source, Source::Descriptor(of, _) | Source::End(of, ..) if *of == run),
        );
    }

    fn close_all(&mut self, which: impl Fn(&Source) -> bool) {
        let tokens: Vec<u64> =
            self.sources.iter().filter(|(_, source)| which(source)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.close(token);
        }
    }

    fn close(&mut self, token: u64) {
        // Closing it would do as well, were there not a copy in a child that is just being made.
        match self.sources.remove(&token) {
            Some(Source::Descriptor(_, reader)) => {
                self.have_moved = true;
                let _ = self.poller.remove(&reader);
            }
            Some(Source::End(_, _, pidfd)) => {
                let _ = self.poller.remove(&pidfd);
            }
            Some(Source::Socket(_) | Source::Kept(_)) | None => {}
        }
    }

    fn next_token(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

fn datagrams(
    socket: &NotifySocket,
    unit: &UnitName,
    run_of: impl Fn(&UnitName, &Message) -> Option<RunId>,
) -> Vec<Said> {
    let mut said = Vec::new();
    for _ in 0..DATAGRAMS_A_TURN {
        let Some(message) = socket.recv() else { break };
        let Some(run) = run_of(unit, &message) else { continue };
        let signs = notify::parse(&message.text).into_iter();
        said.extend(signs.map(|sign| Said::Fact(Event::Signed { run, sign })));
        let rights = notify::rights(&message.text);
        if rights != Rights::None {
            said.push(Said::Rights(unit.clone(), rights, message.fds));
        }
    }
    said
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Newline,
    Closed,
}

/// One read, which does not wait: the poller has said that there is something.
fn listen(reader: &mut io::PipeReader) -> Heard {
    let mut bytes = [0; 256];
    match reader.read(&mut bytes) {
        Ok(0) => Heard::Closed,
        Ok(n) if bytes[..n].contains(&b'\n') => Heard::Newline,
        Ok(_) => Heard::Nothing,
        Err(error) if [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock].contains(&error.kind()) => {
            Heard::Nothing
        }
        Err(_) => Heard::Closed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_readiness_descriptor_is_given_up_only_when_it_has_spoken_or_is_closed() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        assert!(listen(&mut reader) == Heard::Nothing, "it was told to be ready, and was not");
        writer.write_all(b"warm").unwrap();
        assert!(listen(&mut reader) == Heard::Nothing);
        writer.write_all(b"\n").unwrap();
        assert!(listen(&mut reader) == Heard::Newline);
        drop(writer);
        assert!(listen(&mut reader) == Heard::Closed);
    }
}
