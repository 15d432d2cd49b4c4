//! How text from a document appears in messages: quoted, escaped and shortened.

/// Longest piece of the document that a message repeats, in characters.
const QUOTE_CHARACTERS_MAX: usize = 40;

/// The text in quotes, on one line.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}", format!("{}…", text.get(..end).unwrap_or(text))),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_escaped_and_shortened() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(quote(&"x".repeat(40)), format!("\"{}\"", "x".repeat(40)));
        assert_eq!(quote(&"é".repeat(41)), format!("\"{}…\"", "é".repeat(40)));
    }
}
