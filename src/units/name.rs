//! The name of a unit.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a unit: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
///
/// Cheap to clone: the text is shared. Ordered as text, which is the order everything is printed in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Arc<str>);

/// Longest unit name, in bytes. It must fit into a file name with a suffix, and into one column of `svctl status`.
pub const NAME_MAX: usize = 64;

impl UnitName {
    /// Takes `text` as a name, or says what is wrong with it.
    ///
    /// # Errors
    /// A sentence fragment that completes "NAME: ", when the text is empty, too long or holds another character.
    pub fn new(text: &str) -> Result<Self, String> {
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
