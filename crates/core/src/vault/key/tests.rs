use super::*;

const GOOD: &str = "5f8d2ab1c37e90446b1de2f07a9c58e3d4017fb62c8a95e01b73f6d8ca42e9a7";

fn refusal(key: &str) -> KeyError {
    MasterKey::parse(key).unwrap_err()
}

#[test]
fn random_keys_are_taken_in_either_case() {
    for key in [GOOD, &GOOD.to_uppercase(), &format!("  {GOOD}\n")] {
        assert_eq!(
            MasterKey::parse(key).unwrap().to_hex().expose_secret(),
            GOOD
        );
    }
}

#[test]
fn missing_short_and_long_keys_are_refused() {
    assert_eq!(refusal(""), KeyError::Missing);
    assert_eq!(refusal(" \n"), KeyError::Missing);
    assert_eq!(refusal(&GOOD[..63]), KeyError::Length(63));
    assert_eq!(refusal(&GOOD[..32]), KeyError::Length(32));
    assert_eq!(refusal(&format!("{GOOD}00")), KeyError::Length(66));
}

#[test]
fn other_characters_are_pointed_at() {
    assert_eq!(refusal(&GOOD.replacen('b', "g", 1)), KeyError::NotHex(7));
    assert_eq!(refusal(&GOOD.replacen('b', "é", 1)), KeyError::NotHex(7));
    assert_eq!(refusal("changeme"), KeyError::NotHex(2));
}

#[test]
fn repeated_characters_and_patterns_are_refused() {
    for pattern in ["0", "f", "ab", "deadbeef", "0123456789abcdef", &GOOD[..32]] {
        assert_eq!(
            refusal(&pattern.repeat(64 / pattern.len())),
            KeyError::Repeated,
            "{pattern}"
        );
    }
    let nearly = format!("{}{}", "0".repeat(62), "01");
    assert_eq!(refusal(&nearly), KeyError::Repeated);
}

#[test]
fn sequences_are_refused() {
    let up: Vec<u8> = (0..32).collect();
    let down: Vec<u8> = (0..32).rev().collect();
    let wide: Vec<u8> = (0..32).map(|n| n * 8).collect();
    for sequence in [up, down, wide] {
        assert_eq!(refusal(&hex::encode(sequence)), KeyError::Sequence);
    }
}

#[test]
fn keys_from_documentation_are_refused() {
    for key in SAMPLE_KEYS {
        assert_eq!(refusal(key), KeyError::Sample);
        assert_eq!(refusal(&key.to_uppercase()), KeyError::Sample);
    }
}

#[test]
fn every_refusal_says_how_to_make_a_good_key() {
    let errors = [
        refusal(""),
        refusal("00"),
        refusal("x"),
        refusal(&"0".repeat(64)),
    ];
    for error in errors {
        assert!(
            error.to_string().contains("`slipway keys generate`"),
            "{error}"
        );
    }
}

#[test]
fn generated_keys_differ_and_are_good() {
    let keys: BTreeSet<String> = (0..200)
        .map(|_| {
            MasterKey::generate()
                .unwrap()
                .to_hex()
                .expose_secret()
                .to_owned()
        })
        .inspect(|key| assert!(MasterKey::parse(key).is_ok(), "{key}"))
        .collect();
    assert_eq!(keys.len(), 200);
}

#[test]
fn keys_do_not_print_themselves() {
    let shown = format!("{:?}", MasterKey::parse(GOOD).unwrap());
    assert_eq!(shown, "MasterKey([REDACTED])");
    let shown = format!("{:?}", SessionSecret::parse(GOOD).unwrap());
    assert!(!shown.contains(&GOOD[..8]), "{shown}");
    let misplaced = refusal(&format!("{GOOD}{GOOD}"));
    assert!(
        !format!("{misplaced} {misplaced:?}").contains(&GOOD[..8]),
        "{misplaced}"
    );
}

#[test]
fn derived_keys_depend_on_every_part() {
    let key = MasterKey::parse(GOOD).unwrap();
    let other = MasterKey::generate().unwrap();
    let derived = key.derive(&[b"a", b"1"]).unwrap();
    assert_eq!(*derived, *key.derive(&[b"a", b"1"]).unwrap());
    assert_ne!(*derived, *key.derive(&[b"a", b"2"]).unwrap());
    assert_ne!(*derived, *key.derive(&[b"b", b"1"]).unwrap());
    assert_ne!(*derived, *other.derive(&[b"a", b"1"]).unwrap());
}

#[test]
fn derivation_is_the_published_one() {
    // Made with another implementation of HKDF-SHA256 (RFC 5869), without salt.
    let key = MasterKey::parse(GOOD).unwrap();
    let derived = key.derive(&[b"slipway/", b"test"]).unwrap();
    assert_eq!(
        hex::encode(*derived),
        "5173f74a4b7268fe181541e85cd4df598a5158560d8487a2a894a1a537c73662"
    );
}

#[test]
fn session_secrets_are_long_and_unpredictable() {
    let refusal = |text: &str| SessionSecret::parse(text).unwrap_err();
    assert_eq!(refusal(""), KeyError::Missing);
    assert_eq!(refusal(&GOOD[..31]), KeyError::Short(31));
    assert_eq!(refusal(&"a".repeat(64)), KeyError::Repeated);
    assert_eq!(refusal(&"0123456789abcdef".repeat(4)), KeyError::Repeated);
    assert_eq!(refusal(&"abca".repeat(16)), KeyError::Repeated);
    assert_eq!(
        refusal("please-CHANGE-me-before-you-use-it!"),
        KeyError::Sample
    );
    assert_eq!(refusal(SAMPLE_KEYS[1]), KeyError::Sample);
    assert_eq!(
        SessionSecret::parse(&GOOD[..32]).unwrap().expose(),
        &GOOD.as_bytes()[..32]
    );
    assert_eq!(
        SessionSecret::parse(" q7Vt-zR2w_8mKp4XcY6nLd9BfHs3GjTa\n")
            .unwrap()
            .expose()
            .len(),
        32
    );
    assert_eq!(SessionSecret::generate().unwrap().expose().len(), 64);
}
