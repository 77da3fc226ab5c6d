//! A bearer token: who knows it may come in.
//!
//! It is compared in a time that does not depend on where it differs, and it is never printed.

use std::fmt;
use std::hint::black_box;

/// Characters that it has at least. A random one of this length is not found by trying.
pub const TOKEN_MIN: usize = 16;

/// What has to be known.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl Token {
    /// Takes it as it stands in its file, without blanks around it.
    ///
    /// # Errors
    /// What is wrong with it, behind "the token ...".
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.len() < TOKEN_MIN {
            return Err(format!("is too short: {TOKEN_MIN} characters or more (openssl rand -hex 32)"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that no header can hold".to_owned());
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Whether `given` is it.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let mut differs = self.0.len() ^ given.len();
        for (at, byte) in self.0.iter().enumerate() {
            // One that is too short is compared with something, so that its length decides nothing else.
            let other = given.get(at).copied().unwrap_or(!byte);
            differs |= usize::from(black_box(byte ^ other));
        }
        black_box(differs) == 0
    }

    /// Whether `other` is the same one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.is(&other.0)
    }

    /// Whether `header`, the value of `Authorization`, holds it: `Bearer TOKEN`.
    #[must_use]
    pub fn is_in(&self, header: &[u8]) -> bool {
        let Some((scheme, rest)) = header.split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.is(rest.trim_ascii())
    }

    /// What a client sends as `Authorization`. For nobody's eyes.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "\u{0}"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert!(token.is_in(b"Bearer 0123456789abcdef") && token.is_in(b"bearer  0123456789abcdef"));
        for other in ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert!(!token.is_in(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn a_weak_token_is_none() {
        for weak in ["", " \n", "secret", "0123456789abcde", "0123456789 abcdefg", "0123456789abcdéf"] {
            assert!(Token::new(weak).is_err(), "{weak:?}");
        }
    }
}
