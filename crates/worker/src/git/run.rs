//! Runs git commands and says in our own words what went wrong.

use std::time::Duration;

use super::GitError;
use crate::exec::{self, Captured, Command, Limits, Outcome, Scope};

/// Longest transfer or checkout.
pub(super) const TRANSFER_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Longest question to a repository on this machine.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Most that a question may be answered with.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How much of git's own words is kept in an error.
const MESSAGE_MAX_BYTES: usize = 2 * 1024;

/// Git's words for "no such commit over there".
const UNKNOWN: [&str; 3] = [
    "not our ref",
    "couldn't find remote ref",
    "unadvertised object",
];

/// Git's and ssh's words for a no that stays a no.
const REFUSED: [&str; 12] = [
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied",
    "host key verification failed",
    "access denied",
    "the requested url returned error: 401",
    "the requested url returned error: 403",
    "does not appear to be a git repository",
    "repository not found",
    "not allowed",
    "dubious ownership",
];

/// What git says after every failure of ssh.
const AFTERWORDS: [&str; 3] = [
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// Words for an other side that is not there just now.
const UNREACHABLE: [&str; 12] = [
    "could not resolve host",
    "failed to connect",
    "couldn't connect",
    "connection refused",
    "connection timed out",
    "connection reset",
    "connection closed",
    "no route to host",
    "network is unreachable",
    "unable to access",
    "could not read from remote repository",
    "hung up unexpectedly",
];

/// Runs a command that may take its time; its output only matters when it fails.
pub(super) async fn transfer(command: &Command, scope: &Scope) -> Result<(), GitError> {
    run(command, TRANSFER_TIMEOUT, scope).await.map(drop)
}

/// Runs a command for its output.
pub(super) async fn ask(command: &Command, scope: &Scope) -> Result<Vec<u8>, GitError> {
    run(command, QUESTION_TIMEOUT, scope).await
}

/// Runs a command that answers with its exit code: 0 is yes, 1 is no.
pub(super) async fn is_so(command: &Command, scope: &Scope) -> Result<bool, GitError> {
    let mut output = Captured::new(ANSWER_MAX_BYTES);
    let outcome = exec::run(command, &Limits::new(QUESTION_TIMEOUT), scope, &mut output).await;
    if let Outcome::Exited(code @ (0 | 1)) = outcome {
        return Ok(code == 0);
    }
    Err(error(outcome, &output.text()))
}

async fn run(command: &Command, timeout: Duration, scope: &Scope) -> Result<Vec<u8>, GitError> {
    let mut output = Captured::new(ANSWER_MAX_BYTES);
    tracing::debug!(%command, "running git");
    let outcome = exec::run(command, &Limits::new(timeout), scope, &mut output).await;
    if outcome != Outcome::Exited(0) {
        return Err(error(outcome, &output.text()));
    }
    if output.overflowed() {
        return Err(GitError::Failed("the answer is too long".to_owned()));
    }
    Ok(output.into_bytes())
}

fn error(outcome: Outcome, output: &str) -> GitError {
    match outcome {
        Outcome::Exited(code) => classified(code, output),
        Outcome::Signalled(signal) => GitError::Failed(format!("it ended by signal {signal}")),
        Outcome::TimedOut | Outcome::IdleTimedOut => {
            GitError::Unreachable("it did not finish in time".to_owned())
        }
        Outcome::Cancelled => GitError::Cancelled,
        Outcome::NotStarted(reason) => GitError::Failed(reason),
    }
}

/// Sorts a failure by git's words. They are stable enough: the locale is fixed, and a message
/// that nobody knows is a failure like any other.
fn classified(code: i32, output: &str) -> GitError {
    let message = message(output);
    let lower = output.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&UNKNOWN) {
        GitError::UnknownRef(message)
    } else if says(&REFUSED) {
        GitError::Refused(refused_by_ssh(output).unwrap_or(message))
    } else if says(&UNREACHABLE) {
        GitError::Unreachable(message)
    } else if message.is_empty() {
        GitError::Failed(format!("it ended with code {code}"))
    } else {
        GitError::Failed(message)
    }
}

/// What to do about a no of ssh, whose own words are many and blame the wrong side. None when it
/// was not ssh that failed.
fn refused_by_ssh(output: &str) -> Option<String> {
    let lines = || output.lines().map(str::trim);
    let quoted = |words: &str| {
        let line = lines().find(|line| line.contains(words));
        line.map(|line| message(line.trim_end_matches('.')))
    };
    if let Some(line) = quoted(" host key is known for ") {
        return Some(format!(
            "the worker does not know its server; add the server's host key to the known hosts, \
             once you are sure that it is the right one ({line})"
        ));
    }
    if let Some(line) = quoted(" has changed and you have requested strict checking") {
        let shown = lines().find_map(|line| line.strip_prefix("SHA256:"));
        let shown = shown.map_or(String::new(), |key| {
            format!("; it shows SHA256:{}", message(key.trim_end_matches('.')))
        });
        return Some(format!(
            "its server shows another host key than the known one, so it may not be that server; \
             replace the key among the known hosts only if you know why it changed ({line}{shown})"
        ));
    }
    quoted("Permission denied (")?;
    let blame = |line: &&str| !line.is_empty() && !AFTERWORDS.contains(line);
    let said = message(&lines().filter(blame).collect::<Vec<_>>().join("\n"));
    let said = said.trim_end_matches('.');
    Some(format!(
        "its server does not accept the worker's ssh key; give that key the right to read the \
         repository, or check the key file ({said})"
    ))
}

/// The end of git's words, on one line and without credentials.
fn message(output: &str) -> String {
    let output = without_credentials(output);
    let lines: Vec<_> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut message = lines.join("; ");
    if let Some(excess) = message.len().checked_sub(MESSAGE_MAX_BYTES) {
        message = message.split_off(message.ceil_char_boundary(excess));
    }
    message
}

/// Takes what stands before an `@` out of every address in `text`.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace());
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        clean.extend(["://", host, rest]);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_sorted_by_what_can_be_done_about_them() {
        type Sort = fn(String) -> GitError;
        let cases: [(&str, Sort); 7] = [
            (
                "fatal: unable to access 'https://e.com/': Could not resolve host",
                GitError::Unreachable,
            ),
            (
                "ssh: connect to host e.com port 22: Connection refused",
                GitError::Unreachable,
            ),
            (
                "error: cannot open shallow: Permission denied\nfatal: Could not read from remote repository.",
                GitError::Refused,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                GitError::Refused,
            ),
            (
                "fatal: unable to access 'https://e.com/': The requested URL returned error: 403",
                GitError::Refused,
            ),
            (
                "fatal: remote error: upload-pack: not our ref 123",
                GitError::UnknownRef,
            ),
            ("fatal: bad object refs/heads/main", GitError::Failed),
        ];
        for (output, sort) in cases {
            let expected = sort(output.replace('\n', "; "));
            assert_eq!(error(Outcome::Exited(128), output), expected);
        }
    }

    #[test]
    fn credentials_never_reach_a_message() {
        let output = "fatal: 'https://user:hunter2@e.com/app' and ssh://git@e.com/x@y\nfoo@bar";
        assert_eq!(
            message(output),
            "fatal: 'https://e.com/app' and ssh://e.com/x@y; foo@bar"
        );
    }

    #[test]
    fn long_message_keeps_its_end() {
        let output = format!("{}\nfatal: the reason", "é".repeat(5000));
        let message = message(&output);
        assert!(message.len() <= MESSAGE_MAX_BYTES && message.ends_with("fatal: the reason"));
    }

    #[test]
    fn timeout_may_be_tried_again_and_a_signal_is_a_failure() {
        assert!(matches!(
            error(Outcome::TimedOut, ""),
            GitError::Unreachable(_)
        ));
        assert!(matches!(
            error(Outcome::Signalled(9), ""),
            GitError::Failed(_)
        ));
        assert_eq!(error(Outcome::Cancelled, ""), GitError::Cancelled);
    }
}
