//! The program itself: the one that runs, and the one that is in its place on the disk by now.
//!
//! An open descriptor stands for a program whatever becomes of its file, so what was tested is what is executed, and the
//! program that runs can be executed again although its file was replaced.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::os::error::{Doing, Error};

/// Where the kernel shows the program that runs.
const RUNNING: &str = "/proc/self/exe";

/// What the kernel adds to the path of a file that is not there any more.
const DELETED: &str = " (deleted)";

/// Enough of an ELF file to see for what machine it is: `e_ident`, `e_type` and `e_machine`.
const HEAD: usize = 20;

/// A program, open.
#[derive(Debug)]
pub struct Binary {
    file: File,
    path: PathBuf,
}

impl Binary {
    /// The program that runs. `path` is where it was started from, if that is known from before.
    ///
    /// # Errors
    /// There is no `/proc`: then it can be neither upgraded nor recovered.
    pub fn running(path: Option<PathBuf>) -> Result<Self, Error> {
        let doing = || "open the program that runs".to_owned();
        let path = path.map_or_else(|| std::fs::read_link(RUNNING).doing(doing).map(undeleted), Ok)?;
        Ok(Self { file: File::open(RUNNING).doing(doing)?, path })
    }

    /// The program that was left to us, open already.
    #[must_use]
    pub fn left(fd: OwnedFd, path: PathBuf) -> Self {
        Self { file: fd.into(), path }
    }

    /// What is at the place of this program on the disk now.
    ///
    /// # Errors
    /// There is nothing, or it is no program for this machine.
    pub fn on_disk(&self) -> Result<Self, Error> {
        let path = &self.path;
        let doing = || format!("take {}", path.display());
        let mut file = File::open(path).doing(doing)?;
        if !file.metadata().doing(doing)?.is_file() {
            return Err(Error::new(doing(), "it is no file"));
        }
        let (found, own) =
            (head(&mut file).doing(doing)?, head(&mut File::open(RUNNING).doing(doing)?).doing(doing)?);
        if found[..4] != own[..4] {
            return Err(Error::new(doing(), "it is no program (no ELF file)"));
        }
        // Class, byte order and machine; the rest of the head may differ.
        if found[4..6] != own[4..6] || found[18..] != own[18..] {
            return Err(Error::new(doing(), "it is a program for another machine"));
        }
        Ok(Self { file, path: path.clone() })
    }

    /// Where it is, or was.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Something else than this is in its place on the disk. Asked when somebody looks, never by the clock.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => mark(&there) != mark(&ours),
            // What is not there cannot be upgraded to.
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

impl AsFd for Binary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What is different when a file was replaced or written to.
fn mark(file: &Metadata) -> (u64, u64, u64, i64, i64) {
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
}

fn head(file: &mut File) -> io::Result<[u8; HEAD]> {
    let mut bytes = [0; HEAD];
    match file.read_exact(&mut bytes) {
        // Shorter than any program: seen by its first bytes.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(bytes),
        read => read.map(|()| bytes),
    }
}

fn undeleted(path: PathBuf) -> PathBuf {
    path.to_str().and_then(|text| text.strip_suffix(DELETED)).map(PathBuf::from).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: PathBuf) -> Binary {
        Binary { file: File::open(RUNNING).unwrap(), path }
    }

    #[test]
    fn what_is_no_program_for_this_machine_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("svinit");
        let binary = at(path.clone());
        let refused = || binary.on_disk().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused().ends_with("no such file or directory"), "{}", refused());
        std::fs::write(&path, "#!/bin/sh\necho hello world\n").unwrap();
        assert!(refused().ends_with("no program (no ELF file)"), "{}", refused());
        std::fs::write(&path, "").unwrap();
        assert!(refused().ends_with("no program (no ELF file)"), "{}", refused());
        let mut other = std::fs::read(RUNNING).unwrap()[..HEAD].to_vec();
        std::fs::write(&path, &other).unwrap();
        assert_eq!(refused(), "", "only its test shows that it is cut off");
        other[18] ^= 0xff;
        std::fs::write(&path, &other).unwrap();
        assert!(refused().ends_with("a program for another machine"), "{}", refused());
    }

    #[test]
    fn a_program_that_was_replaced_is_seen_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("svinit");
        std::fs::write(&path, "one").unwrap();
        let binary = Binary { file: File::open(&path).unwrap(), path: path.clone() };
        assert!(!binary.is_replaced());
        std::fs::write(dir.path().join("new"), "one").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(binary.is_replaced());
        std::fs::remove_file(&path).unwrap();
        assert!(!binary.is_replaced());
        assert_eq!(undeleted(PathBuf::from("/bin/svinit (deleted)")), PathBuf::from("/bin/svinit"));
    }
}
