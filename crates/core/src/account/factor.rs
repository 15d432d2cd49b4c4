//! Second factors: six digits of an authenticator (RFC 6238: SHA-1, 30 s), and recovery codes for
//! whoever has lost it. Pure; which were used already is decided where the rows are.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

use super::{
    entity::user,
    first_admin::{ALPHABET, random_letters},
    kind::UserKind,
    token::hashed,
};
use crate::{
    access::SystemRole,
    error::{Error, Result},
    id::UserId,
    settings::RequiredFactor,
};

/// Bytes of a seed, as many as SHA-1 gives.
pub const SEED_BYTES: usize = 20;
/// Recovery codes that somebody gets at a time.
pub const RECOVERY_CODES: usize = 10;
/// 80 bits, so that a fast hash will do.
const RECOVERY_CHARS: usize = 16;
const DIGITS: usize = 6;
const STEP_SECONDS: u64 = 30;
/// Time steps that a clock may be ahead or behind.
const SKEW: u16 = 1;
const ISSUER: &str = "Slipway";

/// Makes a seed.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub fn new_seed() -> Result<Zeroizing<[u8; SEED_BYTES]>> {
    let mut seed = Zeroizing::new([0_u8; SEED_BYTES]);
    getrandom::fill(seed.as_mut_slice())?;
    Ok(seed)
}

/// What an authenticator is told, shown once.
#[derive(Debug)]
pub struct Enrolment {
    /// The seed in base 32, to be typed.
    pub secret: SecretString,
    /// The same as an `otpauth://` address, for a link or a camera.
    pub uri: SecretString,
}

impl Enrolment {
    /// Writes a seed down.
    ///
    /// # Errors
    /// When the seed is none of ours.
    pub fn new(seed: &[u8], email: &str) -> Result<Self> {
        let totp = totp(seed, email)?;
        let uri = totp.to_url().map_err(fault)?;
        Ok(Self {
            secret: totp.secret().to_base32().into(),
            uri: uri.into(),
        })
    }
}

fn totp(seed: &[u8], email: &str) -> Result<Totp> {
    let secret = Secret::new(seed.to_vec().into_boxed_slice());
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS as u8)
        .with_step_duration(STEP_SECONDS)
        .with_skew(SKEW)
        .with_secret(secret)
        .with_issuer(Some(ISSUER))
        // A colon would end the issuer's part.
        .with_account_name(email.replace(':', "_"))
        .build()
        .map_err(fault)
}

fn fault(error: totp_rs::TotpError) -> Error {
    Error::Internal(anyhow::Error::new(error).context("computing a one-time code"))
}

/// The code of a moment, as an authenticator shows it.
///
/// # Errors
/// When the seed is none of ours.
pub fn code_at(seed: &[u8], at: DateTime<Utc>) -> Result<SecretString> {
    let code = totp(seed, "")?.generate(seconds(at));
    Ok(code.to_string().into())
}

/// The time step whose code this is, if it is one of around now.
///
/// # Errors
/// When the seed is none of ours.
pub fn step_of(seed: &[u8], digits: &str, now: DateTime<Utc>) -> Result<Option<i64>> {
    let step = totp(seed, "")?.check(digits, seconds(now));
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

fn seconds(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp()).unwrap_or_default()
}

/// What somebody typed where a code is asked for.
#[derive(Debug)]
pub enum Typed {
    /// The digits of an authenticator.
    Digits(SecretString),
    /// A recovery code, without what only makes it readable.
    Recovery(SecretString),
}

impl Typed {
    /// Reads it; spaces, dashes and capitals do not matter. None for what can be neither.
    #[must_use]
    pub fn read(text: &SecretString) -> Option<Self> {
        let kept = text.expose_secret().chars().take(100);
        let kept = kept.filter(|c| !c.is_whitespace() && *c != '-');
        let plain: Zeroizing<String> = Zeroizing::new(kept.collect());
        let plain = Zeroizing::new(plain.to_ascii_lowercase());
        if plain.len() == DIGITS && plain.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Digits(plain.as_str().into()));
        }
        let is_recovery =
            plain.len() == RECOVERY_CHARS && plain.bytes().all(|byte| ALPHABET.contains(&byte));
        is_recovery.then(|| Self::Recovery(plain.as_str().into()))
    }
}

/// Makes the recovery codes of one time, as they are shown.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub fn recovery_codes() -> Result<Vec<SecretString>> {
    let one = |_| {
        let plain = random_letters::<RECOVERY_CHARS>()?;
        let mut shown = Zeroizing::new(String::new());
        for (index, letter) in plain.expose_secret().chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                shown.push('-');
            }
            shown.push(letter);
        }
        Ok(shown.as_str().into())
    };
    (0..RECOVERY_CODES).map(one).collect()
}

/// What is stored of a recovery code; None for what is none.
#[must_use]
pub fn recovery_hash(user: UserId, text: &SecretString) -> Option<String> {
    match Typed::read(text)? {
        Typed::Recovery(plain) => Some(hashed(&Zeroizing::new(format!(
            "{user} {}",
            plain.expose_secret()
        )))),
        Typed::Digits(_) => None,
    }
}

/// Whether this installation asks the account for a second factor.
#[must_use]
pub fn is_required(rule: RequiredFactor, user: &user::Model) -> bool {
    let has_password = user.kind == UserKind::Person && !user.password_hash.is_empty();
    has_password
        && match rule {
            RequiredFactor::None => false,
            RequiredFactor::Admins => user.role == SystemRole::Admin,
            RequiredFactor::All => true,
        }
}

/// Whether the account has to switch one on before anything else.
#[must_use]
pub fn is_lacking(rule: RequiredFactor, user: &user::Model) -> bool {
    user.factor_at.is_none() && is_required(rule, user)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::TimeDelta;

    use super::*;

    const SEED: &[u8; SEED_BYTES] = b"12345678901234567890";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Appendix B of RFC 6238 has eight digits; the last six of them are the code of six.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let shown = code_at(SEED, at(seconds)).unwrap();
            assert_eq!(shown.expose_secret(), code, "{seconds}");
            assert_eq!(
                step_of(SEED, code, at(seconds)).unwrap(),
                Some(seconds / 30)
            );
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_no_more() {
        let now = at(1_111_111_110);
        let step = 1_111_111_110 / 30;
        for (off, expected) in [
            (-2, None),
            (-1, Some(step - 1)),
            (0, Some(step)),
            (1, Some(step + 1)),
            (2, None),
        ] {
            let code = code_at(SEED, now + TimeDelta::seconds(off * 30)).unwrap();
            let found = step_of(SEED, code.expose_secret(), now).unwrap();
            assert_eq!(found, expected, "{off}");
        }
        for odd in ["", "28708", "2870822", "28708a", "\u{661}87082"] {
            assert_eq!(step_of(SEED, odd, at(59)).unwrap(), None, "{odd}");
        }
    }

    #[test]
    fn an_authenticator_is_told_seed_issuer_and_account() {
        let made = Enrolment::new(SEED, "ann:b@example.com").unwrap();
        assert_eq!(
            made.secret.expose_secret(),
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        );
        assert_eq!(
            made.uri.expose_secret(),
            "otpauth://totp/Slipway:ann_b%40example.com\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Slipway"
        );
        assert!(!format!("{made:?}").contains("GEZDG"));
    }

    #[test]
    fn what_is_typed_is_read_generously() {
        let read = |text: &str| match Typed::read(&text.into()) {
            Some(Typed::Digits(plain)) => format!("digits {}", plain.expose_secret()),
            Some(Typed::Recovery(plain)) => format!("recovery {}", plain.expose_secret()),
            None => "nothing".to_owned(),
        };
        assert_eq!(read(" 287 082 "), "digits 287082");
        assert_eq!(read("ABCD-efgh jkmn-2345"), "recovery abcdefghjkmn2345");
        for odd in ["", "28708", "abcd-efgh-jkmn-234l", "abcd-efgh-jkmn-2345-6"] {
            assert_eq!(read(odd), "nothing", "{odd}");
        }
    }

    #[test]
    fn recovery_codes_differ_and_belong_to_one_account() {
        let codes = recovery_codes().unwrap();
        let ann = codes.iter().map(|code| recovery_hash(UserId(1), code));
        let ann: HashSet<String> = ann.map(Option::unwrap).collect();
        assert_eq!(ann.len(), RECOVERY_CODES);
        let of_bob = recovery_hash(UserId(2), &codes[0]).unwrap();
        assert!(!ann.contains(&of_bob));
        let shown = codes[0].expose_secret();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
    }
}
