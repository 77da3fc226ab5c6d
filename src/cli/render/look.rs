//! Colours, and when there are any.
//!
//! Six tones from the terminal's own palette, so that it stays readable on dark and on light.

use std::borrow::Cow;

/// What a text means; how that looks is for [`Look`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Busy,
    Bad,
    /// One of the colours that tell units apart in a log.
    Unit(u8),
}

/// What the place where the text goes can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Look {
    /// Escape sequences are understood.
    pub(crate) colour: bool,
    /// How wide it is; `None`: no terminal.
    pub(crate) columns: Option<usize>,
    /// The cursor can be moved up, to draw again what is there.
    pub(crate) moves: bool,
}

impl Look {
    /// For a terminal of `columns`, or for none, by the usual variables: `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`.
    pub(crate) fn new(columns: Option<usize>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let smart = columns.is_some() && set("TERM").is_some_and(|term| term != "dumb");
        let forced = set("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let unwanted = set("NO_COLOR").is_some() || set("CLICOLOR").is_some_and(|value| value == "0");
        let colour = forced && set("NO_COLOR").is_none() || smart && !unwanted;
        Self { colour, columns, moves: smart }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.columns.is_some()
    }

    /// `text` in `tone`.
    pub(crate) fn paint<'a>(&self, tone: Tone, text: &'a str) -> Cow<'a, str> {
        let code = match tone {
            _ if !self.colour || text.is_empty() => return Cow::Borrowed(text),
            Tone::Plain => return Cow::Borrowed(text),
            Tone::Strong => "1".to_owned(),
            Tone::Faint => "2".to_owned(),
            Tone::Good => "32".to_owned(),
            Tone::Busy => "33".to_owned(),
            Tone::Bad => "31".to_owned(),
            // Cyan, blue, magenta, green, yellow: red is kept for what is wrong.
            Tone::Unit(number) => format!("3{}", [6, 4, 5, 2, 3][usize::from(number) % 5]),
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }

    /// `text` cut to what is left of the line beside `used` columns.
    pub(crate) fn fit<'a>(&self, used: usize, text: &'a str) -> Cow<'a, str> {
        match self.columns {
            Some(columns) => cut(text, columns.saturating_sub(used).max(8)),
            None => Cow::Borrowed(text),
        }
    }
}

/// At most `columns` characters of `text`, the last of them an ellipsis when some are left out.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.chars().count() <= columns {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    Cow::Owned(short)
}

/// What a state means.
pub(crate) fn tone_of_state(state: &str) -> Tone {
    match state {
        "ready" | "completed" | "scheduled" => Tone::Good,
        "waiting" | "starting" | "reloading" | "stopping" => Tone::Busy,
        "backoff" | "failed" => Tone::Bad,
        "inactive" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// What a health means.
pub(crate) fn tone_of_health(health: &str) -> Tone {
    match health {
        "pass" => Tone::Good,
        "warn" => Tone::Busy,
        "fail" => Tone::Bad,
        _ => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::Look;
    use super::Tone;
    use super::cut;

    fn look(columns: Option<usize>, set: &[(&str, &str)]) -> Look {
        let env =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Look::new(columns, &env)
    }

    #[test]
    fn colour_follows_the_usual_variables() {
        let on = |columns, set: &[(&str, &str)]| look(columns, set).colour;
        assert!(on(Some(80), &[("TERM", "xterm")]));
        assert!(!on(None, &[("TERM", "xterm")]));
        assert!(!on(Some(80), &[("TERM", "dumb")]));
        assert!(!on(Some(80), &[("TERM", "xterm"), ("NO_COLOR", "1")]));
        assert!(on(Some(80), &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!on(Some(80), &[("TERM", "xterm"), ("CLICOLOR", "0")]));
        assert!(on(None, &[("CLICOLOR_FORCE", "1")]));
        assert!(!on(None, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn what_is_not_coloured_has_no_escape_sequences() {
        assert_eq!(look(Some(80), &[]).paint(Tone::Bad, "x"), "x");
        assert_eq!(look(Some(80), &[("TERM", "xterm")]).paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abcd efg", 6), "abcd…");
    }
}
