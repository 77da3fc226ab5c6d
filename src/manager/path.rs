//! The path of a request in its normal form, which is what routes are compared with and what a service is sent.
//!
//! A proxy and the service behind it must not see two different paths in the same bytes: then a request for one route would
//! be answered by another. So there is one form, made once. What could be read in two ways (a dot that climbs behind an
//! encoded slash, a backslash, NUL) is refused rather than repaired.

use std::borrow::Cow;
use std::fmt;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `%` without two hexadecimal digits.
    Percent,
    /// NUL, a backslash, or another byte that no path has.
    Byte,
    /// `..` leads above the root, or hides behind `%2F` or `;`.
    Climbs,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Percent => "after % come two hexadecimal digits",
            Self::Byte => "a NUL, a backslash or another such byte cannot stand in a path",
            Self::Climbs => "its \"..\" leads out of it, or hides behind an encoded slash or a semicolon",
        })
    }
}

/// The normal form of `path`, which begins with a slash: unreserved characters are not encoded, other encodings are in
/// capitals, no empty and no dot segments.
///
/// # Errors
/// It could be understood in more than one way.
pub fn normal(path: &str) -> Result<Cow<'_, str>, Refused> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    let mut out: Vec<&str> = Vec::new();
    let ends_open = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop().ok_or(Refused::Climbs)?;
            }
            segment if hides_dots(segment) => return Err(Refused::Climbs),
            segment => out.push(segment),
        }
    }
    let mut path = String::with_capacity(decoded.len());
    for segment in &out {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() || ends_open {
        path.push('/');
    }
    Ok(Cow::Owned(path))
}

/// Nothing to be done: most paths by far.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        let is_odd = match byte {
            b'/' => before == b'/',
            // A dot behind a slash may begin a dot segment, and a semicolon may hide one.
            b'.' => before == b'/',
            b'%' | b'\\' | b';' => true,
            _ => !byte.is_ascii_graphic(),
        };
        if is_odd {
            return false;
        }
        before = byte;
    }
    true
}

fn decode_unreserved(path: &str) -> Result<String, Refused> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) = (rest.next().and_then(hex), rest.next().and_then(hex));
                let (Some(high), Some(low)) = (high, low) else { return Err(Refused::Percent) };
                match high << 4 | low {
                    0 | b'\\' => return Err(Refused::Byte),
                    value if is_unreserved(value) => out.push(char::from(value)),
                    value => {
                        out.push('%');
                        out.push(char::from(HEX[usize::from(value >> 4)]));
                        out.push(char::from(HEX[usize::from(value & 15)]));
                    }
                }
            }
            b'\\' => return Err(Refused::Byte),
            byte if byte.is_ascii_graphic() => out.push(char::from(byte)),
            _ => return Err(Refused::Byte),
        }
    }
    Ok(out)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn hex(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether `segment` has dots that climb for a service that decodes `%2F`, or that takes away what follows `;`.
fn hides_dots(segment: &str) -> bool {
    if !segment.contains("..") && !segment.contains(['%', ';']) {
        return false;
    }
    let seen = segment.replace("%2F", "/").replace("%3B", ";");
    seen.split('/').any(|part| {
        let part = part.split(';').next().unwrap_or_default();
        part == ".." || (part == "." && seen.len() > 1)
    })
}

/// Whether `byte` may stand in a name of HTTP: a method, a header, a token.
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Refused, normal};

    #[test]
    fn paths_come_into_their_normal_form() {
        for (path, form) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a///b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61%2f%3a", "/a%2F%3A"),
            ("/a%20b", "/a%20b"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a..b/...", "/a..b/..."),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%3Fb%23", "/a%3Fb%23"),
        ] {
            assert_eq!(normal(path).unwrap(), form, "{path}");
        }
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_refused() {
        for (path, why) in [
            ("/..", Refused::Climbs),
            ("/a/../../b", Refused::Climbs),
            ("/%2e%2e/", Refused::Climbs),
            ("/api/..%2f..%2fadmin", Refused::Climbs),
            ("/api/..%2F", Refused::Climbs),
            ("/api/x%2f..", Refused::Climbs),
            ("/api/..;/admin", Refused::Climbs),
            ("/api/..;x=1/admin", Refused::Climbs),
            ("/api/..%3b/admin", Refused::Climbs),
            ("/api/.;/admin", Refused::Climbs),
            ("/a%00", Refused::Byte),
            ("/a%5c..%5c", Refused::Byte),
            ("/a\\b", Refused::Byte),
            ("/a b", Refused::Byte),
            ("/a\u{e4}", Refused::Byte),
            ("/a%", Refused::Percent),
            ("/a%2", Refused::Percent),
            ("/a%zz", Refused::Percent),
            ("/a%+1", Refused::Percent),
        ] {
            assert_eq!(normal(path), Err(why), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_and_never_climbs(tail in "[a./%;25efEF\\\\]{0,24}") {
            let path = format!("/{tail}");
            if let Ok(form) = normal(&path) {
                prop_assert_eq!(normal(&form).unwrap(), form.as_ref());
                prop_assert!(form.starts_with('/'));
                prop_assert!(!form.split('/').any(|segment| segment == ".." || segment == "."));
                prop_assert!(!form.contains("//"));
            }
        }

        #[test]
        fn no_text_makes_it_panic(tail in ".{0,40}") {
            let _ = normal(&format!("/{tail}"));
        }
    }
}
