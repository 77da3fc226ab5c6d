//! What svinit says about itself and its units, in the same stream as theirs.
//!
//! Never through `println!` or the `fmt` layer of `tracing-subscriber`: both panic when stdout is full or gone.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::logs::writer::Writer;
use crate::units::name::UnitName;
use crate::units::spec::LogLevel;

/// svinit's own voice. Cheap to clone, works from any thread, never blocks, never panics.
#[derive(Clone)]
pub struct Own {
    writer: Writer,
    level: LogLevel,
}

impl Own {
    /// A voice that says what is at least as grave as `level`.
    #[must_use]
    pub fn new(writer: &Writer, level: LogLevel) -> Self {
        Self { writer: writer.clone(), level }
    }

    /// Says `text`, about `unit` or about svinit itself.
    pub fn say(&self, unit: Option<&UnitName>, level: LogLevel, text: &str) {
        self.say_about(unit.map(UnitName::as_str), level, text);
    }

    /// What `tracing::info!` and its like are sent through: `tracing_subscriber::registry().with(own.layer()).init()`.
    /// A field `unit` names the unit it is about.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        OwnLayer(self.clone())
    }

    /// As [`Own::say`], but the line may wait until the driver has done its turn: nobody is woken for it.
    pub(super) fn say_in_turn(&self, unit: Option<&UnitName>, level: LogLevel, text: &str) {
        if level <= self.level {
            self.writer.say(unit.map(UnitName::as_str), level, text);
        }
    }

    fn say_about(&self, unit: Option<&str>, level: LogLevel, text: &str) {
        if level <= self.level {
            self.writer.say(unit, level, text);
            self.writer.wake();
        }
    }
}

struct OwnLayer(Own);

impl<S: Subscriber> Layer<S> for OwnLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_of(*metadata.level()) <= self.0.level && *metadata.level() != Level::TRACE
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let text = words.message + &words.fields;
        self.0.say_about(words.unit.as_deref(), level_of(*event.metadata().level()), &text);
    }
}

/// The message, then the other fields as ` name=value`.
#[derive(Default)]
struct Words {
    unit: Option<String>,
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "unit" => self.unit = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String fails only when a Debug of somebody else does; then that field is missing.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "unit" => {
                self.unit = Some(format!("{value:?}"));
                Ok(())
            }
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

#[cfg(test)]
mod tests;
