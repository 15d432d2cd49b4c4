use super::*;

fn texts(secret: &str) -> Vec<String> {
    let needles = needles(secret.as_bytes());
    let texts = needles
        .iter()
        .map(|needle| String::from_utf8(needle.to_vec()));
    texts.collect::<Result<_, _>>().unwrap()
}

#[track_caller]
fn assert_known(secret: &str, expected: &[&str]) {
    let found = texts(secret);
    for expected in expected {
        assert!(
            found.iter().any(|needle| needle == expected),
            "{expected:?} in {found:#?}"
        );
    }
}

#[track_caller]
fn assert_unknown(secret: &str, unexpected: &[&str]) {
    let found = texts(secret);
    for unexpected in unexpected {
        assert!(
            !found.iter().any(|needle| needle == unexpected),
            "{unexpected:?} in {found:#?}"
        );
    }
}

#[test]
fn short_secret_is_looked_for_as_it_is_and_in_no_other_form() {
    for secret in ["abcd", "hunter2", "ab&c\"", " hunter2\n"] {
        assert_eq!(texts(secret), [secret.trim()]);
    }
    // With the blank, and as if it were a fold.
    assert_eq!(texts("a bcd"), ["a bcd", "abcd"]);
}

#[test]
fn too_short_and_blank_secrets_have_no_needle() {
    for secret in ["", "abc", "       ", " abc ", "\n\n\n\n"] {
        assert_eq!(texts(secret), Vec::<String>::new(), "{secret:?}");
        assert!(!can_be_masked(secret.as_bytes()));
    }
    assert!(can_be_masked(b" abcd "));
}

#[test]
fn no_needle_is_shorter_than_its_kind_allows() {
    for secret in [
        "abcdefgh",
        "-----BEGIN A-----\nabc\ndefghijkl\n-----END A-----\n",
        "a: b\nc: d\n{}",
    ] {
        for needle in texts(secret) {
            assert!(needle.len() >= DERIVED_MIN_BYTES, "{needle:?}");
        }
    }
}

#[test]
fn long_lines_of_a_secret_are_known_on_their_own() {
    let secret = "first-line\r\nshort\n  indented-line\n";
    assert_known(
        secret,
        &[
            "first-line",
            "indented-line",
            "first-line short indented-line",
        ],
    );
    assert_unknown(secret, &["short"]);
}

#[test]
fn lines_that_frame_a_key_are_no_secret() {
    let key =
        "-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n";
    assert_known(
        key,
        &[
            "MIIEvgIBADANBg",
            "kqhkiG9w0BAQEF",
            "MIIEvgIBADANBgkqhkiG9w0BAQEF",
        ],
    );
    assert_unknown(
        key,
        &["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"],
    );
}

#[test]
fn secret_with_control_characters_is_known_as_the_log_shows_it() {
    assert_known("pass\x1b[2Jword\x07", &["password\u{fffd}"]);
}

#[test]
fn spellings_of_a_secret_are_known() {
    let secret = "p&s/w=\"d' é<1>";
    assert_known(
        secret,
        &[
            "p%26s%2Fw%3D%22d%27%20%C3%A9%3C1%3E",
            "p%26s%2fw%3d%22d%27%20%c3%a9%3c1%3e",
            "p%26s%2Fw%3D%22d%27+%C3%A9%3C1%3E",
            "p%26s/w%3D%22d%27%20%C3%A9%3C1%3E",
            "p&s/w=%22d'%20%C3%A9%3C1%3E",
            "p&s/w=\\\"d' é<1>",
            "p&s\\/w=\\\"d' \\u00e9<1>",
            "p\\u0026s/w=\\\"d' é\\u003c1\\u003e",
            "p\\u0026s/w=\\u0022d\\u0027 \\u00E9\\u003C1\\u003E",
            "p&s\\\\/w=\\\\\\\"d' \\\\u00e9<1>",
            "p&amp;s/w=&quot;d&#39; é&lt;1&gt;",
            "p&amp;s/w=&#34;d&#39; é&lt;1&gt;",
            "p&amp;s/w=&quot;d&apos; é&lt;1&gt;",
            "p&s/w=\"d'\\'' é<1>",
            "p&s/w=\"d'\"'\"' é<1>",
            "p\\&s/w=\\\"d\\'\\ é\\<1\\>",
            "p&s/w=\"d\\' \\303\\251<1>",
            "p&s/w=\\\"d' \\u{e9}<1>".replace("d'", "d\\'").as_str(),
            "702673",
        ]
        .map(|known| {
            if known == "702673" {
                "7026732f773d22642720c3a93c313e"
            } else {
                known
            }
        }),
    );
    for shown in [
        format!("{secret:?}"),
        serde_json::to_string(secret).unwrap(),
    ] {
        assert_known(secret, &[shown.trim_matches('"')]);
    }
}

#[test]
fn line_ends_are_known_escaped_in_both_forms() {
    assert_known(
        "first\nsecond",
        &[
            "first\\nsecond",
            "first\\r\\nsecond",
            "first\\\\nsecond",
            "first second",
        ],
    );
}

#[test]
fn strings_of_a_document_are_known() {
    let json = r#"{"type": "service", "key": "abc\"defgh", "more": [{"pin": "12345678"}], "url": "https://u:p%40ssword1@h/"}"#;
    assert_known(
        json,
        &["abc\"defgh", "12345678", "p@ssword1", "p%40ssword1"],
    );
    assert_unknown(json, &["service", "type"]);
    let env = "# comment\nexport API_KEY=\"quoted value\"\nOTHER='single one'\nPLAIN=abcdefgh\nURL=postgres://me:pass-word-1@db/x\n";
    assert_known(
        env,
        &["quoted value", "single one", "abcdefgh", "pass-word-1"],
    );
    let yaml = "db:\n  password: \"correct horse\"\n  hosts:\n    - first.example\n";
    assert_known(yaml, &["correct horse", "first.example"]);
}

#[test]
fn secret_in_base64_is_known_whatever_stands_around_it() {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };
    // Bytes that the two alphabets write differently.
    let secrets: [&[u8]; 3] = [
        b"hunter2!",
        b"k9vQ-mango-7Zt4",
        b"\xfb\xef\xbe\xff\xfe\xfd??>>",
    ];
    for secret in secrets {
        let found = needles(secret);
        for around in ["", "x", "xy", "user:", "a longer text "] {
            let text = [around.as_bytes(), secret, around.as_bytes()].concat();
            for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                assert!(
                    found.iter().any(|needle| is_in(needle, &encoded)),
                    "{encoded}"
                );
            }
        }
    }
}

fn is_in(needle: &[u8], text: &str) -> bool {
    text.as_bytes()
        .windows(needle.len())
        .any(|part| part == needle)
}

#[test]
fn large_secret_has_few_needles() {
    let large = "0123456789abcdef/".repeat(2 * LARGE_BYTES / 17);
    let bytes: usize = needles(large.as_bytes())
        .iter()
        .map(|needle| needle.len())
        .sum();
    assert!(bytes < 24 * large.len(), "{bytes}");
}
