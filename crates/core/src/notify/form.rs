//! Checks what somebody filled in against the fields that a service describes: pure.
//!
//! Text that is empty takes a value away, and what is not named stays as it was.

use url::Url;

use super::provider::{Field, FieldKind, Values};
use crate::{error::FieldError, field::Email, pipeline::suggest};

/// Most characters of a value.
const VALUE_CHARACTERS_MAX: usize = 4096;
/// Most mail addresses of one value.
const ADDRESSES_MAX: usize = 50;

/// What there is once `input` was filled in over `kept`.
///
/// # Errors
/// One entry for each value that is missing, unknown or not of its kind, named like the field.
pub fn fill(fields: &[Field], kept: Values, input: &Values) -> Result<Values, Vec<FieldError>> {
    let mut filled = kept;
    let mut wrong = Vec::new();
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    for (name, value) in input.iter() {
        match fields.iter().find(|field| field.name == name) {
            None => {
                let message = format!("there is no such setting; {}", suggest::hint(name, &names));
                wrong.push(FieldError::new(name, message));
            }
            Some(field) if !value.is_empty() => match check(field.kind, value) {
                Ok(()) => filled.set(name, value),
                Err(message) => wrong.push(FieldError::new(name, message)),
            },
            Some(_) => filled.set(name, ""),
        }
    }
    for field in fields {
        let is_named = wrong.iter().any(|error| error.field == field.name);
        if field.required && filled.get(field.name).is_none() && !is_named {
            wrong.push(FieldError::new(field.name, "is missing"));
        }
    }
    if wrong.is_empty() {
        Ok(filled)
    } else {
        Err(wrong)
    }
}

/// The values of these that may be shown.
#[must_use]
pub fn plain(fields: &[Field], values: &Values) -> Values {
    let shown = fields.iter().filter(|field| !field.secret);
    shown
        .filter_map(|field| Some((field.name, values.get(field.name)?)))
        .collect()
}

/// The secret fields that `input` names.
pub fn secrets<'a>(fields: &'a [Field], input: &'a Values) -> impl Iterator<Item = &'a Field> {
    let named = |field: &&Field| input.iter().any(|(name, _)| name == field.name);
    fields.iter().filter(|field| field.secret).filter(named)
}

fn check(kind: FieldKind, value: &str) -> Result<(), String> {
    if value.chars().count() > VALUE_CHARACTERS_MAX {
        return Err(format!(
            "must have at most {VALUE_CHARACTERS_MAX} characters"
        ));
    }
    if value.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    match kind {
        FieldKind::Text => Ok(()),
        FieldKind::Url => check_url(value),
        FieldKind::Number(least, most) => match value.parse::<u32>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!("must be a whole number from {least} to {most}")),
        },
        FieldKind::Addresses => check_addresses(value),
        FieldKind::Choice(choices) if choices.contains(&value) => Ok(()),
        FieldKind::Choice(choices) => Err(format!(
            "is none of these; {}",
            suggest::hint(value, choices)
        )),
    }
}

fn check_url(value: &str) -> Result<(), String> {
    let url = Url::parse(value).ok();
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let Some(url) = url else {
        return Err("must be an address that begins with https:// or http://".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".to_owned());
    }
    Ok(())
}

fn check_addresses(value: &str) -> Result<(), String> {
    let addresses: Vec<&str> = value.split(',').map(str::trim).collect();
    if addresses.len() > ADDRESSES_MAX {
        return Err(format!("must be at most {ADDRESSES_MAX} addresses"));
    }
    for address in addresses {
        if address.parse::<Email>().is_err() {
            return Err(format!("`{address}` is not a mail address"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn field(name: &'static str, kind: FieldKind) -> Field {
        Field {
            name,
            label: name,
            help: "",
            required: false,
            secret: false,
            kind,
        }
    }

    const FIELDS: [Field; 5] = [
        Field {
            required: true,
            secret: true,
            ..field("token", FieldKind::Text)
        },
        field("url", FieldKind::Url),
        field("port", FieldKind::Number(1, 65_535)),
        field("to", FieldKind::Addresses),
        field("tls", FieldKind::Choice(&["on", "starttls"])),
    ];

    fn wrong(name: &str, value: &str) -> String {
        let input: Values = [("token", "t"), (name, value)].into_iter().collect();
        match fill(&FIELDS, Values::default(), &input) {
            Ok(_) => String::new(),
            Err(errors) => {
                assert_eq!(errors.len(), 1, "{errors:?}");
                assert_eq!(errors[0].field, name);
                errors[0].message.clone()
            }
        }
    }

    #[test]
    fn every_kind_says_what_it_expects() {
        assert_eq!(wrong("url", "https://example.com/a?b=c"), "");
        for url in ["example.com", "ftp://example.com", "https://", "a b"] {
            assert!(wrong("url", url).starts_with("must be an address"), "{url}");
        }
        assert!(wrong("url", "https://a:b@example.com").contains("password"));
        assert_eq!(wrong("port", "587"), "");
        for port in ["0", "65536", "x", "-1"] {
            assert_eq!(
                wrong("port", port),
                "must be a whole number from 1 to 65535"
            );
        }
        assert_eq!(wrong("to", "a@example.com, b@example.com"), "");
        assert_eq!(wrong("to", "a@example.com,"), "`` is not a mail address");
        assert_eq!(wrong("tls", "on"), "");
        assert_eq!(
            wrong("tls", "starttl"),
            "is none of these; did you mean \"starttls\"?"
        );
        assert!(wrong("token", "a\nb").contains("control"));
    }

    #[test]
    fn unknown_name_leads_to_the_right_one() {
        let hint = "there is no such setting; did you mean \"port\"?";
        assert_eq!(wrong("prot", "1"), hint);
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_empty_goes() {
        let kept: Values = [("token", "old"), ("port", "1")].into_iter().collect();
        let input: Values = [("port", ""), ("url", "https://example.com")]
            .into_iter()
            .collect();
        let filled = fill(&FIELDS, kept, &input).unwrap();
        assert_eq!(filled.get("token"), Some("old"));
        assert_eq!(filled.get("port"), None);
        let shown = plain(&FIELDS, &filled);
        assert_eq!(shown.iter().count(), 1);
        assert_eq!(secrets(&FIELDS, &input).count(), 0);
        let cleared: Values = [("token", "")].into_iter().collect();
        assert!(fill(&FIELDS, filled, &cleared).is_err());
    }
}
