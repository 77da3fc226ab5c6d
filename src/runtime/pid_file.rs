//! Pid files of forking units.
//!
//! A pid file is a claim that anyone who can write it can make, and an old one names whoever has the number today. It is
//! believed only if it is a plain file of root's or the unit's own user, and names a living process of the run itself.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::lifecycle::event::{Event, Pid, RunId};
use crate::os::error::cause;
use crate::runtime::hands::Hands;
use crate::units::name::UnitName;
use crate::units::spec::Kind;

/// More than any number with a line end needs.
const LENGTH_MAX: u64 = 64;

impl Hands {
    /// Answers `Action::ReadPidFile`.
    pub(super) fn read_pid_file(&mut self, run: RunId, unit: &UnitName) {
        let fact = match self.named_by_pid_file(run, unit) {
            Ok(pid) => {
                self.take_over(run, pid);
                Event::MainFound { run, pid }
            }
            Err(why) => Event::MainNotFound { run, why },
        };
        self.facts.push_back(fact);
    }

    fn named_by_pid_file(&self, run: RunId, unit: &UnitName) -> Result<Pid, String> {
        let spec = self.setting.set.units.get(unit).ok_or("there is no such unit any more")?;
        let Kind::Forking { pid_file } = &spec.kind else {
            return Err("the unit has no pid file".to_owned());
        };
        let uid = self.runs.get(run).map_or(self.setting.uid, |run| run.uid);
        let pid = read(pid_file, uid)?;
        if self.trees.run_of(pid) != Some(run) {
            return Err(format!(
                "{} names {pid}, which is no living process of this unit",
                pid_file.display()
            ));
        }
        Ok(pid)
    }
}

/// The number in a pid file that root or `uid` owns.
fn read(path: &Path, uid: u32) -> Result<Pid, String> {
    let shown = path.display();
    let file = open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => format!("{shown} is a symbolic link, which is not followed"),
        _ => format!("cannot read {shown}: {}", cause(&error)),
    })?;
    let about = file.metadata().map_err(|error| format!("cannot read {shown}: {}", cause(&error)))?;
    if !about.is_file() {
        return Err(format!("{shown} is no plain file"));
    }
    if about.uid() != 0 && about.uid() != uid {
        return Err(format!("{shown} belongs to user {}, neither root nor the unit's own", about.uid()));
    }
    let mut text = String::new();
    file.take(LENGTH_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read {shown}: {}", cause(&error)))?;
    number(&text).ok_or_else(|| format!("{shown} does not hold a process number"))
}

/// Without following a link, and without waiting for the other end of a FIFO.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// The first line, as PostgreSQL and others write more behind it. 1 is us, never a unit's.
fn number(text: &str) -> Option<Pid> {
    let pid = text.lines().next()?.trim().parse::<i32>().ok()?;
    (pid > 1).then_some(Pid(pid))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{number, read};
    use crate::lifecycle::event::Pid;
    use crate::os::user;

    #[test]
    fn the_first_line_is_the_number() {
        assert_eq!(number("123\n"), Some(Pid(123)));
        assert_eq!(number(" 123 \n/var/lib/postgresql\n5432\n"), Some(Pid(123)));
        for bad in ["", "\n12", "0", "1", "-5", "12a", "99999999999"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_link_is_not_followed_and_a_stranger_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.pid"), dir.path().join("b.pid"));
        fs::write(&file, "123\n").unwrap();
        symlink(&file, &link).unwrap();
        let own = user::own().uid;
        assert_eq!(read(&file, own), Ok(Pid(123)));
        assert!(read(&link, own).unwrap_err().contains("is a symbolic link"));
        assert!(read(dir.path(), own).unwrap_err().contains("no plain file"));
        let missing = read(&dir.path().join("c.pid"), own).unwrap_err();
        assert!(missing.ends_with("c.pid: no such file or directory"), "{missing}");
    }
}
