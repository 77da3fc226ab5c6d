//! Compresses one rotated file, a piece at a time, so that the thread that does it can write logs in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Read and compressed in one step: a few milliseconds.
const STEP: usize = 128 << 10;

/// Log lines compress well at once; the last few percent would take three times as long.
const LEVEL: u32 = 4;

/// A compression that is going on.
pub struct Gzip {
    from: PathBuf,
    source: File,
    temporary: PathBuf,
    encoder: Option<GzEncoder<File>>,
}

impl Gzip {
    /// Begins with the file `from`, which nobody writes any more.
    ///
    /// # Errors
    /// When it cannot be read, or there is no room for the other.
    pub fn begin(from: PathBuf) -> io::Result<Self> {
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let source = OpenOptions::new().read(true).custom_flags(flags).open(&from)?;
        let temporary = with_suffix(&from, ".gz.tmp");
        // Left by a crash; `create_new` follows no link and takes nobody else's file.
        let _ = fs::remove_file(&temporary);
        let mode = source.metadata()?.mode() & 0o777;
        let target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(flags)
            .open(&temporary)?;
        let encoder = Some(GzEncoder::new(target, Compression::new(LEVEL)));
        Ok(Self { from, source, temporary, encoder })
    }

    /// The file that is being compressed.
    #[must_use]
    pub fn from(&self) -> &Path {
        &self.from
    }

    /// One piece more; false when all is done and the `.gz` has taken the place of the file.
    ///
    /// # Errors
    /// When it cannot be read or written; then nothing is left but the file as it was.
    pub fn step(&mut self) -> io::Result<bool> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(false);
        };
        let mut piece = vec![0; STEP];
        let n = self.source.read(&mut piece)?;
        if n > 0 {
            encoder.write_all(&piece[..n])?;
            return Ok(true);
        }
        self.complete()?;
        Ok(false)
    }

    /// Written to the disk before the name is, and the name before the old file goes: a crash loses nothing.
    fn complete(&mut self) -> io::Result<()> {
        if let Some(encoder) = self.encoder.take() {
            let finished = encoder.finish().and_then(|file| file.sync_data());
            if let Err(error) =
                finished.and_then(|()| fs::rename(&self.temporary, with_suffix(&self.from, ".gz")))
            {
                let _ = fs::remove_file(&self.temporary);
                return Err(error);
            }
        }
        fs::remove_file(&self.from)
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        if self.encoder.is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}
