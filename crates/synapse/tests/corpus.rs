//! Real and rendered artifacts, compiled: which are refused, and what is found in the others.
//!
//! Read from `synapse/corpus` in the folder named by `LOCKSTEP_SHARED`, by default `../shared`
//! beside the workspace; without it every test says what it left out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use artifact::{Artifact, Content, Finding, Severity};
use synapse::xml::{Limits, read};

fn tell(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn corpus(what: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("LOCKSTEP_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let corpus = shared.join("synapse/corpus");
    if !corpus.is_dir() {
        tell(&format!("LEFT OUT: {what}: no corpus in the shared folder"));
        return None;
    }
    Some(corpus)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "xml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// One file as an artifact of its own: an API, or a piece beside an API that does nothing.
fn compiled(text: &str) -> Option<(bool, Vec<Finding>)> {
    let root = read(text, &Limits::default()).ok()?;
    let api =
        "<api name='A' context='/a'><resource><inSequence><respond/></inSequence></resource></api>";
    let mut artifact = Artifact {
        name: "A".into(),
        api_definition: Some(api.into()),
        ..Artifact::default()
    };
    let content = Content {
        name: "piece".into(),
        content: text.into(),
    };
    match root.name.as_str() {
        "api" => artifact.api_definition = Some(text.into()),
        "sequence" | "template" => artifact.sequence_to_be_add.push(content),
        "endpoint" => artifact.endpoint_entries_to_be_add.push(content),
        "localEntry" => artifact.local_entries_to_be_add.push(content),
        _ => return None,
    }
    let compilation = synapse::compile(&artifact, &Limits::default());
    Some((compilation.plan.is_some(), compilation.findings))
}

/// What a finding is about, without names and places.
fn kind(finding: &Finding) -> String {
    let message = &finding.message;
    let about = [
        "is not in the artifact",
        "handler ",
        "APIAuthenticationHandler",
        "class ",
        "<",
        "the address is the message's To",
        "the expression uses",
        "is not declared",
        "the expression is not well-formed",
        "SOAP header",
        "regular expression",
        "session affinity",
        "authentication",
        "inline XML",
        "enrich with a target",
        "registry",
        "template engine",
        "no request target can hold",
        "property scope",
        "load-balance algorithm",
        "load balance over members",
        "endpoint template",
    ];
    let found = about.iter().find(|about| match **about {
        "<" => message.starts_with('<'),
        about => message.contains(about),
    });
    match (found, finding.severity) {
        (Some(&"<"), _) => message.split('>').next().unwrap_or_default().to_owned() + ">",
        (Some(found), _) => (*found).trim().to_owned(),
        (None, _) => message.clone(),
    }
}

/// Of a folder: how many files compile and how many are refused, the rules by which, and how
/// often something is not executed, by what it is.
struct Found {
    compiled: usize,
    refused: usize,
    rules: BTreeMap<String, usize>,
    not_executed: BTreeMap<String, usize>,
    /// Class mediators among them, without their packages.
    classes: BTreeSet<String>,
}

fn look(folder: &Path) -> Found {
    let mut found = Found {
        compiled: 0,
        refused: 0,
        rules: BTreeMap::new(),
        not_executed: BTreeMap::new(),
        classes: BTreeSet::new(),
    };
    for file in files(folder) {
        let text = std::fs::read_to_string(&file).unwrap();
        let (compiles, findings) = compiled(&text).unwrap_or_else(|| panic!("{}", file.display()));
        if compiles {
            found.compiled += 1;
        } else {
            found.refused += 1;
        }
        for finding in &findings {
            assert!(!finding.place.is_empty() && !finding.message.is_empty());
            let list = match finding.severity {
                Severity::Refused => &mut found.rules,
                Severity::NotExecuted if compiles => &mut found.not_executed,
                _ => continue,
            };
            *list.entry(kind(finding)).or_default() += 1;
            if let Some(class) = finding.message.strip_prefix("class ") {
                let class = class.split(' ').next().unwrap_or_default();
                let name = class.rsplit('.').next().unwrap_or_default();
                found.classes.insert(name.to_owned());
            }
        }
    }
    let not_executed: Vec<String> = found
        .not_executed
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    tell(&format!(
        "{}: {} compiled, {} refused; not executed: {}",
        folder.display(),
        found.compiled,
        found.refused,
        not_executed.join(", ")
    ));
    found
}

/// Mediators and endpoints by which a request would get 501.
fn elements(found: &Found) -> Vec<&str> {
    let elements = found
        .not_executed
        .keys()
        .filter(|kind| kind.starts_with('<'));
    elements.map(String::as_str).collect()
}

#[test]
fn of_rendered_artifacts_little_is_not_executed() {
    let Some(corpus) = corpus("rendered artifacts") else {
        return;
    };
    let found = look(&corpus.join("rendered"));
    assert_eq!((found.compiled, found.refused), (281, 3));
    // Version-less APIs of a template that writes no resource.
    assert_eq!(
        found.rules,
        BTreeMap::from([("an API needs at least one <resource>".to_owned(), 3)])
    );
    assert_eq!(elements(&found), ["<clone>", "<opa>", "<script>", "<wsdl>"]);
    // Models, MCP, clouds, WebSub and digests, and what needs the claims of a token.
    let classes: Vec<&str> = found.classes.iter().map(String::as_str).collect();
    assert_eq!(
        classes,
        [
            "AIAPIMediator",
            "AWSSigV4Signer",
            "ClaimBasedResourceAccessValidationMediator",
            "CrossSiteRequestForgeryValidationMediator",
            "DeliveryStatusUpdater",
            "DigestAuthMediator",
            "FailoverMediator",
            "McpMediator",
            "OneTimeTokenRevocationMediator",
            "RoundRobinMediator",
            "SubscribersPersistMediator",
            "WeightedRoundRobinMediator",
        ]
    );
    for executed in [
        "the expression uses",
        "regular expression",
        "enrich with a target",
    ] {
        assert!(
            found.not_executed.get(executed).copied().unwrap_or(0) <= 1,
            "{executed}"
        );
    }
}

#[test]
fn real_apis_are_refused_by_the_rules_of_the_original_only() {
    let Some(corpus) = corpus("real APIs") else {
        return;
    };
    let found = look(&corpus.join("api"));
    let rules: Vec<&str> = found.rules.keys().map(String::as_str).collect();
    assert_eq!((found.compiled, found.refused), (332, 9), "{rules:#?}");
    let executed = [
        "<call>",
        "<in>",
        "<out>",
        "<makefault>",
        "<enrich>",
        "<rewrite>",
        "<call-template>",
        "<propertyGroup>",
    ];
    assert!(
        elements(&found)
            .iter()
            .all(|element| !executed.contains(element))
    );
}

#[test]
fn sequences_endpoints_and_local_entries_compile() {
    let Some(corpus) = corpus("sequences, endpoints and local entries") else {
        return;
    };
    for (folder, compiled, refused) in [
        ("sequences", 348, 0),
        ("endpoints", 129, 0),
        ("local-entries", 62, 0),
    ] {
        let found = look(&corpus.join(folder));
        assert_eq!(
            (found.compiled, found.refused),
            (compiled, refused),
            "{:?}",
            found.rules
        );
        if folder == "endpoints" {
            assert_eq!(elements(&found), ["<endpoint>", "<wsdl>"]);
        }
    }
}

#[test]
fn malformed_files_are_not_read() {
    let Some(corpus) = corpus("malformed files") else {
        return;
    };
    for file in files(&corpus.join("malformed")) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let error = read(&text, &Limits::default()).unwrap_err();
        assert!(error.line > 0 && !error.rule.is_empty());
    }
}
