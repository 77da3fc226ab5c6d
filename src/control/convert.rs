//! From inner types to those on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::event::UnitEvent;
use crate::api::log::LogLine;
use crate::api::status::{Aside, LastExit, SupervisorStatus, UnitStatus};
use crate::http::moment;
use crate::http::report::VERSION;
use crate::http::schedule;
use crate::lifecycle::event::ExitStatus;
use crate::lifecycle::state::{self, Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::logs::line::{Line, Stream};
use crate::runtime::handle::{Change, Info, Reader, Usage};
use crate::units::signal;
use crate::units::spec::UnitSpec;

/// What was measured of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measure {
    pub(crate) usage: Usage,
    pub(crate) cpu_percent: Option<f64>,
}

pub(crate) fn unit(
    reader: &Reader,
    view: &UnitView,
    spec: Option<&UnitSpec>,
    measure: Option<Measure>,
    changed_on_disk: bool,
) -> UnitStatus {
    let info = reader.info();
    let now = (info.clock)();
    UnitStatus {
        unit: view.name.to_string(),
        group: spec.and_then(|spec| spec.group()).map(ToString::to_string),
        instance: spec.and_then(|spec| spec.instance.as_ref()).map(|instance| instance.number),
        description: view.description.clone(),
        state: view.label.as_str().to_owned(),
        health: view.health.as_str().to_owned(),
        health_why: text(&view.health_why),
        pid: view.pid.map(|pid| pid.0),
        since: moment::of(info, view.since),
        since_ms: millis(now.since(view.since)),
        uptime_ms: view.started.filter(|_| view.pid.is_some()).map(|at| millis(now.since(at))),
        restarts: view.restarts,
        last_exit: view.last_exit.map(|exit| last_exit(info, exit)),
        why: view.why.clone(),
        waits_for: view.waits_for.clone(),
        status_text: text(&view.status_text),
        retry_ms: view.retry_at.filter(|at| *at != Time::NEVER).map(|at| millis(at.since(now))),
        held: view.held,
        paused: view.paused,
        wanted: view.wanted,
        cpu_percent: measure.and_then(|measure| measure.cpu_percent),
        cpu_ms: measure.map(|measure| measure.usage.cpu_us / 1000),
        memory: measure.map(|measure| measure.usage.memory),
        tasks: measure.map(|measure| measure.usage.tasks),
        start_took_ms: view.start_took.map(millis),
        stop_took_ms: view.stop_took.map(millis),
        beside: view.beside.iter().map(aside).collect(),
        aliases: spec.map(|spec| spec.aliases.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        enabled: spec.is_some_and(|spec| spec.enabled),
        changed_on_disk,
        sockets: spec.map(sockets).unwrap_or_default(),
        schedule: schedule::of(reader, view, spec),
    }
}

fn aside(aside: &state::Aside) -> Aside {
    Aside { pid: aside.pid.map(|pid| pid.0), state: aside.label.as_str().to_owned() }
}

pub(crate) fn supervisor(reader: &Reader) -> SupervisorStatus {
    let info = reader.info();
    SupervisorStatus {
        version: VERSION.to_owned(),
        phase: phase(reader.phase()).to_owned(),
        pid: info.pid,
        uptime_ms: millis((info.clock)().since(info.started)),
        unit_paths: info.unit_paths.iter().map(|path| path.display().to_string()).collect(),
        http: info.http.map(|at| at.to_string()),
        tracking: info.tracking.to_owned(),
        upgrades: info.program.upgrades,
        paused_ms: info.program.paused.map(|paused| (paused.as_secs_f64() * 1e6).round() / 1e3),
        replaced: info.program.binary.as_ref().is_some_and(|binary| binary.is_replaced()),
    }
}

pub(crate) fn change(info: &Info, change: &Change) -> UnitEvent {
    UnitEvent { was: change.was.as_str().to_owned(), ..event(info, change.id, change.at, &change.view) }
}

/// The state that a unit is in, as an event: nothing has changed.
pub(crate) fn standing(info: &Info, id: u64, view: &UnitView) -> UnitEvent {
    UnitEvent { initial: true, ..event(info, id, view.since, view) }
}

fn event(info: &Info, id: u64, at: Time, view: &UnitView) -> UnitEvent {
    UnitEvent {
        id,
        ts: moment::of(info, at),
        unit: view.name.to_string(),
        was: view.label.as_str().to_owned(),
        state: view.label.as_str().to_owned(),
        health: view.health.as_str().to_owned(),
        pid: view.pid.map(|pid| pid.0),
        why: view.why.clone(),
        initial: false,
    }
}

pub(crate) fn log_line(line: &Line) -> LogLine {
    let stream = match line.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Svinit => "svinit",
    };
    LogLine {
        ts: moment::of_wall(line.wall_us),
        unit: line.unit.to_string(),
        pid: line.pid,
        stream: stream.to_owned(),
        message: String::from_utf8_lossy(&line.text).into_owned(),
    }
}

fn sockets(spec: &UnitSpec) -> BTreeMap<String, String> {
    spec.sockets.iter().map(|socket| (socket.name.clone(), socket.to_string())).collect()
}

fn last_exit(info: &Info, exit: state::LastExit) -> LastExit {
    let (code, signal) = match exit.status {
        ExitStatus::Code(code) => (Some(code), None),
        ExitStatus::Signal { number, .. } => (None, Some(signal::name(number))),
    };
    LastExit { code, signal, oom: exit.oom, at: moment::of(info, exit.at) }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Booting => "booting",
        Phase::Running => "running",
        Phase::Stopping => "stopping",
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
