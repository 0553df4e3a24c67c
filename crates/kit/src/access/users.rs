//! Users as the configuration names them, checked.

use super::caller::Caller;
use super::password::{PasswordCheck, token_digest};
use super::role::{Role, Roles};
use crate::config::{ConfigError, UserEntry};

/// A user, and how it proves who it is.
#[derive(Clone, Debug)]
pub struct User {
    pub caller: Caller,
    pub password: Option<PasswordCheck>,
    /// SHA-256 of a bearer token.
    pub token: Option<[u8; 32]>,
    /// Common name or DNS name of a client certificate.
    pub certificate_name: Option<String>,
}

/// What may stand for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashes {
    /// What people configure.
    Argon2id,
    /// What is generated with a random password: `sha256:`.
    Sha256,
}

/// A broken rule: the key of the entry and the rule.
type Broken = (&'static str, String);

impl User {
    fn of(entry: &UserEntry, hashes: Hashes) -> Result<Self, Broken> {
        let broken = |key, rule: &str| Err((key, rule.to_owned()));
        let name = entry.username.as_str();
        if name.is_empty() || name.len() > 255 || name.trim() != name {
            return broken(
                "username",
                "must have 1 to 255 bytes and no blanks at its ends",
            );
        }
        if name.contains(|c: char| c == ':' || c.is_control()) {
            return broken("username", "must have no colon and no control characters");
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let password = match (entry.password.expose(), hashes) {
            ("", _) => None,
            (text, Hashes::Argon2id) => {
                Some(PasswordCheck::argon2id(text).map_err(|rule| ("password", rule))?)
            }
            (text, Hashes::Sha256) => Some(PasswordCheck::Sha256(
                token_digest(text).map_err(|rule| ("password", rule))?,
            )),
        };
        let token = match entry.token.expose() {
            "" => None,
            text => Some(token_digest(text).map_err(|rule| ("token", rule))?),
        };
        let certificate_name = given(&entry.certificate_name);
        if password.is_none() && token.is_none() && certificate_name.is_none() {
            let rule = "needs a password, a token or a certificate_name";
            return broken("username", rule);
        }
        let mut roles = Vec::new();
        for (index, text) in entry.roles.iter().enumerate() {
            let Some(role) = Role::parse(text) else {
                let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
                let known = known.join(", ");
                let rule = format!("[{index}]: unknown role; known: {known}");
                return Err(("roles", rule));
            };
            roles.push(role);
        }
        let roles = Roles::from_iter(roles);
        if entry.roles.is_empty() {
            return broken("roles", "name at least one");
        }
        if !entry.gateway_id.is_empty() && !roles.has(Role::Gateway) {
            return broken(
                "gateway_id",
                "only a user with the role gateway speaks for one",
            );
        }
        for (key, list) in [("labels", &entry.labels), ("tenants", &entry.tenants)] {
            // Publishing replaces what other labels have, so it cannot be limited by them.
            if !list.is_empty() && roles.has(Role::Publisher) {
                return broken(
                    key,
                    "cannot limit what a user with the role publisher publishes",
                );
            }
            if list.iter().any(String::is_empty) {
                return broken(key, "must have no empty name");
            }
        }
        Ok(Self {
            caller: Caller {
                name: name.to_owned(),
                roles,
                gateway_id: given(&entry.gateway_id),
                labels: entry.labels.clone(),
                tenants: entry.tenants.clone(),
            },
            password,
            token,
            certificate_name,
        })
    }
}

/// Adds the users of a list whose key is `list` to those that are known.
///
/// # Errors
/// The first broken rule, with the key of the entry: `apim.internal.user.0.roles`.
pub(crate) fn add(
    users: &mut Vec<User>,
    list: &str,
    entries: &[UserEntry],
    hashes: Hashes,
) -> Result<(), ConfigError> {
    for (index, entry) in entries.iter().enumerate() {
        let broken = |(key, rule): Broken| ConfigError::Entry {
            key: format!("{list}.{index}.{key}"),
            rule,
        };
        let user = User::of(entry, hashes).map_err(broken)?;
        let shared = |same: fn(&User, &User) -> bool| users.iter().any(|other| same(other, &user));
        if shared(|a, b| a.caller.name == b.caller.name) {
            return Err(broken((
                "username",
                "another user has the same name".into(),
            )));
        }
        if shared(|a, b| a.token.is_some() && a.token == b.token) {
            return Err(broken(("token", "another user has the same token".into())));
        }
        if shared(|a, b| {
            let name = a.certificate_name.as_ref();
            name.is_some_and(|name| {
                let other = b.certificate_name.as_ref();
                other.is_some_and(|other| other.eq_ignore_ascii_case(name))
            })
        }) {
            let rule = "another user has the same certificate name".into();
            return Err(broken(("certificate_name", rule)));
        }
        users.push(user);
    }
    Ok(())
}
