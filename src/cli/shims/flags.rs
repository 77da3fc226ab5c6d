//! A command line of another tool: words and flags in any order, as those tools read them.

/// A flag that is understood, or passed over because it changes nothing here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// How it is written, the name to ask for it by first.
    pub(super) names: &'static [&'static str],
    /// It is followed by a value.
    pub(super) takes_value: bool,
}

/// One that stands alone.
pub(super) const fn switch(names: &'static [&'static str]) -> Flag {
    Flag { names, takes_value: false }
}

/// One that has a value.
pub(super) const fn valued(names: &'static [&'static str]) -> Flag {
    Flag { names, takes_value: true }
}

/// A command line in two heaps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// What is no flag, in order.
    pub(super) words: Vec<String>,
    given: Vec<(&'static str, String)>,
}

impl Line {
    /// Reads `args`.
    ///
    /// # Errors
    /// The flag that nobody knows, or that lacks its value.
    pub(super) fn read(args: Vec<String>, known: &[Flag]) -> Result<Self, String> {
        let mut line = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                line.words.extend(args);
                break;
            }
            if !arg.starts_with('-') || arg == "-" {
                line.words.push(arg);
                continue;
            }
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg.clone(), None),
            };
            line.take(&name, value, known, &mut args)?;
        }
        Ok(line)
    }

    fn take(
        &mut self,
        name: &str,
        value: Option<String>,
        known: &[Flag],
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        if let Some(flag) = known.iter().find(|flag| flag.names.contains(&name)) {
            let value = match (flag.takes_value, value) {
                (true, Some(value)) => value,
                (true, None) => rest.next().ok_or_else(|| format!("option {name} wants a value"))?,
                (false, _) => String::new(),
            };
            self.given.push((flag.names[0], value));
            return Ok(());
        }
        // `-n20` and `-aq`: a short flag with its value, or several in one word.
        let mut letters = name.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or("").chars();
        let Some(first) = letters.next() else { return Err(format!("unknown option {name}")) };
        let short = format!("-{first}");
        let Some(flag) = known.iter().find(|flag| flag.names.contains(&short.as_str())) else {
            return Err(format!("unknown option {name}"));
        };
        let more: String = letters.collect();
        if more.is_empty() {
            return Err(format!("unknown option {name}"));
        }
        if flag.takes_value {
            self.given.push((flag.names[0], more));
            return Ok(());
        }
        self.given.push((flag.names[0], String::new()));
        self.take(&format!("-{more}"), value, known, rest)
    }

    /// Whether the flag with this first name was there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value of the flag with this first name, the last one given.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// All values of the flag with this first name, split at commas.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let all = self.given.iter().filter(|(given, _)| *given == name);
        all.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use super::switch;
    use super::valued;

    fn read(line: &str) -> Result<Line, String> {
        let known = [switch(&["--quiet", "-q"]), switch(&["--all", "-a"]), valued(&["--lines", "-n"])];
        Line::read(line.split(' ').map(str::to_owned).collect(), &known)
    }

    #[test]
    fn flags_may_stand_anywhere_and_in_one_word() {
        let line = read("-q status web -n 20").unwrap();
        assert_eq!(line.words, ["status", "web"]);
        assert!(line.has("--quiet") && !line.has("--all"));
        assert_eq!(line.value("--lines"), Some("20"));
        assert!(read("-aq status").unwrap().has("--quiet"));
        assert_eq!(read("-n20 a").unwrap().value("--lines"), Some("20"));
        assert_eq!(read("-qn20 a").unwrap().value("--lines"), Some("20"));
        assert_eq!(read("--lines=3 -n 4").unwrap().values("--lines"), ["3", "4"]);
        assert_eq!(read("a -- -q").unwrap().words, ["a", "-q"]);
    }

    #[test]
    fn a_flag_that_nobody_knows_is_named() {
        assert_eq!(read("--force web").unwrap_err(), "unknown option --force");
        assert_eq!(read("-x").unwrap_err(), "unknown option -x");
        assert_eq!(read("-qx").unwrap_err(), "unknown option -x");
        assert_eq!(read("--lines").unwrap_err(), "option --lines wants a value");
    }
}
