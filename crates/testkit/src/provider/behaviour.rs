//! How a provider behaves, well or badly, and for whom.

/// Who signs in there.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name that never changes.
    pub subject: String,
    /// Their address.
    pub email: String,
    /// Whether the provider has made sure of the address.
    pub is_verified: bool,
    /// Their groups.
    pub groups: Vec<String>,
}

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The ID token has another nonce.
    WrongNonce,
    /// The ID token has none.
    NoNonce,
    /// The ID token is for another client.
    WrongAudience,
    /// The ID token is for us and for another client.
    SharedAudience,
    /// The ID token is of an hour ago.
    Expired,
    /// The ID token was changed after it was signed.
    BadSignature,
    /// The ID token is signed by a key that is not published, under the published key's name.
    ForeignKey,
    /// The ID token says that it needs no signature.
    NoAlgorithm,
    /// The ID token is signed with the client's secret.
    SharedSecret,
    /// The ID token is of another issuer.
    OtherIssuer,
    /// There is no ID token.
    NoToken,
    /// The description names another issuer.
    OtherDescription,
    /// It answers everything with 500.
    Fails,
    /// It answers everything with a page.
    TalksNonsense,
    /// It never answers.
    Hangs,
    /// It sends the browser back with an error.
    Refuses,
    /// It sends the browser back with another state.
    WrongState,
    /// It tells of somebody else when it is asked who somebody is.
    OtherPerson,
    /// It does not tell when it is asked who somebody is.
    TellsNobody,
}

/// How it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// RSA with PKCS #1 padding.
    Rs256,
}
