//! One log file: append, rotate, come back after trouble.
//!
//! Every call may block on the disk; only the file thread makes them. A file always ends with a whole line: what was
//! half written when the disk became full is cut off again. A rotation is one rename, so a crash at any moment leaves
//! whole files; what it leaves of a compression goes at the next opening.
//!
//! The directory may be the service's own, and the service hostile: it is entered once, step by step, and everything is
//! done below that descriptor. By its path it is only looked at, to notice that it has been moved.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use memchr::memrchr;

use crate::logs::gzip::Gzip;
use crate::logs::rotate::{Form, Rotated, Rotation, stamp_of};
use crate::os::steps::Dir;

/// A file that others moved or removed is noticed after so long at the latest, when there is something to write.
const CHECK_EVERY_US: i64 = 1_000_000;

/// Owner writes, group reads: logs hold what should not be for everybody.
const MODE: u32 = 0o640;

/// Of directories that are missing.
const DIR_MODE: u32 = 0o755;

/// A log file, open or not.
pub struct LogFile {
    path: PathBuf,
    /// Where it was opened last. Paths of what is to be compressed lead through it.
    dir: Option<Dir>,
    rotation: Rotation,
    open: Option<Open>,
    /// Rotated files that are still to be compressed.
    to_compress: VecDeque<PathBuf>,
    compressing: Option<Gzip>,
    /// The oldest rotated file becomes too old at this moment.
    oldest_until_us: Option<i64>,
}

struct Open {
    file: File,
    size: u64,
    born_us: i64,
    checked_us: i64,
    /// Not for `/dev/null` and the like.
    is_regular: bool,
}

/// Lines that could not be written.
#[derive(Debug)]
pub struct Unwritten {
    /// The first so many bytes, whole lines, are in the file.
    pub written: usize,
    /// Why the others are not.
    pub error: io::Error,
}

impl LogFile {
    /// A file that is opened when there is something to write.
    #[must_use]
    pub fn new(path: PathBuf, rotation: Rotation) -> Self {
        Self {
            path,
            dir: None,
            rotation,
            open: None,
            to_compress: VecDeque::new(),
            compressing: None,
            oldest_until_us: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes when it is rotated.
    pub fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    /// Closes it; the next lines open what is at its path then.
    pub fn reopen(&mut self) {
        self.open = None;
    }

    /// Appends `lines`, whole ones, rotating where they do not fit.
    ///
    /// # Errors
    /// With the number of bytes that were written all the same.
    pub fn write(&mut self, lines: &[u8], now_us: i64) -> Result<(), Unwritten> {
        let mut written = 0;
        while written < lines.len() {
            match self.write_some(&lines[written..], now_us) {
                Ok(n) => written += n,
                Err(Unwritten { written: more, error }) => {
                    return Err(Unwritten { written: written + more, error });
                }
            }
        }
        Ok(())
    }

    /// When [`LogFile::on_time`] is due, if ever.
    #[must_use]
    pub fn due_us(&self) -> Option<i64> {
        let age = self.rotation.max_age_us;
        let old = self.open.as_ref().filter(|open| age > 0 && open.size > 0 && open.is_regular);
        let old = old.map(|open| open.born_us.saturating_add(age));
        old.into_iter().chain(self.oldest_until_us).min()
    }

    /// Rotates and removes what has become too old.
    ///
    /// # Errors
    /// When the file cannot be rotated.
    pub fn on_time(&mut self, now_us: i64) -> io::Result<()> {
        if self.oldest_until_us.is_some_and(|until| until <= now_us) {
            self.tidy(now_us);
        }
        match &self.open {
            Some(open) if open.is_regular && self.rotation.is_old(open.size, open.born_us, now_us) => {
                self.rotate(now_us)
            }
            _ => Ok(()),
        }
    }

    /// Compresses a piece of what is still to be compressed. True while there is more to do.
    pub fn compress_some(&mut self) -> bool {
        if self.compressing.is_none() {
            // What cannot be compressed (no room) stays as it is, and goes with its time.
            self.compressing = self.to_compress.pop_front().and_then(|path| Gzip::begin(path).ok());
        }
        if let Some(gzip) = &mut self.compressing
            && !matches!(gzip.step(), Ok(true))
        {
            self.compressing = None;
        }
        self.compressing.is_some() || !self.to_compress.is_empty()
    }

    /// Whether there is something to compress.
    #[must_use]
    pub fn has_to_compress(&self) -> bool {
        self.compressing.is_some() || !self.to_compress.is_empty()
    }

    fn write_some(&mut self, lines: &[u8], now_us: i64) -> Result<usize, Unwritten> {
        let whole = |error| Unwritten { written: 0, error };
        self.close_if_moved(now_us);
        if self.open.is_none() {
            let open = self.open_now(now_us).map_err(whole)?;
            self.open = Some(open);
            self.tidy(now_us);
        }
        let Some(open) = &mut self.open else {
            return Ok(0);
        };
        if !open.is_regular {
            open.file.write_all(lines).map_err(whole)?;
            return Ok(lines.len());
        }
        let fitting = self.rotation.fitting(open.size, lines);
        if fitting == 0 || self.rotation.is_old(open.size, open.born_us, now_us) {
            self.rotate(now_us).map_err(whole)?;
            return Ok(0);
        }
        open.append(&lines[..fitting])
    }

    /// Others may rotate too, or remove the whole directory.
    fn close_if_moved(&mut self, now_us: i64) {
        let Some(open) = &mut self.open else { return };
        if (now_us - open.checked_us).unsigned_abs() < CHECK_EVERY_US.unsigned_abs() {
            return;
        }
        open.checked_us = now_us;
        let same =
            |there: fs::Metadata, ours: fs::Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        let is_there = match (fs::symlink_metadata(&self.path), open.file.metadata()) {
            (Ok(there), Ok(ours)) => {
                // Somebody may have truncated it in place.
                open.size = ours.len();
                same(there, ours)
            }
            _ => false,
        };
        if !is_there {
            self.open = None;
        }
    }

    fn open_now(&mut self, now_us: i64) -> io::Result<Open> {
        let dir = Dir::enter(self.path.parent().unwrap_or(Path::new("/")), DIR_MODE)?;
        if self.dir.as_ref().is_none_or(|before| !before.is(&dir)) {
            // What was begun in the old one is left there.
            self.compressing = None;
            self.to_compress.clear();
            self.dir = Some(dir);
        }
        let file = open_append(&self.beside(&self.base()))?;
        let meta = file.metadata()?;
        if !meta.is_file() && !meta.file_type().is_char_device() {
            return Err(io::Error::other("it is not a file"));
        }
        if meta.is_file() && meta.nlink() > 1 {
            return Err(io::Error::other("it has another name somewhere, so it may be somebody else's"));
        }
        let born_us = if meta.len() == 0 { now_us } else { born(&meta).unwrap_or(now_us) };
        Ok(Open { file, size: meta.len(), born_us, checked_us: now_us, is_regular: meta.is_file() })
    }

    fn rotate(&mut self, now_us: i64) -> io::Result<()> {
        self.open = None;
        if self.rotation.keep == 0 {
            fs::remove_file(self.beside(&self.base()))?;
        } else {
            let to = self.free_name(now_us);
            fs::rename(self.beside(&self.base()), &to)?;
            if self.rotation.compress {
                self.to_compress.push_back(to);
            }
        }
        self.sync_dir();
        let open = self.open_now(now_us)?;
        self.open = Some(open);
        self.tidy(now_us);
        Ok(())
    }

    /// The name for a file that is rotated now; a microsecond later as long as it is taken.
    fn free_name(&self, now_us: i64) -> PathBuf {
        let base = self.base();
        let mut at_us = now_us;
        loop {
            let plain = Rotated { stamp: stamp_of(at_us), form: Form::Plain };
            let gzip = Rotated { form: Form::Gzip, ..plain.clone() };
            let [plain, gzip] = [plain, gzip].map(|file| self.beside(&file.name(&base)));
            if !exists(&plain) && !exists(&gzip) {
                return plain;
            }
            at_us += 1;
        }
    }

    /// Removes what is surplus, and finds what a former svinit left uncompressed.
    fn tidy(&mut self, now_us: i64) {
        let base = self.base();
        let busy = self.compressing.as_ref().map(|gzip| gzip.from().to_path_buf());
        let mut files = self.rotated();
        if let Some(busy) = &busy {
            // Its unfinished half is ours, and it goes only when it is complete.
            files.retain(|file| {
                file.form != Form::Unfinished
                    || !busy.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&file.stamp))
            });
        }
        let surplus = self.rotation.surplus(files.clone(), now_us);
        for file in &surplus {
            let path = self.beside(&file.name(&base));
            if busy.as_ref() == Some(&path) {
                self.compressing = None;
            }
            // Gone already is as good; what cannot be removed is tried again next time.
            let _ = fs::remove_file(&path);
        }
        files.retain(|file| !surplus.contains(file));
        files.sort();
        self.oldest_until_us = self.oldest_until(&files, now_us);
        self.to_compress.clear();
        if self.rotation.compress {
            let busy = self.compressing.as_ref().map(|gzip| gzip.from().to_path_buf());
            let plain = files.iter().filter(|file| file.form == Form::Plain);
            let paths = plain.map(|file| self.beside(&file.name(&base)));
            let waiting: Vec<PathBuf> = paths.filter(|path| Some(path) != busy.as_ref()).collect();
            self.to_compress.extend(waiting);
        }
    }

    /// A moment in a name cannot be read back simply, and need not: what stands between now and the bound is enough.
    fn oldest_until(&self, files: &[Rotated], now_us: i64) -> Option<i64> {
        let age = self.rotation.max_age_us;
        let oldest = files.first().filter(|_| age > 0)?;
        let path = self.beside(&oldest.name(&self.base()));
        let modified = fs::symlink_metadata(path).ok().map_or(now_us, |meta| meta.mtime() * 1_000_000);
        // At least a minute from now, should the file's time and its name disagree.
        Some(modified.saturating_add(age).max(now_us.saturating_add(60_000_000)))
    }

    fn rotated(&self) -> Vec<Rotated> {
        let base = self.base();
        let Ok(entries) = fs::read_dir(self.beside("")) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| Rotated::parse(&base, name.to_str()?)).collect()
    }

    /// A rename is safe from a power cut only when the directory is written.
    fn sync_dir(&self) {
        if let Ok(dir) = File::open(self.beside("")) {
            let _ = dir.sync_data();
        }
    }

    /// What is called `name` in the directory, or with no name the directory itself. By its path where `/proc` is not there.
    fn beside(&self, name: &str) -> PathBuf {
        let held = self.dir.as_ref().and_then(|dir| dir.path_of(Path::new(name)));
        held.unwrap_or_else(|| self.path.parent().unwrap_or(Path::new("/")).join(name))
    }

    fn base(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Open {
    fn append(&mut self, lines: &[u8]) -> Result<usize, Unwritten> {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err(self.cut(lines, written, io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    written += n;
                    self.size += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(lines, written, error)),
            }
        }
        Ok(lines.len())
    }

    /// Cuts off the half line at the end of what was written.
    fn cut(&mut self, lines: &[u8], written: usize, error: io::Error) -> Unwritten {
        let whole = memrchr(b'\n', &lines[..written]).map_or(0, |end| end + 1);
        let half = (written - whole) as u64;
        if half > 0 && self.file.set_len(self.size.saturating_sub(half)).is_ok() {
            self.size -= half;
        }
        Unwritten { written: whole, error }
    }
}

/// Opens for appending, following no link at the last step; a FIFO without a reader is an error, not a wait.
fn open_append(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let opened = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link, which is not followed"),
        _ => error,
    })
}

fn born(meta: &fs::Metadata) -> Option<i64> {
    let born = meta.created().or_else(|_| meta.modified()).ok()?;
    i64::try_from(born.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests;
