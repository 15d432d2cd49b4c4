//! The secrets within a secret: the strings of a document, the values of an environment file, the
//! body of a key file, the password of an address, and lines.
//!
//! Goes by the looks of it: a part too many is masked, which is better than one too few.

use serde_json::Value;
use zeroize::Zeroizing;

type Part = Zeroizing<Vec<u8>>;

/// The parts of a value, and their parts.
pub(super) fn parts(value: &[u8], depth: usize) -> Vec<Part> {
    let Some(rest) = depth.checked_sub(1) else {
        return Vec::new();
    };
    let Ok(text) = std::str::from_utf8(value) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    match serde_json::from_str(text) {
        Ok(document @ (Value::Object(_) | Value::Array(_))) => strings(&document, &mut found),
        _ => assigned(text, &mut found),
    }
    bodies(text, &mut found);
    passwords(text, &mut found);
    let nested: Vec<_> = found.iter().flat_map(|part| parts(part, rest)).collect();
    found.extend(nested);
    found
}

/// Lines of a longer value, without what only frames a key.
pub(super) fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = value
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() < value.len());
    lines.filter(|line| !is_frame(line))
}

fn is_frame(line: &[u8]) -> bool {
    line.starts_with(b"-----") && line.ends_with(b"-----")
}

fn strings(document: &Value, found: &mut Vec<Part>) {
    match document {
        Value::String(text) => found.push(Zeroizing::new(text.clone().into_bytes())),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(items) => items.values().for_each(|item| strings(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What stands behind names: `NAME=value`, and in texts of several lines `name: value`, `- value`.
fn assigned(text: &str, found: &mut Vec<Part>) {
    let is_document = text.contains('\n');
    for line in text.lines() {
        let line = line.trim();
        let item = line.strip_prefix("- ").filter(|_| is_document);
        let line = item.unwrap_or(line);
        let value = match line.split_once('=') {
            Some((name, value)) if is_name(name.trim_start_matches("export ")) => Some(value),
            _ if is_document => line.split_once(": ").map(|(_, value)| value).or(item),
            _ => None,
        };
        found.extend(value.map(|value| Zeroizing::new(unquoted(value.trim()).into_bytes())));
    }
}

fn is_name(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn unquoted(text: &str) -> String {
    let inner = |quote| {
        text.strip_prefix(quote)
            .and_then(|rest: &str| rest.strip_suffix(quote))
    };
    match (inner('"'), inner('\'')) {
        (Some(inner), _) => serde_json::from_str(text).unwrap_or_else(|_| inner.to_owned()),
        (_, Some(inner)) => inner.to_owned(),
        _ => text.to_owned(),
    }
}

/// What stands between `-----BEGIN ..-----` and `-----END ..-----`, in one piece.
fn bodies(text: &str, found: &mut Vec<Part>) {
    for begun in text.split("-----BEGIN ").skip(1) {
        let body = begun
            .split_once("-----")
            .and_then(|(_, rest)| rest.split_once("-----END "));
        if let Some((body, _)) = body {
            let joined: String = body.split_ascii_whitespace().collect();
            found.push(Zeroizing::new(joined.into_bytes()));
        }
    }
}

/// The password in `scheme://user:password@host`, as it is written and as it is meant.
fn passwords(text: &str, found: &mut Vec<Part>) {
    for rest in text.split("://").skip(1) {
        let end = rest.find(|c: char| c.is_whitespace() || "/\"'<>".contains(c));
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        let account = authority.rsplit_once('@').map(|(account, _)| account);
        if let Some((_, password)) = account.and_then(|account| account.split_once(':')) {
            found.push(Zeroizing::new(percent_decoded(password)));
            found.push(Zeroizing::new(password.as_bytes().to_vec()));
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail
            .first_chunk::<2>()
            .filter(|_| byte == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        match code {
            Some(decoded) => {
                out.extend(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}
