//! Our own faults: a panic, a bad address, an abort. svinit executes itself with the last state that was whole.
//!
//! PID 1 must not end, and after a fault nothing of its memory can be trusted. So the state is kept current in anonymous
//! memory outside of it, in two files in turn, of which one is always whole; and what has to be executed is made
//! beforehand. What follows a fault is a handful of system calls.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::os::binary::Binary;
use crate::os::error::{Doing, Error};
use crate::os::handover::{Kept, Luggage};
use crate::os::sys;

/// More than can be heard in a turn.
const HEARD_MAX: u64 = 1 << 28;

/// Longest reason.
const WHY_MAX: usize = 300;

/// The state, kept current, and what was heard since.
pub struct Vault {
    files: [File; 2],
    next: usize,
    heard: File,
}

/// From here on a fault ends in `program` with `args`, of which the one at `place` is followed by why, and with every
/// descriptor up to `highest`: until there is a [`Vault`]. Somebody must keep `program` and what `args` name open.
pub fn prepare(program: BorrowedFd<'_>, args: Vec<OsString>, place: usize, highest: Kept) {
    lower(program, [args.clone(), args], place);
    sys::set_whole_state(0, highest.number());
}

fn lower(program: BorrowedFd<'_>, args: [Vec<OsString>; 2], place: usize) {
    let text = |text: OsString| CString::new(text.into_vec()).ok();
    let [first, second] = args.map(|mut all| {
        let at = all.get(place).map_or(0, |arg| arg.len());
        if let Some(arg) = all.get_mut(place) {
            arg.push(" ".repeat(WHY_MAX + 1));
        }
        (sys::CStrings::new(all.into_iter().filter_map(text).collect()), at)
    });
    let pair = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    let env = sys::CStrings::new(std::env::vars_os().map(pair).filter_map(text).collect());
    sys::launch_lifeboat(sys::Lifeboat {
        program: program.as_raw_fd(),
        why: (place, [first.1, second.1]),
        args: [first.0, second.0],
        room: WHY_MAX,
        env,
    });
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let words = info.payload_as_str().unwrap_or("panic");
        let why: String = format!("panic{place}: {words}");
        let plain: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        sys::take_to_lifeboat(plain.as_bytes());
    }));
}

impl Vault {
    /// From here on a fault ends in `program`, executed with `args`, of which the one at `place` is `args(STATE)` and why.
    /// Until a state is put in, a fault is the end.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn open(
        program: &Binary,
        args: impl Fn(String) -> Vec<OsString>,
        place: usize,
    ) -> Result<Self, Error> {
        let doing = || "keep the state for a crash".to_owned();
        let file = || memfd_create(c"svinit-state", MFdFlags::MFD_CLOEXEC).map(File::from).doing(doing);
        let (files, heard) = ([file()?, file()?], file()?);
        let both = [0, 1].map(|which: usize| args(format!("{}::", files[which].as_raw_fd())));
        lower(program.as_fd(), both, place);
        Ok(Self { files, next: 0, heard })
    }

    /// The descriptors of the vault itself, which are left as well. Comes back with that of what was heard.
    pub fn pack_itself(&self, luggage: &mut Luggage) -> Kept {
        for file in &self.files {
            luggage.fd(file);
        }
        luggage.fd(&self.heard)
    }

    /// Writes down what was heard since the state of this number was put in, in place of what stands there.
    ///
    /// # Errors
    /// There is no memory.
    pub fn hear(&self, number: u64, words: &str) -> Result<(), Error> {
        let all = format!("{number} {}\n{words}", words.len());
        self.heard.write_all_at(all.as_bytes(), 0).doing(|| "keep what was heard for a crash".to_owned())
    }

    /// From here on this is the state, with the descriptors that it names.
    ///
    /// # Errors
    /// There is no memory; the state before stays.
    pub fn put(&mut self, state: &[u8], luggage: &Luggage) -> Result<(), Error> {
        self.files[self.next].write_all_at(state, 0).doing(|| "keep the state for a crash".to_owned())?;
        sys::set_whole_state(self.next, luggage.highest());
        self.next = 1 - self.next;
        Ok(())
    }
}

/// What was heard after the state of this number was put in; `None` when nothing was, or it is not whole.
#[must_use]
pub fn heard(file: &File, number: u64) -> Option<String> {
    let mut all = vec![0; usize::try_from(file.metadata().ok()?.len().min(HEARD_MAX)).ok()?];
    file.read_exact_at(&mut all, 0).ok()?;
    let text = std::str::from_utf8(all.get(..)?).ok()?;
    let (head, words) = text.split_once('\n')?;
    let (of, len) = head.split_once(' ')?;
    (of.parse() == Ok(number)).then_some(())?;
    words.get(..len.parse().ok()?).map(str::to_owned)
}

/// See [`Fault::Turn`].
static TURN: AtomicBool = AtomicBool::new(false);

/// A fault on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A panic.
    Panic,
    /// A bad address.
    Segv,
    /// It gives itself up.
    Abort,
    /// A panic at the end of the next turn in which anything happens: all is done, and nothing of it is written down.
    Turn,
}

impl Fault {
    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "panic" => Some(Self::Panic),
            "segv" => Some(Self::Segv),
            "abort" => Some(Self::Abort),
            "turn" => Some(Self::Turn),
            _ => None,
        }
    }

    /// Makes it. For tests of what follows.
    pub fn make(self) {
        match self {
            Self::Panic => panic!("a fault on purpose"),
            Self::Segv => sys::fault(),
            Self::Abort => std::process::abort(),
            Self::Turn => TURN.store(true, Ordering::Relaxed),
        }
    }

    /// To be called at the end of each turn.
    pub fn strike() {
        if TURN.load(Ordering::Relaxed) {
            panic!("a fault on purpose, at the end of a turn");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_read_back_if_it_is_whole_and_of_the_state() {
        let path = std::env::temp_dir().join(format!("svinit-heard-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        assert_eq!(heard(&file, 0), None);
        let vault =
            Vault { files: [file.try_clone().unwrap(), file.try_clone().unwrap()], next: 0, heard: file };
        vault.hear(7, "[1,2,3]").unwrap();
        assert_eq!(heard(&vault.heard, 7).as_deref(), Some("[1,2,3]"));
        assert_eq!(heard(&vault.heard, 8), None);
        // A shorter one leaves the end of the one before behind it.
        vault.hear(8, "[]").unwrap();
        assert_eq!(heard(&vault.heard, 8).as_deref(), Some("[]"));
        vault.heard.set_len(4).unwrap();
        assert_eq!(heard(&vault.heard, 8), None);
        std::fs::remove_file(path).unwrap();
    }
}
