//! Secrets as they turn up in output, written by other code than the one under test wherever there
//! is some.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use url::{Url, form_urlencoded};

use crate::dice::Dice;

/// A way in which a secret turns up.
pub(crate) struct Spelling {
    pub(crate) name: &'static str,
    pub(crate) write: fn(&str) -> String,
    /// How many characters around it may be left of it: those that base64 shares with neighbours.
    pub(crate) shared: usize,
}

const fn exact(name: &'static str, write: fn(&str) -> String) -> Spelling {
    Spelling {
        name,
        write,
        shared: 0,
    }
}

const fn within(name: &'static str, write: fn(&str) -> String, shared: usize) -> Spelling {
    Spelling {
        name,
        write,
        shared,
    }
}

/// What stands before and after a secret inside what was encoded, in characters of base64.
const AROUND: usize = 12;
/// The same for [`long`]: at most 60 and 90 bytes, and the line ends.
const FOLDED_BASE64: usize = 200 + 2 * 4 + 8;
const FOLDED_HEX: usize = 300 + 6;

pub(crate) const SPELLINGS: [Spelling; 38] = [
    exact("as it is", str::to_owned),
    exact("CRLF", |s| s.replace('\n', "\r\n")),
    exact("on one line", |s| s.replace('\n', " ")),
    exact("indented", |s| s.replace('\n', "\n      ")),
    exact("coloured", |s| coloured(s, 3)),
    exact("each character coloured", |s| coloured(s, 1)),
    exact("base64", |s| STANDARD_NO_PAD.encode(s)),
    exact("base64url", |s| URL_SAFE_NO_PAD.encode(s)),
    exact("base64 with line end", |s| {
        STANDARD_NO_PAD.encode(format!("{s}\n"))
    }),
    within(
        "base64 after one",
        |s| STANDARD.encode(format!("x{s}yz")),
        AROUND,
    ),
    within(
        "base64 after two",
        |s| STANDARD.encode(format!("xy{s}z")),
        AROUND,
    ),
    within(
        "base64 after three",
        |s| STANDARD.encode(format!("xyz{s}z")),
        AROUND,
    ),
    within(
        "base64url after one",
        |s| URL_SAFE.encode(format!("x{s}yz")),
        AROUND,
    ),
    within(
        "base64url after two",
        |s| URL_SAFE.encode(format!("xy{s}")),
        AROUND,
    ),
    exact("base64 of UTF-16", |s| {
        let wide: Vec<u8> = s.encode_utf16().flat_map(u16::to_le_bytes).collect();
        STANDARD_NO_PAD.encode(wide)
    }),
    within(
        "base64 at 64 columns",
        |s| folded(&STANDARD.encode(long(s)), 64, "\n"),
        FOLDED_BASE64,
    ),
    within(
        "base64 at 76 columns",
        |s| folded(&STANDARD.encode(long(s)), 76, "\r\n"),
        FOLDED_BASE64,
    ),
    within(
        "hex at 60 columns",
        |s| folded(&hex::encode(long(s)), 60, "\n"),
        FOLDED_HEX,
    ),
    exact("hex", |s| hex::encode(s)),
    exact("upper hex", |s| hex::encode_upper(s)),
    exact("form", |s| {
        form_urlencoded::byte_serialize(s.as_bytes()).collect()
    }),
    exact("form in lower case", |s| {
        lower_codes(&form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>())
    }),
    exact("path of an address", |s| {
        let mut url = Url::parse("http://h").unwrap();
        url.path_segments_mut().unwrap().push(s);
        // It drops tabs and line ends, as browsers do.
        if s.contains(['\n', '\t']) {
            s.to_owned()
        } else {
            url.path()[1..].to_owned()
        }
    }),
    exact("account of an address", |s| {
        let mut url = Url::parse("http://h").unwrap();
        url.set_username(s).unwrap();
        url.username().to_owned()
    }),
    exact("query of an address", |s| {
        let url = Url::parse_with_params("http://h", [("q", s)]).unwrap();
        url.query().unwrap()[2..].to_owned()
    }),
    exact("every byte percent-encoded", |s| {
        s.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }),
    exact("JSON", json),
    exact("JSON of PHP", |s| ascii(&json(s)).replace('/', "\\/")),
    exact("JSON of Python", |s| ascii(&json(s))),
    exact("JSON of Go", |s| {
        let escaped = json(s).replace('&', "\\u0026").replace('<', "\\u003c");
        escaped.replace('>', "\\u003e")
    }),
    exact("JSON in JSON", |s| json(&json(s))),
    exact("HTML", |s| {
        let escaped = s
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        escaped.replace('"', "&quot;").replace('\'', "&#39;")
    }),
    exact("XML", |s| {
        let escaped = s
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        escaped.replace('"', "&quot;").replace('\'', "&apos;")
    }),
    exact("sh, single quotes", |s| s.replace('\'', "'\\''")),
    exact("sh, quotes of Python", |s| s.replace('\'', "'\"'\"'")),
    exact("sh, double quotes", |s| {
        let escaped = s.replace('\\', "\\\\").replace('"', "\\\"");
        escaped.replace('$', "\\$").replace('`', "\\`")
    }),
    exact("Rust", |s| {
        let debug = format!("{s:?}");
        debug[1..debug.len() - 1].to_owned()
    }),
    exact("Rust in ASCII", |s| s.escape_default().to_string()),
];

fn coloured(text: &str, every: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = chars
        .chunks(every)
        .map(|piece| piece.iter().collect())
        .collect();
    pieces.join("\x1b[1;31m")
}

/// Long enough that folds come before, within and after the secret.
fn long(secret: &str) -> String {
    let before = secret.len() * 7 % 61;
    format!("{}{secret}{}", "-".repeat(before), "=".repeat(90))
}

fn folded(text: &str, width: usize, line_end: &str) -> String {
    let lines = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join(line_end)
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn lower_codes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let (code, rest) = part.split_at(2);
        format!("{out}%{}{rest}", code.to_lowercase())
    })
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SIGNS: &str = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// A secret of one of the kinds that people have.
pub(crate) fn secret(dice: &mut Dice) -> String {
    let length = 8 + dice.below(33);
    let text = match dice.below(8) {
        0 | 1 => dice.text(LETTERS, length),
        2 => dice.text("0123456789abcdef", length),
        3 => dice.text(&format!("{LETTERS}+/"), length),
        4 => dice.text(&format!("{LETTERS}éüßñ東京🔑{SIGNS}"), length),
        5 => {
            let lines: Vec<_> = (0..2 + dice.below(3))
                .map(|_| dice.text(LETTERS, 12))
                .collect();
            lines.join("\n")
        }
        _ => dice.text(&format!("{LETTERS}{SIGNS}{SIGNS}"), length),
    };
    // Blanks at its ends are not part of a secret.
    format!(
        "{}{}{}",
        dice.text(LETTERS, 1),
        text.trim(),
        dice.text(LETTERS, 1)
    )
}
