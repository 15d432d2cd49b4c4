//! The nearest right word for a mistyped one.

/// Beyond this many characters a word is no typing mistake, and comparing it is wasted work.
const WORD_CHARACTERS_MAX: usize = 64;

/// The end of a message about an unknown word: the nearest known one, or all of them.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > WORD_CHARACTERS_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 3] = ["timeout", "idle_timeout", "on"];

    #[test]
    fn mistyped_word_names_the_nearest() {
        assert_eq!(hint("timout", &KEYS), "did you mean \"timeout\"?");
        assert_eq!(
            hint("idle-timeout", &KEYS),
            "did you mean \"idle_timeout\"?"
        );
        assert_eq!(hint("Timeout", &KEYS), "did you mean \"timeout\"?");
    }

    #[test]
    fn foreign_word_names_all() {
        let all = "expected one of timeout, idle_timeout, on";
        assert_eq!(hint("script", &KEYS), all);
        assert_eq!(hint(&"t".repeat(10_000), &KEYS), all);
    }
}
