//! Lines of a `known_hosts` file, as `ssh-keyscan` prints them: read strictly, written plainly. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::key::fingerprint;

const ALGORITHMS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];
/// Most lines that are taken at once.
const LINES_MAX: usize = 50;

/// A server's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// `example.com`, or `[example.com]:2222`.
    pub host: String,
    /// The name of the algorithm.
    pub algorithm: String,
    /// In base64.
    pub public_key: String,
    /// As `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// Reads lines; empty ones and comments are skipped.
///
/// # Errors
/// Says which line is not acceptable, and why.
pub fn parse(text: &str) -> Result<Vec<HostKey>, String> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = one(line).map_err(|why| format!("line {number} {why}"))?;
        if keys.len() >= LINES_MAX {
            return Err(format!("has more than {LINES_MAX} keys"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("has no key; `ssh-keyscan HOST` prints a server's keys".to_owned());
    }
    Ok(keys)
}

fn one(line: &str) -> Result<HostKey, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (Some(host), Some(algorithm), Some(public_key)) =
        (words.next(), words.next(), words.next())
    else {
        return Err("is not a host, an algorithm and a key");
    };
    if host.starts_with('|') {
        return Err("hides its host; take it from `ssh-keyscan` without -H");
    }
    if host.len() > 255 || !host.chars().all(is_of_a_host) {
        return Err("has no single host, such as example.com or [example.com]:2222");
    }
    if !ALGORITHMS.contains(&algorithm) {
        return Err("has an algorithm that is not known");
    }
    let wrong = "has a key that is damaged";
    let public = STANDARD.decode(public_key).or(Err(wrong))?;
    let named = super::key::string(algorithm.as_bytes());
    if public.len() <= named.len() + 4 || !public.starts_with(&named) {
        return Err(wrong);
    }
    Ok(HostKey {
        host: host.to_ascii_lowercase(),
        algorithm: algorithm.to_owned(),
        public_key: STANDARD.encode(&public),
        fingerprint: fingerprint(&public),
    })
}

/// Neither a pattern nor a list, nor a marker such as `@revoked`.
fn is_of_a_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn lines_of_keyscan_are_read() {
        let text = format!(
            "# github.com:22 SSH-2.0\nGitHub.com ssh-ed25519 {KEY}\n\n\
             [git.example.com]:2222 ssh-ed25519 {KEY} comment\n"
        );
        let keys = parse(&text).unwrap();
        assert_eq!(keys[0].host, "github.com");
        assert_eq!(
            keys[0].fingerprint,
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
        assert_eq!(keys[1].host, "[git.example.com]:2222");
    }

    #[test]
    fn what_could_mean_more_than_one_server_is_refused() {
        for host in [
            "*",
            "a,b",
            "!a",
            "@revoked",
            "|1|abc=|def=",
            "a?",
            "a\u{e9}",
        ] {
            let refused = parse(&format!("{host} ssh-ed25519 {KEY}"));
            assert!(refused.unwrap_err().starts_with("line 1 "), "{host}");
        }
        for line in [
            "host",
            "host ssh-ed25519",
            "host ssh-dss AAAA",
            "host ssh-rsa AAAA",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let other = format!("host ssh-rsa {KEY}");
        assert_eq!(
            parse(&other).unwrap_err(),
            "line 1 has a key that is damaged"
        );
        assert!(parse("# nothing\n").unwrap_err().starts_with("has no key"));
    }
}
