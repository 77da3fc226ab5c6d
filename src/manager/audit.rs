//! The audit log: what recovery has decided, and why, one JSON object a line, each with the hash of the line before it.
//!
//! A line that is changed, taken out or put in breaks the chain at that place, and [`verify`] says where. That the end was cut off
//! shows only against a copy of the last hash, which is therefore in the manager's own log as well.

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::os::files;

/// Bytes of the file that are read to go on with it, and to verify it. A line has about 200.
const FILE_MAX: usize = 64 << 20;

/// What the first line names as its predecessor.
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up from 1.
    pub number: u64,
    /// RFC 3339.
    pub ts: String,
    /// About this service; `None`: all.
    pub service: Option<String>,
    /// In a word.
    pub decision: String,
    /// In words.
    pub why: String,
    /// Of the line before.
    pub before: String,
    /// Of this line: SHA-256 of it with this field empty.
    pub hash: String,
}

/// A log that is written on.
#[derive(Debug)]
pub struct Audit {
    file: Option<File>,
    path: PathBuf,
    number: u64,
    last: String,
}

impl Audit {
    /// Goes on with the file at `path`, or begins it.
    ///
    /// # Errors
    /// It cannot be written, or its chain is broken.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = files::open_append(path, 0o600).map_err(|error| error.to_string())?;
        let text = files::read_capped(path, FILE_MAX).map_err(|error| error.to_string())?;
        let (number, last) =
            verify(&String::from_utf8_lossy(&text)).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self { file: Some(file), path: path.to_owned(), number, last })
    }

    /// One that is kept nowhere: where there is no place to write to.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { file: None, path: PathBuf::new(), number: 0, last: FIRST.to_owned() }
    }

    /// Adds a decision.
    ///
    /// # Errors
    /// It could not be written; the next one is tried again.
    pub fn add(
        &mut self,
        ts: String,
        service: Option<&str>,
        decision: &str,
        why: &str,
    ) -> Result<(), String> {
        let mut entry = Entry {
            number: self.number + 1,
            ts,
            service: service.map(str::to_owned),
            decision: decision.to_owned(),
            why: why.to_owned(),
            before: self.last.clone(),
            hash: String::new(),
        };
        entry.hash = digest(&entry);
        let line = serde_json::to_string(&entry).map_err(|error| error.to_string())? + "\n";
        if let Some(file) = &mut self.file {
            // One write, so that a line is there whole or not at all.
            file.write_all(line.as_bytes())
                .and_then(|()| file.sync_data())
                .map_err(|error: io::Error| format!("cannot write {}: {error}", self.path.display()))?;
        }
        self.number = entry.number;
        self.last = entry.hash;
        Ok(())
    }
}

/// The number and hash of the last line, if every line follows from the one before.
///
/// # Errors
/// The first line that does not.
pub fn verify(text: &str) -> Result<(u64, String), String> {
    let (mut number, mut last) = (0, FIRST.to_owned());
    for (at, line) in text.lines().enumerate() {
        let broken = |why: &str| format!("line {}: {why}", at + 1);
        let entry: Entry = serde_json::from_str(line).map_err(|_| broken("it is no entry"))?;
        if entry.before != last || entry.number != number + 1 {
            return Err(broken("it does not follow the line before it"));
        }
        if digest(&Entry { hash: String::new(), ..entry.clone() }) != entry.hash {
            return Err(broken("it was changed"));
        }
        (number, last) = (entry.number, entry.hash);
    }
    Ok((number, last))
}

fn digest(entry: &Entry) -> String {
    let hash = Sha256::digest(serde_json::to_string(entry).unwrap_or_default());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Audit;
    use super::verify;

    fn written() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        for round in 0..2 {
            let mut audit = Audit::open(&path).unwrap();
            for decision in ["ill", "act", "healed"] {
                let why = format!("round {round}: \"quoted\" \n é");
                audit.add("1970-01-01T00:00:00Z".to_owned(), Some("backend"), decision, &why).unwrap();
            }
        }
        let text = std::fs::read_to_string(&path).unwrap();
        (dir, text)
    }

    #[test]
    fn a_log_that_is_gone_on_with_is_one_chain() {
        let (_dir, text) = written();
        let (number, last) = verify(&text).unwrap();
        assert_eq!((number, last.len()), (6, 64));
        assert_eq!(verify("").unwrap().0, 0);
    }

    #[test]
    fn whatever_is_changed_in_it_shows_with_its_line() {
        let (dir, text) = written();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("\"act\"", "\"reload\"", 1);
        assert_eq!(verify(&changed).unwrap_err(), "line 2: it was changed");
        let mut missing = lines.clone();
        missing.remove(3);
        assert_eq!(verify(&missing.join("\n")).unwrap_err(), "line 4: it does not follow the line before it");
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert_eq!(verify(&swapped.join("\n")).unwrap_err(), "line 2: it does not follow the line before it");
        assert_eq!(verify(&format!("{text}oh no\n")).unwrap_err(), "line 7: it is no entry");
        // Nobody writes on behind a broken place.
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, changed).unwrap();
        assert!(Audit::open(&path).unwrap_err().ends_with("line 2: it was changed"));
    }
}
