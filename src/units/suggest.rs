//! "Did you mean": which of the known words a person may have had in mind.

/// Suggestions at most: more is no help.
const SUGGESTIONS_MAX: usize = 3;

/// The `candidates` that `word` may have been meant to be, nearest first; none when none is near.
///
/// Near is one slip in three characters (and one in a word of two), swapped neighbours being one slip, capitals and
/// `-` for `_` none. A candidate that begins with the word, or the other way round, is near too.
#[must_use]
pub fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let plain = fold(word);
    // A word that long is no slip of anything, and measuring it costs its length squared.
    if plain.is_empty() || plain.len() > 64 {
        return Vec::new();
    }
    let slips_max = (plain.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        let other = fold(candidate);
        let slips = strsim::damerau_levenshtein(&plain, &other);
        if slips <= slips_max {
            found.push((slips, candidate));
        } else if plain.len() >= 3
            && other.len() >= 3
            && (other.starts_with(&plain) || plain.starts_with(&other))
        {
            found.push((slips_max + slips, candidate));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(SUGGESTIONS_MAX).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// `did you mean "policy"?`, or `None` when nothing is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let words: Vec<String> = near(word, candidates).iter().map(|word| format!("\"{word}\"")).collect();
    (!words.is_empty()).then(|| format!("did you mean {}?", words.join(" or ")))
}

fn fold(word: &str) -> String {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn slips_of_a_finger_are_found() {
        let keys = ["policy", "delay", "max_delay", "limit", "on_limit"];
        assert_eq!(near("polcy", keys), ["policy"]);
        assert_eq!(near("dealy", keys), ["delay"]);
        assert_eq!(near("max-delay", keys), ["max_delay"]);
        assert_eq!(near("LIMIT", keys), ["limit"]);
        assert!(near("colour", keys).is_empty());
        assert!(near("", keys).is_empty());
    }

    #[test]
    fn a_beginning_of_a_word_is_enough() {
        assert_eq!(
            near("environ", ["environment", "environment_files", "essential"]),
            ["environment", "environment_files"]
        );
    }
}
