//! What units say about each other: names that exist, aliases that are one unit's only, no circle, no contradiction.

use std::collections::{BTreeMap, BTreeSet};

use crate::units::file::UnitFile;
use crate::units::graph::cycles;
use crate::units::name::UnitName;
use crate::units::source::Place;
use crate::units::spec::Instance;
use crate::units::table::{Key, Reader};
use crate::units::value::List;

/// Names that mean something else wherever a unit may be named.
pub(crate) const RESERVED_NAMES: [(&str, &str); 2] =
    [("all", "\"all\" means every unit"), ("svinit", "\"svinit\" is svinit itself")];

/// One file that was decoded, all its layers together.
pub(crate) struct Drawn {
    pub(crate) name: UnitName,
    pub(crate) instance: Option<Instance>,
    pub(crate) file: UnitFile,
    /// The last of its sources.
    pub(crate) source: usize,
    /// All of them.
    pub(crate) layers: Vec<usize>,
}

impl Drawn {
    /// As its file is called, which people know it by.
    pub(crate) fn file_name(&self) -> &UnitName {
        self.instance.as_ref().map_or(&self.name, |instance| &instance.group)
    }
}

/// The relations between units, aliases resolved, by position in the list of units.
pub(crate) struct Links {
    /// From alias to unit or group.
    pub(crate) aliases: BTreeMap<UnitName, UnitName>,
}

/// What a name means: one unit, or all instances of a group, by position in the list of units.
type Index = BTreeMap<UnitName, Vec<usize>>;

/// Checks all relations, and makes the units' lists final: own names instead of aliases and groups, each once, `before`
/// turned into the other's `after`, `conflicts` on both sides.
pub(crate) fn resolve(units: &mut [Drawn], reader: &mut Reader<'_>) -> Links {
    let mut index = Index::new();
    for (at, unit) in units.iter().enumerate() {
        index.entry(unit.file_name().clone()).or_default().push(at);
    }
    let aliases = aliases(units, &index, reader);
    let find = |name: &UnitName| {
        index.get(name).or_else(|| index.get(aliases.get(name)?)).map_or(&[][..], Vec::as_slice)
    };
    let known: Vec<&str> = index.keys().chain(aliases.keys()).map(UnitName::as_str).collect();

    let mut edges: Vec<BTreeMap<usize, (&'static str, Place, bool)>> = vec![BTreeMap::new(); units.len()];
    let mut after_more: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); units.len()];
    let mut conflicts: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); units.len()];
    let names: Vec<UnitName> = units.iter().map(|unit| unit.name.clone()).collect();
    // What one instance gets wrong all of them do; it is told once.
    let files: Vec<UnitName> = units.iter().map(|unit| unit.file_name().clone()).collect();
    let enabled: Vec<bool> = units.iter().map(|unit| unit.file.enabled.value != Some(false)).collect();
    let timed: Vec<bool> = units.iter().map(|unit| unit.file.schedule.at.is_some()).collect();
    for (at, unit) in units.iter_mut().enumerate() {
        let file = &mut unit.file;
        for (relation, key) in [
            ("requires", &mut file.requires),
            ("wants", &mut file.wants),
            ("after", &mut file.after),
            ("before", &mut file.before),
            ("part_of", &mut file.part_of),
            ("conflicts", &mut file.conflicts),
        ] {
            for (other, place) in settle(relation, key, at, &names, &files, &known, &find, reader) {
                match relation {
                    "requires" | "wants" | "after" => {
                        edges[at].entry(other).or_insert((relation, place, false));
                    }
                    "before" => {
                        edges[other].entry(at).or_insert((relation, place, true));
                        after_more[other].insert(at);
                    }
                    "conflicts" => {
                        let clash = enabled[at] && enabled[other] && !conflicts[at].contains(&other);
                        if clash {
                            let message =
                                format!("{} and {} conflict, and both are enabled", files[at], files[other]);
                            reader.error_with_help(place, message, "write enabled = false in one of them");
                        }
                        conflicts[at].insert(other);
                        conflicts[other].insert(at);
                    }
                    _ => {}
                }
                let built_on = if relation == "before" { at } else { other };
                if timed[built_on] || (relation == "conflicts" && timed[at]) {
                    let timed = if timed[built_on] { built_on } else { at };
                    let message = format!(
                        "{relation}: {} has a [schedule], so it is up only now and then, and nothing can go by that",
                        files[timed]
                    );
                    reader.error_with_help(
                        place,
                        message,
                        "take this away; a unit with [schedule] can require and want others",
                    );
                }
                if relation == "wants" && !enabled[other] && enabled[at] {
                    let message =
                        format!("{} is not enabled, so it is started only because of this", files[other]);
                    reader.warning(place, message, "use after if it should only be waited for when it runs");
                }
            }
        }
        check_both(at, file, &names, &files, &conflicts[at], reader);
    }
    report_cycles(&edges, &files, reader);
    for (at, unit) in units.iter_mut().enumerate() {
        extend(&mut unit.file.after, &after_more[at], &names);
        extend(&mut unit.file.conflicts, &conflicts[at], &names);
    }
    Links { aliases }
}

fn aliases(units: &[Drawn], index: &Index, reader: &mut Reader<'_>) -> BTreeMap<UnitName, UnitName> {
    let mut aliases: BTreeMap<UnitName, UnitName> = BTreeMap::new();
    for unit in units {
        let own = unit.file_name();
        for (alias, at) in unit.file.aliases.value.iter().flat_map(|list| &list.0) {
            if let Some((_, why)) = RESERVED_NAMES.iter().find(|(name, _)| *name == alias.as_str()) {
                reader.error(*at, format!("{alias} cannot be an alias: {why}"));
            } else if alias == own {
                reader.error(*at, format!("{alias} is its name already"));
            } else if index.contains_key(alias) {
                reader.error(*at, format!("{alias} cannot be an alias of {own}: a unit has that name"));
            } else if let Some(other) = aliases.insert(alias.clone(), own.clone())
                && other != *own
            {
                reader.error(*at, format!("{alias} cannot be an alias of {own}: it is one of {other}"));
            }
        }
    }
    aliases
}

/// Resolves one list; gives the units that it names, each once, with where.
#[expect(clippy::too_many_arguments, reason = "a list, whose it is, and all that it may name")]
fn settle<'a>(
    relation: &str,
    key: &mut Key<List<UnitName>>,
    own: usize,
    names: &[UnitName],
    files: &[UnitName],
    known: &[&str],
    find: &dyn Fn(&UnitName) -> &'a [usize],
    reader: &mut Reader<'_>,
) -> Vec<(usize, Place)> {
    let Some(list) = &mut key.value else { return Vec::new() };
    let mut found: Vec<(usize, Place)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, at) in &list.0 {
        match find(name) {
            [] => {
                let hint = reader.hint(name.as_str(), known.iter().copied());
                let message = format!("{relation}: there is no unit \"{name}\"");
                reader.note(*at, crate::units::problem::Severity::Error, message, hint);
            }
            [other, ..] if files[*other] == files[own] => {
                reader.error(*at, format!("{relation}: a unit cannot name itself"));
            }
            others => {
                found.extend(others.iter().filter(|other| seen.insert(**other)).map(|other| (*other, *at)))
            }
        }
    }
    list.0 = found.iter().map(|(other, at)| (names[*other].clone(), *at)).collect();
    found
}

/// A unit cannot need what it cannot run beside.
fn check_both(
    at: usize,
    file: &UnitFile,
    names: &[UnitName],
    files: &[UnitName],
    conflicts: &BTreeSet<usize>,
    reader: &mut Reader<'_>,
) {
    let needed = [&file.requires, &file.wants, &file.part_of];
    for (name, place) in needed.iter().flat_map(|key| key.value.iter().flat_map(|list| &list.0)) {
        // The lists have own names by now.
        if let Some(other) = conflicts.iter().find(|other| names[**other] == *name) {
            reader.error(*place, format!("{} cannot need {}: they conflict", files[at], files[*other]));
        }
    }
}

fn report_cycles(
    edges: &[BTreeMap<usize, (&'static str, Place, bool)>],
    names: &[UnitName],
    reader: &mut Reader<'_>,
) {
    let plain: Vec<Vec<usize>> = edges.iter().map(|others| others.keys().copied().collect()).collect();
    for cycle in cycles(&plain) {
        let steps: Vec<String> = cycle
            .iter()
            .enumerate()
            .map(|(step, &from)| {
                let to = cycle[(step + 1) % cycle.len()];
                match edges[from][&to] {
                    (relation, _, false) => format!("{} {relation} {}", names[from], names[to]),
                    // Written by the other side: "db before web" is what makes web wait for db.
                    (relation, _, true) => format!("{} {relation} {}", names[to], names[from]),
                }
            })
            .collect();
        let (_, place, _) = edges[cycle[0]][&cycle[1 % cycle.len()]];
        let message = format!("these units wait for each other in a circle: {}", steps.join(", "));
        reader.error_with_help(place, message, "take one of these words away");
    }
}

fn extend(key: &mut Key<List<UnitName>>, more: &BTreeSet<usize>, names: &[UnitName]) {
    let list = key.value.get_or_insert_default();
    for other in more {
        if !list.0.iter().any(|(name, _)| *name == names[*other]) {
            list.0.push((names[*other].clone(), Place::whole(usize::MAX)));
        }
    }
}
