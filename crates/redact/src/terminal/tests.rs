use proptest::prelude::*;

use super::*;

fn clean(text: &str) -> String {
    String::from_utf8(cleaned(text.as_bytes())).unwrap()
}

#[test]
fn plain_text_and_line_ends_pass_unchanged() {
    let text = "a\tb\r\nnaïve – 日本語 ﷽ 👩‍👩‍👧 \u{a0}×\u{600}\n";
    assert_eq!(clean(text), text);
}

#[test]
fn colours_pass() {
    for text in [
        "\x1b[m",
        "\x1b[0m",
        "\x1b[1;31mred\x1b[0m",
        "\x1b[38:2:1:2:3mx",
        "\x1b[38;5;9mx",
    ] {
        assert_eq!(clean(text), text);
    }
}

#[test]
fn everything_else_that_a_terminal_acts_upon_is_removed() {
    for sequence in [
        "\x1b[2J",
        "\x1b[1A",
        "\x1b[K",
        "\x1b[?25l",
        "\x1b[>4;2m",
        "\x1b[?1m",
        "\x1b[1 m",
        "\x1b]0;title\x07",
        "\x1b]8;;https://example.com\x1b\\",
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1bPq#0;2;0;0;0\x1b\\",
        "\x1b_apc\x1b\\",
        "\x1b^pm\x1b\\",
        "\x1bXsos\u{9c}",
        "\x1bc",
        "\x1b(B",
        "\x1b#8",
        "\x1b7",
        "\u{9b}2J",
        "\u{9d}0;title\u{9c}",
        "\u{90}dcs\x1b\\",
        "\x1b\x1b[2J",
        "\u{202e}",
        "\u{2066}",
        "\u{200f}",
        "\u{61c}",
    ] {
        assert_eq!(clean(&format!("a{sequence}b")), "ab", "{sequence:?}");
    }
}

#[test]
fn other_control_characters_are_replaced() {
    for c in [
        "\0", "\x07", "\x08", "\x0b", "\x0c", "\x7f", "\u{85}", "\u{80}", "\u{2028}",
    ] {
        assert_eq!(clean(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
    }
}

#[test]
fn c1_introducer_starts_a_colour_too() {
    assert_eq!(clean("\u{9b}31mred"), "\x1b[31mred");
}

#[test]
fn overlong_colour_is_removed() {
    let long = format!("\x1b[{}mx", "1;".repeat(100));
    assert_eq!(clean(&long), "x");
}

#[test]
fn unfinished_string_swallows_no_more_than_its_line() {
    assert_eq!(clean("a\x1b]0;title\nnext"), "a\nnext");
    assert_eq!(clean("a\x1bPdata\x1b\nnext"), "a\nnext");
    assert_eq!(clean("a\x1b[12\nnext"), "a\nnext");
}

#[test]
fn sequence_broken_by_another_gives_way_to_it() {
    assert_eq!(clean("\x1b[12\x1b[31mred"), "\x1b[31mred");
    assert_eq!(clean("\x1b]0;t\x1b[31mred"), "\x1b[31mred");
}

#[test]
fn bytes_that_are_not_text_are_replaced() {
    assert_eq!(
        cleaned(b"a\xff\xc3(b\xe2\x82"),
        "a\u{fffd}\u{fffd}(b\u{fffd}".as_bytes()
    );
}

#[test]
fn colours_can_be_told_from_text() {
    assert_eq!(uncoloured(b"a\x1b[1;31mb\x1b[mc"), b"abc");
    assert_eq!(uncoloured(b"a\x1b[31\x1b[32mb"), b"ab");
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-z\r\n\t ]{0,4}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\x1b", "[", "]", "P", "\\", "1;31", "m", "\x07", "\u{9b}", "K"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn result_does_not_depend_on_the_pieces(bytes in noise(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (mut cleaner, mut out) = (Cleaner::default(), Vec::new());
        for pair in cuts.windows(2) {
            cleaner.push(&bytes[pair[0]..pair[1]], &mut out);
        }
        cleaner.finish(&mut out);
        prop_assert_eq!(out, cleaned(&bytes));
    }

    #[test]
    fn only_colours_are_left(bytes in noise()) {
        let text = String::from_utf8(uncoloured(&cleaned(&bytes))).unwrap();
        let forbidden = |c: char| c.is_control() && !"\t\r\n".contains(c);
        prop_assert!(!text.contains(forbidden), "{text:?}");
    }

    #[test]
    fn cleaning_twice_changes_nothing(bytes in noise()) {
        let once = cleaned(&bytes);
        prop_assert_eq!(cleaned(&once), once);
    }
}
