//! Random streams in random pieces against an oracle that looks for every secret at every place.
//!
//! The secrets are so short that they are looked for in no other spelling, and of so few letters
//! that they overlap, repeat and begin like one another.

use std::io::Write as _;

use slipway_redact::MASK;

use crate::{dice::Dice, masked, matcher, number};

#[test]
fn random_streams_come_out_as_the_oracle_says() {
    let (rounds, seed) = (
        number("SLIPWAY_TEST_REDACT_ROUNDS", 20_000),
        number("SLIPWAY_TEST_REDACT_SEED", 1),
    );
    let mut dice = Dice::new(seed);
    let mut streams = 0_u64;
    for round in 0..rounds {
        let secrets: Vec<String> = (0..1 + dice.below(5))
            .map(|_| {
                let length = 4 + dice.below(4);
                dice.text("ab", length)
            })
            .collect();
        let matcher = matcher(&secrets);
        // Preparing the search takes the longest.
        for _ in 0..50 {
            let text = stream(&mut dice, &secrets);
            let expected = oracle(&secrets, &text);
            let out = masked(&matcher, pieces(&mut dice, text.as_bytes()));
            assert_eq!(
                String::from_utf8_lossy(&out),
                expected,
                "round {round}: {secrets:?} in {text:?}"
            );
            streams += 1;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "seed {seed}: {streams} streams as the oracle says").unwrap();
}

fn stream(dice: &mut Dice, secrets: &[String]) -> String {
    let mut text = String::new();
    for _ in 0..dice.below(12) {
        match dice.below(10) {
            0 => text.push(*dice.pick(&[' ', '\n', 'c', '%'])),
            1 => text.push_str("\x1b[1;31m"),
            2 | 3 => text.push_str(dice.pick::<String>(secrets)),
            4 => {
                let secret = dice.pick(secrets);
                let end = dice.below(secret.len());
                text.push_str(&secret[..end]);
            }
            _ => {
                let length = 1 + dice.below(5);
                text.push_str(&dice.text("ab", length));
            }
        }
    }
    text
}

fn pieces<'a>(dice: &mut Dice, text: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (text, Vec::new());
    while !rest.is_empty() {
        let length = 1 + dice.below(rest.len().min(9));
        let (head, tail) = rest.split_at(length);
        pieces.push(head);
        rest = tail;
    }
    pieces
}

/// Marks every byte of every secret in the text without its colours, then masks each run of marks.
fn oracle(secrets: &[String], text: &str) -> String {
    let (mut letters, mut places) = (String::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("\x1b[1;31m") {
            at += "\x1b[1;31m".len();
            continue;
        }
        letters.push_str(&text[at..=at]);
        places.push(at);
        at += 1;
    }
    let mut marked = vec![false; text.len()];
    for secret in secrets {
        for from in 0..letters.len() {
            // After a long word a blank may be a fold; these secrets have none, so it is left out.
            if letters[from..].starts_with(secret.as_str()) {
                marked[places[from]..=places[from + secret.len() - 1]].fill(true);
            }
        }
    }
    mark_folded(secrets, &letters, &places, &mut marked);
    let mut out = String::new();
    for (index, c) in text.char_indices() {
        match marked[index] {
            false => out.push(c),
            true if index == 0 || !marked[index - 1] => out.push_str(MASK),
            true => {}
        }
    }
    out
}

/// Secrets that a fold divides: blanks behind a word of at least forty characters are no text.
fn mark_folded(secrets: &[String], letters: &str, places: &[usize], marked: &mut [bool]) {
    let (mut joined, mut at) = (String::new(), Vec::new());
    let (mut word, mut after_blank) = (0, false);
    for (c, &place) in letters.chars().zip(places) {
        let blank = c == ' ' || c == '\n';
        if !blank || word < 40 && !after_blank {
            joined.push(c);
            at.push(place);
        }
        (word, after_blank) = if blank { (0, true) } else { (word + 1, false) };
    }
    for secret in secrets {
        for from in 0..joined.len() {
            if joined[from..].starts_with(secret.as_str()) {
                marked[at[from]..=at[from + secret.len() - 1]].fill(true);
            }
        }
    }
}
