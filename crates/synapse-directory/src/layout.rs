//! Reads Synapse's own directory layout: `api/*.xml` beside `sequences/`, `endpoints/` and
//! `local-entries/`, as a gateway's `synapse-configs/default` holds it. Pure but for [`around`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use std::path::Path;

use artifact::{Artifact, Content, Finding, PublishItem, SUPER_TENANT, Severity, derive_api_id};
use synapse::compile::{
    EXTENSION_SUFFIXES, Reference, ReferenceKind, is_shipped_sequence, references,
};
use synapse::xml::{Element, Limits, read as read_xml};

use crate::names;
use crate::tree::{self, File, Tree, has_ending};
use crate::{Source, Sources};

/// The version under which an API without one is listed: it answers without a version, as the
/// default version does.
const UNVERSIONED: &str = "default";

/// The folders beside `api`, with what they hold and where its name stands.
const FOLDERS: [(&str, ReferenceKind, &str, &str); 3] = [
    ("sequences", ReferenceKind::Sequence, "sequence", "name"),
    ("endpoints", ReferenceKind::Endpoint, "endpoint", "name"),
    (
        "local-entries",
        ReferenceKind::LocalEntry,
        "localEntry",
        "key",
    ),
];

/// An XML file that others refer to.
#[derive(Debug)]
struct XmlFile {
    /// How messages name it.
    name: String,
    text: String,
    root: Element,
}

/// The referable files of one Synapse directory.
#[derive(Debug, Default)]
pub struct XmlFiles {
    /// The tenant that the directory belongs to, where its path tells.
    tenant: Option<String>,
    by_key: HashMap<(ReferenceKind, String), XmlFile>,
    /// Files of a key that another file has, too.
    doubled: HashMap<(ReferenceKind, String), Vec<String>>,
    /// Files that could not be read, with the reason; a file of the key may be among them.
    unreadable: Vec<(String, String)>,
}

/// One API XML file.
#[derive(Debug)]
pub struct ApiFile {
    /// How messages name it.
    pub name: String,
    pub text: String,
    /// What the text holds.
    pub root: Element,
}

/// Adds the APIs of every Synapse directory of the tree; returns the paths that belong to one.
pub fn read(tree: &Tree, sources: &mut Sources) -> HashSet<String> {
    let mut used = HashSet::new();
    // Directories that have an api/ folder with XML files in it.
    let mut roots: BTreeSet<&str> = BTreeSet::new();
    for file in &tree.files {
        if let Some((folder, _)) = file.path.rsplit_once('/')
            && has_ending(&file.path, "xml")
            && (folder == "api" || folder.ends_with("/api"))
        {
            roots.insert(folder.strip_suffix("api").unwrap_or_default());
        }
    }
    for root in roots {
        let files = referable(tree, root, &mut used);
        let mut bundled = BTreeSet::new();
        for (path, text) in in_folder(tree, root, "api") {
            used.insert(path.to_owned());
            let name = tree.name_of(path);
            let result = text
                .and_then(|text| {
                    let root = read_xml(text, &Limits::default()).map_err(|e| e.to_string())?;
                    Ok((root, text))
                })
                .and_then(|(root, text)| {
                    let file = ApiFile {
                        name: name.clone(),
                        text: text.to_owned(),
                        root,
                    };
                    bundled.extend(file.reach(&files).0.into_values());
                    file.bundle(&files)
                });
            sources.list.push(match result {
                Ok((item, findings)) => Source::Artifact { item, findings },
                Err(reason) => Source::Bad {
                    source: name,
                    reason,
                },
            });
        }
        let unreadable = files.unreadable.iter();
        sources
            .list
            .extend(unreadable.map(|(source, reason)| Source::Bad {
                source: source.clone(),
                reason: reason.clone(),
            }));
        let unused = files
            .by_key
            .values()
            .filter(|file| !bundled.contains(&file.name));
        sources
            .left_out
            .extend(unused.map(|file| file.name.clone()));
        let doubled = files.doubled.values().flatten();
        sources.left_out.extend(doubled.cloned());
    }
    sources.left_out.sort();
    used
}

/// The files that the API XML file at `path` may refer to: those of the folders beside its `api`
/// folder, if it lies in one.
#[must_use]
pub fn around(path: &Path) -> XmlFiles {
    // The path may be a bare file name in the current directory.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().filter(|folder| folder.ends_with("api"));
    let Some(root) = folder.and_then(Path::parent) else {
        return XmlFiles::default();
    };
    let mut files = Vec::new();
    for (folder, ..) in FOLDERS {
        if let Ok(tree) = tree::read_directory(&root.join(folder)) {
            files.extend(tree.files.into_iter().map(|file| File {
                path: format!("{folder}/{}", file.path),
                ..file
            }));
        }
    }
    let tree = Tree {
        files,
        ..Tree::of(root)
    };
    referable(&tree, "", &mut HashSet::new())
}

/// The XML files directly in a folder of a Synapse directory.
fn in_folder<'a>(
    tree: &'a Tree,
    root: &str,
    folder: &str,
) -> impl Iterator<Item = (&'a str, Result<&'a str, String>)> {
    let prefix = format!("{root}{folder}/");
    tree.files.iter().filter_map(move |file| {
        let name = file.path.strip_prefix(&prefix)?;
        if name.contains('/') || !has_ending(name, "xml") {
            return None;
        }
        let text = match std::str::from_utf8(&file.bytes) {
            Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
            Ok(text) => Ok(text),
            Err(error) => Err(format!(
                "byte {}: not UTF-8; artifacts are UTF-8 text",
                error.valid_up_to()
            )),
        };
        Some((file.path.as_str(), text))
    })
}

fn referable(tree: &Tree, root: &str, used: &mut HashSet<String>) -> XmlFiles {
    let mut files = XmlFiles {
        tenant: names::tenant_of(root),
        ..XmlFiles::default()
    };
    for (folder, kind, element, attribute) in FOLDERS {
        for (path, text) in in_folder(tree, root, folder) {
            used.insert(path.to_owned());
            let name = tree.name_of(path);
            let parsed = text.and_then(|text| {
                let root = read_xml(text, &Limits::default()).map_err(|e| e.to_string())?;
                Ok((root, text.to_owned()))
            });
            let (root, text) = match parsed {
                Ok((root, text)) if root.name == element => (root, text),
                Ok((root, _)) => {
                    let reason = format!(
                        "the root element must be <{element}>, found <{}>",
                        root.name
                    );
                    files.unreadable.push((name, reason));
                    continue;
                }
                Err(reason) => {
                    files.unreadable.push((name, reason));
                    continue;
                }
            };
            let Some(key) = root.set_attribute(attribute) else {
                let reason = format!("<{element}> has no {attribute}");
                files.unreadable.push((name, reason));
                continue;
            };
            match files.by_key.entry((kind, key.to_owned())) {
                Entry::Occupied(taken) => {
                    let doubled = files.doubled.entry(taken.key().clone());
                    doubled.or_default().push(name);
                }
                Entry::Vacant(free) => {
                    free.insert(XmlFile { name, text, root });
                }
            }
        }
    }
    files
}

/// The files that an API reaches, by kind and key, and what it does not find.
type Reached = (BTreeMap<(ReferenceKind, String), String>, Vec<Finding>);

impl ApiFile {
    /// The key of the API at run time, by which its extension sequences are named.
    fn runtime_key(&self) -> String {
        let name = self.root.set_attribute("name").unwrap_or_default();
        match self.root.set_attribute("version") {
            Some(version) => format!("{name}:v{version}"),
            None => name.to_owned(),
        }
    }

    /// Follows references, directly and through other files.
    fn reach(&self, files: &XmlFiles) -> Reached {
        let mut reached = BTreeMap::new();
        let mut findings = Vec::new();
        let mut open: VecDeque<(String, Reference)> = references(&self.root)
            .into_iter()
            .map(|reference| (self.name.clone(), reference))
            .collect();
        for suffix in EXTENSION_SUFFIXES {
            let key = (
                ReferenceKind::Sequence,
                format!("{}{suffix}", self.runtime_key()),
            );
            if files.by_key.contains_key(&key) {
                open.push_back((
                    self.name.clone(),
                    Reference {
                        kind: key.0,
                        key: key.1,
                        line: self.root.line,
                        column: self.root.column,
                    },
                ));
            }
        }
        let mut missing = HashSet::new();
        while let Some((from, reference)) = open.pop_front() {
            let key = (reference.kind, reference.key.clone());
            if reached.contains_key(&key) {
                continue;
            }
            let place = format!(
                "{from}: line {}, column {}",
                reference.line, reference.column
            );
            match files.by_key.get(&key) {
                Some(file) => {
                    if let Some(others) = files.doubled.get(&key) {
                        findings.push(Finding {
                            severity: Severity::Ignored,
                            place,
                            message: format!(
                                "{} {} is in {} and in {}; the first is used",
                                reference.kind.as_str(),
                                reference.key,
                                file.name,
                                others.join(", ")
                            ),
                        });
                    }
                    let further = references(&file.root).into_iter();
                    open.extend(further.map(|reference| (file.name.clone(), reference)));
                    reached.insert(key, file.name.clone());
                }
                None => {
                    let shipped = reference.kind == ReferenceKind::Sequence
                        && is_shipped_sequence(&reference.key);
                    if !shipped && missing.insert(key) {
                        findings.push(Finding {
                            severity: Severity::NotExecuted,
                            place,
                            message: not_found(&reference, files),
                        });
                    }
                }
            }
        }
        (reached, findings)
    }

    /// The artifact: the API with everything that it reaches, and what it does not find.
    ///
    /// # Errors
    /// When the file holds no API, with the place and the rule.
    pub fn bundle(&self, files: &XmlFiles) -> Result<(PublishItem, Vec<Finding>), String> {
        let root = &self.root;
        if root.name != "api" {
            return Err(format!(
                "line {}, column {}: the root element must be <api>, found <{}>",
                root.line, root.column, root.name
            ));
        }
        let (Some(name), Some(context)) =
            (root.set_attribute("name"), root.set_attribute("context"))
        else {
            return Err(format!(
                "line {}, column {}: an API needs the attributes name and context",
                root.line, root.column
            ));
        };
        let version = root.set_attribute("version").unwrap_or(UNVERSIONED);
        let tenant = context
            .strip_prefix("/t/")
            .and_then(|rest| rest.split('/').next())
            .filter(|tenant| !tenant.is_empty())
            .or(files.tenant.as_deref())
            .unwrap_or(SUPER_TENANT);
        let (reached, findings) = self.reach(files);
        let mut artifact = Artifact {
            name: name.to_owned(),
            version: version.to_owned(),
            tenant_domain: tenant.to_owned(),
            api_id: derive_api_id(tenant, name, version),
            api_definition: Some(cut(&self.text, root)),
            r#override: true,
            ..Artifact::default()
        };
        for (kind, key) in reached.into_keys() {
            let Some(file) = files.by_key.get(&(kind, key.clone())) else {
                continue;
            };
            let content = Content {
                name: key,
                content: cut(&file.text, &file.root),
            };
            match kind {
                ReferenceKind::Sequence => artifact.sequence_to_be_add.push(content),
                ReferenceKind::Endpoint => artifact.endpoint_entries_to_be_add.push(content),
                ReferenceKind::LocalEntry => artifact.local_entries_to_be_add.push(content),
            }
        }
        let text = artifact.to_text().map_err(|error| error.to_string())?;
        let item = PublishItem {
            source: self.name.clone(),
            artifact: text,
        };
        Ok((item, findings))
    }
}

fn not_found(reference: &Reference, files: &XmlFiles) -> String {
    let kind = reference.kind.as_str();
    let key = &reference.key;
    let mut message = format!("{kind} {key} cannot be found");
    if let Some((name, reason)) = files
        .unreadable
        .iter()
        .find(|(name, _)| name.contains(key.as_str()))
    {
        message.push_str(&format!("; {name} cannot be used: {reason}"));
    }
    message
}

/// The root element's own text: comments around it can hold credentials.
fn cut(text: &str, root: &Element) -> String {
    text.get(root.start..root.end).unwrap_or(text).to_owned()
}
