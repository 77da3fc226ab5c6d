//! When a log file is rotated, what rotated files are called, and which of them go. Pure.
//!
//! A rotated file is named after the moment of its rotation, `app.log.2026-11-21T04-04-18.123456Z`, then `.gz`. So a
//! rotation is one rename whatever the number of old files, a name never changes its meaning, and the order of names
//! is the order of time. Only names of exactly this form are ever removed: `app.log.bak` is somebody else's.

use memchr::memrchr;

use crate::logs::format::{STAMP_LEN, Stamp};

/// What `[log]` says about rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; 0 is never.
    pub max_size: u64,
    /// Microseconds; 0 is never.
    pub max_age_us: i64,
    /// Rotated files that stay.
    pub keep: u32,
    /// They become `.gz`.
    pub compress: bool,
}

/// The states of a rotated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it was written.
    Plain,
    /// Compressed.
    Gzip,
    /// The compression that svinit did not finish.
    Unfinished,
}

/// A rotated file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotated {
    /// The moment in the name; sorts as text.
    pub stamp: String,
    /// What it is.
    pub form: Form,
}

/// Before the stamp.
const SEPARATOR: &str = ".";

impl Rotation {
    /// Whether a file of `size` bytes, begun at `born_us`, is too old.
    #[must_use]
    pub fn is_old(&self, size: u64, born_us: i64, now_us: i64) -> bool {
        self.max_age_us > 0 && size > 0 && now_us.saturating_sub(born_us) >= self.max_age_us
    }

    /// How many of `lines`' bytes go into a file of `size` bytes before it is rotated: whole lines only. 0: rotate first.
    /// A line that is larger than any file may be goes into an empty one alone.
    #[must_use]
    pub fn fitting(&self, size: u64, lines: &[u8]) -> usize {
        let room = self.max_size.saturating_sub(size);
        if self.max_size == 0 || lines.len() as u64 <= room {
            return lines.len();
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        match memrchr(b'\n', &lines[..room]) {
            Some(end) => end + 1,
            None if size > 0 => 0,
            None => memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
        }
    }

    /// Which of `files` go: what is beyond `keep`, what is too old, what is left of a compression, and plain files whose
    /// compression is complete.
    #[must_use]
    pub fn surplus(&self, mut files: Vec<Rotated>, now_us: i64) -> Vec<Rotated> {
        files.sort();
        files.reverse();
        let oldest = (self.max_age_us > 0).then(|| stamp_of(now_us.saturating_sub(self.max_age_us)));
        let mut kept: Vec<Rotated> = Vec::new();
        let mut gone = Vec::new();
        for file in files {
            let twin = kept.last().is_some_and(|newer| newer.stamp == file.stamp);
            let old = oldest.as_ref().is_some_and(|oldest| file.stamp < *oldest);
            if twin || old || file.form == Form::Unfinished || kept.len() >= self.keep as usize {
                gone.push(file);
            } else {
                kept.push(file);
            }
        }
        gone
    }
}

impl Rotated {
    /// The rotated file called `name`, when it is one of the log file called `base`.
    #[must_use]
    pub fn parse(base: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(base)?.strip_prefix(SEPARATOR)?;
        let (stamp, suffix) = rest.split_at_checked(STAMP_LEN)?;
        let form = match suffix {
            "" => Form::Plain,
            ".gz" => Form::Gzip,
            ".gz.tmp" => Form::Unfinished,
            _ => return None,
        };
        let example = stamp_of(0);
        let mut shape = stamp.bytes().zip(example.bytes());
        let fits = shape.all(|(b, like)| if like.is_ascii_digit() { b.is_ascii_digit() } else { b == like });
        fits.then(|| Self { stamp: stamp.to_owned(), form })
    }

    /// Its file name.
    #[must_use]
    pub fn name(&self, base: &str) -> String {
        let suffix = match self.form {
            Form::Plain => "",
            Form::Gzip => ".gz",
            Form::Unfinished => ".gz.tmp",
        };
        format!("{base}{SEPARATOR}{}{suffix}", self.stamp)
    }
}

/// The moment as it stands in names: without colons, which other systems and tools cannot take.
#[must_use]
pub fn stamp_of(wall_us: i64) -> String {
    let text = *Stamp::default().at(wall_us);
    text.iter().map(|b| if *b == b':' { '-' } else { char::from(*b) }).collect()
}

#[cfg(test)]
mod tests;
