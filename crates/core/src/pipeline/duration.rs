//! Lengths of time as the document writes them: `10m`, `90s`, `500ms`, `1h30m`.

use std::time::Duration;

const MILLISECOND: u64 = 1;
const SECOND: u64 = 1000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The units, each with its milliseconds, largest first.
const UNITS: [(&str, u64); 4] = [
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", MILLISECOND),
];

/// Reads whole numbers with units, larger units first, each at most once.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (amount, after_amount) = take_while(rest, |c| c.is_ascii_digit());
        let (unit, after_unit) = take_while(after_amount, |c| c.is_ascii_alphabetic());
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        let part_ms = amount.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
        total_ms = total_ms.checked_add(part_ms)?;
        rest = after_unit;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// Writes a duration so that [`parse`] reads it back; parts of a millisecond are cut.
pub(super) fn format(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit_ms) in UNITS {
        let amount = rest_ms / unit_ms;
        if amount > 0 {
            text.push_str(&format!("{amount}{name}"));
        }
        rest_ms %= unit_ms;
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

fn take_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Durations in a stored snapshot are written as in the document.
pub(super) mod stored {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).ok_or_else(|| D::Error::custom("expected a duration such as 10m"))
    }
}

/// As [`stored`], for durations that may be missing.
pub(super) mod stored_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Stored(#[serde(with = "super::stored")] Duration);

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Stored).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Stored>::deserialize(deserializer)?.map(|Stored(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_add_up() {
        let seconds = Duration::from_secs;
        assert_eq!(parse("10m"), Some(seconds(600)));
        assert_eq!(parse("90s"), Some(seconds(90)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1h30m"), Some(seconds(5400)));
        assert_eq!(parse("1h2m3s4ms"), Some(Duration::from_millis(3_723_004)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_but_whole_numbers_with_descending_units_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "ten",
            "1.5h",
            "-1s",
            "1h 30m",
            " 1s",
            "1s ",
            "1m1h",
            "1s1s",
            "1d",
            "1S",
            "1m30",
            "18446744073709551615h",
            "99999999999999999999s",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_written_as_zero_seconds() {
        assert_eq!(format(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn written_duration_reads_back(milliseconds in any::<u64>()) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn reading_never_panics(text in "[0-9hms ]{0,24}|\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
