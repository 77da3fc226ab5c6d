//! The supervisor as a program: its command line, and the putting together of driver and servers.

pub mod links;
pub mod options;
mod run;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::svctl;
use crate::cli::svinit::options::{Options, Task};
use crate::runtime::handover::Summons;
use crate::runtime::rehearsal::{RECOVER, RESUME, SAFE, SELFTEST};

/// Does what the command line says; comes back when svinit is to end.
#[must_use]
pub fn main(mut args: Vec<OsString>) -> Exit {
    let errand = Errand::take(&mut args);
    let options = match options::read(args, &|name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(told) => {
            // Help goes to stdout, mistakes to stderr. Neither can be told to nobody.
            let _ = told.print();
            return if told.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match options.task {
        Task::Run => run::run(options, &errand),
        Task::Check => check(options),
        Task::Link(ref dir) => link(dir),
    }
}

/// What one svinit tells the next, in front of the arguments that both have.
enum Errand {
    /// Nothing: this is the first.
    Begin,
    /// Go on with this.
    Resume(Summons),
    /// Go on with this after a fault.
    Recover(Summons),
    /// Going on has failed: look after this and do nothing else.
    Safe(Summons),
    /// Say whether you could.
    Selftest(Summons),
}

impl Errand {
    /// Takes it out of `args`. What looks like one and is none stays, and is complained about as any other.
    fn take(args: &mut Vec<OsString>) -> Self {
        let asked = |prefix: &str| args.get(1)?.to_str()?.strip_prefix(prefix).and_then(Summons::parse);
        let errand = asked(RESUME).map(Self::Resume).or_else(|| asked(RECOVER).map(Self::Recover));
        let errand = errand.or_else(|| asked(SAFE).map(Self::Safe));
        let errand = errand.or_else(|| asked(SELFTEST).map(Self::Selftest));
        let Some(errand) = errand else { return Self::Begin };
        args.remove(1);
        errand
    }
}

/// The same as `svctl check`, with the same words. Whoever asks svinit itself asks about this machine, also when files
/// are named.
fn check(options: Options) -> Exit {
    let mut words: Vec<OsString> = vec!["svctl".into(), "check".into(), "--here".into()];
    words.extend(options.socket.into_iter().flat_map(|path| ["--socket".into(), path.into()]));
    words.extend(options.config.into_iter().flat_map(|file| ["--config".into(), file.into()]));
    words.push("--".into());
    words.extend(options.units.into_iter().map(OsString::from));
    svctl::main(words)
}

fn link(dir: &Path) -> Exit {
    let path: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let made = std::env::current_exe()
        .map_err(|error| format!("cannot find the executable that is running: {error}"))
        .and_then(|executable| links::make(dir, &executable, &path));
    match made {
        Ok(links) => {
            for link in links.made {
                say(&link.display().to_string());
            }
            for tool in links.left {
                complain(&format!("svinit: {} is there, so nothing stands in for it", tool.display()));
            }
            Exit::Done
        }
        Err(why) => {
            complain(&format!("svinit: {why}"));
            Exit::Failed
        }
    }
}

/// To stdout. That nobody reads it is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// To stderr.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
