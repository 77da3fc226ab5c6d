//! Who may use the control socket.
//!
//! The kernel says who connected: user, primary group and PID, as they were at that moment. A PID of 0 means that the
//! peer's PID namespace is another one: then "user 0" is the root of some other container that shares a volume with
//! us, which is why such peers are refused unless the configuration trusts them.
//!
//! Members of `socket_group` are told by the socket's mode: it is 0660 and belongs to that group, so the kernel lets
//! nobody else connect. Credentials show the primary group only, and most people are in such a group by a supplementary
//! one: checking again here would turn away exactly those for whom the group was made.

use std::net::SocketAddr;

/// What a peer may do. Ordered: who may operate may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look.
    Read,
    /// Start, stop, shut down.
    Operate,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// svinit's own user.
    pub own_uid: u32,
    /// What those may do whom the socket's group lets in. `None` when the socket was not given to a group: its mode is
    /// 0600 and whoever else gets here got around it.
    pub group: Option<Access>,
    /// Trust peers of other PID namespaces.
    pub allow_other_namespaces: bool,
}

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` or 0: in another PID namespace.
    pub pid: Option<i32>,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// Who makes a request, in whatever way it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Over the socket.
    Local(Peer),
    /// Over TCP, from there.
    Remote(SocketAddr),
}

impl Who {
    /// As in a log line.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Local(peer) => peer.words(),
            Self::Remote(address) => format!("the holder of the token at {}", address.ip()),
        }
    }
}

impl Peer {
    /// As in a log line.
    #[must_use]
    pub fn words(&self) -> String {
        match self.pid {
            Some(pid) if pid > 0 => format!("uid {}, pid {pid}", self.uid),
            _ => format!("uid {} of another PID namespace", self.uid),
        }
    }
}

impl Policy {
    /// What `peer` may do.
    ///
    /// # Errors
    /// In words, when it may do nothing.
    pub fn admit(&self, peer: &Peer) -> Result<Access, String> {
        if peer.pid.is_none_or(|pid| pid <= 0) && !self.allow_other_namespaces {
            return Err("you are in another PID namespace, so that nobody knows who you are \
                        (`allow_other_namespaces = true` in svinit.toml lets you in)"
                .to_owned());
        }
        if self.is_owner(peer) {
            return Ok(Access::Operate);
        }
        self.group.ok_or_else(|| {
            format!(
                "user {} may not use this socket: it is for root and user {} (`socket_group` in svinit.toml opens it to a group)",
                peer.uid, self.own_uid
            )
        })
    }

    /// Root, or svinit's own user: not counted among the connections of a user.
    #[must_use]
    pub fn is_owner(&self, peer: &Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Peer, Policy};

    const OWN: Policy = Policy { own_uid: 1000, group: None, allow_other_namespaces: false };

    fn peer(uid: u32) -> Peer {
        Peer { pid: Some(42), uid, gid: uid }
    }

    #[test]
    fn root_and_the_own_user_may_operate() {
        assert_eq!(OWN.admit(&peer(0)), Ok(Access::Operate));
        assert_eq!(OWN.admit(&peer(1000)), Ok(Access::Operate));
    }

    #[test]
    fn others_may_do_nothing_unless_the_socket_has_a_group() {
        assert!(OWN.admit(&peer(65534)).unwrap_err().contains("socket_group"));
        let open = Policy { group: Some(Access::Operate), ..OWN };
        assert_eq!(open.admit(&peer(65534)), Ok(Access::Operate));
    }

    #[test]
    fn root_of_another_pid_namespace_is_nobody() {
        for pid in [None, Some(0), Some(-1)] {
            let stranger = Peer { pid, ..peer(0) };
            assert!(OWN.admit(&stranger).unwrap_err().contains("PID namespace"));
            let trusting = Policy { allow_other_namespaces: true, ..OWN };
            assert_eq!(trusting.admit(&stranger), Ok(Access::Operate));
            let open = Policy { group: Some(Access::Operate), ..OWN };
            assert!(open.admit(&stranger).is_err(), "a group does not make namespaces trusted");
        }
    }
}
