//! Secrets: read when a unit starts, given to it alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use crate::os::error::{Doing, Error};
use crate::os::files;
use crate::os::user::Ids;

/// Longest secret.
pub const SECRET_MAX: usize = 1 << 20;

/// The credentials of a unit as files in a directory of its own. Removed when dropped.
#[derive(Debug)]
pub struct Credentials {
    dir: PathBuf,
}

impl Credentials {
    /// Copies each source into `BASE/NAME` as 0400, owned by the unit's user, in a 0700 directory of that user.
    ///
    /// # Errors
    /// A source cannot be read, or the directory cannot be made. Nothing is left behind then. No error shows a secret.
    pub fn place(
        base: &Path,
        name: &str,
        sources: &BTreeMap<String, PathBuf>,
        owner: Option<&Ids>,
    ) -> Result<Self, Error> {
        let dir = base.join(name);
        let doing = || format!("make the credentials of {name}");
        files::make_dir(base, 0o711)?;
        // Whatever is there was left behind by an earlier life.
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing(doing),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&dir).doing(doing)?;
        // From here on an error removes it again.
        let credentials = Self { dir };
        for (file, source) in sources {
            credentials.put(file, source, owner)?;
        }
        if let Some(owner) = owner {
            files::set_owner(&credentials.dir, owner.uid, owner.gid)?;
        }
        Ok(credentials)
    }

    fn put(&self, name: &str, source: &Path, owner: Option<&Ids>) -> Result<(), Error> {
        let doing = || format!("make credential {name}");
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Error::new(doing(), "that is no file name"));
        }
        let secret = files::read_capped(source, SECRET_MAX)?;
        let path = self.dir.join(name);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path).doing(doing)?;
        file.write_all(&secret).doing(doing)?;
        match owner {
            Some(owner) => files::set_owner(&path, owner.uid, owner.gid),
            None => Ok(()),
        }
    }

    /// Those that the svinit before has placed in `dir`.
    #[must_use]
    pub fn placed_before(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The value of `CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // It may be gone with the file system it was on.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A secret for an environment variable: the file's content without a line end at its end.
///
/// # Errors
/// It cannot be read, is too long, is not UTF-8 or has a NUL.
pub fn read_secret(path: &Path) -> Result<String, Error> {
    let doing = || format!("use the secret in {}", path.display());
    let mut text = String::from_utf8(files::read_capped(path, SECRET_MAX)?)
        .map_err(|_| Error::new(doing(), "it is not UTF-8"))?;
    if text.contains('\0') {
        return Err(Error::new(doing(), "it holds a NUL byte"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn credentials_are_files_of_the_unit_alone_and_go_with_it() {
        let base = tempfile::tempdir().unwrap();
        let source = base.path().join("source");
        fs::write(&source, b"hush\n").unwrap();
        let sources = BTreeMap::from([("tls_key".to_owned(), source.clone())]);
        let place = |owner| Credentials::place(&base.path().join("credentials"), "web", &sources, owner);
        let owner = Ids { uid: 65534, gid: 65534, ..Ids::default() };
        let owner = (crate::os::sys::geteuid() == 0).then_some(&owner);
        let credentials = place(owner).unwrap();
        let file = credentials.dir().join("tls_key");
        assert_eq!(fs::read(&file).unwrap(), b"hush\n");
        let found = fs::metadata(&file).unwrap();
        assert_eq!(found.mode() & 0o777, 0o400);
        assert!(owner.is_none_or(|owner| found.uid() == owner.uid));
        assert_eq!(fs::metadata(credentials.dir()).unwrap().mode() & 0o777, 0o700);
        let dir = credentials.dir().to_owned();
        drop(credentials);
        assert!(!dir.exists());
        fs::remove_file(&source).unwrap();
        assert!(place(owner).unwrap_err().to_string().ends_with("no such file or directory"));
        assert!(!dir.exists());
    }

    #[test]
    fn a_secret_loses_its_line_end_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, wanted) in [("a b \n", "a b "), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", "")] {
            fs::write(&path, content).unwrap();
            assert_eq!(read_secret(&path).unwrap(), wanted);
        }
        fs::write(&path, b"hush\0").unwrap();
        assert!(!read_secret(&path).unwrap_err().to_string().contains("hush"));
    }
}
