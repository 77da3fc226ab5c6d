//! The verbs that change something: each is one job, whose lines are told as they come.

use clap::Arg;
use clap::ArgMatches;

use crate::api::command::JobLine;
use crate::api::command::JobRequest;
use crate::api::command::Outcome;
use crate::api::command::Verb as JobVerb;
use crate::cli::exit::Exit;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::outcome;
use crate::cli::svctl::progress::Progress;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::status::is_up;
use crate::cli::svctl::tail;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::error::Error;
use crate::client::query::Path;
use crate::client::stream::Lines;

/// Last lines that are shown of a unit that failed and whose outcome has none.
const LINES_OF_FAILURE: u32 = 5;

pub(super) const START: Verb = Verb {
    name: "start",
    aliases: &[],
    group: Group::Act,
    about: "Start units, and first what they require and want",
    details: "Returns when they are ready (a oneshot: completed), or have failed. Counts of restarts begin anew.",
    examples: &[("svctl start web --timeout 30s", "exits with 7 when it takes longer")],
    completes: Completes::Units,
    arguments: |command| arguments::no_wait(arguments::timeout(arguments::units(command))),
    run: |session, matches| plain(session, matches, JobVerb::Start),
};

pub(super) const STOP: Verb = Verb {
    name: "stop",
    aliases: &[],
    group: Group::Act,
    about: "Stop units, and first what requires them",
    details: "Returns when every process of theirs is gone. A unit that was stopped so is not started again by anything \
              until a person asks for it.",
    examples: &[("svctl stop 'worker*'", "several at once")],
    completes: Completes::Units,
    arguments: |command| arguments::no_wait(arguments::timeout(arguments::units(command))),
    run: |session, matches| plain(session, matches, JobVerb::Stop),
};

pub(super) const RESTART: Verb = Verb {
    name: "restart",
    aliases: &[],
    group: Group::Act,
    about: "Replace the processes of units, one unit inside the running container",
    details: "Returns when the new process is ready, and prints both PIDs and how long it took. Dependants stay up unless \
              they are part_of the unit, or --with-dependants is given. A unit that does not run is started.",
    examples: &[
        ("svctl restart gunicorn", "gunicorn: ready, pid 12 -> 34, took 130 ms"),
        ("svctl restart postgres --with-dependants", "and what requires it"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        arguments::no_wait(arguments::timeout(arguments::units(command)))
            .arg(arguments::flag("with-dependants", "Also restart the units that require these"))
    },
    run: |session, matches| {
        let with_dependants = matches.get_flag("with-dependants");
        job(session, &JobRequest { with_dependants, ..request(JobVerb::Restart, matches) })
    },
};

pub(super) const RELOAD: Verb = Verb {
    name: "reload",
    aliases: &[],
    group: Group::Act,
    about: "Have units read their configuration again, without a restart",
    details: "Does what [reload] of the unit says; a configuration that its test command refuses changes nothing. A unit \
              that cannot reload is an error, unless --or-restart is given.",
    examples: &[("svctl reload nginx", "nginx -t, then SIGHUP")],
    completes: Completes::Units,
    arguments: |command| {
        arguments::no_wait(arguments::timeout(arguments::units(command)))
            .arg(arguments::flag("or-restart", "Restart what cannot be reloaded"))
    },
    run: |session, matches| {
        let or_restart = matches.get_flag("or-restart");
        job(session, &JobRequest { or_restart, ..request(JobVerb::Reload, matches) })
    },
};

pub(super) const SIGNAL: Verb = Verb {
    name: "signal",
    aliases: &["kill"],
    group: Group::Act,
    about: "Send a signal to the main process of units, or to all their processes",
    details: "The signal comes first, with or without SIG, or by --signal. What the process does with it is its own \
              affair: one that ends so may be started again.",
    examples: &[
        ("svctl signal HUP nginx", "to the main process"),
        ("svctl kill --signal USR1 --tree all", "to every process of every unit"),
    ],
    completes: Completes::SignalAndUnits,
    arguments: |command| {
        let signal =
            Arg::new("signal").long("signal").short('s').value_name("SIGNAL").help("Its name, such as HUP");
        let words = Arg::new("words")
            .value_name("SIGNAL> <UNIT")
            .num_args(1..)
            .required(true)
            .help("A signal unless --signal is given, then names, aliases, globs or all");
        arguments::timeout(command)
            .arg(words)
            .arg(signal)
            .arg(arguments::flag("tree", "To every process of the unit"))
    },
    run: signal,
};

pub(super) const PAUSE: Verb = Verb {
    name: "pause",
    aliases: &[],
    group: Group::Act,
    about: "Leave units alone: no checks and no automatic restarts",
    details: "For work on a running service by hand. Their processes are not touched. svctl resume is the end of it.",
    examples: &[("svctl pause postgres", "before work on its files")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::units(command)),
    run: |session, matches| plain(session, matches, JobVerb::Pause),
};

pub(super) const RESUME: Verb = Verb {
    name: "resume",
    aliases: &["unpause"],
    group: Group::Act,
    about: "End a pause: checks and automatic restarts again",
    details: "A unit that has ended in the meantime is started, if it is to run.",
    examples: &[("svctl resume all", "")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::units(command)),
    run: |session, matches| plain(session, matches, JobVerb::Resume),
};

pub(super) const RESET: Verb = Verb {
    name: "reset",
    aliases: &["reset-failed"],
    group: Group::Act,
    about: "Forget the restarts and failures of units",
    details: "Counts of restarts begin anew, and a failed unit becomes inactive.",
    examples: &[("svctl reset all", "")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::units(command)),
    run: |session, matches| plain(session, matches, JobVerb::Reset),
};

fn request(verb: JobVerb, matches: &ArgMatches) -> JobRequest {
    let no_wait = matches.try_get_one::<bool>("no-wait").ok().flatten().copied().unwrap_or(false);
    let units = match matches.try_get_many::<String>("units") {
        Ok(Some(units)) => units.cloned().collect(),
        _ => Vec::new(),
    };
    JobRequest {
        verb,
        units,
        signal: None,
        tree: false,
        with_dependants: false,
        or_restart: false,
        wait: !no_wait,
    }
}

fn plain(session: &mut Session, matches: &ArgMatches, verb: JobVerb) -> Result<Exit, Failure> {
    job(session, &request(verb, matches))
}

fn signal(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let mut words: Vec<String> = matches.get_many("words").into_iter().flatten().cloned().collect();
    let signal = match matches.get_one::<String>("signal") {
        Some(signal) => signal.clone(),
        None if words.len() < 2 => {
            let known = words.first().map_or("UNIT", String::as_str);
            return Err(Failure::usage(format!("which signal? For example: svctl signal TERM {known}")));
        }
        None => words.remove(0),
    };
    let signal = signal.to_ascii_uppercase();
    let signal = signal.strip_prefix("SIG").unwrap_or(&signal).to_owned();
    let request = JobRequest {
        units: words,
        signal: Some(signal),
        tree: matches.get_flag("tree"),
        ..request(JobVerb::Signal, matches)
    };
    job(session, &request)
}

fn job(session: &mut Session, request: &JobRequest) -> Result<Exit, Failure> {
    let lines = session.client().post_and_follow(&Path::new("/v1/jobs"), request)?;
    let mut telling = Telling::new(session, request.verb);
    let exit = telling.follow(lines, request.wait)?;
    let Telling { accepted, outcomes, .. } = telling;
    if !request.wait {
        tell_accepted(session, request.verb, accepted)?;
    } else if session.json {
        session.print_json(&outcomes)?;
    }
    Ok(exit)
}

/// Tells the lines of a job that has begun; comes back with its exit status and all outcomes.
pub(super) fn follow(
    session: &mut Session,
    verb: JobVerb,
    lines: Lines<JobLine>,
    wait: bool,
) -> Result<(Exit, Vec<Outcome>), Failure> {
    let mut telling = Telling::new(session, verb);
    let exit = telling.follow(lines, wait)?;
    Ok((exit, telling.outcomes))
}

fn tell_accepted(session: &mut Session, verb: JobVerb, accepted: Option<JobLine>) -> Result<(), Failure> {
    let Some(JobLine::Accepted { job, units }) = accepted else {
        return Err(Failure::failed("the supervisor did not say whether it accepted the job"));
    };
    if session.json {
        return session.print_json(&JobLine::Accepted { job, units });
    }
    units.iter().for_each(|unit| session.out.line(format!("{unit}: {} under way", outcome::word(verb))));
    Ok(())
}

/// Tells a job as it goes.
struct Telling<'a> {
    session: &'a mut Session,
    verb: JobVerb,
    progress: Progress,
    pending: Vec<String>,
    accepted: Option<JobLine>,
    outcomes: Vec<Outcome>,
}

impl<'a> Telling<'a> {
    fn new(session: &'a mut Session, verb: JobVerb) -> Self {
        let (pending, outcomes) = (Vec::new(), Vec::new());
        Self { session, verb, progress: Progress::default(), pending, accepted: None, outcomes }
    }

    /// Tells all `lines`; the exit status is that of the job.
    fn follow(&mut self, mut lines: Lines<JobLine>, wait: bool) -> Result<Exit, Failure> {
        loop {
            match lines.read() {
                Ok(Some(line)) => {
                    if let Some(exit) = self.hear(line) {
                        return Ok(exit);
                    }
                }
                Ok(None) if !wait => return Ok(Exit::Done),
                Ok(None) => {
                    self.progress.wipe(&mut self.session.out);
                    return Err(Failure::failed("the supervisor ended the answer before the job was done"));
                }
                Err(Error::TimedOut) => return Err(self.late()),
                Err(error) => {
                    self.progress.wipe(&mut self.session.out);
                    return Err(error.into());
                }
            }
        }
    }

    fn hear(&mut self, line: JobLine) -> Option<Exit> {
        let shown = !self.session.json;
        match line {
            JobLine::Accepted { job, units } => {
                self.pending.clone_from(&units);
                self.accepted = Some(JobLine::Accepted { job, units });
            }
            JobLine::Progress { unit, state, why } => {
                if shown {
                    self.progress.set(&mut self.session.out, &unit, &state, &why);
                }
            }
            // Told by who asked for it.
            JobLine::Plan { .. } => {}
            // What was missed is shown by the next line of each unit, and outcomes are never missed.
            JobLine::Lagged { .. } => {}
            JobLine::Outcome(outcome) => {
                self.pending.retain(|unit| *unit != outcome.unit);
                self.progress.remove(&mut self.session.out, &outcome.unit);
                if shown {
                    self.tell(&outcome);
                    self.progress.draw(&mut self.session.out);
                }
                self.outcomes.push(outcome);
            }
            JobLine::Done { ok } => {
                self.progress.wipe(&mut self.session.out);
                return Some(if ok { Exit::Done } else { Exit::Failed });
            }
        }
        None
    }

    /// The one line of a result; of a failure also its last words and what to do about it, on stderr.
    fn tell(&mut self, outcome: &Outcome) {
        let line = outcome::line(outcome, self.verb, self.session.out.look);
        self.session.out.line(line);
        self.session.out.flush();
        if outcome.ok || is_up(&outcome.state) && outcome.said.is_empty() {
            // A refusal, which has said what to do.
            return;
        }
        let said: Vec<String> = if outcome.said.is_empty() {
            // A supervisor that does not answer this has said enough already.
            let lines = tail::own_lines(self.session, &outcome.unit, LINES_OF_FAILURE).unwrap_or_default();
            lines.into_iter().map(|line| line.message).collect()
        } else {
            outcome.said.lines().map(str::to_owned).collect()
        };
        for line in &said {
            let line = words::printable(line);
            self.session.err.line(format!("  | {line}"));
        }
        self.session.err.line(format!("  what to do: svctl why {} says more", outcome.unit));
        self.session.err.flush();
    }

    fn late(&mut self) -> Failure {
        self.progress.wipe(&mut self.session.out);
        let limit = self.session.timeout.map(|limit| {
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            format!(" after {}", words::took_ms(ms))
        });
        let limit = limit.unwrap_or_default();
        if self.accepted.is_none() {
            return Failure::Client(Error::TimedOut);
        }
        let still: Vec<String> = self
            .pending
            .iter()
            .map(|unit| match self.progress.get(unit) {
                Some((state, why)) if !why.is_empty() => format!("{unit}: still {state}{limit}: {why}"),
                Some((state, _)) => format!("{unit}: still {state}{limit}"),
                None => format!("{unit}: not done{limit}"),
            })
            .collect();
        Failure::Said(
            Exit::TimedOut,
            format!("{}\n  what to do: it goes on; svctl wait waits for it", still.join("\n")),
        )
    }
}

/// Starts `unit` and hands back its job's lines, for `svctl run`.
pub(super) fn start_one(session: &Session, unit: &str) -> Result<Lines<JobLine>, Failure> {
    let request = JobRequest {
        verb: JobVerb::Start,
        units: vec![unit.to_owned()],
        signal: None,
        tree: false,
        with_dependants: false,
        or_restart: false,
        wait: true,
    };
    Ok(session.client().post_and_follow(&Path::new("/v1/jobs"), &request)?)
}
