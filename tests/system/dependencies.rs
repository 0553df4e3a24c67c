//! Dependencies point one way. These are the invariants of the layout in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

const PROCESSES: [&str; 3] = ["publisher-saver", "traffic-manager", "gateway-agent"];

/// Every package that each workspace member reaches without its tests.
fn reached() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = super::kit_of_tests::workspace().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .exec()
        .unwrap();
    let resolve = metadata.resolve.as_ref().unwrap();
    let name = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let edges: BTreeMap<_, Vec<_>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let deps = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development)
            });
            (&node.id, deps.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let mut all = BTreeMap::new();
    for member in &metadata.workspace_members {
        let mut seen = BTreeSet::new();
        let mut open = vec![member];
        while let Some(package) = open.pop() {
            for next in &edges[package] {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        all.insert(name(member), seen.into_iter().map(&name).collect());
    }
    all
}

#[test]
fn dependencies_point_one_way() {
    let reached = reached();
    let mut wrong = Vec::new();
    let mut forbid = |from: &str, to: &str, why: &str| {
        let direct = reached
            .get(from)
            .unwrap_or_else(|| panic!("no member {from}"));
        if direct.contains(to) {
            wrong.push(format!("{from} reaches {to}: {why}"));
        }
    };
    for library in [
        "kit",
        "artifact",
        "synapse",
        "synapse-directory",
        "store",
        "events",
    ] {
        for process in PROCESSES.iter().chain(&["lockstep"]) {
            forbid(library, process, "libraries do not know processes");
        }
    }
    for process in PROCESSES {
        for other in PROCESSES.iter().chain(&["lockstep"]) {
            if process != *other {
                forbid(process, other, "only lockstep composes processes");
            }
        }
    }
    forbid("events", "store", "only the outbox relay uses both");
    forbid("store", "events", "only the outbox relay uses both");
    for sql in ["store", "sqlx", "sqlx-core", "libsqlite3-sys"] {
        forbid("gateway-agent", sql, "no database in the gateway");
    }
    for pure in ["artifact", "synapse"] {
        for io in ["tokio", "hyper", "reqwest", "actix-web", "sqlx", "kit"] {
            forbid(pure, io, "it does no I/O");
        }
        forbid(pure, "synapse-directory", "it does no I/O");
    }
    for other in ["tokio", "hyper", "reqwest", "actix-web", "sqlx", "kit"] {
        forbid("synapse-directory", other, "its only I/O are files");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
