//! Reads and understands files of `/proc`.
//!
//! The parsers take bytes and survive any: a process chooses its own name, which may be `) Z 1`. Whatever is not there or
//! not understood is `None`: the process is gone, or `/proc` is not mounted.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::lifecycle::event::{ExitStatus, Pid};

/// No file read here is longer; `stat` is about 300 bytes, `limits` about 1,400.
const LENGTH_MAX: usize = 4096;

/// Most bytes of a `children` file that are read: some 10,000 numbers.
const CHILDREN_MAX: usize = 128 * 1024;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// R, S, D, T, Z ...
    pub state: u8,
    /// Its parent; 0 when that is in another PID namespace.
    pub parent: Pid,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// CPU time in clock ticks, user and system.
    pub ticks: u64,
    /// Threads.
    pub threads: u64,
    /// Start, in clock ticks since boot.
    pub started: u64,
}

impl Stat {
    /// It has ended: a zombie whose other threads have ended as well.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// Understands the text of `/proc/PID/stat`.
#[must_use]
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name ends at the last ')': what follows is ours to trust, what precedes is the process's own.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = Pid(fields.next()?.parse().ok()?);
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Fields 7 to 13: terminal, its group, flags, faults.
    let mut fields = fields.skip(7);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Fields 16 to 19: times of children, priority, niceness.
    let mut fields = fields.skip(4);
    let threads = fields.next()?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, group, session, ticks: user.saturating_add(system), threads, started })
}

/// How it has ended, in the text of `/proc/PID/stat` of a zombie: field 52, in the form of `wait(2)`.
#[must_use]
pub fn parse_exit(text: &[u8]) -> Option<ExitStatus> {
    if !parse_stat(text)?.is_dead() {
        return None;
    }
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let raw: i32 = fields.split_ascii_whitespace().nth(49)?.parse().ok()?;
    Some(if libc::WIFSIGNALED(raw) {
        ExitStatus::Signal { number: libc::WTERMSIG(raw), core: libc::WCOREDUMP(raw) }
    } else {
        ExitStatus::Code(u8::try_from(libc::WEXITSTATUS(raw)).ok()?)
    })
}

/// Finds the soft realtime timeout in the text of `/proc/PID/limits`; `None` as well when it is unlimited.
#[must_use]
pub fn parse_rttime(text: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"Max realtime timeout";
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(KEY))?;
    let values = std::str::from_utf8(&line[KEY.len()..]).ok()?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

/// Resident pages in the text of `/proc/PID/statm`.
#[must_use]
pub fn parse_resident(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Numbers of a `children` file.
#[must_use]
pub fn parse_pids(text: &[u8]) -> Vec<Pid> {
    text.split(u8::is_ascii_whitespace)
        .filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .filter(|pid| *pid > 0)
        .map(Pid)
        .collect()
}

/// `/proc/PID/stat`.
#[must_use]
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&read(&format!("/proc/{pid}/stat"))?)
}

/// How a process has ended that is another's child, as long as its parent has not taken note of it; `None` when that is too
/// late, or we may not know: whom we could not trace (`ptrace(2)`), of that the kernel says 0.
#[must_use]
pub fn exit_status(pid: Pid) -> Option<ExitStatus> {
    let status = parse_exit(&read(&format!("/proc/{pid}/stat"))?)?;
    let is_hidden = || {
        let found = fs::read_link(format!("/proc/{pid}/cwd"));
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    (status != ExitStatus::Code(0) || !is_hidden()).then_some(status)
}

/// The soft realtime timeout of a process.
#[must_use]
pub fn rttime(pid: Pid) -> Option<u64> {
    parse_rttime(&read(&format!("/proc/{pid}/limits"))?)
}

/// Resident pages of a process.
#[must_use]
pub fn resident_pages(pid: Pid) -> Option<u64> {
    parse_resident(&read(&format!("/proc/{pid}/statm"))?)
}

/// Open descriptors of a process; 0 when we may not look.
#[must_use]
pub fn descriptors(pid: Pid) -> u64 {
    let path = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the size of the directory is the number; before it is 0, as it is for a process without any.
    match fs::metadata(&path).map(|folder| folder.len()) {
        Ok(0) => fs::read_dir(&path).map_or(0, |entries| u64::try_from(entries.count()).unwrap_or(0)),
        Ok(count) => count,
        Err(_) => 0,
    }
}

/// Children of all threads of a process, orphans that fell to it included. `None`: it is gone, or this kernel does not tell.
#[must_use]
pub fn children(pid: Pid) -> Option<Vec<Pid>> {
    children_in(&children_files(pid)?)
}

/// The files that list the children of each thread of a process; they can be read again and again.
#[must_use]
pub fn children_files(pid: Pid) -> Option<Vec<fs::File>> {
    let threads = numbers_in(&format!("/proc/{pid}/task"))?;
    let file = |thread| fs::File::open(format!("/proc/{pid}/task/{thread}/children")).ok();
    let files: Vec<fs::File> = threads.into_iter().filter_map(file).collect();
    (!files.is_empty()).then_some(files)
}

/// What such files list now. `None`: the process is gone.
#[must_use]
pub fn children_in(files: &[fs::File]) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    let mut told = false;
    let mut text = Vec::new();
    for file in files {
        text.clear();
        // A thread that has ended has no children any more.
        if read_from_start(file, &mut text).is_ok() {
            told = true;
            found.extend(parse_pids(&text));
        }
    }
    told.then_some(found)
}

/// Up to [`CHILDREN_MAX`] bytes, wherever the file was read before.
fn read_from_start(file: &fs::File, text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut part = [0; LENGTH_MAX];
    while text.len() < CHILDREN_MAX {
        let length = file.read_at(&mut part, u64::try_from(text.len()).unwrap_or(u64::MAX))?;
        // The kernel gives whole numbers; what is short of a page is all there is.
        text.extend_from_slice(&part[..length]);
        if length == 0 {
            break;
        }
    }
    Ok(())
}

/// Every process that is to be seen.
#[must_use]
pub fn all() -> Option<Vec<Pid>> {
    numbers_in("/proc")
}

/// `/proc` is mounted and shows this process.
#[must_use]
pub fn is_there() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn numbers_in(folder: &str) -> Option<Vec<Pid>> {
    let entries = fs::read_dir(folder).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid)).collect())
}

/// One read call is enough: the kernel makes these texts in one piece.
fn read(path: &str) -> Option<Vec<u8>> {
    let mut file = fs::File::open(path).ok()?;
    let mut text = vec![0; LENGTH_MAX];
    let length = file.read(&mut text).ok()?;
    text.truncate(length);
    Some(text)
}

pub(super) fn read_up_to(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(most).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests;
