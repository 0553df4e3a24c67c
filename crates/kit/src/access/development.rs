//! Development users: made once under `data_dir/access` where nobody has configured any.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::AccessError;
use super::password::{random, token_hash};
use super::users::{Hashes, User};
use crate::config::read_users_file;
use crate::secret::Secret;

/// Who there is, and the roles.
const USERS: [(&str, &[&str]); 5] = [
    ("gateway", &["gateway"]),
    ("publisher", &["publisher"]),
    ("operator", &["operator"]),
    ("viewer", &["viewer"]),
    ("admin", &["publisher", "operator"]),
];

/// Where the development users are kept.
#[must_use]
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("access")
}

/// The password of a development user, if there is such a user in this data directory.
#[must_use]
pub fn password(data_dir: &Path, name: &str) -> Option<Secret> {
    let (known, _) = USERS.iter().find(|(known, _)| *known == name)?;
    let text = fs::read_to_string(directory(data_dir).join(known)).ok()?;
    Some(Secret::new(text.trim_end()))
}

/// Makes the development users unless they are there: a file with the password of each, and
/// `users.toml` with their digests, readable by their owner only.
///
/// # Errors
/// When the files cannot be written.
pub fn make(data_dir: &Path) -> Result<(), AccessError> {
    let directory = directory(data_dir);
    if directory.exists() {
        return Ok(());
    }
    // Made aside and moved into place whole: programs that start together agree on one.
    let aside = data_dir.join(format!("access.{}", hex::encode(random::<8>()?)));
    fs::create_dir_all(data_dir).map_err(|error| failed(data_dir, error))?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&aside)
        .map_err(|error| failed(&aside, error))?;
    let made = write_all(&aside).and_then(|()| {
        fs::rename(&aside, &directory).or_else(|error| {
            // Another program was faster.
            match directory.exists() {
                true => fs::remove_dir_all(&aside).map_err(|error| failed(&aside, error)),
                false => Err(failed(&directory, error)),
            }
        })
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&aside);
    }
    made
}

/// The development users, which are there.
///
/// # Errors
/// When their file cannot be read.
pub(super) fn users(data_dir: &Path) -> Result<Vec<User>, AccessError> {
    let file = directory(data_dir).join("users.toml");
    let mut users = Vec::new();
    let nothing = |_: &str| Err(std::env::VarError::NotPresent);
    read_users_file(&file, Hashes::Sha256, &nothing, &mut users)?;
    Ok(users)
}

fn write_all(directory: &Path) -> Result<(), AccessError> {
    let mut all = "# Development users, made by Lockstep. Their passwords are in the files beside \
                   this one.\n"
        .to_owned();
    for (name, roles) in USERS {
        // 192 random bits: nothing that slow hashing would have to protect.
        let password = hex::encode(random::<24>()?);
        write_private(&directory.join(name), &format!("{password}\n"))?;
        all += &format!(
            "\n[[user]]\nusername = {name:?}\npassword = {:?}\nroles = {roles:?}\n",
            token_hash(&password)
        );
    }
    write_private(&directory.join("users.toml"), &all)
}

fn write_private(file: &Path, text: &str) -> Result<(), AccessError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| failed(file, error))
}

fn failed(file: &Path, error: std::io::Error) -> AccessError {
    AccessError::File {
        file: file.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn programs_that_start_together_agree_on_one_set_of_users() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let made: Vec<Secret> = std::thread::scope(|scope| {
            let make = || {
                make(&data).unwrap();
                password(&data, "gateway").unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(made.iter().all(|password| *password == made[0]));
        assert_eq!(
            fs::read_dir(&data).unwrap().count(),
            1,
            "nothing left aside"
        );
        assert_eq!(users(&data).unwrap().len(), USERS.len());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&super::directory(&data)), 0o700);
        for file in fs::read_dir(super::directory(&data)).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
        let raw = fs::read_to_string(super::directory(&data).join("viewer")).unwrap();
        assert_eq!(raw.len(), 49);
        assert_eq!(password(&data, "nobody"), None);
        assert_eq!(password(&data, "users.toml"), None);
    }

    #[test]
    fn they_match_their_passwords() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path()).unwrap();
        for user in users(directory.path()).unwrap() {
            let password = password(directory.path(), &user.caller.name).unwrap();
            assert!(user.password.unwrap().matches(password.expose()));
        }
    }
}
