//! Sockets that svinit opens for its units and holds while they come and go.
//!
//! What is easy to get wrong: a unix socket is bound at its final path, since services compare `getsockname` with what they
//! were configured with (nginx does), so it cannot be made elsewhere and moved. It gets its mode by the mask, and its
//! owner before it listens: until then every connection is refused. Its directory may belong to somebody who would like
//! the owner of another file changed, so the file is looked at before it is given away, and not by its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, setsockopt, socket, sockopt,
};
use nix::unistd::{AccessFlags, Gid, Uid, eaccess, fchownat, getegid, getgroups};
use serde::{Deserialize, Serialize};

use crate::lifecycle::event::Pid;
use crate::os::error::{Error, cause};
use crate::os::handover::{Kept, Left, Luggage};
use crate::os::hold;
pub use crate::os::hold::Answerer;
use crate::os::procfs;
use crate::os::sys;
use crate::os::user::{self, Ids};
use crate::units::socket::{SocketAddress, SocketSpec, SocketType};

mod holder;

/// A socket that is open. The file of a unix socket goes when this is dropped.
#[derive(Debug)]
pub struct HeldSocket {
    fd: OwnedFd,
    nonblocking: bool,
    /// Of connections; `None`: of messages.
    backlog: Option<i32>,
    /// The file that was made for it.
    file: Option<SocketFile>,
}

/// A file, and what it was when it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    path: PathBuf,
    id: (u64, u64),
}

/// A file that goes when this is dropped.
#[derive(Debug)]
struct SocketFile(Identity);

/// Why a socket cannot be had now.
#[derive(Debug)]
pub struct Obstacle {
    /// What of its definition is at fault.
    pub part: Part,
    /// In words, with the remedy.
    pub error: Error,
    /// Who has the address; nobody, if that is not what is in the way.
    pub holder: Answerer,
}

/// What of a socket's definition cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where it is to be.
    Address,
    /// To whom its file is to belong.
    Owner,
    /// To which group its file is to belong.
    Group,
}

impl Obstacle {
    fn of(part: Part, error: Error) -> Self {
        Self { part, error, holder: Answerer::Nobody }
    }
}

/// Whether a process of the unit has the socket as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nobody: it can be made as it was when it was new.
    Idle,
    /// It must be left as it is.
    Shared,
}

impl HeldSocket {
    /// Opens it, for processes of `ids`; `None` are svinit's own.
    ///
    /// # Errors
    /// It is in use, svinit may not, or there is no such place; in words, with the remedy.
    pub fn open(spec: &SocketSpec, ids: Option<&Ids>) -> Result<Self, Error> {
        let backlog = match spec.r#type {
            SocketType::Stream => Some(i32::try_from(spec.backlog).unwrap_or(i32::MAX)),
            SocketType::Datagram => None,
        };
        match &spec.address {
            SocketAddress::Inet(at) => {
                let fd = inet(spec, *at, backlog).map_err(|error| of_inet(spec, *at, &error).error)?;
                Ok(Self { fd, nonblocking: spec.nonblocking, backlog, file: None })
            }
            SocketAddress::Unix(path) => unix(spec, path, ids, backlog),
        }
    }

    /// The next process gets it as `spec` says, as far as that can be changed while it is open.
    pub fn adjust(&mut self, spec: &SocketSpec) {
        self.nonblocking = spec.nonblocking;
        if let Some(backlog) = &mut self.backlog {
            *backlog = i32::try_from(spec.backlog).unwrap_or(i32::MAX);
        }
    }

    /// What would keep svinit from opening it now, as far as that can be found out without opening it. An address is
    /// taken for a moment, and nobody listens at it.
    ///
    /// # Errors
    /// As [`HeldSocket::open`], in the same words.
    pub fn try_out(spec: &SocketSpec) -> Result<(), Obstacle> {
        match &spec.address {
            SocketAddress::Inet(at) => bound(spec, *at, spec.r#type == SocketType::Stream)
                .map(drop)
                .map_err(|error| of_inet(spec, *at, &error)),
            SocketAddress::Unix(path) => {
                try_owner(spec)?;
                try_directory(spec, path).map_err(|error| Obstacle::of(Part::Address, error))?;
                try_place(spec, path)
            }
        }
    }

    /// A copy for a new process. What a process before it may have done to the socket is undone if nobody else uses it:
    /// it waits in `accept` again, or does not, and takes connections again although somebody has shut it down.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn hand_over(&self, r#use: Use) -> io::Result<OwnedFd> {
        if r#use == Use::Idle {
            let flags = OFlag::from_bits_retain(fcntl(&self.fd, FcntlArg::F_GETFL)?);
            if flags.contains(OFlag::O_NONBLOCK) != self.nonblocking {
                fcntl(&self.fd, FcntlArg::F_SETFL(flags ^ OFlag::O_NONBLOCK))?;
            }
            if let Some(backlog) = self.backlog {
                // It listens already, so this can only fail for one that was broken before.
                let _ = sys::listen(self.fd.as_fd(), backlog);
            }
        }
        self.fd.try_clone()
    }
}

/// A held socket as it is left to the next svinit.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedSocket {
    fd: Kept,
    nonblocking: bool,
    backlog: Option<i32>,
    file: Option<Identity>,
}

impl HeldSocket {
    /// For the next svinit.
    #[must_use]
    pub fn save(&self, luggage: &mut Luggage) -> SavedSocket {
        let Self { fd, nonblocking, backlog, file } = self;
        let file = file.as_ref().map(|file| file.0.clone());
        SavedSocket { fd: luggage.fd(fd), nonblocking: *nonblocking, backlog: *backlog, file }
    }

    /// From the svinit before.
    #[must_use]
    pub fn restore(saved: SavedSocket, left: &mut Left) -> Option<Self> {
        let SavedSocket { fd, nonblocking, backlog, file } = saved;
        Some(Self { fd: left.fd(fd)?, nonblocking, backlog, file: file.map(SocketFile) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another one there.
        let Identity { path, id } = &self.0;
        if fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *id) {
            let _ = fs::remove_file(path);
        }
    }
}

fn doing(spec: &SocketSpec) -> String {
    format!("listen on {spec}, socket {}", spec.name)
}

fn sock_type(spec: &SocketSpec) -> SockType {
    match spec.r#type {
        SocketType::Stream => SockType::Stream,
        SocketType::Datagram => SockType::Datagram,
    }
}

fn inet(spec: &SocketSpec, at: SocketAddr, backlog: Option<i32>) -> io::Result<OwnedFd> {
    let fd = bound(spec, at, backlog.is_some())?;
    if let Some(backlog) = backlog {
        sys::listen(fd.as_fd(), backlog)?;
    }
    Ok(fd)
}

fn bound(spec: &SocketSpec, at: SocketAddr, is_for_connections: bool) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, sock_type(spec), SockFlag::SOCK_CLOEXEC, None)?;
    if at.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &spec.v6only)?;
    }
    if spec.reuse_port {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    if is_for_connections {
        // Connections of an earlier life that are being closed are in nobody's way. For messages it would let anybody
        // take the address over.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(fd)
}

fn of_inet(spec: &SocketSpec, at: SocketAddr, error: &io::Error) -> Obstacle {
    let of_address = |error| Obstacle::of(Part::Address, error);
    let (why, remedy) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRINUSE) => {
            let holder = holder::of_inet(at, spec.r#type);
            let error =
                Error::new(doing(spec), in_use(holder)).with_remedy("stop it, or take another address");
            return Obstacle { holder: Answerer::Somebody(holder), ..of_address(error) };
        }
        Some(Errno::EACCES) => match unprivileged_from().filter(|first| at.port() < *first) {
            Some(first) => (
                format!(
                    "ports below {first} take a privilege here, and svinit runs as user {}",
                    sys::geteuid()
                ),
                Some(
                    "give it CAP_NET_BIND_SERVICE, set net.ipv4.ip_unprivileged_port_start=0 for the container, \
                     or take a higher port",
                ),
            ),
            None => return of_address(plain(spec, error)),
        },
        Some(Errno::EADDRNOTAVAIL) => (
            "there is no such address here".to_owned(),
            Some("take one that the container has, or 0.0.0.0 or [::] for all of them"),
        ),
        Some(Errno::EAFNOSUPPORT) => {
            ("there is no IPv6 here".to_owned(), Some("take an IPv4 address, such as 0.0.0.0"))
        }
        _ => return of_address(plain(spec, error)),
    };
    of_address(Error { remedy, ..Error::new(doing(spec), why) })
}

/// With its own words and number: want of descriptors is no fault of the unit.
fn plain(spec: &SocketSpec, error: &io::Error) -> Error {
    let source = error
        .raw_os_error()
        .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
    Error { doing: doing(spec), source, remedy: None }
}

/// "address in use by nginx (PID 12)".
fn in_use(holder: Option<Pid>) -> String {
    match holder {
        Some(pid) if pid.0 == sys::own_pid() => "address in use by svinit itself".to_owned(),
        Some(pid) => {
            let name = procfs::read_up_to(&format!("/proc/{pid}/comm"), 64).unwrap_or_default();
            let name: String =
                String::from_utf8_lossy(&name).trim().chars().filter(|letter| !letter.is_control()).collect();
            format!("address in use by {} (PID {pid})", if name.is_empty() { "a process" } else { &name })
        }
        None => "address in use by a process that cannot be seen from here".to_owned(),
    }
}

/// The first port that needs no privilege. An unknown kernel has the ordinary bound.
fn unprivileged_from() -> Option<u16> {
    const FILE: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = procfs::read_up_to(FILE, 16).unwrap_or_else(|| b"1024".to_vec());
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

fn unix(
    spec: &SocketSpec,
    path: &Path,
    ids: Option<&Ids>,
    backlog: Option<i32>,
) -> Result<HeldSocket, Error> {
    let uid = match &spec.owner {
        Some(owner) => Some(user::user(owner)?),
        None => ids.map(|ids| ids.uid),
    };
    let gid = match &spec.group {
        Some(group) => Some(user::group(group)?),
        None => ids.map(|ids| ids.gid),
    };
    remove_stale(spec, path)?;
    let told = |error: io::Error| of_unix(spec, path, &error);
    let fd = socket(AddressFamily::Unix, sock_type(spec), SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| told(errno.into()))?;
    let address = UnixAddr::new(path).map_err(|errno| told(errno.into()))?;
    hold::with_mode(spec.mode, || bind(fd.as_raw_fd(), &address)).map_err(|errno| told(errno.into()))?;
    let (file, found) = identify(path).map_err(told)?;
    let made = HeldSocket { fd, nonblocking: spec.nonblocking, backlog, file: Some(found) };
    give(&file, uid, gid).map_err(|error| not_given(spec, uid, gid, &cause(&error)))?;
    if let Some(backlog) = backlog {
        sys::listen(made.fd.as_fd(), backlog).map_err(told)?;
    }
    Ok(made)
}

/// Whether there is somebody to whom its file is to belong, and svinit may give it.
fn try_owner(spec: &SocketSpec) -> Result<(), Obstacle> {
    let found = |part, id: Option<Result<u32, Error>>| {
        id.transpose()
            .map_err(|error| Obstacle::of(part, error.with_remedy("make it in the image, or write a number")))
    };
    let uid = found(Part::Owner, spec.owner.as_deref().map(user::user))?;
    let gid = found(Part::Group, spec.group.as_deref().map(user::group))?;
    let refused = |part| Err(Obstacle::of(part, not_given(spec, uid, gid, "operation not permitted")));
    if may_chown() {
        Ok(())
    } else if uid.is_some_and(|uid| uid != sys::geteuid()) {
        refused(Part::Owner)
    } else if gid.is_some_and(|gid| !is_in(Gid::from_raw(gid))) {
        refused(Part::Group)
    } else {
        Ok(())
    }
}

/// Whether svinit is in this group, and so may give its own files to it. What cannot be found out is taken to be so.
fn is_in(group: Gid) -> bool {
    group == getegid() || getgroups().map_or(true, |groups| groups.contains(&group))
}

/// Whether files can be given to others. What cannot be found out is taken to be allowed.
fn may_chown() -> bool {
    const CAP_CHOWN: u64 = 1 << 0;
    sys::get_capabilities().map_or(true, |own| own.effective & CAP_CHOWN != 0)
}

/// Whether a file can be made in the directory.
fn try_directory(spec: &SocketSpec, path: &Path) -> Result<(), Error> {
    let told = |error: io::Error| of_unix(spec, path, &error);
    let dir = path.parent().unwrap_or(Path::new("/"));
    if !fs::metadata(dir).map_err(told)?.is_dir() {
        return Err(told(Errno::ENOTDIR.into()));
    }
    eaccess(dir, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| told(errno.into()))
}

/// Whether nothing is in the way there.
fn try_place(spec: &SocketSpec, path: &Path) -> Result<(), Obstacle> {
    let of_address = |error| Obstacle::of(Part::Address, error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(of_address(of_unix(spec, path, &error))),
        Ok(found) if !found.file_type().is_socket() => return Err(of_address(no_socket(spec))),
        Ok(_) => {}
    }
    match hold::answerer(path).map_err(|errno| of_address(of_unix(spec, path, &errno.into())))? {
        Answerer::Nobody => Ok(()),
        holder @ Answerer::Somebody(pid) => Err(Obstacle { holder, ..of_address(taken(spec, pid)) }),
    }
}

fn not_given(spec: &SocketSpec, uid: Option<u32>, gid: Option<u32>, why: &str) -> Error {
    Error::new(doing(spec), format!("it cannot be given to {}: {why}", whom(uid, gid)))
        .with_remedy("needs CAP_CHOWN, or svinit to be that user and in that group")
}

fn whom(uid: Option<u32>, gid: Option<u32>) -> String {
    let words = [uid.map(|uid| format!("user {uid}")), gid.map(|gid| format!("group {gid}"))];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Removes a socket at which nobody answers. Anything else stays.
fn remove_stale(spec: &SocketSpec, path: &Path) -> Result<(), Error> {
    let told = |error: io::Error| of_unix(spec, path, &error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(no_socket(spec));
        }
        Ok(_) => {}
    }
    match hold::answerer(path).map_err(|errno| told(errno.into()))? {
        Answerer::Nobody => fs::remove_file(path).map_err(told),
        Answerer::Somebody(pid) => Err(taken(spec, pid)),
    }
}

fn no_socket(spec: &SocketSpec) -> Error {
    Error::new(doing(spec), "something that is no socket is there")
        .with_remedy("remove it, or take another path")
}

fn taken(spec: &SocketSpec, pid: Option<Pid>) -> Error {
    Error::new(doing(spec), in_use(pid)).with_remedy("stop it, or take another path")
}

fn of_unix(spec: &SocketSpec, path: &Path, error: &io::Error) -> Error {
    let dir = path.parent().unwrap_or(Path::new("/")).display();
    let (why, remedy) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => {
            (format!("there is no directory {dir}"), Some("make it in the image, or in a pre_start hook"))
        }
        Some(Errno::EACCES | Errno::EPERM) => (
            format!("user {} may not write to {dir}", sys::geteuid()),
            Some("let svinit's own user write to the directory"),
        ),
        Some(Errno::ENOTDIR) => (format!("{dir} is no directory"), Some("take another path")),
        Some(Errno::EROFS) => (format!("{dir} is read-only"), Some("mount a tmpfs there")),
        _ => return plain(spec, error),
    };
    Error { remedy, ..Error::new(doing(spec), why) }
}

/// The file that has just been made, held so that nobody can put another one in its place.
fn identify(path: &Path) -> io::Result<(File, SocketFile)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.nlink() != 1 || found.uid() != sys::geteuid() {
        return Err(io::Error::other("somebody has put something else in its place"));
    }
    Ok((file, SocketFile(Identity { path: path.to_owned(), id: (found.dev(), found.ino()) })))
}

fn give(file: &File, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let found = file.metadata()?;
    let uid = uid.filter(|uid| *uid != found.uid()).map(Uid::from_raw);
    let gid = gid.filter(|gid| *gid != found.gid()).map(Gid::from_raw);
    if uid.is_some() || gid.is_some() {
        fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
