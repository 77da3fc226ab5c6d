//! Every system call that tokio does not make for us. Decides nothing.
//!
//! Start with [`spawn`] (a process is made), [`reap`] (its end is seen), [`tree`] (what else belongs to it).
//! All `unsafe` of the program is in `sys`.

pub mod alarm;
pub mod binary;
pub mod cgroup;
pub mod clock;
pub mod crash;
pub mod credentials;
pub mod error;
pub mod exec;
pub mod files;
pub mod handover;
pub mod haste;
pub mod hold;
pub mod inherited;
pub mod limits;
pub mod notify;
pub mod oom;
pub mod outer;
pub mod own;
pub mod pidfd;
pub mod poll;
pub mod posture;
pub mod procfs;
pub mod reap;
pub mod signals;
pub mod sockets;
pub mod spawn;
pub mod stamps;
pub mod steps;
#[expect(unsafe_code, reason = "the one place for system calls that nobody wraps")]
mod sys;
pub mod tag;
pub mod terminal;
pub mod tree;
pub mod usage;
pub mod user;
pub mod zone;
