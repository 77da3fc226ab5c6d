//! `pm2`, `systemctl` and `supervisorctl`: the usual verbs of those tools, carried out as `svctl` would.
//!
//! A script, a playbook or a habit goes on working: the words that are read and the words and exit statuses that come
//! back are those of the tool. What a tool can do and svinit cannot is refused with status 2 and the way it is done here;
//! nothing is ever pretended. `SVCTL_SHIM_TRACE=1` prints each translation. `docs/shims.md` has the tables.

use std::ffi::OsString;

use crate::cli::exit::Exit;
use crate::cli::svctl::session::Session;

mod asking;
mod flags;
mod pm2;
mod supervisorctl;
mod systemctl;
mod told;

/// The tools that are stood in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// Of Node.
    Pm2,
    /// Of systemd.
    Systemctl,
    /// Of supervisord.
    Supervisorctl,
}

/// Each by the name that it is called by.
pub const SHIMS: &[(&str, Shim)] =
    &[("pm2", Shim::Pm2), ("systemctl", Shim::Systemctl), ("supervisorctl", Shim::Supervisorctl)];

/// The shim that goes by `name`.
#[must_use]
pub fn named(name: &str) -> Option<Shim> {
    SHIMS.iter().find(|(known, _)| *known == name).map(|(_, shim)| *shim)
}

/// Does what `args` (with the program's name first) ask for, in the words of the tool.
#[must_use]
pub fn main(shim: Shim, args: Vec<OsString>) -> Exit {
    let mut session = Session::real();
    let words: Vec<String> =
        args.into_iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let exit = match shim {
        Shim::Pm2 => pm2::answer(&mut session, words),
        Shim::Systemctl => systemctl::answer(&mut session, words),
        Shim::Supervisorctl => supervisorctl::answer(&mut session, words),
    };
    session.finish(exit)
}
