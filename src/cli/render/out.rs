//! The one way to stdout and stderr.
//!
//! A reader that has gone (`svctl logs | head`) ends the writing in silence; any other failure, such as a full disk, is
//! kept and makes the command fail. Nothing here panics, which `println!` would.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;

/// Bytes that are gathered before they are written without being asked to.
const GATHER_MAX: usize = 64 << 10;

/// Somewhere that text goes.
pub(crate) struct Out {
    sink: Box<dyn Write>,
    gathered: Vec<u8>,
    lost: Option<io::Error>,
    /// What can be shown there.
    pub(crate) look: Look,
}

impl Out {
    pub(crate) fn new(sink: Box<dyn Write>, look: Look) -> Self {
        Self { sink, gathered: Vec::new(), lost: None, look }
    }

    pub(crate) fn stdout(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let stdout = io::stdout();
        let columns = stdout.is_terminal().then(|| columns_of(terminal_size::terminal_size_of(&stdout)));
        Self::new(Box::new(stdout), Look::new(columns, env))
    }

    pub(crate) fn stderr(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let stderr = io::stderr();
        let columns = stderr.is_terminal().then(|| columns_of(terminal_size::terminal_size_of(&stderr)));
        Self::new(Box::new(stderr), Look::new(columns, env))
    }

    /// `text` and a line end.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text(text);
        self.text("\n");
    }

    /// `text` as it is.
    pub(crate) fn text(&mut self, text: impl AsRef<str>) {
        if self.lost.is_none() {
            self.gathered.extend_from_slice(text.as_ref().as_bytes());
            if self.gathered.len() > GATHER_MAX {
                self.flush();
            }
        }
    }

    /// A faint line that only a person has use for.
    pub(crate) fn hint(&mut self, text: &str) {
        if self.look.is_terminal() {
            let line = self.look.paint(Tone::Faint, text).into_owned();
            self.line(line);
        }
    }

    /// Everything so far is written, or lost for good.
    pub(crate) fn flush(&mut self) {
        if self.lost.is_none() {
            let written = self.sink.write_all(&self.gathered).and_then(|()| self.sink.flush());
            self.lost = written.err();
        }
        self.gathered.clear();
    }

    /// Nobody will read what is written from here on.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Why what was written is lost, unless its reader just left.
    pub(crate) fn failure(&self) -> Option<String> {
        let lost = self.lost.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)?;
        let is_full = lost.kind() == io::ErrorKind::StorageFull;
        let cause = if is_full { "no space left on the device".to_owned() } else { lost.to_string() };
        Some(format!("cannot write to stdout: {cause}"))
    }
}

fn columns_of(size: Option<(terminal_size::Width, terminal_size::Height)>) -> usize {
    // A terminal that does not know its size (0 on a fresh pty, as `docker exec -t` makes one) gets the classic 80.
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width >= 20).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Out;
    use crate::cli::render::look::Look;

    struct Broken(io::ErrorKind);

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is() {
        for (kind, failure) in [
            (io::ErrorKind::BrokenPipe, None),
            (
                io::ErrorKind::StorageFull,
                Some("cannot write to stdout: no space left on the device".to_owned()),
            ),
        ] {
            let mut out = Out::new(Box::new(Broken(kind)), Look::default());
            out.line("a");
            out.flush();
            out.line("b");
            assert!(out.is_lost());
            assert_eq!(out.failure(), failure);
        }
    }
}
