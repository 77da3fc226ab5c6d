//! The head of a response: status line and the three headers that decide how the body is read.
//!
//! It is a reader of what one server writes, kept strict: two lengths, or a length and a coding, are refused rather
//! than guessed at.

/// Bytes of a head at most; what is longer is no answer of svinit.
pub const HEAD_MAX: usize = 16 << 10;

/// What is needed of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 200 and so on.
    pub status: u16,
    /// How long the body is.
    pub framing: Framing,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the chunk of size 0.
    Chunked,
    /// Where the connection ends.
    UntilClose,
}

/// Where the head ends in `bytes`, the empty line included; `None`: not yet there.
#[must_use]
pub fn end_of(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a whole head.
///
/// # Errors
/// What is odd about it, as the end of a sentence.
pub fn parse(bytes: &[u8]) -> Result<Head, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its head is not text".to_owned())?;
    let mut lines = text.split("\r\n");
    let status = status(lines.next().unwrap_or_default())?;
    let mut length = None;
    let mut chunked = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("a header without a colon: {line:?}"))?;
        if name.eq_ignore_ascii_case("content-length") {
            let value = number(value.trim())?;
            if length.is_some_and(|known| known != value) {
                return Err("it names two lengths".to_owned());
            }
            length = Some(value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.trim().eq_ignore_ascii_case("chunked") {
                return Err(format!("a transfer coding that is not chunked: {:?}", value.trim()));
            }
            chunked = true;
        }
    }
    let framing = match (length, chunked) {
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        (Some(_), true) => return Err("it is chunked and names a length".to_owned()),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::UntilClose,
    };
    Ok(Head { status, framing })
}

fn status(line: &str) -> Result<u16, String> {
    let odd = || format!("it begins with {:?}, which is not HTTP", line.chars().take(40).collect::<String>());
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")).ok_or_else(odd)?;
    let digits = rest.get(..3).filter(|three| three.bytes().all(|b| b.is_ascii_digit())).ok_or_else(odd)?;
    let ended = rest.as_bytes().get(3).is_none_or(|after| *after == b' ');
    let code = digits.parse().map_err(|_| odd())?;
    if ended && (100..600).contains(&code) { Ok(code) } else { Err(odd()) }
}

fn number(text: &str) -> Result<u64, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let odd = || format!("a length that is no number: {text:?}");
    if plain { text.parse().map_err(|_| odd()) } else { Err(odd()) }
}

/// The size that begins a chunk; extensions after `;` are passed over.
///
/// # Errors
/// When it is no hexadecimal number of a sane size.
pub fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(line).map_err(|_| "a chunk size that is not text".to_owned())?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let odd = || format!("a chunk size that is no number: {digits:?}");
    if plain { u64::from_str_radix(digits, 16).map_err(|_| odd()) } else { Err(odd()) }
}
