//! Keys of the provider, and what is signed with them or wrongly not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rsa::{
    RsaPrivateKey,
    pkcs1v15::SigningKey,
    rand_core::OsRng,
    sha2::Sha256,
    signature::{SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

use super::{Algorithm, Claims};

const RSA_BITS: usize = 2_048;

enum Private {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaPrivateKey>),
}

/// A key that tokens are signed with.
pub(super) struct Key {
    number: u32,
    private: Private,
}

impl Key {
    pub(super) fn new(algorithm: Algorithm, number: u32) -> Self {
        let private = match algorithm {
            Algorithm::Es256 => {
                let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
                let document = EcdsaKeyPair::generate_pkcs8(kind, &random);
                let document = document.expect("a key is made");
                let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random);
                Private::Es256(Box::new(pair.expect("it is a key")))
            }
            Algorithm::Rs256 => {
                let key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).expect("a key is made");
                Private::Rs256(Box::new(key))
            }
        };
        Self { number, private }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self.private {
            Private::Es256(_) => Algorithm::Es256,
            Private::Rs256(_) => Algorithm::Rs256,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    fn name(&self) -> String {
        format!("key-{}", self.number)
    }

    /// The public half, as the provider publishes it.
    pub(super) fn published(&self) -> Value {
        match &self.private {
            Private::Es256(pair) => {
                // An uncompressed point: 4, x and y.
                let point = pair.public_key().as_ref();
                let (x, y) = point.split_at(1).1.split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
                    "kid": self.name(), "x": encoded(x), "y": encoded(y),
                })
            }
            Private::Rs256(key) => json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.name(),
                "n": encoded(&key.n().to_bytes_be()), "e": encoded(&key.e().to_bytes_be()),
            }),
        }
    }

    /// A token with these claims.
    pub(super) fn signed(&self, claims: &Claims) -> String {
        let name = match self.private {
            Private::Es256(_) => "ES256",
            Private::Rs256(_) => "RS256",
        };
        let text = text(&json!({ "alg": name, "kid": self.name() }), claims);
        let signature = match &self.private {
            Private::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), text.as_bytes());
                signature.expect("it is signed").as_ref().to_vec()
            }
            Private::Rs256(key) => {
                let key = SigningKey::<Sha256>::new(RsaPrivateKey::clone(key));
                key.sign(text.as_bytes()).to_vec()
            }
        };
        format!("{text}.{}", encoded(&signature))
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn plain(claims: &Claims) -> String {
    Value::Object(claims.clone()).to_string()
}

fn text(header: &Value, claims: &Claims) -> String {
    let (header, claims) = (header.to_string(), plain(claims));
    format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    )
}

/// The same token with other claims and the signature of the first.
pub(super) fn with_other_claims(token: &str, claims: &Claims) -> String {
    let mut parts = token.split('.');
    let header = parts.next().unwrap_or_default();
    let signature = parts.nth(1).unwrap_or_default();
    let claims = encoded(plain(claims).as_bytes());
    format!("{header}.{claims}.{signature}")
}

/// A token that says that it needs no signature.
pub(super) fn unsigned(claims: &Claims) -> String {
    format!("{}.", text(&json!({ "alg": "none" }), claims))
}

/// A token that is signed with a secret that both sides know.
pub(super) fn signed_with_secret(claims: &Claims, secret: &str) -> String {
    let text = text(&json!({ "alg": "HS256" }), claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", encoded(signature.as_ref()))
}
