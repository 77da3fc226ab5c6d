//! A state, the descriptors and the bytes that go with it: what one program leaves to the next that takes its place.
//!
//! The file is anonymous memory, so nobody but us can open it, and nothing of it ever reaches a disk:
//!
//! ```text
//! svinit-state FORMAT TEXT-LENGTH BYTES-LENGTH DOOR... \n  TEXT  BYTES
//! ```
//!
//! A DOOR is the number of a listener at which people ask how it stands: whoever cannot read the rest can still answer there.
//! TEXT is JSON and names descriptors by their numbers and bytes by their places. Bytes are what units have written, which
//! is no text. Easy to get wrong: a descriptor survives only if it is not marked to be closed at exec, and all others must
//! be; so the mark is taken off last of all, from exactly those that were named, and put back first of all.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::os::error::{Doing, Error};
use crate::os::signals;
use crate::os::sys;

/// What the file begins with.
const MAGIC: &str = "svinit-state";

/// More than all that may be kept: log buffers are bounded, and so are texts of units.
const STATE_MAX: u64 = 1 << 30;

/// Longest first line.
const HEAD_MAX: usize = 128;

/// A descriptor that is left to the next program, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kept(RawFd);

impl Kept {
    /// Of this number.
    #[must_use]
    pub fn of_number(number: RawFd) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> RawFd {
        self.0
    }
}

/// Bytes beside the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    at: u64,
    len: u64,
}

/// Gathers what goes with a state.
#[derive(Debug, Default)]
pub struct Luggage {
    fds: BTreeSet<Kept>,
    doors: Vec<Kept>,
    bytes: Vec<u8>,
}

impl Luggage {
    /// `listener` goes along, and is found also by who cannot read the text.
    pub fn door(&mut self, listener: &impl AsFd) -> Kept {
        let kept = self.fd(listener);
        self.doors.push(kept);
        kept
    }

    /// `fd` goes along.
    pub fn fd(&mut self, fd: &impl AsFd) -> Kept {
        let kept = Kept(fd.as_fd().as_raw_fd());
        self.fds.insert(kept);
        kept
    }

    /// The descriptor of this number goes along. It must be open until the exec.
    pub fn number(&mut self, number: RawFd) -> Kept {
        self.fds.insert(Kept(number));
        Kept(number)
    }

    /// These bytes go along.
    pub fn bytes(&mut self, bytes: &[u8]) -> Blob {
        let blob = Blob { at: self.bytes.len() as u64, len: bytes.len() as u64 };
        self.bytes.extend_from_slice(bytes);
        blob
    }

    /// The descriptors so far.
    #[must_use]
    pub fn fds(&self) -> Vec<Kept> {
        self.fds.iter().copied().collect()
    }

    /// The largest number of a descriptor.
    #[must_use]
    pub fn highest(&self) -> RawFd {
        self.fds.last().map_or(0, |fd| fd.0)
    }

    /// The file's contents: `text` with what goes along.
    pub fn write_into(&self, format: u32, text: &str, into: &mut Vec<u8>) {
        into.clear();
        let doors: String = self.doors.iter().map(|door| format!(" {}", door.0)).collect();
        let head = format!("{MAGIC} {format} {} {}{doors}\n", text.len(), self.bytes.len());
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(text.as_bytes());
        into.extend_from_slice(&self.bytes);
    }

    /// Writes the file.
    ///
    /// # Errors
    /// There is no memory or no descriptor left.
    pub fn pack(&self, format: u32, text: &str) -> Result<OwnedFd, Error> {
        let doing = || "write down the state".to_owned();
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(c"svinit-state", flags).doing(doing)?);
        let mut all = Vec::new();
        self.write_into(format, text, &mut all);
        file.write_all(&all).doing(doing)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).doing(doing)?;
        Ok(file.into())
    }

    /// Lets these descriptors stay open at exec. What cannot be kept is not open.
    pub fn keep(&self) {
        for fd in &self.fds {
            let _ = sys::keep_at_exec(fd.0);
        }
    }

    /// There was no exec: everything is closed at the next one again.
    pub fn keep_no_more(&self) {
        for fd in &self.fds {
            let _ = sys::close_at_exec(fd.0);
        }
    }
}

/// Executes the program that `program` stands for in place of this one, in the same environment. Comes back only when that
/// cannot be, and then nothing has changed. From the main thread only: the kernel would take it for the end of whoever
/// waits for another to end (`PDEATHSIG`).
#[must_use]
pub fn execute(program: BorrowedFd<'_>, args: Vec<OsString>) -> io::Error {
    let text = |text: OsString| CString::new(text.into_vec()).ok();
    let pair = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    // What has a NUL in it cannot have come from the kernel, as all this did.
    let args = sys::CStrings::new(args.into_iter().filter_map(text).collect());
    let env = sys::CStrings::new(std::env::vars_os().map(pair).filter_map(text).collect());
    let execute = || sys::execute(program.as_raw_fd(), &args, &env);
    io::Error::from_raw_os_error(signals::keep_while(execute))
}

/// A state that was left to us: its text, and the bytes beside it.
pub struct Parcel {
    /// The text.
    pub text: String,
    bytes: Vec<u8>,
}

impl Parcel {
    /// Reads a file of at most this format.
    ///
    /// # Errors
    /// In words: it is none, it is cut off, or only a newer svinit can read it.
    pub fn open(fd: OwnedFd, format_max: u32) -> Result<Self, String> {
        let mut file = File::from(fd);
        let mut all = Vec::new();
        let read = file.rewind().and_then(|()| file.take(STATE_MAX).read_to_end(&mut all));
        read.map_err(|error| format!("the state cannot be read: {error}"))?;
        Self::parse(&all, format_max)
    }

    /// The doors of a file, whatever else is in it.
    #[must_use]
    pub fn doors(fd: OwnedFd) -> Vec<Kept> {
        let mut head = [0; HEAD_MAX];
        let read = File::from(fd).read_at(&mut head, 0).unwrap_or(0);
        let line = head[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let words = std::str::from_utf8(line).unwrap_or_default().strip_prefix(MAGIC).unwrap_or_default();
        let numbers = words.split(' ').skip(4).map_while(|word| word.parse().ok());
        numbers.filter(|number| *number > 2).map(Kept).collect()
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// The same.
    pub fn parse(all: &[u8], format_max: u32) -> Result<Self, String> {
        let no_state = || "this is no state of svinit".to_owned();
        let end = all.iter().take(HEAD_MAX).position(|byte| *byte == b'\n').ok_or_else(no_state)?;
        let (head, rest) = all.split_at(end + 1);
        let head = std::str::from_utf8(head).map_err(|_| no_state())?;
        let mut words = head.split_whitespace();
        if words.next() != Some(MAGIC) {
            return Err(no_state());
        }
        let mut number = || words.next()?.parse::<usize>().ok();
        let (Some(format), Some(text_len), Some(bytes_len)) = (number(), number(), number()) else {
            return Err(no_state());
        };
        if format > usize::try_from(format_max).unwrap_or(usize::MAX) {
            return Err(format!(
                "the state is of format {format}, and this svinit reads {format_max} at most"
            ));
        }
        let cut = || "the state is cut off".to_owned();
        let (text, rest) = rest.split_at_checked(text_len).ok_or_else(cut)?;
        let (bytes, _) = rest.split_at_checked(bytes_len).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "the state is not UTF-8".to_owned())?;
        Ok(Self { text: text.to_owned(), bytes: bytes.to_vec() })
    }

    /// Bytes that came along; none when there are no such.
    #[must_use]
    pub fn bytes(&self, blob: Blob) -> &[u8] {
        let range = usize::try_from(blob.at).ok().zip(usize::try_from(blob.len).ok());
        let range = range.and_then(|(at, len)| Some(at..at.checked_add(len)?));
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }
}

/// The descriptors that were left to us.
#[derive(Debug, Default)]
pub struct Left(BTreeMap<RawFd, OwnedFd>);

impl Left {
    /// Takes these, and has every descriptor closed at the next exec. To be called once, before anything is opened that
    /// could get one of their numbers.
    #[must_use]
    pub fn take(named: impl Iterator<Item = Kept>) -> Self {
        let unique: BTreeSet<RawFd> = named.map(|fd| fd.0).filter(|fd| *fd > 2).collect();
        // From Linux 5.11 on; before, each by itself.
        if sys::close_range_at_exec(3).is_err() {
            for fd in &unique {
                let _ = sys::close_at_exec(*fd);
            }
        }
        // After a fault nobody could look which ones were to be left.
        for fd in (3..unique.last().copied().unwrap_or(0)).filter(|fd| !unique.contains(fd)) {
            drop(sys::adopt(fd));
        }
        Self::of(unique.into_iter().map(Kept))
    }

    /// These, which are nobody's: those of them that are open.
    #[must_use]
    pub fn of(named: impl IntoIterator<Item = Kept>) -> Self {
        Self(named.into_iter().filter_map(|Kept(fd)| Some((fd, sys::adopt(fd)?))).collect())
    }

    /// One alone, as it is.
    #[must_use]
    pub fn one(kept: Kept) -> Option<OwnedFd> {
        sys::adopt(kept.0)
    }

    /// One of them. Each can be had once.
    #[must_use]
    pub fn fd(&mut self, kept: Kept) -> Option<OwnedFd> {
        self.0.remove(&kept.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut luggage = Luggage::default();
        let blob = luggage.bytes(b"half a li\xffne");
        let none = luggage.bytes(b"");
        let file = luggage.pack(1, "{\"a\":1}").unwrap();
        let parcel = Parcel::open(file, 1).unwrap();
        assert_eq!((parcel.text.as_str(), parcel.bytes(blob)), ("{\"a\":1}", &b"half a li\xffne"[..]));
        assert_eq!(parcel.bytes(none), b"");
        assert_eq!(parcel.bytes(Blob { at: 5, len: u64::MAX }), b"");
    }

    #[test]
    fn doors_are_found_whatever_else_is_in_the_file() {
        let (one, other) = (io::pipe().unwrap().0, io::pipe().unwrap().0);
        let mut luggage = Luggage::default();
        let doors = vec![luggage.door(&one), luggage.door(&other)];
        let file = luggage.pack(1, "{not even JSON").unwrap();
        assert_eq!(Parcel::doors(file.try_clone().unwrap()), doors);
        assert!(Parcel::open(file, 1).is_ok(), "they are in nobody's way");
        let none = |text: &[u8]| {
            let mut file = File::from(memfd_create(c"x", MFdFlags::MFD_CLOEXEC).unwrap());
            file.write_all(text).unwrap();
            Parcel::doors(file.into())
        };
        for text in [&b""[..], b"svinit-state 1 2 3\n7 8", b"other 1 2 3 7\n", b"svinit-state 1 2 3 1 2\n"] {
            assert_eq!(none(text), [], "{text:?}");
        }
    }

    #[test]
    fn what_is_no_state_is_refused_with_the_reason() {
        let refused = |bytes: &[u8]| Parcel::parse(bytes, 1).err().unwrap();
        assert_eq!(refused(b""), "this is no state of svinit");
        assert_eq!(refused(b"#!/bin/sh\n"), "this is no state of svinit");
        assert_eq!(refused(b"svinit-state 1 x 0\n"), "this is no state of svinit");
        assert_eq!(refused(b"svinit-state 1 3 0\nab"), "the state is cut off");
        assert_eq!(refused(b"svinit-state 1 2 1\nab"), "the state is cut off");
        let newer = "the state is of format 2, and this svinit reads 1 at most";
        assert_eq!(refused(b"svinit-state 2 0 0\n"), newer);
    }

    #[test]
    fn nobody_can_change_a_state_that_was_written_down() {
        let mut file = File::from(Luggage::default().pack(1, "{}").unwrap());
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = Parcel::parse(&bytes, 1);
            let _ = Parcel::parse(&[b"svinit-state 1 ", &bytes[..]].concat(), 1);
        }
    }
}
