//! `svctl graph`: who is started before whom, with what is now when a supervisor answers.

use std::collections::BTreeMap;

use clap::ArgMatches;
use serde_json::Value;
use serde_json::json;

use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::out::Out;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::local;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::units::graph;
use crate::units::name::UnitName;
use crate::units::spec::UnitSet;
use crate::units::spec::UnitSpec;

pub(super) const GRAPH: Verb = Verb {
    name: "graph",
    aliases: &["tree"],
    group: Group::Understand,
    about: "Show which units are started before which, and how far they are",
    details: "Numbered steps: the units of a step start side by side, when those of earlier steps that they wait for are \
              ready. Reads the unit files, so it works without a supervisor; when one answers, the state of each unit is \
              shown as well.",
    examples: &[("svctl graph --dot | dot -Tsvg > units.svg", "a picture, by Graphviz")],
    completes: Completes::Nothing,
    arguments: |command| local::options(command).arg(arguments::flag("dot", "Print a graph for Graphviz")),
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let set = local::load_sound(session, matches)?.set;
    if matches.get_flag("dot") {
        session.out.text(graph::dot(&set));
        return Ok(Exit::Done);
    }
    // Without a supervisor there are no states, and that is fine.
    let units = session.units(&[]).unwrap_or_default();
    let states: BTreeMap<String, UnitStatus> =
        units.into_iter().map(|unit| (unit.unit.clone(), unit)).collect();
    if session.json {
        session.print_json(&as_json(&set, &states))?;
    } else {
        draw(&mut session.out, &set, &states);
    }
    Ok(Exit::Done)
}

fn draw(out: &mut Out, set: &UnitSet, states: &BTreeMap<String, UnitStatus>) {
    let look = out.look;
    let levels = graph::levels(set);
    let width = set.units.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let wide = states.values().map(|unit| unit.state.len()).max().unwrap_or(0);
    for (number, level) in levels.iter().enumerate() {
        for (at, spec) in level.iter().filter_map(|name| set.units.get(name)).enumerate() {
            let step = if at == 0 { format!("{:>3}", number + 1) } else { "   ".to_owned() };
            let name = format!("{:width$}", spec.name.as_str());
            let mut line = format!("{}  {}", look.paint(Tone::Faint, &step), look.paint(Tone::Strong, &name));
            if wide > 0 {
                let state = states.get(spec.name.as_str()).map_or("-", |unit| unit.state.as_str());
                line.push_str("  ");
                line.push_str(&look.paint(tone_of_state(state), &format!("{state:wide$}")));
            }
            line.push_str("  ");
            line.push_str(&look.paint(Tone::Faint, &relations(spec).join("; ")));
            out.line(line.trim_end());
        }
    }
}

/// `requires postgres, migrate`, and so on.
fn relations(spec: &UnitSpec) -> Vec<String> {
    let named = |word: &str, names: &[UnitName]| {
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let mut all: Vec<String> = [
        named("requires", &spec.requires),
        named("wants", &spec.wants),
        named("after", &spec.after),
        named("part of", &spec.part_of),
        named("conflicts with", &spec.conflicts),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !spec.enabled {
        all.push("not enabled".to_owned());
    }
    all
}

fn as_json(set: &UnitSet, states: &BTreeMap<String, UnitStatus>) -> Vec<Value> {
    let names = |names: &[UnitName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut all = Vec::new();
    for (number, level) in graph::levels(set).iter().enumerate() {
        for spec in level.iter().filter_map(|name| set.units.get(name)) {
            all.push(json!({
                "unit": spec.name.as_str(),
                "step": number + 1,
                "enabled": spec.enabled,
                "state": states.get(spec.name.as_str()).map(|unit| &unit.state),
                "requires": names(&spec.requires),
                "wants": names(&spec.wants),
                "after": names(&spec.after),
                "part_of": names(&spec.part_of),
                "conflicts": names(&spec.conflicts),
            }));
        }
    }
    all
}
