//! `svinit --link DIR`: the other names of this one executable.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The names besides `svinit` that the executable answers to.
pub const NAMES: &[&str] = &["svctl"];

/// Makes a link for each of [`NAMES`] in `dir` and returns those it made. Links that are there are replaced, files are
/// not: a `svctl` that is no link of ours was put there by someone.
///
/// # Errors
/// In words, with the path.
pub fn make(dir: &Path, executable: &Path) -> Result<Vec<PathBuf>, String> {
    let target = target(dir, executable);
    NAMES.iter().map(|name| link(&dir.join(name), &target)).collect()
}

fn link(at: &Path, target: &Path) -> Result<PathBuf, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("cannot make the link {}: {why}", at.display());
    match at.symlink_metadata() {
        Ok(there) if there.is_symlink() => std::fs::remove_file(at).map_err(|e| cannot(&e))?,
        Ok(_) => return Err(cannot(&"a file of that name is there; remove it first")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(&error)),
    }
    symlink(target, at).map_err(|e| cannot(&e))?;
    Ok(at.to_owned())
}

/// Relative when both are in the same directory, so that the directory can be copied into another image as it is.
fn target(dir: &Path, executable: &Path) -> PathBuf {
    let same = match (dir.canonicalize(), executable.parent().map(Path::canonicalize)) {
        (Ok(dir), Some(Ok(home))) => dir == home,
        _ => false,
    };
    match executable.file_name() {
        Some(name) if same => PathBuf::from(name),
        _ => executable.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::make;

    #[test]
    fn links_beside_the_executable_are_relative_and_others_absolute() {
        let dir = tempfile::tempdir().unwrap();
        let executable = dir.path().join("svinit");
        fs::write(&executable, "").unwrap();
        make(dir.path(), &executable).unwrap();
        assert_eq!(fs::read_link(dir.path().join("svctl")).unwrap(), PathBuf::from("svinit"));
        let other = tempfile::tempdir().unwrap();
        make(other.path(), &executable).unwrap();
        assert_eq!(fs::read_link(other.path().join("svctl")).unwrap(), executable);
    }

    #[test]
    fn a_link_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let executable = PathBuf::from("/usr/local/bin/svinit");
        make(dir.path(), &executable).unwrap();
        assert_eq!(make(dir.path(), &executable).unwrap(), [dir.path().join("svctl")]);
        fs::remove_file(dir.path().join("svctl")).unwrap();
        fs::write(dir.path().join("svctl"), "precious").unwrap();
        let refused = make(dir.path(), &executable).unwrap_err();
        assert!(refused.contains("cannot make the link") && refused.contains("is there"), "{refused}");
    }
}
