//! The samples that `lockstep up` publishes: `conf/samples`, compiled in.

use artifact::{Label, PublishItem};

use crate::source::{File, Source, Sources, Tree, read_tree};

macro_rules! samples {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../conf/samples/", $path)))),*]
    };
}

/// Every file under `conf/samples`, by its path there.
const FILES: &[(&str, &[u8])] = samples![
    "phone-verification.json",
    "synapse-configs/default/api/admin--CalculatorAPI_v1.0.xml",
    "synapse-configs/default/api/admin--PizzaShackAPI_v1.0.0.xml",
    "synapse-configs/default/api/admin--StatusAPI.xml",
    "synapse-configs/default/endpoints/CalculatorAPI--v1.0_APIproductionEndpoint.xml",
    "synapse-configs/default/endpoints/PizzaShackAPI--v1.0.0_APIproductionEndpoint.xml",
    "synapse-configs/default/endpoints/PizzaShackAPI--v1.0.0_APIsandboxEndpoint.xml",
    "synapse-configs/default/sequences/add_client_header.xml",
    "weather-openapi.yaml",
];

/// The samples, each with the labels that it is published to: two of them everywhere, the others
/// under one label only, so that the gateways differ.
#[must_use]
pub fn samples(labels: &[Label]) -> Vec<(PublishItem, Vec<Label>)> {
    let tree = Tree {
        root: "conf/samples".to_owned(),
        files: FILES
            .iter()
            .map(|(path, bytes)| File {
                path: (*path).to_owned(),
                bytes: bytes.to_vec(),
            })
            .collect(),
        unreadable: Vec::new(),
        ignored: Vec::new(),
        is_single_file: false,
    };
    let mut sources = Sources::default();
    read_tree(&tree, &mut sources);
    let mut samples = Vec::new();
    for source in sources.list {
        if let Source::Artifact { item, .. } = source {
            let chosen = if item.source.contains("Calculator") || item.source.contains("phone") {
                labels.first().into_iter().cloned().collect()
            } else if item.source.contains("weather") {
                labels.last().into_iter().cloned().collect()
            } else {
                labels.to_vec()
            };
            samples.push((item, chosen));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_under_conf_samples_is_compiled_in() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/samples");
        let mut open = vec![std::path::PathBuf::from(root)];
        let mut found = Vec::new();
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let path = path.strip_prefix(root).unwrap();
                    found.push(path.to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        let compiled: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, compiled);
    }

    #[test]
    fn all_samples_pass_the_checks() {
        let labels = [Label::parse("A").unwrap(), Label::parse("B").unwrap()];
        let samples = samples(&labels);
        assert_eq!(samples.len(), 5);
        let items: Vec<PublishItem> = samples.into_iter().map(|(item, _)| item).collect();
        for result in publisher_saver::check::check_batch(&items) {
            let checked = result.unwrap();
            assert!(
                checked
                    .findings
                    .iter()
                    .all(|finding| !finding.message.contains("501")),
                "{:?}",
                checked.findings
            );
        }
    }
}
