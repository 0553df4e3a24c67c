//! Verifying passwords: each distinct one is hashed once, few at a time, off the async threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use super::password::{HashError, PasswordCheck, random};
use super::users::User;

/// A name and a password under the key of this process: it says nothing to anybody else.
type Digest = [u8; 32];

/// Verifies passwords and remembers those that were right: at most one for each user.
pub struct Verifier {
    key: [u8; 32],
    /// Hashing takes tens of megabytes, so few do it at a time; the others wait.
    turns: Arc<Semaphore>,
    remembered: Mutex<HashMap<Digest, usize>>,
    /// What is being verified; others with the same name and password wait for the outcome.
    flights: Mutex<HashMap<Digest, Arc<OnceCell<bool>>>>,
    /// Checked for unknown users, so that they take as long as known ones.
    decoy: Option<PasswordCheck>,
}

impl Verifier {
    /// # Errors
    /// When there are no random bytes.
    pub fn new(users: &[User]) -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let passwords = users.iter().filter_map(|user| user.password.as_ref());
        Ok(Self {
            key: random()?,
            turns: Arc::new(Semaphore::new((cores / 2).clamp(1, 4))),
            remembered: Mutex::default(),
            flights: Mutex::default(),
            decoy: passwords.max_by_key(|password| password.cost()).cloned(),
        })
    }

    /// What stands for a name and a password in the memory of this process.
    pub fn digest(&self, name: &str, password: &str) -> Digest {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(length.to_be_bytes());
        hash.update(name);
        hash.update(password);
        hash.finalize().into()
    }

    /// The index of the user whose password has been verified before.
    pub fn remembered(&self, digest: &Digest) -> Option<usize> {
        locked(&self.remembered).get(digest).copied()
    }

    /// Whether the password is that of the user, who has this index; `None` is an unknown user.
    /// `cooling` is asked when it is this one's turn.
    ///
    /// # Errors
    /// What `cooling` says.
    pub async fn verify(
        &self,
        digest: Digest,
        user: Option<(usize, &User)>,
        password: &str,
        cooling: impl Fn() -> Option<Duration>,
    ) -> Result<bool, Duration> {
        let known = user.and_then(|(_, user)| user.password.as_ref());
        let Some(check) = known.or(self.decoy.as_ref()) else {
            return Ok(false);
        };
        let flight = Flight::join(self, digest);
        let matches = flight.cell.get_or_try_init(|| async {
            if let PasswordCheck::Sha256(_) = check {
                return Ok(check.matches(password));
            }
            let turn = Arc::clone(&self.turns).acquire_owned().await;
            if let Some(wait) = cooling() {
                return Err(wait);
            }
            let (check, password) = (check.clone(), password.to_owned());
            // The turn ends with the hashing, also when the client has gone.
            let hashing = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                check.matches(&password)
            });
            Ok(hashing.await.unwrap_or(false))
        });
        let matches = *matches.await? && known.is_some();
        if let Some((index, _)) = user.filter(|_| matches) {
            locked(&self.remembered).insert(digest, index);
        }
        Ok(matches)
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// One of those who wait for the same outcome; the last one cleans up, also when its client has
/// gone.
struct Flight<'a> {
    verifier: &'a Verifier,
    digest: Digest,
    cell: Arc<OnceCell<bool>>,
}

impl<'a> Flight<'a> {
    fn join(verifier: &'a Verifier, digest: Digest) -> Self {
        let mut flights = locked(&verifier.flights);
        let cell = Arc::clone(flights.entry(digest).or_default());
        Self {
            verifier,
            digest,
            cell,
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = locked(&self.verifier.flights);
        // This one and the table's.
        if Arc::strong_count(&self.cell) <= 2 {
            flights.remove(&self.digest);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::caller::Caller;
    use super::super::password::hash_password;
    use super::super::role::{Role, Roles};
    use super::*;

    fn user(hash: &str) -> User {
        User {
            caller: Caller {
                name: "u".into(),
                roles: Roles::from_iter([Role::Viewer]),
                gateway_id: None,
                labels: Vec::new(),
                tenants: Vec::new(),
            },
            password: Some(PasswordCheck::argon2id(hash).unwrap()),
            token: None,
            certificate_name: None,
        }
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_and_nothing_else() {
        let users = [user(&hash_password("right").unwrap())];
        let verifier = Verifier::new(&users).unwrap();
        let verify = async |user, password: &str| {
            let digest = verifier.digest("u", password);
            let verified = verifier.verify(digest, user, password, || None).await;
            (verified.unwrap(), verifier.remembered(&digest))
        };
        let known = Some((0, &users[0]));
        assert_eq!(verify(known, "wrong").await, (false, None));
        assert_eq!(
            verify(None, "right").await,
            (false, None),
            "the decoy's password"
        );
        assert_eq!(verify(known, "right").await, (true, Some(0)));
        assert!(locked(&verifier.flights).is_empty());
        assert_ne!(verifier.digest("a", "bc"), verifier.digest("ab", "c"));
    }

    #[tokio::test]
    async fn those_who_come_together_are_verified_once() {
        let users = [user(&hash_password("right").unwrap())];
        let verifier = Verifier::new(&users).unwrap();
        let turns = std::sync::atomic::AtomicUsize::new(0);
        let digest = verifier.digest("u", "right");
        let verify = || {
            verifier.verify(digest, Some((0, &users[0])), "right", || {
                turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                None
            })
        };
        let (a, b, c) = tokio::join!(verify(), verify(), verify());
        assert!(a.unwrap() && b.unwrap() && c.unwrap());
        assert_eq!(turns.into_inner(), 1);
        assert!(locked(&verifier.flights).is_empty());
    }
}
