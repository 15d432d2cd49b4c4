//! Colours of terminal output, as class names. Everything else that a terminal would obey is
//! dropped. `static/ansi.js` does the same for lines that arrive live.

use std::{iter::Peekable, str::Chars};

/// A piece of a line in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Names of style classes; empty for plain text.
    pub(super) class: String,
    pub(super) text: String,
}

/// Takes a line apart. Style does not outlive the line.
pub(super) fn spans(line: &str) -> Vec<Span> {
    let mut spans = Spans::default();
    let mut style = Style::default();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if let Some(codes) = escape(&mut rest) {
                    style.apply(&codes);
                }
            }
            '\t' => spans.push(c, style),
            c if c.is_control() => {}
            c => spans.push(c, style),
        }
    }
    spans.done
}

#[derive(Default)]
struct Spans {
    done: Vec<Span>,
    last: Style,
}

impl Spans {
    fn push(&mut self, c: char, style: Style) {
        match self.done.last_mut() {
            Some(span) if self.last == style => span.text.push(c),
            _ => {
                self.last = style;
                self.done.push(Span {
                    class: style.class(),
                    text: c.to_string(),
                });
            }
        }
    }
}

/// Consumes what follows an escape character; answers the codes if it was about style.
fn escape(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    match rest.peek()? {
        '[' => {
            let mut ahead = rest.clone();
            ahead.next();
            let sequence = control_sequence(&mut ahead);
            match sequence {
                Some(_) => *rest = ahead,
                // It is cut off: what is left is text.
                None => {
                    rest.next();
                }
            }
            let (codes, last) = sequence?;
            let is_style = last == 'm' && codes.chars().all(|c| matches!(c, '0'..='9' | ';' | ':'));
            is_style.then_some(codes)
        }
        ']' => {
            while rest
                .peek()
                .is_some_and(|c| !matches!(c, '\u{7}' | '\u{1b}'))
            {
                rest.next();
            }
            let mut ahead = rest.clone();
            match (ahead.next(), ahead.next()) {
                (Some('\u{7}'), _) => {
                    rest.next();
                }
                (Some('\u{1b}'), Some('\\')) => *rest = ahead,
                _ => {}
            }
            None
        }
        _ => {
            rest.next();
            None
        }
    }
}

/// Parameters and final character of a control sequence; nothing if it is cut off.
fn control_sequence(rest: &mut Peekable<Chars<'_>>) -> Option<(String, char)> {
    let mut codes = String::new();
    while let Some(c) = rest.next_if(|c| matches!(c, '0'..='?')) {
        codes.push(c);
    }
    while let Some(c) = rest.next_if(|c| matches!(c, ' '..='/')) {
        codes.push(c);
    }
    let last = rest.next_if(|c| matches!(c, '@'..='~'))?;
    Some((codes, last))
}

/// Bold, dim, italic, underlined: the bit of each and its class name.
const EMPHASES: [(u8, &str); 4] = [(1, "a-b"), (2, "a-d"), (4, "a-i"), (8, "a-u")];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    emphasis: u8,
    front: Option<u8>,
    back: Option<u8>,
}

impl Style {
    fn apply(&mut self, codes: &str) {
        // Parts with colons are other spellings of extended colours and underlines.
        let mut codes = codes
            .split(';')
            .filter(|part| !part.contains(':'))
            .map(|part| if part.is_empty() { "0" } else { part })
            .map(|part| part.parse::<u16>().unwrap_or(u16::MAX));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1..=4 => self.emphasis |= 1 << (code - 1),
                22 => self.emphasis &= !3,
                23 => self.emphasis &= !4,
                24 => self.emphasis &= !8,
                38 => self.front = extended(&mut codes),
                39 => self.front = None,
                48 => self.back = extended(&mut codes),
                49 => self.back = None,
                _ => self.colour(code),
            }
        }
    }

    fn colour(&mut self, code: u16) {
        let (base, first, is_front) = match code {
            30..=37 => (30, 0, true),
            40..=47 => (40, 0, false),
            90..=97 => (90, 8, true),
            100..=107 => (100, 8, false),
            _ => return,
        };
        let colour = u8::try_from(code - base).ok().map(|index| index + first);
        if is_front {
            self.front = colour;
        } else {
            self.back = colour;
        }
    }

    fn class(self) -> String {
        let mut names: Vec<String> = EMPHASES
            .iter()
            .filter(|(bit, _)| self.emphasis & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        names.extend(self.front.map(|colour| format!("a-f{colour}")));
        names.extend(self.back.map(|colour| format!("a-g{colour}")));
        names.join(" ")
    }
}

/// The colour after 38 or 48; the sixteen that have a class name are shown.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match codes.next()? {
        5 => u8::try_from(codes.next()?)
            .ok()
            .filter(|colour| *colour < 16),
        2 => {
            codes.nth(2);
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        spans(line)
            .into_iter()
            .map(|span| format!("<{}>{}", span.class, span.text))
            .collect()
    }

    #[test]
    fn colours_become_class_names() {
        assert_eq!(told("plain"), "<>plain");
        assert_eq!(told("\u{1b}[31mred\u{1b}[0m not"), "<a-f1>red<> not");
        assert_eq!(
            told("\u{1b}[1;4;92mgo\u{1b}[22mx\u{1b}[mz"),
            "<a-b a-u a-f10>go<a-u a-f10>x<>z"
        );
        assert_eq!(told("\u{1b}[38;5;9;48;5;200ma"), "<a-f9>a");
        assert_eq!(told("\u{1b}[38;2;1;2;3;3ma"), "<a-i>a");
        assert_eq!(told("\u{1b}[44;107ma\u{1b}[49mb"), "<a-g15>a<>b");
        assert_eq!(told("\u{1b}[4:3;32ma"), "<a-f2>a");
    }

    #[test]
    fn everything_else_that_a_terminal_obeys_is_dropped() {
        assert_eq!(told("a\u{1b}[2Kb\u{1b}[?25lc\u{1b}[10;5Hd"), "<>abcd");
        assert_eq!(
            told("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\."),
            "<>link."
        );
        assert_eq!(told("\u{1b}]52;c;eA=="), "");
        assert_eq!(told("a\u{8}\u{7}b\u{9b}31mc\u{1b}cd"), "<>ab31mcd");
        assert_eq!(told("tab\tkept"), "<>tab\tkept");
        assert_eq!(told("cut \u{1b}[3"), "<>cut 3");
        assert_eq!(told("cut \u{1b}"), "<>cut ");
    }
}
