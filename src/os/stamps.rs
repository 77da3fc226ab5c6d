//! Files of no content whose time of change says until when something was seen to: it outlives svinit and its machine.
//!
//! Their time is set and nothing is written, so a full disk is no hindrance.

use std::fs::{self, FileTimes, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::os::error::{Doing, Error};
use crate::os::files;

/// A directory of them.
#[derive(Clone, Debug)]
pub struct Stamps(PathBuf);

impl Stamps {
    /// Those in `dir`, which is made when the first is.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Where they are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// What this one says, microseconds since 1970; `None` when it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<i64> {
        let changed =
            fs::symlink_metadata(self.0.join(name)).ok().filter(fs::Metadata::is_file)?.modified().ok()?;
        let since = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    }

    /// Makes it say `wall_us`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, name: &str, wall_us: i64) -> Result<(), Error> {
        let path = self.0.join(name);
        let doing = || format!("keep the time of {name} in {}", self.0.display());
        let open = || {
            let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(flags)
                .open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                files::make_dir(&self.0, 0o755)?;
                open()
            }
            opened => opened,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(wall_us.max(0).unsigned_abs());
        file.and_then(|file| file.set_times(FileTimes::new().set_modified(at))).doing(doing)
    }

    /// It says nothing any more.
    pub fn remove(&self, name: &str) {
        // What cannot be removed was never there, or is of a directory that cannot be written: neither matters.
        let _ = fs::remove_file(self.0.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_what_it_was_told_last_and_makes_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let stamps = Stamps::new(root.path().join("a/schedule"));
        assert_eq!(stamps.read("backup"), None);
        for at in [1_790_000_000_123_456, 0, 1_700_000_000_000_000] {
            stamps.write("backup", at).unwrap();
            assert_eq!(stamps.read("backup"), Some(at));
        }
        stamps.remove("backup");
        stamps.remove("backup");
        assert_eq!(stamps.read("backup"), None);
    }

    #[test]
    fn a_stamp_is_no_link() {
        let root = tempfile::tempdir().unwrap();
        let victim = root.path().join("victim");
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("backup")).unwrap();
        let stamps = Stamps::new(root.path().to_owned());
        assert!(stamps.write("backup", 7).is_err());
        assert_eq!(stamps.read("backup"), None);
    }
}
