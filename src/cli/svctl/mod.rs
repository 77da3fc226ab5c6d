//! `svctl`: one verb, one answer, one exit status.
//!
//! [`verbs`] is the one table: the parser, the help, the completions, the manual and `docs/svctl.md` are made from it.
//! Only the verb that was called has its options built, because a call is to cost less than a millisecond.

use std::ffi::OsString;

use crate::cli::exit::Exit;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;

mod arguments;
mod check;
mod completions;
mod events;
mod exec;
pub(in crate::cli) mod failure;
mod graph;
mod health;
mod help;
mod jobs;
mod listen;
mod local;
mod logs;
mod outcome;
mod progress;
mod run;
mod scale;
mod schema;
pub(in crate::cli) mod session;
mod show;
mod shutdown;
mod status;
mod tail;
mod update;
mod upgrade;
mod verbs;
mod version;
mod wait;
mod why;

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

/// Does what `args` (with the program's name first) ask for, and says how it went.
#[must_use]
pub fn main(args: Vec<OsString>) -> Exit {
    let mut session = Session::real();
    let exit = answer(&mut session, args);
    session.finish(exit)
}

/// The same without ending the session, so that tests can look at it.
fn answer(session: &mut Session, args: Vec<OsString>) -> Exit {
    match dispatch(session, args) {
        Ok(exit) => exit,
        Err(failure) => failure.tell(session),
    }
}

fn dispatch(session: &mut Session, args: Vec<OsString>) -> Result<Exit, Failure> {
    let call = arguments::split(args)?;
    let Some(word) = call.verb else {
        return help::without_verb(session, &call.rest);
    };
    let verb = verbs::find(&word).ok_or_else(|| verbs::unknown(&word))?;
    let matches = match arguments::command(verb).try_get_matches_from(call.rest) {
        Ok(matches) => matches,
        Err(error) => return help::for_error(session, &error),
    };
    session.take(&matches);
    (verb.run)(session, &matches)
}
