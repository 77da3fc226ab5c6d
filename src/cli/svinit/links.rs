//! `svinit --link DIR`: the other names of this one executable.
//!
//! Links of the shims must never stand in front of the real tools: where `PATH` has one, its name is left alone.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cli::shims::SHIMS;

/// The names besides `svinit` that the executable answers to, without those of other tools.
pub const NAMES: &[&str] = &["svctl", "svmanager"];

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Links {
    /// Where a link was made.
    pub made: Vec<PathBuf>,
    /// Tools that are there themselves, so that nothing stands in for them.
    pub left: Vec<PathBuf>,
}

/// Makes a link for each of [`NAMES`] and for each shim in `dir`. Links that are there are replaced, files are not: a
/// `svctl` that is no link of ours was put there by someone. A shim whose tool is in one of `path` is left out.
///
/// # Errors
/// In words, with the path.
pub fn make(dir: &Path, executable: &Path, path: &[PathBuf]) -> Result<Links, String> {
    let target = target(dir, executable);
    let mut links = Links { made: Vec::new(), left: Vec::new() };
    for name in NAMES {
        links.made.push(link(&dir.join(name), &target)?);
    }
    for (name, _) in SHIMS {
        match real(name, dir, executable, path) {
            Some(tool) => links.left.push(tool),
            None => links.made.push(link(&dir.join(name), &target)?),
        }
    }
    Ok(links)
}

/// The tool `name` itself, in `dir` or on the way of `path`; a link to this executable is none.
fn real(name: &str, dir: &Path, executable: &Path, path: &[PathBuf]) -> Option<PathBuf> {
    let own = executable.canonicalize().ok();
    std::iter::once(dir).chain(path.iter().map(PathBuf::as_path)).map(|dir| dir.join(name)).find(|tool| {
        let is_there = tool.symlink_metadata().is_ok();
        // A link that leads nowhere is one of an image that is being put together.
        is_there && tool.exists() && tool.canonicalize().ok() != own
    })
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
        make(dir.path(), &executable, &[]).unwrap();
        assert_eq!(fs::read_link(dir.path().join("svctl")).unwrap(), PathBuf::from("svinit"));
        let other = tempfile::tempdir().unwrap();
        make(other.path(), &executable, &[]).unwrap();
        assert_eq!(fs::read_link(other.path().join("svctl")).unwrap(), executable);
    }

    #[test]
    fn a_link_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let executable = PathBuf::from("/usr/local/bin/svinit");
        make(dir.path(), &executable, &[]).unwrap();
        assert_eq!(make(dir.path(), &executable, &[]).unwrap().made[0], dir.path().join("svctl"));
        fs::remove_file(dir.path().join("svctl")).unwrap();
        fs::write(dir.path().join("svctl"), "precious").unwrap();
        let refused = make(dir.path(), &executable, &[]).unwrap_err();
        assert!(refused.contains("cannot make the link") && refused.contains("is there"), "{refused}");
    }

    #[test]
    fn a_tool_that_is_there_itself_is_left_alone() {
        let (dir, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let executable = dir.path().join("svinit");
        fs::write(&executable, "").unwrap();
        fs::write(tools.path().join("systemctl"), "").unwrap();
        std::os::unix::fs::symlink(&executable, tools.path().join("pm2")).unwrap();
        let links = make(dir.path(), &executable, &[tools.path().to_owned()]).unwrap();
        assert_eq!(links.left, [tools.path().join("systemctl")]);
        let names: Vec<_> =
            links.made.iter().map(|link| link.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["svctl", "svmanager", "pm2", "supervisorctl"]);
    }
}
