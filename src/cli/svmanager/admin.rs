//! Asks the admin listener of a manager that runs: where it is and what its token is says the manager's file.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::value_parser;
use serde::de::DeserializeOwned;

use crate::api::status::Refusal;
use crate::cli::exit::Exit;
use crate::cli::svmanager::complain;
use crate::manager::admin::server;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Place;
use crate::manager::run;
use crate::manager::run::Files;
use crate::net::token::Token;
use crate::units::spec::HostPort;

/// For an answer; each svinit behind it has three seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of an answer at most.
const ANSWER_MAX: usize = 16 << 20;

/// Why there is no answer, and what the command ends with.
pub(super) struct NoAnswer {
    exit: Exit,
    why: String,
}

impl NoAnswer {
    /// Says it.
    pub(super) fn tell(self) -> Exit {
        complain(&format!("svmanager: {}", self.why));
        self.exit
    }
}

/// With the options that say where the manager is.
pub(super) fn with_options(command: Command) -> Command {
    let at =
        Arg::new("admin").long("admin").value_name("ADDRESS:PORT").value_parser(value_parser!(SocketAddr));
    let token =
        Arg::new("token-file").long("token-file").value_name("FILE").value_parser(value_parser!(PathBuf));
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    command
        .arg(at.help("Where its admin listener is [default: as [admin] of --config says]"))
        .arg(token.help("The file with its token [default: the same]"))
        .arg(json.help("Print the answer as it comes"))
}

/// Asks, and reads the answer.
pub(super) fn ask(
    matches: &ArgMatches,
    files: &Files,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
) -> Result<Vec<u8>, NoAnswer> {
    let (at, token) = place(matches, files).map_err(|why| NoAnswer { exit: Exit::Usage, why })?;
    let place = Place::Tcp(HostPort { host: at.ip().to_string(), port: at.port() });
    let request = wire::Request { method, path, body, token: token.as_ref() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let asked = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let answer = wire::ask(&place, &request, PATIENCE).await?;
            Ok((answer.status, answer.body.whole(ANSWER_MAX, PATIENCE).await?))
        })
    });
    match asked {
        Ok((200..300, bytes)) => Ok(bytes),
        Ok((status, bytes)) => {
            let refusal = serde_json::from_slice::<Refusal>(&bytes);
            let why = refusal.map_or_else(|_| format!("{at} answers {status}"), |refusal| refusal.message);
            let exit = match status {
                401 => Exit::NotPermitted,
                404 => Exit::NoSuchUnit,
                _ => Exit::Failed,
            };
            Err(NoAnswer { exit, why })
        }
        Err(error) => {
            let why =
                format!("cannot reach the manager at {at}: {error} (does it run, with [admin] listen?)");
            Err(NoAnswer { exit: Exit::NoSupervisor, why })
        }
    }
}

/// What the bytes say.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NoAnswer> {
    serde_json::from_slice(bytes).map_err(|error| NoAnswer {
        exit: Exit::Failed,
        why: format!("cannot understand the manager: {error}"),
    })
}

fn place(matches: &ArgMatches, files: &Files) -> Result<(SocketAddr, Option<Token>), String> {
    let at = matches.get_one::<SocketAddr>("admin").copied();
    let token_file = matches.get_one::<PathBuf>("token-file").cloned();
    // Who names the address knows the token as well; a file on this machine may be of another manager.
    let (at, token_file) = match at {
        Some(at) => (at, token_file),
        None => {
            let admin = run::load(&files.config).map_err(|problems| problems.to_string())?.config.admin;
            let at = admin.listen.ok_or_else(|| {
                format!("{} has no [admin] listen: write one, or --admin", files.config.display())
            })?;
            (at, token_file.or(admin.token_file))
        }
    };
    let token = token_file.as_deref().map(server::token).transpose()?;
    Ok((reachable(at), token))
}

/// One that listens everywhere is asked here.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, at.port())
}
