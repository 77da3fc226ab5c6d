//! From a unit, a purpose and a run to what `os::spawn` needs. Everything that can go wrong before there is a process
//! goes wrong here, as a failure of the context in words. No message holds a secret: none is ever given one.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{SpawnCause, SpawnFailure};
use crate::logs::pump::Keep;
use crate::os::credentials::{self, Credentials};
use crate::os::error::{Doing, Error};
use crate::os::sockets::Use;
use crate::os::spawn::{self, Input, Launch, OWN_PID, Output};
use crate::os::user::{self, Ids};
use crate::runtime::environment::{self, Read};
use crate::runtime::hands::{Hands, Spawn};
use crate::runtime::held;
use crate::runtime::kept;
use crate::runtime::runs::Run;
use crate::units::name::UnitName;
use crate::units::sockets::FIRST;
use crate::units::spec::{Context, Forward, Kind, LogLevel, ReadySign, Stdin, UnitSpec};

/// Stands for the number of a process that is not there yet, where its environment is shown.
const PID_TO_COME: &str = "PID";

impl Hands {
    /// Everything that the process of `spawn` starts with. When this fails, the caller
    /// forgets the run, and with it what was opened for it.
    pub(super) fn prepare(&mut self, spawn: &Spawn) -> Result<Launch, SpawnFailure> {
        let spec = self.setting.set.units.get(&spawn.unit).cloned();
        let spec = spec.ok_or_else(|| SpawnFailure {
            cause: SpawnCause::Context,
            why: format!("there is no unit {} any more", spawn.unit),
        })?;
        self.context(&spec, spawn).map_err(|error| failure(&error))
    }

    fn context(&mut self, spec: &Arc<UnitSpec>, spawn: &Spawn) -> Result<Launch, Error> {
        let ids = user::resolve(&spec.context)?;
        let mut read = read(&spec.context)?;
        read.promised = self.promises(spec, spawn, ids.as_ref())?;
        let (stdout, stderr) = self.output(spec, spawn, ids.as_ref())?;
        let fds = self.descriptors(spec, spawn, ids.as_ref())?;
        let env = environment::compose(&self.setting.inherited, spec, ids.as_ref(), read);
        let context = &spec.context;
        Ok(Launch {
            run: spawn.run,
            argv: spawn.argv.0.clone(),
            env: env.into_iter().collect(),
            umask: context.umask.unwrap_or(0o022),
            working_dir: context.working_dir.clone().unwrap_or_else(|| "/".into()),
            rlimits: context.rlimits.clone(),
            given: self.setting.given,
            no_new_privileges: context.sandbox.no_new_privileges.unwrap_or(ids.is_some()),
            capabilities: context.sandbox.capabilities.clone(),
            stdin: stdin(spec, spawn.purpose),
            stdout,
            stderr,
            fds,
            cgroup: self.cgroup(spec, spawn.purpose),
            foreground: self.is_foreground(spawn),
            ids,
        })
    }

    /// What the next main process of `unit` starts with, each secret hidden; or why it cannot be told.
    pub(super) fn shown_environment(&self, unit: &UnitName) -> Result<BTreeMap<String, String>, String> {
        let spec =
            self.setting.set.units.get(unit).ok_or_else(|| format!("there is no unit {unit} any more"))?;
        let ids = user::resolve(&spec.context).map_err(|error| error.to_string())?;
        let files = environment::read_files(&spec.context).map_err(|error| error.to_string())?;
        let hidden = |name: &String| (name.clone(), environment::HIDDEN.to_owned());
        let secrets = spec.context.secrets.keys().map(hidden).collect();
        let read = Read { files, secrets, promised: self.of_main(spec, PID_TO_COME) };
        Ok(environment::compose(&self.setting.inherited, spec, ids.as_ref(), read))
    }

    /// Environment that stands for something svinit has made for this process.
    fn promises(
        &mut self,
        spec: &UnitSpec,
        spawn: &Spawn,
        ids: Option<&Ids>,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut promised = spawn.extra_env.clone();
        if spawn.purpose == Purpose::Main {
            if is_notifying(spec) {
                self.signs.make_socket(&spec.name, ids)?;
            }
            promised.extend(self.of_main(spec, OWN_PID));
        }
        if !spec.context.credentials.is_empty() {
            let dir = self.credentials(spec, spawn, ids)?;
            promised.push(("CREDENTIALS_DIRECTORY".to_owned(), dir));
        }
        Ok(promised)
    }

    /// What only a main process is promised, with this for its own number.
    fn of_main(&self, spec: &UnitSpec, own_pid: &str) -> Vec<(String, String)> {
        let sockets = spec.sockets.iter().map(|socket| socket.name.as_str());
        let names: Vec<&str> = sockets.chain(self.signs.kept.names(&spec.name)).collect();
        let mut promised = held::environment(&names, own_pid);
        if is_notifying(spec) {
            promised.push(("NOTIFY_SOCKET".to_owned(), self.signs.path(&spec.name).display().to_string()));
            promised.push(("FDSTORE".to_owned(), kept::room(spec).to_string()));
        }
        if let Some(window) = spec.watchdog {
            promised.push(("WATCHDOG_USEC".to_owned(), window.as_micros().to_string()));
            promised.push(("WATCHDOG_PID".to_owned(), own_pid.to_owned()));
        }
        promised
    }

    /// The directory with the unit's credentials: copied anew for each main process, the latest shared by its hooks.
    fn credentials(&mut self, spec: &UnitSpec, spawn: &Spawn, ids: Option<&Ids>) -> Result<String, Error> {
        let placed = self.credentials.entry(spec.name.clone()).or_default();
        if spawn.purpose == Purpose::Main || placed.is_empty() {
            // The one before keeps its own, should it still be there while this one comes up.
            placed.retain(|(run, _)| self.runs.get(*run).is_some_and(Run::is_alive));
            let name = format!("{}-{}", spec.name, spawn.run.0);
            let new = Credentials::place(&self.setting.dir, &name, &spec.context.credentials, ids)?;
            placed.push((spawn.run, new));
        }
        Ok(placed.last().map(|(_, placed)| placed.dir().display().to_string()).unwrap_or_default())
    }

    fn output(
        &mut self,
        spec: &Arc<UnitSpec>,
        spawn: &Spawn,
        ids: Option<&Ids>,
    ) -> Result<(Output, Output), Error> {
        if spawn.purpose == Purpose::Main && spec.log.forward == Forward::Inherit {
            return Ok((Output::Inherit, Output::Inherit));
        }
        let pipes = self.pump.open(spec, spawn.run, keep(spawn.purpose), ids.map(|ids| ids.uid))?;
        if spawn.purpose == Purpose::Main
            && let Some(ReadySign::Log(pattern)) = sign(spec)
        {
            self.pump.watch(spawn.run, pattern)?;
        }
        Ok((Output::Fd(pipes.stdout), Output::Fd(pipes.stderr)))
    }

    /// Sockets and the readiness descriptor are the main process's alone: what runs beside it serves nobody.
    fn descriptors(
        &mut self,
        spec: &UnitSpec,
        spawn: &Spawn,
        ids: Option<&Ids>,
    ) -> Result<Vec<(OwnedFd, i32)>, Error> {
        if spawn.purpose != Purpose::Main {
            return Ok(Vec::new());
        }
        self.held.open(spec, ids)?;
        let mut fds = self
            .held
            .hand_over(spec, |holder| if self.is_in_use(holder) { Use::Shared } else { Use::Idle })?;
        let kept = self.signs.kept.copies(&spec.name).doing(|| "hand over kept descriptors".to_owned())?;
        let first = fds.last().map_or(FIRST, |(_, number)| number + 1);
        fds.extend(kept.into_iter().zip(first..));
        if let Some(ReadySign::Fd(number)) = sign(spec) {
            fds.push((self.signs.descriptor(spawn.run)?, *number));
        }
        Ok(fds)
    }

    /// A main process has what `holder`, a unit or a group, holds.
    pub(super) fn is_in_use(&self, holder: &UnitName) -> bool {
        self.runs.mains().any(|(_, unit, _)| unit == holder || is_instance_of(unit, holder))
    }

    /// Closes what is held for `unit`, and for its group if it was the last of that.
    pub(super) fn release_sockets(&mut self, unit: &UnitName) {
        self.held.release(unit);
        if let Ok(group) = UnitName::plain(unit.parts().0)
            && !self.is_in_use(&group)
        {
            self.held.release(&group);
        }
    }

    /// Opens the sockets of all units that are started at boot, before any of them is: whoever comes early waits. What
    /// cannot be opened is tried again, and told, when the unit is started.
    pub(super) fn open_sockets(&mut self) {
        let set = Arc::clone(&self.setting.set);
        for spec in set.units.values().filter(|spec| spec.enabled && !spec.sockets.is_empty()) {
            let opened = user::resolve(&spec.context).and_then(|ids| self.held.open(spec, ids.as_ref()));
            if let Err(error) = opened {
                self.pump.say(Some(&spec.name), LogLevel::Debug, &error.to_string());
            }
        }
    }

    fn is_foreground(&self, spawn: &Spawn) -> bool {
        spawn.purpose == Purpose::Main
            && self.terminal.is_some()
            && self.setting.foreground.as_ref() == Some(&spawn.unit)
    }
}

fn is_instance_of(unit: &UnitName, group: &UnitName) -> bool {
    let (of, number) = unit.parts();
    number > 0 && of == group.as_str()
}

/// What is read anew for each process.
fn read(context: &Context) -> Result<Read, Error> {
    let secret = |(name, path): (&String, &std::path::PathBuf)| {
        credentials::read_secret(path).map(|value| (name.clone(), value))
    };
    let secrets = context.secrets.iter().map(secret).collect::<Result<_, _>>()?;
    Ok(Read { files: environment::read_files(context)?, secrets, promised: Vec::new() })
}

/// Whether something of the unit is kept in svinit's own directory.
pub(super) fn needs_dir(spec: &UnitSpec) -> bool {
    is_notifying(spec) || !spec.context.credentials.is_empty()
}

/// Whether the unit's main process is to say by itself what it does.
fn is_notifying(spec: &UnitSpec) -> bool {
    spec.kind == Kind::Notify || spec.watchdog.is_some() || matches!(sign(spec), Some(ReadySign::Notify))
}

fn sign(spec: &UnitSpec) -> Option<&ReadySign> {
    spec.ready.as_ref().map(|ready| &ready.sign)
}

fn stdin(spec: &UnitSpec, purpose: Purpose) -> Input {
    match spec.context.stdin {
        Stdin::Tty if purpose == Purpose::Main => Input::Terminal,
        Stdin::Tty | Stdin::Null => Input::Null,
    }
}

/// What becomes of the output of a process. A probe asks every few seconds and would fill the log.
fn keep(purpose: Purpose) -> Keep {
    match purpose {
        Purpose::Main => Keep::Unit,
        Purpose::Probe => Keep::Quiet,
        Purpose::PreStart
        | Purpose::PostStart
        | Purpose::PreStop
        | Purpose::PostStop
        | Purpose::StopCommand
        | Purpose::ReloadCommand
        | Purpose::Test
        | Purpose::Remedy => Keep::Said,
    }
}

/// That there is no descriptor left, or no room on a disk, is no fault of the unit.
fn failure(error: &Error) -> SpawnFailure {
    SpawnFailure { cause: spawn::cause_of(&error.source), why: error.to_string() }
}
