//! Unix sockets that svinit listens on, and who is at the other end.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};

use crate::lifecycle::event::Pid;
use crate::os::error::{Doing, Error};
use crate::os::sys;

/// Who is at the other end of a connection, as the kernel saw it when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0: in another PID namespace, so that its user says nothing about who it is.
    pub pid: Pid,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Listens on `path` with exactly this mode from the first moment on, for `group` where one is given. Nonblocking.
/// A socket that was left behind is replaced; one where somebody answers is not.
///
/// # Errors
/// Another svinit is there, the place cannot be written to, or the group cannot be given.
pub fn listen_unix(path: &Path, mode: u32, group: Option<u32>) -> Result<UnixListener, Error> {
    let doing = || format!("listen on {}", path.display());
    remove_stale(path)?;
    let listener = with_mode(mode, || UnixListener::bind(path)).doing(doing).inspect_err(|_| {
        // It may be there although nobody listens; what somebody else has made meanwhile stays.
        let _ = remove_stale(path);
    })?;
    let prepared = listener.set_nonblocking(true).doing(doing).and_then(|()| match group {
        // Until here the socket is our own group's, which is no wider than what was asked for.
        Some(gid) => lchown(path, None, Some(gid))
            .doing(|| format!("give {} to group {gid}", path.display()))
            .map_err(|error| error.with_remedy("needs CAP_CHOWN, or svinit to be in that group")),
        None => Ok(()),
    });
    if prepared.is_err() {
        // A socket that nobody serves, or that its group cannot use, would only puzzle.
        let _ = fs::remove_file(path);
    }
    prepared.map(|()| listener)
}

/// Makes a socket with exactly this mode. The mask is the whole process's: one at a time. Children set their own.
pub(super) fn with_mode<T>(mode: u32, make: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = sys::umask(0o777 & !mode);
    let made = make();
    sys::umask(before);
    made
}

/// Removes a socket at which nobody answers. Anything else stays.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let doing = || format!("listen on {}", path.display());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(doing),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::new(doing(), "something that is no socket is there"));
        }
        Ok(_) => {}
    }
    match answerer(path).doing(doing)? {
        Answerer::Nobody => {
            fs::remove_file(path).doing(|| format!("remove the old socket {}", path.display()))
        }
        Answerer::Somebody(_) => Err(Error::new(doing(), "another svinit answers there")),
    }
}

/// Who is behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// It is free, or its file was left behind.
    Nobody,
    /// A process, if it can be told which.
    Somebody(Option<Pid>),
}

/// Knocks at the socket file `path`, and does not wait: with a full queue somebody is there as well.
pub(super) fn answerer(path: &Path) -> nix::Result<Answerer> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let knocking = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(knocking.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(Answerer::Nobody),
        // Whoever does not let us in, is too busy, or wants messages and no connections, is there.
        Err(_) => Ok(Answerer::Somebody(None)),
        Ok(()) => {
            let peer = getsockopt(&knocking, sockopt::PeerCredentials).ok();
            Ok(Answerer::Somebody(peer.map(|peer| Pid(peer.pid())).filter(|pid| pid.0 > 0)))
        }
    }
}

/// Who is at the other end.
///
/// # Errors
/// It is no connected unix socket.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(Peer { pid: Pid(credentials.pid()), uid: credentials.uid(), gid: credentials.gid() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn knocking_waits_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy.sock");
        let full = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(full.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        assert_eq!(answerer(&path), Ok(Answerer::Nobody), "it does not listen yet");
        nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert_eq!(answerer(&path), Ok(Answerer::Somebody(None)), "there is no room for another one");
        let messages = dir.path().join("messages.sock");
        let _messages = UnixDatagram::bind(&messages).unwrap();
        assert_eq!(answerer(&messages), Ok(Answerer::Somebody(None)));
        let free = dir.path().join("free.sock");
        let _free = UnixListener::bind(&free).unwrap();
        assert_eq!(answerer(&free), Ok(Answerer::Somebody(Some(Pid(sys::own_pid())))));
        assert_eq!(answerer(&dir.path().join("none")), Ok(Answerer::Nobody));
    }

    #[test]
    fn a_socket_has_its_mode_replaces_a_dead_one_and_spares_a_living_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = listen_unix(&path, 0o660, Some(sys::getegid())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let error = listen_unix(&path, 0o600, None).unwrap_err().to_string();
        assert!(error.ends_with("another svinit answers there"), "{error}");
        drop(listener);
        let listener = listen_unix(&path, 0o600, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(listener);
        let file = dir.path().join("file");
        fs::write(&file, b"precious").unwrap();
        assert!(listen_unix(&file, 0o600, None).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn the_peer_of_a_connection_is_known() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = peer(&here).unwrap();
        assert_eq!(peer, Peer { pid: Pid(sys::own_pid()), uid: sys::geteuid(), gid: sys::getegid() });
    }
}
