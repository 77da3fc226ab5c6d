//! A command written as one string, split into words. No shell: no wildcards, no `;`, no `|`, no `$(...)`.

/// Splits `text` into words: blanks part them, quotes and backslashes keep them together.
///
/// Within single quotes everything stands for itself; within double quotes `\` keeps its meaning before `"`, `\` and
/// `$` only. The words are still to be expanded, each by itself, so `${...}` is left as it is, blanks within included;
/// a dollar that was written `\$`, or within single quotes, comes out as `$$`, which expansion makes a dollar again.
///
/// # Errors
/// What is missing at the end: a quote, or what a backslash belongs to.
pub fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut next = &rest[c.len_utf8()..];
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let end = next.find('\'').ok_or("a single quote is not closed")?;
                word.get_or_insert_default().push_str(&next[..end].replace('$', "$$"));
                next = &next[end + 1..];
            }
            '"' => next = double_quoted(next, word.get_or_insert_default())?,
            // A line that goes on, as in a shell.
            '\\' if next.starts_with('\n') => next = &next[1..],
            '\\' => next = escaped(next, word.get_or_insert_default())?,
            '$' => next = dollar(rest, word.get_or_insert_default()),
            c => word.get_or_insert_default().push(c),
        }
        rest = next;
    }
    words.extend(word);
    Ok(words)
}

/// Takes up to and with the closing quote.
fn double_quoted<'a>(text: &'a str, word: &mut String) -> Result<&'a str, &'static str> {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let next = &rest[c.len_utf8()..];
        rest = match c {
            '"' => return Ok(next),
            '\\' if next.starts_with(['"', '\\', '$']) => escaped(next, word)?,
            '$' => dollar(rest, word),
            c => {
                word.push(c);
                next
            }
        };
    }
    Err("a double quote is not closed")
}

fn escaped<'a>(text: &'a str, word: &mut String) -> Result<&'a str, &'static str> {
    let c = text.chars().next().ok_or("nothing follows the backslash at the end")?;
    match c {
        '$' => word.push_str("$$"),
        c => word.push(c),
    }
    Ok(&text[c.len_utf8()..])
}

/// Takes a whole `${...}` or `$$`, or the dollar alone.
fn dollar<'a>(text: &'a str, word: &mut String) -> &'a str {
    let length = match text.as_bytes() {
        [b'$', b'{', ..] => crate::units::expand::reference_len(text).unwrap_or(text.len()),
        [b'$', b'$', ..] => 2,
        _ => 1,
    };
    let (reference, rest) = text.split_at(length);
    word.push_str(reference);
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::split;

    #[test]
    fn blanks_part_words_and_quotes_keep_them() {
        assert_eq!(split("nginx -g  'daemon off;'").unwrap(), ["nginx", "-g", "daemon off;"]);
        assert_eq!(split(r#"a "b \"c\" \n" d\ e ''"#).unwrap(), ["a", r#"b "c" \n"#, "d e", ""]);
        assert_eq!(split("a=\"x y\"'z'").unwrap(), ["a=x yz"]);
        assert_eq!(split("one \\\n  two\n\tthree").unwrap(), ["one", "two", "three"]);
        assert!(split(" \t ").unwrap().is_empty());
    }

    #[test]
    fn a_reference_is_one_piece_and_a_quoted_dollar_none() {
        assert_eq!(split("run ${ARGS:-a b} x").unwrap(), ["run", "${ARGS:-a b}", "x"]);
        assert_eq!(
            split(r#"sh -c 'echo ${X}' \${Y} "\${Z} ${W}""#).unwrap(),
            ["sh", "-c", "echo $${X}", "$${Y}", "$${Z} ${W}"]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(split("a 'b").unwrap_err(), "a single quote is not closed");
        assert_eq!(split("a \"b").unwrap_err(), "a double quote is not closed");
        assert_eq!(split("a \\").unwrap_err(), "nothing follows the backslash at the end");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r#"['"\\$\{\} a\PC]{0,40}"#) {
            let _ = split(&text);
        }

        #[test]
        fn single_quotes_keep_everything(words in proptest::collection::vec("[^'$]{0,10}", 1..5)) {
            let text: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&text.join(" ")).unwrap(), words);
        }
    }
}
