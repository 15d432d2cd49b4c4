//! Cuts text into lines of bounded length.

use std::mem;

use slipway_redact::terminal::ESCAPE;

/// Longer lines are cut into pieces of at most this size.
pub const LINE_MAX_BYTES: usize = 16 * 1024;

/// How far back from a cut the start of a colour sequence is looked for.
const COLOUR_MAX_BYTES: usize = 72;

/// Splits a stream into lines. Expects cleaned text, see [`slipway_redact::terminal::Cleaner`].
///
/// A line that was overwritten with carriage returns, as progress bars do, keeps only what was
/// written last.
#[derive(Debug, Default)]
pub struct LineSplitter {
    line: Vec<u8>,
    /// A carriage return was last: the next text overwrites the line, a line feed ends it.
    returned: bool,
    /// Part of this line is out already, so an empty rest is not a line of its own.
    continued: bool,
}

impl LineSplitter {
    /// Takes the next bytes and appends the lines they complete.
    pub fn push(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let plain = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, tail) = rest.split_at(plain.unwrap_or(rest.len()));
            self.text(text, lines);
            rest = match tail.split_first() {
                Some((b'\n', tail)) => {
                    self.end_line(lines);
                    tail
                }
                Some((_, tail)) => {
                    self.returned = true;
                    tail
                }
                None => tail,
            };
        }
    }

    /// Appends what there is of an unfinished line; the rest of it becomes a line of its own.
    pub fn flush(&mut self, lines: &mut Vec<String>) {
        if !self.line.is_empty() {
            self.cut(lines);
        }
    }

    fn text(&mut self, mut text: &[u8], lines: &mut Vec<String>) {
        if text.is_empty() {
            return;
        }
        if mem::take(&mut self.returned) {
            self.line.clear();
        }
        while !text.is_empty() {
            let room = LINE_MAX_BYTES - self.line.len();
            let (now, later) = text.split_at(room.min(text.len()));
            self.line.extend_from_slice(now);
            text = later;
            if self.line.len() == LINE_MAX_BYTES {
                self.cut(lines);
            }
        }
    }

    fn cut(&mut self, lines: &mut Vec<String>) {
        let tail = self.line.split_off(cut_point(&self.line));
        let line = mem::replace(&mut self.line, tail);
        lines.push(String::from_utf8_lossy(&line).into_owned());
        self.continued = true;
    }

    fn end_line(&mut self, lines: &mut Vec<String>) {
        self.returned = false;
        let continued = mem::take(&mut self.continued);
        if !(continued && self.line.is_empty()) {
            lines.push(String::from_utf8_lossy(&self.line).into_owned());
            self.line.clear();
        }
    }
}

/// Where `line` can be cut without cutting a character or a colour sequence.
fn cut_point(line: &[u8]) -> usize {
    let characters = match std::str::from_utf8(line) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => line.len(),
    };
    let from = line.len().saturating_sub(COLOUR_MAX_BYTES);
    let recent = line.get(from..).unwrap_or_default();
    let colour = recent.iter().rposition(|&byte| byte == ESCAPE);
    let unfinished = colour.filter(|&at| recent.iter().skip(at).all(|&byte| byte != b'm'));
    match unfinished.map_or(characters, |at| characters.min(from + at)) {
        0 => line.len(),
        point => point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&str]) -> Vec<String> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk.as_bytes(), &mut lines);
        }
        splitter.flush(&mut lines);
        lines
    }

    #[test]
    fn lines_end_with_line_feeds_however_they_come() {
        assert_eq!(
            split(&["one\ntw", "o\n\nthree"]),
            ["one", "two", "", "three"]
        );
        assert_eq!(
            split(&["one\r\ntwo\r", "\nthree\r\r\n"]),
            ["one", "two", "three"]
        );
    }

    #[test]
    fn overwritten_line_keeps_what_was_written_last() {
        assert_eq!(split(&["10%\r50%\r", "100%\ndone\n"]), ["100%", "done"]);
        assert_eq!(split(&["10%\r50%\r"]), ["50%"]);
    }

    #[test]
    fn flushed_line_is_not_followed_by_an_empty_one() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        splitter.push(b"prompt? ", &mut lines);
        splitter.flush(&mut lines);
        splitter.flush(&mut lines);
        splitter.push(b"\n\nnext", &mut lines);
        splitter.flush(&mut lines);
        assert_eq!(lines, ["prompt? ", "", "next"]);
    }

    #[test]
    fn long_line_is_cut_into_pieces_and_loses_nothing() {
        for unit in ["x", "é", "日本", "\x1b[31mab"] {
            let long = unit.repeat(3 * LINE_MAX_BYTES / unit.len() + 1);
            let pieces = split(&[&long, "\n", "next\n"]);
            assert_eq!(pieces[..pieces.len() - 1].concat(), long);
            assert_eq!(pieces[pieces.len() - 1], "next");
            for piece in &pieces {
                assert!(piece.len() <= LINE_MAX_BYTES, "{unit:?}");
                assert!(!piece.starts_with(['[', '3', '1', 'm']), "{unit:?}");
            }
        }
    }

    #[test]
    fn line_of_exactly_the_limit_is_one_line() {
        let line = "x".repeat(LINE_MAX_BYTES);
        assert_eq!(split(&[&line, "\nnext\n"]), [line.as_str(), "next"]);
    }

    #[test]
    fn endless_line_does_not_fill_the_memory() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for _ in 0..1000 {
            splitter.push(&[b'x'; 1000], &mut lines);
            assert!(splitter.line.capacity() <= 2 * LINE_MAX_BYTES);
        }
        assert_eq!(
            lines.iter().map(String::len).sum::<usize>() + splitter.line.len(),
            1_000_000
        );
    }
}
