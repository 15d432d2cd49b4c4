//! Points in time and spans of it, in words.

use askama::{Template, filters::HtmlSafe};
use chrono::{DateTime, TimeDelta, Utc};

/// A point in time: how long ago, with the exact time behind it.
#[derive(Clone, Debug, Template)]
#[template(path = "parts/moment.html")]
pub(super) struct Moment {
    exact: String,
    machine: String,
    text: String,
}

// Its template escapes what it shows.
impl HtmlSafe for Moment {}

impl Moment {
    /// Describes a point in time as seen from another.
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            exact: at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            machine: at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            text: relative(at, now),
        }
    }
}

fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let past = now - at;
    if past.abs() >= TimeDelta::days(30) {
        return at.format("%Y-%m-%d").to_string();
    }
    let seconds = past.num_seconds().abs();
    let (count, unit) = match seconds {
        0..5 => return "just now".to_owned(),
        5..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    if past < TimeDelta::zero() {
        format!("in {count} {unit}")
    } else {
        format!("{count} {unit} ago")
    }
}

/// A length of time, with as much precision as people want.
pub(super) fn span(length: TimeDelta) -> String {
    let ms = length.num_milliseconds().max(0);
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A length of time that may not be over: what runs is counted on by the page's script.
#[derive(Clone, Debug, Template)]
#[template(path = "parts/elapsed.html")]
pub(super) struct Elapsed {
    text: String,
    since_ms: Option<i64>,
}

// Its template escapes what it shows.
impl HtmlSafe for Elapsed {}

impl Elapsed {
    /// From a beginning to an end, or to now.
    pub(super) fn new(
        started: Option<DateTime<Utc>>,
        finished: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let started = started?;
        Some(Self {
            text: span(finished.unwrap_or(now) - started),
            since_ms: finished.is_none().then(|| started.timestamp_millis()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_would() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let told: Vec<_> = [0, 4, 5, 59, 60, 7199, 86_399, 86_400, 2_591_999, 2_592_000]
            .map(|seconds| relative(now - TimeDelta::seconds(seconds), now))
            .into();
        assert_eq!(
            told,
            [
                "just now",
                "just now",
                "5 s ago",
                "59 s ago",
                "1 min ago",
                "1 h ago",
                "23 h ago",
                "1 d ago",
                "29 d ago",
                "2026-12-16",
            ]
        );
        assert_eq!(relative(now + TimeDelta::seconds(25), now), "in 25 s");
    }

    #[test]
    fn spans_lose_precision_as_they_grow() {
        let told = [-5, 0, 3_240, 9_999, 10_000, 61_000, 3_599_999, 3_660_000]
            .map(|ms| span(TimeDelta::milliseconds(ms)));
        assert_eq!(
            told,
            [
                "0.0 s",
                "0.0 s",
                "3.2 s",
                "9.9 s",
                "10 s",
                "1 min 1 s",
                "59 min 59 s",
                "1 h 1 min"
            ]
        );
    }

    #[test]
    fn only_what_runs_is_counted_on() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let begun = now - TimeDelta::seconds(61);
        let running = Elapsed::new(Some(begun), None, now).unwrap();
        assert_eq!(
            running.to_string(),
            "<span data-since=\"1799999939000\">1 min 1 s</span>"
        );
        let ended = Elapsed::new(Some(begun), Some(now), now).unwrap();
        assert_eq!(ended.to_string(), "1 min 1 s");
        assert!(Elapsed::new(None, None, now).is_none());
    }
}
