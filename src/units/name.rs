//! The name of a unit: a word, or the word of its group and a number, as in `web@2`.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a unit: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit; then, of one of several
/// instances, `@` and its number.
///
/// Cheap to clone: the text is shared. Ordered as text, which is the order everything is printed in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Arc<str>);

/// Longest unit name without its number, in bytes. It must fit into a file name with a suffix, and into one column of
/// `svctl status`.
pub const NAME_MAX: usize = 64;

/// The highest number of an instance. Each is a whole unit, with its log and its control group.
pub const INSTANCES_MAX: u32 = 100;

impl UnitName {
    /// Takes `text` as a name, with or without a number, or says what is wrong with it.
    ///
    /// # Errors
    /// A sentence fragment that completes "NAME: ", when the text is empty, too long or holds another character, or
    /// its number is none of an instance.
    pub fn new(text: &str) -> Result<Self, String> {
        let Some((group, number)) = text.split_once('@') else { return Self::plain(text) };
        let group = Self::plain(group)?;
        match number.parse() {
            // As svinit writes it: no sign, no leading zeros.
            Ok(number @ 1..=INSTANCES_MAX) if group.instance(number).as_str() == text => {
                Ok(group.instance(number))
            }
            Ok(_) | Err(_) => {
                Err(format!("after \"@\" comes the number of an instance, 1 to {INSTANCES_MAX}"))
            }
        }
    }

    /// Takes `text` as a name that a file or an alias can have: one without a number.
    ///
    /// # Errors
    /// As [`UnitName::new`].
    pub fn plain(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a unit name cannot be empty".to_owned());
        }
        if text.len() > NAME_MAX {
            return Err(format!("a unit name has at most {NAME_MAX} characters"));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err("a unit name begins with a letter or a digit".to_owned());
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c)) {
            return Err(format!("a unit name has letters, digits, '.', '_' and '-' only, not {bad:?}"));
        }
        Ok(Self(text.into()))
    }

    /// The name of one of the instances of this.
    #[must_use]
    pub fn instance(&self, number: u32) -> Self {
        Self(format!("{self}@{number}").into())
    }

    /// The name without a number, and the number: by these names are in the order of people, `web@2` before `web@10`.
    #[must_use]
    pub fn parts(&self) -> (&str, u32) {
        let parts = self.0.split_once('@').and_then(|(group, number)| Some((group, number.parse().ok()?)));
        parts.unwrap_or((&self.0, 0))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for UnitName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl std::borrow::Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::UnitName;

    #[test]
    fn an_instance_has_the_name_of_its_group_and_a_number() {
        let web = UnitName::plain("web").unwrap();
        assert_eq!(web.instance(12), UnitName::new("web@12").unwrap());
        assert_eq!((web.instance(12).parts(), web.parts()), (("web", 12), ("web", 0)));
        for text in ["web@", "web@0", "web@01", "web@+1", "web@101", "web@x", "@1", "web@1@2"] {
            assert!(UnitName::new(text).is_err(), "{text}");
        }
        assert!(UnitName::plain("web@1").unwrap_err().contains("not '@'"));
    }
}
