//! What an operator can publish: files and directories become artifacts.
//!
//! `tree` brings files into memory, archives included, `document` reads one that stands for itself.
//! APIs of a Synapse directory are bundled by the library `synapse_directory`.

pub mod archive;
mod document;
pub mod openapi;
mod tree;

use std::path::PathBuf;

use synapse_directory::layout;
pub(crate) use synapse_directory::tree::{File, Tree};
pub use synapse_directory::{Source, Sources};

/// Reads all paths. A path that holds nothing to publish is a bad source.
#[must_use]
pub fn read_paths(paths: &[PathBuf]) -> Sources {
    let mut sources = Sources::default();
    for path in paths {
        let name = path.display().to_string();
        let before = sources.list.len();
        match tree::read(path) {
            Err(mut reason) => {
                if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
                    reason.push_str(&format!("; to wait that long, write --wait={name}"));
                }
                sources.list.push(Source::Bad {
                    source: name,
                    reason,
                });
            }
            Ok(tree) if tree.is_single_file => {
                let around = layout::around(path);
                for file in &tree.files {
                    read_file(&name, file, &around, true, &mut sources);
                }
            }
            Ok(tree) => {
                read_tree(&tree, &mut sources);
                if sources.list.len() == before {
                    sources.list.push(Source::Bad {
                        source: name,
                        reason: "holds no artifacts: no GatewayAPIDTO or OpenAPI document, and no \
                                 directory api/ with API XML files"
                            .to_owned(),
                    });
                }
            }
        }
    }
    sources
}

/// Reads the artifacts of files in memory, as of a directory.
pub(crate) fn read_tree(tree: &Tree, sources: &mut Sources) {
    let used = layout::read(tree, sources);
    let unreadable = tree.unreadable.iter();
    sources
        .list
        .extend(unreadable.map(|(path, reason)| Source::Bad {
            source: tree.name_of(path),
            reason: reason.clone(),
        }));
    let ignored = tree.ignored.iter();
    sources
        .left_out
        .extend(ignored.map(|path| tree.name_of(path)));
    let alone = layout::XmlFiles::default();
    for file in tree.files.iter().filter(|file| !used.contains(&file.path)) {
        read_file(&tree.name_of(&file.path), file, &alone, false, sources);
    }
}

/// Reads one file. `required`: the operator named this very file, so it has to be an artifact.
fn read_file(
    name: &str,
    file: &File,
    around: &layout::XmlFiles,
    required: bool,
    sources: &mut Sources,
) {
    match document::read(name, &file.bytes, around, required) {
        document::Read::Artifact { item, findings } => {
            sources.list.push(Source::Artifact { item, findings });
        }
        document::Read::Bad(reason) => sources.list.push(Source::Bad {
            source: name.to_owned(),
            reason,
        }),
        document::Read::NotAnArtifact => sources.left_out.push(name.to_owned()),
    }
}
