//! DNS messages: one question, and the addresses in the answer to it. Survives any bytes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::IpAddr;

/// Most records of an answer that are looked at, and most addresses that are taken.
const RECORDS_MAX: usize = 128;

/// Bytes of the header.
const HEADER: usize = 12;

/// The kind of address that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `A`.
    V4 = 1,
    /// `AAAA`.
    V6 = 28,
}

/// One question, ready to be sent.
pub struct Question {
    bytes: Vec<u8>,
    kind: Kind,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// These; none at all when the name has none of this kind.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// It will or can not say, and why.
    Refused(&'static str),
    /// The whole answer does not fit into a datagram.
    Truncated,
}

impl Question {
    /// A question for the addresses of `name`, with a number that cannot be guessed.
    ///
    /// # Errors
    /// It is no host name.
    pub fn new(name: &str, kind: Kind) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no host name"));
        let [high, low] = random_id();
        // One question, please look it up yourself.
        let mut bytes = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        if name.is_empty() || name.len() > 253 {
            return Err(wrong());
        }
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
            bytes.push(length.ok_or_else(wrong)?);
            if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong());
            }
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
        Ok(Self { bytes, kind })
    }

    /// The message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `message` says to this question; `None` when it is no answer to it.
    #[must_use]
    pub fn answer(&self, message: &[u8]) -> Option<Answer> {
        let header = message.get(..HEADER)?;
        let repeated = message.get(HEADER..self.bytes.len())?;
        let is_ours = header[..2] == self.bytes[..2] && repeated.eq_ignore_ascii_case(&self.bytes[HEADER..]);
        let is_answer = header[2] & 0x80 != 0 && header[4..6] == [0, 1];
        if !is_ours || !is_answer {
            return None;
        }
        let is_cut = header[2] & 2 != 0;
        Some(match header[3] & 15 {
            0 if is_cut => Answer::Truncated,
            0 => {
                let count = usize::from(u16::from_be_bytes([header[6], header[7]]));
                Answer::Addresses(self.addresses(message.get(self.bytes.len()..)?, count))
            }
            3 => Answer::NoSuchName,
            1 => Answer::Refused("that it does not understand"),
            2 => Answer::Refused("that it has failed"),
            5 => Answer::Refused("that it refuses"),
            _ => Answer::Refused("an error"),
        })
    }

    /// Addresses of our kind, whatever name they belong to: the server has followed the aliases for us.
    fn addresses(&self, mut rest: &[u8], count: usize) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for _ in 0..count.min(RECORDS_MAX) {
            let Some((kind, data, after)) = record(rest) else { break };
            match (kind, self.kind) {
                (1, Kind::V4) => found.extend(<[u8; 4]>::try_from(data).map(IpAddr::from)),
                (28, Kind::V6) => found.extend(<[u8; 16]>::try_from(data).map(IpAddr::from)),
                _ => {}
            }
            rest = after;
        }
        found
    }
}

/// One record: its kind, its data, and what follows it. The class is the internet's, or else it counts as none.
fn record(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let rest = after_name(bytes)?;
    let (fixed, rest) = rest.split_at_checked(10)?;
    let kind = if fixed[2..4] == [0, 1] { u16::from_be_bytes([fixed[0], fixed[1]]) } else { 0 };
    let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let (data, rest) = rest.split_at_checked(length)?;
    Some((kind, data, rest))
}

/// Passes over a name. A pointer ends it and is not followed, so it cannot lead in a circle.
fn after_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        match length {
            0 => return Some(rest),
            0xC0..=0xFF => return rest.get(1..),
            1..=63 => bytes = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

/// A number that a stranger cannot guess, so that a forged answer misses.
fn random_id() -> [u8; 2] {
    // Two random keys from the kernel, of which the second call in a thread only differs by one: hashed, so that this
    // cannot be seen from outside.
    let number = RandomState::new().hash_one(0).to_le_bytes();
    [number[0], number[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_cannot_be_asked_for_is_refused() {
        let long = "a".repeat(64);
        for name in ["", "a..b", ".a", "a b", "a\0", long.as_str(), "\u{e4}"] {
            assert!(Question::new(name, Kind::V4).is_err(), "{name:?}");
        }
        assert!(Question::new("_x-1.example", Kind::V6).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let question = Question::new("web.example", Kind::V4).unwrap();
            let _ = question.answer(&message);
            let mut answer = question.bytes().to_vec();
            answer[2] |= 0x80;
            answer[7] = 9;
            answer.extend(message);
            prop_assert!(question.answer(&answer).is_some());
        }
    }
}
