//! `/metrics`: the OpenMetrics text form for who asks for it, the older Prometheus text form for everyone else.
//!
//! The two differ in how counters are named in `# TYPE`, in `# UNIT`, in `info`, and in the `# EOF` at the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::http::measured::Use;
use crate::http::report;
use crate::lifecycle::state::{Health, Label, Phase, Timing, UnitView};
use crate::lifecycle::verdict::Verdict;
use crate::runtime::handle::Reader;
use crate::units::name::UnitName;

/// Which of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/openmetrics-text`.
    OpenMetrics,
    /// `text/plain`, version 0.0.4.
    Text,
}

impl Form {
    /// What an `Accept` header asks for. Any mention counts unless it is refused by `q=0`: who understands the newer form says so.
    pub(crate) fn wanted(accept: Option<&str>) -> Self {
        let takes = |part: &str| {
            let mut words = part.split(';').map(|word| word.trim().to_ascii_lowercase());
            words.next().is_some_and(|kind| kind == "application/openmetrics-text")
                && !words.any(|word| matches!(word.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        };
        if accept.is_some_and(|accept| accept.split(',').any(takes)) { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

const LABELS: [Label; 10] = [
    Label::Inactive,
    Label::Waiting,
    Label::Starting,
    Label::Ready,
    Label::Reloading,
    Label::Stopping,
    Label::Backoff,
    Label::Completed,
    Label::Failed,
    Label::Scheduled,
];
const HEALTHS: [Health; 3] = [Health::Unknown, Health::Pass, Health::Fail];
const PHASES: [(Phase, &str); 3] =
    [(Phase::Booting, "booting"), (Phase::Running, "running"), (Phase::Stopping, "stopping")];
const VERDICTS: [Verdict; 3] = [Verdict::Pass, Verdict::Warn, Verdict::Fail];

/// All of it.
pub(crate) fn render(form: Form, reader: &Reader, usage: &BTreeMap<UnitName, Use>) -> String {
    let mut page = Page { form, text: String::with_capacity(16 << 10) };
    supervisor(&mut page, reader);
    totals(&mut page, reader);
    units(&mut page, reader, &reader.units());
    schedules(&mut page, reader, &reader.units());
    trees(&mut page, usage);
    if form == Form::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn supervisor(page: &mut Page, reader: &Reader) {
    let info = reader.info();
    let version = [("version", report::VERSION), ("tracking", info.tracking)];
    page.info("svinit_build", "The running binary, and how it attributes processes to units.", &version);
    page.gauge("svinit_start_time_seconds", "When svinit was started, seconds since 1970.");
    page.sample("svinit_start_time_seconds", &[], micros(info.wall_us_at_start));
    page.gauge("svinit_uptime_seconds", "Time since svinit was started.");
    page.sample("svinit_uptime_seconds", &[], seconds((info.clock)().since(info.started)));
    page.gauge("svinit_phase", "What svinit is doing: 1 for its phase, 0 for the others.");
    let phase = reader.phase();
    for (other, name) in PHASES {
        page.sample("svinit_phase", &[("phase", name)], u8::from(other == phase));
    }
    page.gauge("svinit_health_status", "The verdict of /health: 1 for it, 0 for the others.");
    let verdict = report::verdict(reader);
    for other in VERDICTS {
        page.sample("svinit_health_status", &[("status", other.as_str())], u8::from(other == verdict));
    }
}

fn totals(page: &mut Page, reader: &Reader) {
    let counters = reader.counters();
    let rows = [
        ("svinit_processes_spawned", "", "Processes that svinit has started.", counters.spawned),
        (
            "svinit_orphans_reaped",
            "",
            "Processes not started by svinit that it has reaped.",
            counters.orphans_reaped,
        ),
        ("svinit_log_lines", "", "Lines that units have written.", counters.log_lines),
        ("svinit_log_bytes", "bytes", "Bytes of those lines.", counters.log_bytes),
        ("svinit_log_lines_dropped", "", "Lines dropped by when_blocked or rate.", counters.log_dropped),
    ];
    for (name, unit, help, value) in rows {
        page.counter(name, unit, help);
        page.total(name, &[], value);
    }
}

fn units(page: &mut Page, reader: &Reader, units: &[Arc<UnitView>]) {
    page.gauge("svinit_unit_state", "State of the unit: 1 for the one it is in, 0 for the others.");
    for view in units {
        for label in LABELS {
            let labels = [("unit", view.name.as_str()), ("state", label.as_str())];
            page.sample("svinit_unit_state", &labels, u8::from(label == view.label));
        }
    }
    page.gauge("svinit_unit_health", "What the health check of the unit says: 1 for that, 0 for the others.");
    for view in units {
        for health in HEALTHS {
            let labels = [("unit", view.name.as_str()), ("health", health.as_str())];
            page.sample("svinit_unit_health", &labels, u8::from(health == view.health));
        }
    }
    page.counter("svinit_unit_restarts", "", "Automatic restarts since a person last started the unit.");
    for view in units {
        page.total("svinit_unit_restarts", &[("unit", view.name.as_str())], view.restarts);
    }
    page.gauge("svinit_unit_held", "1 when a person has stopped the unit.");
    page.each("svinit_unit_held", units, |view| Some(u8::from(view.held)));
    page.gauge("svinit_unit_paused", "1 when a person has paused the unit.");
    page.each("svinit_unit_paused", units, |view| Some(u8::from(view.paused)));
    page.gauge("svinit_unit_start_duration_seconds", "From spawn to ready, the last time.");
    page.each("svinit_unit_start_duration_seconds", units, |view| view.start_took.map(seconds));
    page.gauge(
        "svinit_unit_stop_duration_seconds",
        "From the first step of stopping to the last, the last time.",
    );
    page.each("svinit_unit_stop_duration_seconds", units, |view| view.stop_took.map(seconds));
    page.gauge("svinit_unit_start_time_seconds", "When the main process was started, seconds since 1970.");
    page.each("svinit_unit_start_time_seconds", units, |view| {
        view.started.map(|at| micros(reader.info().wall_us(at)))
    });
}

/// Units that are run by the clock; without any there is nothing to say.
fn schedules(page: &mut Page, reader: &Reader, units: &[Arc<UnitView>]) {
    let timed: Vec<(&UnitName, &Timing)> =
        units.iter().filter_map(|view| Some((&view.name, view.schedule.as_ref()?))).collect();
    if timed.is_empty() {
        return;
    }
    let counts: [(&str, &str, Count); 3] = [
        ("svinit_schedule_runs", "Runs by the clock, or asked for, that have begun.", |timing| timing.runs),
        ("svinit_schedule_runs_failed", "Those that have not ended well.", |timing| timing.failed),
        ("svinit_schedule_skipped", "Moments that have not become runs.", |timing| timing.skipped),
    ];
    for (name, help, value) in counts {
        page.counter(name, "", help);
        for (unit, timing) in &timed {
            page.total(name, &[("unit", unit.as_str())], value(timing));
        }
    }
    let gauges: [(&str, &str, Gauge); 5] = [
        ("svinit_schedule_running", "1 while a run is under way.", |_, timing, _| {
            Some(if timing.began.is_some() { 1.0 } else { 0.0 })
        }),
        (
            "svinit_schedule_last_run_success",
            "1 when the last run ended well, 0 when it did not.",
            |_, timing, _| timing.last.as_ref().map(|run| if run.is_well { 1.0 } else { 0.0 }),
        ),
        (
            "svinit_schedule_last_run_end_time_seconds",
            "When the last run was over, seconds since 1970.",
            |reader, timing, _| timing.last.as_ref().map(|run| micros(reader.info().wall_us(run.ended))),
        ),
        ("svinit_schedule_last_run_duration_seconds", "How long the last run took.", |_, timing, _| {
            timing.last.as_ref().map(|run| seconds(run.ended.since(run.began)))
        }),
        (
            "svinit_schedule_next_time_seconds",
            "When the next moment comes, seconds since 1970.",
            |reader, _, unit| reader.next_run(unit).map(micros),
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help);
        for (unit, timing) in &timed {
            if let Some(value) = value(reader, timing, unit) {
                page.sample(name, &[("unit", unit.as_str())], value);
            }
        }
    }
}

/// What is counted of one unit with a schedule.
type Count = fn(&Timing) -> u64;

/// What a gauge of one unit with a schedule shows.
type Gauge = fn(&Reader, &Timing, &UnitName) -> Option<f64>;

/// Name, help and value of a gauge.
type Row = (&'static str, &'static str, fn(&Use) -> u64);

fn trees(page: &mut Page, usage: &BTreeMap<UnitName, Use>) {
    page.counter(
        "svinit_unit_cpu_seconds",
        "seconds",
        "CPU time that the unit's processes were seen to use.",
    );
    for (name, used) in usage {
        let spent = seconds(Duration::from_micros(used.cpu_us_total));
        page.total("svinit_unit_cpu_seconds", &[("unit", name.as_str())], spent);
    }
    let rows: [Row; 3] = [
        ("svinit_unit_memory_bytes", "Memory of all processes of the unit.", |used| used.now.memory),
        ("svinit_unit_tasks", "Processes of the unit.", |used| u64::from(used.now.tasks)),
        ("svinit_unit_open_fds", "Open descriptors of all processes of the unit.", |used| {
            u64::from(used.now.fds)
        }),
    ];
    for (name, help, value) in rows {
        page.gauge(name, help);
        for (unit, used) in usage {
            page.sample(name, &[("unit", unit.as_str())], value(used));
        }
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 have 51 bits, a double holds 53")]
fn micros(us: i64) -> f64 {
    us as f64 / 1e6
}

struct Page {
    form: Form,
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        self.head(name, "gauge", unit.unwrap_or_default(), help);
    }

    /// `name` has no `_total` at its end.
    fn counter(&mut self, name: &str, unit: &str, help: &str) {
        match self.form {
            Form::OpenMetrics => self.head(name, "counter", unit, help),
            Form::Text => self.head(&format!("{name}_total"), "counter", unit, help),
        }
    }

    /// `name` has no `_info` at its end.
    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let sample = format!("{name}_info");
        match self.form {
            Form::OpenMetrics => self.head(name, "info", "", help),
            Form::Text => self.head(&sample, "gauge", "", help),
        }
        self.sample(&sample, labels, 1);
    }

    fn head(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        if self.form == Form::OpenMetrics && !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    fn total(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(&format!("{name}_total"), labels, value);
    }

    fn each<V: Display>(
        &mut self,
        name: &str,
        units: &[Arc<UnitView>],
        value: impl Fn(&UnitView) -> Option<V>,
    ) {
        for view in units {
            if let Some(value) = value(view) {
                self.sample(name, &[("unit", view.name.as_str())], value);
            }
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{text}\"");
            if let ("unit", Some((group, _))) = (*label, text.split_once('@')) {
                let _ = write!(self.text, ",group=\"{group}\"");
            }
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

#[cfg(test)]
mod tests;
