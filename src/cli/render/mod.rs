//! How things look: words for numbers, colours, tables, and the one way to stdout.
//!
//! Plain and stable in a pipe; colour, fitted widths and hints on a terminal only. Nothing here asks the supervisor.

pub(crate) mod look;
pub(crate) mod out;
pub(crate) mod table;
pub(crate) mod words;
