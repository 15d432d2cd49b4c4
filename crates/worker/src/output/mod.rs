//! From the bytes a command prints to the lines a log keeps.
//!
//! The order matters: terminal control is removed first, because removing it later could join the
//! two halves of a secret; then secrets are masked; then the text is cut into lines. Where the
//! lines go is not decided here.

mod lines;

use std::sync::Arc;

use slipway_redact::{Matcher, Redactor, terminal::Cleaner};
use zeroize::Zeroizing;

pub use lines::{LINE_MAX_BYTES, LineSplitter};

/// One stream of output on its way to a log. Its memory does not grow with the output.
#[derive(Debug)]
pub struct LogText {
    cleaner: Cleaner,
    redactor: Redactor,
    splitter: LineSplitter,
    clean: Zeroizing<Vec<u8>>,
    masked: Vec<u8>,
}

impl LogText {
    /// A stream that must not show what `matcher` knows.
    #[must_use]
    pub fn new(matcher: Arc<Matcher>) -> Self {
        Self {
            cleaner: Cleaner::default(),
            redactor: Redactor::new(matcher),
            splitter: LineSplitter::default(),
            clean: Zeroizing::default(),
            masked: Vec::new(),
        }
    }

    /// Takes the next bytes and appends the lines they complete.
    pub fn push(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        self.clean.clear();
        self.masked.clear();
        self.cleaner.push(bytes, &mut self.clean);
        self.redactor.push(&self.clean, &mut self.masked);
        self.splitter.push(&self.masked, lines);
    }

    /// Looks for more from here on, see [`Redactor::extend`].
    pub fn extend(&mut self, matcher: &Arc<Matcher>) {
        self.redactor.extend(matcher);
    }

    /// Appends an unfinished last line, less what may still become a secret.
    ///
    /// Meant for pauses in the output, so that a prompt or a progress line can be seen.
    pub fn flush(&mut self, lines: &mut Vec<String>) {
        self.splitter.flush(lines);
    }

    /// Ends the stream and appends what is left.
    pub fn finish(&mut self, lines: &mut Vec<String>) {
        self.clean.clear();
        self.masked.clear();
        self.cleaner.finish(&mut self.clean);
        self.redactor.push(&self.clean, &mut self.masked);
        self.redactor.finish(&mut self.masked);
        self.splitter.push(&self.masked, lines);
        self.splitter.flush(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(secrets: &[&str], chunks: &[&[u8]]) -> Vec<String> {
        let matcher = Matcher::new(secrets.iter().map(|secret| secret.as_bytes())).unwrap();
        let (mut text, mut lines) = (LogText::new(Arc::new(matcher)), Vec::new());
        for chunk in chunks {
            text.push(chunk, &mut lines);
        }
        text.finish(&mut lines);
        lines
    }

    #[test]
    fn secret_is_masked_in_a_line() {
        assert_eq!(
            log(&["hunter2"], &[b"pw: hun", b"ter2\nnext"]),
            ["pw: [REDACTED]", "next"]
        );
    }

    #[test]
    fn terminal_control_within_a_secret_does_not_hide_it() {
        for noise in [
            "\x1b[2K",
            "\x1b[31m",
            "\x1b]0;title\x07",
            "\u{202e}",
            "\x1b(B",
        ] {
            let printed = format!("pw: hun{noise}ter2\n");
            for split in 0..=printed.len() {
                let (head, tail) = printed.as_bytes().split_at(split);
                assert_eq!(
                    log(&["hunter2"], &[head, tail]),
                    ["pw: [REDACTED]"],
                    "{noise:?}"
                );
            }
        }
    }

    #[test]
    fn secret_over_several_lines_is_masked() {
        assert_eq!(
            log(&["one\ntwo\nthree"], &[b"a one\ntwo\nthree b\n"]),
            ["a [REDACTED] b"]
        );
    }

    #[test]
    fn flush_shows_a_prompt_but_not_the_beginning_of_a_secret() {
        let matcher = Matcher::new(["hunter2".as_bytes()]).unwrap();
        let (mut text, mut lines) = (LogText::new(Arc::new(matcher)), Vec::new());
        text.push(b"password? hunt", &mut lines);
        text.flush(&mut lines);
        assert_eq!(lines, ["password? "]);
        text.push(b"er2\n", &mut lines);
        text.finish(&mut lines);
        assert_eq!(lines, ["password? ", "[REDACTED]"]);
    }

    #[test]
    fn unfinished_character_and_unfinished_match_are_let_go_at_the_end() {
        assert_eq!(log(&["hunter2"], &[b"hunte\xe2\x82"]), ["hunte\u{fffd}"]);
    }
}
