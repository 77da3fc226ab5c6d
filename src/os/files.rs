//! Files, opened without following a link at their end, read up to a bound, replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::os::error::{Doing, Error};
use crate::os::sys;

/// Opens for appending and makes it with `mode` if it is not there. Not through a link, and no device or pipe.
///
/// # Errors
/// What the system says, or that it is no plain file.
pub fn open_append(path: &Path, mode: u32) -> Result<File, Error> {
    // A pipe without a reader would block for ever: nonblocking, and then it is refused anyway.
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let opened = OpenOptions::new().append(true).create(true).mode(mode).custom_flags(flags).open(path);
    let file = opened.map_err(no_links).doing(|| format!("open {}", path.display()))?;
    let kind = file.metadata().doing(|| format!("look at {}", path.display()))?;
    if !kind.is_file() {
        return Err(Error::new(format!("open {}", path.display()), "not a plain file"));
    }
    Ok(file)
}

/// "Too many levels of symbolic links" is what the kernel says of the one link that we do not follow.
fn no_links(error: std::io::Error) -> std::io::Error {
    if error.raw_os_error() == Some(libc::ELOOP) {
        return std::io::Error::other("it is a symbolic link, which is not followed here");
    }
    error
}

/// The whole content, at most `most` bytes; works for pipes and files of `/proc` as well. Links are followed: the path
/// is the user's own.
///
/// # Errors
/// What the system says, or that it is longer.
pub fn read_capped(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    let doing = || format!("read {}", path.display());
    // A pipe that nobody writes to reads as empty, instead of stopping svinit.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    file.doing(doing)?.take(bound).read_to_end(&mut content).doing(doing)?;
    if content.len() > most {
        return Err(Error::new(doing(), format!("it is longer than {most} bytes")));
    }
    Ok(content)
}

/// Puts `bytes` in the place of `path` at once: whoever reads sees the old or the new, never half of it.
///
/// # Errors
/// What the system says; the old content is still there then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.{number}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is in the way was made by us just now; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written.doing(|| format!("write {}", path.display()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory with exactly this mode, with its parents (0755); one that is there must be ours and not a link.
///
/// # Errors
/// What the system says, or that it belongs to somebody else.
pub fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    let doing = || format!("make directory {}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).doing(doing)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.doing(doing)?,
    }
    let found = fs::symlink_metadata(path).doing(doing)?;
    if !found.is_dir() {
        return Err(Error::new(doing(), "something else is there"));
    }
    if found.uid() != sys::geteuid() {
        return Err(Error::new(doing(), format!("it is there and belongs to user {}", found.uid())));
    }
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing(doing)?;
    }
    Ok(())
}

/// Gives a file or directory to a user; a link itself, not what it points to.
///
/// # Errors
/// What the system says.
pub fn set_owner(path: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
        .doing(|| format!("give {} to user {uid}", path.display()))
        .map_err(|error| {
            let is_denied = error.source.kind() == ErrorKind::PermissionDenied;
            if is_denied { error.with_remedy("needs CAP_CHOWN") } else { error }
        })
}

/// A new, empty directory `name` for sockets and credentials, in the first place where one can be made: `/run/svinit`,
/// `$XDG_RUNTIME_DIR/svinit` (handed in), `/tmp/svinit-UID`. What was there under this name is removed. Mode 0711.
///
/// # Errors
/// It can be made nowhere; the last place's reason.
pub fn runtime_dir(xdg: Option<&Path>, name: &str) -> Result<PathBuf, Error> {
    let mut last = Error::new("find a place for sockets", "there is none");
    for place in runtime_dirs(xdg) {
        let dir = place.join(name);
        let made = make_dir(&place, 0o711).and_then(|()| {
            // Whether it could be removed is seen by making it.
            let _ = fs::remove_dir_all(&dir);
            make_dir(&dir, 0o711)
        });
        match made {
            Ok(()) => return Ok(dir),
            Err(error) => last = error,
        }
    }
    Err(last.with_remedy("mount a tmpfs on /run"))
}

/// The same places in the same order, whether they are there or not.
#[must_use]
pub fn runtime_dirs(xdg: Option<&Path>) -> Vec<PathBuf> {
    let xdg = xdg.filter(|path| path.is_absolute()).map(|path| path.join("svinit"));
    let own = PathBuf::from(format!("/tmp/svinit-{}", sys::geteuid()));
    [Some("/run/svinit".into()), xdg, Some(own)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_or_a_pipe_is_not_opened_for_appending() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        open_append(&file, 0o640).unwrap().write_all(b"one").unwrap();
        open_append(&file, 0o640).unwrap().write_all(b"two").unwrap();
        assert_eq!(read_capped(&file, 6).unwrap(), b"onetwo");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open_append(&link, 0o640).unwrap_err().to_string().ends_with("which is not followed here"));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        assert!(open_append(&pipe, 0o640).is_err());
        assert_eq!(read_capped(&pipe, 10).unwrap(), b"");
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_has_no_size_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"12345").unwrap();
        let error = read_capped(&path, 4).unwrap_err().to_string();
        assert!(error.ends_with("it is longer than 4 bytes"), "{error}");
        assert!(!read_capped(Path::new("/proc/self/status"), 10_000).unwrap().is_empty());
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/file"), b"x", 0o600).is_err());
    }

    #[test]
    fn a_directory_gets_its_mode_and_must_be_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("a/b");
        make_dir(&made, 0o711).unwrap();
        make_dir(&made, 0o700).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&made, &link).unwrap();
        assert!(make_dir(&link, 0o700).is_err());
        assert_eq!(
            runtime_dirs(Some(Path::new("/x")))[..2],
            [PathBuf::from("/run/svinit"), "/x/svinit".into()]
        );
    }
}
