//! Several units from one file: how many, and what several cannot have in common.
//!
//! From here on each is a unit like any other, with a number. Easy to get wrong: what they share is seen only when two of
//! them are laid side by side, each with its own number filled in, and both from the same text.

use std::collections::BTreeMap;
use std::sync::Arc;

use self::listening::Listening;
use crate::units::file::{KindWord, UnitFile};
use crate::units::links::Drawn;
use crate::units::name::{INSTANCES_MAX, UnitName};
use crate::units::overlay::View;
use crate::units::problem::quoted;
use crate::units::sockets;
use crate::units::source::{Place, Source};
use crate::units::spec::{HostPort, HttpUrl, Instance, Stdin, UnitSet, UnitSpec};
use crate::units::table::{Field, Key, Keys, Reader};
use crate::units::value::{AbsolutePath, Choice, Int};

mod listening;

/// The units that a file makes: itself, if it says nothing of instances, or so many as it, or `scale`, says. One that is
/// kept for a single instance makes that.
pub(crate) fn of(
    name: &UnitName,
    only: Option<&UnitName>,
    view: &View<'_>,
    scale: &dyn Fn(&UnitName, u32) -> u32,
    counts: &mut BTreeMap<UnitName, u32>,
) -> Vec<Option<Instance>> {
    let only = only
        .map(UnitName::parts)
        .and_then(|(group, number)| Some(Instance { group: UnitName::plain(group).ok()?, number }));
    if view.found("instances").items.is_empty() {
        return vec![only];
    }
    // What is wrong with it is noted when the whole is read.
    let mut aside = Reader::new(&[], &|_| None, UnitFile::KEYS);
    let written = Key::<Int<1, { INSTANCES_MAX as i64 }>>::read(view, "instances", &mut aside);
    let written = written.value.map_or(1, Int::to);
    if let Some(only) = only {
        counts.insert(only.group.clone(), written);
        return vec![Some(only)];
    }
    counts.insert(name.clone(), written);
    let count = scale(name, written).clamp(1, INSTANCES_MAX);
    (1..=count).map(|number| Some(Instance { group: name.clone(), number })).collect()
}

/// Notes what instances cannot be, and what two of them cannot both have.
pub(crate) fn check(units: &[Drawn], sources: &[Source], reader: &mut Reader<'_>) {
    for (at, unit) in units.iter().enumerate().filter(|(_, unit)| unit.instance.is_some()) {
        check_kind(&unit.file, reader);
        let texts = |unit: &Drawn| unit.layers.iter().map(|at| &sources[*at].text).collect::<Vec<_>>();
        let is_beside = |other: &&Drawn| other.file_name() == unit.file_name() && texts(other) == texts(unit);
        if let Some(other) = units[..at].iter().find(is_beside) {
            check_pair(unit, other, reader);
        }
    }
}

fn check_kind(file: &UnitFile, reader: &mut Reader<'_>) {
    let Some(at) = file.instances.at else { return };
    if file.r#type.value == Some(Choice(KindWord::Oneshot)) {
        let help = "take instances away, or write type = \"simple\" for a service";
        reader.error_with_help(at, "a oneshot is done once: there cannot be several instances of it", help);
    }
    if file.stdin.value == Some(Choice(Stdin::Tty)) {
        reader.error(at, "several cannot have the terminal: instances and stdin = \"tty\" cannot both be");
    }
}

/// `one` and `other` differ in nothing but their number.
fn check_pair(one: &Drawn, other: &Drawn, reader: &mut Reader<'_>) {
    // Who is told of the check is told enough.
    if !check_asked(one, other, reader) {
        check_listening(one, other, reader);
    }
    check_files(one, other, reader);
}

/// Where both are asked whether they are up and well. Says whether that is an address that only one of them can have.
fn check_asked(one: &Drawn, other: &Drawn, reader: &mut Reader<'_>) -> bool {
    let mut is_fixed = false;
    let (ready, others) = (&one.file.ready.keys, &other.file.ready.keys);
    let url = |to: &HttpUrl| sockets::is_shared_at(one, &to.at);
    let address = |to: &HostPort| sockets::is_shared_at(one, to);
    let path = |to: &AbsolutePath| sockets::is_shared_path(one, &to.0);
    for (at, is_shared) in [
        same(&ready.http, &others.http, url),
        same(&ready.tcp, &others.tcp, address),
        same(&ready.unix, &others.unix, path),
    ]
    .into_iter()
    .flatten()
    {
        if is_shared {
            let message = "all instances share this address, and any of them may answer: \
                           that says nothing about this one in [ready]";
            let help =
                "use notify, log, fd or delay, or an exec that can tell them apart by $SVINIT_INSTANCE";
            reader.error_with_help(at, message, help);
        } else {
            fixed(at, reader);
            is_fixed = true;
        }
    }
    let (health, others) = (&one.file.health.keys, &other.file.health.keys);
    for (at, is_shared) in [
        same(&health.http, &others.http, url),
        same(&health.tcp, &others.tcp, address),
        same(&health.unix, &others.unix, path),
    ]
    .into_iter()
    .flatten()
    {
        if is_shared {
            let message = "all instances share this address: whichever of them answers speaks for all";
            let help = "give each an address of its own with ${SVINIT_INSTANCE}, or use exec";
            reader.warning(at, message, help);
        } else {
            fixed(at, reader);
            is_fixed = true;
        }
    }
    is_fixed
}

/// Where both seem to listen, which one of them only can.
fn check_listening(one: &Drawn, other: &Drawn, reader: &mut Reader<'_>) {
    let command = |unit: &Drawn| {
        let file = &unit.file;
        let by_words = file.command.value.as_ref().and_then(|argv| listening::of_command(&argv.0));
        by_words.or_else(|| file.shell.value.as_deref().and_then(listening::of_line))
    };
    let at = one.file.command.at.or(one.file.shell.at);
    let mut found: Vec<_> =
        command(one).filter(|found| command(other).as_ref() == Some(found)).zip(at).into_iter().collect();
    let others = listening::of_variables(&other.file.environment.0);
    let variables = listening::of_variables(&one.file.environment.0).into_iter();
    found.extend(variables.filter(|found| others.contains(found)));
    for (Listening { text, port }, at) in found {
        if !sockets::has_port(one, port) {
            let message =
                format!("all instances seem to listen at {}, which one of them only can", quoted(&text));
            let help = "hold it in [sockets], which they share, write the port with ${SVINIT_INSTANCE}, \
                        as in 800${SVINIT_INSTANCE}, or have the program share it (--reuse-port)";
            reader.warning(at, message, help);
        }
    }
}

/// Files that would be those of both.
fn check_files(one: &Drawn, other: &Drawn, reader: &mut Reader<'_>) {
    let files = [
        (
            same(&one.file.ready.keys.file, &other.file.ready.keys.file, |_| false),
            "the sign of one would be taken for that of all",
        ),
        (same(&one.file.pid_file, &other.file.pid_file, |_| false), "it can name one of them only"),
        (
            same(&one.file.log.keys.file, &other.file.log.keys.file, |_| false),
            "each rotates it under the other",
        ),
    ];
    for (at, why) in files.into_iter().filter_map(|(found, why)| Some((found?.0, why))) {
        let message = format!("all instances would have this file: {why}");
        reader.error_with_help(at, message, "write ${SVINIT_INSTANCE} into its name");
    }
}

/// Where both say the same, and whether that is an address which svinit holds for all of them.
fn same<T: PartialEq>(one: &Key<T>, other: &Key<T>, is_shared: impl Fn(&T) -> bool) -> Option<(Place, bool)> {
    let (value, at) = (one.value.as_ref()?, one.at?);
    (other.value.as_ref() == Some(value)).then(|| (at, is_shared(value)))
}

fn fixed(at: Place, reader: &mut Reader<'_>) {
    let message = "all instances would listen at this one address, and svinit does not hold it for them";
    let help = "write the port with ${SVINIT_INSTANCE}, as in 800${SVINIT_INSTANCE}, or hold the address in [sockets]";
    reader.error_with_help(at, message, help);
}

/// `set` with the instances `specs` of `group` and no others. What is said of the group is said of all of them.
#[must_use]
pub fn scaled(set: &UnitSet, group: &UnitName, specs: &[Arc<UnitSpec>]) -> UnitSet {
    let names: Vec<UnitName> = specs.iter().map(|spec| spec.name.clone()).collect();
    let is_of_group = |name: &UnitName| name.parts().1 > 0 && name.parts().0 == group.as_str();
    let renamed = |list: &Vec<UnitName>| {
        let Some(at) = list.iter().position(is_of_group) else { return list.clone() };
        let mut list = list.clone();
        list.retain(|name| !is_of_group(name));
        list.splice(at.min(list.len())..at.min(list.len()), names.iter().cloned());
        list
    };
    let mut units = BTreeMap::new();
    for (name, spec) in set.units.iter().filter(|(name, _)| !is_of_group(name)) {
        let new = UnitSpec {
            requires: renamed(&spec.requires),
            wants: renamed(&spec.wants),
            after: renamed(&spec.after),
            part_of: renamed(&spec.part_of),
            conflicts: renamed(&spec.conflicts),
            ..UnitSpec::clone(spec)
        };
        let is_same = new == **spec;
        units.insert(name.clone(), if is_same { spec.clone() } else { Arc::new(new) });
    }
    units.extend(specs.iter().map(|spec| (spec.name.clone(), spec.clone())));
    UnitSet { units, aliases: set.aliases.clone() }
}

#[cfg(test)]
mod tests;
