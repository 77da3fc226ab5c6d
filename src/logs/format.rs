//! The forms of a line on its way out: text, JSON, stamped. Pure.
//!
//! What stands before the message is the same for all lines of one read, so it is made once a read ([`Head`]) and
//! copied. In text no message can pose as another unit's: each line has its own prefix, and what would move a
//! terminal's cursor back over that prefix is shown as `\r` or `\x1b` instead of being sent. Colours pass.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

use crate::logs::line::Stream;
use crate::units::spec::{LogFormat, LogLevel};

/// `2026-11-21T04:04:18.123456Z`.
pub const STAMP_LEN: usize = 27;

/// The last microsecond of the year 9999; later ones would not fit the form.
const STAMP_MAX: i64 = 253_402_300_799_999_999;

/// RFC 3339 in UTC with microseconds; works out the calendar once a second.
#[derive(Clone, Debug)]
pub struct Stamp {
    second: i64,
    text: [u8; STAMP_LEN],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

impl Stamp {
    /// The text of `wall_us`, microseconds since 1970.
    pub fn at(&mut self, wall_us: i64) -> &[u8; STAMP_LEN] {
        let wall_us = wall_us.clamp(0, STAMP_MAX);
        let second = wall_us / 1_000_000;
        if second != self.second {
            self.second = second;
            self.set_second();
        }
        digits(&mut self.text[20..26], wall_us % 1_000_000);
        &self.text
    }

    fn set_second(&mut self) {
        let (year, month, day) = civil(self.second / 86_400);
        let of_day = self.second % 86_400;
        digits(&mut self.text[0..4], year);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], of_day / 3600);
        digits(&mut self.text[14..16], of_day / 60 % 60);
        digits(&mut self.text[17..19], of_day % 60);
    }
}

/// Year, month and day of a day since 1970-01-01, by eras of 400 years that begin in March, so that the leap day is last.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let of_era = day % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year + day / 146_097 * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * march_month + 2) / 5 + 1)
}

fn digits(into: &mut [u8], mut number: i64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// The wire's word for a stream.
#[must_use]
pub fn stream_word(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Svinit => "svinit",
    }
}

/// The wire's word for a level.
#[must_use]
pub fn level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

/// Whose line it is.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The unit; `svinit` for its own.
    pub unit: &'a str,
    /// Its main process.
    pub pid: Option<i32>,
    /// Where it came from.
    pub stream: Stream,
    /// Of svinit's own words.
    pub level: Option<LogLevel>,
}

/// What comes before each line of one read, and the form of what follows.
#[derive(Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
    format: LogFormat,
}

impl Head {
    /// Makes it for lines of `origin` that were read at `wall_us`.
    pub fn set(&mut self, format: LogFormat, stamp: &mut Stamp, wall_us: i64, origin: Origin<'_>) {
        self.format = format;
        self.bytes.clear();
        match format {
            LogFormat::Text => self.set_text(origin),
            LogFormat::Json => self.set_json(stamp.at(wall_us), origin),
        }
    }

    /// Only a time, for files with `timestamps`.
    pub fn set_stamp(&mut self, stamp: &mut Stamp, wall_us: i64) {
        self.format = LogFormat::Text;
        self.bytes.clear();
        self.bytes.extend_from_slice(stamp.at(wall_us));
        self.bytes.push(b' ');
    }

    /// The bytes that a line costs beside its own.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing comes before a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds head, `text` as it is, and a newline: for text that [`is_tame`], and for files.
    #[inline]
    pub fn put_plain(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.reserve(self.bytes.len() + text.len() + 1);
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    /// Adds the line in its form, whatever is in `text`.
    pub fn put(&self, out: &mut Vec<u8>, text: &[u8], goes_on: bool) {
        out.reserve(self.bytes.len() + text.len() + 32);
        out.extend_from_slice(&self.bytes);
        match self.format {
            LogFormat::Text => put_visible(out, text),
            LogFormat::Json => {
                put_json_text(out, text);
                out.extend_from_slice(if goes_on { br#"","partial":true}"# } else { br#""}"# });
            }
        }
        out.push(b'\n');
    }

    fn set_text(&mut self, origin: Origin<'_>) {
        if origin.stream == Stream::Svinit && origin.unit != OWN_NAME {
            self.bytes.extend_from_slice(OWN_NAME.as_bytes());
            self.bytes.extend_from_slice(b" | ");
            self.bytes.extend_from_slice(origin.unit.as_bytes());
            self.bytes.extend_from_slice(b": ");
        } else {
            self.bytes.extend_from_slice(origin.unit.as_bytes());
            self.bytes.extend_from_slice(b" | ");
        }
    }

    fn set_json(&mut self, stamp: &[u8; STAMP_LEN], origin: Origin<'_>) {
        let out = &mut self.bytes;
        out.extend_from_slice(br#"{"ts":""#);
        out.extend_from_slice(stamp);
        out.extend_from_slice(br#"","unit":""#);
        put_json_text(out, origin.unit.as_bytes());
        out.extend_from_slice(br#"","pid":"#);
        match origin.pid {
            Some(pid) => out.extend_from_slice(pid.to_string().as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","stream":""#);
        out.extend_from_slice(stream_word(origin.stream).as_bytes());
        if let Some(level) = origin.level {
            out.extend_from_slice(br#"","level":""#);
            out.extend_from_slice(level_word(level).as_bytes());
        }
        out.extend_from_slice(br#"","message":""#);
    }
}

/// The name that svinit's own lines carry.
pub const OWN_NAME: &str = "svinit";

/// Whether `bytes` hold nothing that could move a terminal's cursor, so that they may pass as they are.
#[must_use]
pub fn is_tame(bytes: &[u8]) -> bool {
    memchr3(b'\r', 0x1b, 0x08, bytes).is_none() && memchr2(0x0b, 0x0c, bytes).is_none()
}

/// `text` for a terminal: with cursor movement made visible, and its colours.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if is_tame(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    put_visible(&mut out, text.as_bytes());
    // Whole characters are replaced by whole ones.
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Adds `text` with cursor movement made visible. Colours (`ESC [ ... m`) stay.
fn put_visible(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(&first) = text.first() {
        let used = match first {
            b'\r' => push(out, b"\\r"),
            0x08 => push(out, b"\\b"),
            0x0b => push(out, b"\\v"),
            0x0c => push(out, b"\\f"),
            0x1b => match colour_len(text) {
                Some(len) => {
                    out.extend_from_slice(&text[..len]);
                    len
                }
                None => push(out, b"\\x1b"),
            },
            _ => {
                let len = text.iter().position(|b| matches!(b, b'\r' | 0x08 | 0x0b | 0x0c | 0x1b));
                let len = len.unwrap_or(text.len());
                out.extend_from_slice(&text[..len]);
                len
            }
        };
        text = &text[used..];
    }
}

/// Adds what stands for one byte.
fn push(out: &mut Vec<u8>, sign: &[u8]) -> usize {
    out.extend_from_slice(sign);
    1
}

/// The length of the colour sequence that `text` begins with.
fn colour_len(text: &[u8]) -> Option<usize> {
    let parameters = text.strip_prefix(b"\x1b[")?;
    let end = parameters.iter().position(|b| !matches!(b, b'0'..=b'9' | b';' | b':'))?;
    (parameters[end] == b'm').then_some(end + 3)
}

/// Adds `text` as the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn put_json_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain_json(text) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        put_escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether `text` is ASCII that stands for itself in a JSON string; eight bytes at a time, since most lines are.
fn is_plain_json(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    // The top bit of each byte that is zero, or (harmless here) follows one that is.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let is_odd = |word: u64| {
        let control = word.wrapping_sub(0x20 * ONES) & !word & TOPS;
        let quote = zeros(word ^ (u64::from(b'"') * ONES));
        let backslash = zeros(word ^ (u64::from(b'\\') * ONES));
        (word & TOPS) | control | quote | backslash != 0
    };
    let (words, rest) = text.as_chunks::<8>();
    words.iter().all(|word| !is_odd(u64::from_le_bytes(*word)))
        && rest.iter().all(|b| (0x20..0x80).contains(b) && *b != b'"' && *b != b'\\')
}

fn put_escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests;
