//! Listening to the supervisor for as long as there is somebody to tell.
//!
//! What `docker exec` has started learns nothing of the end of whoever started it, but by the end of its stdin; its stdout
//! stays open. A program that listens for ever would so be left behind in the container.

use std::io::Read;
use std::io::stdin;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use clap::ArgMatches;
use clap::Command;
use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use serde::de::DeserializeOwned;

use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::client::stream::Lines;

/// `--until-eof`.
pub(super) fn until_eof(command: Command) -> Command {
    let help = "End as well when stdin ends, as it does when a docker exec -i is gone";
    command.arg(arguments::flag("until-eof", help).display_order(802))
}

/// A stream, and whether it is listened to only until stdin ends.
pub(super) struct Listener<T> {
    lines: Lines<T>,
    until_eof: bool,
}

impl<T: DeserializeOwned> Listener<T> {
    pub(super) fn new(lines: Lines<T>, matches: &ArgMatches) -> Self {
        Self { lines, until_eof: matches.get_flag("until-eof") }
    }

    /// The next value; `None` when there will be none, or nobody to tell it to.
    pub(super) fn read(&mut self) -> Result<Option<T>, Failure> {
        while self.until_eof && !self.lines.has_received() {
            let stdin = stdin();
            if first_of(&[self.lines.as_fd(), stdin.as_fd()])? == 0 {
                break;
            }
            // What is said to it is of no interest.
            match stdin.lock().read(&mut [0; 512]) {
                Ok(0) => return Ok(None),
                Err(why) if why.kind() != std::io::ErrorKind::Interrupted => return Ok(None),
                _ => {}
            }
        }
        Ok(self.lines.read()?)
    }

    /// As [`Lines::take_missed`].
    pub(super) fn take_missed(&mut self) -> u64 {
        self.lines.take_missed()
    }

    /// As [`Lines::has_received`].
    pub(super) fn has_received(&self) -> bool {
        self.lines.has_received()
    }
}

/// Waits until one of them can be read or has ended, and says which: the first of those.
pub(super) fn first_of(fds: &[BorrowedFd<'_>]) -> Result<usize, Failure> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(why) => return Err(Failure::failed(format!("cannot wait for the supervisor: {why}"))),
        }
        if let Some(at) = polled.iter().position(|fd| fd.any().unwrap_or(false)) {
            return Ok(at);
        }
    }
}
