//! Every secret, in every spelling, in three ways of splitting at every place: nothing of it is left.

use std::io::Write as _;

use slipway_redact::MASK;

use crate::{
    dice::Dice,
    masked, matcher, number,
    spelled::{SPELLINGS, Spelling, secret},
};

#[test]
fn secret_is_masked_in_every_spelling_and_split_anywhere() {
    let (secrets, seed) = (
        number("SLIPWAY_TEST_REDACT_SECRETS", 100),
        number("SLIPWAY_TEST_REDACT_SEED", 1),
    );
    let mut dice = Dice::new(seed);
    let mut runs = 0_u64;
    for _ in 0..secrets {
        let secret = secret(&mut dice);
        for spelling in &SPELLINGS {
            runs += check(&secret, spelling);
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "seed {seed}: {secrets} secrets x {} spellings x every split x 3 ways = {runs} runs, 0 leaks",
        SPELLINGS.len()
    )
    .unwrap();
}

/// Answers how many streams were masked.
fn check(secret: &str, spelling: &Spelling) -> u64 {
    let spelled = (spelling.write)(secret);
    let text = format!("<a: {spelled} b>\n");
    let matcher = matcher(&[secret]);
    let whole = String::from_utf8(masked(&matcher, [text.as_bytes()])).unwrap();
    let what = || format!("{secret:?} as {}: {text:?} became {whole:?}", spelling.name);
    if spelling.shared == 0 {
        assert_eq!(whole, format!("<a: {MASK} b>\n"), "{}", what());
    } else {
        assert_eq!(whole.matches(MASK).count(), 1, "{}", what());
        let left = whole.len() - MASK.len();
        assert!(left <= "<a:  b>\n".len() + spelling.shared, "{}", what());
    }
    let text = text.as_bytes();
    let mut runs = 1;
    for at in 0..=text.len() {
        let (head, tail) = text.split_at(at);
        let (next, rest) = tail.split_at(tail.len().min(1));
        let halves = [head, tail];
        let single = [head, next, rest];
        let (start, later) = head.split_at(at / 2);
        let thirds = [start, later, tail];
        for pieces in [&halves[..], &single[..], &thirds[..]] {
            let out = masked(&matcher, pieces.iter().copied());
            assert_eq!(
                String::from_utf8_lossy(&out),
                whole,
                "split at {at}: {}",
                what()
            );
            runs += 1;
        }
    }
    runs
}

#[test]
fn text_without_secrets_passes_unchanged() {
    let mut dice = Dice::new(number("SLIPWAY_TEST_REDACT_SEED", 1));
    let secrets: Vec<String> = (0..40).map(|_| secret(&mut dice)).collect();
    let matcher = matcher(&secrets);
    for _ in 0..number("SLIPWAY_TEST_REDACT_CLEAN_MB", 4) {
        let text = speech(&mut dice, 1024 * 1024);
        let cut = dice.below(text.len());
        let (head, tail) = text.as_bytes().split_at(cut);
        let out = masked(&matcher, [head, tail]);
        assert!(out == text.as_bytes(), "a text without secrets was changed");
    }
}

/// Text of words that no secret has, in lines of different lengths, with colours and indentation.
pub(crate) fn speech(dice: &mut Dice, length: usize) -> String {
    const WORDS: [&str; 16] = [
        "compiling",
        "the",
        "src/main.rs:42",
        "warning",
        "in",
        "\x1b[1;32mok\x1b[0m",
        "200",
        "GET /health",
        "déployé",
        "\t",
        "  ",
        "sha256:",
        "node_modules",
        "==>",
        "\r",
        "https://example.com/a?b=c&d=%20",
    ];
    let mut text = String::with_capacity(length + 64);
    while text.len() < length {
        text.push_str(dice.pick::<&str>(&WORDS));
        text.push_str(if dice.below(9) == 0 { "\n" } else { " " });
    }
    text
}

/// What has gone wrong in other tools, as far as one example can say it.
#[test]
fn awkward_cases_are_masked() {
    let pem = "-----BEGIN K-----\nMIIEvgIBADANBgkqhkiG9w0BAQEFAASC\nBKgwggSkAgEAAoIBAQC7\n-----END K-----";
    for (secrets, text, expected) in [
        // One secret is the beginning, the end or the middle of another.
        (&["abcd", "abcdefgh"][..], "abcdefgh", "*"),
        (&["abcd", "abcdefgh"], "abcdef", "*ef"),
        (&["efgh", "abcdefgh"], "abcdefgh", "*"),
        (&["bcde", "abcdefgh"], "xabcdefghx", "x*x"),
        // They overlap, touch, repeat.
        (&["aaaa"], "aaaaaaa", "*"),
        (&["abab"], "xabababx", "x*x"),
        (&["abcd", "cdef", "efgh"], "abcdefgh", "*"),
        (&["abcd", "efgh"], "abcdefgh", "*"),
        (&["abcd", "efgh"], "abcd efgh", "* *"),
        // Almost, and then really.
        (&["aaab"], "aaaaab", "aa*"),
        (&["hunter2-secret"], "hunterhunter2-secret", "hunter*"),
        (
            &["hunter2-secret"],
            "hunter2-secrehunter2-secret",
            "hunter2-secre*",
        ),
        // The mask itself, and parts of it.
        (&["REDACTED"], "[REDACTED]", "[*]"),
        (&["[REDACTED]"], "[REDACTED]", "*"),
        // Quotes and escapes that tools put in.
        (
            &["it's a secret"],
            "+ echo 'it'\\''s a secret'",
            "+ echo '*'",
        ),
        (&["p@ss/w0rd&"], "url=p%40ss%2Fw0rd%26;", "url=*;"),
        (&["p@ss/w0rd&"], "url=p%40ss%2fw0rd%26;", "url=*;"),
        (
            &["line one\nline two"],
            "{\"k\":\"line one\\nline two\"}",
            "{\"k\":\"*\"}",
        ),
        (&["line one\nline two"], "line one\r\nline two", "*"),
        (&["line one\nline two"], "line two only", "* only"),
        (&[pem], "MIIEvgIBADANBgkqhkiG9w0BAQEFAASC", "*"),
        (&[pem], "-----BEGIN K-----", "-----BEGIN K-----"),
        (
            &["{\"user\":\"bob\",\"key\":\"s3cr3t-value\"}"],
            "key is s3cr3t-value",
            "key is *",
        ),
        (&["{\"user\":\"bob\"}"], "bob: {}", "bob: {}"),
        (
            &["postgres://u:pa55w0rd-x@h/d"],
            "password pa55w0rd-x",
            "password *",
        ),
        (&["ENV=1\nTOKEN=abcdefgh1"], "got abcdefgh1", "got *"),
        // Short ones in no other form, and blanks around one not at all.
        (&["abc1"], "YWJjMQ== 61626331", "YWJjMQ== 61626331"),
        (&["  padded-one \n"], "x padded-one y", "x * y"),
        // The text ends in the middle.
        (&["hunter2-secret"], "hunter2-secre", "hunter2-secre"),
        (
            &["hunter2-secret"],
            "\x1b[1mhunter2\x1b[0m-secret",
            "\x1b[1m*",
        ),
    ] {
        let expected = expected.replace('*', MASK);
        let matcher = matcher(secrets);
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            let out = String::from_utf8(masked(&matcher, [head, tail])).unwrap();
            assert_eq!(out, expected, "{secrets:?} at {at}");
        }
    }
}
