//! The head of a message: its first line and its header lines, in one buffer that is used again.
//!
//! Strict: lines end with CR LF, names are tokens, values have no control characters, nothing is folded. Whoever writes
//! otherwise is answered with 400, since the service behind might understand it in another way.

use std::fmt;
use std::ops::Range;

use crate::manager::path::is_token;

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line ends with LF alone.
    BareLf,
    /// CR without LF.
    BareCr,
    /// A control character, NUL for one.
    Control,
    /// A line without a colon.
    NoColon,
    /// The name is empty or has a character that names do not have; a space before the colon for one.
    Name,
    /// A line that goes on in the next one.
    Folded,
    /// Too many lines.
    TooMany,
    /// The first line.
    FirstLine,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLf => "a line ends with LF alone",
            Self::BareCr => "a CR stands alone",
            Self::Control => "a header has a control character",
            Self::NoColon => "a header line has no colon",
            Self::Name => "the name of a header is none",
            Self::Folded => "a header line is folded",
            Self::TooMany => "there are too many header lines",
            Self::FirstLine => "its first line cannot be understood",
        })
    }
}

/// Looks for the end of a head, going on where it was when more bytes have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finder {
    /// Bytes that were looked at, always whole lines.
    seen: usize,
}

impl Finder {
    /// The length of the head at the beginning of `bytes`, with its empty line, once that is there.
    ///
    /// # Errors
    /// A line ends with LF alone: no use in waiting for the rest.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Flaw> {
        while let Some(length) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let at = self.seen + length;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Flaw::BareLf);
            }
            if length == 1 && self.seen > 0 {
                return Ok(Some(at + 1));
            }
            self.seen = at + 1;
        }
        Ok(None)
    }
}

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: Range<u32>,
    value: Range<u32>,
}

/// A head that was read.
#[derive(Clone, Debug, Default)]
pub struct Head {
    text: Vec<u8>,
    /// Length of the first line.
    first: usize,
    lines: Vec<Line>,
}

impl Head {
    /// Takes in `bytes`, a whole head with its empty line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, bytes: &[u8], lines_max: usize) -> Result<(), Flaw> {
        self.text.clear();
        self.text.extend_from_slice(bytes);
        self.lines.clear();
        let text = &self.text;
        let mut at = line_end(text, 0)?;
        self.first = at;
        at += 2;
        loop {
            let end = line_end(text, at)?;
            if end == at {
                return Ok(());
            }
            if self.lines.len() == lines_max {
                return Err(Flaw::TooMany);
            }
            self.lines.push(line(text, at, end)?);
            at = end + 2;
        }
    }

    /// The first line.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.text[..self.first]
    }

    /// Some bytes of it.
    #[must_use]
    pub fn slice(&self, range: &Range<usize>) -> &[u8] {
        &self.text[range.clone()]
    }

    /// Name and value of each line, in order. Values have no space around them.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (&self.text[wide(&line.name)], &self.text[wide(&line.value)]))
    }

    /// The values of all lines called `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.lines()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first line called `name`.
    #[must_use]
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

fn wide(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// Where the line that begins at `from` ends, before its CR LF.
fn line_end(text: &[u8], from: usize) -> Result<usize, Flaw> {
    let rest = text.get(from..).unwrap_or_default();
    let Some(length) = memchr::memchr(b'\n', rest) else { return Err(Flaw::BareLf) };
    if length == 0 || rest[length - 1] != b'\r' {
        return Err(Flaw::BareLf);
    }
    Ok(from + length - 1)
}

fn line(text: &[u8], from: usize, end: usize) -> Result<Line, Flaw> {
    let line = &text[from..end];
    if matches!(line[0], b' ' | b'\t') {
        return Err(Flaw::Folded);
    }
    let colon = memchr::memchr(b':', line).ok_or(Flaw::NoColon)?;
    if colon == 0 || !line[..colon].iter().all(|byte| is_token(*byte)) {
        return Err(Flaw::Name);
    }
    let mut value = &line[colon + 1..];
    if let Some(bad) = value.iter().find(|byte| (**byte < 0x20 && **byte != b'\t') || **byte == 0x7f) {
        return Err(if *bad == b'\r' { Flaw::BareCr } else { Flaw::Control });
    }
    let mut start = from + colon + 1;
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
        start += 1;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let narrow = |at: usize| u32::try_from(at).map_err(|_| Flaw::TooMany);
    Ok(Line {
        name: narrow(from)?..narrow(from + colon)?,
        value: narrow(start)?..narrow(start + value.len())?,
    })
}

/// The parts of a request's first line, as places in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLine {
    /// `GET`.
    pub method: Range<usize>,
    /// What is asked for.
    pub target: Range<usize>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
}

/// Longest method.
const METHOD_MAX: usize = 32;

/// Reads `GET /path HTTP/1.1`; `None` for another version of HTTP that is well-formed.
///
/// # Errors
/// It is none.
pub fn request_line(line: &[u8]) -> Result<Option<RequestLine>, Flaw> {
    let wrong = Flaw::FirstLine;
    let method = memchr::memchr(b' ', line).ok_or(wrong)?;
    let target = memchr::memchr(b' ', &line[method + 1..]).ok_or(wrong)? + method + 1;
    let is_method = (1..=METHOD_MAX).contains(&method) && line[..method].iter().all(|byte| is_token(*byte));
    // What is not ASCII has no business in a target.
    let is_target = target > method + 1 && line[method + 1..target].iter().all(u8::is_ascii_graphic);
    if !is_method || !is_target {
        return Err(wrong);
    }
    let minor = match &line[target + 1..] {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Ok(None);
        }
        _ => return Err(wrong),
    };
    Ok(Some(RequestLine { method: 0..method, target: method + 1..target, minor }))
}

/// Reads `HTTP/1.1 200 OK`: the status and the minor version.
///
/// # Errors
/// It is none.
pub fn status_line(line: &[u8]) -> Result<(u16, u8), Flaw> {
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(Flaw::FirstLine)?;
    let (minor, digits, after) = match rest {
        [minor @ (b'0' | b'1'), b' ', a, b, c] => (*minor, [*a, *b, *c], &b""[..]),
        [minor @ (b'0' | b'1'), b' ', a, b, c, b' ', after @ ..] => (*minor, [*a, *b, *c], after),
        _ => return Err(Flaw::FirstLine),
    };
    let is_plain =
        digits.iter().all(u8::is_ascii_digit) && after.iter().all(|byte| *byte >= 0x20 || *byte == b'\t');
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')));
    if !is_plain || !(100..=599).contains(&status) {
        return Err(Flaw::FirstLine);
    }
    Ok((status, minor - b'0'))
}

/// The members of a list of tokens, over several lines: `close, upgrade`.
pub fn members<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Head, Flaw> {
        let mut head = Head::default();
        head.read(text.as_bytes(), 100).map(|()| head)
    }

    #[test]
    fn a_head_is_found_however_its_bytes_arrive() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n";
        let mut finder = Finder::default();
        let found: Vec<Option<usize>> =
            (0..=text.len()).map(|length| finder.end(&text[..length]).unwrap()).collect();
        assert_eq!(found.iter().position(Option::is_some), Some(27));
        assert_eq!(found[27], Some(27));
        assert_eq!(Finder::default().end(b"GET / HTTP/1.1\nHost"), Err(Flaw::BareLf));
    }

    #[test]
    fn lines_are_read_without_the_space_around_values() {
        let head = read("GET / HTTP/1.1\r\nHost:a\r\nX-A: \t b c \r\nx-a:\r\n\r\n").unwrap();
        assert_eq!(head.first(), b"GET / HTTP/1.1");
        let lines: Vec<_> = head.lines().collect();
        assert_eq!(lines, [(&b"Host"[..], &b"a"[..]), (b"X-A", b"b c"), (b"x-a", b"")]);
        assert_eq!(head.all("x-a").count(), 2);
    }

    #[test]
    fn lines_that_could_be_read_in_another_way_are_refused() {
        for (lines, flaw) in [
            ("Host : a", Flaw::Name),
            (": a", Flaw::Name),
            ("Ho st: a", Flaw::Name),
            ("Host", Flaw::NoColon),
            (" Host: a", Flaw::Folded),
            ("A: b\r\n c", Flaw::Folded),
            ("A: b\0c", Flaw::Control),
            ("A: b\u{7f}", Flaw::Control),
            ("A: b\rc", Flaw::BareCr),
            ("A: b\nC: d", Flaw::BareLf),
        ] {
            assert_eq!(
                read(&format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")).map(|_| ()),
                Err(flaw),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn first_lines_are_read_strictly() {
        let line = request_line(b"GET /a?b HTTP/1.0").unwrap().unwrap();
        assert_eq!((line.method, line.target, line.minor), (0..3, 4..8, 0));
        assert_eq!(request_line(b"PRI * HTTP/2.0"), Ok(None));
        for bad in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / http/1.1",
            "G(T / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
            "GET /\t HTTP/1.1",
            "",
        ] {
            assert_eq!(request_line(bad.as_bytes()), Err(Flaw::FirstLine), "{bad:?}");
        }
        assert_eq!(status_line(b"HTTP/1.1 200 OK"), Ok((200, 1)));
        assert_eq!(status_line(b"HTTP/1.0 404"), Ok((404, 0)));
        for bad in [
            "HTTP/2 200",
            "HTTP/1.1 99 x",
            "HTTP/1.1 600 x",
            "HTTP/1.1 2000",
            "HTTP/1.1 +20 x",
            "HTTP/1.1  200",
        ] {
            assert!(status_line(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Finder::default().end(&bytes);
            let _ = Head::default().read(&bytes, 10);
            let _ = request_line(&bytes);
            let _ = status_line(&bytes);
        }

        #[test]
        fn what_is_found_at_once_is_found_byte_by_byte(text in "[a:\r\n ]{0,40}") {
            let bytes = text.as_bytes();
            let mut finder = Finder::default();
            let mut slowly = Ok(None);
            for length in 0..=bytes.len() {
                slowly = finder.end(&bytes[..length]);
                if !matches!(slowly, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(slowly, Finder::default().end(bytes));
        }
    }
}
