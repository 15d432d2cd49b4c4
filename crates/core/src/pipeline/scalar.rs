//! What an unquoted YAML word stands for, by the YAML 1.2 core schema.
//!
//! Only `true`, `false` and `null` in their three spellings and numbers are special; `yes`, `on`
//! and `1:30` are text here, whatever YAML 1.1 made of them.

/// The kinds of scalar that the core schema tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    Number,
    Text,
}

/// The kind of an unquoted scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Boolean(true),
        "false" | "False" | "FALSE" => Kind::Boolean(false),
        _ if is_number(text) => Kind::Number,
        _ => Kind::Text,
    }
}

fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0o") {
        return is_some_of(digits, |byte| matches!(byte, b'0'..=b'7'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return is_some_of(digits, |byte| byte.is_ascii_hexdigit());
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || is_decimal(unsigned)
}

/// `12`, `12.`, `1.5`, `.5`, each perhaps with an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent_is_right = exponent.is_none_or(|exponent| {
        is_some_of(
            exponent.strip_prefix(['-', '+']).unwrap_or(exponent),
            is_digit,
        )
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_is_right
        && !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().all(|byte| byte.is_ascii_digit())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_some_of(text: &str, belongs: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(belongs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema_numbers_are_numbers() {
        for text in [
            "0", "-1", "+12", "0o17", "0xFf", "1.5", "12.", ".5", "1e3", "-2.5E-7", ".inf",
            "-.INF", ".NaN", "010",
        ] {
            assert_eq!(resolve(text), Kind::Number, "{text}");
        }
    }

    #[test]
    fn words_of_yaml_1_1_and_near_numbers_are_text() {
        for text in [
            "yes", "No", "on", "off", "1:30", "1_000", "0b1", "0o8", "0xg", "0x", ".", "e3", "1e",
            "1e+", "--1", "1.2.3", "-", "tRuE", "10m", "٣", "+.nan",
        ] {
            assert_eq!(resolve(text), Kind::Text, "{text}");
        }
    }

    #[test]
    fn booleans_and_null_have_three_spellings_each() {
        for text in ["true", "True", "TRUE"] {
            assert_eq!(resolve(text), Kind::Boolean(true));
        }
        for text in ["false", "False", "FALSE"] {
            assert_eq!(resolve(text), Kind::Boolean(false));
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Kind::Null);
        }
    }
}
