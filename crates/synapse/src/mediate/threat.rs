//! Threat protection: messages that match a pattern, or are larger than they may be, go to
//! `_threat_fault_`. Sources: RegularExpressionProtector, JsonSchemaValidator, XMLSchemaValidator and
//! GatewayUtils.handleThreat of API Manager.

use percent_encoding::percent_decode_str;

use super::answers::not_executed;
use super::exchange::{Body, Exchange, Fault};
use super::run::Flowing;
use crate::expression::Scope;
use crate::message::{Document, JsonLimits, XmlLimits};
use crate::pattern::Pattern;
use crate::plan::{Media, Protection, Threat};

/// What was found: nothing, or what it is called.
type Found = Result<Option<String>, Stopped>;

enum Stopped {
    Fault(Fault),
    NotExecuted,
}

impl Exchange {
    pub(super) fn protect(&mut self, protection: &Protection) -> Flowing {
        let found = match &protection.threat {
            Threat::Pattern(_) => self.find_pattern(&protection.threat),
            Threat::Json => self.json_above_limits(),
            Threat::Xml => self.xml_above_limits(),
        };
        let description = match found {
            Ok(None) => return Flowing::On,
            Ok(Some(description)) => description,
            Err(Stopped::Fault(fault)) => return Flowing::Failed(fault),
            Err(Stopped::NotExecuted) => {
                return Flowing::Done(not_executed(&protection.schema));
            }
        };
        for (name, value) in [
            ("THREAT_FOUND", "true"),
            ("THREAT_CODE", "400"),
            ("ERROR_CODE", "400"),
            ("THREAT_MSG", "Bad Request"),
            ("THREAT_DESC", &description),
        ] {
            self.default.set(name, value);
        }
        self.enter_reference(&protection.fault)
    }

    /// Whether the body has to be read for it.
    pub(super) fn protects_body(&self, protection: &Protection) -> bool {
        match &protection.threat {
            Threat::Pattern(_) => self.is_set("enabledCheckBody", true),
            Threat::Json => self.is_looked_into(Media::Json),
            Threat::Xml => self.is_looked_into(Media::Xml),
        }
    }

    /// A request with a body of this kind; the original leaves GET alone.
    fn is_looked_into(&self, media: Media) -> bool {
        let method = self.property(Scope::Axis2, "HTTP_METHOD");
        method.is_none_or(|method| !method.eq_ignore_ascii_case("GET"))
            && self.message.media() == Some(media)
            && self.message.body != Body::Empty
    }

    fn is_set(&self, name: &str, otherwise: bool) -> bool {
        self.property(Scope::Default, name)
            .map_or(otherwise, |text| text.eq_ignore_ascii_case("true"))
    }

    fn find_pattern(&self, threat: &Threat) -> Found {
        let Some(written) = self.property(Scope::Default, "regex") else {
            return Ok(Some("Threat detection key words are missing".to_owned()));
        };
        let pattern: Pattern = match threat.pattern(&written) {
            Some(pattern) => pattern,
            None => return Err(fault("the pattern of a threat protection is not executed")),
        };
        let kind = self.property(Scope::Default, "threatType");
        let kind = kind.map_or(String::new(), |kind| format!("{kind} "));
        if self.is_set("enabledCheckBody", true)
            && self
                .payloads()
                .iter()
                .any(|payload| matches_threat(&pattern, payload))
        {
            return Ok(Some(format!("{kind}Threat detected in Payload")));
        }
        if self.is_set("enabledCheckHeaders", true) {
            let headers: Vec<String> = self
                .message
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    format!("{name}={value}")
                })
                .collect();
            if matches_threat(&pattern, &format!("{{{}}}", headers.join(", "))) {
                return Ok(Some(format!("{kind}Threat detected in HTTP Headers")));
            }
        }
        if self.is_set("enabledCheckPathParams", true)
            && let Some(postfix) = self.property(Scope::Axis2, "REST_URL_POSTFIX")
        {
            let postfix = postfix.replace('+', " ");
            let decoded = percent_decode_str(&postfix).decode_utf8_lossy();
            if matches_threat(&pattern, &decoded) {
                return Ok(Some(format!("{kind}Threat detected in Query Parameters")));
            }
        }
        Ok(None)
    }

    /// The payload as XML, as the original sees it, and as it is: of doubled members and odd names
    /// of JSON the XML does not tell.
    fn payloads(&self) -> Vec<String> {
        if self.message.body == Body::Empty {
            return Vec::new();
        }
        let envelope = self.message.envelope();
        let seen = envelope.and_then(|it| Some(it.document.to_xml(it.payload()?)));
        let raw = match &self.message.body {
            Body::Bytes(_) => Some(self.message.any_text().into_owned()),
            _ => None,
        };
        seen.into_iter().chain(raw).collect()
    }

    fn json_above_limits(&self) -> Found {
        let (true, Body::Bytes(_)) = (self.is_looked_into(Media::Json), &self.message.body) else {
            return Ok(None);
        };
        let limits = JsonLimits {
            properties: self.limit("maxPropertyCount")?,
            string_length: self.limit("maxStringLength")?,
            array_elements: self.limit("maxArrayElementCount")?,
            key_length: self.limit("maxKeyLength")?,
            depth: self.limit("maxJsonDepth")?,
        };
        let context = self.property(Scope::Default, "REST_API_CONTEXT");
        let text = self.message.any_text();
        let checked = limits.check(&text, &context.unwrap_or_default());
        Ok(checked.err().map(|broken| {
            format!("Request is failed due to a JSON schema validation failure: {broken}")
        }))
    }

    fn xml_above_limits(&self) -> Found {
        let (true, Body::Bytes(_)) = (self.is_looked_into(Media::Xml), &self.message.body) else {
            return Ok(None);
        };
        if self.is_set("xmlValidation", false) {
            let limits = XmlLimits {
                depth: self.limit("maxXMLDepth")?,
                elements: self.limit("maxElementCount")?,
                attributes: self.limit("maxAttributeCount")?,
                attribute_length: self.limit("maxAttributeLength")?,
                children: self.limit("maxChildrenPerElement")?,
            };
            let document = Document::parse(&self.message.any_text());
            let checked = match document {
                Ok(document) => limits.check(&document),
                Err(error) => Err(error.to_string()),
            };
            if let Err(broken) = checked {
                return Ok(Some(format!("XML Validation Failed: due to {broken}")));
            }
        }
        let schema = self.property(Scope::Default, "xsdURL");
        if self.is_set("schemaValidation", false) && schema.is_some_and(|url| !url.is_empty()) {
            return Err(Stopped::NotExecuted);
        }
        Ok(None)
    }

    fn limit(&self, name: &str) -> Result<usize, Stopped> {
        let text = self.property(Scope::Default, name);
        text.and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| {
                fault(&format!(
                    "the limit {name} of a threat protection is missing"
                ))
            })
    }
}

fn fault(message: &str) -> Stopped {
    Stopped::Fault(Fault::new(0, message))
}

/// `$` of Java also stands before a line end that ends the text.
fn matches_threat(pattern: &Pattern, text: &str) -> bool {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    pattern.may_match(text) || (line.len() < text.len() && pattern.may_match(line))
}
