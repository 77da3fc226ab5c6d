//! Listening sockets that this process was given by whoever started it, by the convention of `sd_listen_fds(3)`:
//! `LISTEN_FDS` of them from descriptor 3 on, meant for the process `LISTEN_PID` only.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::sockopt::AcceptConn;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt};

use crate::os::sys;

/// The first of them.
const FIRST: RawFd = 3;

/// More are not looked at.
const MOST: RawFd = 256;

/// TCP sockets that listen, in their order. Others stay as they are. To be called once, before anything is opened.
///
/// `variable` gives the environment.
#[must_use]
pub fn listeners(variable: impl Fn(&str) -> Option<String>) -> Vec<TcpListener> {
    let number = |name: &str| variable(name)?.parse::<RawFd>().ok();
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or_default().clamp(0, MOST);
    (FIRST..FIRST + count).filter_map(listener).collect()
}

fn listener(fd: RawFd) -> Option<TcpListener> {
    let socket = sys::adopt(fd)?;
    let is_tcp = getsockname::<SockaddrStorage>(socket.as_raw_fd())
        .is_ok_and(|at| matches!(at.family(), Some(AddressFamily::Inet | AddressFamily::Inet6)));
    if !is_tcp || getsockopt(&socket, AcceptConn) != Ok(true) {
        // It is not for us to close.
        std::mem::forget(socket);
        return None;
    }
    // Not for programs that are started from here.
    let _ = fcntl(socket.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    Some(socket.into())
}
