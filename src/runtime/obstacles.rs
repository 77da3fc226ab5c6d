//! Sockets that cannot be had on this machine at this moment, told as mistakes of the files that ask for them.
//!
//! Easy to get wrong: that an address is in use is no mistake when it is in use by svinit itself or by a process that
//! makes room for it. Who knows that differs, the supervisor or somebody who asks it, so the caller says it.

use std::collections::BTreeMap;

use crate::os::error::Error;
use crate::os::sockets::{Answerer, HeldSocket, Obstacle, Part};
use crate::os::user;
use crate::units::name::UnitName;
use crate::units::problem::{Problem, Severity};
use crate::units::reading;
use crate::units::socket::{SocketAddress, SocketSpec};
use crate::units::sockets::Places;
use crate::units::source::{Place, Source};
use crate::units::spec::UnitSpec;
use crate::units::table::Note;

/// Where sockets were written, and in what.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// By unit.
    pub places: &'a BTreeMap<UnitName, Places>,
    /// The files.
    pub sources: &'a [Source],
}

/// What keeps svinit from holding the sockets in `wanted`, but for what `is_passing` says is no hindrance.
pub fn find<'a>(
    wanted: impl IntoIterator<Item = (&'a UnitSpec, &'a SocketSpec)>,
    written: Written<'_>,
    is_passing: impl Fn(&UnitSpec, &SocketSpec, &Obstacle) -> bool,
) -> Vec<Problem> {
    let (mut notes, mut unplaced) = (Vec::new(), Vec::new());
    for (spec, socket) in wanted {
        let tried = try_user(spec, socket).and_then(|()| HeldSocket::try_out(socket));
        let Some(obstacle) = tried.err().filter(|obstacle| !is_passing(spec, socket, obstacle)) else {
            continue;
        };
        let severity = if may_change(spec, socket) { Severity::Warning } else { Severity::Error };
        let message = obstacle.error.without_remedy();
        let help = obstacle.error.remedy.map(ToOwned::to_owned);
        match place(written.places, spec, socket, obstacle.part) {
            Some(at) => notes.push(Note { at, severity, message, help }),
            None => {
                unplaced.push(Problem { severity, help, ..Problem::of_file(&spec.origin, message) });
            }
        }
    }
    let mut problems = reading::told(written.sources, notes).0;
    problems.append(&mut unplaced);
    problems
}

/// A hook may make the directory, or remove what is in the way.
fn may_change(spec: &UnitSpec, socket: &SocketSpec) -> bool {
    matches!(socket.address, SocketAddress::Unix(_)) && !spec.hooks.pre_start.is_empty()
}

/// Whether there is the user to whom a unix socket belongs when it does not say so itself.
fn try_user(spec: &UnitSpec, socket: &SocketSpec) -> Result<(), Obstacle> {
    if !matches!(socket.address, SocketAddress::Unix(_)) {
        return Ok(());
    }
    let told = |part, error: Error| {
        let error = error.with_remedy("make it in the image, or write a number");
        Obstacle { part, error, holder: Answerer::Nobody }
    };
    if let (Some(name), None) = (&spec.context.user, &socket.owner) {
        user::user(name).map_err(|error| told(Part::Owner, error))?;
    }
    if let (Some(name), None) = (&spec.context.group, &socket.group) {
        user::group(name).map_err(|error| told(Part::Group, error))?;
    }
    Ok(())
}

fn place(
    places: &BTreeMap<UnitName, Places>,
    spec: &UnitSpec,
    socket: &SocketSpec,
    part: Part,
) -> Option<Place> {
    let of_unit = places.get(&spec.name)?;
    let own = of_unit.sockets.get(&socket.name)?;
    let part = match part {
        Part::Address => None,
        Part::Owner => own.owner.or(of_unit.user),
        Part::Group => own.group.or(of_unit.group),
    };
    Some(part.unwrap_or(own.address))
}
