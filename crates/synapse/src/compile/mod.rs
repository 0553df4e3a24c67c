//! From an artifact to its plan: read, check, compile. What is not executed becomes a finding.

mod api;
mod authentication;
mod bundle;
mod cache;
mod class;
mod endpoint_definition;
mod endpoints;
mod enrich;
mod fault;
mod handlers;
mod mediators;
mod operations;
mod payload;
mod place;
mod property;
mod rewrite;
mod shipped;
mod template;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use artifact::{Artifact, Content, Finding, Severity};

use crate::endpoint::Identity;
use crate::plan::{Endpoint, Lifecycle, Plan, Secrets, Sequence, common};
use crate::xml::{Element, Limits, read};
pub use bundle::{EXTENSION_SUFFIXES, Reference, ReferenceKind, references};
use operations::note_open_operations;
use place::Place;
pub use shipped::is_shipped_sequence;
pub(crate) use shipped::shipped_reference;

/// What became of an artifact.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// `None` when a finding refuses the artifact.
    pub plan: Option<Arc<Plan>>,
    /// In the order in which the artifact's members are read.
    pub findings: Vec<Finding>,
    /// The routes that the artifact claims: the API's, then that of the version-less API. Two
    /// artifacts with a claim in common exclude each other.
    pub claims: Vec<String>,
}

/// Compiles an artifact. Pure, and as fast as reading its XML.
#[must_use]
pub fn compile(artifact: &Artifact, limits: &Limits) -> Compilation {
    let mut findings = Findings::default();
    let plan = build(artifact, limits, &mut findings);
    let claims = plan.claims();
    let refused = findings
        .list
        .iter()
        .any(|f| f.severity == Severity::Refused);
    Compilation {
        plan: (!refused).then(|| Arc::new(plan)),
        findings: findings.list,
        claims,
    }
}

impl Plan {
    /// Gives back the room that its lists were grown by: there are thousands of plans.
    fn shrink(&mut self) {
        self.apis.shrink_to_fit();
        for api in &mut self.apis {
            api.resources.shrink_to_fit();
        }
        self.sequences.shrink_to_fit();
        self.templates.shrink_to_fit();
        self.endpoints.shrink_to_fit();
        for endpoint in &mut self.endpoints {
            endpoint.properties.shrink_to_fit();
        }
    }

    /// The routes that the plan's APIs take, see [`Compilation::claims`].
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        self.apis.iter().map(|api| claim(&api.route)).collect()
    }
}

/// A route's context, and the version behind a blank where it is matched in the URL.
fn claim(route: &crate::dispatch::ApiRoute) -> String {
    let context = match route.context() {
        "" => "/",
        context => context,
    };
    match route.version() {
        crate::dispatch::VersionStrategy::Url(version) => format!("{context} {version}"),
        _ => context.to_owned(),
    }
}

/// Everything that the parts of the compiler share.
struct Compiler<'a> {
    limits: &'a Limits,
    findings: &'a mut Findings,
    sequence_names: HashMap<String, usize>,
    endpoint_names: HashMap<String, usize>,
    template_names: HashMap<String, usize>,
    /// Of the credentials that the artifact brings.
    aliases: HashSet<String>,
    /// `cache` mediators so far.
    caches: usize,
    /// The named endpoints, then those written inline; `None` while one is being compiled.
    endpoints: Vec<Option<Endpoint>>,
    /// How many endpoints of each name and definition there are so far.
    endpoint_identities: HashMap<Identity, usize>,
    /// Endpoints around the one being compiled.
    endpoint_depth: usize,
    /// Prefix declarations of the elements around the one being compiled.
    namespaces: Vec<(String, String)>,
    /// Endpoints whose address is the message's To, and whether anything sets that.
    to_endpoints: Vec<String>,
    sets_to: bool,
    /// Regular expressions so far: their programs take memory on every gateway.
    regexes: usize,
}

impl<'a> Compiler<'a> {
    fn new(limits: &'a Limits, findings: &'a mut Findings) -> Self {
        Self {
            limits,
            findings,
            sequence_names: HashMap::new(),
            endpoint_names: HashMap::new(),
            template_names: HashMap::new(),
            aliases: HashSet::new(),
            caches: 0,
            endpoints: Vec::new(),
            endpoint_identities: HashMap::new(),
            endpoint_depth: 0,
            namespaces: Vec::new(),
            to_endpoints: Vec::new(),
            sets_to: false,
            regexes: 0,
        }
    }

    /// Compiles something inside `element`, with its prefix declarations in scope.
    fn inside<R>(&mut self, element: &Element, compile: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.namespaces.len();
        let declared = element.attributes.iter();
        self.namespaces.extend(
            declared
                .filter(|(name, _)| name.starts_with("xmlns:"))
                .cloned(),
        );
        let result = compile(self);
        self.namespaces.truncate(outer);
        result
    }
}

#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
    seen: HashSet<(String, String)>,
}

impl Findings {
    fn add(&mut self, severity: Severity, place: &dyn ToString, message: impl Into<String>) {
        let finding = Finding {
            severity,
            place: place.to_string(),
            message: message.into(),
        };
        let key = (finding.place.clone(), finding.message.clone());
        if self.seen.insert(key) {
            self.list.push(finding);
        }
    }

    fn refuse(&mut self, place: &dyn ToString, message: impl Into<String>) {
        self.add(Severity::Refused, place, message);
    }
}

fn build(artifact: &Artifact, limits: &Limits, findings: &mut Findings) -> Plan {
    let mut sequences = documents(&artifact.sequence_to_be_add, "sequence", limits, findings);
    let templates: Vec<Document<'_>> = sequences
        .extract_if(.., |document| document.root.name == "template")
        .collect();
    let endpoints = documents(
        &artifact.endpoint_entries_to_be_add,
        "endpoint",
        limits,
        findings,
    );
    let entries = documents(
        &artifact.local_entries_to_be_add,
        "localEntry",
        limits,
        findings,
    );
    let mut compiler = Compiler {
        sequence_names: index(&sequences),
        endpoint_names: index(&endpoints),
        template_names: index(&templates),
        aliases: artifact
            .credentials_to_be_add
            .iter()
            .map(|credential| credential.alias.clone())
            .collect(),
        ..Compiler::new(limits, findings)
    };
    let mut plan = Plan {
        local_entries: entries
            .into_iter()
            .map(|document| (document.key, document.root.text().into_owned()))
            .collect(),
        credentials: Secrets(
            artifact
                .credentials_to_be_add
                .iter()
                .map(|credential| (credential.alias.clone(), credential.password.clone()))
                .collect(),
        ),
        lifecycle: lifecycle(artifact),
        ..Plan::default()
    };
    compiler.endpoints.resize_with(endpoints.len(), || None);
    for (at, document) in endpoints.iter().enumerate() {
        let place = Place::root(&document.place);
        let endpoint = compiler.endpoint(&document.root, &place, &document.key);
        compiler.endpoints[at] = Some(endpoint);
    }
    for document in &sequences {
        let place = Place::root(&document.place);
        let on_error = compiler.on_error(&document.root, &place);
        let block = compiler.block(&document.root, &place, document.text);
        let block = common::block(block);
        plan.sequences.push(Sequence { block, on_error });
    }
    for document in &templates {
        let place = Place::root(&document.place);
        let template = compiler.template(&document.root, &place, document.text);
        plan.templates.push(template);
    }
    for (member, text) in [
        ("apiDefinition", &artifact.api_definition),
        ("defaultAPIDefinition", &artifact.default_api_definition),
    ] {
        let Some(text) = text else { continue };
        match read(text, limits) {
            Err(error) => compiler.findings.refuse(&member, error.to_string()),
            Ok(root) => {
                let place = Place::root(member);
                let place = place.child(&root.name);
                let api = compiler.inside(&root, |compiler| compiler.api(&root, &place, text));
                plan.apis.extend(api.map(|mut api| {
                    if let Some(definition) = plan.local_entries.get(&artifact.api_id) {
                        note_open_operations(&mut api, definition);
                    }
                    api
                }));
            }
        }
    }
    if !compiler.sets_to {
        for place in std::mem::take(&mut compiler.to_endpoints) {
            let message = "the address is the message's To, which no header mediator sets; \
                           reaching it is a fault";
            compiler
                .findings
                .add(Severity::NotExecuted, &place, message);
        }
    }
    if artifact.api_definition.is_none() {
        compiler.findings.add(
            Severity::NotExecuted,
            &"apiDefinition",
            "the artifact has no API definition, so it adds no route",
        );
    }
    plan.sequence_names = compiler.sequence_names;
    plan.endpoint_names = compiler.endpoint_names;
    plan.endpoints = compiler.endpoints.into_iter().flatten().collect();
    plan.endpoints.push(Endpoint::of_the_message());
    plan.soap_sessions = plan.endpoints.iter().any(Endpoint::has_soap_session);
    plan.formats = plan.endpoints.iter().any(Endpoint::has_format);
    plan.shrink();
    plan
}

/// `additionalProperties.apiStatus`, by the name that the status has in API Manager's events.
fn lifecycle(artifact: &Artifact) -> Lifecycle {
    let properties = artifact.other.get("additionalProperties");
    let status = properties.and_then(|properties| properties["apiStatus"].as_str());
    match status.unwrap_or_default().to_ascii_uppercase().as_str() {
        "BLOCKED" => Lifecycle::Blocked,
        "PROTOTYPED" => Lifecycle::Prototyped,
        _ => Lifecycle::Published,
    }
}

/// A named XML member of an artifact that could be read.
struct Document<'a> {
    key: String,
    /// How findings name it: `sequence admin--X:v1--In`.
    place: String,
    root: Element,
    text: &'a str,
}

fn documents<'a>(
    contents: &'a [Content],
    kind: &str,
    limits: &Limits,
    findings: &mut Findings,
) -> Vec<Document<'a>> {
    let mut documents: Vec<Document<'_>> = Vec::with_capacity(contents.len());
    let mut keys = HashSet::new();
    for content in contents {
        let place = format!("{kind} {}", content.name);
        let root = match read(&content.content, limits) {
            Ok(root) if root.name == kind => root,
            // A template travels among the sequences.
            Ok(root) if kind == "sequence" && root.name == "template" => root,
            Ok(root) => {
                let message = format!("root element must be <{kind}>, found <{}>", root.name);
                findings.refuse(&place, message);
                continue;
            }
            Err(error) => {
                findings.refuse(&place, error.to_string());
                continue;
            }
        };
        let attribute = if kind == "localEntry" { "key" } else { "name" };
        let key = root.set_attribute(attribute).unwrap_or(&content.name);
        if !keys.insert(key.to_owned()) {
            findings.refuse(&place, format!("a second {kind} named {key}"));
            continue;
        }
        documents.push(Document {
            key: key.to_owned(),
            place,
            root,
            text: &content.content,
        });
    }
    documents
}

fn index(documents: &[Document<'_>]) -> HashMap<String, usize> {
    let keys = documents.iter().map(|document| document.key.clone());
    keys.zip(0..).collect()
}
