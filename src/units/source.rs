//! The texts that are read, and places in them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::name::UnitName;

/// One file, already read by whoever may read files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it was read from; a unit is named by its last part, without `.toml`.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
    /// What it describes.
    pub kind: SourceKind,
    /// It is read for this instance only, whatever it says of how many there are: so are they kept while svinit runs, where
    /// one may have been read from an older text than the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<UnitName>,
}

/// What a [`Source`] describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    /// A unit, or what a later layer changes in one.
    Unit,
    /// `svinit.toml`.
    Daemon,
    /// `manager.toml`.
    Manager,
}

impl Source {
    /// A unit's file.
    #[must_use]
    pub fn unit(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), kind: SourceKind::Unit, instance: None }
    }

    /// What was read for `unit`, which may be one of several instances.
    #[must_use]
    pub fn of(unit: &UnitName, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let instance = (unit.parts().1 > 0).then(|| unit.clone());
        Self { instance, ..Self::unit(path, text) }
    }

    /// The manager's file.
    #[must_use]
    pub fn manager(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), kind: SourceKind::Manager, instance: None }
    }

    /// The daemon's own file.
    #[must_use]
    pub fn daemon(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), kind: SourceKind::Daemon, instance: None }
    }
}

/// Some bytes of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the source.
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One behind the last.
    pub end: usize,
}

impl Place {
    /// `range` of source number `source`.
    #[must_use]
    pub fn new(source: usize, range: std::ops::Range<usize>) -> Self {
        Self { source, start: range.start, end: range.end }
    }

    /// Source `source` as a whole.
    #[must_use]
    pub fn whole(source: usize) -> Self {
        Self { source, start: 0, end: 0 }
    }
}
