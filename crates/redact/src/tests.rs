use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;
use crate::terminal::{ColourSkip, uncoloured};

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
/// the searched text, and what was left out within, then mask each run of marks.
fn oracle(needles: &[Zeroizing<Vec<u8>>], text: &[u8]) -> Vec<u8> {
    let (searched, places) = searched(text);
    let mut marked = vec![false; text.len()];
    for needle in needles {
        for (at, window) in searched.windows(needle.len()).enumerate() {
            if window == needle.as_slice() {
                marked[places[at]..=places[at + needle.len() - 1]].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match marked[i] {
            false => out.push(byte),
            true if i == 0 || !marked[i - 1] => out.extend_from_slice(MASK.as_bytes()),
            true => {}
        }
    }
    out
}

/// The text as it is searched, and where each of its bytes stands.
fn searched(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut colours = ColourSkip::default();
    let (mut out, mut places) = (Vec::new(), Vec::new());
    let (mut word, mut after_blank) = (0, false);
    for (place, &byte) in text.iter().enumerate() {
        if colours.skips(byte) {
            continue;
        }
        let blank = byte.is_ascii_whitespace() && byte != b'\x0c';
        if !blank || !after_blank && word < 40 {
            out.push(if blank { b' ' } else { byte });
            places.push(place);
        }
        after_blank = blank;
        word = if blank { 0 } else { word + 1 };
    }
    (out, places)
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
        assert!(redactor.held.len() < 2 * LEFT_OUT_MAX_BYTES + colours.len());
    }
    redactor.finish(&mut out);
    assert_eq!(uncoloured(&out), b"hun");
}

#[test]
fn key_is_masked_however_it_is_laid_out() {
    let body = format!("{}\n{}\nabc=", "A1b2".repeat(16), "C3d4".repeat(16));
    let key = format!("-----BEGIN KEY-----\n{body}\n-----END KEY-----\n");
    for shown in [
        key.replace('\n', "\r\n"),
        key.replace('\n', " "),
        key.replace('\n', "\n    "),
        key.replace('\n', "\\n"),
        key.replace('\n', "\n\n"),
    ] {
        let masked = redact(&[&key], &["x ", &shown]);
        assert_eq!(
            masked.trim_end().trim_end_matches("\\n"),
            "x [REDACTED]",
            "{shown}"
        );
    }
    for shown in [
        body.clone(),
        body.replace('\n', ""),
        body.replace('\n', "\n  "),
    ] {
        assert_eq!(redact(&[&key], &[&shown, "\n"]), "[REDACTED]\n", "{shown}");
    }
}

#[test]
fn encoded_secret_is_masked_wherever_its_lines_are_folded() {
    let secret = "correct horse battery staple & more of it";
    for before in 0..80 {
        let text = format!("{}{secret} and what follows", "-".repeat(before));
        for (encoded, width) in [
            (STANDARD.encode(&text), 64),
            (STANDARD.encode(&text), 76),
            (hex::encode(&text), 60),
        ] {
            let lines: Vec<_> = encoded
                .as_bytes()
                .chunks(width)
                .map(<[u8]>::to_vec)
                .collect();
            let masked = redact(
                &[secret],
                &[&String::from_utf8(lines.join(&b'\n')).unwrap()],
            );
            assert_eq!(masked.matches("[REDACTED]").count(), 1, "{masked}");
            // What is left is what was encoded around it, less at most the shared characters.
            let left = masked.replace("[REDACTED]", "").replace('\n', "").len();
            let around = encoded.len() - secret.len() * encoded.len() / text.len();
            assert!(left <= around + 8, "{left} of {around}: {masked}");
        }
    }
}

#[test]
fn secret_learnt_on_the_way_is_masked_from_there_on() {
    let first = Arc::new(Matcher::new([&b"abcdefgh-1"[..]]).unwrap());
    let more = Arc::new(first.with([&b"efgh-2345"[..], &b"late"[..]]).unwrap());
    for split in 0..=18 {
        let text = b"late abcdefgh-2345";
        let (head, tail) = text.split_at(split);
        let (mut redactor, mut out) = (Redactor::new(Arc::clone(&first)), Vec::new());
        redactor.push(head, &mut out);
        let stored = out.len();
        redactor.extend(&more);
        redactor.push(tail, &mut out);
        redactor.finish(&mut out);
        assert_eq!(out[..stored], text[..stored], "what is out is out");
        let expected = oracle(more.needles(), &text[stored..]);
        assert_eq!(
            String::from_utf8_lossy(&out[stored..]),
            String::from_utf8_lossy(&expected),
            "{split}"
        );
    }
}

#[test]
fn secret_learnt_under_a_mask_does_not_uncover_it() {
    let first = Arc::new(Matcher::new([&b"abcdefgh"[..], &b"efghijkl"[..]]).unwrap());
    let more = Arc::new(first.with([&b"fgh"[..], &b"efgh"[..]]).unwrap());
    let (mut redactor, mut out) = (Redactor::new(first), Vec::new());
    redactor.push(b"abcdefgh", &mut out);
    redactor.extend(&more);
    redactor.push(b"ijkl", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"[REDACTED]");
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

#[test]
fn whole_text_is_masked_by_several_as_if_they_were_one() {
    let matchers: Vec<_> = ["correct", "correct horse", "battery", "horse bat"]
        .map(|secret| Arc::new(Matcher::new([secret.as_bytes()]).unwrap()))
        .into();
    for (text, expected) in [
        ("a correct horse b", "a [REDACTED] b"),
        ("correct horse battery", "[REDACTED]"),
        ("batterycorrect", "[REDACTED]"),
        ("battery correct", "[REDACTED] [REDACTED]"),
    ] {
        let masked = redacted(&matchers, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(masked).unwrap(), expected);
    }
    assert_eq!(redacted(&matchers, b"nothing of it"), None);
}
