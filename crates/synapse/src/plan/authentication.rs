//! What a back end asks of its callers: credentials, and tokens that are got with them.

use std::fmt;
use std::time::Duration;

use super::Operand;

/// A value that is never shown, nor what it is computed from.
#[derive(Clone, PartialEq, Hash)]
pub(crate) struct Secret(pub(crate) Operand);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// `<authentication>` of an endpoint.
#[derive(Debug)]
pub(crate) enum Authentication {
    Basic { username: Secret, password: Secret },
    Oauth(Box<Oauth>),
}

/// How a token is got (RFC 6749). Each value may be computed per message.
#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Oauth {
    pub(crate) token_url: Operand,
    pub(crate) client_id: Secret,
    pub(crate) client_secret: Secret,
    pub(crate) grant: Grant,
    /// `payload`: client id and secret travel in the body; else they are Basic credentials.
    pub(crate) mode: Option<Operand>,
    pub(crate) parameters: Vec<(String, Secret)>,
    pub(crate) headers: Vec<(String, Secret)>,
    /// Of the call to the token endpoint; `None`: the gateway's global timeout.
    pub(crate) timeout: Option<Duration>,
    /// Whose tokens they are, as faults name it.
    pub(crate) user: String,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Grant {
    ClientCredentials,
    Password {
        username: Secret,
        password: Secret,
    },
    /// `authorizationCode`: with the refresh token that the artifact holds.
    RefreshToken(Secret),
}
