//! Everything a child needs, made before it is: strings ended by NUL, candidates of the `PATH`, limits as numbers.
//!
//! The child itself must not allocate or look anything up: it runs in our memory.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use super::capability;
use super::report::{Step, kind_of};
use super::{Input, Launch, OWN_PID, Output, context};
use crate::lifecycle::event::{SpawnCause, SpawnFailure};
use crate::os::error::cause;
use crate::os::procfs;
use crate::os::sys;
use crate::os::tag;
use crate::os::terminal;

/// Where programs are looked up when the environment names no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most directories of a `PATH` that are tried.
const CANDIDATES_MAX: usize = 256;

/// The session and the terminal of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// One of its own, without a terminal.
    Own,
    /// Ours, in a group of its own that has the terminal.
    Foreground,
    /// One of its own, with our terminal as its controlling one, if nobody has it.
    OwnWithTerminal,
    /// As it is: for a process that becomes the program itself.
    Keep,
}

impl Session {
    pub(super) fn of(launch: &Launch) -> Self {
        match (launch.foreground, launch.foreground && terminal::is_ours()) {
            (_, true) => Self::Foreground,
            (true, false) => Self::OwnWithTerminal,
            (false, false) => Self::Own,
        }
    }
}

/// A limit to set.
pub(super) struct Limit {
    pub(super) step: Step,
    pub(super) resource: sys::Resource,
    pub(super) wanted: u64,
    /// The hard limit to set: the same, or as it is where only the soft one is given back.
    pub(super) ceiling: u64,
    /// What the hard limit is; without privilege it cannot be more.
    pub(super) hard: u64,
}

/// Capabilities to end with.
pub(super) struct Privileges {
    /// Those that stay.
    pub(super) kept: u64,
    /// All others leave the bounding set too.
    pub(super) bound: bool,
    /// They must be handed over a change of user and an exec.
    pub(super) ambient: bool,
}

/// Who it becomes.
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// What the child carries out.
pub(super) struct Plan {
    pub(super) session: Session,
    /// `(source, target)`; a source changes when it is moved out of the way.
    pub(super) fds: Vec<(Cell<RawFd>, RawFd)>,
    pub(super) fd_highest: RawFd,
    /// Where `close_range` does not know the flag: every descriptor that is open.
    pub(super) open_fds: Option<Vec<RawFd>>,
    /// The directory of the control group; changes as a source does.
    pub(super) cgroup: Option<Cell<RawFd>>,
    /// Keeps that directory open.
    _cgroup: Option<OwnedFd>,
    pub(super) oom_score: Option<OomScore>,
    pub(super) nice: Option<i32>,
    pub(super) limits: [Option<Limit>; 3],
    /// Soft and hard `RLIMIT_RTTIME`.
    pub(super) tag: Option<(u64, u64)>,
    pub(super) umask: u32,
    pub(super) identity: Option<Identity>,
    pub(super) privileges: Option<Privileges>,
    pub(super) no_new_privileges: bool,
    pub(super) working_dir: CString,
    pub(super) argv: sys::CStrings,
    pub(super) envp: sys::CStrings,
    /// Which texts of `envp` end with the process's own number, from where on.
    pub(super) own_pid_at: Vec<(usize, usize)>,
    pub(super) candidates: Vec<CString>,
    pub(super) program: String,
    pub(super) is_searched: bool,
    pub(super) search_path: String,
    pub(super) user_words: String,
    pub(super) warnings: Vec<String>,
}

/// A value for `oom_score_adj`.
pub(super) struct OomScore {
    pub(super) text: String,
    /// Nobody asked for it: it is only a reset, and no warning when it fails.
    pub(super) is_reset: bool,
}

impl Plan {
    pub(super) fn new(launch: &Launch, session: Session) -> Result<Self, SpawnFailure> {
        let program = launch.argv.first().filter(|program| !program.is_empty());
        let program =
            program.ok_or_else(|| context("cannot execute nothing: the command is empty".to_owned()))?;
        let search_path = search_path(launch);
        let fds = descriptors(launch)?;
        let mut warnings = Vec::new();
        let (env, own_pid_at) = environment(launch)?;
        let cgroup = launch.cgroup.as_ref().and_then(|cgroup| match cgroup.dir_for_joining() {
            Ok(fd) => Some(fd),
            Err(error) => {
                warnings.push(error.to_string());
                None
            }
        });
        Ok(Self {
            session,
            fd_highest: fds.iter().map(|(_, target)| *target).max().unwrap_or(2).max(2),
            fds,
            open_fds: open_fds(),
            cgroup: cgroup.as_ref().map(|dir| Cell::new(dir.as_raw_fd())),
            _cgroup: cgroup,
            oom_score: oom_score(launch.rlimits.oom_score_adj),
            nice: launch.rlimits.nice,
            limits: limits(launch),
            tag: tag_limits(launch, session),
            umask: launch.umask & 0o777,
            identity: launch.ids.as_ref().map(|ids| Identity {
                uid: ids.uid,
                gid: ids.gid,
                groups: ids.groups.clone(),
            }),
            privileges: privileges(launch, &mut warnings)?,
            no_new_privileges: launch.no_new_privileges,
            working_dir: c_string(launch.working_dir.as_os_str().as_bytes(), "the working directory")?,
            argv: sys::CStrings::new(
                launch
                    .argv
                    .iter()
                    .map(|word| c_string(word.as_bytes(), "the command"))
                    .collect::<Result<_, _>>()?,
            ),
            envp: sys::CStrings::new(env),
            own_pid_at,
            candidates: candidates(program, &search_path)?,
            program: program.clone(),
            is_searched: !program.contains('/'),
            search_path,
            user_words: user_words(launch),
            warnings,
        })
    }

    /// Descriptors of ours that the child needs.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Cell<RawFd>> {
        self.fds.iter().map(|(source, _)| source).chain(&self.cgroup)
    }
}

fn user_words(launch: &Launch) -> String {
    let uid = launch.ids.as_ref().map_or_else(sys::geteuid, |ids| ids.uid);
    match launch.ids.as_ref().and_then(|ids| ids.name.as_ref()) {
        Some(name) => format!("user {name}"),
        None => format!("user {uid}"),
    }
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString, SpawnFailure> {
    CString::new(bytes).map_err(|_| context(format!("cannot use {what}: it holds a NUL byte")))
}

fn search_path(launch: &Launch) -> String {
    let path = launch.env.iter().rev().find(|(name, _)| name == "PATH");
    path.map_or(DEFAULT_PATH, |(_, path)| path).to_owned()
}

fn candidates(program: &str, search_path: &str) -> Result<Vec<CString>, SpawnFailure> {
    if program.contains('/') {
        return Ok(vec![c_string(program.as_bytes(), "the command")?]);
    }
    search_path
        .split(':')
        .take(CANDIDATES_MAX)
        // An empty entry is the working directory, by an old convention.
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| c_string(format!("{dir}/{program}").as_bytes(), "the command"))
        .collect()
}

type Environment = (Vec<CString>, Vec<(usize, usize)>);

fn environment(launch: &Launch) -> Result<Environment, SpawnFailure> {
    let mut texts = Vec::with_capacity(launch.env.len());
    let mut own_pid_at = Vec::new();
    for (name, value) in &launch.env {
        if value == OWN_PID {
            own_pid_at.push((texts.len(), name.len() + 1));
        }
        let what = format!("the environment variable {name}");
        texts.push(c_string(format!("{name}={value}").as_bytes(), &what)?);
    }
    Ok((texts, own_pid_at))
}

fn descriptors(launch: &Launch) -> Result<Vec<(Cell<RawFd>, RawFd)>, SpawnFailure> {
    let mut fds = Vec::with_capacity(launch.fds.len() + 3);
    match &launch.stdin {
        Input::Null => fds.push((Cell::new(null()?.as_raw_fd()), 0)),
        Input::Terminal => {}
        Input::Fd(fd) => fds.push((Cell::new(fd.as_raw_fd()), 0)),
    }
    for (output, target) in [(&launch.stdout, 1), (&launch.stderr, 2)] {
        if let Output::Fd(fd) = output {
            fds.push((Cell::new(fd.as_raw_fd()), target));
        }
    }
    for (fd, target) in &launch.fds {
        if *target < 3 || fds.iter().any(|(_, taken)| taken == target) {
            return Err(context(format!("cannot hand over descriptor {target}: the number is taken")));
        }
        fds.push((Cell::new(fd.as_raw_fd()), *target));
    }
    Ok(fds)
}

/// `/dev/null`, opened once; in an image without it, a pipe that nobody writes to: reading ends at once as well.
pub(super) fn null() -> Result<BorrowedFd<'static>, SpawnFailure> {
    static NULL: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(fd) = NULL.get() {
        return Ok(fd.as_fd());
    }
    let made = File::open("/dev/null")
        .map(OwnedFd::from)
        .or_else(|_| std::io::pipe().map(|(reader, _)| OwnedFd::from(reader)));
    let fd = made.map_err(|error| SpawnFailure {
        cause: kind_of(error.raw_os_error().unwrap_or(0), SpawnCause::Context),
        why: format!("cannot open /dev/null: {}", cause(&error)),
    })?;
    Ok(NULL.get_or_init(|| fd).as_fd())
}

/// Needed before Linux 5.11 only. Descriptors that appear later are made with the flag by ourselves.
fn open_fds() -> Option<Vec<RawFd>> {
    if can_range() {
        return None;
    }
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The kernel knows `close_range` with its flags.
pub(super) fn can_range() -> bool {
    static CAN_RANGE: OnceLock<bool> = OnceLock::new();
    *CAN_RANGE.get_or_init(|| sys::close_range_at_exec(u32::MAX - 1).is_ok())
}

/// Our own, as it was at the first launch: nobody changes that of a running PID 1, and each look costs as much as
/// three other calls.
fn own_oom_score() -> Option<i32> {
    static OWN: OnceLock<Option<i32>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let own = procfs::read_up_to("/proc/self/oom_score_adj", 16)?;
        std::str::from_utf8(&own).ok()?.trim().parse().ok()
    })
}

fn oom_score(wanted: Option<i32>) -> Option<OomScore> {
    let own = own_oom_score()?;
    let value = wanted.unwrap_or(0);
    (own != value).then(|| OomScore { text: value.to_string(), is_reset: wanted.is_none() })
}

fn limits(launch: &Launch) -> [Option<Limit>; 3] {
    let (rlimits, given) = (&launch.rlimits, &launch.given);
    let limit = |step, resource, asked: Option<u64>, given: Option<u64>| {
        let wanted = asked.or(given)?;
        let (_, hard) = sys::get_limit(resource).ok()?;
        Some(Limit { step, resource, wanted, ceiling: asked.unwrap_or(hard), hard })
    };
    [
        limit(Step::Nofile, libc::RLIMIT_NOFILE, rlimits.nofile, given.nofile),
        limit(Step::Nproc, libc::RLIMIT_NPROC, rlimits.nproc, None),
        limit(Step::Core, libc::RLIMIT_CORE, rlimits.core, given.core),
    ]
}

/// A hard limit below the tag cannot be raised: the process is then followed by its session and its ancestors.
fn tag_limits(launch: &Launch, session: Session) -> Option<(u64, u64)> {
    let (_, hard) = sys::get_limit(tag::RESOURCE).ok()?;
    let soft = tag::number(launch.run);
    (session != Session::Keep && hard >= soft).then_some((soft, hard))
}

fn privileges(launch: &Launch, warnings: &mut Vec<String>) -> Result<Option<Privileges>, SpawnFailure> {
    let uid = launch.ids.as_ref().map_or_else(sys::geteuid, |ids| ids.uid);
    let Some(names) = &launch.capabilities else {
        // The kernel clears them at the change of user, unless a securebit that we inherited forbids it.
        let leaves_root = launch.ids.is_some() && uid != 0;
        return Ok(leaves_root.then_some(Privileges { kept: 0, bound: false, ambient: false }));
    };
    let wanted = capability::bits(names)
        .map_err(|name| context(format!("cannot keep capability {name}: there is no such capability")))?;
    let own = sys::get_capabilities().unwrap_or_default();
    let missing = capability::names(wanted & !own.permitted);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        warnings.push(format!("cannot keep capability {missing}: svinit does not have it itself"));
    }
    Ok(Some(Privileges { kept: wanted & own.permitted, bound: true, ambient: uid != 0 }))
}
