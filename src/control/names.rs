//! From what a person typed to units: a name, an alias, a group, a glob (`*`, `?`), or `all`.

use std::collections::BTreeSet;

use crate::control::refusal::Refused;
use crate::units::name::{NAME_MAX, UnitName};
use crate::units::spec::{UnitSet, UnitSpec};
use crate::units::suggest;

/// Names in one request. With the bound on globs, what one request can cost.
const NAMES_MAX: usize = 1000;

/// Globs in one request: each is held against every unit.
const GLOBS_MAX: usize = 16;

/// The units that `asked` names, each once, by name. Never none.
pub(crate) fn resolve<'a>(
    set: &UnitSet,
    asked: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<UnitName>, Refused> {
    let mut found = BTreeSet::new();
    let (mut names, mut globs) = (0, 0);
    for word in asked {
        names += 1;
        globs += usize::from(is_glob(word));
        if names > NAMES_MAX || globs > GLOBS_MAX {
            return Err(Refused::bad_request(format!(
                "a request names at most {NAMES_MAX} units, {GLOBS_MAX} of them by globs"
            )));
        }
        add(set, word, &mut found)?;
    }
    if names == 0 {
        return Err(Refused::bad_request("name a unit, or \"all\""));
    }
    let mut found: Vec<UnitName> = found.into_iter().collect();
    found.sort_by(|one, other| one.parts().cmp(&other.parts()));
    Ok(found)
}

/// One unit: a name or an alias, no glob and no group.
pub(crate) fn one(set: &UnitSet, name: &str) -> Result<UnitName, Refused> {
    match &all_of(set, name)?[..] {
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(UnitName::as_str).collect();
            Err(Refused::bad_request(format!("{name} is several units: name one of {}", names.join(", "))))
        }
    }
}

/// One unit, or the instances of a group: a name or an alias, no glob. Never none.
pub(crate) fn all_of(set: &UnitSet, name: &str) -> Result<Vec<UnitName>, Refused> {
    let named: Vec<UnitName> = set.named(name).into_iter().map(|spec| spec.name.clone()).collect();
    if named.is_empty() { Err(unknown(set, name)) } else { Ok(named) }
}

/// The units of `?units=a,b`; `None` is all of them, now and later.
pub(crate) fn of_query(set: &UnitSet, units: Option<&str>) -> Result<Option<Vec<UnitName>>, Refused> {
    let Some(units) = units else { return Ok(None) };
    let words: Vec<&str> = units.split(',').filter(|word| !word.is_empty()).collect();
    if words.contains(&"all") {
        return Ok(None);
    }
    resolve(set, words).map(Some)
}

fn add(set: &UnitSet, word: &str, found: &mut BTreeSet<UnitName>) -> Result<(), Refused> {
    if word == "all" {
        if set.units.is_empty() {
            return Err(Refused::no_such_unit(word, Vec::new()));
        }
        found.extend(set.units.keys().cloned());
        return Ok(());
    }
    if !is_glob(word) {
        found.extend(all_of(set, word)?);
        return Ok(());
    }
    let before = found.len();
    let known = found.clone();
    let matching = |name: &UnitName| word.len() <= NAME_MAX && matches(word, name.as_str());
    let is_meant = |spec: &UnitSpec| matching(&spec.name) || spec.group().is_some_and(matching);
    found.extend(set.units.values().filter(|spec| is_meant(spec)).map(|spec| spec.name.clone()));
    let own = set.aliases.iter().filter(|(alias, _)| matching(alias)).map(|(_, own)| own);
    found.extend(own.flat_map(|own| set.named(own.as_str())).map(|spec| spec.name.clone()));
    if found.len() == before && !known.iter().any(matching) {
        return Err(Refused::no_such_unit(word, Vec::new()));
    }
    Ok(())
}

fn is_glob(word: &str) -> bool {
    word.contains(['*', '?'])
}

fn unknown(set: &UnitSet, name: &str) -> Refused {
    let groups = set.units.values().filter_map(|spec| spec.group());
    let all = set.units.keys().chain(set.aliases.keys()).chain(groups).map(UnitName::as_str);
    Refused::no_such_unit(name, suggest::near(name, all))
}

/// Whether `name` is of the form `glob`. Goes back to the last `*` only, which is enough, so that the time is bounded
/// by the product of the lengths.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                g += 1;
                n += 1;
            }
            Some(_) | None => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                g = at + 1;
                n = from + 1;
            }
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_match_as_in_a_shell() {
        for (glob, name) in
            [("*", "web"), ("web*", "web"), ("w?b", "web"), ("*a*b", "xaxbxb"), ("web*", "web-2")]
        {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("web?", "web"), ("*x", "web"), ("w*c", "web"), ("", "web"), ("?", "")] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
    }

    #[test]
    fn a_glob_of_many_stars_is_no_work() {
        assert!(!matches(&"*a".repeat(32), &"b".repeat(64)));
    }
}
