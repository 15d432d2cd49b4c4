//! The rules for single texts: names, commands, paths and addresses.
//!
//! Each takes the text and answers with what is wrong in it, worded for the document's author.

use url::Url;

use super::quote::quote;

/// Most characters of a step's name.
const STEP_NAME_CHARACTERS_MAX: usize = 64;
/// Most bytes of one command.
const RUN_BYTES_MAX: usize = 16 * 1024;
/// Most characters of a variable's or secret's name.
const NAME_CHARACTERS_MAX: usize = 128;
/// Most bytes of a path.
const PATH_BYTES_MAX: usize = 255;
/// Most bytes of an address.
const URL_BYTES_MAX: usize = 2048;
/// Names that belong to Slipway's own values.
const RESERVED_PREFIX: &str = "SLIPWAY_";

type Verdict = Result<(), String>;

pub(super) fn step_name(name: &str) -> Verdict {
    let characters = name.chars().count();
    if name.trim().is_empty() {
        return Err("the name is empty".to_owned());
    }
    if characters > STEP_NAME_CHARACTERS_MAX {
        return Err(format!(
            "the name has {characters} characters, {STEP_NAME_CHARACTERS_MAX} are allowed"
        ));
    }
    no_control_character(name)
}

pub(super) fn run(command: &str) -> Verdict {
    if command.trim().is_empty() {
        return Err("the command is empty".to_owned());
    }
    if command.len() > RUN_BYTES_MAX {
        return Err(format!(
            "the command has {} bytes, {RUN_BYTES_MAX} are allowed; keep it in a script file",
            command.len()
        ));
    }
    no_nul(command)
}

pub(super) fn env_name(name: &str) -> Verdict {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !is_name(name, is_first, |c| is_first(c) || c.is_ascii_digit()) {
        return Err(format!(
            "{} is no variable name: letters, digits and _, at most {NAME_CHARACTERS_MAX}, \
             no digit first",
            quote(name)
        ));
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(format!(
            "names that begin with {RESERVED_PREFIX} are Slipway's own"
        ));
    }
    Ok(())
}

pub(super) fn env_value(value: &str) -> Verdict {
    no_nul(value)
}

pub(super) fn secret_name(name: &str) -> Verdict {
    let is_first = |c: char| c.is_ascii_uppercase() || c == '_';
    if is_name(name, is_first, |c| is_first(c) || c.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!(
        "{} is no secret name: capitals, digits and _, at most {NAME_CHARACTERS_MAX}, \
         no digit first",
        quote(name)
    ))
}

fn is_name(name: &str, first: impl Fn(char) -> bool, other: impl Fn(char) -> bool) -> bool {
    name.len() <= NAME_CHARACTERS_MAX && name.starts_with(first) && name.chars().all(other)
}

/// A path that stays below the folder it is joined to and is never taken for an option.
pub(super) fn relative_path(path: &str) -> Verdict {
    if path.len() > PATH_BYTES_MAX {
        let bytes = path.len();
        return Err(format!(
            "the path has {bytes} bytes, {PATH_BYTES_MAX} are allowed"
        ));
    }
    no_control_character(path)?;
    let has_bad_part = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if has_bad_part || path.starts_with('-') {
        return Err(format!(
            "expected a relative path such as dist/app, without empty, \".\" or \"..\" parts \
             and no \"-\" first, found {}",
            quote(path)
        ));
    }
    Ok(())
}

pub(super) fn http_url(text: &str) -> Verdict {
    let is_http = text.len() <= URL_BYTES_MAX
        && Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_http && !text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Ok(());
    }
    Err(format!(
        "expected an address such as http://127.0.0.1:8080/health, found {}",
        quote(text)
    ))
}

fn no_control_character(text: &str) -> Verdict {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!(
            "control character U+{:04X} is not allowed",
            u32::from(c)
        )),
        None => Ok(()),
    }
}

fn no_nul(text: &str) -> Verdict {
    if text.contains('\0') {
        return Err("a NUL character cannot be passed to a command".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_accepts(rule: fn(&str) -> Verdict, texts: &[&str]) {
        for text in texts {
            assert_eq!(rule(text), Ok(()), "{text:?}");
        }
    }

    fn assert_refuses(rule: fn(&str) -> Verdict, texts: &[&str]) {
        for text in texts {
            assert!(rule(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn step_name_is_one_line_of_at_most_64_characters() {
        assert_accepts(
            step_name,
            &["a", "Build & test", "ünïcode", &"é".repeat(64)],
        );
        assert_refuses(step_name, &["", " ", "a\nb", "a\u{85}", &"x".repeat(65)]);
    }

    #[test]
    fn command_is_some_text_without_nul() {
        assert_accepts(run, &["true", "a\n\tb\n", &"x".repeat(RUN_BYTES_MAX)]);
        assert_refuses(run, &["", " \n", "a\0b", &"x".repeat(RUN_BYTES_MAX + 1)]);
    }

    #[test]
    fn env_name_is_a_shell_name_that_is_not_ours() {
        assert_accepts(env_name, &["A", "_", "a1_B", "SLIPWAY", &"A".repeat(128)]);
        assert_refuses(
            env_name,
            &["", "1A", "A-B", "A B", "Ä", "SLIPWAY_REF", "A="],
        );
        assert_refuses(env_name, &[&"A".repeat(129)]);
    }

    #[test]
    fn secret_name_is_in_capitals() {
        assert_accepts(secret_name, &["TOKEN", "_T1", &"A".repeat(128)]);
        assert_refuses(secret_name, &["", "token", "1T", "A-B", &"A".repeat(129)]);
    }

    #[test]
    fn path_stays_below_its_folder() {
        assert_accepts(
            relative_path,
            &["dist", "a/b", ".env", "a..b", "...", "a/-b", "a b"],
        );
        assert_refuses(
            relative_path,
            &["", ".", "..", "/a", "a/", "a//b", "a/../b", "./a"],
        );
        assert_refuses(relative_path, &["-rf", "a\nb", "a\0", &"x".repeat(256)]);
    }

    #[test]
    fn health_address_is_http_with_a_host() {
        assert_accepts(http_url, &["http://[::1]:80/x?y", "https://a.example"]);
        assert_refuses(
            http_url,
            &["", "/health", "ftp://a", "http://", "mailto:a@b", "a:80"],
        );
        assert_refuses(http_url, &["http://a/\nb", " http://a", "http://a b/"]);
        let long = format!("http://a/{}", "x".repeat(URL_BYTES_MAX));
        assert_refuses(http_url, &[&long]);
    }
}
