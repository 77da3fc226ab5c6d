//! Paths with a query: `/v1/units?units=web%2A,db&usage=true`.

use std::fmt::Write as _;

/// Builds the path of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    asked: bool,
}

impl Path {
    /// Begins with `text`, which is written as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), asked: false }
    }

    /// One more segment, whatever characters it has.
    #[must_use]
    pub fn segment(mut self, text: &str) -> Self {
        self.text.push('/');
        escape(text, &mut self.text);
        self
    }

    /// One more `name=value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.asked { '&' } else { '?' });
        self.asked = true;
        self.text.push_str(name);
        self.text.push('=');
        escape(value, &mut self.text);
        self
    }

    /// `units=a,b`, unless there are none.
    #[must_use]
    pub fn units(self, names: &[String]) -> Self {
        if names.is_empty() { self } else { self.with("units", &names.join(",")) }
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Percent-encodes what is not plain in both a segment and a query.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,@".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}
