//! XML files in the gateway's own `synapse-configs/default/api`: while one lies there, it answers
//! instead of the definition of the deployed API that has its name and version.
//!
//! `folder` reads them again and again; [`Overrides`] are what it has found.

pub mod folder;

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::Artifact;
use synapse::xml::{Limits, XmlError};

/// A definition from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The file's name in its folder.
    pub file: String,
    pub text: String,
}

/// All of them, by the key of the API that they define. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Arc<BTreeMap<String, Override>>);

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsed {
    #[error("it has {0} bytes, at most {most} are read", most = folder::MAX_FILE)]
    TooLarge(u64),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Io(String),
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("its root element is not an api with a name")]
    NotAnApi,
    #[error("it defines {key}, as the file {other} does")]
    Twice { key: String, other: String },
}

impl Overrides {
    #[must_use]
    pub fn new(overrides: BTreeMap<String, Override>) -> Self {
        Self(Arc::new(overrides))
    }

    /// Keys of APIs whose override differs between the two.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys());
        let mut keys: Vec<String> = keys
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .cloned()
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The file that defines the API of this key.
    #[must_use]
    pub fn file(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|it| it.file.as_str())
    }

    /// Each key with its file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        all.map(|(key, it)| (key.as_str(), it.file.as_str()))
    }

    /// Puts the definitions of files in the place of those of the artifact that have the same name and
    /// version, and says of which files.
    pub(crate) fn apply(&self, artifact: &mut Artifact) -> Vec<String> {
        let mut files = Vec::new();
        if self.0.is_empty() {
            return files;
        }
        let definitions = [
            &mut artifact.api_definition,
            &mut artifact.default_api_definition,
        ];
        for definition in definitions.into_iter().flatten() {
            let key = api_key(definition).ok();
            if let Some(it) = key.and_then(|key| self.0.get(&key)) {
                definition.clone_from(&it.text);
                files.push(it.file.clone());
            }
        }
        files
    }
}

/// The key of the API that a definition has at run time: its name, with `:v` and the version where it
/// has one.
///
/// # Errors
/// When it is no XML, or no API.
pub fn api_key(definition: &str) -> Result<String, NotUsed> {
    let root = synapse::xml::read(definition, &Limits::default())?;
    let name = root.set_attribute("name").filter(|_| root.name == "api");
    let name = name.ok_or(NotUsed::NotAnApi)?;
    Ok(match root.set_attribute("version") {
        Some(version) => format!("{name}:v{version}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Overrides {
        let overrides = files.iter().map(|(file, text)| {
            let it = Override {
                file: (*file).to_owned(),
                text: (*text).to_owned(),
            };
            (api_key(text).unwrap(), it)
        });
        Overrides::new(overrides.collect())
    }

    #[test]
    fn only_the_definition_of_that_name_and_version_is_another_one() {
        let ours = "<api name='a' version='2' version-type='url' context='/x'/>";
        let overrides = of(&[("a.xml", ours)]);
        assert_eq!(overrides.file("a:v2"), Some("a.xml"));
        let mut artifact = Artifact {
            api_definition: Some("<api name='a' version='2' context='/a'/>".into()),
            default_api_definition: Some("<api name='a' context='/a'/>".into()),
            ..Artifact::default()
        };
        let before = artifact.default_api_definition.clone();
        assert_eq!(overrides.apply(&mut artifact), ["a.xml"]);
        assert_eq!(artifact.api_definition.as_deref(), Some(ours));
        assert_eq!(artifact.default_api_definition, before);
    }

    #[test]
    fn what_differs_is_what_came_went_or_changed() {
        let (a, b) = ("<api name='a'/>", "<api name='b'/>");
        let both = of(&[("a.xml", a), ("b.xml", b)]);
        let other = of(&[("a.xml", "<api name='a' context='/new'/>")]);
        assert_eq!(both.differing(&other), ["a", "b"]);
        assert!(both.differing(&both).is_empty());
    }

    #[test]
    fn what_is_no_api_has_no_key() {
        assert_eq!(api_key("<sequence name='a'/>"), Err(NotUsed::NotAnApi));
        assert_eq!(api_key("<api/>"), Err(NotUsed::NotAnApi));
        assert!(matches!(api_key("<api name='a'"), Err(NotUsed::Xml(_))));
    }
}
