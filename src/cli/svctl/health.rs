//! `svctl health`: the Docker HEALTHCHECK, without curl.

use clap::ArgMatches;

use crate::api::health::HealthReport;
use crate::cli::exit::Exit;
use crate::cli::render::look::tone_of_health;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;

pub(super) const HEALTH: Verb = Verb {
    name: "health",
    aliases: &[],
    group: Group::Look,
    about: "Say in one line whether all is well, for HEALTHCHECK",
    details: "Exits with 0 when every enabled unit is ready or completed and none is failing, else with 3. With a name: \
              the same of this unit. It asks what svinit knows already, so it costs a millisecond and no curl.\n\n\
              In a Dockerfile: HEALTHCHECK --interval=10s --timeout=3s CMD [\"svctl\", \"health\"]",
    examples: &[("svctl health", "pass: 3 units"), ("svctl health postgres --timeout 2s", "one unit")],
    completes: Completes::Units,
    arguments: |command| {
        let unit = clap::Arg::new("units").value_name("UNIT").help("Name or alias [default: everything]");
        arguments::timeout(command).arg(unit).arg(arguments::flag("quiet", "Print nothing").short('q'))
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let path =
        arguments::named(matches).iter().fold(Path::new("/v1/health"), |path, name| path.segment(name));
    let report: HealthReport = session.client().get_any(&path)?.decode()?;
    let exit = if report.status == "fail" { Exit::NotRunning } else { Exit::Done };
    if session.json {
        session.print_json(&report)?;
    } else if !matches.get_flag("quiet") {
        let status = session.out.look.paint(tone_of_health(&report.status), &report.status).into_owned();
        session.out.line(format!("{status}: {}", line(&report)));
    }
    Ok(exit)
}

/// What is not well, or that all is.
fn line(report: &HealthReport) -> String {
    let ill: Vec<String> = report
        .checks
        .iter()
        .flat_map(|(unit, checks)| checks.iter().map(move |check| (unit, check)))
        .filter(|(_, check)| check.status != "pass")
        .map(|(unit, check)| match check.output.as_str() {
            "" => format!("{unit} is {}", check.observed_value),
            why => {
                let state = &check.observed_value;
                let why =
                    why.strip_prefix(state.as_str()).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
                format!("{unit} is {state}, {}", words::without_pause(why))
            }
        })
        .collect();
    let text = match (ill.is_empty(), report.output.is_empty()) {
        (false, _) => ill.join("; "),
        (true, false) => report.output.clone(),
        (true, true) => words::count(report.checks.len(), "unit"),
    };
    words::printable(&text)
}
