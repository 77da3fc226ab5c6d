//! Picks the personality by the name it is called by, and turns the outcome into an exit status.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use svinit::cli::{shims, svctl, svinit as daemon, svmanager};

fn main() -> ExitCode {
    let (name, args) = personality(std::env::args_os().collect());
    let name = name.to_str().unwrap_or_default();
    let exit = match (name, shims::named(name)) {
        ("svctl", _) => svctl::main(args),
        ("svmanager", _) => svmanager::main(args),
        (_, Some(shim)) => shims::main(shim, args),
        // Whatever else the file was renamed to: it is the supervisor.
        _ => daemon::main(args),
    };
    exit.into()
}

/// The name to go by, which `--as NAME` in the first place decides, and the arguments without it.
fn personality(mut args: Vec<OsString>) -> (OsString, Vec<OsString>) {
    let asked = match args.get(1).and_then(|arg| arg.to_str()) {
        Some("--as") if args.len() > 2 => {
            args.remove(1);
            args.get(1).cloned()
        }
        Some(arg) => arg.strip_prefix("--as=").map(OsString::from),
        None => None,
    };
    if asked.is_some() {
        args.remove(1);
    }
    let called =
        args.first().map(|path| Path::new(path).file_name().unwrap_or(OsStr::new("svinit")).to_owned());
    (asked.or(called).unwrap_or_else(|| OsString::from("svinit")), args)
}
