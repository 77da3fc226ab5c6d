//! What went wrong while doing what, in words for people.
//!
//! The system's own "Permission denied (os error 13)" says neither what was tried nor what helps. Every error of this
//! floor is "cannot DO: CAUSE", with the cause in lower case, without a number, and with a remedy where there is one.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// "cannot DOING: CAUSE".
#[derive(Debug)]
pub struct Error {
    /// What was being done: completes "cannot ".
    pub doing: String,
    /// Why it could not be.
    pub source: io::Error,
    /// What helps, if that is known; shown in brackets.
    pub remedy: Option<&'static str>,
}

impl Error {
    /// An error in our own words: "cannot DOING: WHY".
    #[must_use]
    pub fn new(doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self { doing: doing.into(), source: io::Error::other(why.into()), remedy: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

impl Error {
    /// "cannot DOING: CAUSE", for who tells the remedy in another way.
    #[must_use]
    pub fn without_remedy(&self) -> String {
        format!("cannot {}: {}", self.doing, cause(&self.source))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_remedy())?;
        match self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Says what was being done when it went wrong.
pub trait Doing<T> {
    /// Turns the system's error into one that names what was tried: `.doing(|| format!("open {path}"))`.
    ///
    /// # Errors
    /// The same error, with words.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error { doing: what(), source, remedy: None })
    }
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|errno| Error { doing: what(), source: errno.into(), remedy: None })
    }
}

/// The cause alone, in lower case and without the number: "permission denied".
#[must_use]
pub fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => errno_words(errno),
        None => error.to_string(),
    }
}

/// An error number in words.
#[must_use]
pub fn errno_words(errno: i32) -> String {
    let known = Errno::from_raw(errno);
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others have good words of their own")]
    match known {
        Errno::UnknownErrno => format!("unknown error {errno}"),
        Errno::ENOENT => "no such file or directory".to_owned(),
        Errno::EAGAIN => "no room for another process, or it would block".to_owned(),
        Errno::ENOEXEC => "not a program for this machine, or a script without #! line".to_owned(),
        Errno::EMFILE => "too many open files".to_owned(),
        Errno::ENFILE => "too many open files in the whole system".to_owned(),
        Errno::ENOMEM => "out of memory".to_owned(),
        Errno::ETXTBSY => "the program is being written to".to_owned(),
        other => lower_first(other.desc()),
    }
}

/// "Permission denied" to "permission denied"; "RFS specific error" stays.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_cannot_do_cause_and_remedy() {
        let denied: io::Result<()> = Err(io::Error::from_raw_os_error(libc::EACCES));
        let error = denied.doing(|| "open /etc/shadow".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "cannot open /etc/shadow: permission denied");
        assert_eq!(
            error.with_remedy("let the image own the file").to_string(),
            "cannot open /etc/shadow: permission denied (let the image own the file)"
        );
    }

    #[test]
    fn words_of_our_own_stay_as_they_are() {
        assert_eq!(
            Error::new("use user bob", "no such user").to_string(),
            "cannot use user bob: no such user"
        );
        assert_eq!(errno_words(9999), "unknown error 9999");
    }
}
