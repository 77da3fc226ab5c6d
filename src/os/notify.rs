//! `NOTIFY_SOCKET`: what services say about themselves, in systemd's datagrams.
//!
//! One socket a unit, made before its first process. The kernel tells the sender's PID and user; the caller checks
//! that the process belongs to the run. Anything may arrive: nothing here trusts the bytes, and each read is bounded.
//!
//! Descriptors may arrive as well. What is easy to get wrong: whoever closes the last copy of a TCP socket waits as long
//! as `SO_LINGER` says, up to hours, and with the sender gone that is svinit. So no socket keeps it here.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{Pid, Sign};
use crate::lifecycle::time::Time;
use crate::os::error::{Doing, Error};
use crate::os::files;
use crate::os::handover::{Kept, Left, Luggage};
use crate::os::hold;
use crate::os::sys;
use crate::os::user::Ids;
use crate::units::name::UnitName;

/// Longest datagram; what is longer is cut at the last whole line.
pub const MESSAGE_MAX: usize = 4096;

/// Longest status that is kept, in bytes.
pub const STATUS_MAX: usize = 512;

/// Longest time that a service can ask for at once: nobody hangs for ever.
pub const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Descriptors that the kernel lets come with one datagram. With less room it would close some by itself, and wait.
const RIGHTS_MAX: usize = 253;

/// Longest `FDNAME`.
const NAME_MAX: usize = 255;

/// Most lines of one datagram that are looked at.
const LINES_MAX: usize = 64;

/// The socket of one unit. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// One datagram.
#[derive(Debug)]
pub struct Message {
    /// Who sent it; it may be gone already.
    pub pid: Pid,
    /// As whom.
    pub uid: u32,
    /// What.
    pub text: Vec<u8>,
    /// What came with it.
    pub fds: Vec<OwnedFd>,
}

/// What a datagram wants done with descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// `BARRIER=1`: its one is to be closed when all that was said before has been heeded.
    Barrier,
    /// `FDSTORE=1`: they are to be kept for the next main process.
    Keep {
        /// `FDNAME=`; `None` when it is no name.
        name: Option<String>,
        /// `FDPOLL=0`: also when their other end is closed.
        also_dead: bool,
    },
    /// `FDSTOREREMOVE=1`: those of this name are not to be kept any longer; `None` when it is no name.
    Drop {
        /// `FDNAME=`.
        name: Option<String>,
    },
    /// Nothing.
    None,
}

/// Where the socket of `unit` is.
#[must_use]
pub fn path(dir: &Path, unit: &UnitName) -> PathBuf {
    dir.join(format!("{unit}.notify"))
}

impl NotifySocket {
    /// Makes `DIR/UNIT.notify` for processes of `owner`. One for root is open to all users, since root may become any
    /// before it notifies; who may speak for a run is decided by the caller. `dir` is made as 0711 if it is not there.
    ///
    /// # Errors
    /// It cannot be made; `type = "notify"` then cannot work.
    pub fn new(dir: &Path, unit: &UnitName, owner: Option<&Ids>) -> Result<Self, Error> {
        let path = path(dir, unit);
        let doing = || format!("make the notify socket {}", path.display());
        files::make_dir(dir, 0o711)?;
        // A name of ours in a directory of ours: whatever is there was left behind.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing(doing),
            _ => {}
        }
        let uid = owner.map_or_else(sys::geteuid, |ids| ids.uid);
        let mode = if uid == 0 { 0o666 } else { 0o600 };
        let socket = hold::with_mode(mode, || UnixDatagram::bind(&path)).doing(doing)?;
        let made = Self { socket, path: path.clone() };
        made.socket.set_nonblocking(true).doing(doing)?;
        setsockopt(&made.socket, sockopt::PassCred, &true).doing(doing)?;
        if uid != sys::geteuid() {
            files::set_owner(&path, uid, owner.map_or_else(sys::getegid, |ids| ids.gid))?;
        }
        Ok(made)
    }

    /// The value of `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next datagram; `None` when there is none now.
    #[must_use]
    pub fn recv(&self) -> Option<Message> {
        let mut text = [0; MESSAGE_MAX];
        let mut control = cmsg_space!(UnixCredentials, [RawFd; RIGHTS_MAX]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (mut sender, mut fds) = (None, Vec::new());
        let (length, is_cut) = {
            let mut parts = [IoSliceMut::new(&mut text)];
            let fd = self.socket.as_raw_fd();
            let received = recvmsg::<()>(fd, &mut parts, Some(&mut control), flags).ok()?;
            if let Ok(controls) = received.cmsgs() {
                for control in controls {
                    #[expect(clippy::wildcard_enum_match_arm, reason = "we asked for nothing else")]
                    match control {
                        ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials),
                        ControlMessageOwned::ScmRights(received) => fds.extend(sys::own_received(&received)),
                        _ => {}
                    }
                }
            }
            (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC))
        };
        for fd in &fds {
            // Whatever is no socket says so.
            let _ = setsockopt(fd, sockopt::Linger, &libc::linger { l_onoff: 0, l_linger: 0 });
        }
        let text = text.get(..length).unwrap_or_default();
        let whole = match text.iter().rposition(|byte| *byte == b'\n') {
            Some(end) if is_cut => &text[..end],
            None if is_cut => &[],
            _ => text,
        };
        // Without a sender it is nobody's: an empty message, so that the caller goes on with the next.
        let (pid, uid) = sender.map_or((0, u32::MAX), |sender| (sender.pid(), sender.uid()));
        Some(Message { pid: Pid(pid), uid, text: whole.to_vec(), fds })
    }
}

/// The socket of a unit as it is left to the next svinit.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedNotify {
    fd: Kept,
    path: PathBuf,
}

impl NotifySocket {
    /// For the next svinit.
    #[must_use]
    pub fn save(&self, luggage: &mut Luggage) -> SavedNotify {
        SavedNotify { fd: luggage.fd(&self.socket), path: self.path.clone() }
    }

    /// From the svinit before.
    #[must_use]
    pub fn restore(saved: SavedNotify, left: &mut Left) -> Option<Self> {
        Some(Self { socket: UnixDatagram::from(left.fd(saved.fd)?), path: saved.path })
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a datagram says, in its order, of what we know; bounded, and harmless whatever the bytes are.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Sign> {
    let begun = value_of(text, b"MONOTONIC_USEC").and_then(number).map(Time);
    lines(text).filter_map(|(name, value)| sign(name, value, begun)).collect()
}

/// What it wants done with descriptors, whatever else it says.
#[must_use]
pub fn rights(text: &[u8]) -> Rights {
    let is_set = |name: &[u8]| value_of(text, name) == Some(b"1");
    let name = || value_of(text, b"FDNAME").map(fd_name);
    if is_set(b"BARRIER") {
        Rights::Barrier
    } else if is_set(b"FDSTOREREMOVE") {
        Rights::Drop { name: name().flatten() }
    } else if is_set(b"FDSTORE") {
        let also_dead = value_of(text, b"FDPOLL") == Some(b"0");
        Rights::Keep { name: name().unwrap_or_else(|| Some("stored".to_owned())), also_dead }
    } else {
        Rights::None
    }
}

/// What can stand in `LISTEN_FDNAMES`.
fn fd_name(bytes: &[u8]) -> Option<String> {
    let fits = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b':';
    let is_name = !bytes.is_empty() && bytes.len() <= NAME_MAX && bytes.iter().all(fits);
    is_name.then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b'\n').take(LINES_MAX).filter_map(|line| {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        Some((&line[..equals], &line[equals + 1..]))
    })
}

fn value_of<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    lines(text).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn sign(name: &[u8], value: &[u8], begun: Option<Time>) -> Option<Sign> {
    match (name, value) {
        (b"READY", b"1") => Some(Sign::Ready),
        (b"RELOADING", b"1") => Some(Sign::Reloading(begun)),
        (b"STOPPING", b"1") => Some(Sign::Stopping),
        (b"STATUS", status) => Some(Sign::Status(plain(status))),
        (b"MAINPID", pid) => {
            let pid = std::str::from_utf8(pid).ok()?.parse().ok()?;
            (pid > 1).then_some(Sign::MainPid(Pid(pid)))
        }
        (b"WATCHDOG", b"1") => Some(Sign::Alive),
        (b"WATCHDOG", b"trigger") => Some(Sign::Hung),
        (b"WATCHDOG_USEC", usec) => span(usec).map(Sign::AliveEvery),
        (b"EXTEND_TIMEOUT_USEC", usec) => span(usec).map(Sign::MoreTime),
        (b"ERRNO", number) => {
            let number = std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number > 0)?;
            Some(Sign::Reason(format!("errno {number} ({})", Errno::from_raw(number).desc())))
        }
        (b"EXIT_STATUS", status) => {
            let status: u8 = std::str::from_utf8(status).ok()?.parse().ok()?;
            Some(Sign::Reason(format!("status {status} of its own")))
        }
        _ => None,
    }
}

/// Microseconds, more than none and at most [`SPAN_MAX`].
fn span(usec: &[u8]) -> Option<Duration> {
    let usec = number(usec)?;
    (usec > 0).then(|| Duration::from_micros(usec).min(SPAN_MAX))
}

/// One line for people: no control characters, which a terminal would obey, and not longer than [`STATUS_MAX`].
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(STATUS_MAX)]);
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn socket(dir: &Path) -> NotifySocket {
        NotifySocket::new(dir, &UnitName::new("web").unwrap(), None).unwrap()
    }

    #[test]
    fn a_datagram_comes_with_its_sender() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(dir.path());
        assert!(socket.recv().is_none());
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1\nSTATUS=a\x1b[31m b", socket.path()).unwrap();
        sender.send_to(b"", socket.path()).unwrap();
        let message = socket.recv().unwrap();
        assert_eq!((message.pid, message.uid), (Pid(sys::own_pid()), sys::geteuid()));
        assert_eq!(parse(&message.text), [Sign::Ready, Sign::Status("a [31m b".into())]);
        assert_eq!(socket.recv().unwrap().text, b"");
        assert!(socket.recv().is_none());
    }

    #[test]
    fn what_is_too_long_ends_with_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(dir.path());
        let sender = UnixDatagram::unbound().unwrap();
        let mut long = b"READY=1\nSTATUS=".to_vec();
        long.resize(3 * MESSAGE_MAX, b'x');
        sender.send_to(&long, socket.path()).unwrap();
        assert_eq!(socket.recv().unwrap().text, b"READY=1");
        sender.send_to(&vec![b'x'; 2 * MESSAGE_MAX], socket.path()).unwrap();
        assert_eq!(socket.recv().unwrap().text, b"");
    }

    fn send(socket: &NotifySocket, text: &[u8], fds: &[RawFd]) {
        use nix::sys::socket::{ControlMessage, UnixAddr, sendmsg};
        let sender = UnixDatagram::unbound().unwrap();
        let to = UnixAddr::new(socket.path()).unwrap();
        let (text, rights) = ([std::io::IoSlice::new(text)], [ControlMessage::ScmRights(fds)]);
        sendmsg(sender.as_raw_fd(), &text, &rights, MsgFlags::empty(), Some(&to)).unwrap();
    }

    #[test]
    fn descriptors_come_with_their_message_and_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(dir.path());
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&socket, b"FDSTORE=1\nFDNAME=a", &[writer.as_raw_fd(); RIGHTS_MAX]);
        drop(writer);
        let message = socket.recv().unwrap();
        assert_eq!((message.fds.len(), message.pid), (RIGHTS_MAX, Pid(sys::own_pid())));
        drop(message);
        // Its end is seen at once: nobody has the other end any longer.
        assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_socket_that_would_make_whoever_closes_it_wait_does_not() {
        use nix::sys::socket::getsockopt;
        let dir = tempfile::tempdir().unwrap();
        let socket = socket(dir.path());
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        setsockopt(&theirs, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
        send(&socket, b"", &[theirs.as_raw_fd()]);
        let ours = socket.recv().unwrap().fds.remove(0);
        assert_eq!(getsockopt(&ours, sockopt::Linger).unwrap().l_onoff, 0);
    }

    #[test]
    fn what_is_to_be_done_with_descriptors_is_said_in_words() {
        let keep = |name: Option<&str>, also_dead| Rights::Keep { name: name.map(str::to_owned), also_dead };
        assert_eq!(rights(b"FDSTORE=1"), keep(Some("stored"), false));
        assert_eq!(rights(b"FDNAME=two words\nFDPOLL=0\nFDSTORE=1"), keep(Some("two words"), true));
        for name in ["", "a:b", "\u{1}", "caf\u{e9}", &"x".repeat(256)] {
            assert_eq!(rights(format!("FDSTORE=1\nFDNAME={name}").as_bytes()), keep(None, false), "{name}");
        }
        assert_eq!(rights(b"FDSTOREREMOVE=1\nFDNAME=a"), Rights::Drop { name: Some("a".into()) });
        assert_eq!(rights(b"FDSTOREREMOVE=1"), Rights::Drop { name: None });
        assert_eq!(rights(b"BARRIER=1\nFDSTORE=1"), Rights::Barrier);
        assert_eq!(rights(b"FDSTORE=0\nBARRIER=2"), Rights::None);
    }

    #[test]
    fn a_reload_tells_when_it_began_wherever_that_stands() {
        let began = |text: &[u8]| parse(text);
        assert_eq!(began(b"MONOTONIC_USEC=7\nRELOADING=1"), [Sign::Reloading(Some(Time(7)))]);
        assert_eq!(began(b"RELOADING=1\nMONOTONIC_USEC=7"), [Sign::Reloading(Some(Time(7)))]);
        assert_eq!(began(b"RELOADING=1\nMONOTONIC_USEC=-7"), [Sign::Reloading(None)]);
    }

    #[test]
    fn the_socket_is_the_unit_s_own_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let unit = UnitName::new("web").unwrap();
        let owner = Ids { uid: 65534, gid: 65534, ..Ids::default() };
        if sys::geteuid() != 0 {
            println!("skipped: only root can give a socket away");
            return;
        }
        drop(socket(dir.path()));
        let socket = NotifySocket::new(dir.path(), &unit, Some(&owner)).unwrap();
        let found = std::fs::metadata(socket.path()).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (65534, 0o600));
        drop(socket);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_main_process_is_never_init_nor_a_group() {
        assert_eq!(parse(b"MAINPID=1\nMAINPID=-5\nMAINPID=0\nMAINPID=x"), []);
        assert_eq!(parse(b"MAINPID=77"), [Sign::MainPid(Pid(77))]);
        assert_eq!(parse(b"READY=0\nREADY\n=\nREADY=11"), []);
    }

    #[test]
    fn spans_of_time_are_above_nothing_and_bounded() {
        let day = Duration::from_secs(86_400);
        let said = b"WATCHDOG_USEC=0\nWATCHDOG_USEC=500000\nEXTEND_TIMEOUT_USEC=18446744073709551615\n\
                     EXTEND_TIMEOUT_USEC=-1\nWATCHDOG_USEC=18446744073709551616";
        let half = Duration::from_millis(500);
        assert_eq!(parse(said), [Sign::AliveEvery(half), Sign::MoreTime(day)]);
    }

    #[test]
    fn reasons_are_words() {
        let no_file = "errno 2 (No such file or directory)";
        assert_eq!(parse(b"ERRNO=2\nERRNO=0\nERRNO=x"), [Sign::Reason(no_file.into())]);
        assert_eq!(parse(b"EXIT_STATUS=3\nEXIT_STATUS=256"), [Sign::Reason("status 3 of its own".into())]);
        assert_eq!(parse(b"WATCHDOG=1\nWATCHDOG=trigger\nWATCHDOG=0"), [Sign::Alive, Sign::Hung]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(text in proptest::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert!(parse(&text).len() <= LINES_MAX);
        }
    }
}
