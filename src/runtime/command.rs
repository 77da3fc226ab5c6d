//! The unit `main` made of the COMMAND on svinit's own command line.
//!
//! It has the terminal and the streams that svinit was given, and svinit ends when it ends, with its status. Without
//! other units this makes svinit a `tini`; with others, `main` starts when they are up.

use std::path::PathBuf;
use std::sync::Arc;

use crate::units::name::UnitName;
use crate::units::spec::{
    Argv, Context, Forward, KillMode, Log, Policy, Restart, Stdin, Stop, UnitSet, UnitSpec,
};

/// What the unit is called.
pub const MAIN: &str = "main";

/// Adds the unit `main` for `argv` to `set`, to be started when all that is started at boot is up.
///
/// # Errors
/// When there is a unit of that name already.
pub fn add_main(set: &mut UnitSet, argv: Vec<String>, working_dir: PathBuf) -> Result<UnitName, String> {
    let name = UnitName::new(MAIN)?;
    if let Some(other) = set.find(MAIN) {
        return Err(format!(
            "cannot run {} as unit {MAIN}: {} defines a unit of that name; rename it, or give no command",
            argv.first().map_or("the command", String::as_str),
            other.origin.display()
        ));
    }
    let enabled = set.units.values().filter(|unit| unit.enabled).map(|unit| unit.name.clone()).collect();
    let spec = main(name.clone(), argv, working_dir, enabled);
    set.units.insert(name.clone(), Arc::new(spec));
    Ok(name)
}

fn main(name: UnitName, argv: Vec<String>, working_dir: PathBuf, wants: Vec<UnitName>) -> UnitSpec {
    let plain = UnitSpec::new(name, Argv(argv));
    UnitSpec {
        description: "the command that svinit was given".to_owned(),
        essential: true,
        // Where svinit was started is where the image's WORKDIR is, and the command was written for that.
        context: Context { stdin: Stdin::Tty, working_dir: Some(working_dir), ..Context::default() },
        wants,
        restart: Restart { policy: Policy::Never, ..plain.restart },
        // What it leaves behind has time to end, as it would have had without svinit in front.
        stop: Stop { kill: KillMode::Group, ..plain.stop },
        log: Log { forward: Forward::Inherit, ..plain.log },
        origin: PathBuf::from("command line"),
        ..plain
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::{MAIN, add_main};
    use crate::units::name::UnitName;
    use crate::units::spec::{Forward, Policy, UnitSet};

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_command_becomes_an_essential_unit_that_is_not_restarted() {
        let mut set = UnitSet::default();
        add_main(&mut set, argv(&["sleep", "1"]), PathBuf::from("/srv")).unwrap();
        let main = set.find(MAIN).unwrap();
        assert!(main.essential && main.enabled);
        assert_eq!(main.restart.policy, Policy::Never);
        assert_eq!(main.log.forward, Forward::Inherit);
        assert_eq!(main.context.working_dir, Some(PathBuf::from("/srv")));
    }

    #[test]
    fn a_second_unit_named_main_is_refused_and_both_are_named() {
        let mut set = UnitSet::default();
        add_main(&mut set, argv(&["a"]), PathBuf::from("/")).unwrap();
        let refused = add_main(&mut set, argv(&["b"]), PathBuf::from("/")).unwrap_err();
        assert!(refused.contains("cannot run b as unit main: command line defines"), "{refused}");
    }

    #[test]
    fn the_command_wants_every_unit_that_is_started_at_boot() {
        let mut others = UnitSet::default();
        add_main(&mut others, argv(&["web"]), PathBuf::from("/")).unwrap();
        let mut web = (**others.find(MAIN).unwrap()).clone();
        web.name = UnitName::new("web").unwrap();
        let mut off = web.clone();
        off.name = UnitName::new("off").unwrap();
        off.enabled = false;
        let units = [web, off].map(|unit| (unit.name.clone(), Arc::new(unit)));
        let mut set = UnitSet { units: units.into(), aliases: BTreeMap::new() };
        let main = add_main(&mut set, argv(&["a"]), PathBuf::from("/")).unwrap();
        let wants: Vec<_> = set.units[&main].wants.iter().map(|name| name.as_str()).collect();
        assert_eq!(wants, ["web"]);
    }
}
