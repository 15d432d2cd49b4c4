//! What a notice tells, in neutral words: the one place that decides what is said of which event.
//!
//! Everything in a story is free of control characters and bounded, and escaped for nobody yet.

use chrono::{DateTime, Utc};
use slipway_core::notify::{
    Event, Notice,
    event::Tone,
    notice::{Facts, Failure},
};
use url::Url;

use crate::{
    answer::line,
    text::{log_line, one_line},
};

/// Most characters of a name, and of a sentence that somebody wrote.
const NAME_MAX: usize = 100;
const SENTENCE_MAX: usize = 500;

/// Most lines of a log, and characters of each that are looked at.
const LOG_LINES_MAX: usize = 50;
const LOG_LINE_MAX: usize = 1_000;

const COMMIT_SHOWN: usize = 8;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// How it should look.
    pub(crate) tone: Tone,
    /// A picture that says the same.
    pub(crate) symbol: &'static str,
    /// One line: what happened, and where.
    pub(crate) title: String,
    /// Sentences.
    pub(crate) sentences: Vec<String>,
    /// What is to be known of it, in order of importance.
    pub(crate) facts: Vec<Fact>,
    /// What the failing step wrote.
    pub(crate) log: Option<Log>,
    /// Where to read on.
    pub(crate) link: Option<Link>,
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
}

/// Something known, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Its name.
    pub(crate) label: &'static str,
    /// Its value, one line.
    pub(crate) value: String,
    /// Whether it is code rather than words.
    pub(crate) is_code: bool,
    /// Whether it is short enough to stand beside another one.
    pub(crate) is_short: bool,
}

/// Lines that a step wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Whose they are.
    pub(crate) caption: String,
    /// At least one.
    pub(crate) lines: Vec<String>,
}

/// Somewhere to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// What it is called.
    pub(crate) label: String,
    /// An address for browsers, in which nothing needs an escape but `&`.
    pub(crate) url: String,
}

impl Link {
    /// Whether its host looks like one that others can reach.
    pub(crate) fn is_public(&self) -> bool {
        let host = Url::parse(&self.url)
            .ok()
            .and_then(|url| Some(url.host_str()?.to_owned()));
        host.is_some_and(|host| host.contains('.'))
    }
}

impl Story {
    /// Tells a notice.
    pub(crate) fn of(notice: &Notice) -> Self {
        let (symbol, what) = headline(notice.event);
        Self {
            tone: notice.event.tone(),
            symbol,
            title: format!("{what}: {}", place(notice)),
            sentences: sentences(notice),
            facts: facts(notice),
            log: notice.failure.as_ref().and_then(log),
            link: notice.url.as_deref().and_then(|url| link(url, notice)),
            at: notice.at,
        }
    }

    /// When it happened, for people.
    pub(crate) fn moment(&self) -> String {
        self.at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

/// A picture and a heading for each event.
fn headline(event: Event) -> (&'static str, &'static str) {
    match event {
        Event::Requested => ("📥", "Deployment requested"),
        Event::AwaitingApproval => ("✋", "Deployment waits for approval"),
        Event::Started => ("🚀", "Deployment started"),
        Event::Succeeded => ("✅", "Deployment succeeded"),
        Event::Failed => ("❌", "Deployment failed"),
        Event::Cancelled => ("🚫", "Deployment cancelled"),
        Event::RolledBack => ("⏪", "Rolled back"),
        Event::Recovered => ("✅", "Works again"),
        Event::Stuck => ("⏳", "Deployment is stuck in the queue"),
        Event::TargetUnreachable => ("🔌", "Target cannot be reached"),
        Event::Locked => ("🔒", "Locked"),
        Event::Unlocked => ("🔓", "Lock lifted"),
        Event::KeyRotationDue => ("🔑", "Encryption key should be changed"),
        Event::Test => ("🔔", "Test message"),
    }
}

fn place(notice: &Notice) -> String {
    let project = notice.project.as_deref().map(name);
    let target = notice.target.as_deref().map(name);
    match (project, target) {
        (Some(project), Some(target)) => format!("{project} → {target}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) if notice.event == Event::Locked => "all projects".to_owned(),
        (None, None) if notice.event == Event::Unlocked => "all projects".to_owned(),
        (None, None) => "Slipway".to_owned(),
    }
}

fn name(text: &str) -> String {
    line(&one_line(text), NAME_MAX)
}

fn sentence(text: &str) -> String {
    line(&one_line(text), SENTENCE_MAX)
}

fn sentences(notice: &Notice) -> Vec<String> {
    let failure = notice.failure.as_ref();
    let failure = failure.map(|failure| capitalised(&sentence(&failure.sentence)));
    let text = notice.text.as_deref().map(sentence);
    let works = (notice.event == Event::Test)
        .then(|| "If you can read this, messages arrive here.".to_owned());
    let more = match notice.folded {
        0 => None,
        1 => Some("One more of the same since the last message.".to_owned()),
        more => Some(format!("{more} more of the same since the last message.")),
    };
    let all = [failure, text, works, more].into_iter().flatten();
    all.filter(|sentence| !sentence.is_empty()).collect()
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

fn facts(notice: &Notice) -> Vec<Fact> {
    let failure = notice.failure.as_ref();
    let step = failure.and_then(|failure| failure.step.as_deref());
    let mut facts = vec![code("Step", step.map(name))];
    if let Some(deployment) = &notice.deployment {
        facts.extend(of_deployment(deployment));
    }
    facts.push(short("By", notice.actor.as_deref().map(name)));
    let facts = facts.into_iter().flatten();
    facts.filter(|fact| !fact.value.is_empty()).collect()
}

fn of_deployment(deployment: &Facts) -> [Option<Fact>; 9] {
    let attempt = Some(deployment.attempt).filter(|attempt| *attempt > 1);
    let attempt = attempt.map(|attempt| attempt.to_string());
    [
        short("Deployment", Some(format!("#{}", deployment.id))),
        code("Branch or tag", deployment.reference.as_deref().map(name)),
        code("Commit", commit(deployment)),
        long("Subject", deployment.subject.as_deref().map(sentence)),
        short("Author", deployment.author.as_deref().map(name)),
        short("Requested by", Some(name(&deployment.requested_by))),
        short("Duration", deployment.duration_ms.map(duration)),
        short("Attempt", attempt),
        long("Note", deployment.note.as_deref().map(sentence)),
    ]
}

fn short(label: &'static str, value: Option<String>) -> Option<Fact> {
    Some(Fact {
        label,
        value: value?,
        is_code: false,
        is_short: true,
    })
}

fn code(label: &'static str, value: Option<String>) -> Option<Fact> {
    let fact = short(label, value)?;
    Some(Fact {
        is_code: true,
        ..fact
    })
}

fn long(label: &'static str, value: Option<String>) -> Option<Fact> {
    let fact = short(label, value)?;
    Some(Fact {
        is_short: false,
        ..fact
    })
}

fn commit(deployment: &Facts) -> Option<String> {
    let commit = one_line(deployment.commit.as_deref()?);
    Some(commit.chars().take(COMMIT_SHOWN).collect())
}

fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{milliseconds} ms"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn log(failure: &Failure) -> Option<Log> {
    let skipped = failure.lines.len().saturating_sub(LOG_LINES_MAX);
    let lines = failure.lines.iter().skip(skipped);
    let lines: Vec<_> = lines.map(|line| bounded(&log_line(line))).collect();
    let caption = match &failure.step {
        Some(step) => format!("Last lines of {}", name(step)),
        None => "Last lines".to_owned(),
    };
    let says_something = lines.iter().any(|line| !line.is_empty());
    says_something.then_some(Log { caption, lines })
}

/// Keeps a line's beginning and end.
fn bounded(line: &str) -> String {
    let characters: Vec<char> = line.chars().collect();
    if characters.len() <= LOG_LINE_MAX {
        return line.to_owned();
    }
    let half = LOG_LINE_MAX / 2;
    let first = characters.iter().take(half);
    let last = characters.iter().skip(characters.len() - half);
    first.chain(['…'].iter()).chain(last).collect()
}

fn link(url: &str, notice: &Notice) -> Option<Link> {
    let url = Url::parse(url).ok()?;
    let label = match &notice.deployment {
        Some(deployment) => format!("Open deployment #{}", deployment.id),
        None => "Open in Slipway".to_owned(),
    };
    matches!(url.scheme(), "http" | "https").then(|| Link {
        label,
        // What would end an address in one of the forms is percent-encoded.
        url: ['<', '>', '"', '\'', '(', ')', '|', '\\', '`']
            .iter()
            .fold(url.to_string(), |url, c| {
                url.replace(*c, &format!("%{:02X}", u32::from(*c)))
            }),
    })
}
