//! Layers: a later file changes an earlier one key by key; tables merge, everything else is replaced.
//!
//! Nothing is copied together: a [`View`] looks through the layers from the last to the first. So every value still
//! knows its file and line, and what is wrong in a lower layer is found although a higher one replaces it.

use toml::de::{DeTable, DeValue};

use crate::units::file::ONE_OF;
use crate::units::source::Place;
use crate::units::table::{Bad, Item, Reader, Shape};

/// One table, seen through all layers.
pub struct View<'a> {
    /// As in its header: `restart`, `defaults.stop`; empty for the file itself.
    pub name: String,
    /// Where it is written last.
    pub at: Option<Place>,
    /// Number of the source and the table in it, the lowest first.
    pub layers: Vec<(usize, &'a DeTable<'a>)>,
}

/// The values of one key, the lowest first.
pub(crate) struct Found<'a> {
    pub(crate) items: Vec<Item<'a>>,
    /// The last one holds; else a later layer has chosen another key in its stead.
    pub(crate) counts: bool,
}

impl<'a> View<'a> {
    pub(crate) fn single(source: usize, table: &'a DeTable<'a>) -> Self {
        Self { name: String::new(), at: None, layers: vec![(source, table)] }
    }

    /// All values of `key`.
    pub(crate) fn found(&self, key: &str) -> Found<'a> {
        let mut items = Vec::new();
        let mut last = None;
        for (layer, (source, table)) in self.layers.iter().enumerate() {
            if let Some(value) = table.get(key) {
                items.push(Item::new(*source, value));
                last = Some(layer);
            }
        }
        let counts = last.is_none_or(|last| !self.is_superseded(key, last));
        Found { items, counts }
    }

    /// Whether a layer above `layer` has another one of the keys of which only one can hold.
    fn is_superseded(&self, key: &str, layer: usize) -> bool {
        let above = &self.layers[layer + 1..];
        if above.is_empty() {
            return false;
        }
        let rivals = ONE_OF.iter().filter(|(table, keys)| *table == self.name && keys.contains(&key));
        let mut rivals = rivals.flat_map(|(_, keys)| keys.iter().filter(|other| **other != key));
        rivals.any(|other| above.iter().any(|(_, table)| table.contains_key(*other)))
    }

    /// The table `key` below this one; what stands there and is none is noted.
    pub(crate) fn table(&self, key: &'static str, reader: &mut Reader<'_>) -> Option<Self> {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        let mut below = Self { name, at: None, layers: Vec::new() };
        for (source, table) in &self.layers {
            let Some((written, value)) = table.get_key_value(key) else { continue };
            match value.get_ref() {
                DeValue::Table(inner) => {
                    below.at = Some(Place::new(*source, written.span()));
                    below.layers.push((*source, inner));
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    let bad = Bad::help(Some(format!("write [{}] above its keys", below.name)));
                    reader.wrong(Item::new(*source, value), &Shape::Table(&[]), bad);
                }
            }
        }
        (!below.layers.is_empty()).then_some(below)
    }

    /// The keys of all layers, each once, in order.
    pub(crate) fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .layers
            .iter()
            .flat_map(|(_, table)| table.keys().map(|key| key.get_ref().as_ref()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where `key` itself is written last.
    pub(crate) fn place_of(&self, key: &str) -> Option<Place> {
        self.layers
            .iter()
            .rev()
            .find_map(|(source, table)| Some(Place::new(*source, table.get_key_value(key)?.0.span())))
    }
}
