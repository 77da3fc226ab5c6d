//! Reads the files that `units` is not allowed to read, and refuses those that others could have written.
//!
//! Sizes are checked before a byte is parsed: a file of 8 MB can cost a TOML parser seconds and hundreds of megabytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::os::zone;
use crate::runtime::handle::{SourceText, Sources as SourceTexts};
use crate::units::name::UnitName;
use crate::units::problem::{Problem, Problems};
use crate::units::reading::{Reading, read_scaled};
use crate::units::sockets::Places;
use crate::units::source::{Source, SourceKind};
use crate::units::spec::{DaemonSpec, UnitSet, UnitSpec, When};

/// Where units are, when nobody says otherwise.
pub const UNITS_DEFAULT: &str = "/etc/svinit/units";

/// Where the daemon's own settings are, when nobody says otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/svinit/svinit.toml";

/// Bytes of one file; a longer one is refused.
pub const FILE_MAX: u64 = 256 << 10;

/// Units of one load; more are refused.
pub const UNITS_MAX: usize = 1000;

/// Files of one load, with all layers; more are refused.
pub const FILES_MAX: usize = 4096;

/// Bytes of all files together; more are refused.
pub const TOTAL_MAX: u64 = 1 << 20;

/// Set to 1, files that others may write to are read all the same.
pub const TRUST_VARIABLE: &str = "SVINIT_TRUST_UNITS";

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Paths {
    /// Directories of `NAME.toml` files, or single files, lowest layer first; none is [`UNITS_DEFAULT`].
    pub units: Vec<PathBuf>,
    /// The daemon's settings; `None` is [`CONFIG_DEFAULT`], which may be missing.
    pub config: Option<PathBuf>,
    /// There is something to run without any unit (a COMMAND), so the default directory may be missing.
    pub units_optional: bool,
    /// svinit's own effective user: its files are trusted, as root's are.
    pub uid: u32,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The units.
    pub set: UnitSet,
    /// The daemon's settings.
    pub daemon: DaemonSpec,
    /// How many instances files say that there are, by group.
    pub instances: BTreeMap<UnitName, u32>,
    /// Where units have written their sockets, in [`Loaded::sources`].
    pub places: BTreeMap<UnitName, Places>,
    /// What looks wrong but stops nothing.
    pub warnings: Vec<Problem>,
    /// The files, lowest layer first, with their texts.
    pub sources: Vec<Source>,
}

impl Loaded {
    /// The files of each unit, in the order in which they were laid over each other.
    #[must_use]
    pub fn by_unit(&self) -> SourceTexts {
        let mut texts = SourceTexts::new();
        for Source { path, text, kind, instance } in &self.sources {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let own = instance.as_ref().map_or(stem, UnitName::as_str);
            if *kind == SourceKind::Unit {
                let instances = self.set.instances(own);
                let is_group = !instances.is_empty();
                let names = instances.into_iter().map(|spec| spec.name.clone());
                let lone = UnitName::new(own).ok().filter(|_| !is_group);
                for name in names.chain(lone) {
                    let text = SourceText { path: path.clone(), text: text.clone() };
                    texts.entry(name).or_default().push(text);
                }
            }
        }
        texts
    }
}

/// Reads everything below `paths`; `env` is the container's environment.
///
/// # Errors
/// Every problem of every file, and of files that cannot or must not be read. Nothing of a load with errors is used.
pub fn load(paths: &Paths, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    load_scaled(paths, env, &|_, written| written)
}

/// The same with other numbers of instances; see [`read_scaled`].
///
/// # Errors
/// As [`load`].
pub fn load_scaled(
    paths: &Paths,
    env: &dyn Fn(&str) -> Option<String>,
    scale: &dyn Fn(&UnitName, u32) -> u32,
) -> Result<Loaded, Problems> {
    let trusts_all = env(TRUST_VARIABLE).is_some_and(|value| value == "1");
    let mut gathering = Gathering {
        uid: paths.uid,
        trusts_all,
        sources: Vec::new(),
        names: BTreeSet::new(),
        total: 0,
        problems: Vec::new(),
        is_full: false,
    };
    gathering.config(paths.config.as_deref());
    gathering.units(&paths.units, paths.units_optional);
    let Gathering { sources, mut problems, .. } = gathering;
    let read = read_scaled(&sources, env, scale);
    if let Ok(reading) = &read {
        problems.extend(unknown_zones(&reading.set));
    }
    match read {
        Ok(reading) if reading.set.units.len() > UNITS_MAX && problems.is_empty() => {
            let last = sources.last().map(|source| source.path.clone()).unwrap_or_default();
            let why = format!("with all instances there are more than {UNITS_MAX} units");
            Err(Problems(vec![Problem::of_file(&last, why)]))
        }
        Ok(Reading { set, daemon, instances, places, warnings }) if problems.is_empty() => {
            Ok(Loaded { set, daemon, instances, places, warnings, sources })
        }
        Ok(reading) => {
            problems.extend(reading.warnings);
            Err(Problems(problems))
        }
        Err(others) => {
            problems.extend(others.0);
            Err(Problems(problems))
        }
    }
}

/// Time zones that this image does not have.
fn unknown_zones(set: &UnitSet) -> Vec<Problem> {
    let of = |spec: &Arc<UnitSpec>| match spec.schedule.as_ref().map(|rule| &rule.when) {
        Some(When::Cron { zone, .. }) => {
            zone::find(zone).err().map(|why| Problem::of_file(&spec.origin, why))
        }
        Some(When::Every(_)) | None => None,
    };
    set.units.values().filter_map(of).collect()
}

/// The files read so far, and why others were not.
struct Gathering {
    uid: u32,
    trusts_all: bool,
    sources: Vec<Source>,
    /// Of units, without their layers.
    names: BTreeSet<OsString>,
    total: u64,
    problems: Vec<Problem>,
    is_full: bool,
}

impl Gathering {
    fn config(&mut self, given: Option<&Path>) {
        let path = given.unwrap_or(Path::new(CONFIG_DEFAULT));
        if given.is_some() || exists(path) {
            self.file(path, SourceKind::Daemon);
        }
    }

    fn units(&mut self, given: &[PathBuf], is_optional: bool) {
        let default = [PathBuf::from(UNITS_DEFAULT)];
        if given.is_empty() && is_optional && !exists(&default[0]) {
            return;
        }
        for path in if given.is_empty() { &default } else { given } {
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => self.directory(path, &meta),
                Ok(_) => self.file(path, SourceKind::Unit),
                Err(error) => {
                    let mut problem = unreadable(path, &error);
                    if given.is_empty() {
                        problem = problem
                            .with_help("put NAME.toml files there, or say where they are with --units");
                    }
                    self.problems.push(problem);
                }
            }
        }
    }

    /// All `*.toml` of a directory, by name; hidden and other files are left alone.
    fn directory(&mut self, path: &Path, meta: &Metadata) {
        self.judge(path, meta);
        let names = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<BTreeSet<_>>>()
        });
        let names = match names {
            Ok(names) => names,
            Err(error) => return self.problems.push(unreadable(path, &error)),
        };
        for name in names {
            let text = name.to_string_lossy();
            if text.ends_with(".toml") && !text.starts_with('.') && !self.is_full {
                self.file(&path.join(&name), SourceKind::Unit);
            }
        }
    }

    fn file(&mut self, path: &Path, kind: SourceKind) {
        if self.sources.len() >= FILES_MAX {
            return self.full(path, &format!("there are more than {FILES_MAX} files"));
        }
        if kind == SourceKind::Unit
            && let Some(name) = path.file_stem()
            && !self.names.contains(name)
        {
            if self.names.len() >= UNITS_MAX {
                return self.full(path, &format!("there are more than {UNITS_MAX} units"));
            }
            self.names.insert(name.to_owned());
        }
        // The opened file is judged, not its name, which could mean another file a moment later. FIFOs would make
        // opening wait for a writer, so what is no file is refused before.
        let opened = fs::metadata(path).and_then(|meta| {
            if meta.is_file() { File::open(path) } else { Err(io::Error::other("it is no regular file")) }
        });
        let opened = opened.and_then(|file| file.metadata().map(|meta| (file, meta)));
        let (file, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.problems.push(unreadable(path, &error)),
        };
        self.judge(path, &meta);
        let mut bytes = Vec::new();
        // One more than allowed, because files can grow, and those below /proc say that they are empty.
        if let Err(error) = file.take(FILE_MAX + 1).read_to_end(&mut bytes) {
            return self.problems.push(unreadable(path, &error));
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > FILE_MAX {
            let message = format!("cannot read this file: it is longer than {} KiB", FILE_MAX >> 10);
            return self.problems.push(Problem::of_file(path, message));
        }
        if self.total + length > TOTAL_MAX {
            return self.full(path, &format!("all files together are longer than {} MiB", TOTAL_MAX >> 20));
        }
        self.total += length;
        match String::from_utf8(bytes) {
            Ok(text) => self.sources.push(Source { path: path.to_owned(), text, kind, instance: None }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
                let message = format!("cannot read this file: line {line} holds bytes that are not UTF-8");
                self.problems.push(Problem::of_file(path, message));
            }
        }
    }

    fn full(&mut self, path: &Path, why: &str) {
        if !self.is_full {
            self.is_full = true;
            self.problems
                .push(Problem::of_file(path, format!("cannot read this file and those after it: {why}")));
        }
    }

    /// Whoever can write a unit can run anything as svinit's user, so nobody but that user and root may.
    fn judge(&mut self, path: &Path, meta: &Metadata) {
        if self.trusts_all {
            return;
        }
        let trust = format!("or set {TRUST_VARIABLE}=1 to trust it as it is");
        if meta.uid() != 0 && meta.uid() != self.uid {
            let (owner, own) = (meta.uid(), self.uid);
            let whose = if own == 0 { "root".to_owned() } else { format!("root or user {own}") };
            let message =
                format!("cannot trust this: it belongs to user {owner}, who could make svinit run anything");
            self.problems.push(
                Problem::of_file(path, message).with_help(format!("let it belong to {whose}, {trust}")),
            );
        } else if meta.mode() & 0o022 != 0 {
            let who = if meta.mode() & 0o002 != 0 { "everybody" } else { "its group" };
            let message =
                format!("cannot trust this: {who} may write to it, and could make svinit run anything");
            let help = format!("chmod go-w {}, {trust}", path.display());
            self.problems.push(Problem::of_file(path, message).with_help(help));
        }
    }
}

/// Whether something is there. What may not be looked at is there: opening it says why it cannot be read.
fn exists(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let cause = if error.kind() == io::ErrorKind::NotFound {
        "there is no such file or directory".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied".to_owned()
    } else {
        error.to_string()
    };
    Problem::of_file(path, format!("cannot read this: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::{FILE_MAX, Paths, UNITS_MAX, load};

    fn directory() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("units");
        fs::create_dir(&units).unwrap();
        fs::set_permissions(&units, fs::Permissions::from_mode(0o755)).unwrap();
        let uid = fs::metadata(&units).unwrap().uid();
        let config = dir.path().join("svinit.toml");
        write(&config, "");
        let paths = Paths { units: vec![units], config: Some(config), units_optional: false, uid };
        (dir, paths)
    }

    fn write(path: &std::path::Path, text: impl AsRef<[u8]>) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn problems(paths: &Paths) -> String {
        load(paths, &|_| None).unwrap_err().to_string()
    }

    #[test]
    fn a_later_path_changes_an_earlier_one() {
        let (dir, mut paths) = directory();
        write(&paths.units[0].join("web.toml"), "command = 'a b'\ndescription = 'x'");
        write(&paths.units[0].join(".hidden.toml"), "rubbish");
        write(&paths.units[0].join("README"), "rubbish");
        let more = dir.path().join("web.toml");
        write(&more, "command = 'c'");
        paths.units.push(more.clone());
        let loaded = load(&paths, &|_| None).unwrap();
        let web = loaded.set.find("web").unwrap();
        assert_eq!((web.command.0[0].as_str(), web.description.as_str()), ("c", "x"));
        assert_eq!(web.origin, more);
        assert_eq!(loaded.sources.len(), 3);
    }

    #[test]
    fn what_others_can_write_is_refused_unless_trusted() {
        let (_dir, paths) = directory();
        let unit = paths.units[0].join("web.toml");
        write(&unit, "command = 'a'");
        fs::set_permissions(&unit, fs::Permissions::from_mode(0o666)).unwrap();
        let said = problems(&paths);
        assert!(said.contains("everybody may write to it"), "{said}");
        assert!(said.contains("chmod go-w") && said.contains("SVINIT_TRUST_UNITS=1"), "{said}");
        let trusting = |name: &str| (name == "SVINIT_TRUST_UNITS").then(|| "1".to_owned());
        assert!(load(&paths, &trusting).is_ok());
    }

    #[test]
    fn files_of_another_user_are_refused() {
        let (_dir, mut paths) = directory();
        if paths.uid == 0 {
            std::os::unix::fs::chown(&paths.units[0], Some(12345), None).unwrap();
        } else {
            paths.uid += 1;
        }
        assert!(problems(&paths).contains("belongs to user"), "{}", problems(&paths));
    }

    #[test]
    fn sizes_and_bytes_are_checked_before_parsing() {
        let (_dir, paths) = directory();
        write(&paths.units[0].join("big.toml"), "#".repeat(usize::try_from(FILE_MAX).unwrap() + 1));
        write(&paths.units[0].join("bytes.toml"), b"a = 1\nb = '\xff'");
        fs::create_dir(paths.units[0].join("dir.toml")).unwrap();
        let said = problems(&paths);
        assert!(said.contains("longer than 256 KiB"), "{said}");
        assert!(said.contains("line 2 holds bytes that are not UTF-8"), "{said}");
        assert!(said.contains("no regular file"), "{said}");
    }

    #[test]
    fn a_layer_over_the_thousandth_unit_is_read_and_one_unit_more_is_not() {
        let (dir, mut paths) = directory();
        for number in 0..UNITS_MAX {
            write(&paths.units[0].join(format!("u{number}.toml")), "command = 'a'");
        }
        let over = dir.path().join("over");
        fs::create_dir(&over).unwrap();
        fs::set_permissions(&over, fs::Permissions::from_mode(0o755)).unwrap();
        write(&over.join("u999.toml"), "description = 'x'");
        paths.units.push(over.clone());
        assert_eq!(load(&paths, &|_| None).unwrap().set.units.len(), UNITS_MAX);
        write(&over.join("more.toml"), "command = 'a'");
        assert!(problems(&paths).contains("there are more than 1000 units"), "{}", problems(&paths));
    }

    #[test]
    fn what_was_named_must_be_there() {
        let (dir, mut paths) = directory();
        paths.units.push(dir.path().join("nowhere"));
        paths.config = Some(dir.path().join("none.toml"));
        assert_eq!(problems(&paths).matches("there is no such file").count(), 2);
    }
}
