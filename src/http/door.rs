//! How a connection is let in, bounded in bytes and time, and how accepting goes on when descriptors have run out.
//!
//! `axum::serve` sets no timer, so that half a request would hold memory in PID 1 for ever: connections are driven by
//! hyper with our own timer. Nothing here wakes up while there is no connection.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};

/// Pause after an accept that found no descriptor or no memory; doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause between two such accepts: how long a client may wait once there is room again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bytes that are read ahead of a connection, and that may wait to be written to it.
const BUFFER_BYTES: usize = 16 << 10;

/// Descriptors that connections leave free: enough to look at `/proc` and to make processes, each of which takes eight
/// for a moment and four for good.
const FREE_MIN: u64 = 32;

/// Of very few, connections leave so much: a quarter.
const FREE_SHARE: u64 = 4;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a whole request head, from the connection or the end of the answer before.
    pub(crate) head_timeout: Duration,
    /// Bytes of a request head, beyond which the answer is 431.
    pub(crate) head_bytes: usize,
    /// Headers, beyond which the answer is 431.
    pub(crate) headers: usize,
}

/// Whether a connection leaves descriptors for what svinit is there for. Those who have to repair a crash come first:
/// one that leaves too few is to be turned away.
pub(crate) fn leaves_room(stream: &impl AsRawFd) -> bool {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    has_room(stream.as_raw_fd(), limit)
}

/// The kernel gives the lowest number that is free, so a number near the limit says that few are left.
fn has_room(fd: i32, limit: u64) -> bool {
    let free = FREE_MIN.min(limit / FREE_SHARE);
    u64::try_from(fd).is_ok_and(|fd| fd.saturating_add(free) < limit)
}

/// Why a connection is turned away that leaves too few descriptors.
pub(crate) fn few_are_left() -> io::Error {
    io::Error::other("descriptors run out, and the rest is for units")
}

/// Serves one connection to its end, however it ends.
pub(crate) async fn connection<I, S>(stream: I, service: S, limits: Limits)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .max_headers(limits.headers)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // A client that goes away, is slow or speaks no HTTP is the client's affair.
        tracing::debug!("a connection has ended early: {error}");
    }
}

/// Keeps a failing `accept` from spinning: with no descriptor left it fails at once, again and again.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    failures: u32,
}

impl Pause {
    /// A connection came in.
    pub(crate) fn over(&mut self, at: &str) {
        if self.failures > 0 {
            tracing::info!("connections to {at} are accepted again");
            self.failures = 0;
        }
    }

    /// An accept has failed. Waits, unless it was about that one connection only.
    pub(crate) async fn after(&mut self, at: &str, error: &io::Error) {
        let Some(length) = self.length(error) else { return };
        if self.failures == 1 {
            tracing::warn!("cannot accept a connection to {at}: {error}; it is tried again until it works");
        }
        tokio::time::sleep(length).await;
    }

    fn length(&mut self, error: &io::Error) -> Option<Duration> {
        let about_one = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if about_one {
            return None;
        }
        let length = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::{Pause, has_room};

    #[test]
    fn pauses_grow_to_a_second_while_descriptors_are_short() {
        let mut pause = Pause::default();
        let short = io::Error::from_raw_os_error(libc::EMFILE);
        let lengths: Vec<u128> = (0..7).filter_map(|_| pause.length(&short)).map(|l| l.as_millis()).collect();
        assert_eq!(lengths, [50, 100, 200, 400, 800, 1000, 1000]);
        for _ in 0..1000 {
            assert_eq!(pause.length(&short), Some(Duration::from_secs(1)));
        }
        pause.over("here");
        assert_eq!(pause.length(&short), Some(Duration::from_millis(50)));
    }

    #[test]
    fn the_last_descriptors_are_not_for_connections() {
        assert!(has_room(20, 1024) && has_room(991, 1024) && !has_room(992, 1024));
        assert!(has_room(47, 64) && !has_room(48, 64), "a quarter of few");
        assert!(has_room(5000, u64::MAX));
    }

    #[test]
    fn a_connection_that_broke_while_it_waited_is_no_reason_to_pause() {
        let mut pause = Pause::default();
        assert_eq!(pause.length(&io::Error::from_raw_os_error(libc::ECONNABORTED)), None);
        assert_eq!(pause.length(&io::Error::from_raw_os_error(libc::EINTR)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_without_descriptors_does_not_spin() {
        let began = tokio::time::Instant::now();
        let mut pause = Pause::default();
        for _ in 0..20 {
            pause.after("here", &io::Error::from_raw_os_error(libc::ENFILE)).await;
        }
        assert!(began.elapsed() > Duration::from_secs(15));
    }
}
