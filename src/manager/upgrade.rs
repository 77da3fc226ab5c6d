//! A connection that was switched to another protocol: bytes both ways, until one side ends it.
//!
//! Of WebSocket so much is understood that a message is never cut: when the service goes away, or is about to be restarted, the
//! client is told 1012 (service restart), between two frames, and connects again at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::manager::service::{Live, Place};
use crate::manager::wire::intake::{Intake, within};

/// A close frame with the code 1012.
const RESTARTING: [u8; 4] = [0x88, 2, 0x03, 0xf4];

/// Bytes that are on their way in one direction.
const ROOM: usize = 16 << 10;

/// For the close frame.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Both ends of it, with what each has sent already.
pub struct Tunnel {
    /// The client.
    pub client: (TcpStream, Intake),
    /// The service.
    pub service: (TcpStream, Intake),
    /// It is a WebSocket.
    pub is_websocket: bool,
    /// Nothing may move for so long; zero is for ever.
    pub patience: Duration,
}

/// Bytes that went to the service and to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// To the service.
    pub received: u64,
    /// To the client.
    pub sent: u64,
}

impl Tunnel {
    /// Carries bytes until an end, a pause that is too long, or until `place` or the gateway goes away.
    pub async fn run(
        mut self,
        live: &Arc<Live>,
        place: &Place,
        leaving: &mut watch::Receiver<bool>,
    ) -> Moved {
        let mut moved = Moved::default();
        let mut frames = Frames::default();
        let (mut client_in, mut client_out) = self.client.0.split();
        let (mut service_in, mut service_out) = self.service.0.split();
        let mut last = Instant::now();
        let is_told = loop {
            let changed = live.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if live.is_leaving(place.at) || *leaving.borrow() {
                break true;
            }
            let idle_until = last + self.patience;
            let idle = async {
                if self.patience.is_zero() {
                    std::future::pending().await
                } else {
                    tokio::time::sleep_until(idle_until).await;
                }
            };
            let up = pass(&mut self.client.1, &mut client_in, &mut service_out);
            let down = pass(&mut self.service.1, &mut service_in, &mut client_out);
            tokio::select! {
                passed = up => match passed {
                    Ok(0) | Err(_) => break false,
                    Ok(length) => {
                        moved.received += length as u64;
                        self.client.1.take(length);
                    }
                },
                passed = down => match passed {
                    Ok(0) | Err(_) => break true,
                    Ok(length) => {
                        let bytes = self.service.1.unread();
                        frames.follow(&bytes[..length]);
                        moved.sent += length as u64;
                        self.service.1.take(length);
                        last = Instant::now();
                        continue;
                    }
                },
                () = idle => break true,
                () = changed => continue,
                _ = leaving.changed() => continue,
            }
            last = Instant::now();
        };
        if is_told && self.is_websocket && frames.is_between() {
            // It may be gone as well.
            let _ = within(LAST_WORDS, client_out.write_all(&RESTARTING)).await;
        }
        // What was written is still sent before the end.
        let _ = within(LAST_WORDS, client_out.shutdown()).await;
        let _ = within(LAST_WORDS, service_out.shutdown()).await;
        moved
    }
}

/// Passes some bytes on, reading them first if there are none. How many were written, which the caller takes from `intake`; 0
/// is the end. May be given up at any time without losing bytes.
async fn pass(
    intake: &mut Intake,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<usize> {
    if intake.unread().is_empty() {
        intake.release();
        if intake.more(from, ROOM).await? == 0 {
            return Ok(0);
        }
    }
    match to.write(intake.unread()).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Where in its frames a WebSocket is, seen from a server's side, which does not mask.
#[derive(Clone, Debug, Default)]
struct Frames {
    head: [u8; 14],
    length: usize,
    payload: u64,
    is_closed: bool,
}

impl Frames {
    /// Whether a frame could be put in here.
    fn is_between(&self) -> bool {
        self.length == 0 && self.payload == 0 && !self.is_closed
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head[self.length] = bytes[0];
            self.length += 1;
            bytes = &bytes[1..];
            if let Some(payload) = self.payload() {
                self.is_closed |= self.head[0] & 15 == 8;
                self.payload = payload;
                self.length = 0;
            }
        }
    }

    /// The length of what follows the head, once that is whole.
    fn payload(&self) -> Option<u64> {
        let short = u64::from(*self.head[..self.length].get(1)? & 0x7f);
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.length < 2 + wide + mask {
            return None;
        }
        let told = self.head[2..2 + wide].iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
        Some(if wide == 0 { short } else { told })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_place_between_two_frames_is_known_whatever_pieces_they_come_in() {
        let long = [vec![0x82, 126, 1, 0], vec![7; 256]].concat();
        let longest = [vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], vec![7; 65536]].concat();
        for frame in
            [vec![0x81, 2, b'h', b'i'], vec![0x89, 0], vec![0x81, 0x82, 1, 2, 3, 4, 5, 6], long, longest]
        {
            for piece in [1, 3, frame.len()] {
                let mut frames = Frames::default();
                let mut seen = 0;
                for bytes in frame.chunks(piece) {
                    frames.follow(bytes);
                    seen += bytes.len();
                    assert_eq!(frames.is_between(), seen == frame.len(), "{seen} of {}", frame.len());
                }
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut frames = Frames::default();
        frames.follow(&RESTARTING);
        assert!(!frames.is_between());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Frames::default().follow(&bytes);
        }
    }
}
