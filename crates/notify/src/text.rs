//! Text from strangers: what of it may be shown, in how many characters, and escaped.
//!
//! Cutting happens while escaping, character by character, so that no cut falls into an escape.

/// What stands for what was cut off.
const ELLIPSIS: char = '…';

/// Makes a character harmless in a service's form. What was written so far is in the text.
pub(crate) type Escape = fn(char, &mut String);

/// How a service counts its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// In UTF-16 units of what is sent: never less than in characters.
    Sent,
    /// In UTF-16 units of what people see, without escapes.
    Seen,
    /// In bytes of what is sent.
    Bytes,
}

impl Measure {
    /// How long a text is that needs no escape.
    pub(crate) fn of(self, text: &str) -> usize {
        match self {
            Self::Sent | Self::Seen => text.encode_utf16().count(),
            Self::Bytes => text.len(),
        }
    }

    fn of_escaped(self, original: char, escaped: &str) -> usize {
        match self {
            // An entity is seen as the character that it stands for.
            Self::Seen if !escaped.contains(original) => original.len_utf16(),
            Self::Seen | Self::Sent | Self::Bytes => self.of(escaped),
        }
    }
}

/// How a service wants text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// What makes characters harmless.
    pub(crate) escape: Escape,
    /// How its limits are counted.
    pub(crate) measure: Measure,
}

/// One character, escaped, and what it counts.
struct Piece {
    text: String,
    cost: usize,
}

impl Form {
    fn pieces(self, text: &str) -> Vec<Piece> {
        let mut before = String::new();
        let mut pieces = Vec::new();
        for c in text.chars() {
            let from = before.len();
            (self.escape)(c, &mut before);
            let escaped = before.get(from..).unwrap_or_default().to_owned();
            let cost = self.measure.of_escaped(c, &escaped);
            pieces.push(Piece {
                text: escaped,
                cost,
            });
        }
        pieces
    }

    fn ellipsis(self) -> usize {
        self.measure.of(ELLIPSIS.encode_utf8(&mut [0; 4]))
    }

    /// The text escaped, and cut at its end to what is allowed.
    pub(crate) fn cut(self, text: &str, most: usize) -> String {
        let pieces = self.pieces(text);
        let (mut out, mut cost, mut fitting) = (String::new(), 0, 0);
        for piece in &pieces {
            cost += piece.cost;
            if cost > most {
                out.truncate(fitting);
                if self.ellipsis() <= most {
                    out.push(ELLIPSIS);
                }
                return out;
            }
            out.push_str(&piece.text);
            if cost + self.ellipsis() <= most {
                fitting = out.len();
            }
        }
        out
    }

    /// The text escaped, with its beginning and its end when it has to be cut.
    pub(crate) fn middle(self, text: &str, most: usize) -> (String, usize) {
        let pieces = self.pieces(text);
        let total: usize = pieces.iter().map(|piece| piece.cost).sum();
        if total <= most {
            return (pieces.into_iter().map(|piece| piece.text).collect(), total);
        }
        let half = most.saturating_sub(self.ellipsis()) / 2;
        let (first, first_cost) = within(pieces.iter(), half);
        let (last, last_cost) = within(pieces.iter().rev(), half);
        let first = pieces.iter().take(first);
        let last = pieces.iter().skip(pieces.len() - last);
        let mut out: String = first.map(|piece| piece.text.as_str()).collect();
        let mut cost = first_cost + last_cost;
        if self.ellipsis() <= most {
            out.push(ELLIPSIS);
            cost += self.ellipsis();
        }
        out.extend(last.map(|piece| piece.text.as_str()));
        (out, cost)
    }

    /// Lines of a log, escaped: the first and the last ones when they are too many.
    pub(crate) fn log(self, lines: &[String], most: usize) -> String {
        let gap = format!("{ELLIPSIS} {} lines left out {ELLIPSIS}", lines.len());
        let room = most.saturating_sub(self.measure.of(&gap) + 2);
        let whole: Vec<_> = lines.iter().map(|line| self.middle(line, most)).collect();
        let total: usize = whole.iter().map(|(_, cost)| cost + 1).sum();
        if total <= most + 1 {
            return joined(whole.iter());
        }
        let short: Vec<_> = lines
            .iter()
            .map(|line| self.middle(line, room / 3))
            .collect();
        let (last, last_cost) = lines_within(short.iter().rev(), room - room / 3);
        let rest = short.len() - last;
        let (first, _) = lines_within(short.iter().take(rest), room.saturating_sub(last_cost));
        let left_out = rest - first;
        let (first, last) = (short.iter().take(first), short.iter().skip(rest));
        if left_out == 0 {
            return joined(first.chain(last));
        }
        let gap = format!("{ELLIPSIS} {left_out} lines left out {ELLIPSIS}");
        let parts = [joined(first), gap, joined(last)];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let text = parts.join("\n");
        if room == 0 { String::new() } else { text }
    }
}

fn within<'a>(pieces: impl Iterator<Item = &'a Piece>, most: usize) -> (usize, usize) {
    let (mut count, mut cost) = (0, 0);
    for piece in pieces {
        if cost + piece.cost > most {
            break;
        }
        count += 1;
        cost += piece.cost;
    }
    (count, cost)
}

fn lines_within<'a>(
    lines: impl Iterator<Item = &'a (String, usize)>,
    most: usize,
) -> (usize, usize) {
    let (mut count, mut cost) = (0, 0);
    for (_, line) in lines {
        if cost + line + 1 > most {
            break;
        }
        count += 1;
        cost += line + 1;
    }
    (count, cost)
}

fn joined<'a>(lines: impl Iterator<Item = &'a (String, usize)>) -> String {
    let lines: Vec<&str> = lines.map(|(line, _)| line.as_str()).collect();
    lines.join("\n")
}

/// Whether a character shows nothing and changes how others are shown.
fn is_hidden(c: char) -> bool {
    let marks = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || marks
}

/// A text as one line, without anything that shows nothing.
pub(crate) fn one_line(text: &str) -> String {
    let blank = |c: char| c.is_whitespace() || is_hidden(c) && c.is_control();
    let words = text.split(blank).map(visible);
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A line of a log: blanks stay, and a tab is blanks.
pub(crate) fn log_line(text: &str) -> String {
    let spaced = text.replace('\t', "    ");
    visible(&spaced).trim_end().to_owned()
}

fn visible(text: &str) -> String {
    let shown = |c: &char| !is_hidden(*c) && !matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().filter(shown).collect()
}

/// For forms that need no escapes.
pub(crate) fn as_it_is(c: char, out: &mut String) {
    out.push(c);
}

/// For HTML, in text and in quoted attributes.
pub(crate) fn html(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        _ => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HTML: Form = Form {
        escape: html,
        measure: Measure::Sent,
    };
    const PLAIN: Form = Form {
        escape: as_it_is,
        measure: Measure::Bytes,
    };

    #[test]
    fn text_that_fits_is_whole() {
        assert_eq!(HTML.cut("a<b", 6), "a&lt;b");
        assert_eq!(HTML.cut("", 0), "");
    }

    #[test]
    fn cut_falls_between_characters_and_not_into_an_escape() {
        assert_eq!(HTML.cut("a<b", 5), "a…");
        assert_eq!(HTML.cut("a<bc", 6), "a&lt;…");
        assert_eq!(PLAIN.cut("ééé", 5), "é…");
        assert_eq!(PLAIN.cut("ééé", 2), "");
    }

    #[test]
    fn seen_characters_count_without_their_escapes() {
        let form = Form {
            escape: html,
            measure: Measure::Seen,
        };
        assert_eq!(form.cut("<<<", 3), "&lt;&lt;&lt;");
        assert_eq!(form.cut("<<<<", 3), "&lt;&lt;…");
        assert_eq!(form.cut("😀😀", 3), "😀…");
    }

    #[test]
    fn log_keeps_its_first_and_last_lines() {
        let lines: Vec<_> = (1..=100).map(|n| format!("line {n}")).collect();
        let log = PLAIN.log(&lines, 120);
        assert!(log.starts_with("line 1\n"), "{log}");
        assert!(log.ends_with("line 99\nline 100"), "{log}");
        assert!(log.contains("lines left out"), "{log}");
    }

    #[test]
    fn long_line_keeps_both_ends() {
        let line = format!("begin {} end", "x".repeat(500));
        let (cut, _) = PLAIN.middle(&line, 40);
        assert!(
            cut.starts_with("begin x") && cut.ends_with("x end"),
            "{cut}"
        );
    }

    #[test]
    fn nothing_hidden_is_left() {
        assert_eq!(one_line(" a\n\tb\u{202e}c\u{0}d\u{1b}[31m "), "a bc d [31m");
        assert_eq!(log_line("\ta\u{7}\u{2066}b  "), "    ab");
        assert_eq!(one_line("👩\u{200d}🚀"), "👩\u{200d}🚀");
    }

    proptest! {
        #[test]
        fn limits_hold(text in "\\PC{0,80}|[<&>\"é😀]{0,80}", most in 0_usize..90) {
            for measure in [Measure::Sent, Measure::Bytes] {
                let form = Form { escape: html, measure };
                prop_assert!(measure.of(&form.cut(&text, most)) <= most);
                let (middle, cost) = form.middle(&text, most);
                prop_assert_eq!(measure.of(&middle), cost);
                prop_assert!(cost <= most);
            }
        }

        #[test]
        fn logs_keep_to_their_limit(lines in prop::collection::vec("[a<é😀 ]{0,60}", 0..40), most in 0_usize..400) {
            for measure in [Measure::Sent, Measure::Bytes] {
                let form = Form { escape: html, measure };
                let log = form.log(&lines, most);
                prop_assert!(measure.of(&log) <= most, "{} > {most}: {log}", measure.of(&log));
            }
        }

        #[test]
        fn cut_text_is_well_formed(text in "[<&>\"é😀]{0,40}", most in 0_usize..120) {
            let cut = HTML.cut(&text, most);
            let rest = ["&amp;", "&lt;", "&gt;", "&quot;"].iter().fold(cut, |text, e| text.replace(e, ""));
            prop_assert!(!rest.contains('&'), "{rest}");
        }
    }
}
