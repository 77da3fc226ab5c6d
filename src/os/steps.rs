//! A directory entered step by step, so that only root and ourselves can lead us anywhere by a link.
//!
//! A service may own the directory that its log file is in. It can replace a directory in there by a link at any moment:
//! opened by its whole path, the log would then be written, renamed and removed wherever the service wanted, as root.
//! Each step is therefore opened by itself without following links, and a link is followed only when its owner could
//! have led us there without it. What is done later is done below the descriptor, not by the path again.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use crate::os::sys;

/// Links on the way, as the kernel has it.
const LINKS_MAX: usize = 40;

/// A directory that stays the same one, whatever becomes of its name.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    id: (u64, u64),
}

impl Dir {
    /// Enters `path`, making what is not there with `mode`.
    ///
    /// # Errors
    /// What the system says, or that a link on the way belongs to somebody else.
    pub fn enter(path: &Path, mode: u32) -> io::Result<Self> {
        let mut here = start(path)?;
        let mut ahead = steps(path);
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            let next = match look(&here, &step) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&here, step.as_os_str(), Mode::from_bits_truncate(mode)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    look(&here, &step)?
                }
                found => found?,
            };
            let about = fstat(&next)?;
            match SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFDIR => here = next,
                SFlag::S_IFLNK => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::ELOOP.into());
                    }
                    if about.st_uid != 0 && about.st_uid != sys::geteuid() {
                        let step = step.display();
                        let why = format!(
                            "{step} in its path is a symbolic link of user {}, which is not followed",
                            about.st_uid
                        );
                        return Err(io::Error::other(why));
                    }
                    let target = PathBuf::from(readlinkat(&next, "")?);
                    if target.is_absolute() {
                        here = start(&target)?;
                    }
                    ahead.extend(steps(&target));
                }
                _ => return Err(Errno::ENOTDIR.into()),
            }
        }
        let about = fstat(&here)?;
        Ok(Self { fd: here, id: (about.st_dev, about.st_ino) })
    }

    /// Both are one directory.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// A path to what is called `name` in here, good for as long as this lives. `None` where `/proc` is not there.
    #[must_use]
    pub fn path_of(&self, name: &Path) -> Option<PathBuf> {
        let own = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        own.exists().then(|| own.join(name))
    }
}

fn start(path: &Path) -> Result<OwnedFd, Errno> {
    open(if path.is_absolute() { "/" } else { "." }, FLAGS, Mode::empty())
}

const FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

fn look(here: &OwnedFd, step: &OsString) -> Result<OwnedFd, Errno> {
    openat(here, step.as_os_str(), FLAGS, Mode::empty())
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
    let mut steps: Vec<OsString> = named.map(|step| step.as_os_str().to_owned()).collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn own_links_are_followed_and_missing_directories_made() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        symlink(dir.path(), dir.path().join("real/up")).unwrap();
        let entered = Dir::enter(&dir.path().join("link/up/link/../real/./a/b"), 0o755).unwrap();
        assert!(dir.path().join("real/a/b").is_dir());
        assert!(entered.is(&Dir::enter(&dir.path().join("real/a/b"), 0o755).unwrap()));
        fs::write(entered.path_of(Path::new("x")).unwrap(), "y").unwrap();
        fs::rename(dir.path().join("real/a/b"), dir.path().join("moved")).unwrap();
        assert_eq!(
            fs::read(entered.path_of(Path::new("x")).unwrap()).unwrap(),
            b"y",
            "it is still the same one"
        );
        symlink("loop", dir.path().join("loop")).unwrap();
        assert_eq!(
            Dir::enter(&dir.path().join("loop"), 0o755).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Dir::enter(&dir.path().join("file/x"), 0o755).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        if sys::geteuid() != 0 {
            println!("skipped: only root can give a link away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        symlink("vault", dir.path().join("logs")).unwrap();
        lchown(dir.path().join("logs"), Some(65534), None).unwrap();
        let error = Dir::enter(&dir.path().join("logs/app"), 0o755).unwrap_err().to_string();
        assert_eq!(error, "logs in its path is a symbolic link of user 65534, which is not followed");
        assert_eq!(fs::read_dir(dir.path().join("vault")).unwrap().count(), 0);
    }
}
