//! What differs between two sets of units, key by key, and what each difference means for a unit that runs.
//!
//! What a key means is said in [`crate::units::file`], with the key itself. Values are shown as `svctl cat` shows them: of
//! secrets there is only the path.

use std::collections::{BTreeMap, BTreeSet};

use crate::units::file::UnitFile;
use crate::units::graph;
use crate::units::name::UnitName;
use crate::units::show;
use crate::units::spec::{UnitSet, UnitSpec};
use crate::units::table::{Change, Keys, Shape};

/// All that differs, by unit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Difference(pub BTreeMap<UnitName, UnitChange>);

/// What becomes of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitChange {
    /// It was not there.
    Added {
        /// It is to be started.
        is_enabled: bool,
    },
    /// It is not there any more.
    Removed,
    /// Some of its keys have other values, in the order of the file.
    Changed(Vec<KeyChange>),
}

/// Another value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// `stop.timeout`.
    pub key: String,
    /// As TOML; `None`: it was not set.
    pub old: Option<String>,
    /// As TOML; `None`: it is not set.
    pub new: Option<String>,
    /// When it is in force.
    pub change: Change,
}

impl UnitChange {
    /// The most that has to be done to a unit that runs.
    #[must_use]
    pub fn needs(&self) -> Change {
        match self {
            Self::Added { .. } | Self::Removed => Change::Restart,
            Self::Changed(keys) => keys.iter().map(|key| key.change).max().unwrap_or(Change::AtOnce),
        }
    }
}

impl Difference {
    /// What has to be done to `from` to make it `to`.
    #[must_use]
    pub fn between(from: &UnitSet, to: &UnitSet) -> Self {
        let names: BTreeSet<&UnitName> = from.units.keys().chain(to.units.keys()).collect();
        let of = |name: &UnitName| match (from.units.get(name), to.units.get(name)) {
            (None, Some(new)) => Some(UnitChange::Added { is_enabled: new.enabled }),
            (Some(_), None) => Some(UnitChange::Removed),
            (Some(old), Some(new)) => {
                let keys = keys(old, new);
                (!keys.is_empty()).then_some(UnitChange::Changed(keys))
            }
            (None, None) => None,
        };
        Self(names.into_iter().filter_map(|name| Some((name.clone(), of(name)?))).collect())
    }
}

/// The keys in which two definitions of a unit differ.
#[must_use]
pub fn keys(old: &UnitSpec, new: &UnitSpec) -> Vec<KeyChange> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (show::values(old), show::values(new));
    let find = |values: &[(String, String)], key: &str| {
        values.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    };
    let gone = old.iter().filter(|(key, _)| find(&new, key).is_none()).map(|(key, _)| key);
    let all = new.iter().map(|(key, _)| key).chain(gone);
    let differs = |key: &String| {
        let (old, new) = (find(&old, key), find(&new, key));
        (old != new).then(|| KeyChange { key: key.clone(), old, new, change: change_of(key) })
    };
    all.filter_map(differs).collect()
}

/// What another value of the key `stop.timeout` means.
#[must_use]
pub fn change_of(key: &str) -> Change {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let Some(info) = UnitFile::KEYS.iter().find(|info| info.name == first) else { return Change::Restart };
    match (info.change, (info.shape)()) {
        (Change::Within, Shape::Table(keys)) => {
            keys.iter().find(|info| info.name == rest).map_or(Change::Restart, |info| info.change)
        }
        (change, _) => change,
    }
}

/// `from` with only the units of these names as they are in `to`.
///
/// # Errors
/// In words, when the two do not go together like this.
pub fn only(from: &UnitSet, to: &UnitSet, names: &BTreeSet<UnitName>) -> Result<UnitSet, String> {
    let mut mixed = UnitSet { units: from.units.clone(), aliases: BTreeMap::new() };
    for name in names {
        match to.units.get(name) {
            Some(spec) => drop(mixed.units.insert(name.clone(), spec.clone())),
            None => drop(mixed.units.remove(name)),
        }
    }
    for (name, spec) in &mixed.units {
        let relations = [
            ("requires", &spec.requires),
            ("wants", &spec.wants),
            ("after", &spec.after),
            ("part_of", &spec.part_of),
            ("conflicts", &spec.conflicts),
        ];
        for (relation, others) in relations {
            if let Some(missing) = others.iter().find(|other| !mixed.units.contains_key(*other)) {
                return Err(format!(
                    "{name} names {missing} in {relation}, which would not be there: update {missing} as well"
                ));
            }
        }
        for alias in &spec.aliases {
            let own = spec.file_name();
            let other = mixed.aliases.insert(alias.clone(), own.clone()).filter(|other| other != own);
            if let Some(other) = other.or_else(|| mixed.units.get(alias).map(|unit| unit.name.clone())) {
                return Err(format!("{alias} would mean both {name} and {other}: update both"));
            }
        }
    }
    if let Some(circle) = circle(&mixed) {
        return Err(format!("{circle} would wait for each other in a circle: update them together"));
    }
    for spec in mixed.units.values() {
        for socket in &spec.sockets {
            let holder = mixed.units.values().find(|other| {
                let is_shared = spec.group().is_some() && spec.group() == other.group();
                other.name > spec.name
                    && !is_shared
                    && other
                        .sockets
                        .iter()
                        .any(|held| held.clashes(socket) && !(held.reuse_port && socket.reuse_port))
            });
            if let Some(holder) = holder {
                let (one, two) = (&spec.name, &holder.name);
                return Err(format!("{one} and {two} would both hold {}: update both", socket.address));
            }
        }
    }
    Ok(mixed)
}

fn circle(set: &UnitSet) -> Option<String> {
    let names: Vec<&UnitName> = set.units.keys().collect();
    let place = |name: &UnitName| names.binary_search(&name).ok();
    let edges: Vec<Vec<usize>> = set
        .units
        .values()
        .map(|spec| spec.requires.iter().chain(&spec.wants).chain(&spec.after).filter_map(place).collect())
        .collect();
    let circle = graph::cycles(&edges).into_iter().next()?;
    Some(circle.into_iter().map(|at| names[at].to_string()).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
