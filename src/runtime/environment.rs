//! The environment that a unit's process starts with.
//!
//! From what yields to what wins: the container's own, what the unit's user implies, `environment_files` in order,
//! `[environment]`, `[secrets]`, what svinit promises, what the occasion adds. Files and secrets are read at each start.

pub mod lines;

use std::collections::BTreeMap;

use crate::os::error::Error;
use crate::os::files;
use crate::os::user::Ids;
use crate::units::spec::{Context, UnitSpec};
use crate::units::table::INSTANCE_VARIABLE;

/// What stands for the value of a secret wherever the environment is shown.
pub const HIDDEN: &str = "***";

/// Where programs are looked for when nobody has set `PATH`.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest file in `environment_files`.
const FILE_MAX: usize = 1 << 20;

/// The container's own environment, without what was meant for svinit itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited(BTreeMap<String, String>);

impl Inherited {
    /// Keeps what may be passed on. `LISTEN_*`, `NOTIFY_SOCKET` and `WATCHDOG_*` were promised to svinit by whoever
    /// started it; a service that believed them would talk to the wrong supervisor.
    pub fn new(all: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(all.into_iter().filter(|(name, _)| !is_for_svinit(name)).collect())
    }

    /// The environment of this process. Variables that are not UTF-8 come second, by a readable form of their names:
    /// they cannot be passed on.
    #[must_use]
    pub fn own() -> (Self, Vec<String>) {
        let mut odd = Vec::new();
        let all =
            std::env::vars_os().filter_map(|(name, value)| match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => Some((name, value)),
                (Ok(name), Err(_)) => {
                    odd.push(name);
                    None
                }
                (Err(name), _) => {
                    odd.push(name.to_string_lossy().into_owned());
                    None
                }
            });
        (Self::new(all.collect::<Vec<_>>()), odd)
    }

    /// The value of one variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn is_for_svinit(name: &str) -> bool {
    ["NOTIFY_SOCKET", "FDSTORE", INSTANCE_VARIABLE].contains(&name)
        || name.starts_with("LISTEN_")
        || name.starts_with("WATCHDOG_")
}

/// What was read for this start.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Of `environment_files`, in order.
    pub files: Vec<(String, String)>,
    /// Of `[secrets]`.
    pub secrets: Vec<(String, String)>,
    /// `NOTIFY_SOCKET`, `CREDENTIALS_DIRECTORY` and what the machine adds (`MAINPID` ...).
    pub promised: Vec<(String, String)>,
}

/// What `environment_files` hold now, in order.
///
/// # Errors
/// The first file that cannot be read or makes no sense. No value is shown.
pub fn read_files(context: &Context) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    for file in &context.environment_files {
        if file.may_be_missing && !file.path.exists() {
            continue;
        }
        let bytes = files::read_capped(&file.path, FILE_MAX)?;
        let doing = || format!("read {}", file.path.display());
        let text = String::from_utf8(bytes).map_err(|_| Error::new(doing(), "it is not UTF-8"))?;
        all.extend(lines::parse(&text).map_err(|why| Error::new(doing(), why))?);
    }
    Ok(all)
}

/// Puts it together, by name.
#[must_use]
pub fn compose(
    inherited: &Inherited,
    spec: &UnitSpec,
    ids: Option<&Ids>,
    read: Read,
) -> BTreeMap<String, String> {
    let mut all = inherited.0.clone();
    all.entry("PATH".to_owned()).or_insert_with(|| PATH_DEFAULT.to_owned());
    all.extend(ids.into_iter().flat_map(of_user));
    all.extend(read.files);
    all.extend(spec.context.environment.clone());
    all.extend(read.secrets);
    all.insert("SVINIT_UNIT".to_owned(), spec.name.as_str().to_owned());
    if let Some(instance) = &spec.instance {
        all.insert(INSTANCE_VARIABLE.to_owned(), instance.number.to_string());
    }
    all.extend(read.promised);
    all
}

/// What a login would set: programs look for their files in `$HOME`, and the container's is root's.
fn of_user(ids: &Ids) -> Vec<(String, String)> {
    let home = ids.home.as_ref().and_then(|home| home.to_str()).unwrap_or("/");
    let mut set = vec![("HOME".to_owned(), home.to_owned())];
    if let Some(name) = &ids.name {
        set.push(("USER".to_owned(), name.clone()));
        set.push(("LOGNAME".to_owned(), name.clone()));
    }
    set
}

#[cfg(test)]
mod tests;
