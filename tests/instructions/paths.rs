//! The paths that are counted: each is prepared, and then done as often as it is called, always the same.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use svinit::api::status::UnitStatus;
use svinit::client::head;
use svinit::http::server;
use svinit::lifecycle::action::Action;
use svinit::lifecycle::event::{Command, Event, ExitStatus, JobId, Pid, Reach, RunId, Whom};
use svinit::lifecycle::state::Phase;
use svinit::lifecycle::supervisor::{Settings, Supervisor};
use svinit::lifecycle::time::Time;
use svinit::logs::format::{Head, Origin, Stamp, is_tame};
use svinit::logs::line::Stream;
use svinit::logs::lines::Splitter;
use svinit::os::user::Ids;
use svinit::runtime::environment::{self, Inherited, Read};
use svinit::runtime::handle::{Board, Info, Program, Reader};
use svinit::units::name::UnitName;
use svinit::units::reading;
use svinit::units::source::Source;
use svinit::units::spec::{LogFormat, UnitSet};
use tower::ServiceExt;

/// Something to be done again and again.
type Work = Box<dyn FnMut()>;

/// Prepares it.
type Prepare = fn() -> Work;

/// Every path, by name.
pub(crate) const ALL: &[(&str, Prepare)] = &[
    ("read-100-units", read),
    ("boot-1000-units", boot),
    ("crash-and-replace-100-units", crash),
    ("restart-100-units", restart),
    ("split-and-prefix-1-MiB", || lines(LogFormat::Text, Form::Prefixed)),
    ("split-and-stamp-1-MiB", || lines(LogFormat::Text, Form::Stamped)),
    ("split-and-wrap-in-json-1-MiB", || lines(LogFormat::Json, Form::Prefixed)),
    ("compose-100-environments", environments),
    ("answer-health-of-100-units", health),
    ("understand-status-of-100-units", status),
];

/// A unit with what units usually have; each waits for the one before it.
fn text(number: usize) -> String {
    let wants =
        number.checked_sub(1).map_or(String::new(), |before| format!("wants = [\"unit-{before:04}\"]\n"));
    format!(
        "description = \"number {number}\"\n\
         command = [\"serve\", \"--port\", \"${{PORT:-8080}}\", \"--name\", \"{number}\"]\n\
         user = \"nobody\"\n\
         working_dir = \"/srv\"\n\
         {wants}\n\
         [environment]\nMODE = \"production\"\nWORKERS = \"4\"\n\n\
         [ready]\ntcp = \"127.0.0.1:8080\"\ntimeout = \"10s\"\n\n\
         [health]\nhttp = \"http://127.0.0.1:8080/health\"\ninterval = \"10s\"\ntimeout = \"3s\"\nretries = 3\n\n\
         [stop]\nsignal = \"QUIT\"\ntimeout = \"8s\"\n"
    )
}

fn sources(count: usize, text: impl Fn(usize) -> String) -> Vec<Source> {
    (0..count).map(|number| Source::unit(format!("units/unit-{number:04}.toml"), text(number))).collect()
}

fn read() -> Work {
    let sources = sources(100, text);
    Box::new(move || {
        let reading = reading::read(black_box(&sources), &|_| None).expect("the units are sound");
        assert_eq!(reading.set.units.len(), 100);
    })
}

/// Units that are ready as soon as they run.
fn plain_units(count: usize) -> UnitSet {
    reading::read(&sources(count, |_| "command = [\"run\"]\n".to_owned()), &|_| None)
        .expect("a command is enough")
        .set
}

/// A machine whose every wish comes true at once.
struct Machine {
    supervisor: Supervisor,
    now: Time,
    runs: BTreeMap<UnitName, RunId>,
    spawned: usize,
}

impl Machine {
    fn of(set: &UnitSet) -> Self {
        let settings = Settings {
            seed: 1,
            shutdown_timeout: Duration::from_secs(9),
            fork_rate: 0,
            limits_enforced: true,
        };
        let supervisor = Supervisor::new(set, settings, Time::ZERO);
        let mut machine = Self { supervisor, now: Time::ZERO, runs: BTreeMap::new(), spawned: 0 };
        let wishes = machine.supervisor.boot(machine.now);
        machine.settle(wishes);
        machine
    }

    fn tell(&mut self, event: Event) {
        let wishes = self.supervisor.step(event, self.now);
        self.settle(wishes);
    }

    fn settle(&mut self, wishes: Vec<Action>) {
        let mut wishes = VecDeque::from(wishes);
        while let Some(wish) = wishes.pop_front() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the other wishes have no consequence here")]
            let fact = match wish {
                Action::Spawn { run, unit, .. } => {
                    self.runs.insert(unit, run);
                    self.spawned += 1;
                    Event::Spawned { run, pid: Pid(100) }
                }
                Action::Signal { run, .. } => ended(run, ExitStatus::Code(0)),
                Action::Kill { run, whom: Whom::Tree } | Action::AwaitTree { run } => Event::TreeGone { run },
                _ => continue,
            };
            wishes.extend(self.supervisor.step(fact, self.now));
        }
    }

    /// Late enough for no crash to count with an earlier one.
    fn later(&mut self) {
        self.now = self.now.after(Duration::from_secs(3600));
        self.tell(Event::Tick);
    }
}

fn ended(run: RunId, status: ExitStatus) -> Event {
    Event::Exited { run, status, oom: false, said: String::new() }
}

fn boot() -> Work {
    let set = plain_units(1000);
    Box::new(move || assert_eq!(Machine::of(&set).spawned, 1000))
}

fn crash() -> Work {
    let mut machine = Machine::of(&plain_units(100));
    Box::new(move || {
        machine.later();
        let before = machine.spawned;
        for run in machine.runs.values().copied().collect::<Vec<_>>() {
            machine.tell(ended(run, ExitStatus::Signal { number: 9, core: false }));
        }
        assert_eq!(machine.spawned, before + 100, "each was replaced");
    })
}

fn restart() -> Work {
    let mut machine = Machine::of(&plain_units(100));
    Box::new(move || {
        machine.later();
        let before = machine.spawned;
        for unit in machine.runs.keys().cloned().collect::<Vec<_>>() {
            let command = Command::Restart { units: vec![unit], reach: Reach::Alone };
            machine.tell(Event::Asked { job: JobId(1), command });
        }
        assert_eq!(machine.spawned, before + 100, "each was replaced");
    })
}

enum Form {
    Prefixed,
    Stamped,
}

/// As it goes through the pump: pieces of a pipe's size to lines, lines to one buffer.
fn lines(format: LogFormat, form: Form) -> Work {
    let line = format!("{}\n", "x".repeat(99));
    let input = line.repeat((1 << 20) / line.len()).into_bytes();
    let mut out = Vec::with_capacity(1 << 20);
    let mut stamp = Stamp::default();
    let mut head = Head::default();
    let mut splitter = Splitter::default();
    let mut wall_us = 1_700_000_000_000_000;
    Box::new(move || {
        let mut count = 0;
        for piece in input.chunks(64 << 10) {
            out.clear();
            wall_us += 1_000;
            match form {
                Form::Prefixed => {
                    let origin = Origin { unit: "web", pid: Some(7), stream: Stream::Stdout, level: None };
                    head.set(format, &mut stamp, wall_us, origin);
                }
                Form::Stamped => head.set_stamp(&mut stamp, wall_us),
            }
            let is_plain = format == LogFormat::Text && is_tame(piece);
            splitter.feed(piece, |line| {
                count += 1;
                if is_plain {
                    head.put_plain(&mut out, line.text)
                } else {
                    head.put(&mut out, line.text, line.goes_on)
                }
            });
            black_box(&out);
        }
        assert_eq!(count, input.len() / line.len());
    })
}

fn environments() -> Work {
    let variable = |number: usize| (format!("VARIABLE_{number}"), format!("what number {number} has to say"));
    let inherited = Inherited::new((0..30).map(variable));
    let set = reading::read(&sources(100, text), &|_| None).expect("the units are sound").set;
    let ids = Ids {
        uid: 65_534,
        gid: 65_534,
        groups: Vec::new(),
        name: Some("nobody".to_owned()),
        home: Some("/nonexistent".into()),
        shell: None,
    };
    Box::new(move || {
        for spec in set.units.values() {
            let read = Read {
                files: (20..40).map(variable).collect(),
                secrets: Vec::new(),
                promised: vec![("NOTIFY_SOCKET".to_owned(), "/run/svinit/notify".to_owned())],
            };
            assert!(black_box(environment::compose(&inherited, spec, Some(&ids), read)).len() > 40);
        }
    })
}

fn health() -> Work {
    let set = plain_units(100);
    let machine = Machine::of(&set);
    let info = Info {
        started: Time::ZERO,
        pid: 1,
        unit_paths: vec!["units".into()],
        http: None,
        tracking: "tag",
        wall_us_at_start: 1_700_000_000_000_000,
        clock: || Time::from_millis(5_000),
        effective: |_| String::new(),
        program: Program::default(),
    };
    let board = Board::new(Arc::new(set), machine.supervisor.views(), info);
    board.set_phase(Phase::Running);
    let app = server::app(Reader::new(board));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no driver is asked for");
    Box::new(move || {
        let request = Request::get("/health").body(Body::empty()).expect("a request");
        let length = runtime.block_on(async {
            let answer = app.clone().oneshot(request).await.expect("it cannot fail");
            assert_eq!(answer.status(), StatusCode::OK);
            answer.into_body().collect().await.expect("a body in memory").to_bytes().len()
        });
        assert!(length > 100 * 50, "each of 100 units is in it");
    })
}

fn status() -> Work {
    let unit = r#"{"unit":"web","description":"the web","state":"ready","health":"pass","health_why":null,"pid":4711,
        "since":"2026-01-01T00:00:00.000Z","since_ms":1000,"uptime_ms":1000,"restarts":1,
        "last_exit":{"code":1,"at":"2026-01-01T00:00:00.000Z"},"why":"its process runs","waits_for":["db"],
        "status_text":null,"retry_ms":null,"held":false,"paused":false,"wanted":true,"cpu_percent":1.5,"cpu_ms":12,
        "memory":1048576,"tasks":3,"start_took_ms":12,"stop_took_ms":null,"aliases":[],"enabled":true}"#;
    let body = format!("[{}]", vec![unit; 100].join(","));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Box::new(move || {
        let end = head::end_of(answer.as_bytes()).expect("it has a head");
        assert_eq!(head::parse(&answer.as_bytes()[..end]).expect("it is sound").status, 200);
        let units: Vec<UnitStatus> = serde_json::from_str(&answer[end..]).expect("units");
        assert_eq!(black_box(units).len(), 100);
    })
}
