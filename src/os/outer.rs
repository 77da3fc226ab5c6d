//! The supervisor outside of svinit, if there is one: podman, systemd or another svinit that wants to be notified.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::os::error::{Doing, Error};

/// A socket to it. What it does not take at once it does not hear: nobody here waits for it.
#[derive(Debug)]
pub struct Outer(UnixDatagram);

impl Outer {
    /// Connects to what `NOTIFY_SOCKET` says: a path, or a name in the abstract namespace with `@` before it.
    ///
    /// # Errors
    /// It is neither, or nobody listens there.
    pub fn connect(place: &OsStr) -> Result<Self, Error> {
        let doing = || format!("notify NOTIFY_SOCKET {}", place.display());
        let address = match place.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(place),
            _ => return Err(Error::new(doing(), "it is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound().doing(doing)?;
        socket.set_nonblocking(true).doing(doing)?;
        address.and_then(|address| socket.connect_addr(&address)).doing(doing)?;
        Ok(Self(socket))
    }

    /// Says `text`, lines of `NAME=value`.
    pub fn say(&self, text: &str) {
        let _ = self.0.send(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_spoken_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        Outer::connect(path.as_os_str()).unwrap().say("READY=1");
        assert_eq!(heard(&listener), b"READY=1");
        let name = format!("svinit-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        Outer::connect(OsStr::new(&format!("@{name}"))).unwrap().say("STOPPING=1");
        assert_eq!(heard(&listener), b"STOPPING=1");
    }

    #[test]
    fn what_cannot_be_spoken_to_is_an_error_with_its_name() {
        let error = |place: &str| Outer::connect(OsStr::new(place)).unwrap_err().to_string();
        assert!(error("/nowhere/at/all").contains("/nowhere/at/all"));
        assert!(error("vsock:2:1").contains("neither a path nor"));
    }

    #[test]
    fn nobody_waits_for_one_that_does_not_listen_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let outer = Outer::connect(path.as_os_str()).unwrap();
        for _ in 0..10_000 {
            outer.say("STATUS=nobody reads this");
        }
        drop(listener);
        outer.say("STOPPING=1");
    }
}
