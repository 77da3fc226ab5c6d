//! The JSON Schemas of the file formats, made from the tables in [`crate::units::file`].

/// Of a unit's file, for editors and for `svctl schema`.
pub const UNIT_SCHEMA: &str = include_str!("../../schema/unit.schema.json");

/// Of `svinit.toml`.
pub const DAEMON_SCHEMA: &str = include_str!("../../schema/svinit.schema.json");

#[cfg(test)]
mod tests;
