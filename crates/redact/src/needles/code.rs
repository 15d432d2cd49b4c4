//! A value inside a string of some language: JSON, HTML and XML, shells, and what debuggers print.
//!
//! Each way of writing is a table of the characters that it writes differently.

use std::fmt::Write as _;

use zeroize::Zeroizing;

type Spelling = Zeroizing<Vec<u8>>;

/// Strings within strings: a log record may hold the body of a request that holds a document.
const NESTED_MAX: usize = 5;

/// How a language writes a character; nothing when it leaves it alone.
type Written = fn(char) -> Option<String>;

/// How PHP, Python, Go, .NET and others write JSON.
const JSON: [Written; 9] = [
    json,
    |c| slash(c).or_else(|| json(c)),
    |c| json(c).or_else(|| wide(c, false)),
    |c| slash(c).or_else(|| json(c)).or_else(|| wide(c, false)),
    |c| json(c).or_else(|| wide(c, true)),
    |c| code_of("&<>", c, false).or_else(|| json(c)),
    |c| code_of("&<>'=", c, false).or_else(|| json(c)),
    |c| {
        code_of("\"&'+<>`", c, true)
            .or_else(|| json(c))
            .or_else(|| wide(c, true))
    },
    |c| code_of("\n\r\t\u{8}\u{c}\"/\\", c, false).or_else(|| json(c)),
];

const HTML: [Written; 8] = [
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"]),
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"]),
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "&quot;", "&#x27;"]),
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "&quot;", "'"]),
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "\"", "'"]),
    |c| entity(c, ["&amp;", "&lt;", "&gt;", "&#34;", "&#39;"]),
    |c| entity(c, ["&#38;", "&#60;", "&#62;", "&#34;", "&#39;"]),
    |c| match c {
        '/' => Some("&#x2F;".to_owned()),
        '`' => Some("&#x60;".to_owned()),
        '=' => Some("&#x3D;".to_owned()),
        c => entity(c, ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"]),
    },
];

/// Inside single quotes, double quotes, `$'..'`, and without quotes; then the debug forms of Go, Rust
/// and Python, and of byte strings.
const SHELL_AND_DEBUG: [Written; 16] = [
    |c| (c == '\'').then(|| r"'\''".to_owned()),
    |c| (c == '\'').then(|| r#"'"'"'"#.to_owned()),
    |c| backslash("\"$`\\", c),
    |c| backslash("\"$`\\!", c),
    |c| backslash(" !\"#$&'()*,;<>?[\\]^`{|}~", c),
    |c| backslash(" !\"$&'()*,;<>?[\\]^`{|}", c),
    |c| (!c.is_alphanumeric() && !"_-.,:+/@\n".contains(c)).then(|| format!("\\{c}")),
    |c| backslash("'\\", c).or_else(|| control(c, octal)),
    |c| {
        backslash("'\\", c)
            .or_else(|| control(c, octal))
            .or_else(|| bytes(c, octal))
    },
    |c| {
        backslash("\"\\", c)
            .or_else(|| control(c, octal))
            .or_else(|| bytes(c, octal))
    },
    |c| backslash("\"\\", c).or_else(|| control(c, hexadecimal)),
    |c| {
        backslash("\"\\", c)
            .or_else(|| control(c, hexadecimal))
            .or_else(|| wide(c, false))
    },
    |c| backslash("'\\", c).or_else(|| control(c, hexadecimal)),
    |c| {
        Some(format!("{c:?}").trim_matches('\'').to_owned())
            .filter(|_| !"'\"".contains(c))
            .or_else(|| backslash("\"", c))
    },
    |c| Some(c.escape_default().to_string()),
    |c| {
        backslash("\"'\\", c)
            .or_else(|| control(c, hexadecimal))
            .or_else(|| bytes(c, hexadecimal))
    },
];

/// The value in each way of writing, and in JSON within JSON.
pub(super) fn strings(text: &str, is_large: bool, found: &mut Vec<Spelling>) {
    let tables = if is_large {
        JSON.get(..1).unwrap_or_default().iter().chain(&[])
    } else {
        JSON.iter().chain(&HTML)
    };
    let others: &[Written] = if is_large { &[] } else { &SHELL_AND_DEBUG };
    for written in tables.chain(others) {
        found.push(Zeroizing::new(write(text, *written).into_bytes()));
    }
    for written in JSON.iter().filter(|_| !is_large) {
        let once = Zeroizing::new(write(text, *written));
        found.push(Zeroizing::new(write(&once, json).into_bytes()));
    }
    let mut nested = Zeroizing::new(text.to_owned());
    let depth = if is_large { 2 } else { NESTED_MAX };
    for _ in 0..depth {
        nested = Zeroizing::new(write(&nested, json));
        found.push(Zeroizing::new(nested.as_bytes().to_vec()));
    }
}

fn write(text: &str, written: Written) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match written(c) {
            Some(escaped) => out.push_str(&escaped),
            None => out.push(c),
        }
    }
    out
}

fn json(c: char) -> Option<String> {
    Some(match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
        _ => return None,
    })
}

fn slash(c: char) -> Option<String> {
    (c == '/').then(|| "\\/".to_owned())
}

/// `\u00e9` for what is not ASCII.
fn wide(c: char, upper: bool) -> Option<String> {
    (!c.is_ascii()).then(|| code_units(c, upper))
}

fn code_of(these: &str, c: char, upper: bool) -> Option<String> {
    these.contains(c).then(|| code_units(c, upper))
}

fn code_units(c: char, upper: bool) -> String {
    let mut out = String::new();
    for unit in c.encode_utf16(&mut [0; 2]) {
        let written = if upper {
            write!(out, "\\u{unit:04X}")
        } else {
            write!(out, "\\u{unit:04x}")
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
    out
}

fn entity(c: char, [amp, lt, gt, quote, apostrophe]: [&str; 5]) -> Option<String> {
    let entity = match c {
        '&' => amp,
        '<' => lt,
        '>' => gt,
        '"' => quote,
        '\'' => apostrophe,
        _ => return None,
    };
    Some(entity.to_owned())
}

fn backslash(these: &str, c: char) -> Option<String> {
    these.contains(c).then(|| format!("\\{c}"))
}

fn control(c: char, number: fn(u8) -> String) -> Option<String> {
    let letter = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\0'..'\x20' | '\x7f' => return Some(number(c as u8)),
        _ => return None,
    };
    Some(format!("\\{letter}"))
}

fn bytes(c: char, number: fn(u8) -> String) -> Option<String> {
    (!c.is_ascii()).then(|| c.encode_utf8(&mut [0; 4]).bytes().map(number).collect())
}

fn octal(byte: u8) -> String {
    format!("\\{byte:03o}")
}

fn hexadecimal(byte: u8) -> String {
    format!("\\x{byte:02x}")
}
