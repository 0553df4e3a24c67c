//! Reading the folder of overrides, again and again: what is changed under it is seen without
//! notifications, on network file systems too.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::{NotUsed, Override, Overrides, api_key};

/// Bytes of a file that are read at most.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Files of the folder that are looked at, by their names.
const MAX_FILES: usize = 10_000;

/// A folder and what was in it at the last look.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<String, File>,
    found: Overrides,
}

/// What is known of a file.
#[derive(Clone, Debug)]
struct File {
    /// By this it is known again.
    seen: (u64, Option<SystemTime>),
    /// The last content that could be used, with its key.
    usable: Option<(String, String)>,
    trouble: Option<NotUsed>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Look {
    /// Keys of APIs whose override came, went or changed.
    pub changed: Vec<String>,
    /// Files that are not used, and those of which an older content is, each said once.
    pub trouble: Vec<(String, NotUsed)>,
}

/// A file of the folder, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileStatus {
    pub file: String,
    /// The key of the API that it defines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Why it is not used, or not its newest content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Folder {
    /// A folder that has not been looked into.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            found: Overrides::default(),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was found at the last look.
    #[must_use]
    pub fn found(&self) -> &Overrides {
        &self.found
    }

    /// The files as of the last look.
    #[must_use]
    pub fn status(&self) -> Vec<FileStatus> {
        let files = self.files.iter();
        let status = files.map(|(name, file)| FileStatus {
            file: name.clone(),
            api: file.usable.as_ref().map(|(key, _)| key.clone()),
            trouble: file.trouble.as_ref().map(NotUsed::to_string),
        });
        status.collect()
    }

    /// Looks into the folder. A folder that is not there is empty. A file that has become unusable
    /// leaves what it was in effect: it may be half written.
    ///
    /// # Errors
    /// When the folder cannot be read; what was found before stays in effect then.
    pub fn look(&mut self) -> io::Result<Look> {
        let mut look = Look::default();
        let listed = list(&self.path)?;
        self.files.retain(|name, _| listed.contains_key(name));
        for (name, seen) in listed {
            let known = self.files.get(&name);
            if known.is_some_and(|known| known.seen == seen) {
                continue;
            }
            let before = known.cloned();
            let read = read(&self.path.join(&name), seen.0);
            let file = match read {
                Ok(usable) => File {
                    seen,
                    usable: Some(usable),
                    trouble: None,
                },
                Err(trouble) => File {
                    // What could not be read is tried again, what is wrong in itself is not.
                    seen: match trouble {
                        NotUsed::Io(_) => (u64::MAX, None),
                        _ => seen,
                    },
                    usable: before.as_ref().and_then(|before| before.usable.clone()),
                    trouble: Some(trouble),
                },
            };
            let said = before.and_then(|before| before.trouble);
            if let Some(trouble) = file
                .trouble
                .clone()
                .filter(|new| said.as_ref() != Some(new))
            {
                look.trouble.push((name.clone(), trouble));
            }
            self.files.insert(name, file);
        }
        let mut overrides: BTreeMap<String, Override> = BTreeMap::new();
        for (name, file) in &mut self.files {
            let Some((key, text)) = &file.usable else {
                continue;
            };
            if let Some(other) = overrides.get(key) {
                let trouble = NotUsed::Twice {
                    key: key.clone(),
                    other: other.file.clone(),
                };
                if file.trouble.as_ref() != Some(&trouble) {
                    look.trouble.push((name.clone(), trouble.clone()));
                    file.trouble = Some(trouble);
                }
                continue;
            }
            let it = Override {
                file: name.clone(),
                text: text.clone(),
            };
            overrides.insert(key.clone(), it);
        }
        let found = Overrides::new(overrides);
        look.changed = self.found.differing(&found);
        self.found = found;
        Ok(look)
    }
}

/// The XML files of a folder, with what changes when they do.
fn list(path: &Path) -> io::Result<BTreeMap<String, (u64, Option<SystemTime>)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut listed = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !name.to_ascii_lowercase().ends_with(".xml") {
            continue;
        }
        // Of what goes away in between nothing is left.
        let Ok(about) = fs::metadata(entry.path()) else {
            continue;
        };
        if about.is_file() {
            listed.insert(name, (about.len(), about.modified().ok()));
        }
        if listed.len() >= MAX_FILES {
            break;
        }
    }
    Ok(listed)
}

fn read(path: &Path, length: u64) -> Result<(String, String), NotUsed> {
    if length > MAX_FILE {
        return Err(NotUsed::TooLarge(length));
    }
    let bytes = fs::read(path).map_err(|error| NotUsed::Io(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| NotUsed::NotUtf8)?;
    let key = api_key(&text)?;
    Ok((key, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Folder, name: &str, text: &str) {
        fs::write(folder.path().join(name), text).unwrap();
    }

    #[test]
    fn files_come_change_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(directory.path().join("api"));
        assert!(folder.look().unwrap().changed.is_empty(), "it is not there");
        fs::create_dir(folder.path()).unwrap();
        write(&folder, "a.xml", "<api name='a' context='/a'/>");
        write(&folder, "readme.txt", "<api name='b'/>");
        write(&folder, ".a.xml.swp", "<api name='c'/>");
        assert_eq!(folder.look().unwrap().changed, ["a"]);
        assert!(folder.look().unwrap().changed.is_empty());
        write(&folder, "a.xml", "<api name='a' version='1' context='/a'/>");
        assert_eq!(folder.look().unwrap().changed, ["a", "a:v1"]);
        fs::remove_file(folder.path().join("a.xml")).unwrap();
        assert_eq!(folder.look().unwrap().changed, ["a:v1"]);
        assert_eq!(folder.found().iter().count(), 0);
    }

    #[test]
    fn a_file_that_is_half_written_leaves_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(directory.path().to_owned());
        write(&folder, "a.xml", "<api name='a' context='/a'/>");
        folder.look().unwrap();
        write(&folder, "a.xml", "<api name='a' conte");
        let look = folder.look().unwrap();
        assert!(look.changed.is_empty());
        assert_eq!(look.trouble.len(), 1);
        assert!(folder.look().unwrap().trouble.is_empty(), "said once");
        assert_eq!(folder.found().file("a"), Some("a.xml"));
    }

    #[test]
    fn of_two_files_for_one_api_the_first_counts() {
        let directory = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(directory.path().to_owned());
        write(&folder, "b.xml", "<api name='a' context='/b'/>");
        write(&folder, "a.xml", "<api name='a' context='/a'/>");
        let look = folder.look().unwrap();
        assert_eq!(folder.found().file("a"), Some("a.xml"));
        assert_eq!(look.trouble[0].0, "b.xml");
        assert!(look.trouble[0].1.to_string().contains("as the file a.xml"));
    }
}
