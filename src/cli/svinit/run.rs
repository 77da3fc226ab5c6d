//! Runs the supervisor: early steps, units, driver and servers, and the last line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::api::place;
use crate::cli::exit::Exit;
use crate::cli::svinit::options::{Options, UNITS_DEFAULT};
use crate::cli::svinit::{Errand, complain, say};
use crate::control::peer::{Access, Policy};
use crate::control::remote;
use crate::control::server as control;
use crate::http::server as http;
use crate::lifecycle::action::End;
use crate::lifecycle::supervisor::Supervisor;
use crate::net::token::Token;
use crate::os::clock;
use crate::os::credentials;
use crate::os::error::{Doing, Error};
use crate::os::posture::{self, Posture};
use crate::runtime::boot::{self, Assembled, Early, HttpWish, ToCome, Wishes};
use crate::runtime::clients::Door;
use crate::runtime::command;
use crate::runtime::fault::Fault;
use crate::runtime::handover::{Arrival, Document, FORMAT, Fit, How, Summons, VERSION};
use crate::runtime::load::{self, Loaded, Paths};
use crate::runtime::safe;
use crate::runtime::signals::Role;
use crate::runtime::upgrade;
use crate::units::problem::Problems;
use crate::units::reading::{self, Reading};
use crate::units::source::Source;
use crate::units::spec::{DaemonSpec, HTTP_PORT, LogLevel};

/// For what is still to be written at the end; a reader that is slower has been given up by its engine as well.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Turns that the servers get after the end, to write what they have.
const LAST_TURNS: usize = 16;

/// Supervises until everything has ended, going on with what another svinit has left if there is one.
pub(super) fn run(options: Options, errand: &Errand) -> Exit {
    match errand {
        Errand::Begin => begin(options),
        Errand::Resume(summons) => take_over(options, summons, false),
        Errand::Recover(summons) => take_over(options, summons, true),
        Errand::Safe(summons) => look_after(summons),
        Errand::Selftest(summons) => selftest(options, summons),
    }
}

/// Goes on with what was left. When that cannot be, the program that left it does.
fn take_over(options: Options, summons: &Summons, is_crash: bool) -> Exit {
    // An exec has undone it, and what is read here is not for everybody who runs as our user.
    posture::harden();
    let posture = Posture::look();
    let unread = if is_crash { Unread::IsGivenUp } else { Unread::IsAnError };
    let followed = summons.follow(is_crash, |document| read_again(options, document, &posture, unread));
    let (arrival, wishes) = match followed {
        Ok(followed) => followed,
        Err(why) => {
            if !summons.is_there() {
                complain(&format!("svinit: cannot go on with what was left: {why}"));
                return Exit::Failed;
            }
            if !is_crash {
                summons.go_back(&why, |text| upgrade::args_with(&text));
            }
            return look_after_blindly(boot::early(), summons, &why);
        }
    };
    let here = if is_crash { "recovery" } else { "takeover" };
    if !matches!(arrival.how, How::Return(_)) && is_asked_for(here) {
        Fault::Panic.make();
    }
    match boot::or_fault(boot::early(), true) {
        Ok(early) if is_crash && crashes_too_often(&arrival) => Exit::Of(safe::run(arrival, early.signals)),
        Ok(early) => supervise(early, wishes, Some(arrival)),
        Err(error) => refuse(&error),
    }
}

/// This is to go wrong, for the test of what follows.
fn is_asked_for(fault: &str) -> bool {
    std::env::var_os("SVINIT_FAULTS").is_some_and(|asked| asked == fault)
}

/// svinit crashed again before it could go on.
fn look_after(summons: &Summons) -> Exit {
    posture::harden();
    let followed = summons.follow(true, |_| Ok(()));
    match (boot::early(), followed) {
        (Ok(early), Ok((arrival, ()))) => Exit::Of(safe::run(arrival, early.signals)),
        (early, Err(why)) => look_after_blindly(early, summons, &why),
        (Err(error), _) => refuse(&error),
    }
}

/// What was left cannot be read.
fn look_after_blindly(early: Result<Early, Error>, summons: &Summons, why: &str) -> Exit {
    let blindly = |early: Early| Exit::Of(safe::run_blind(why, early.signals, summons.doors()));
    early.map_or_else(|error| refuse(&error), blindly)
}

/// This crash is one too many.
fn crashes_too_often(arrival: &Arrival) -> bool {
    let bound = std::env::var("SVINIT_CRASHES_MAX").ok().and_then(|text| text.parse().ok());
    let bound = bound.unwrap_or(safe::CRASHES_MAX);
    safe::recent(&arrival.document.header.recoveries, clock::now()) >= bound
}

/// What becomes of an update that was under way and whose texts cannot be read again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// The program that could not is not the one to go on.
    IsAnError,
    /// There is no other: better without the update than not at all.
    IsGivenUp,
}

/// What is to be run, from a document alone; whether the machine fits it is tried.
fn read_again(
    options: Options,
    document: &Document,
    posture: &Posture,
    unread: Unread,
) -> Result<Wishes, String> {
    let to_come = match read_texts(&document.coming) {
        Ok(loaded) => ToCome { sources: loaded.by_unit(), set: loaded.set },
        Err(_) if unread == Unread::IsGivenUp => ToCome::default(),
        Err(problems) => return Err(problems),
    };
    let wishes = Wishes { to_come, ..wishes(options, read_texts(&document.sources)?, posture)? };
    let settings = boot::settings(&wishes.daemon, 0);
    Supervisor::restore(document.machine.clone(), &wishes.set, &wishes.to_come.set, settings)?;
    Ok(wishes)
}

fn read_texts(sources: &[Source]) -> Result<Loaded, String> {
    let reading = reading::read(sources, &|name| std::env::var(name).ok());
    let Reading { set, daemon, instances, places, .. } = reading.map_err(|problems| problems.to_string())?;
    Ok(Loaded { set, daemon, instances, places, warnings: Vec::new(), sources: sources.to_vec() })
}

/// Says whether this program could take over what is in the file, and changes nothing.
fn selftest(options: Options, summons: &Summons) -> Exit {
    let state = summons.state().ok_or_else(|| "there is no state to test with".to_owned());
    let tested = state.and_then(Document::open).and_then(|(document, _)| {
        let wishes = read_again(options, &document, &Posture::look(), Unread::IsAnError)?;
        token(&wishes.daemon)?;
        let svinit = if is_asked_for("older") { "0.0.0" } else { VERSION };
        Ok(Fit { svinit: svinit.to_owned(), format: FORMAT, units: wishes.set.units.len() })
    });
    match tested {
        Ok(fit) => {
            say(&serde_json::to_string(&fit).expect("texts and numbers are always JSON"));
            Exit::Done
        }
        Err(why) => {
            complain(&why);
            Exit::Failed
        }
    }
}

fn begin(options: Options) -> Exit {
    let early = match boot::early() {
        Ok(early) => early,
        Err(error) => return refuse(&error),
    };
    let loaded = match load(&options, early.posture.uid) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems.to_string());
            return Exit::BadConfiguration;
        }
    };
    if loaded.set.units.is_empty() && options.command.is_empty() {
        complain(&nothing_to_run(&options));
        return Exit::BadConfiguration;
    }
    let wishes = match wishes(options, loaded, &early.posture) {
        Ok(wishes) => wishes,
        Err(why) => {
            complain(&format!("svinit: {why}"));
            return Exit::BadConfiguration;
        }
    };
    supervise(early, wishes, None)
}

fn supervise(early: Early, wishes: Wishes, arrival: Option<Arrival>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    match boot::or_fault(runtime.doing(|| "start the main loop".to_owned()), arrival.is_some()) {
        Ok(runtime) => runtime.block_on(serve(early, wishes, arrival)),
        Err(error) => refuse(&error),
    }
}

/// Reads the units as they were asked for.
fn load(options: &Options, uid: u32) -> Result<Loaded, Problems> {
    load::load(&paths(options, uid), &|name| std::env::var(name).ok())
}

/// Where they are. The default directory may be absent; one that was named may not.
fn paths(options: &Options, uid: u32) -> Paths {
    Paths {
        units: options.units.clone(),
        config: options.config.clone(),
        units_optional: !options.command.is_empty(),
        uid,
    }
}

fn nothing_to_run(options: &Options) -> String {
    let places: Vec<String> = options.units.iter().map(|path| path.display().to_string()).collect();
    let place = if places.is_empty() { UNITS_DEFAULT.to_owned() } else { places.join(", ") };
    format!(
        "svinit: there is nothing to run: no unit in {place}, and no COMMAND\n\
         put NAME.toml files there, name another place with --units, or give a command: svinit COMMAND [ARG]..."
    )
}

fn wishes(options: Options, loaded: Loaded, posture: &Posture) -> Result<Wishes, String> {
    let by_unit = loaded.by_unit();
    let paths = paths(&options, posture.uid);
    let Loaded { mut set, daemon, instances: _, places: _, warnings, sources } = loaded;
    for warning in &warnings {
        complain(&warning.to_string());
    }
    let role = if set.units.is_empty() { Role::Command } else { Role::Units };
    let foreground = if options.command.is_empty() {
        None
    } else {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Some(command::add_main(&mut set, options.command, here)?)
    };
    let env = |name: &str| std::env::var(name).ok();
    let unit_paths =
        if options.units.is_empty() { vec![PathBuf::from(UNITS_DEFAULT)] } else { options.units };
    let socket_places = place::socket_places(options.socket, &env, posture.uid);
    Ok(Wishes {
        to_come: ToCome::default(),
        http: http_wish(options.http, &daemon, role, posture.is_pid1),
        log_format: options.log_format.or(daemon.log_format).unwrap_or_default(),
        // In front of one command svinit is as quiet as if it were not there.
        log_level: if role == Role::Command {
            daemon.log_level.min(LogLevel::Warn)
        } else {
            daemon.log_level
        },
        set,
        daemon,
        unit_paths,
        texts: sources,
        sources: by_unit,
        paths,
        role,
        foreground,
        socket_asked: socket_places.len() == 1,
        socket_places,
    })
}

/// Flag before `svinit.toml` before default. A lone command has not asked for a port to be opened.
fn http_wish(asked: Option<Option<SocketAddr>>, daemon: &DaemonSpec, role: Role, is_pid1: bool) -> HttpWish {
    match asked.or(daemon.http_listen) {
        Some(Some(at)) => HttpWish::Asked(at),
        Some(None) => HttpWish::Off,
        None if role == Role::Command => HttpWish::Off,
        None => {
            let ip = if is_pid1 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
            HttpWish::Default(SocketAddr::new(IpAddr::V4(ip), HTTP_PORT))
        }
    }
}

async fn serve(early: Early, wishes: Wishes, mut arrival: Option<Arrival>) -> Exit {
    let is_lone = wishes.role == Role::Command;
    let policy = policy(&wishes.daemon, early.posture.uid);
    let token = match token(&wishes.daemon) {
        Ok(token) => token,
        Err(why) => {
            complain(&format!("svinit: {why}"));
            // What was taken over goes on all the same; only nobody gets in that way any more.
            let Some(arrival) = &mut arrival else { return Exit::BadConfiguration };
            arrival.document.place.remote = None;
            None
        }
    };
    let Assembled { driver, handle, control, remote, rejoined, http, traces } =
        match boot::assemble(early, wishes, arrival) {
            Ok(assembled) => assembled,
            Err(error) => return refuse(&error),
        };
    let (visitors, rejoined): (Vec<_>, Vec<_>) =
        rejoined.into_iter().partition(|client| client.door == Door::Public);
    let (holders, rejoined) = rejoined.into_iter().partition(|client| client.door == Door::Remote);
    if let Some(listener) = http {
        let (reader, clients) = (handle.reader().clone(), handle.clients().clone());
        tokio::spawn(http::serve(listener, reader, clients, visitors));
    }
    if let (Some(listener), Some(token)) = (remote, token) {
        tokio::spawn(remote::serve(listener, handle.clone(), token, holders));
    }
    if let Some(listener) = control {
        tokio::spawn(control::serve(listener, handle, policy, rejoined));
    }
    let (End { status, why }, mut hands) = driver.run().await;
    let level = match status {
        // The end of a lone command is its own business.
        _ if is_lone => LogLevel::Debug,
        0 => LogLevel::Info,
        _ => LogLevel::Warn,
    };
    hands.pump().say(None, level, &why);
    hands.pump().flush(FLUSH_MAX);
    drop(hands);
    // Last answers that are on their way to a client.
    for _ in 0..LAST_TURNS {
        tokio::task::yield_now().await;
    }
    drop(traces);
    Exit::Of(status)
}

/// What opens the control API over TCP, if that is served.
fn token(daemon: &DaemonSpec) -> Result<Option<Token>, String> {
    let Some(at) = daemon.control_listen else { return Ok(None) };
    let cannot = |why: String| format!("cannot serve the control API at {at}: {why}");
    let path = daemon.control_token_file.as_ref().ok_or_else(|| cannot("it has no token_file".to_owned()))?;
    let text = credentials::read_secret(path).map_err(|error| cannot(error.to_string()))?;
    Token::new(&text).map(Some).map_err(|why| cannot(format!("the token in {} {why}", path.display())))
}

/// Who may use the control socket. Its group is let in by the socket's mode, and may do what its owner may.
fn policy(daemon: &DaemonSpec, own_uid: u32) -> Policy {
    Policy {
        own_uid,
        group: daemon.socket_group.is_some().then_some(Access::Operate),
        allow_other_namespaces: daemon.allow_other_namespaces,
    }
}

fn refuse(error: &Error) -> Exit {
    complain(&format!("svinit: {error}"));
    Exit::Failed
}
