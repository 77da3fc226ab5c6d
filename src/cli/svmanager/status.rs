//! `svmanager status`: all services in a table.

use clap::ArgMatches;
use clap::Command;

use crate::api::manager::ServiceStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::out::Out;
use crate::cli::render::table;
use crate::cli::render::table::Cell;
use crate::cli::render::table::Column;
use crate::cli::render::table::Lean;
use crate::cli::svmanager::admin;
use crate::cli::svmanager::admin::NoAnswer;
use crate::cli::svmanager::say;
use crate::manager::run::Files;

const fn column(name: &'static str, lean: Lean, spare: u8) -> Column {
    Column { name, lean, spare }
}

const COLUMNS: [Column; 8] = [
    column("SERVICE", Lean::Left, 0),
    column("STATE", Lean::Left, 0),
    column("UP", Lean::Right, 0),
    column("WAITING", Lean::Right, 3),
    column("REQUESTS", Lean::Right, 4),
    column("FAILED", Lean::Right, 2),
    column("UNIT", Lean::Left, 1),
    column("RECOVERY", Lean::Left, 0),
];

pub(super) fn command() -> Command {
    let command = Command::new("status")
        .about("Show all services: how they are, what they are asked, what recovery does")
        .long_about("Asks the admin listener of the manager that runs. Exits with 0 when every service is up, else with 3.");
    admin::with_options(command)
}

pub(super) fn run(matches: &ArgMatches, files: &Files) -> Exit {
    shown(matches, files).unwrap_or_else(NoAnswer::tell)
}

fn shown(matches: &ArgMatches, files: &Files) -> Result<Exit, NoAnswer> {
    let bytes = admin::ask(matches, files, "GET", "/api/services", None)?;
    let services: Vec<ServiceStatus> = admin::read(&bytes)?;
    if matches.get_flag("json") {
        say(&String::from_utf8_lossy(&bytes));
    } else {
        let mut out = Out::stdout(&|name| std::env::var(name).ok());
        let look: Look = out.look;
        let rows: Vec<Vec<Cell>> = services.iter().map(row).collect();
        table::lines(&COLUMNS, &rows, look).iter().for_each(|line| out.line(line));
        out.flush();
    }
    Ok(if services.iter().all(|service| service.state == "up") { Exit::Done } else { Exit::NotRunning })
}

fn row(service: &ServiceStatus) -> Vec<Cell> {
    let plain = |text: String| Cell::new(text, Tone::Plain);
    let up = service.instances.iter().filter(|instance| instance.standing == "up").count();
    let tone = match service.state.as_str() {
        "up" => Tone::Good,
        "down" => Tone::Bad,
        _ => Tone::Busy,
    };
    let requests = &service.requests;
    vec![
        plain(service.service.clone()),
        Cell::new(service.state.clone(), tone),
        plain(format!("{up}/{}", service.instances.len())),
        plain(service.parked.to_string()),
        plain(requests.total.to_string()),
        plain((requests.failed + requests.errors).to_string()),
        service.control.as_ref().map_or_else(Cell::none, |control| plain(control.unit.clone())),
        service.recovery.as_ref().map_or_else(Cell::none, |recovery| {
            plain(if recovery.paused_ms.is_some() { "paused".to_owned() } else { recovery.phase.clone() })
        }),
    ]
}
