//! Users and groups, from `/etc/passwd` and `/etc/group`, without the C library.
//!
//! glibc's own look-ups load modules at run time, which kills a static executable in some images (SIGFPE in
//! `getpwnam`) and does not find even root in others. A user who cannot be found is an error, never root.

use std::path::{Path, PathBuf};

use crate::os::error::{Doing, Error};
use crate::os::files;
use crate::os::sys;
use crate::units::spec::Context;

/// Longest file that is read; a million users fit.
const FILE_MAX: usize = 64 << 20;

/// Most supplementary groups a process can have.
const GROUPS_MAX: usize = 65_536;

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups: those of the unit, and those `/etc/group` gives the user. Never what svinit has.
    pub groups: Vec<u32>,
    /// The user's name, if the number has one.
    pub name: Option<String>,
    /// The user's home, if it is known.
    pub home: Option<PathBuf>,
    /// The user's shell, if it is known.
    pub shell: Option<PathBuf>,
}

/// The two files, as texts.
#[derive(Debug, Default)]
struct Database {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
    shell: PathBuf,
}

/// Whom the processes of a unit run as; `None`: as svinit itself, nothing is to be changed.
///
/// # Errors
/// The user or a group does not exist, or svinit has no privilege to change to it.
pub fn resolve(context: &Context) -> Result<Option<Ids>, Error> {
    if context.user.is_none() && context.group.is_none() && context.groups.is_empty() {
        return Ok(None);
    }
    let ids = Database::read()?.resolve(context)?;
    let (uid, gid) = (sys::geteuid(), sys::getegid());
    if uid == 0 {
        return Ok(Some(ids));
    }
    if ids.uid == uid && ids.gid == gid && context.groups.is_empty() {
        return Ok(None);
    }
    let wanted = ids.name.unwrap_or_else(|| ids.uid.to_string());
    Err(Error::new(
        format!("run as user {wanted}, group {}", ids.gid),
        format!("svinit itself runs as user {uid}"),
    )
    .with_remedy("start svinit as root, or leave user and group out"))
}

/// Whom they would run as if these were `/etc/passwd` and `/etc/group`, whether svinit may change to it or not.
///
/// # Errors
/// The user or a group does not exist.
pub fn resolve_in(passwd: Vec<u8>, group: Vec<u8>, context: &Context) -> Result<Ids, Error> {
    Database { passwd, group }.resolve(context)
}

/// The number of a group by its name or number.
///
/// # Errors
/// There is no such group.
pub fn group(name: &str) -> Result<u32, Error> {
    match number(name) {
        Some(gid) => checked_id("group", gid),
        None => Database::read()?.group(name),
    }
}

/// The number of a user by its name or number.
///
/// # Errors
/// There is no such user.
pub fn user(name: &str) -> Result<u32, Error> {
    match number(name) {
        Some(uid) => checked_id("user", uid),
        None => Database::read()?.find_user(name).map(|user| user.uid),
    }
}

/// Who svinit itself runs as, with name and home where `/etc/passwd` knows them.
#[must_use]
pub fn own() -> Ids {
    let (uid, gid) = (sys::geteuid(), sys::getegid());
    let known = Database::read().ok().and_then(|database| database.user(|user| user.uid == uid));
    match known {
        Some(user) => ids_of(&user, gid, Vec::new()),
        None => Ids { uid, gid, ..Ids::default() },
    }
}

impl Database {
    fn read() -> Result<Self, Error> {
        Ok(Self { passwd: read(Path::new("/etc/passwd"))?, group: read(Path::new("/etc/group"))? })
    }

    fn resolve(&self, context: &Context) -> Result<Ids, Error> {
        let user = context.user.as_deref().map(|wanted| self.find_user(wanted)).transpose()?;
        let own = || self.user(|user| user.uid == sys::geteuid()).unwrap_or_else(|| nameless(sys::geteuid()));
        let (user, own_gid) = match user {
            Some(user) => (user, None),
            None => (own(), Some(sys::getegid())),
        };
        let gid = match &context.group {
            Some(wanted) => self.find_group(wanted)?,
            None => own_gid.unwrap_or(user.gid),
        };
        let mut groups = if user.name.is_empty() { Vec::new() } else { self.groups_of(&user.name) };
        for wanted in &context.groups {
            groups.push(self.find_group(wanted)?);
        }
        groups.sort_unstable();
        groups.dedup();
        groups.truncate(GROUPS_MAX);
        Ok(ids_of(&user, gid, groups))
    }

    /// By name first: a user may be called "1000". A number needs no line; its group is then the same number.
    fn find_user(&self, wanted: &str) -> Result<User, Error> {
        if let Some(user) = self.user(|user| user.name == wanted) {
            return Ok(user);
        }
        let uid = number(wanted).ok_or_else(|| {
            Error::new(format!("use user {wanted}"), "there is no such user in /etc/passwd")
        })?;
        let uid = checked_id("user", uid)?;
        Ok(self.user(|user| user.uid == uid).unwrap_or_else(|| nameless(uid)))
    }

    fn find_group(&self, wanted: &str) -> Result<u32, Error> {
        match (self.group(wanted), number(wanted)) {
            (Ok(gid), _) => Ok(gid),
            (Err(_), Some(gid)) => checked_id("group", gid),
            (Err(error), None) => Err(error),
        }
    }

    fn user(&self, is_wanted: impl Fn(&User) -> bool) -> Option<User> {
        lines(&self.passwd).filter_map(parse_user).find(|user| is_wanted(user))
    }

    fn group(&self, wanted: &str) -> Result<u32, Error> {
        lines(&self.group)
            .filter_map(parse_group)
            .find(|(name, ..)| *name == wanted)
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| Error::new(format!("use group {wanted}"), "there is no such group in /etc/group"))
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        lines(&self.group)
            .filter_map(parse_group)
            .filter(|(_, _, members)| members.split(',').any(|member| member == user))
            .map(|(_, gid, _)| gid)
            .take(GROUPS_MAX)
            .collect()
    }
}

fn ids_of(user: &User, gid: u32, groups: Vec<u32>) -> Ids {
    let known = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    Ids {
        uid: user.uid,
        gid,
        groups,
        name: (!user.name.is_empty()).then(|| user.name.clone()),
        home: known(&user.home),
        shell: known(&user.shell),
    }
}

fn nameless(uid: u32) -> User {
    User { name: String::new(), uid, gid: uid, home: PathBuf::new(), shell: PathBuf::new() }
}

/// The file, or nothing where there is none: an image from scratch has no users but numbers.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).doing(|| format!("read {}", path.display())),
        Ok(_) => files::read_capped(path, FILE_MAX),
    }
}

/// All ones means "leave as it is" to the kernel: whoever asked for that user would stay root.
fn checked_id(what: &str, id: u32) -> Result<u32, Error> {
    if id == u32::MAX {
        Err(Error::new(format!("use {what} {id}"), "that number is nobody's"))
    } else {
        Ok(id)
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// `name:password:uid:gid:comment:home:shell`. A line of another form is passed over, as are NIS's `+` and `-`.
fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let mut fields = fields.skip(1);
    let uid = number(fields.next()?).filter(|uid| *uid != u32::MAX)?;
    let gid = number(fields.next()?).filter(|gid| *gid != u32::MAX)?;
    let mut fields = fields.skip(1);
    let home = fields.next().unwrap_or_default().into();
    let shell = fields.next().unwrap_or_default().into();
    Some(User { name: name.to_owned(), uid, gid, home, shell })
}

/// `name:password:gid:member,member`.
fn parse_group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let gid = number(fields.nth(1)?).filter(|gid| *gid != u32::MAX)?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['+', '-', '#'])
}

#[cfg(test)]
mod tests;
