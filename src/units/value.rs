//! The kinds of values that keys have: how each is read from TOML, shown as TOML, and called in a message.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each kind of value picks the kinds of TOML it is written in; any other, also one to come, is refused"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::units::capability;
use crate::units::cron::Cron;
use crate::units::expand::escape;
use crate::units::name::UnitName;
use crate::units::problem::quoted;
use crate::units::quantity::{parse_duration, parse_size, print_duration, print_size};
use crate::units::source::Place;
use crate::units::spec::{Argv, EnvironmentFile, Forward, HostPort, HttpUrl, OnFailure, SignalName, Zone};
use crate::units::table::{Bad, Item, Reader, Shape, Value, toml_string};
use crate::units::words;

/// `text` as a TOML string that expands to `text`.
fn shown(text: &str) -> String {
    toml_string(&escape(text))
}

/// The text of `item` with its variables filled in; `None` when it is no text (nothing noted) or wrong (noted).
fn expanded(item: Item<'_>, reader: &mut Reader<'_>) -> Result<Option<String>, ()> {
    match item.value {
        DeValue::String(text) => reader.expand(item.at, text).map(Some).ok_or(()),
        _ => Ok(None),
    }
}

/// What is wrong with `text` at `item`, where variables had been filled in.
fn wrong_text<T: Value>(item: Item<'_>, text: &str, bad: Bad, reader: &mut Reader<'_>) {
    let value = DeValue::String(text.into());
    reader.wrong(Item { at: item.at, value: &value }, &T::shape(), bad);
}

/// `true`, `false`, or text with a variable that becomes one of them. In all kinds of numbers likewise.
impl Value for bool {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Boolean(yes) = item.value {
            return Some(*yes);
        }
        from_variable(item, reader, |text| text.parse().ok())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn shape() -> Shape {
        Shape::Bool
    }
}

/// Reads text that held a variable as what is no text.
fn from_variable<T: Value>(
    item: Item<'_>,
    reader: &mut Reader<'_>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    if let DeValue::String(text) = item.value
        && text.contains("${")
    {
        let text = reader.expand(item.at, text)?;
        let value = parse(&text);
        if value.is_none() {
            wrong_text::<T>(item, &text, Bad::default(), reader);
        }
        return value;
    }
    let help = match item.value {
        DeValue::String(text) if parse(text).is_some() => Some(format!("write {text} without quotes")),
        _ => None,
    };
    reader.wrong(item, &T::shape(), Bad::help(help));
    None
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Value for Int<MIN, MAX> {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let within = |number: i64| (MIN..=MAX).contains(&number).then_some(Self(number));
        if let DeValue::Integer(number) = item.value {
            let value = i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(within);
            if value.is_none() {
                reader.wrong(item, &Self::shape(), Bad::default());
            }
            return value;
        }
        from_variable(item, reader, |text| text.parse().ok().and_then(within))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn shape() -> Shape {
        Shape::Integer(MIN, MAX)
    }
}

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    /// As another type, which `MIN` and `MAX` fit into; else its largest.
    pub fn to<T: TryFrom<i64> + Bounded>(self) -> T {
        T::try_from(self.0).unwrap_or(T::LARGEST)
    }
}

/// A type of number with a largest one.
pub trait Bounded {
    /// It.
    const LARGEST: Self;
}

impl Bounded for u8 {
    const LARGEST: Self = Self::MAX;
}
impl Bounded for u32 {
    const LARGEST: Self = Self::MAX;
}
impl Bounded for i32 {
    const LARGEST: Self = Self::MAX;
}

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<const MIN: i32, const MAX: i32>(pub f64);

impl<const MIN: i32, const MAX: i32> Value for Number<MIN, MAX> {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let parse = |text: &str| {
            let number: f64 = text.parse().ok()?;
            (f64::from(MIN)..=f64::from(MAX)).contains(&number).then_some(Self(number))
        };
        let value = match item.value {
            DeValue::Float(number) => parse(number.as_str()),
            DeValue::Integer(number) if number.radix() == 10 => parse(number.as_str()),
            _ => return from_variable(item, reader, parse),
        };
        if value.is_none() {
            reader.wrong(item, &Self::shape(), Bad::default());
        }
        value
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }

    fn shape() -> Shape {
        Shape::Number(i64::from(MIN), i64::from(MAX))
    }
}

/// Any text.
impl Value for String {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match expanded(item, reader) {
            Ok(Some(text)) => Some(text),
            Ok(None) => {
                let help = match item.value {
                    DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                        Some(format!("write \"{}\"", item.found()))
                    }
                    _ => None,
                };
                reader.wrong(item, &Self::shape(), Bad::help(help));
                None
            }
            Err(()) => None,
        }
    }

    fn show(&self) -> String {
        shown(self)
    }

    fn shape() -> Shape {
        Shape::Text("text", None)
    }
}

/// A value that is written as one text.
pub trait Word: Sized + Clone {
    /// "a duration like "10s"".
    const EXPECTED: &'static str;
    /// What a schema may ask of it.
    const PATTERN: Option<&'static str> = None;
    /// Reads the text, variables filled in.
    fn parse(text: &str) -> Result<Self, Bad>;
    /// So that it is read again.
    fn print(&self) -> String;
    /// Reads what is written without quotes.
    fn parse_bare(_number: i64) -> Option<Self> {
        None
    }
    /// What to write instead of something that is no text.
    fn help_bare(_number: i64) -> Option<String> {
        None
    }
}

impl<T: Word> Value for T {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match expanded(item, reader) {
            Ok(Some(text)) => match T::parse(&text) {
                Ok(value) => Some(value),
                Err(bad) => {
                    wrong_text::<T>(item, &text, bad, reader);
                    None
                }
            },
            Ok(None) => {
                let number = match item.value {
                    DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
                    _ => None,
                };
                let value = number.and_then(T::parse_bare);
                if value.is_none() {
                    reader.wrong(item, &T::shape(), Bad::help(number.and_then(T::help_bare)));
                }
                value
            }
            Err(()) => None,
        }
    }

    fn show(&self) -> String {
        shown(&self.print())
    }

    fn shape() -> Shape {
        let text = Shape::Text(T::EXPECTED, T::PATTERN);
        // Which bare numbers are taken is a question of the type, not of the number, but for zero.
        match (T::parse_bare(0).is_some(), T::parse_bare(1).is_some()) {
            (true, true) => Shape::Any(vec![Shape::Integer(0, i64::MAX), text]),
            (true, false) => Shape::Any(vec![text, Shape::Integer(0, 0)]),
            (false, _) => text,
        }
    }
}

/// Longest duration: a year. What is longer was not meant, and times must not overflow.
const DURATION_MAX_MS: u64 = 365 * 86_400_000;

/// A duration of at least `MIN_MS` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting<const MIN_MS: u64 = 0>(pub Duration);

impl<const MIN_MS: u64> Word for Lasting<MIN_MS> {
    const EXPECTED: &'static str = "a duration like \"10s\"";
    const PATTERN: Option<&'static str> = Some(r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d|w))+$|^0$");

    fn parse(text: &str) -> Result<Self, Bad> {
        let duration = parse_duration(text).map_err(|why| Bad { why, help: None })?;
        let min = Duration::from_millis(MIN_MS);
        if duration < min {
            return Err(Bad::why(format!("the least is {}", print_duration(min))));
        }
        if duration > Duration::from_millis(DURATION_MAX_MS) {
            return Err(Bad::why("the most is 365d"));
        }
        Ok(Self(duration))
    }

    fn print(&self) -> String {
        print_duration(self.0)
    }

    fn help_bare(number: i64) -> Option<String> {
        (number >= 0).then(|| format!("write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"))
    }
}

/// A size of at least `MIN` bytes; bare 0 is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64 = 0>(pub u64);

impl<const MIN: u64> Word for Size<MIN> {
    const EXPECTED: &'static str = "a size like \"64M\"";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?([KMGTkmgt]([iI]?[bB])?|[bB])$|^0$");

    fn parse(text: &str) -> Result<Self, Bad> {
        let size = parse_size(text).map_err(|why| Bad { why, help: None })?;
        if size < MIN {
            return Err(Bad::why(format!("the least is {}", print_size(MIN))));
        }
        // What the kernel and a file offset can hold.
        if size > i64::MAX.unsigned_abs() {
            return Err(Bad::why("that is too much"));
        }
        Ok(Self(size))
    }

    fn print(&self) -> String {
        print_size(self.0)
    }

    fn parse_bare(number: i64) -> Option<Self> {
        (number == 0 && MIN == 0).then_some(Self(0))
    }

    fn help_bare(number: i64) -> Option<String> {
        (number >= 0).then(|| format!("write \"{number}B\" for bytes or \"{number}M\" for mebibytes"))
    }
}

/// A process limit: a number, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl Word for Count {
    const EXPECTED: &'static str = "\"unlimited\"";
    const PATTERN: Option<&'static str> = Some("^(unlimited|[0-9]+)$");

    fn parse(text: &str) -> Result<Self, Bad> {
        match text {
            "unlimited" => Ok(Self(u64::MAX)),
            text => text.parse::<u32>().map(|n| Self(n.into())).map_err(|_| Bad::default()),
        }
    }

    fn print(&self) -> String {
        if self.0 == u64::MAX { "unlimited".to_owned() } else { self.0.to_string() }
    }

    fn parse_bare(number: i64) -> Option<Self> {
        u32::try_from(number).ok().map(|n| Self(n.into()))
    }
}

/// A size as a process limit, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimit(pub u64);

impl Word for SizeLimit {
    const EXPECTED: &'static str = "a size like \"64M\", \"unlimited\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text == "unlimited" { Ok(Self(u64::MAX)) } else { Size::<0>::parse(text).map(|size| Self(size.0)) }
    }

    fn print(&self) -> String {
        if self.0 == u64::MAX { "unlimited".to_owned() } else { print_size(self.0) }
    }

    fn parse_bare(number: i64) -> Option<Self> {
        (number == 0).then_some(Self(0))
    }
}

/// Lines a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u32);

impl Word for Rate {
    const EXPECTED: &'static str = "a number of lines a second like \"100\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+$");

    fn parse(text: &str) -> Result<Self, Bad> {
        text.parse().map(Self).map_err(|_| Bad::default())
    }

    fn print(&self) -> String {
        self.0.to_string()
    }

    fn parse_bare(number: i64) -> Option<Self> {
        u32::try_from(number).ok().map(Self)
    }
}

/// An absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(pub PathBuf);

impl Word for AbsolutePath {
    const EXPECTED: &'static str = "an absolute path";
    const PATTERN: Option<&'static str> = Some("^/");

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.starts_with('/') { Ok(Self(text.into())) } else { Err(Bad::why("it begins with \"/\"")) }
    }

    fn print(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Word for EnvironmentFile {
    const EXPECTED: &'static str = "an absolute path, \"-\" before it if the file may be missing";
    const PATTERN: Option<&'static str> = Some("^-?/");

    fn parse(text: &str) -> Result<Self, Bad> {
        let (path, may_be_missing) = text.strip_prefix('-').map_or((text, false), |path| (path, true));
        Ok(Self { path: AbsolutePath::parse(path)?.0, may_be_missing })
    }

    fn print(&self) -> String {
        format!("{}{}", if self.may_be_missing { "-" } else { "" }, self.path.to_string_lossy())
    }
}

/// One line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(pub String);

impl Word for Owner {
    const EXPECTED: &'static str = "a name or number like \"app\" or \"1000\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.is_empty() || text.contains([':', '/', '\n', ' ']) {
            return Err(Bad::default());
        }
        // 4294967295 is -1 to the kernel: "leave it as it is", so root would stay root.
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.parse::<u32>().is_ok_and(|id| id != u32::MAX) {
            return Err(Bad::why("numbers go from 0 to 4294967294"));
        }
        Ok(Self(text.to_owned()))
    }

    fn print(&self) -> String {
        self.0.clone()
    }

    fn help_bare(number: i64) -> Option<String> {
        Some(format!("write \"{number}\""))
    }
}

/// A file mode creation mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Word for Umask {
    const EXPECTED: &'static str = "octal digits like \"022\"";
    const PATTERN: Option<&'static str> = Some("^0?[0-7]{3}$");

    fn parse(text: &str) -> Result<Self, Bad> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| b.is_ascii_digit());
        let mask = if octal { u32::from_str_radix(text, 8).ok() } else { None };
        mask.filter(|mask| *mask <= 0o777).map(Self).ok_or_else(Bad::default)
    }

    fn print(&self) -> String {
        format!("{:03o}", self.0)
    }
}

/// The mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Word for Mode {
    const EXPECTED: &'static str = "octal digits like \"0660\"";
    const PATTERN: Option<&'static str> = Umask::PATTERN;

    fn parse(text: &str) -> Result<Self, Bad> {
        <Umask as Word>::parse(text).map(|mode| Self(mode.0))
    }

    fn print(&self) -> String {
        format!("{:04o}", self.0)
    }
}

/// Percent of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Word for Percent {
    const EXPECTED: &'static str = "percent of one CPU like \"150%\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+%$");

    fn parse(text: &str) -> Result<Self, Bad> {
        let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
        number.filter(|percent| (1..=100_000).contains(percent)).map(Self).ok_or_else(Bad::default)
    }

    fn print(&self) -> String {
        format!("{}%", self.0)
    }

    fn help_bare(number: i64) -> Option<String> {
        (number > 0).then(|| format!("write \"{number}%\""))
    }
}

impl Word for SignalName {
    const EXPECTED: &'static str = "a signal like \"SIGTERM\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).map_err(Bad::help)
    }

    fn print(&self) -> String {
        format!("SIG{}", self.0)
    }

    fn help_bare(_number: i64) -> Option<String> {
        Some("write its name: numbers differ between machines".to_owned())
    }
}

/// A capability, by name without `CAP_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability(pub String);

impl Word for Capability {
    const EXPECTED: &'static str = "a capability like \"NET_BIND_SERVICE\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        capability::parse(text).map(Self).map_err(Bad::help)
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

impl Word for UnitName {
    const EXPECTED: &'static str = "the name of a unit";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::plain(text).map_err(|why| match Self::new(text) {
            // Which of several there are changes; that there are some does not.
            Ok(instance) => Bad {
                why: Some("one of several instances cannot be named here".to_owned()),
                help: Some(format!("write \"{}\", which means all of them", instance.parts().0)),
            },
            Err(_) => Bad {
                why: Some(why),
                help: text.strip_suffix(".toml").map(|name| format!("write \"{name}\"")),
            },
        })
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Word for HostPort {
    const EXPECTED: &'static str = "an address like \"database:3306\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).map_err(Bad::why)
    }

    fn print(&self) -> String {
        self.to_string()
    }

    fn help_bare(number: i64) -> Option<String> {
        (number > 0).then(|| format!("write \"127.0.0.1:{number}\""))
    }
}

impl Word for HttpUrl {
    const EXPECTED: &'static str = "an address like \"http://127.0.0.1:8000/health\"";
    const PATTERN: Option<&'static str> = Some("^http://");

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).map_err(Bad::why)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Word for Cron {
    const EXPECTED: &'static str = "five fields of time like \"0 3 * * *\"";
    const PATTERN: Option<&'static str> = Some(r"^\s*(@[a-zA-Z]+|(\S+\s+){4}\S+)\s*$");

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text)
    }

    fn print(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Word for Zone {
    const EXPECTED: &'static str = "a time zone like \"UTC\", \"local\", \"Europe/Zurich\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        Self::parse(text).ok_or_else(Bad::default)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// A regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Word for Pattern {
    const EXPECTED: &'static str = "a regular expression";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.is_empty() {
            return Err(Bad::why("the empty one matches every line"));
        }
        regex_lite::RegexBuilder::new(text)
            .size_limit(1 << 20)
            .build()
            .map(|_| Self(text.to_owned()))
            .map_err(|error| Bad::why(error.to_string()))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// `"off"` or an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl Word for Listen {
    const EXPECTED: &'static str = "an address and port like \"0.0.0.0:9500\", or \"off\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|at| Self(Some(at))).map_err(|_| {
            let port = text.strip_prefix(':').unwrap_or(text);
            Bad::help(
                port.parse::<u16>().ok().map(|port| format!("write \"0.0.0.0:{port}\" for every address")),
            )
        })
    }

    fn print(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |at| at.to_string())
    }
}

impl Value for Forward {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let parse = |text: &str| match text {
            "true" => Some(Self::Yes),
            "false" => Some(Self::No),
            "inherit" => Some(Self::Inherit),
            _ => None,
        };
        match item.value {
            DeValue::Boolean(true) => Some(Self::Yes),
            DeValue::Boolean(false) => Some(Self::No),
            DeValue::String(text) if text == "inherit" => Some(Self::Inherit),
            _ => from_variable(item, reader, parse),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Inherit => "\"inherit\"",
        }
        .to_owned()
    }

    fn shape() -> Shape {
        Shape::Any(vec![Shape::Bool, Shape::OneOf(vec!["inherit"])])
    }
}

/// An enum of which each variant has one word.
pub trait Words: Copy + PartialEq + 'static {
    /// The words, in the order they are told.
    const ALL: &'static [(&'static str, Self)];
}

/// One of the words of `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<E>(pub E);

impl<E: Words> Value for Choice<E> {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Ok(text) = expanded(item, reader) else { return None };
        let found = text.as_deref().and_then(|text| E::ALL.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            match text {
                Some(text) => {
                    let hint = reader.hint(&text, E::ALL.iter().map(|(word, _)| *word));
                    wrong_text::<Self>(item, &text, Bad::help(hint), reader);
                }
                None => reader.wrong(item, &Self::shape(), Bad::default()),
            }
        }
        found.map(|(_, value)| Self(*value))
    }

    fn show(&self) -> String {
        let word = E::ALL.iter().find(|(_, value)| *value == self.0).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }

    fn shape() -> Shape {
        Shape::OneOf(E::ALL.iter().map(|(word, _)| *word).collect())
    }
}

/// A command: a list of arguments, or text that is split into words.
impl Value for Argv {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let words = match item.value {
            DeValue::String(text) => command_words(item.at, text, reader)?,
            DeValue::Array(_) => List::<String>::read(item, reader)?.into_values(),
            _ => {
                reader.wrong(item, &Self::shape(), Bad::default());
                return None;
            }
        };
        match words.first() {
            None => reader.error(item.at, "the command is empty"),
            Some(program) if program.is_empty() => reader.error(item.at, "the name of the program is empty"),
            Some(_) => return Some(Self(words)),
        }
        None
    }

    fn show(&self) -> String {
        format!("[{}]", self.0.iter().map(|word| shown(word)).collect::<Vec<_>>().join(", "))
    }

    fn shape() -> Shape {
        Shape::Any(vec![
            Shape::Text("a command as text", Some(r"\S")),
            Shape::List(Box::new(Shape::Text("one argument", None))),
        ])
    }
}

/// Splits first and expands each word after, so that a variable never becomes two arguments.
fn command_words(at: Place, text: &str, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    match words::split(text) {
        Ok(words) => {
            let expanded: Vec<Option<String>> = words.iter().map(|word| reader.expand(at, word)).collect();
            expanded.into_iter().collect()
        }
        Err(why) => {
            reader.error(at, format!("cannot split this into words: {why}"));
            None
        }
    }
}

/// A list of commands. A text that begins with `-` is an argument whose brackets were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Commands(pub Vec<Argv>);

impl Value for Commands {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let list = List::<Argv>::read(item, reader)?;
        if let Some((_, at)) = list.0.iter().find(|(argv, _)| argv.0[0].starts_with('-')) {
            let message = "each item of this list is a command of its own, and no program begins with \"-\"";
            reader.error_with_help(
                *at,
                message,
                "one command of several words is [[\"nginx\", \"-t\"]] or [\"nginx -t\"]",
            );
            return None;
        }
        Some(Self(list.into_values()))
    }

    fn show(&self) -> String {
        format!("[{}]", self.0.iter().map(Value::show).collect::<Vec<_>>().join(", "))
    }

    fn shape() -> Shape {
        List::<Argv>::shape()
    }
}

/// A list whose items know their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<(T, Place)>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    /// The items alone.
    pub fn into_values(self) -> Vec<T> {
        self.0.into_iter().map(|(value, _)| value).collect()
    }

    /// Items that stand nowhere.
    pub fn of(values: impl IntoIterator<Item = T>) -> Self {
        Self(values.into_iter().map(|value| (value, Place::whole(usize::MAX))).collect())
    }
}

impl<T: Value> Value for List<T> {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(array) = item.value else {
            let help = match item.value {
                DeValue::String(text) => Some(format!("write [{}]", quoted(text))),
                DeValue::Integer(_) => Some(format!("write [{}]", item.found())),
                _ => None,
            };
            reader.wrong(item, &Self::shape(), Bad::help(help));
            return None;
        };
        // All of them, so that every one that is wrong is noted.
        let items: Vec<Option<(T, Place)>> = array
            .iter()
            .map(|value| {
                let item = Item::new(item.at.source, value);
                T::read(item, reader).map(|value| (value, item.at))
            })
            .collect();
        items.into_iter().collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        format!("[{}]", self.0.iter().map(|(value, _)| value.show()).collect::<Vec<_>>().join(", "))
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}

impl Value for OnFailure {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::String(text) = item.value
            && let Some(command) = text.strip_prefix("exec:")
        {
            let words = command_words(item.at, command, reader)?;
            if words.first().is_none_or(String::is_empty) {
                reader.error(item.at, "after \"exec:\" comes a command");
                return None;
            }
            return Some(Self::Exec(Argv(words)));
        }
        let Ok(text) = expanded(item, reader) else { return None };
        let Some(text) = text else {
            reader.wrong(item, &Self::shape(), Bad::default());
            return None;
        };
        if let Some(signal) = text.strip_prefix("signal:") {
            return match SignalName::parse(signal) {
                Ok(signal) => Some(Self::Signal(signal)),
                Err(help) => {
                    let at = reader.narrow(item.at, signal);
                    reader.note(
                        at,
                        crate::units::problem::Severity::Error,
                        format!("no such signal: {}", quoted(signal)),
                        help,
                    );
                    None
                }
            };
        }
        let known = [
            ("restart", Self::Restart),
            ("reload", Self::Reload),
            ("shutdown", Self::Shutdown),
            ("none", Self::None),
        ];
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let hint = reader.hint(&text, known.iter().map(|(word, _)| *word));
        wrong_text::<Self>(item, &text, Bad::help(hint), reader);
        None
    }

    fn show(&self) -> String {
        match self {
            Self::Restart => "\"restart\"".to_owned(),
            Self::Reload => "\"reload\"".to_owned(),
            Self::Shutdown => "\"shutdown\"".to_owned(),
            Self::None => "\"none\"".to_owned(),
            Self::Signal(signal) => format!("\"signal:SIG{}\"", signal.0),
            // Single quotes keep everything but themselves and the dollar, which becomes "$$" by quoting.
            Self::Exec(argv) => {
                let words: Vec<String> =
                    argv.0.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
                toml_string(&format!("exec:{}", words.join(" ")))
            }
        }
    }

    fn shape() -> Shape {
        Shape::Any(vec![
            Shape::OneOf(vec!["restart", "reload", "shutdown", "none"]),
            Shape::Text("\"signal:NAME\"", Some("^signal:")),
            Shape::Text("\"exec:COMMAND\"", Some("^exec:")),
        ])
    }
}
