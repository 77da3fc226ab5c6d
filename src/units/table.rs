//! What a table of the file format is, said once: [`table!`] makes a Rust type of it, and from the same lines come its
//! decoding, its defaults, the words of its error messages, the JSON Schema, the reference in `docs/units.md` and what
//! `svctl cat` prints. So none of these can know a key that the others do not.
//!
//! Values are decoded from `toml`'s spanned tree, not through serde, because every problem needs its place and one
//! problem must not hide the next.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::units::expand;
use crate::units::overlay::View;
use crate::units::problem::{Severity, quoted};
use crate::units::source::{Place, Source};
use crate::units::suggest::did_you_mean;

/// The number of an instance, in its environment and in its file.
pub const INSTANCE_VARIABLE: &str = "SVINIT_INSTANCE";

/// Problems for which near words are looked up; a file with more of them needs other help.
const SUGGEST_MAX: usize = 50;

/// One key, as the tables describe it.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// As it is written.
    pub name: &'static str,
    /// What it means: paragraphs of the reference.
    pub doc: &'static [&'static str],
    /// What holds when it is not written, as TOML.
    pub default: Option<&'static str>,
    /// What happens when it is not written, in words, where there is no such value.
    pub unset: Option<&'static str>,
    /// What a running unit needs before another value is in force.
    pub change: Change,
    /// What may be written.
    pub shape: fn() -> Shape,
}

/// When another value of a key is in force, for a unit that runs. Ordered: the later, the more is done to the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// When svinit is started the next time.
    Boot,
    /// When the unit is started the next time, for whatever reason.
    NextStart,
    /// At once; its processes notice nothing.
    AtOnce,
    /// Only its next process has it, so it is restarted.
    Restart,
    /// A table: each of its keys says it for itself.
    Within,
}

impl Change {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "next start of svinit",
            Self::NextStart => "next start",
            Self::AtOnce => "at once",
            Self::Restart => "restart",
            Self::Within => "",
        }
    }
}

impl KeyInfo {
    /// The meaning in one paragraph.
    #[must_use]
    pub fn about(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// What may be written for a key.
#[derive(Clone, Debug)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// A number within bounds.
    Number(i64, i64),
    /// Text of a form: its name with an example, and a regular expression for the schema.
    Text(&'static str, Option<&'static str>),
    /// One of these words.
    OneOf(Vec<&'static str>),
    /// A list of these.
    List(Box<Shape>),
    /// A table whose keys the user chooses.
    Map(Box<Shape>),
    /// A table with these keys.
    Table(&'static [KeyInfo]),
    /// One of these.
    Any(Vec<Shape>),
}

impl Shape {
    /// "a duration like "10s"": what an error message says was expected.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(min, i64::MAX) => format!("a whole number from {min}"),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::Text(words, _) => (*words).to_owned(),
            Self::OneOf(_) | Self::Any(_) => either(&self.choices()),
            Self::List(item) => format!("a list, each {}", item.expected()),
            Self::Map(_) | Self::Table(_) => "a table".to_owned(),
        }
    }

    fn choices(&self) -> Vec<String> {
        match self {
            Self::OneOf(words) => words.iter().map(|word| format!("\"{word}\"")).collect(),
            Self::Any(shapes) => shapes.iter().flat_map(Self::choices).collect(),
            Self::Bool
            | Self::Integer(..)
            | Self::Number(..)
            | Self::Text(..)
            | Self::List(_)
            | Self::Map(_)
            | Self::Table(_) => vec![self.expected()],
        }
    }
}

fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// A struct that [`table!`] made.
pub trait Keys: Sized + Default {
    /// Its keys, in the order they are shown.
    const KEYS: &'static [KeyInfo];
    /// Decodes what `view` holds; what is wrong is noted.
    fn read(view: &View<'_>, reader: &mut Reader<'_>) -> Self;
    /// Takes from `base` what is not set here.
    fn fill(&mut self, base: &Self);
    /// Writes every key.
    fn show(&self, out: &mut Shower);
    /// Whether no key has a value.
    fn is_blank(&self) -> bool;
}

/// What the value of a field of such a struct is: [`Key`], [`Map`] or [`Table`].
pub trait Field: Sized + Default {
    /// Decodes the values of `key`, in all layers.
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self;
    /// Takes from `base` what is not set here.
    fn fill(&mut self, base: &Self);
    /// Writes it.
    fn show(&self, info: &KeyInfo, out: &mut Shower);
    /// Whether it has no value.
    fn is_blank(&self) -> bool;
    /// What may be written.
    fn shape() -> Shape;
}

/// A value that a key may have.
pub trait Value: Sized + Clone {
    /// Decodes it, or notes what is wrong and gives nothing.
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self>;
    /// As TOML, so that reading it gives the same.
    fn show(&self) -> String;
    /// What may be written.
    fn shape() -> Shape;
}

/// One value in the tree of one source.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// Where it stands.
    pub at: Place,
    /// What stands there.
    pub value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    pub(crate) fn new(source: usize, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { at: Place::new(source, value.span()), value: value.get_ref() }
    }

    /// What was found here, for a message.
    pub(crate) fn found(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => quoted(&number.to_string()).trim_matches('"').to_owned(),
            DeValue::Float(number) => quoted(&number.to_string()).trim_matches('"').to_owned(),
            DeValue::Boolean(yes) => yes.to_string(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// A key: whether and where it was written, and its value, if that is sound.
#[derive(Clone, Debug)]
pub struct Key<T> {
    /// The value; also when it is a default.
    pub value: Option<T>,
    /// Where it was written, if it was.
    pub at: Option<Place>,
}

impl<T> Default for Key<T> {
    fn default() -> Self {
        Self { value: None, at: None }
    }
}

impl<T> Key<T> {
    /// A value that nobody wrote.
    pub fn of(value: T) -> Self {
        Self { value: Some(value), at: None }
    }

    /// Whether somebody wrote it, sound or not.
    pub fn is_written(&self) -> bool {
        self.at.is_some()
    }

    /// The value of a key that has a default, after [`Keys::fill`].
    pub fn get(self) -> T {
        self.value.expect("keys with a default were filled; the test of an empty unit reads all of them")
    }
}

impl<T: Value> Field for Key<T> {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let mut out = Self::default();
        let found = view.found(key);
        for (index, item) in found.items.iter().enumerate() {
            let counts = index + 1 == found.items.len() && found.counts;
            let value = reader.as_lower(!counts, |reader| T::read(*item, reader));
            if counts {
                out = Self { value, at: Some(item.at) };
            }
        }
        out
    }

    fn fill(&mut self, base: &Self) {
        if self.value.is_none() {
            self.value.clone_from(&base.value);
        }
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        match &self.value {
            Some(value) => out.line(info.name, &value.show()),
            None => out.unset(info),
        }
    }

    fn is_blank(&self) -> bool {
        self.value.is_none()
    }

    fn shape() -> Shape {
        T::shape()
    }
}

/// A table whose keys the user chooses; layers are merged key by key.
#[derive(Clone, Debug)]
pub struct Map<T>(pub BTreeMap<String, (T, Place)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Value> Field for Map<T> {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let mut out = Self::default();
        let Some(view) = view.table(key, reader) else { return out };
        for name in view.names() {
            let found = view.found(name);
            for (index, item) in found.items.iter().enumerate() {
                let counts = index + 1 == found.items.len();
                let before = reader.notes.len();
                let value = reader.as_lower(!counts, |reader| T::read(*item, reader));
                if value.is_none() && reader.is_top_key(name) && reader.notes.len() > before {
                    let last = reader.notes.len() - 1;
                    reader.notes[last].help = Some(above_the_first(name));
                }
                if counts && let Some(value) = value {
                    out.0.insert(name.to_owned(), (value, view.place_of(name).unwrap_or(item.at)));
                }
            }
        }
        out
    }

    fn fill(&mut self, base: &Self) {
        for (name, value) in &base.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        out.header(info.name);
        for (name, (value, _)) in &self.0 {
            out.line(&bare_or_quoted(name), &value.show());
        }
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
}

/// A table with known keys.
#[derive(Clone, Debug, Default)]
pub struct Table<T> {
    /// What is in it.
    pub keys: T,
    /// Its header, when it was written.
    pub at: Option<Place>,
}

impl<T: Keys> Field for Table<T> {
    fn read(view: &View<'_>, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let Some(view) = view.table(key, reader) else { return Self::default() };
        Self { keys: T::read(&view, reader), at: view.at }
    }

    fn fill(&mut self, base: &Self) {
        self.keys.fill(&base.keys);
    }

    fn show(&self, info: &KeyInfo, out: &mut Shower) {
        if self.is_blank() {
            // All of its keys become comments, and an empty [health] would be refused: it asks nothing.
            out.absent(info.name);
        } else {
            out.header(info.name);
        }
        self.keys.show(out);
    }

    fn is_blank(&self) -> bool {
        self.keys.is_blank()
    }

    fn shape() -> Shape {
        Shape::Table(T::KEYS)
    }
}

/// What is wrong with a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// Beyond "expected A, found B".
    pub why: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Bad {
    pub(crate) fn why(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), help: None }
    }

    pub(crate) fn help(help: Option<String>) -> Self {
        Self { why: None, help }
    }
}

/// Something noted about a place, not yet a [`crate::units::problem::Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub at: Place,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What decoding needs besides the tree: the environment, and where to note what is wrong.
pub struct Reader<'a> {
    sources: &'a [Source],
    env: &'a dyn Fn(&str) -> Option<String>,
    top: &'static [KeyInfo],
    /// A later layer replaces what is being read: it must be well-formed, but need not find its variables.
    lower: bool,
    /// The number of the instance that is being read.
    pub(crate) instance: Option<u32>,
    /// How often that number was asked for.
    pub(crate) asked_for_instance: Cell<u32>,
    /// What was noted.
    pub notes: Vec<Note>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        sources: &'a [Source],
        env: &'a dyn Fn(&str) -> Option<String>,
        top: &'static [KeyInfo],
    ) -> Self {
        let (instance, asked_for_instance) = (None, Cell::new(0));
        Self { sources, env, top, lower: false, instance, asked_for_instance, notes: Vec::new() }
    }

    pub(crate) fn as_lower<T>(&mut self, lower: bool, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.lower, lower);
        let out = read(self);
        self.lower = before;
        out
    }

    pub(crate) fn is_top_key(&self, name: &str) -> bool {
        self.top.iter().any(|info| info.name == name)
    }

    pub(crate) fn error(&mut self, at: Place, message: impl Into<String>) {
        self.note(at, Severity::Error, message.into(), None);
    }

    pub(crate) fn error_with_help(&mut self, at: Place, message: impl Into<String>, help: impl Into<String>) {
        self.note(at, Severity::Error, message.into(), Some(help.into()));
    }

    pub(crate) fn warning(&mut self, at: Place, message: impl Into<String>, help: impl Into<String>) {
        self.note(at, Severity::Warning, message.into(), Some(help.into()));
    }

    pub(crate) fn note(&mut self, at: Place, severity: Severity, message: String, help: Option<String>) {
        self.notes.push(Note { at, severity, message, help });
    }

    /// "did you mean", unless too many were asked for already.
    pub(crate) fn hint<'c>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<String> {
        if self.notes.len() > SUGGEST_MAX { None } else { did_you_mean(word, candidates) }
    }

    /// "expected A, found B".
    pub(crate) fn wrong(&mut self, item: Item<'_>, shape: &Shape, bad: Bad) {
        let mut message = format!("expected {}, found {}", shape.expected(), item.found());
        if let Some(why) = bad.why {
            let _ = write!(message, ": {why}");
        }
        self.note(item.at, Severity::Error, message, bad.help);
    }

    /// Fills in the variables of `text`, which stands, quoted somehow, at `at`.
    pub(crate) fn expand(&mut self, at: Place, text: &str) -> Option<String> {
        if text.contains('\0') {
            self.error(at, "a NUL character cannot be handed to a program");
            return None;
        }
        let env = |name: &str| {
            if name != INSTANCE_VARIABLE {
                return (self.env)(name);
            }
            self.asked_for_instance.set(self.asked_for_instance.get() + 1);
            self.instance.map(|number| number.to_string())
        };
        match expand::expand(text, &env) {
            Ok(expanded) => {
                for name in expanded.unset.iter().filter(|_| !self.lower) {
                    let at = self.narrow(at, &format!("${{{name}}}"));
                    let message = format!("{name} is not set, so nothing stands here");
                    self.notes.push(Note {
                        at,
                        severity: Severity::Warning,
                        message,
                        help: Some(format!(
                            "write ${{{name}:-}} if that is meant, ${{{name}:?why}} if it must be set"
                        )),
                    });
                }
                if expanded.text.contains('\0') {
                    self.error(at, "a NUL character cannot be handed to a program");
                    return None;
                }
                Some(expanded.text.into_owned())
            }
            Err(fault) if fault.is_unset && self.lower => None,
            Err(fault) => {
                let at = self.narrow(at, fault.snippet);
                self.error(at, fault.message);
                None
            }
        }
    }

    /// The place of `snippet` within `at`, if it stands there as it is.
    pub(crate) fn narrow(&self, at: Place, snippet: &str) -> Place {
        let raw = self.sources.get(at.source).and_then(|source| source.text.get(at.start..at.end));
        match raw.and_then(|raw| raw.find(snippet)) {
            Some(offset) if !snippet.is_empty() => {
                Place { start: at.start + offset, end: at.start + offset + snippet.len(), ..at }
            }
            _ => at,
        }
    }

    /// Notes each key of `view` that is not among `known`.
    pub(crate) fn unknown_keys(&mut self, view: &View<'_>, known: &'static [KeyInfo]) {
        for (source, table) in &view.layers {
            for key in table.keys() {
                let name = key.get_ref().as_ref();
                if known.iter().any(|info| info.name == name) {
                    continue;
                }
                let place = Place::new(*source, key.span());
                let inside =
                    if view.name.is_empty() { String::new() } else { format!(" in [{}]", view.name) };
                let message = format!("no such key{inside}: {}", quoted(name));
                let help = self.other_home(view, name, known);
                self.note(place, Severity::Error, message, help);
            }
        }
    }

    /// Where an unknown key belongs, or what may have been meant.
    fn other_home(&self, view: &View<'_>, name: &str, known: &'static [KeyInfo]) -> Option<String> {
        if !view.name.is_empty() && self.is_top_key(name) {
            return Some(above_the_first(name));
        }
        let near = self.hint(name, known.iter().map(|info| info.name));
        if near.is_some() || !view.name.is_empty() {
            return near;
        }
        let homes: Vec<String> = self
            .top
            .iter()
            .filter(|info| matches!((info.shape)(), Shape::Table(keys) if keys.iter().any(|key| key.name == name)))
            .map(|info| format!("[{}]", info.name))
            .collect();
        (!homes.is_empty()).then(|| format!("it belongs below {}", either(&homes)))
    }
}

pub(crate) fn above_the_first(name: &str) -> String {
    format!("\"{name}\" is a key of the file itself: write it above the first [table]")
}

/// Writes TOML with every key.
#[derive(Default)]
pub struct Shower {
    text: String,
    /// Of the table that is being written.
    table: &'static str,
    /// What has a value: `stop.timeout` and the value as TOML.
    values: Vec<(String, String)>,
}

impl Shower {
    pub(crate) fn line(&mut self, name: &str, value: &str) {
        let dot = if self.table.is_empty() { "" } else { "." };
        self.values.push((format!("{}{dot}{name}", self.table), value.to_owned()));
        let _ = writeln!(self.text, "{name} = {value}");
    }

    fn unset(&mut self, info: &KeyInfo) {
        let _ = match (info.unset, info.default) {
            (None, Some(default)) => writeln!(self.text, "# {} = {default}", info.name),
            (words, _) => writeln!(self.text, "# {}: {}", info.name, words.unwrap_or("not set")),
        };
    }

    pub(crate) fn remark(&mut self, text: &str) {
        let _ = writeln!(self.text, "# {text}\n");
    }

    pub(crate) fn header(&mut self, name: &'static str) {
        self.table = name;
        let _ = writeln!(self.text, "\n[{name}]");
    }

    fn absent(&mut self, name: &'static str) {
        self.table = name;
        let _ = writeln!(self.text, "\n# [{name}]");
    }

    pub(crate) fn into_values(self) -> Vec<(String, String)> {
        self.values
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// `text` as a TOML string.
#[must_use]
pub fn toml_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn bare_or_quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { toml_string(name) }
}

/// The TOML in which every key that has a default has it.
pub(crate) fn defaults_text(keys: &'static [KeyInfo], header: &str, out: &mut String) {
    let mut tables = Vec::new();
    for info in keys {
        if let Some(default) = info.default {
            let _ = writeln!(out, "{} = {default}", info.name);
        } else if let Shape::Table(inner) = (info.shape)() {
            tables.push((info.name, inner));
        }
    }
    for (name, inner) in tables {
        let path = if header.is_empty() { name.to_owned() } else { format!("{header}.{name}") };
        let _ = writeln!(out, "[{path}]");
        defaults_text(inner, &path, out);
    }
}

/// Reads `T` from the text of its own defaults.
pub(crate) fn defaults<T: Keys>() -> T {
    let mut text = String::new();
    defaults_text(T::KEYS, "", &mut text);
    let (tree, errors) = DeTable::parse_recoverable(&text);
    let mut reader = Reader::new(&[], &|_| None, T::KEYS);
    let view = View::single(0, tree.get_ref());
    let out = T::read(&view, &mut reader);
    debug_assert!(errors.is_empty() && reader.notes.is_empty(), "{text}\n{errors:?}\n{:?}", reader.notes);
    out
}

/// Makes a struct that is a table of the file format. Each key: its meaning, its name, its type, and
/// `= "TOML"`, what holds when it is not written, or `=> "words"`, what happens then; then the [`Change`] that another
/// value means for a unit that runs.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty $(= $default:literal)? $(=> $unset:literal)? , $change:ident ; )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub struct $Name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl $crate::units::table::Keys for $Name {
            const KEYS: &'static [$crate::units::table::KeyInfo] = &[
                $( $crate::units::table::KeyInfo {
                    name: $crate::units::table::plain(stringify!($field)),
                    doc: &[$($doc),+],
                    default: $crate::units::table::first(&[$($default)?]),
                    unset: $crate::units::table::first(&[$($unset)?]),
                    change: $crate::units::table::Change::$change,
                    shape: <$type as $crate::units::table::Field>::shape,
                }, )*
            ];

            fn read(
                view: &$crate::units::overlay::View<'_>,
                reader: &mut $crate::units::table::Reader<'_>,
            ) -> Self {
                reader.unknown_keys(view, Self::KEYS);
                Self {
                    $( $field: <$type as $crate::units::table::Field>::read(
                        view,
                        const { $crate::units::table::plain(stringify!($field)) },
                        reader,
                    ), )*
                }
            }

            fn fill(&mut self, base: &Self) {
                $( $crate::units::table::Field::fill(&mut self.$field, &base.$field); )*
            }

            fn show(&self, out: &mut $crate::units::table::Shower) {
                let mut infos = Self::KEYS.iter();
                $( if let Some(info) = infos.next() {
                    $crate::units::table::Field::show(&self.$field, info, out);
                } )*
            }

            fn is_blank(&self) -> bool {
                true $( && $crate::units::table::Field::is_blank(&self.$field) )*
            }
        }
    };
}
pub(crate) use table;

/// The name without the `r#` that a keyword needs in Rust.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

pub(crate) const fn first(texts: &[&'static str]) -> Option<&'static str> {
    match texts {
        [text, ..] => Some(text),
        [] => None,
    }
}
