//! The spellings that tools give a value on its way to the output: base64, hexadecimal digits,
//! percent-encoding, and what makes it a string of some language (`code`).

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::code;

type Spelling = Zeroizing<Vec<u8>>;

/// Every spelling of `value`; only the most common ones of a large value.
pub(super) fn spellings(value: &[u8], is_large: bool) -> Vec<Spelling> {
    let mut found = Vec::new();
    in_base64(value, is_large, &mut found);
    if let Ok(text) = std::str::from_utf8(value) {
        code::strings(text, is_large, &mut found);
        if !is_large {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            in_base64(&Zeroizing::new(wide), is_large, &mut found);
        }
        // Escaped line ends keep the form that the file had.
        if text.contains('\n') && !text.contains('\r') {
            let windows = Zeroizing::new(text.replace('\n', "\r\n"));
            code::strings(&windows, is_large, &mut found);
            in_base64(windows.as_bytes(), is_large, &mut found);
        }
    }
    if !is_large {
        found.push(hex::encode(value).into_bytes().into());
        found.push(hex::encode_upper(value).into_bytes().into());
        percent_encoded(value, &mut found);
    }
    found
}

/// Spellings of a line of a longer value, which somebody may have indented.
pub(super) fn lines(line: &[u8], is_large: bool) -> Vec<Spelling> {
    let mut found = Vec::new();
    if let Some(text) = std::str::from_utf8(line).ok().filter(|_| !is_large) {
        code::strings(text, false, &mut found);
    }
    found
}

/// The value within a longer text in base64: at each of the three places where it may begin, less
/// the characters that its neighbours have a part in, and to the end of the text, with and without a
/// line end that was encoded too.
fn in_base64(value: &[u8], is_large: bool, found: &mut Vec<Spelling>) {
    for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
        let endings: &[&str] = if is_large { &[""] } else { &["", "\n", "\r\n"] };
        for ending in endings {
            let mut text = Zeroizing::new(vec![0; before]);
            text.extend_from_slice(value);
            let whole = text.len() * 8 / 6;
            text.extend_from_slice(ending.as_bytes());
            for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let encoded = Zeroizing::new(alphabet.encode(&text));
                let encoded = encoded.as_bytes();
                // Without padding: it tells nothing, and would be cut off from what follows it.
                let ends = [whole, encoded.len()];
                let cut = ends.iter().filter_map(|&end| encoded.get(shared..end));
                found.extend(cut.map(|needle| Zeroizing::new(needle.to_vec())));
            }
        }
    }
}

/// Characters besides letters and digits that percent-encoders leave as they are.
const LEFT_ALONE: [&str; 19] = [
    // RFC 3986: unreserved; a part of a path; a path; a query; a whole address.
    "-._~",
    "-._~!$&'()*+,;=:@",
    "-._~!$&'()*+,;=:@/",
    "-._~!$&'()*+,;=:@/?",
    "-._~!*'();/?:@&=+$,#",
    // JavaScript's `encodeURIComponent`, forms, Python's `quote`, Go's `PathEscape`.
    "-._~!*'()",
    "-._*",
    "-._~/",
    "-._~$&+=:@",
    // WHATWG: a fragment; a query, also of http; a path; an account.
    "!#$%&'()*+,-./:;=?@[\\]^_{|}~",
    "!$%&'()*+,-./:;=?@[\\]^_`{|}~",
    "!$%&()*+,-./:;=?@[\\]^_`{|}~",
    "!$%&'()*+,-./:;=@[\\]^_|~",
    "!$%&'()*+,-./:;=@[\\]_|~",
    "!$%&'()*+,-._~",
    // One segment of such a path, also of http; with and without the caret, which came later.
    "!$&'()*+,-.:;=@[\\]^_|~",
    "!$&'()*+,-.:;=@[\\]_|~",
    "!$&'()*+,-.:;=@[]^_|~",
    "!$&'()*+,-.:;=@[]_|~",
];

fn percent_encoded(value: &[u8], found: &mut Vec<Spelling>) {
    for left_alone in LEFT_ALONE {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || left_alone.as_bytes().contains(&byte);
        found.extend(percent_encodings(value, is_plain));
    }
    found.extend(percent_encodings(value, |_| false));
}

fn percent_encodings(value: &[u8], is_plain: impl Fn(u8) -> bool) -> Vec<Spelling> {
    let mut found = Vec::new();
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        for blank in ["%20", "+"] {
            let mut out = Zeroizing::new(Vec::with_capacity(3 * value.len()));
            for &byte in value {
                match byte {
                    b' ' => out.extend_from_slice(blank.as_bytes()),
                    byte if is_plain(byte) => out.push(byte),
                    byte => {
                        let digit = |index: u8| digits.get(usize::from(index)).copied();
                        out.push(b'%');
                        out.extend([byte >> 4, byte & 15].into_iter().filter_map(digit));
                    }
                }
            }
            found.push(out);
            if !value.contains(&b' ') {
                break;
            }
        }
    }
    found
}
