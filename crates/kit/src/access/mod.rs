//! Access to the management interfaces: users, roles, and guards for routes.
//!
//! [`Access`] knows the users of a configuration. Routes are declared with
//! `.wrap(access.require(&[Role::Gateway]))`, and their handlers take a [`Caller`].

mod caller;
pub mod development;
mod failures;
mod guard;
mod password;
mod presented;
mod refusal;
mod role;
#[cfg(test)]
mod tests;
pub(crate) mod users;
mod verify;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use subtle::ConstantTimeEq as _;

pub use caller::Caller;
use failures::{Counted, Failures};
pub use guard::{Guard, Guarded};
pub use password::{HashError, hash_password, new_token, token_hash};
use presented::Presented;
pub(crate) use presented::{CertificateNames, certificate_names};
use refusal::Refusal;
pub use role::{Role, Roles};
pub(crate) use users::{Hashes, User};
use verify::Verifier;

use crate::config::{Config, ConfigError};
use crate::secret::Secret;

/// Why the users cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{file}: {reason}")]
    File { file: PathBuf, reason: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Who may call. Cheap to clone; clones share what is known of failures.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    users: Vec<User>,
    verifier: Verifier,
    failures: Failures,
}

/// A refused request, and whom it was about, if that is a user.
#[derive(Debug)]
struct Denied {
    user: Option<String>,
    refusal: Refusal,
}

/// What is wrong with a name, a password, or both.
const WRONG: &str = "the user or the password is wrong";

impl Access {
    /// The users of the configuration; if it names none, development users, which are made on
    /// first use.
    ///
    /// # Errors
    /// When development users can be neither made nor read.
    pub fn of(config: &Config) -> Result<Self, AccessError> {
        if config.has_users() {
            return Self::with(config.users.clone());
        }
        let data_dir = &config.lockstep.data_dir;
        development::make(data_dir)?;
        tracing::warn!(
            directory = %development::directory(data_dir).display(),
            "DEVELOPMENT USERS: no user is configured, so anyone who can read this directory may \
             publish; configure [[apim.internal.user]]"
        );
        Self::with(development::users(data_dir)?)
    }

    fn with(users: Vec<User>) -> Result<Self, AccessError> {
        let verifier = Verifier::new(&users)?;
        Ok(Self(Arc::new(Inner {
            users,
            verifier,
            failures: Failures::default(),
        })))
    }

    /// A guard that lets in who has one of these roles.
    #[must_use]
    pub fn require(&self, roles: &[Role]) -> Guard {
        Guard {
            access: self.clone(),
            roles: Some(roles.into()),
        }
    }

    /// A guard that lets everybody in. Handlers get the caller as an `Option`; credentials that are
    /// shown have to be right.
    #[must_use]
    pub fn recognize(&self) -> Guard {
        Guard {
            access: self.clone(),
            roles: None,
        }
    }

    /// Who is calling, if they have one of the roles; `None` only where no role is needed.
    async fn admit(
        &self,
        request: &ServiceRequest,
        roles: Option<&[Role]>,
    ) -> Result<Option<Caller>, Denied> {
        let peer = request.peer_addr().map(|address| address.ip());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let presented = Presented::of(request);
        if presented == Presented::Nothing && roles.is_none() {
            return Ok(None);
        }
        let user = self.identify(&presented, peer).await?;
        let caller = &user.caller;
        match roles {
            Some(roles) if caller.roles.first_of(roles).is_none() => Err(Denied {
                user: Some(caller.name.clone()),
                refusal: Refusal::Forbidden {
                    needs: roles.to_vec(),
                },
            }),
            _ => Ok(Some(caller.clone())),
        }
    }

    async fn identify(&self, presented: &Presented, peer: IpAddr) -> Result<&User, Denied> {
        let denied = |refusal| Denied {
            user: None,
            refusal,
        };
        match presented {
            Presented::Nothing => Err(denied(Refusal::NoCredentials)),
            Presented::Unreadable(what) => Err(denied(Refusal::BadCredentials(what))),
            Presented::Basic { name, password } => {
                self.by_password(name, password.expose(), peer).await
            }
            Presented::Bearer(token) => self.by_token(token.expose(), peer).map_err(denied),
            Presented::Certificate(names) => self.by_certificate(names).ok_or_else(|| {
                denied(Refusal::BadCredentials(
                    "no user has a name of the client certificate",
                ))
            }),
        }
    }

    async fn by_password(&self, name: &str, password: &str, peer: IpAddr) -> Result<&User, Denied> {
        let Inner {
            users,
            verifier,
            failures,
        } = &*self.0;
        let mut named = users.iter().enumerate();
        let user = named.find(|(_, user)| user.caller.name == name);
        let denied = |refusal| Denied {
            user: user.map(|(_, user)| user.caller.name.clone()),
            refusal,
        };
        // No user has a longer name; what is counted stays small.
        let counted = name.get(..name.len().min(255)).unwrap_or_default();
        let at = [Counted::name_at(counted, peer)];
        let wide = [Counted::name(counted), Counted::address(peer)];
        let guess = at.clone();
        if let Some(wait) = failures.cooling(&at) {
            return Err(denied(Refusal::TooMany(wait)));
        }
        let digest = verifier.digest(name, password);
        if let Some(user) = verifier.remembered(&digest).and_then(|at| users.get(at)) {
            return Ok(user);
        }
        let too_many = |wait| {
            // It was a guess at what is remembered, so it counts there. Nothing is remembered of a
            // name that nobody has, and nobody fills the table with such names.
            if user.is_some() {
                failures.failed(&guess);
            }
            denied(Refusal::TooMany(wait))
        };
        if let Some(wait) = failures.cooling(&wide) {
            return Err(too_many(wait));
        }
        // In a task of its own: a guess counts, also when its client has gone before the answer.
        let (access, index) = (self.clone(), user.map(|(index, _)| index));
        let password = Secret::new(password);
        let judged =
            tokio::spawn(async move { access.judge(digest, index, &password, at, wide).await });
        let judged = judged.await.unwrap_or(Ok(false));
        match (judged.map_err(too_many)?, user) {
            (true, Some((_, user))) => Ok(user),
            _ => Err(denied(Refusal::BadCredentials(WRONG))),
        }
    }

    /// Verifies a password and counts a wrong one.
    async fn judge(
        &self,
        digest: [u8; 32],
        user: Option<usize>,
        password: &Secret,
        at: [Counted; 1],
        wide: [Counted; 2],
    ) -> Result<bool, Duration> {
        let Inner {
            users,
            verifier,
            failures,
        } = &*self.0;
        let user = user.and_then(|index| Some((index, users.get(index)?)));
        let cooling = || failures.cooling(&wide);
        let right = verifier
            .verify(digest, user, password.expose(), cooling)
            .await?;
        if !right {
            if user.is_some() {
                failures.failed(&at);
            }
            failures.failed(&wide);
        }
        Ok(right)
    }

    fn by_token(&self, token: &str, peer: IpAddr) -> Result<&User, Refusal> {
        let digest = password::sha256(token);
        let mut found = None;
        for user in &self.0.users {
            let known = user.token.unwrap_or_default();
            if user.token.is_some() && bool::from(known.ct_eq(&digest)) {
                found = Some(user);
            }
        }
        let address = [Counted::address(peer)];
        found.ok_or_else(|| match self.0.failures.cooling(&address) {
            Some(wait) => Refusal::TooMany(wait),
            None => {
                self.0.failures.failed(&address);
                Refusal::BadCredentials("no user has this token")
            }
        })
    }

    fn by_certificate(&self, names: &[String]) -> Option<&User> {
        self.0.users.iter().find(|user| {
            let known = user.certificate_name.as_ref();
            known.is_some_and(|known| names.iter().any(|name| name.eq_ignore_ascii_case(known)))
        })
    }
}
