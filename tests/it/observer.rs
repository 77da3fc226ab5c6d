//! What the kernel tells of a running svinit, its descriptors, threads, CPU and memory; and a reader of its output that
//! can stop reading.

#![expect(clippy::disallowed_methods, reason = "tests wait for processes, and bound their waits by a clock")]

use std::fs;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::fixture::PATIENCE;

/// The answer to a GET on the public listener.
pub(crate) fn public(address: &str, path: &str) -> String {
    asked(address, path).unwrap()
}

/// The same, or why there was none.
pub(crate) fn asked(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: svinit\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// How many threads it has.
pub(crate) fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The number in a line of its `/proc/PID/status`; kB for memory.
pub(crate) fn status_number(pid: i32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap()
}

/// CPU time that it has used, its children left out.
pub(crate) fn cpu(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The share of one core that it uses while `event` happens.
pub(crate) fn share_of_a_core(pid: i32, event: impl FnOnce()) -> f64 {
    let (before, began) = (cpu(pid), Instant::now());
    event();
    (cpu(pid) - before).as_secs_f64() / began.elapsed().as_secs_f64()
}

/// Lets so many seconds pass: the end of a process is waited for. For what is about time itself.
pub(crate) fn pass(seconds: &str) {
    assert!(Command::new("sleep").arg(seconds).status().unwrap().success());
}

/// A FIFO to write to, whose reader reads only when it is told to.
pub(crate) struct Reader {
    path: PathBuf,
    fifo: File,
    half: Vec<u8>,
}

impl Reader {
    /// Makes the FIFO.
    pub(crate) fn at(path: &Path) -> Self {
        mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
        // Open for writing as well, so that neither side waits for the other.
        let fifo = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { path: path.to_owned(), fifo, half: Vec::new() }
    }

    /// Words that make what follows write its stdout to the FIFO, and its stderr as well.
    pub(crate) fn takes_both(&self) -> Vec<String> {
        self.takes("2>&1")
    }

    /// Words that make what follows write its stdout to the FIFO.
    pub(crate) fn takes_stdout(&self) -> Vec<String> {
        self.takes("")
    }

    fn takes(&self, more: &str) -> Vec<String> {
        let script = format!("exec \"$@\" >{} {more}", self.path.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// What is there or comes; waits for it.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let mut fds = [PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut fds, patience).unwrap(), 1, "waited in vain for output");
        let mut bytes = vec![0; 64 << 10];
        let length = self.fifo.read(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// Reads whole lines up to the one that `is_last`.
    pub(crate) fn lines_until(&mut self, is_last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let bytes = self.bytes();
            self.half.extend_from_slice(&bytes);
            let end = self.half.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let whole: Vec<u8> = self.half.drain(..end).collect();
            let before = lines.len();
            lines.extend(String::from_utf8_lossy(&whole).lines().map(str::to_owned));
            if lines[before..].iter().any(|line| is_last(line)) {
                return lines;
            }
        }
    }
}
