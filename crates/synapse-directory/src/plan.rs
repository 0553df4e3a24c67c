//! What a change of an API means for the files of a directory. Pure.

use std::collections::BTreeSet;

use artifact::{Artifact, Digest};

use crate::manifest::{Manifest, OwnedApi, OwnedFile, Paths};
use crate::pieces::{Kind, PieceError, left_out, pieces};

/// An API whose files are to be in the directory.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    pub(crate) api_id: &'a str,
    /// Of the artifact.
    pub(crate) digest: Digest,
    pub(crate) files: Vec<PutFile<'a>>,
    pub(crate) left_out: Vec<String>,
}

/// One file of an API.
#[derive(Debug)]
pub(crate) struct PutFile<'a> {
    pub(crate) path: String,
    pub(crate) file: OwnedFile,
    pub(crate) text: &'a str,
    /// Another API's content is kept, as artifacts with `"override": false` ask for.
    pub(crate) keep: bool,
}

impl<'a> Put<'a> {
    /// # Errors
    /// When the artifact has a piece that can be no file.
    pub(crate) fn new(
        artifact: &'a Artifact,
        digest: Digest,
        manifest: &Manifest,
        paths: &mut Paths,
    ) -> Result<Self, PieceError> {
        let tenant = &artifact.tenant_domain;
        let mut files = Vec::new();
        for piece in pieces(artifact)? {
            let path = paths.path(tenant, piece.kind, &piece.key);
            let others = || {
                let apis = manifest
                    .apis
                    .iter()
                    .filter(|(id, _)| **id != artifact.api_id);
                apis.into_iter().any(|(_, api)| api.files.contains(&path))
            };
            files.push(PutFile {
                keep: piece.kind != Kind::Api && !artifact.r#override && others(),
                file: OwnedFile {
                    tenant: tenant.clone(),
                    kind: piece.kind,
                    key: piece.key,
                    digest: Digest::of(piece.text.as_bytes()),
                },
                text: piece.text,
                path,
            });
        }
        Ok(Self {
            api_id: &artifact.api_id,
            digest,
            files,
            left_out: left_out(artifact),
        })
    }

    /// Its files are Lockstep's from now on, besides those that the API had.
    pub(crate) fn claim(&self, manifest: &mut Manifest) {
        let api = manifest.apis.entry(self.api_id.to_owned()).or_default();
        api.digest = None;
        api.files
            .extend(self.files.iter().map(|it| it.path.clone()));
        for PutFile {
            path, file, keep, ..
        } in &self.files
        {
            if !keep || !manifest.files.contains_key(path) {
                manifest.files.insert(path.clone(), file.clone());
            }
        }
    }

    /// All of them have been written: the API has these and no others.
    pub(crate) fn settle(&self, manifest: &mut Manifest) {
        let api = OwnedApi {
            digest: Some(self.digest),
            files: self.files.iter().map(|it| it.path.clone()).collect(),
        };
        manifest.apis.insert(self.api_id.to_owned(), api);
    }
}

/// Files of no API, in the order in which they are removed: APIs first.
pub(crate) fn unused(manifest: &Manifest) -> Vec<(Kind, String)> {
    let used: BTreeSet<&String> = manifest.apis.values().flat_map(|api| &api.files).collect();
    let files = manifest
        .files
        .iter()
        .filter(|(path, _)| !used.contains(path));
    let mut unused: Vec<(Kind, String)> = files
        .map(|(path, file)| (file.kind, path.clone()))
        .collect();
    unused.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    unused
}
