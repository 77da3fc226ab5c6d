//! `svctl logs`: what units have said, and what they are saying.

use std::collections::BTreeMap;

use clap::Arg;
use clap::ArgMatches;

use crate::api::log::LogLine;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::listen;
use crate::cli::svctl::listen::Listener;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;
use crate::logs::format;

/// Lines of each unit unless told otherwise; while following, the last few.
const LINES: u32 = 100;
const LINES_FOLLOWING: u32 = 10;

pub(super) const LOGS: Verb = Verb {
    name: "logs",
    aliases: &["log", "tail"],
    group: Group::Look,
    about: "Print the last lines of units, and with --follow those to come",
    details: "Lines are printed as in docker logs: the unit's name, a bar, the line. Without a name: all units and \
              svinit's own lines. How far back the lines go is decided by [log] buffer of each unit. Ctrl-C ends \
              --follow.",
    examples: &[
        ("svctl logs -f gunicorn nginx", "two units, as it comes"),
        ("svctl logs -n 1000 --json web", "one JSON object a line"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let lines = Arg::new("lines")
            .long("lines")
            .short('n')
            .value_name("N")
            .value_parser(|text: &str| match text {
                "all" => Ok(u32::MAX),
                _ => text.parse::<u32>().map_err(|_| "write a number, or all"),
            })
            .help("So many of each unit, or all [default: 100, with --follow 10]");
        listen::until_eof(arguments::some_units(command))
            .arg(arguments::flag("follow", "Go on with those to come").short('f'))
            .arg(lines)
            .arg(arguments::flag("timestamps", "Begin each line with its time").short('T'))
            .arg(arguments::flag("raw", "Print the lines alone, without names"))
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let follow = matches.get_flag("follow");
    let lines = matches.get_one("lines").copied().unwrap_or(if follow { LINES_FOLLOWING } else { LINES });
    let path = Path::new("/v1/logs")
        .units(&arguments::named(matches))
        .with("lines", &lines.to_string())
        .with("follow", if follow { "true" } else { "false" });
    let mut stream = Listener::<LogLine>::new(session.client().follow(&path)?, matches);
    let mut form = Form::new(matches.get_flag("timestamps"), matches.get_flag("raw"));
    while let Some(line) = stream.read()? {
        session.tell_missed(stream.take_missed(), "line");
        if session.json {
            session.print_json_line(&line)?;
        } else {
            let text = form.line(&line, session.out.look);
            session.out.line(text);
        }
        if follow && !stream.has_received() {
            session.out.flush();
        }
        if session.out.is_lost() {
            break;
        }
    }
    Ok(Exit::Done)
}

/// How a line is printed; remembers the colour of each unit and how wide names are.
pub(super) struct Form {
    timestamps: bool,
    raw: bool,
    colours: BTreeMap<String, u8>,
    width: usize,
}

impl Form {
    pub(super) fn new(timestamps: bool, raw: bool) -> Self {
        Self { timestamps, raw, colours: BTreeMap::new(), width: 0 }
    }

    /// The line as a person reads it: with the unit's own colours, and nothing that could move the cursor over the name of
    /// another. What is wanted raw is passed on as it is.
    pub(super) fn line(&mut self, line: &LogLine, look: Look) -> String {
        let mut text = String::new();
        if self.timestamps {
            text.push_str(&look.paint(Tone::Faint, words::clock(&line.ts)));
            text.push(' ');
        }
        let own = line.stream == "svinit" || line.unit == "svinit";
        if !self.raw {
            let next = u8::try_from(self.colours.len() % 5).unwrap_or(0);
            let colour = *self.colours.entry(line.unit.clone()).or_insert(next);
            let tone = if own { Tone::Faint } else { Tone::Unit(colour) };
            // Only a terminal is shown aligned names: in a pipe each line stands for itself.
            self.width = self.width.max(line.unit.len());
            let width = if look.is_terminal() { self.width } else { 0 };
            text.push_str(&look.paint(tone, &format!("{:width$} | ", line.unit)));
        }
        let message = if self.raw { line.message.as_str().into() } else { format::visible(&line.message) };
        text.push_str(&look.paint(if own { Tone::Faint } else { Tone::Plain }, &message));
        text
    }
}
