//! The nearest right key for a mistyped one.
//!
//! Looks first beside the mistyped key, then for the same name in another section, then anywhere.

use strsim::damerau_levenshtein;

/// The key that was probably meant, if any is near enough to be worth naming.
pub(super) fn nearest<'a>(wrong: &str, keys: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let keys: Vec<&str> = keys.collect();
    let (section, name) = split(wrong);
    let same_section = keys.iter().copied().filter(|key| split(key).0 == section);
    closest(name, same_section, |key| split(key).1)
        .or_else(|| keys.iter().copied().find(|key| split(key).1 == name))
        .or_else(|| closest(wrong, keys.iter().copied(), |key| key))
        .or_else(|| closest(name, keys.iter().copied(), |key| split(key).1))
}

fn closest<'a>(
    wrong: &str,
    keys: impl Iterator<Item = &'a str>,
    compared: impl Fn(&'a str) -> &'a str,
) -> Option<&'a str> {
    // A third of the letters wrong is still a typing mistake; more is another word.
    let limit = (wrong.chars().count() / 3).max(1);
    keys.map(|key| (damerau_levenshtein(wrong, compared(key)), key))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, key)| key)
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 6] = [
        "database",
        "database.host",
        "logging.level",
        "queue.retry_attempts",
        "queue.retry_delays",
        "server.port",
    ];

    fn suggestion(wrong: &str) -> Option<&'static str> {
        nearest(wrong, KEYS.into_iter())
    }

    #[test]
    fn swapped_letters_lead_to_the_key_beside() {
        assert_eq!(suggestion("server.prot"), Some("server.port"));
        assert_eq!(suggestion("queue.retry_delay"), Some("queue.retry_delays"));
    }

    #[test]
    fn right_name_in_the_wrong_section_is_found() {
        assert_eq!(suggestion("server.level"), Some("logging.level"));
        assert_eq!(suggestion("port"), Some("server.port"));
    }

    #[test]
    fn mistyped_section_is_found() {
        assert_eq!(suggestion("databse"), Some("database"));
        assert_eq!(suggestion("datbase.host"), Some("database.host"));
    }

    #[test]
    fn another_word_gets_no_suggestion() {
        assert_eq!(suggestion("server.colour"), None);
    }
}
