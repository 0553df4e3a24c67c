//! A message as an envelope: what expressions walk through, whatever the body is.

use super::document::{Document, Name, NodeId};

/// The namespaces of SOAP 1.1 and 1.2 envelopes.
pub(crate) const SOAP_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";
const SOAP: [&str; 2] = [SOAP_11, SOAP_12];
/// Where text and binary bodies lie in the original engine.
const TEXT: &str = "http://ws.apache.org/commons/ns/payload";

/// A document that is an envelope, and where its parts are.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) document: Document,
    pub(crate) envelope: NodeId,
    pub(crate) header: Option<NodeId>,
    pub(crate) body: Option<NodeId>,
    /// Whether it came as an envelope, and was not put into one.
    pub(crate) is_soap: bool,
}

impl Envelope {
    /// An envelope with an empty body.
    pub(crate) fn new() -> Self {
        let mut document = Document::new();
        let name = |local: &str| Name {
            namespace: SOAP[0].to_owned(),
            prefix: "soapenv".to_owned(),
            local: local.to_owned(),
        };
        let envelope = document.element(0, name("Envelope"));
        let header = document.element(envelope, name("Header"));
        let body = document.element(envelope, name("Body"));
        Self {
            document,
            envelope,
            header: Some(header),
            body: Some(body),
            is_soap: false,
        }
    }

    /// The envelope that is the document, or one around it.
    pub(crate) fn around(document: Document) -> Self {
        let root = document.elements(0).next();
        let is_soap = |node| {
            document
                .name(node)
                .is_some_and(|name| SOAP.contains(&name.namespace.as_str()))
        };
        let named = |parent, local: &str| {
            document.elements(parent).find(|child| {
                document
                    .name(*child)
                    .is_some_and(|name| name.local == local)
            })
        };
        if let Some(envelope) = root.filter(|root| is_soap(*root))
            && document
                .name(envelope)
                .is_some_and(|name| name.local == "Envelope")
        {
            return Self {
                envelope,
                header: named(envelope, "Header"),
                body: named(envelope, "Body"),
                is_soap: true,
                document,
            };
        }
        let mut made = Self::new();
        if let (Some(root), Some(body)) = (root, made.body) {
            made.document.copy(body, &document, root);
        }
        made
    }

    /// An envelope around a text.
    pub(crate) fn of_text(text: &str) -> Self {
        let mut made = Self::new();
        if let Some(body) = made.body {
            let name = Name {
                namespace: TEXT.to_owned(),
                prefix: String::new(),
                local: "text".to_owned(),
            };
            let element = made.document.element(body, name);
            made.document.text(element, text);
        }
        made
    }

    /// The first element of the body.
    pub(crate) fn payload(&self) -> Option<NodeId> {
        self.document.elements(self.body?).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_put_into_an_envelope_unless_it_is_one() {
        let made = Envelope::around(Document::parse("<a/>").unwrap());
        assert!(!made.is_soap);
        assert_eq!(made.document.to_xml(made.payload().unwrap()), "<a/>");
        let soap = "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body><b/></s:Body></s:Envelope>";
        let own = Envelope::around(Document::parse(soap).unwrap());
        assert!(own.is_soap && own.header.is_none());
        assert_eq!(
            own.document.name(own.payload().unwrap()).unwrap().local,
            "b"
        );
    }
}
