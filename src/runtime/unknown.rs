//! What a later svinit has written down of itself and of its units that this one does not know: passed on as it is.
//!
//! Found as the difference between what was read and what it was understood as, so no type of the state has to know of it.
//! It goes with what it was said of: with a member of that name for as long as there is one, with an entry of a list for as
//! long as that is as it was. Descriptors that it names stay open.

use std::collections::BTreeMap;
use std::os::fd::{OwnedFd, RawFd};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::os::handover::{Kept, Left, Luggage};

/// Members of an object that are not known, and those further in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unknown {
    members: Map<String, Value>,
    inside: BTreeMap<String, Unknown>,
    /// Of a list: an entry as it was understood, and what is not known of it.
    entries: Vec<(Value, Unknown)>,
}

impl Unknown {
    /// What is in `read` and not in `known`, which is what it was understood as.
    #[must_use]
    pub fn between(read: Value, known: &Value) -> Self {
        let mut unknown = Self::default();
        match (read, known) {
            (Value::Object(read), Value::Object(known)) => {
                for (name, value) in read {
                    match known.get(&name) {
                        Some(known) => unknown.put_inside(name, Self::between(value, known)),
                        // The same as none.
                        None if value.is_null() => {}
                        None => drop(unknown.members.insert(name, value)),
                    }
                }
            }
            (Value::Array(read), Value::Array(known)) => {
                let pairs = read.into_iter().zip(known);
                let entries = pairs.map(|(read, known)| (known.clone(), Self::between(read, known)));
                unknown.entries = entries.filter(|(_, unknown)| !unknown.is_empty()).collect();
            }
            _ => {}
        }
        unknown
    }

    fn put_inside(&mut self, name: String, unknown: Self) {
        if !unknown.is_empty() {
            self.inside.insert(name, unknown);
        }
    }

    /// Everything is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.inside.values().all(Self::is_empty)
            && self.entries.iter().all(|(_, unknown)| unknown.is_empty())
    }

    /// Puts it back into what is written now. What has no place any more is forgotten.
    pub fn fill(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                self.inside.retain(|name, unknown| {
                    object.get_mut(name).map(|value| unknown.fill(value)).is_some() && !unknown.is_empty()
                });
                for (name, member) in &self.members {
                    object.entry(name).or_insert_with(|| member.clone());
                }
                self.entries.clear();
            }
            Value::Array(list) => {
                let mut free: Vec<&mut Value> = list.iter_mut().collect();
                self.entries.retain_mut(|(known, unknown)| {
                    let Some(at) = free.iter().position(|entry| **entry == *known) else { return false };
                    unknown.fill(free.swap_remove(at));
                    true
                });
                (self.members, self.inside) = (Map::new(), BTreeMap::new());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => *self = Self::default(),
        }
    }

    /// `value` in JSON, with what is not known of the member at `path`.
    pub(super) fn words(&mut self, path: &[&str], value: &impl Serialize) -> String {
        let Some(unknown) = self.at_mut(path) else {
            return serde_json::to_string(value).unwrap_or_default();
        };
        let mut value = serde_json::to_value(value).unwrap_or_default();
        unknown.fill(&mut value);
        value.to_string()
    }

    /// The unknown members of the object at `path` itself, to be written behind its others: `,"name":value`.
    pub(super) fn members_behind(&self, path: &[&str]) -> String {
        let members = self.at(path).into_iter().flat_map(|unknown| &unknown.members);
        members.map(|(name, value)| format!(",{}:{value}", Value::from(name.as_str()))).collect()
    }

    /// There is no member at `path` any more.
    pub(super) fn forget(&mut self, path: &[&str]) {
        if let Some((name, before)) = path.split_last()
            && let Some(unknown) = self.at_mut(before)
        {
            unknown.inside.remove(*name);
        }
    }

    fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |unknown, name| unknown.inside.get(*name))
    }

    fn at_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |unknown, name| unknown.inside.get_mut(*name))
    }

    /// All numbers in it that can be descriptors.
    fn numbers(&self, into: &mut Vec<RawFd>) {
        fn of(value: &Value, into: &mut Vec<RawFd>) {
            match value {
                Value::Number(number) => {
                    into.extend(number.as_i64().and_then(|number| RawFd::try_from(number).ok()));
                }
                Value::Array(list) => list.iter().for_each(|value| of(value, into)),
                Value::Object(object) => object.values().for_each(|value| of(value, into)),
                Value::Null | Value::Bool(_) | Value::String(_) => {}
            }
        }
        self.members.values().for_each(|value| of(value, into));
        let inside = self.inside.values().chain(self.entries.iter().map(|(_, unknown)| unknown));
        inside.for_each(|unknown| unknown.numbers(into));
    }
}

/// Descriptors that only a later svinit knows the use of. They keep their numbers, by which they are named.
#[derive(Debug, Default)]
pub(super) struct Unclaimed(Vec<OwnedFd>);

impl Unclaimed {
    /// Those that `unknown` can mean, of what is left when everybody has taken his own.
    pub(super) fn of(unknown: &Unknown, left: &mut Left) -> Self {
        let mut numbers = Vec::new();
        unknown.numbers(&mut numbers);
        Self(numbers.into_iter().filter_map(|number| left.fd(Kept::of_number(number))).collect())
    }

    /// They go along, unless what named them is forgotten.
    pub(super) fn pack(&mut self, unknown: &Unknown, luggage: &mut Luggage) {
        if unknown.is_empty() {
            self.0.clear();
        }
        for fd in &self.0 {
            luggage.fd(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unknown() -> Unknown {
        let read = json!({
            "later": { "kept": [7] },
            "units": { "web": { "state": { "Ready": { "run": 1, "mood": "good" } }, "colour": 3 }, "api": {} },
            "runs": [{ "run": 1, "speed": 9 }, { "run": 2 }],
            "nothing": null,
        });
        let known = json!({
            "units": { "web": { "state": { "Ready": { "run": 1 } } }, "api": {} },
            "runs": [{ "run": 1 }, { "run": 2 }],
            "counts": 0,
        });
        Unknown::between(read, &known)
    }

    #[test]
    fn what_is_known_leaves_nothing() {
        let value = json!({ "a": [1, { "b": null }], "c": "d" });
        assert!(Unknown::between(value.clone(), &value).is_empty());
        assert!(Unknown::between(json!({ "gone": null }), &json!({})).is_empty());
    }

    #[test]
    fn it_is_put_back_where_it_was() {
        let mut now = json!({
            "units": { "web": { "state": { "Ready": { "run": 4 } } }, "new": {} },
            "runs": [{ "run": 3 }, { "run": 1 }],
        });
        unknown().fill(&mut now);
        let wanted = json!({
            "units": { "web": { "state": { "Ready": { "run": 4, "mood": "good" } }, "colour": 3 }, "new": {} },
            "runs": [{ "run": 3 }, { "run": 1, "speed": 9 }],
            "later": { "kept": [7] },
        });
        assert_eq!(now, wanted);
    }

    #[test]
    fn it_is_forgotten_with_what_it_was_said_of() {
        let mut unknown = unknown();
        let stopped = json!({ "units": { "web": { "state": "Stopped" } }, "runs": [{ "run": 2 }] });
        unknown.fill(&mut stopped.clone());
        let mut again = json!({
            "units": { "web": { "state": { "Ready": { "run": 5 } } } },
            "runs": [{ "run": 1 }],
        });
        unknown.fill(&mut again);
        let wanted = json!({
            "units": { "web": { "state": { "Ready": { "run": 5 } }, "colour": 3 } },
            "runs": [{ "run": 1 }],
            "later": { "kept": [7] },
        });
        assert_eq!(again, wanted);
    }

    #[test]
    fn what_this_svinit_says_itself_counts() {
        let mut now = json!({ "later": 1 });
        unknown().fill(&mut now);
        assert_eq!(now, json!({ "later": 1 }));
    }

    #[test]
    fn sections_are_written_one_by_one() {
        let mut unknown = unknown();
        assert_eq!(unknown.words(&["units", "api"], &json!({ "a": 1 })), r#"{"a":1}"#);
        assert_eq!(unknown.words(&["units", "web"], &json!({ "a": 1 })), r#"{"a":1,"colour":3}"#);
        assert_eq!(unknown.members_behind(&[]), r#","later":{"kept":[7]}"#);
        assert_eq!(unknown.members_behind(&["units", "api"]), "");
        unknown.forget(&["units", "web"]);
        assert_eq!(unknown.words(&["units", "web"], &json!({ "a": 1 })), r#"{"a":1}"#);
    }

    #[test]
    fn descriptors_that_it_names_stay_open_under_their_numbers() {
        use std::os::fd::{AsRawFd, IntoRawFd};
        let (named, other) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let numbers = [named.0.as_raw_fd(), named.1.as_raw_fd(), other.0.as_raw_fd()];
        let read = json!({ "later": { "pipe": numbers[0], "others": [{ "end": numbers[1] }] } });
        let mut unknown = Unknown::between(read, &json!({}));
        let _ = (named.0.into_raw_fd(), named.1.into_raw_fd(), other.0.into_raw_fd());
        let mut left = Left::of(numbers.map(Kept::of_number));
        let mut unclaimed = Unclaimed::of(&unknown, &mut left);
        drop(left);
        let is_open = |number: RawFd| std::path::Path::new(&format!("/proc/self/fd/{number}")).exists();
        let mut luggage = Luggage::default();
        unclaimed.pack(&unknown, &mut luggage);
        let mut kept: Vec<RawFd> = luggage.fds().into_iter().map(Kept::number).collect();
        kept.sort_unstable();
        assert_eq!(kept, numbers[..2]);
        assert!(is_open(numbers[0]) && is_open(numbers[1]));
        unknown = Unknown::default();
        unclaimed.pack(&unknown, &mut Luggage::default());
        assert!(unclaimed.0.is_empty(), "nobody can name them any more");
    }
}
