//! The access tokens of one plan: which one is valid, how the next one is got. No clock and no
//! calls here. Sources: OAuthHandler and TokenCache of Synapse, OAuthTokenGenerator of API Manager;
//! RFC 6749, sections 5.1 and 6.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

/// How long a token is kept whose response names no time, in milliseconds (TOKEN_CACHE_TIMEOUT).
const UNNAMED_LIFETIME: i64 = 3_000_000;
/// A token is not used any more so many milliseconds before its end (`OAuthTokenGenerator`).
const MARGIN: i64 = 1000;
/// Credentials of one plan whose tokens are kept, for they may be computed per message.
const MAX_TOKENS: usize = 1000;

/// Whose token it is: all that the request for it consists of. It holds secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenOwner(pub(crate) String);

/// The tokens of one plan and its later revisions.
#[derive(Default)]
pub(crate) struct Tokens {
    known: HashMap<TokenOwner, Known>,
}

#[derive(Default)]
struct Known {
    token: Option<(String, i64)>,
    refresh: Option<String>,
    /// Answers of the token endpoint so far.
    answers: u64,
    /// Why the last one brought no token.
    failure: Option<String>,
}

/// What is to be done for a token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Have(String),
    /// By the refresh token that came with the last one.
    Refresh(String),
    Grant,
    /// Somebody else has just asked, and waiting for it has brought this.
    Failed(String),
}

impl Tokens {
    /// How many answers there have been: who waits for a turn compares it afterwards.
    pub(crate) fn answers(&self, owner: &TokenOwner) -> u64 {
        self.known.get(owner).map_or(0, |known| known.answers)
    }

    /// The token, if there is a valid one.
    pub(crate) fn valid(&self, owner: &TokenOwner, now: i64) -> Option<String> {
        let (token, ends) = self.known.get(owner)?.token.as_ref()?;
        (*ends > now).then(|| token.clone())
    }

    /// What is to be done by one whose turn it is, and who has been waiting since there were
    /// `since` answers.
    pub(crate) fn ask(&mut self, owner: &TokenOwner, since: u64, now: i64) -> Ask {
        if let Some(token) = self.valid(owner, now) {
            return Ask::Have(token);
        }
        let Some(known) = self.known.get_mut(owner) else {
            return Ask::Grant;
        };
        if let Some(failure) = &known.failure
            && known.answers > since
        {
            return Ask::Failed(failure.clone());
        }
        // It is used once: if it is not taken, the grant itself comes next.
        known.refresh.take().map_or(Ask::Grant, Ask::Refresh)
    }

    /// Takes note of an answer: its status and body, or why there is none.
    pub(crate) fn answered(
        &mut self,
        owner: &TokenOwner,
        answer: Result<(u16, &[u8]), &str>,
        now: i64,
    ) {
        if self.known.len() >= MAX_TOKENS && !self.known.contains_key(owner) {
            self.known
                .retain(|_, known| known.token.as_ref().is_some_and(|(_, ends)| *ends > now));
            if self.known.len() >= MAX_TOKENS {
                self.known.clear();
            }
        }
        let known = self.known.entry(owner.clone()).or_default();
        known.answers += 1;
        known.token = None;
        match answer.map_err(str::to_owned).and_then(read) {
            Ok(granted) => {
                let lifetime = match granted.lifetime {
                    Some(seconds) => seconds.saturating_mul(1000).saturating_sub(MARGIN),
                    None => UNNAMED_LIFETIME,
                };
                known.token = Some((granted.token, now.saturating_add(lifetime)));
                known.refresh = granted.refresh;
                known.failure = None;
            }
            Err(failure) => known.failure = Some(failure),
        }
    }

    /// The token of the last answer, which is used even where it ends at once; else why there is
    /// none.
    pub(crate) fn last(&self, owner: &TokenOwner) -> Result<String, String> {
        let known = self.known.get(owner);
        match known.and_then(|known| known.token.as_ref()) {
            Some((token, _)) => Ok(token.clone()),
            None => Err(known
                .and_then(|known| known.failure.clone())
                .unwrap_or_else(|| "it was not asked for".to_owned())),
        }
    }

    /// The back end has not taken this token: if it is still the one that is kept, it goes.
    pub(crate) fn rejected(&mut self, owner: &TokenOwner, token: &str) {
        if let Some(known) = self.known.get_mut(owner)
            && known.token.as_ref().is_some_and(|(own, _)| own == token)
        {
            known.token = None;
        }
    }
}

struct Granted {
    token: String,
    /// Seconds.
    lifetime: Option<i64>,
    refresh: Option<String>,
}

/// The original takes status 200 only.
fn read((status, body): (u16, &[u8])) -> Result<Granted, String> {
    if status != 200 {
        return Err(format!("the token endpoint answered with status {status}"));
    }
    let answer: Value = serde_json::from_slice(body)
        .map_err(|_| "the token endpoint's answer is no JSON".to_owned())?;
    let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
    let token = text("access_token")
        .filter(|token| !token.is_empty())
        .ok_or("the token endpoint's answer has no access_token")?;
    let lifetime = answer.get("expires_in").and_then(|seconds| match seconds {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().or(number.as_f64().map(|n| n as i64)),
        _ => None,
    });
    Ok(Granted {
        token,
        lifetime,
        refresh: text("refresh_token").filter(|token| !token.is_empty()),
    })
}

impl fmt::Debug for TokenOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenOwner")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.known.len())
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Have(_) => "Have",
            Self::Refresh(_) => "Refresh",
            Self::Grant => "Grant",
            Self::Failed(_) => "Failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> TokenOwner {
        TokenOwner(name.to_owned())
    }

    fn answer(tokens: &mut Tokens, body: &str, now: i64) {
        tokens.answered(&owner("o"), Ok((200, body.as_bytes())), now);
    }

    #[test]
    fn a_token_lives_as_long_as_its_answer_says() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.ask(&owner("o"), 0, 0), Ask::Grant);
        answer(
            &mut tokens,
            r#"{"access_token":"a","expires_in":"10","refresh_token":"r"}"#,
            0,
        );
        assert_eq!(tokens.valid(&owner("o"), 8_999), Some("a".into()));
        assert_eq!(tokens.valid(&owner("other"), 0), None);
        assert_eq!(tokens.valid(&owner("o"), 9_000), None);
        // The refresh token is tried once.
        assert_eq!(tokens.ask(&owner("o"), 1, 9_000), Ask::Refresh("r".into()));
        tokens.answered(&owner("o"), Ok((400, b"")), 9_000);
        assert_eq!(tokens.ask(&owner("o"), 2, 9_000), Ask::Grant);
        answer(&mut tokens, r#"{"access_token":"b"}"#, 9_000);
        assert_eq!(
            tokens.valid(&owner("o"), 9_000 + UNNAMED_LIFETIME - 1),
            Some("b".into())
        );
        answer(&mut tokens, r#"{"access_token":"c","expires_in":0}"#, 9_000);
        assert_eq!(tokens.valid(&owner("o"), 9_000), None);
        assert_eq!(tokens.last(&owner("o")), Ok("c".into()));
    }

    #[test]
    fn only_the_token_that_was_rejected_goes() {
        let mut tokens = Tokens::default();
        answer(&mut tokens, r#"{"access_token":"a"}"#, 0);
        tokens.rejected(&owner("o"), "older");
        assert_eq!(tokens.valid(&owner("o"), 1), Some("a".into()));
        tokens.rejected(&owner("o"), "a");
        assert_eq!(tokens.valid(&owner("o"), 1), None);
    }

    #[test]
    fn a_failure_is_that_of_all_who_have_waited_for_it() {
        let mut tokens = Tokens::default();
        let since = tokens.answers(&owner("o"));
        tokens.answered(&owner("o"), Err("nobody there"), 0);
        assert_eq!(
            tokens.ask(&owner("o"), since, 0),
            Ask::Failed("nobody there".into())
        );
        let since = tokens.answers(&owner("o"));
        assert_eq!(tokens.ask(&owner("o"), since, 0), Ask::Grant);
        for (status, body, why) in [
            (503, "", "status 503"),
            (200, "x", "no JSON"),
            (200, "{\"access_token\":\"\"}", "no access_token"),
            (200, "[1]", "no access_token"),
        ] {
            tokens.answered(&owner("o"), Ok((status, body.as_bytes())), 0);
            assert!(tokens.last(&owner("o")).unwrap_err().contains(why));
        }
    }

    #[test]
    fn they_are_bounded_and_not_shown() {
        let mut tokens = Tokens::default();
        for number in 0..=MAX_TOKENS {
            let body = br#"{"access_token":"hidden"}"#;
            tokens.answered(&owner(&format!("{number}")), Ok((200, body)), 0);
        }
        assert!(tokens.known.len() <= MAX_TOKENS);
        let shown = format!(
            "{tokens:?} {:?} {:?}",
            Ask::Have("hidden".into()),
            owner("hidden")
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
