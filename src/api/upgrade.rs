//! `POST /v1/upgrade`: svinit becomes the program that is in its place on the disk by now.

use serde::{Deserialize, Serialize};

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum UpgradeLine {
    /// The program on the disk has tested itself: it can take over. Unless this was all that was asked for, it does; the
    /// connection ends when it has, and `upgrades` of `GET /v1/supervisor` is this number.
    Tested {
        /// The version that runs.
        from: String,
        /// The version on the disk.
        to: String,
        /// How often svinit will have executed itself.
        upgrades: u64,
    },
    /// It could not be executed after all: everything goes on as it was.
    Failed {
        /// In words.
        why: String,
    },
}
