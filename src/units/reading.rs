//! Texts in; a set of units, the daemon's settings and warnings out, or every problem of every text.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use toml::Spanned;
use toml::de::DeTable;

use crate::units::build;
use crate::units::file::{DaemonFile, DefaultsTable, KindWord, UnitFile};
use crate::units::instances;
use crate::units::links::{self, Drawn, RESERVED_NAMES};
use crate::units::name::UnitName;
use crate::units::overlay::View;
use crate::units::problem::{Lines, Problem, Problems, Severity};
use crate::units::sockets::{self, Places};
use crate::units::source::{Place, Source, SourceKind};
use crate::units::spec::{DaemonSpec, Policy, UnitSet};
use crate::units::table::{Key, Keys, Note, Reader, defaults};
use crate::units::value::Choice;

/// Problems that are told; a text with more of them is no configuration.
const PROBLEMS_MAX: usize = 200;

/// Problems of TOML's grammar that are told of one text: most follow from the first.
const SYNTAX_MAX: usize = 10;

static UNIT_DEFAULTS: LazyLock<UnitFile> = LazyLock::new(defaults);
static DAEMON_DEFAULTS: LazyLock<DaemonFile> = LazyLock::new(defaults);

/// Sound texts, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The units.
    pub set: UnitSet,
    /// The daemon's own settings.
    pub daemon: DaemonSpec,
    /// How many instances files say that there are, by group.
    pub instances: BTreeMap<UnitName, u32>,
    /// Where units have written their sockets, by unit: what may be wrong with these is known on the machine only.
    pub places: BTreeMap<UnitName, Places>,
    /// What looks wrong but stops nothing.
    pub warnings: Vec<Problem>,
}

/// Reads all of `sources`, lower layers first: what a later one says about a unit replaces what an earlier one said, key
/// by key. `env` is the container's environment, for `${VAR}`.
///
/// # Errors
/// Every problem of every source, warnings among them.
pub fn read(sources: &[Source], env: &dyn Fn(&str) -> Option<String>) -> Result<Reading, Problems> {
    read_scaled(sources, env, &|_, written| written)
}

/// The same with other numbers of instances: `scale` is given a group and what its file says.
///
/// # Errors
/// As [`read`].
pub fn read_scaled(
    sources: &[Source],
    env: &dyn Fn(&str) -> Option<String>,
    scale: &dyn Fn(&UnitName, u32) -> u32,
) -> Result<Reading, Problems> {
    let parsed: Vec<(Spanned<DeTable<'_>>, Vec<toml::de::Error>)> =
        sources.iter().map(|source| DeTable::parse_recoverable(&source.text)).collect();
    let mut notes: Vec<Note> = parsed
        .iter()
        .enumerate()
        .flat_map(|(at, (_, errors))| syntax(at, &sources[at].text, errors))
        .collect();
    let broken = |at: usize| !parsed[at].1.is_empty();

    let (daemon, defaults) = read_daemon(sources, &parsed, env, &mut notes);
    let layers = by_name(sources, &mut notes);
    let mut reader = Reader::new(sources, env, UnitFile::KEYS);
    let mut instances = BTreeMap::new();
    let mut units: Vec<Drawn> = Vec::with_capacity(layers.len());
    for (name, layers) in layers {
        let source = layers[layers.len() - 1];
        let is_broken = layers.iter().any(|at| broken(*at));
        let in_layers = layers.iter().map(|at| (*at, parsed[*at].0.get_ref())).collect();
        let view = View { name: String::new(), at: None, layers: in_layers };
        for instance in instances::of(&name, sources[source].instance.as_ref(), &view, scale, &mut instances)
        {
            reader.instance = instance.as_ref().map(|instance| instance.number);
            let file = UnitFile::read(&view, &mut reader);
            let kind_is_known = file.r#type.value.is_some() || !file.r#type.is_written();
            let file = filled(file, &defaults);
            // What is missing in a text that could not be read whole may stand where it could not be read.
            if !is_broken {
                build::check(&name, &file, kind_is_known, Place::whole(source), &mut reader);
            }
            let name = instance.as_ref().map_or(&name, |instance| &instance.group);
            let own = instance.as_ref().map(|instance| name.instance(instance.number));
            let name = own.unwrap_or_else(|| name.clone());
            units.push(Drawn { name, instance, file, source, layers: layers.clone() });
        }
    }
    let links = links::resolve(&mut units, &mut reader);
    sockets::check_all(&units, &daemon, &mut reader);
    instances::check(&units, sources, &mut reader);
    for unit in &units {
        warn_of_stop(unit, &daemon, &mut reader);
    }
    // In a text that is broken, what stands behind the first break may have been misread.
    let sound_until = |source: usize| {
        let first = parsed[source].1.iter().filter_map(|error| error.span()).map(|span| span.start).min();
        first.map_or(usize::MAX, |at| sources[source].text[..at].rfind('\n').map_or(0, |line| line + 1))
    };
    reader.notes.retain(|note| note.at.start < sound_until(note.at.source) || !is_misreading(note));
    notes.append(&mut reader.notes);
    let (problems, has_errors) = told(sources, notes);
    if has_errors {
        return Err(Problems(problems));
    }
    let placed = |unit: &Drawn| Some((unit.name.clone(), sockets::places(&unit.file)?));
    let places = units.iter().filter_map(placed).collect();
    let units = units.into_iter().map(|unit| {
        let spec = build::unit(unit.name, unit.instance, unit.file, &sources[unit.source].path);
        (spec.name.clone(), Arc::new(spec))
    });
    let set = UnitSet { units: units.collect(), aliases: links.aliases };
    Ok(Reading { set, daemon, instances, places, warnings: problems })
}

/// Whether a note may be due to text that was taken for something else.
fn is_misreading(note: &Note) -> bool {
    note.message.starts_with("expected ")
}

/// The file with nothing left open: from `svinit.toml`, else from the table of keys.
fn filled(mut file: UnitFile, defaults: &DefaultsTable) -> UnitFile {
    let policy_is_open = !file.restart.keys.policy.is_written();
    let is_oneshot = file.r#type.value == Some(Choice(KindWord::Oneshot));
    file.restart.keys.fill(&defaults.restart.keys);
    file.stop.keys.fill(&defaults.stop.keys);
    file.log.keys.fill(&defaults.log.keys);
    file.fill(&UNIT_DEFAULTS);
    if is_oneshot && policy_is_open && file.restart.keys.policy.value == Some(Choice(Policy::Always)) {
        let policy = if file.schedule.at.is_some() { Policy::Never } else { Policy::OnFailure };
        file.restart.keys.policy = Key::of(Choice(policy));
    }
    file
}

/// The mistakes of grammar in one text that are worth telling: one a line, and of those that follow from a bracket which
/// is not closed the first only.
pub(crate) fn syntax(source: usize, text: &str, errors: &[toml::de::Error]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut line_end = 0;
    let mut in_bracket = false;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let is_in_bracket =
            ["in array", "between array", "inline table"].iter().any(|part| error.message().contains(part));
        if span.start < line_end || (in_bracket && is_in_bracket) {
            continue;
        }
        in_bracket = is_in_bracket;
        line_end = text
            .get(span.start..)
            .and_then(|rest| rest.find('\n'))
            .map_or(text.len(), |length| span.start + length);
        let help = is_in_bracket.then(|| "is a bracket not closed above?".to_owned());
        let message = format!("not TOML: {}", error.message().replace('\n', ", ").replace('`', "\""));
        notes.push(Note { at: Place::new(source, span), severity: Severity::Error, message, help });
    }
    notes.truncate(SYNTAX_MAX);
    notes
}

fn read_daemon(
    sources: &[Source],
    parsed: &[(Spanned<DeTable<'_>>, Vec<toml::de::Error>)],
    env: &dyn Fn(&str) -> Option<String>,
    notes: &mut Vec<Note>,
) -> (DaemonSpec, DefaultsTable) {
    let is_daemon = |at: &usize| sources[*at].kind == SourceKind::Daemon;
    let layers = (0..sources.len()).filter(is_daemon).map(|at| (at, parsed[at].0.get_ref())).collect();
    let view = View { name: String::new(), at: None, layers };
    let mut reader = Reader::new(sources, env, DaemonFile::KEYS);
    let mut file = DaemonFile::read(&view, &mut reader);
    build::check_daemon(&file, &mut reader);
    notes.append(&mut reader.notes);
    file.fill(&DAEMON_DEFAULTS);
    // The defaults of units have defaults of their own, which must not look as if they were written here.
    build::daemon(file)
}

/// The sources of each unit, lowest layer first.
fn by_name(sources: &[Source], notes: &mut Vec<Note>) -> BTreeMap<UnitName, Vec<usize>> {
    let mut layers: BTreeMap<UnitName, Vec<usize>> = BTreeMap::new();
    for (at, source) in sources.iter().enumerate().filter(|(_, source)| source.kind == SourceKind::Unit) {
        let file = source.path.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.strip_suffix(".toml").unwrap_or(&file);
        if let Some(instance) = &source.instance {
            layers.entry(instance.clone()).or_default().push(at);
            continue;
        }
        let reserved = RESERVED_NAMES.iter().find(|(name, _)| *name == stem);
        let name = match reserved {
            Some((_, why)) => Err(format!("a unit cannot have this name: {why}")),
            None => UnitName::plain(stem).map_err(|why| format!("the file name is the unit's name: {why}")),
        };
        match name {
            Ok(name) => layers.entry(name).or_default().push(at),
            Err(message) => {
                let at = Place::whole(at);
                notes.push(Note {
                    at,
                    severity: Severity::Error,
                    message,
                    help: Some("rename the file".to_owned()),
                });
            }
        }
    }
    layers
}

fn warn_of_stop(unit: &Drawn, daemon: &DaemonSpec, reader: &mut Reader<'_>) {
    let key = &unit.file.stop.keys.timeout;
    if let (Some(timeout), Some(at)) = (key.value, key.at)
        && timeout.0 > daemon.shutdown_timeout
    {
        let whole = crate::units::quantity::print_duration(daemon.shutdown_timeout);
        let message = format!("the whole shutdown has {whole}, so this timeout is never used up then");
        reader.warning(
            at,
            message,
            "raise shutdown_timeout in svinit.toml, and the container's own stop timeout",
        );
    }
}

/// The notes as people read them, in order of files and lines, and whether one of them is an error.
pub(crate) fn told(sources: &[Source], mut notes: Vec<Note>) -> (Vec<Problem>, bool) {
    let has_errors = notes.iter().any(|note| note.severity == Severity::Error);
    notes.sort_by(|a, b| (a.at, a.severity, &a.message).cmp(&(b.at, b.severity, &b.message)));
    notes.dedup();
    let left_out = notes.len().saturating_sub(PROBLEMS_MAX);
    // Errors first when not all can be told.
    if left_out > 0 {
        notes.sort_by_key(|note| note.severity);
        notes.truncate(PROBLEMS_MAX);
    }
    let mut lines: Option<(usize, Lines<'_>)> = None;
    let mut problems: Vec<Problem> = Vec::with_capacity(notes.len());
    for note in notes {
        let source = &sources[note.at.source];
        if lines.as_ref().is_none_or(|(number, _)| *number != note.at.source) {
            lines = Some((note.at.source, Lines::of(source)));
        }
        let is_whole = note.at == Place::whole(note.at.source);
        let spot = if is_whole { None } else { lines.as_ref().map(|(_, lines)| lines.spot(note.at)) };
        let (severity, message, help) = (note.severity, note.message, note.help);
        problems.push(Problem { severity, path: source.path.clone(), spot, message, help });
    }
    if left_out > 0
        && let Some(last) = problems.last()
    {
        let more =
            Problem::of_file(&last.path.clone(), format!("and {left_out} more problems that are not shown"));
        problems.push(more);
    }
    (problems, has_errors)
}

#[cfg(test)]
mod tests;
