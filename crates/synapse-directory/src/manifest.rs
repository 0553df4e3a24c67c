//! The files of a directory that are Lockstep's: which piece each of them holds, and for which APIs.
//! Pure but for [`api_ids`]; `directory` brings it
//! to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use artifact::{Digest, SUPER_TENANT};
use serde::{Deserialize, Serialize};

use crate::names::{directory_name, file_name};
use crate::pieces::Kind;

/// The manifest's file, below the root of the directory. Hot deployers do not look at it.
pub const MANIFEST: &str = ".lockstep-manifest.json";

const VERSION: u32 = 1;

/// Why a manifest cannot be used. Nothing is written then: nobody knows what may be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("is no manifest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("is of version {0}, this program knows {VERSION}")]
    Version(u32),
    #[error("names {0:?}, which is no path below its directory")]
    Path(String),
    #[error("the directory holds the APIs of {found:?}, not of {wanted:?}")]
    Other { found: String, wanted: String },
}

/// What the directory holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    /// Whose APIs they are, such as the label's.
    of: String,
    /// By path below the root, `/` between segments.
    pub(crate) files: BTreeMap<String, OwnedFile>,
    /// By their id.
    pub(crate) apis: BTreeMap<String, OwnedApi>,
}

/// A file that Lockstep has written, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnedFile {
    pub(crate) tenant: String,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    /// Of the content.
    pub(crate) digest: Digest,
}

/// An API and its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnedApi {
    /// Of the artifact; `None` while not all of it could be written.
    pub(crate) digest: Option<Digest>,
    pub(crate) files: BTreeSet<String>,
}

impl Manifest {
    pub(crate) fn new(of: &str) -> Self {
        Self {
            version: VERSION,
            of: of.to_owned(),
            files: BTreeMap::new(),
            apis: BTreeMap::new(),
        }
    }

    /// Reads a manifest, which anybody may have changed: a path that leads elsewhere is refused.
    pub(crate) fn parse(text: &str, of: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        let manifest: Self = serde_json::from_str(text)?;
        if manifest.of != of {
            return Err(ManifestError::Other {
                found: manifest.of,
                wanted: of.to_owned(),
            });
        }
        for (path, file) in &manifest.files {
            let name = path.strip_prefix(&folder(&file.tenant, file.kind));
            let name = name.and_then(|name| name.strip_prefix('/'));
            if name.is_none_or(|name| name.contains(['/', '\0']) || name.starts_with('.')) {
                return Err(ManifestError::Path(path.clone()));
            }
        }
        Ok(manifest)
    }

    pub(crate) fn to_text(&self) -> Result<String, ManifestError> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Whether any API has the file.
    pub(crate) fn is_used(&self, path: &str) -> bool {
        self.apis.values().any(|api| api.files.contains(path))
    }

    /// Without the files that no API has.
    pub(crate) fn only_used(mut self) -> Self {
        let used: BTreeSet<&String> = self.apis.values().flat_map(|api| &api.files).collect();
        self.files.retain(|path, _| used.contains(path));
        self
    }
}

/// The ids of the APIs whose definitions these files are, by the files' paths below the root, as the
/// manifest tells; nothing where there is none. Files that Lockstep has not written are not among them.
///
/// # Errors
/// When the manifest is there and cannot be read.
pub fn api_ids(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = match fs::read_to_string(root.join(MANIFEST)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let manifest: Manifest = serde_json::from_str(&text)?;
    let mut ids = BTreeMap::new();
    for (api_id, api) in &manifest.apis {
        for path in &api.files {
            let file = manifest.files.get(path);
            if file.is_some_and(|file| file.kind == Kind::Api) {
                ids.insert(path.clone(), api_id.clone());
            }
        }
    }
    Ok(ids)
}

/// The folder of a kind of pieces, below the root.
pub(crate) fn folder(tenant: &str, kind: Kind) -> String {
    let folder = format!("synapse-configs/default/{}", kind.folder());
    if tenant == SUPER_TENANT {
        folder
    } else {
        format!("tenants/{}/{folder}", directory_name(tenant))
    }
}

/// Finds the file of each piece: the one that it has, or a new one whose name no other has.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    by_piece: BTreeMap<(String, Kind, String), String>,
    taken: BTreeSet<String>,
}

impl Paths {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut paths = Self::default();
        for (path, file) in &manifest.files {
            let piece = (file.tenant.clone(), file.kind, file.key.clone());
            paths.by_piece.insert(piece, path.clone());
            paths.taken.insert(path.to_lowercase());
        }
        paths
    }

    pub(crate) fn path(&mut self, tenant: &str, kind: Kind, key: &str) -> String {
        let piece = (tenant.to_owned(), kind, key.to_owned());
        if let Some(path) = self.by_piece.get(&piece) {
            return path.clone();
        }
        let folder = folder(tenant, kind);
        let lower = folder.to_lowercase();
        let name = file_name(key, |name| self.taken.contains(&format!("{lower}/{name}")));
        let path = format!("{folder}/{name}");
        self.taken.insert(path.to_lowercase());
        self.by_piece.insert(piece, path.clone());
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_directories_of_their_own() {
        assert_eq!(
            folder(SUPER_TENANT, Kind::Api),
            "synapse-configs/default/api"
        );
        assert_eq!(
            folder("wso2.com", Kind::Sequence),
            "tenants/wso2.com/synapse-configs/default/sequences"
        );
        assert_eq!(
            folder("../x", Kind::Endpoint),
            "tenants/%2E.%2Fx/synapse-configs/default/endpoints"
        );
    }

    #[test]
    fn a_manifest_that_leads_elsewhere_is_refused() {
        let mut manifest = Manifest::new("L");
        let text = manifest.to_text().unwrap();
        assert_eq!(Manifest::parse(&text, "L").unwrap(), manifest);
        let other = Manifest::parse(&text, "M").unwrap_err().to_string();
        assert_eq!(other, "the directory holds the APIs of \"L\", not of \"M\"");
        for path in [
            "synapse-configs/default/api/../x.xml",
            "/etc/passwd",
            "synapse-configs/default/api/.lockstep.tmp",
        ] {
            let file = OwnedFile {
                tenant: SUPER_TENANT.into(),
                kind: Kind::Api,
                key: "k".into(),
                digest: Digest::of(b""),
            };
            manifest.files = BTreeMap::from([(path.to_owned(), file)]);
            let error = Manifest::parse(&manifest.to_text().unwrap(), "L").unwrap_err();
            assert!(matches!(error, ManifestError::Path(_)), "{error}");
        }
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            Manifest::parse(&newer, "L"),
            Err(ManifestError::Version(2))
        ));
    }
}
