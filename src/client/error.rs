//! What can go wrong between `svctl` and the supervisor.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::api::status::Refusal;

/// Why there is no answer, or none that helps.
#[derive(Debug)]
pub enum Error {
    /// Nobody answers at any of the places.
    Unreachable {
        /// Each place that was tried, and why nobody answers there.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// There is a socket, and the caller may not connect to it.
    Denied {
        /// Which.
        place: PathBuf,
    },
    /// The supervisor understood and said no.
    Refused {
        /// Of HTTP.
        status: u16,
        /// Its words.
        refusal: Refusal,
    },
    /// What came back is no answer of a supervisor.
    Protocol {
        /// Where from.
        place: PathBuf,
        /// What is odd about it.
        what: String,
    },
    /// The connection ended too early: most likely the supervisor did.
    Lost {
        /// Where to.
        place: PathBuf,
        /// How it ended.
        source: io::Error,
    },
    /// It took too long.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { tried } => unreachable(tried, f),
            Self::Denied { place } => write!(
                f,
                "cannot use {}: permission denied (run it as the user that svinit runs as, or set socket_group in svinit.toml)",
                place.display()
            ),
            Self::Refused { refusal, .. } => refused(refusal, f),
            Self::Protocol { place, what } => {
                write!(
                    f,
                    "cannot understand the answer from {}: {what} (is it svinit's socket?)",
                    place.display()
                )
            }
            Self::Lost { place, source } => {
                write!(f, "cannot hear the end of the answer from {}: {}", place.display(), cause(source))
            }
            Self::TimedOut => f.write_str("the supervisor did not answer in time"),
        }
    }
}

impl std::error::Error for Error {}

fn unreachable(tried: &[(PathBuf, io::Error)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("cannot reach a supervisor: ")?;
    for (at, (place, source)) in tried.iter().enumerate() {
        write!(f, "{}{}: {}", if at == 0 { "" } else { ", " }, place.display(), cause(source))?;
    }
    f.write_str(" (is svinit running here? name its socket with --socket or SVINIT_SOCKET)")
}

fn refused(refusal: &Refusal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&refusal.message)?;
    if refusal.did_you_mean.is_empty() || refusal.message.contains("did you mean") {
        return Ok(());
    }
    let names: Vec<String> = refusal.did_you_mean.iter().map(|name| format!("\"{name}\"")).collect();
    write!(f, "; did you mean {}?", names.join(" or "))
}

/// The usual ends of a connection in plain words.
fn cause(source: &io::Error) -> String {
    let kind = source.kind();
    let is_end = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
        .contains(&kind);
    if kind == io::ErrorKind::NotFound {
        "no such socket".to_owned()
    } else if kind == io::ErrorKind::ConnectionRefused {
        "nobody answers".to_owned()
    } else if is_end {
        "the supervisor closed the connection".to_owned()
    } else {
        // "No such process (os error 3)" is for programmers.
        let text = source.to_string();
        let plain = text.split(" (os error").next().unwrap_or(&text);
        plain.chars().take(1).flat_map(char::to_lowercase).chain(plain.chars().skip(1)).collect()
    }
}
