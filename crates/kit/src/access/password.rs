//! Hashes of passwords and tokens. No error shows what was to be read.

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The most memory that checking one password may take, KiB.
const MOST_MEMORY: u32 = 1024 * 1024;
/// The most passes over it.
const MOST_PASSES: u32 = 64;

/// Random bytes cannot be had, or hashing failed.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes, or the password cannot be hashed")]
pub struct HashError;

/// How the password of a user is kept.
#[derive(Clone)]
pub enum PasswordCheck {
    /// A PHC string of argon2id that has been checked.
    Argon2id { text: String, cost: u64 },
    /// SHA-256 of a random password. Slow hashing protects passwords that can be guessed; one of
    /// 192 random bits cannot, so development users have this.
    Sha256([u8; 32]),
}

impl std::fmt::Debug for PasswordCheck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordCheck(********)")
    }
}

impl PasswordCheck {
    /// Reads an argon2id PHC string.
    ///
    /// # Errors
    /// The rule that it breaks, without the text.
    pub fn argon2id(text: &str) -> Result<Self, String> {
        let rule = "must be an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$hash) as `lockstep \
                    user hash` prints it, not the password";
        let hash = PasswordHash::new(text).map_err(|_| rule.to_owned())?;
        let complete = hash.salt.is_some() && hash.hash.is_some();
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || !complete {
            return Err(rule.to_owned());
        }
        let params = Params::try_from(&hash).map_err(|_| rule.to_owned())?;
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES {
            return Err(format!(
                "must have at most m={MOST_MEMORY} (KiB) and t={MOST_PASSES}"
            ));
        }
        Ok(Self::Argon2id {
            text: text.to_owned(),
            cost: u64::from(params.m_cost()) * u64::from(params.t_cost()),
        })
    }

    /// What checking it costs, to compare.
    pub fn cost(&self) -> u64 {
        match self {
            Self::Argon2id { cost, .. } => *cost,
            Self::Sha256(_) => 0,
        }
    }

    /// Whether `password` is the one. Slow for argon2id.
    pub fn matches(&self, password: &str) -> bool {
        match self {
            Self::Argon2id { text, .. } => PasswordHash::new(text).is_ok_and(|hash| {
                let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
                verified.is_ok()
            }),
            Self::Sha256(digest) => digest.ct_eq(&sha256(password)).into(),
        }
    }
}

/// Reads `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// The rule, without the text.
pub fn token_digest(text: &str) -> Result<[u8; 32], String> {
    let digest = text.strip_prefix("sha256:").and_then(|digits| {
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).ok()?;
        Some(digest)
    });
    digest.ok_or_else(|| {
        "must be sha256: and 64 hexadecimal digits, as `lockstep user token` prints it, not the \
         token"
            .to_owned()
    })
}

/// SHA-256 of a text.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// `sha256:` and the digest of `token` in hexadecimal digits.
#[must_use]
pub fn token_hash(token: &str) -> String {
    format!("sha256:{}", hex::encode(sha256(token)))
}

/// The argon2id PHC string of a password, with the recommended parameters and a random salt.
///
/// # Errors
/// When there are no random bytes.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| HashError)
}

/// `N` random bytes.
///
/// # Errors
/// When the operating system has none.
pub fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| HashError)?;
    Ok(bytes)
}

/// A new random token, 256 bits in hexadecimal digits.
///
/// # Errors
/// When there are no random bytes.
pub fn new_token() -> Result<String, HashError> {
    Ok(hex::encode(random::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        let check = PasswordCheck::argon2id(&hash).unwrap();
        assert!(check.matches("correct horse"));
        assert!(!check.matches("correct horse "));
        assert!(check.cost() > PasswordCheck::Sha256([0; 32]).cost());
        let check = PasswordCheck::Sha256(sha256("random"));
        assert!(check.matches("random") && !check.matches(""));
        assert_eq!(format!("{check:?}"), "PasswordCheck(********)");
    }

    #[test]
    fn what_is_no_hash_is_refused_without_being_shown() {
        let salt = "$c2FsdHNhbHRzYWx0$";
        let digest = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        for text in [
            "wso2carbon".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$wso2carbon".into(),
            format!("$argon2i$v=19$m=19456,t=2,p=1{salt}{digest}"),
            format!("$argon2id$v=16$m=19456,t=2,p=1{salt}{digest}"),
            format!("$argon2id$v=19$m=1,t=2,p=1{salt}{digest}"),
            format!("$argon2id$v=19$m=4194304,t=2,p=1{salt}{digest}"),
            format!("sha256:{}", "0".repeat(64)),
        ] {
            let rule = PasswordCheck::argon2id(&text).unwrap_err();
            assert!(
                !rule.contains("wso2carbon") && !rule.contains(salt),
                "{rule}"
            );
        }
        assert!(token_digest(&format!("sha256:{}", "a".repeat(64))).is_ok());
        for text in ["wso2carbon", "sha256:wso2carbon", "sha256:", "sha512:00"] {
            let rule = token_digest(text).unwrap_err();
            assert!(!rule.contains("wso2carbon"), "{rule}");
        }
        let token = new_token().unwrap();
        assert_eq!(token_digest(&token_hash(&token)), Ok(sha256(&token)));
    }
}
