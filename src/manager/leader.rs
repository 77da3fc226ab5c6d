//! Who acts, when two managers run: the one that holds the lock on a file they share.
//!
//! The kernel lets go of it when its holder ends, however that happens. Two managers that share no file do not see each other:
//! then each guards its own.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::Flock;
use nix::fcntl::FlockArg;

use crate::os::files;

/// A vote for oneself.
#[derive(Debug)]
pub struct Leader {
    path: PathBuf,
    lock: Option<Flock<File>>,
}

impl Leader {
    /// Between two votes of one that does not lead.
    pub const EVERY: Duration = Duration::from_secs(1);

    /// And of one that does.
    pub const REST: Duration = Duration::from_secs(3600);

    /// Votes by the file `leader.lock` in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join("leader.lock"), lock: None }
    }

    /// Whether this one leads. Where there is no place for a file it does: it is then the only one as far as it can know.
    pub fn vote(&mut self) -> bool {
        if self.lock.is_some() {
            return true;
        }
        let Ok(file) = files::open_append(&self.path, 0o600) else { return true };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                self.lock = Some(lock);
                true
            }
            Err((_, _)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Leader;

    #[test]
    fn one_of_two_leads_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (Leader::new(dir.path()), Leader::new(dir.path()));
        assert!(one.vote() && !two.vote());
        assert!(one.vote() && !two.vote());
        drop(one);
        assert!(two.vote());
        assert!(Leader::new(std::path::Path::new("/nonexistent")).vote());
    }
}
