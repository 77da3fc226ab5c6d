//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$`, within one string.
//!
//! What comes out is never split or expanded again: a variable that holds `; rm -rf /` or `${OTHER}` is that text, and
//! stays within the one argument it was written in. A dollar before anything but `{` or `$` is a dollar, so regular
//! expressions and shell snippets can be written as they are.

use std::borrow::Cow;

/// Bytes that one string may grow to: many references to one long variable could otherwise use up all memory.
pub const EXPANDED_MAX: usize = 1 << 20;

/// Defaults within defaults at most.
const DEPTH_MAX: usize = 8;

/// A string with its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded<'a> {
    /// What it became.
    pub text: Cow<'a, str>,
    /// The names of variables that are not set and for which nothing else was given, so they became nothing.
    pub unset: Vec<&'a str>,
}

/// Why a string cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The reference that is at fault, as it was written.
    pub snippet: &'a str,
    /// What is wrong.
    pub message: String,
    /// The form is sound; the environment lacks what it asks for.
    pub is_unset: bool,
}

/// Fills in the variables of `text` from `env`.
///
/// # Errors
/// The first reference that is malformed, or that insists on a variable that is not set.
pub fn expand<'a>(text: &'a str, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded<'a>, Fault<'a>> {
    if !text.contains('$') {
        return Ok(Expanded { text: Cow::Borrowed(text), unset: Vec::new() });
    }
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    fill(text, env, DEPTH_MAX, &mut out, &mut unset)?;
    Ok(Expanded { text: Cow::Owned(out), unset })
}

/// `text` written so that expanding it gives `text` again.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.contains('$') { Cow::Owned(text.replace('$', "$$")) } else { Cow::Borrowed(text) }
}

fn fill<'a>(
    text: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: &mut String,
    unset: &mut Vec<&'a str>,
) -> Result<(), Fault<'a>> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("${") {
            let length = reference_len(rest).ok_or_else(|| fault(rest, "this \"${\" has no \"}\""))?;
            let (snippet, after) = rest.split_at(length);
            reference(snippet, env, depth, out, unset)?;
            rest = after;
        } else {
            out.push('$');
            rest = rest.strip_prefix("$$").unwrap_or(&rest[1..]);
        }
        within_bound(out, text)?;
    }
    out.push_str(rest);
    within_bound(out, text)
}

fn within_bound<'a>(out: &str, text: &'a str) -> Result<(), Fault<'a>> {
    if out.len() <= EXPANDED_MAX {
        return Ok(());
    }
    Err(fault(text, &format!("with its variables filled in, this is longer than {EXPANDED_MAX} bytes")))
}

fn fault<'a>(snippet: &'a str, message: &str) -> Fault<'a> {
    Fault { snippet, message: message.to_owned(), is_unset: false }
}

/// Length of the `${...}` at the beginning of `text`, which may hold others within.
pub(crate) fn reference_len(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'$', b'{', ..] => {
                depth += 1;
                at += 2;
            }
            [b'}', ..] => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Fills in one `${...}`.
fn reference<'a>(
    snippet: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: &mut String,
    unset: &mut Vec<&'a str>,
) -> Result<(), Fault<'a>> {
    let inner = &snippet[2..snippet.len() - 1];
    let name_len = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, form) = inner.split_at(name_len);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(fault(snippet, "after \"${\" comes the name of a variable; a dollar as such is \"$$\""));
    }
    let value = env(name);
    if form.is_empty() {
        match value {
            Some(value) => out.push_str(&value),
            None => unset.push(name),
        }
        return Ok(());
    }
    // As in a shell, the forms with a colon take an empty variable for one that is not set.
    let value = value.filter(|value| !value.is_empty());
    match (form.strip_prefix(":-"), form.strip_prefix(":?"), value) {
        (None, None, _) => {
            Err(fault(snippet, "after the name of a variable comes \"}\", \":-default\" or \":?message\""))
        }
        (_, _, Some(value)) => {
            out.push_str(&value);
            Ok(())
        }
        (Some(_), _, None) if depth == 0 => Err(fault(snippet, "too many defaults within defaults")),
        (Some(default), _, None) => fill(default, env, depth - 1, out, unset),
        (None, Some(message), None) => {
            let reason = if message.is_empty() { "it has to be" } else { message };
            Err(Fault { snippet, message: format!("{name} is not set: {reason}"), is_unset: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{escape, expand};

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8000".to_owned()),
            "EMPTY" => Some(String::new()),
            "NASTY" => Some("a b; ${PORT} $$".to_owned()),
            _ => None,
        }
    }

    fn ok(text: &str) -> String {
        expand(text, &env).unwrap().text.into_owned()
    }

    fn wrong(text: &str) -> String {
        let fault = expand(text, &env).unwrap_err();
        format!("{}: {}", fault.snippet, fault.message)
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(ok("0.0.0.0:${PORT}/${PORT}"), "0.0.0.0:8000/8000");
        assert_eq!(ok("${NONE:-80}${EMPTY:-81}${PORT:-82}${PORT:?no}"), "80818000".to_owned() + "8000");
        assert_eq!(ok("${NONE:-a${OTHER:-b ${PORT}}c}"), "ab 8000c");
        assert_eq!(ok("${EMPTY}|${NONE:-}"), "|");
    }

    #[test]
    fn what_a_variable_holds_is_not_looked_into() {
        assert_eq!(ok("<${NASTY}>"), "<a b; ${PORT} $$>");
    }

    #[test]
    fn a_dollar_can_be_written() {
        assert_eq!(ok("$$ $${PORT} $HOME ready$ $1 $$$$"), "$ ${PORT} $HOME ready$ $1 $$");
    }

    #[test]
    fn a_variable_that_is_not_set_is_nothing_and_is_told() {
        assert_eq!(expand("a${NONE}b", &env).unwrap().unset, ["NONE"]);
        assert_eq!(ok("a${NONE}b"), "ab");
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(wrong("a ${NONE:?set it} b"), "${NONE:?set it}: NONE is not set: set it");
        assert_eq!(wrong("a ${EMPTY:?}"), "${EMPTY:?}: EMPTY is not set: it has to be");
        assert_eq!(wrong("a ${PORT b"), "${PORT b: this \"${\" has no \"}\"");
        assert_eq!(
            wrong("${}"),
            "${}: after \"${\" comes the name of a variable; a dollar as such is \"$$\""
        );
        assert!(wrong("${PORT:+x}").contains("comes \"}\", \":-default\""));
        assert!(wrong(&("${A:-".repeat(10) + &"}".repeat(10))).contains("too many"));
    }

    #[test]
    fn many_references_to_a_long_variable_do_not_use_up_memory() {
        let long = |_: &str| Some("x".repeat(100_000));
        assert!(expand(&"${A}".repeat(1000), &long).unwrap_err().message.contains("longer than"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r"[${}:?\-A-Za-z\PC]{0,40}") {
            let _ = expand(&text, &env);
        }

        #[test]
        fn what_was_escaped_comes_back(text in r"[${}A-Z\PC]{0,40}") {
            prop_assert_eq!(ok(&escape(&text)), text);
        }
    }
}
