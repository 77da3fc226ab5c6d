//! What is left when svinit crashes again and again: no machine, no tasks, one loop that does as little as it can.
//!
//! Services go on as they are. Whoever ends is reaped, what they say is passed on line by line, and an order to stop ends all
//! of them, the second one at once. Whoever asks, at the control socket or for `/health`, is told the reason. Nothing is
//! restarted: that is for a person, who has to replace the program or the container.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lifecycle::event::{Event, Pid};
use crate::lifecycle::time::Time;
use crate::logs::lines::Splitter;
use crate::os::clock;
use crate::os::own;
use crate::os::posture::Posture;
use crate::os::procfs;
use crate::os::reap;
use crate::os::signals::Signals;
use crate::runtime::handover::{Arrival, How};
use crate::runtime::signals::{Meaning, Role, meaning};
use crate::units::signal;

/// From the order to stop to the kill of what is left: within the 10 s that Docker gives.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// For the request of a client, and for the answer to it.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(100);

/// Crashes within [`WINDOW`] after which svinit does not go on as before.
pub const CRASHES_MAX: usize = 3;

/// See [`CRASHES_MAX`].
pub const WINDOW: Duration = Duration::from_secs(60);

/// How many of these moments, at which svinit went on after a fault of its own, count `now`.
#[must_use]
pub fn recent(recoveries: &[Time], now: Time) -> usize {
    recoveries.iter().filter(|at| now.since(**at) <= WINDOW).count()
}

/// What an order to stop ends with: it was orderly, but what svinit was there for was not done.
const STATUS: u8 = 1;

struct Pipe {
    file: File,
    unit: String,
    splitter: Splitter,
}

enum Door {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Door {
    /// Of either kind.
    fn of(fd: OwnedFd) -> Self {
        let listener = UnixListener::from(fd);
        match listener.local_addr() {
            Ok(_) => Self::Unix(listener),
            Err(_) => Self::Tcp(OwnedFd::from(listener).into()),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

/// Runs until it is told to stop and nothing is left. Returns the status for the container.
#[must_use]
pub fn run(arrival: Arrival, signals: Signals) -> u8 {
    let Arrival { how, before: _before, document, parcel, mut left, heard } = arrival;
    let why = match how {
        How::Crash(why) | How::Return(why) => why,
        How::Upgrade => String::new(),
    };
    let mut doors = Vec::new();
    if let Some((fd, _)) = document.place.control {
        doors.extend(left.fd(fd).map(|fd| Door::Unix(fd.into())));
    }
    if let Some(fd) = document.place.http {
        doors.extend(left.fd(fd).map(|fd| Door::Tcp(fd.into())));
    }
    let pipes = document.logs.into_pipes(&parcel, &mut left);
    let pipes =
        pipes.into_iter().map(|(unit, fd, splitter)| Pipe { file: fd.into(), unit, splitter }).collect();
    let text = format!("svinit has crashed more than {CRASHES_MAX} times within a minute, last by {why}");
    let is_order = |event: &Event| matches!(event, Event::ShutdownAsked { .. });
    let is_told = document.machine.is_ending() || heard.iter().any(is_order);
    let status = look_after(&text, signals, &doors, pipes, is_told);
    // Held sockets, notify sockets: until here whoever came waited, and was not told that nobody is there.
    drop(left);
    status
}

/// The same when nothing is known but that svinit has crashed, and where it can be asked.
#[must_use]
pub fn run_blind(why: &str, signals: Signals, doors: Vec<OwnedFd>) -> u8 {
    let doors: Vec<Door> = doors.into_iter().map(Door::of).collect();
    look_after(&format!("svinit has crashed and cannot go on: {why}"), signals, &doors, Vec::new(), false)
}

/// `is_told`: to stop, before it came to this.
fn look_after(text: &str, mut signals: Signals, doors: &[Door], mut pipes: Vec<Pipe>, is_told: bool) -> u8 {
    say(&format!("{text}; safe mode: services go on, nothing is restarted"));
    let mut kill_at: Option<Time> = None;
    let mut orders = usize::from(is_told);
    loop {
        let is_order = |number: &i32| meaning(&signal::name(*number), Role::Units) == Meaning::Shutdown;
        if orders == 0 {
            wait(&signals, doors, &pipes, kill_at);
            orders = signals.pending().filter(is_order).count();
        }
        for _ in 0..std::mem::take(&mut orders) {
            let now = clock::now();
            kill_at = Some(kill_at.map_or(now.after(STOP_TIMEOUT), |_| now));
            signal_all(libc::SIGTERM);
            signal_all(libc::SIGCONT);
        }
        while let Some(zombie) = reap::peek() {
            reap::reap(zombie.pid);
        }
        if kill_at.is_some_and(|at| clock::now() >= at) {
            signal_all(libc::SIGKILL);
            kill_at = Some(clock::now().after(CLIENT_TIMEOUT));
        }
        pipes.retain_mut(pass_on);
        for door in doors {
            answer(door, text);
        }
        if kill_at.is_some() && children().is_empty() {
            pipes.retain_mut(pass_on);
            say("all services have ended in safe mode");
            return STATUS;
        }
    }
}

fn wait(signals: &Signals, doors: &[Door], pipes: &[Pipe], until: Option<Time>) {
    let fds = std::iter::once(signals.as_fd()).chain(doors.iter().map(AsFd::as_fd));
    let fds = fds.chain(pipes.iter().map(|pipe| pipe.file.as_fd()));
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let timeout = until.map_or(PollTimeout::NONE, |at| {
        PollTimeout::try_from(at.since(clock::now()) + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO)
    });
    let _ = poll(&mut fds, timeout);
}

fn children() -> Vec<Pid> {
    procfs::children(Pid(Posture::look().pid)).unwrap_or_default()
}

/// Everything below us, parents first.
fn signal_all(number: i32) {
    let mut waiting = children();
    while let Some(pid) = waiting.pop() {
        waiting.extend(procfs::children(pid).unwrap_or_default());
        let _ = own::signal_child(pid, number);
    }
}

/// Passes on what one pipe has. False at its end.
fn pass_on(pipe: &mut Pipe) -> bool {
    if !is_writable() {
        // Nobody reads us: then whoever writes to us waits.
        return true;
    }
    let mut bytes = [0; 4096];
    let unit = &pipe.unit;
    match pipe.file.read(&mut bytes) {
        Ok(0) => {
            pipe.splitter.finish(|piece| line(unit, piece.text));
            false
        }
        Ok(n) => {
            pipe.splitter.feed(&bytes[..n], |piece| line(unit, piece.text));
            true
        }
        Err(error) => [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()),
    }
}

fn is_writable() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

fn line(unit: &str, text: &[u8]) {
    let whole = [unit.as_bytes(), b" | ", text, b"\n"].concat();
    let _ = io::stdout().write_all(&whole);
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "svinit | {text}");
}

/// The same to everybody: how it stands.
fn answer(door: &Door, why: &str) {
    let body = serde_json::json!({
        "status": "fail", "output": format!("degraded: {why}"),
        "error": "refused", "message": format!("{why}; svinit is in safe mode: it reaps, and stops everything when told to"),
    });
    let body = body.to_string();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    // None left, or the client is gone: both are no reason to do anything else.
    let _ = match door {
        Door::Unix(listener) => listener.accept().and_then(|(mut stream, _)| {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
            stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
            reply(&mut stream, &text)
        }),
        Door::Tcp(listener) => listener.accept().and_then(|(mut stream, _)| {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
            stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
            reply(&mut stream, &text)
        }),
    };
}

/// A request that was not read would make the kernel throw our answer away.
fn reply(stream: &mut (impl Read + Write), text: &str) -> io::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request)?;
    stream.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crashes_of_the_last_minute_count() {
        let at = |seconds: u64| Time::ZERO.after(Duration::from_secs(seconds));
        let crashes = [at(10), at(20), at(65)];
        assert_eq!(recent(&crashes, at(66)), 3);
        assert_eq!(recent(&crashes, at(70)), 3, "a minute is not over before its end");
        assert_eq!(recent(&crashes, at(71)), 2);
        assert_eq!(recent(&crashes, at(81)), 1);
        assert_eq!(recent(&crashes, at(126)), 0);
        assert_eq!(recent(&[], at(1)), 0);
    }
}
