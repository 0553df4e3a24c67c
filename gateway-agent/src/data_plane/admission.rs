//! Who may use an API: the seam that keys, tokens and quotas are checked behind.

use futures_util::future::BoxFuture;
use synapse::mediate::{Admitted, Asked, Question, Refused};
use synapse::plan::KeyType;

/// Checks keys, tokens and quotas of requests while `[gateway.security] mode = "enforce"`.
pub trait Admission: std::fmt::Debug + Send + Sync {
    /// Whether the client may go on, and as whom; else what it is told. The check of a quota
    /// counts the request. A check that cannot be made refuses.
    fn admit<'a>(
        &'a self,
        question: Question,
        asked: Asked<'a>,
    ) -> BoxFuture<'a, Result<Admitted, Refused>>;
}

/// Knows no key, no token and no quota: whoever needs credentials is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

impl Admission for NoCredentials {
    fn admit<'a>(
        &'a self,
        question: Question,
        asked: Asked<'a>,
    ) -> BoxFuture<'a, Result<Admitted, Refused>> {
        let answer = match question {
            Question::Credentials => Err(Refused {
                status: 500,
                code: 900_900,
                message: "Unclassified Authentication Failure".into(),
                description: format!(
                    "this gateway cannot check {}",
                    match asked.schemes {
                        [] => "credentials".to_owned(),
                        schemes => schemes.join(", "),
                    }
                ),
                challenge: None,
            }),
            // Only an open operation comes as far as here.
            Question::Quota => Ok(Admitted {
                key_type: KeyType::Production,
                properties: Vec::new(),
            }),
        };
        Box::pin(std::future::ready(answer))
    }
}
