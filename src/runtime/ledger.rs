//! The document of [`crate::runtime::handover`], kept current for a crash at a cost that goes with what has changed.
//!
//! A unit is put into words again only when the machine has touched it; the words are put together and copied. What is
//! left out is what a crash may cost: the lines kept in memory, and those that wait for a blocked stdout.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::lifecycle::event::Event;
use crate::lifecycle::supervisor::Supervisor;
use crate::logs::pump::SavedLogs;
use crate::os::crash::Vault;
use crate::os::error::Error;
use crate::os::handover::{Kept, Luggage};
use crate::runtime::handover::{FORMAT, Header, Place};
use crate::runtime::saved::SavedHands;
use crate::runtime::unknown::Unknown;
use crate::units::name::UnitName;
use crate::units::source::Source;

/// What changes from turn to turn, beside the machine.
pub(super) struct Turn {
    pub(super) header: Header,
    pub(super) place: Place,
    pub(super) hands: SavedHands,
    pub(super) logs: SavedLogs,
    pub(super) luggage: Luggage,
}

/// The words so far.
pub(super) struct Ledger {
    vault: Vault,
    /// Of the state that was written last.
    number: u64,
    sources: String,
    coming: String,
    units: BTreeMap<UnitName, String>,
    text: String,
    bytes: Vec<u8>,
}

fn words(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Ledger {
    /// An empty one for these units, and for what some of them are to be.
    pub(super) fn new(vault: Vault, sources: &[Source], coming: &[Source]) -> Self {
        let (sources, coming) = (words(&sources), words(&coming));
        let (units, text, bytes) = (BTreeMap::new(), String::new(), Vec::new());
        Self { vault, number: 0, sources, coming, units, text, bytes }
    }

    /// The units are read from these from here on.
    pub(super) fn set_sources(&mut self, sources: &[Source], coming: &[Source]) {
        (self.sources, self.coming) = (words(&sources), words(&coming));
    }

    /// The descriptors of its own; that of what was heard, and the number of the state that is written next.
    pub(super) fn pack_itself(&self, luggage: &mut Luggage) -> (Kept, u64) {
        (self.vault.pack_itself(luggage), self.number + 1)
    }

    /// Writes down what the machine is about to be told, before it is.
    pub(super) fn hear(&self, facts: &VecDeque<Event>) {
        // Without memory it is not told again after a crash, which is what happens to it in safe mode as well.
        let _ = self.vault.hear(self.number, &words(facts));
    }

    /// Writes down how things are after a turn, with what is `unknown`.
    ///
    /// # Errors
    /// There is no memory: what was written before stays.
    pub(super) fn write(
        &mut self,
        machine: &mut Supervisor,
        turn: &Turn,
        unknown: &mut Unknown,
    ) -> Result<(), Error> {
        for name in machine.take_unsaved() {
            let path = ["machine", "units", name.as_str()];
            let unit = machine.save_unit(&name).map(|unit| unknown.words(&path, &unit));
            if unit.is_none() {
                unknown.forget(&path);
            }
            match unit {
                Some(unit) => self.units.insert(name, unit),
                None => self.units.remove(&name),
            };
        }
        let text = &mut self.text;
        text.clear();
        let mut section = |start: &str, value: &str| {
            text.push_str(start);
            text.push_str(value);
        };
        section("{\"header\":", &unknown.words(&["header"], &turn.header));
        section(",\"sources\":", &self.sources);
        section(",\"coming\":", &self.coming);
        let mut start = ",\"machine\":{\"units\":{\"";
        for (name, unit) in &self.units {
            section(start, name.as_str());
            section("\":", unit);
            start = ",\"";
        }
        section("},\"common\":", &unknown.words(&["machine", "common"], &machine.save_common()));
        section(&unknown.members_behind(&["machine"]), "},\"hands\":");
        section(&unknown.words(&["hands"], &turn.hands), ",\"logs\":");
        section(&unknown.words(&["logs"], &turn.logs), ",\"place\":");
        section(&unknown.words(&["place"], &turn.place), &unknown.members_behind(&[]));
        section("}", "");
        turn.luggage.write_into(FORMAT, &self.text, &mut self.bytes);
        self.vault.put(&self.bytes, &turn.luggage)?;
        self.number += 1;
        Ok(())
    }
}
