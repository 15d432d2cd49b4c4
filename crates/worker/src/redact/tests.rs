use proptest::prelude::*;

use super::*;
use crate::terminal::uncoloured;

fn redactor(secrets: &[&str]) -> Redactor {
    let matcher = Matcher::new(secrets.iter().map(|secret| secret.as_bytes())).unwrap();
    Redactor::new(Arc::new(matcher))
}

fn redact(secrets: &[&str], chunks: &[&str]) -> String {
    let (mut redactor, mut out) = (redactor(secrets), Vec::new());
    for chunk in chunks {
        redactor.push(chunk.as_bytes(), &mut out);
    }
    redactor.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// What a redactor is meant to do, said as simply as possible: mark every byte of every match in
/// the text without colours, then mask each run of marks.
fn oracle(needles: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut skip = ColourSkip::default();
    let places: Vec<_> = (0..text.len()).filter(|&i| !skip.skips(text[i])).collect();
    let mut marked = vec![false; text.len()];
    for needle in needles {
        for window in places.windows(needle.len()) {
            if window
                .iter()
                .zip(needle)
                .all(|(&place, &byte)| text[place] == byte)
            {
                marked[window[0]..=window[needle.len() - 1]].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match marked[i] {
            false => out.push(byte),
            true if i == 0 || !marked[i - 1] => out.extend_from_slice(MASK),
            true => {}
        }
    }
    out
}

#[test]
fn secret_is_masked() {
    assert_eq!(
        redact(&["hunter2"], &["password: hunter2\n"]),
        "password: [REDACTED]\n"
    );
}

#[test]
fn text_without_secrets_passes_unchanged() {
    let text = "hunter hunter1 unter2 \u{1b}[1mhunte\u{1b}[0m";
    assert_eq!(redact(&["hunter2"], &[text]), text);
    assert_eq!(redact(&[], &[text]), text);
}

#[test]
fn secret_split_between_any_two_pieces_is_masked() {
    let text = "a hunter2 b";
    for i in 0..=text.len() {
        for j in i..=text.len() {
            let chunks = [&text[..i], &text[i..j], &text[j..]];
            assert_eq!(
                redact(&["hunter2"], &chunks),
                "a [REDACTED] b",
                "{chunks:?}"
            );
        }
    }
}

#[test]
fn secret_that_begins_with_another_does_not_leak_its_tail() {
    assert_eq!(redact(&["abcd", "abcdefgh"], &["abcdefgh"]), "[REDACTED]");
    assert_eq!(redact(&["abcd", "abcdefgh"], &["abcdef"]), "[REDACTED]ef");
    assert_eq!(redact(&["bcde", "abcdefgh"], &["abcdefgh"]), "[REDACTED]");
}

#[test]
fn overlapping_and_touching_secrets_share_one_mask() {
    assert_eq!(redact(&["abcd", "cdef"], &["abcdef"]), "[REDACTED]");
    assert_eq!(redact(&["abcd", "efgh"], &["abcdefgh"]), "[REDACTED]");
    assert_eq!(redact(&["abcd", "efgh"], &["abcd", "efgh"]), "[REDACTED]");
    assert_eq!(
        redact(&["abcd"], &["abcd", "abcd", "xabcd"]),
        "[REDACTED]x[REDACTED]"
    );
}

#[test]
fn colours_within_a_secret_do_not_hide_it() {
    assert_eq!(
        redact(&["hunter2"], &["a hun\x1b[1;31mter\x1b[m2 b"]),
        "a [REDACTED] b"
    );
    assert_eq!(
        redact(&["hunter2"], &["hun\x1b[", "1mt", "er2"]),
        "[REDACTED]"
    );
}

#[test]
fn only_what_may_become_a_secret_is_held_back() {
    let (mut redactor, mut out) = (redactor(&["hunter2"]), Vec::new());
    redactor.push(b"continue? [y/n] ", &mut out);
    assert_eq!(out, b"continue? [y/n] ");
    redactor.push(b"hunt", &mut out);
    assert_eq!(out, b"continue? [y/n] ");
    redactor.push(b"hun", &mut out);
    assert_eq!(out, b"continue? [y/n] hunt");
    redactor.push(b"ter2", &mut out);
    assert_eq!(out, b"continue? [y/n] hunt[REDACTED]");
}

#[test]
fn beginning_of_a_secret_is_let_go_at_the_end() {
    assert_eq!(redact(&["hunter2"], &["hunter"]), "hunter");
}

#[test]
fn endless_colours_are_not_held_back_for_ever() {
    let (mut redactor, mut out) = (redactor(&["hunter2"]), Vec::new());
    redactor.push(b"hun", &mut out);
    let colours = b"\x1b[0m".repeat(10_000);
    for _ in 0..10 {
        redactor.push(&colours, &mut out);
        assert!(redactor.held.len() < 2 * COLOURS_MAX_BYTES + colours.len());
    }
    redactor.finish(&mut out);
    assert_eq!(uncoloured(&out), b"hun");
}

#[test]
fn lines_of_a_key_are_masked_whatever_their_line_ends() {
    let key = "-----BEGIN KEY-----\nMIIEvgIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n";
    let shown = key.replace('\n', "\r\n");
    assert_eq!(redact(&[key], &[&shown]), "[REDACTED]\r\n".repeat(4));
}

#[test]
fn many_secrets_are_found_as_well_as_few() {
    let secrets: Vec<_> = (0..2000).map(|i| format!("secret-number-{i:05}")).collect();
    let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
    let text = "x secret-number-00000 y secret-number-01999 z secret-number-02000";
    let expected = "x [REDACTED] y [REDACTED] z secret-number-02000";
    assert_eq!(redact(&secrets, &[text]), expected);
}

#[test]
fn neither_matcher_nor_redactor_shows_a_secret() {
    let (mut redactor, mut out) = (redactor(&["hunter2"]), Vec::new());
    redactor.push(b"hunte", &mut out);
    assert!(!format!("{redactor:?} {:?}", redactor.matcher).contains("hun"));
}

/// Few letters, so that needles overlap, repeat and begin like one another.
fn secret() -> impl Strategy<Value = String> {
    "[ab]{4,8}"
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ab]{1,6}",
        2 => Just("c".to_owned()),
        1 => Just("\x1b[31m".to_owned()),
        1 => Just("\n".to_owned()),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_split_gives_what_the_oracle_gives(
        secrets in prop::collection::vec(secret(), 1..5),
        text in text(),
    ) {
        let needles: Vec<_> = secrets.iter().flat_map(|s| needles::needles(s.as_bytes())).collect();
        let expected = oracle(&needles, text.as_bytes());
        let matcher = Arc::new(Matcher::new(secrets.iter().map(String::as_bytes)).unwrap());
        for split in 0..=text.len() {
            let (mut redactor, mut out) = (Redactor::new(Arc::clone(&matcher)), Vec::new());
            let (head, tail) = text.as_bytes().split_at(split);
            redactor.push(head, &mut out);
            redactor.push(tail, &mut out);
            redactor.finish(&mut out);
            prop_assert_eq!(&out, &expected, "split at {}", split);
        }
        let (mut redactor, mut out) = (Redactor::new(matcher), Vec::new());
        for byte in text.bytes() {
            redactor.push(&[byte], &mut out);
        }
        redactor.finish(&mut out);
        prop_assert_eq!(out, expected, "byte by byte");
    }

    #[test]
    fn what_is_held_back_may_always_become_a_secret(
        secret in secret(),
        text in "[abc]{0,40}",
    ) {
        let matcher = Arc::new(Matcher::new([secret.as_bytes()]).unwrap());
        let (mut redactor, mut out) = (Redactor::new(matcher), Vec::new());
        for byte in text.bytes() {
            redactor.push(&[byte], &mut out);
            let held = &redactor.held[..];
            prop_assert!((0..secret.len()).any(|k| secret.as_bytes()[..k].ends_with(held)), "{held:?}");
        }
    }
}
