//! `<endpoint>`. Sources: EndpointFactory and its subclasses HTTP, Address, Default, Failover,
//! Loadbalance and SALoadbalance; IndirectEndpoint, ResolvingEndpoint.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::dispatch::EndpointTemplate;
use crate::endpoint::{Algorithm, Cell, Identity, RetryCodes, Suspension};
use crate::plan::{
    Address, Endpoint, EndpointKind, EndpointRef, Group, Leaf, Property, Session, SessionKind,
};
use crate::xml::Element;

/// How long the original remembers a session that is not used, in milliseconds.
const SESSION_TIMEOUT: i64 = 120_000;
/// Groups inside each other.
const MAX_DEPTH: usize = 8;

impl Compiler<'_> {
    /// An `<endpoint>` where a message is sent: a reference, or one written inline.
    pub(super) fn endpoint_ref(&mut self, element: &Element, place: &Place<'_>) -> EndpointRef {
        if let Some(text) = element.set_attribute("key-expression") {
            return self.computed_key(text, place);
        }
        let Some(key) = element.set_attribute("key") else {
            let at = self.endpoints.len();
            self.endpoints.push(None);
            let endpoint = self.endpoint(element, place, "");
            self.endpoints[at] = Some(endpoint);
            return EndpointRef::Own(at);
        };
        if let Some(text) = key.strip_prefix('{').and_then(|key| key.strip_suffix('}')) {
            return self.computed_key(text, place);
        }
        match self.endpoint_names.get(key) {
            Some(index) => EndpointRef::Own(*index),
            None => {
                let message =
                    format!("endpoint {key} is not in the artifact; reaching it is a fault");
                self.findings.add(Severity::NotExecuted, place, message);
                EndpointRef::Missing(key.to_owned())
            }
        }
    }

    fn computed_key(&mut self, text: &str, place: &Place<'_>) -> EndpointRef {
        match self.parse_expression(text) {
            Ok(expression) => EndpointRef::Dynamic(expression),
            Err(error) => EndpointRef::NotExecuted(
                self.note_not_executed(place, &format!("endpoint key: {error}")),
            ),
        }
    }

    pub(super) fn endpoint(&mut self, element: &Element, place: &Place<'_>, key: &str) -> Endpoint {
        self.endpoint_depth += 1;
        let name = element.set_attribute("name").unwrap_or(key).to_owned();
        let mut kind = None;
        let mut properties = Vec::new();
        for (place, child) in place.children(element) {
            match child.name.as_str() {
                "property" => properties.extend(self.endpoint_property(child, &place)),
                // Affinity and membership belong to the group beside them.
                "session" | "description" | "membershipHandler" | "parameter" => {}
                _ if self.endpoint_depth > MAX_DEPTH => {
                    let message = format!("endpoints are more than {MAX_DEPTH} deep");
                    self.findings.refuse(&place, message);
                }
                _ => {
                    let found = self.endpoint_kind(child, element, &name, &place);
                    kind.get_or_insert(found);
                }
            }
        }
        self.endpoint_depth -= 1;
        let is_reference = ["key", "key-expression"]
            .iter()
            .any(|name| element.set_attribute(name).is_some());
        let kind = match kind {
            Some(kind) => kind,
            None if is_reference => EndpointKind::Indirect(self.endpoint_ref(element, place)),
            None if element.set_attribute("template").is_some() => {
                EndpointKind::NotExecuted(self.note_not_executed(place, "endpoint template"))
            }
            None => {
                self.findings.refuse(
                    place,
                    "an endpoint needs a key, or one of http, address, default, failover, loadbalance",
                );
                EndpointKind::Indirect(EndpointRef::Missing(name.clone()))
            }
        };
        let mut hasher = DefaultHasher::new();
        hash(element, &mut hasher);
        let mut identity = Identity {
            name: name.clone(),
            definition: hasher.finish(),
            occurrence: 0,
        };
        let seen = self
            .endpoint_identities
            .entry(identity.clone())
            .or_default();
        identity.occurrence = *seen;
        *seen += 1;
        Endpoint {
            name,
            kind,
            properties,
            identity,
            shared: Cell::default(),
        }
    }

    fn endpoint_kind(
        &mut self,
        kind: &Element,
        parent: &Element,
        name: &str,
        place: &Place<'_>,
    ) -> EndpointKind {
        match kind.name.as_str() {
            "http" | "address" | "default" => {
                let address = self.address(kind, place);
                let mut leaf = Leaf::to(address);
                match self.definition(kind, place, name, &mut leaf) {
                    Some(not_executed) => EndpointKind::NotExecuted(not_executed),
                    None => EndpointKind::Leaf(leaf),
                }
            }
            "failover" => {
                let dynamic = kind.set_attribute("dynamic") != Some("false");
                let children = self.children(kind, place);
                EndpointKind::Group(Group {
                    algorithm: Algorithm::First { dynamic },
                    children,
                    failover: true,
                    session: None,
                })
            }
            "loadbalance" => self.load_balance(kind, parent, place),
            other => {
                let what = format!("<{other}> endpoint");
                EndpointKind::NotExecuted(self.note_not_executed(place, &what))
            }
        }
    }

    fn load_balance(
        &mut self,
        kind: &Element,
        parent: &Element,
        place: &Place<'_>,
    ) -> EndpointKind {
        let class = kind.set_attribute("algorithm").unwrap_or("RoundRobin");
        let algorithm = match class.rsplit('.').next().unwrap_or_default() {
            "RoundRobin" => Algorithm::RoundRobin,
            "WeightedRoundRobin" => Algorithm::Weighted(
                kind.elements()
                    .filter(|child| child.name == "endpoint")
                    .map(weight)
                    .collect(),
            ),
            _ => {
                let what = format!("load-balance algorithm {class}");
                return EndpointKind::NotExecuted(self.note_not_executed(place, &what));
            }
        };
        if kind.child("member").is_some() {
            let what = "load balance over members";
            return EndpointKind::NotExecuted(self.note_not_executed(place, what));
        }
        let session = parent
            .child("session")
            .and_then(|session| self.session(session, place));
        let children = self.children(kind, place);
        EndpointKind::Group(Group {
            algorithm,
            children,
            failover: !kind
                .set_attribute("failover")
                .is_some_and(|text| text.eq_ignore_ascii_case("false")),
            session,
        })
    }

    fn session(&mut self, session: &Element, place: &Place<'_>) -> Option<Session> {
        let kind = match session.set_attribute("type").unwrap_or_default() {
            "http" => SessionKind::Cookie,
            "soap" => SessionKind::ServiceGroup,
            "simpleClientSession" => SessionKind::Client,
            other => {
                let message = format!(
                    "session type must be http, soap or simpleClientSession, found {other:?}"
                );
                self.findings.refuse(place, message);
                return None;
            }
        };
        let timeout = session.child("sessionTimeout").map(Element::text);
        let timeout = timeout.filter(|text| !text.is_empty());
        let timeout = match timeout.map(|text| text.parse::<i64>().ok()) {
            Some(Some(milliseconds)) if milliseconds > 0 => milliseconds,
            None | Some(Some(_)) => SESSION_TIMEOUT,
            Some(None) => {
                self.findings
                    .refuse(place, "sessionTimeout must be a number");
                SESSION_TIMEOUT
            }
        };
        Some(Session { kind, timeout })
    }

    fn children(&mut self, group: &Element, place: &Place<'_>) -> Vec<EndpointRef> {
        let mut children = Vec::new();
        for (place, child) in place.children(group) {
            if child.name == "endpoint" {
                children.push(self.endpoint_ref(child, &place));
            }
        }
        if children.is_empty() {
            let message = format!("<{}> needs at least one <endpoint>", group.name);
            self.findings.refuse(place, message);
        }
        children
    }

    fn endpoint_property(&mut self, element: &Element, place: &Place<'_>) -> Option<Property> {
        let name = element.set_attribute("name")?;
        let computed = ["value", "expression"]
            .iter()
            .any(|attribute| element.attribute(attribute).is_some());
        if !computed && element.elements().next().is_some() {
            let message = format!("property {name} of inline XML is not set");
            self.findings.add(Severity::NotExecuted, place, message);
            return None;
        }
        match self.property(element, place, "")? {
            crate::plan::Mediator::Property(property) => Some(*property),
            // Reported; the endpoint works without it.
            _ => None,
        }
    }

    fn address(&mut self, kind: &Element, place: &Place<'_>) -> Address {
        let address = match kind.name.as_str() {
            "http" => {
                let text = kind.set_attribute("uri-template").unwrap_or_default();
                let method = kind.set_attribute("method").map(str::to_ascii_uppercase);
                match EndpointTemplate::parse(text) {
                    // Without a template the message's To says where.
                    Ok(_) if text.is_empty() => Address::To,
                    Ok(template) => Address::Http { template, method },
                    Err(error) => {
                        self.findings
                            .refuse(place, format!("uri-template: {error}"));
                        return Address::To;
                    }
                }
            }
            "address" => match kind.set_attribute("uri") {
                Some(uri) => Address::Fixed(uri.to_owned()),
                None => {
                    self.findings
                        .refuse(place, "an address endpoint needs a uri");
                    return Address::To;
                }
            },
            _ => Address::To,
        };
        if matches!(address, Address::To) {
            self.to_endpoints.push(place.to_string());
        }
        address
    }
}

impl Endpoint {
    pub(super) fn has_soap_session(&self) -> bool {
        let session = match &self.kind {
            EndpointKind::Group(group) => group.session,
            _ => None,
        };
        session.is_some_and(|session| session.kind != SessionKind::Cookie)
    }

    pub(super) fn has_format(&self) -> bool {
        matches!(&self.kind, EndpointKind::Leaf(leaf) if leaf.format.is_some())
    }

    /// Where the message's To says; it has no state.
    pub(super) fn of_the_message() -> Self {
        let never = Some(vec![-1]);
        Self {
            name: String::new(),
            kind: EndpointKind::Leaf(Leaf {
                suspension: Suspension {
                    mark_codes: never.clone(),
                    suspend_codes: never,
                    ..Suspension::default()
                },
                ..Leaf::to(Address::To)
            }),
            properties: Vec::new(),
            identity: Identity::default(),
            shared: Cell::default(),
        }
    }
}

impl Leaf {
    fn to(address: Address) -> Self {
        Self {
            address,
            timeout: None,
            discard: false,
            suspension: Suspension::default(),
            retry: RetryCodes::default(),
            authentication: None,
            format: None,
        }
    }
}

/// The weight of a child; one where it has none (`WeightedRoundRobin`).
fn weight(child: &Element) -> u32 {
    child
        .elements()
        .filter(|element| element.name == "property")
        .find(|property| property.set_attribute("name") == Some("loadbalance.weight"))
        .and_then(|property| property.set_attribute("value")?.parse().ok())
        .filter(|weight| *weight > 0)
        .unwrap_or(1)
}

/// What is written, without its layout. The reader bounds the depth.
fn hash(element: &Element, hasher: &mut DefaultHasher) {
    element.name.hash(hasher);
    for (name, value) in &element.attributes {
        if !name.starts_with("xmlns") {
            (name, value).hash(hasher);
        }
    }
    element.text().hash(hasher);
    for child in element.elements() {
        hash(child, hasher);
    }
    "end".hash(hasher);
}
