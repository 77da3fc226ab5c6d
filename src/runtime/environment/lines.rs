//! The lines of `environment_files`: `NAME=value`, as `docker --env-file` and systemd take them.
//!
//! Blank lines and those that begin with `#` or `;` do not count; `export ` before a name is allowed. A value in quotes
//! ends at the closing one; in double quotes `\"`, `\\`, `\$` and `` \` `` stand for the character, in single quotes
//! nothing does. Without quotes the value is the rest of the line, without blanks at its ends. Nothing is expanded.

/// Reads `text`.
///
/// # Errors
/// The first line that is none of these, by its number; never its value, which may be a secret.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        all.push(pair(line).map_err(|why| format!("line {}: {why}", index + 1))?);
    }
    Ok(all)
}

fn pair(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').ok_or("there is no \"=\"")?;
    let name = name.trim_end();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_letter) {
        return Err("what is before \"=\" is no name of letters, digits and \"_\"");
    }
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&value[1..], quote)?,
        _ => value.to_owned(),
    };
    if value.contains('\0') { Err("there is a NUL in the value") } else { Ok((name.to_owned(), value)) }
}

/// Up to the closing `quote`, behind which nothing but a comment may come.
fn quoted(text: &str, quote: char) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == quote {
            let rest = letters.as_str().trim_start();
            let is_end = rest.is_empty() || rest.starts_with('#');
            return if is_end { Ok(value) } else { Err("there is more behind the closing quote") };
        }
        match (quote, letter) {
            ('"', '\\') => match letters.next() {
                Some(plain @ ('"' | '\\' | '$' | '`')) => value.push(plain),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            _ => value.push(letter),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_values_come_in_order() {
        let text = "# a comment\n\nA=1\nexport B = two words \n; another\nC=\nA=\"x # \\\"y\\\"\" # note\nD='a\\n$b'\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", ""), ("A", "x # \"y\""), ("D", "a\\n$b")];
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_its_value_is_not_shown() {
        for (text, why) in [
            ("A=1\nhunter2", "line 2: there is no \"=\""),
            ("1A=hunter2", "line 1: what is before \"=\" is no name"),
            ("A='hunter2", "line 1: a quote is not closed"),
            ("A='x' hunter2", "line 1: there is more behind the closing quote"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.starts_with(why) && !told.contains("hunter2"), "{told}");
        }
    }
}
