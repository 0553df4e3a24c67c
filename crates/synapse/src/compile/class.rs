//! Class mediators of API Manager that have a native stand-in; others are not executed.

use std::collections::HashMap;
use std::sync::Mutex;

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::plan::{ApiKey, Mediator, NotExecuted, Operand, Protection, Secret, Threat};
use crate::xml::Element;

/// The packages of the classes that are stood in for.
const PACKAGE: &str = "org.wso2.carbon.apimgt.gateway.mediators.";

/// The name of a class of API Manager, in whichever package its version has it; empty for others:
/// what has the name only is another class.
pub(super) fn of_api_manager(class: &str) -> &str {
    let known = class.strip_prefix("org.wso2.carbon.apimgt.");
    known
        .and_then(|known| known.rsplit('.').next())
        .unwrap_or_default()
}

impl Compiler<'_> {
    pub(super) fn class(&mut self, element: &Element, place: &Place<'_>) -> Option<Mediator> {
        let class = element.attribute("name").unwrap_or_default();
        if let "APIMgtResponseHandler" | "APIMgtFaultHandler" | "APIMgtThrottleUsageHandler" =
            of_api_manager(class)
        {
            let message = format!("class {class}: analytics are not collected");
            self.findings.add(Severity::Ignored, place, message);
            return None;
        }
        match class.strip_prefix(PACKAGE).unwrap_or_default() {
            "oauth.OAuthMediator" => match self.class_properties(element, place) {
                Ok(properties) => self.token_mediator(&properties, place),
                Err(mediator) => Some(mediator),
            },
            "ApiKeyMediator" => match self.class_properties(element, place) {
                Ok(properties) => self.api_key(&properties, place),
                Err(mediator) => Some(mediator),
            },
            "oauth.OAuthResponseMediator" => Some(Mediator::TokenResponse),
            "RegularExpressionProtector" => {
                Some(self.protect(Threat::Pattern(Mutex::default()), place))
            }
            "JsonSchemaValidator" => Some(self.protect(Threat::Json, place)),
            "XMLSchemaValidator" => Some(self.protect(Threat::Xml, place)),
            _ => Some(self.not_executed(place, &format!("class {class}"))),
        }
    }

    /// What the class is given, by name (`ClassMediatorFactory`, `MediatorPropertyFactory`).
    fn class_properties(
        &mut self,
        element: &Element,
        place: &Place<'_>,
    ) -> Result<HashMap<String, Operand>, Mediator> {
        let mut properties = HashMap::new();
        for (place, property) in place.children(element) {
            let Some(name) = property.set_attribute("name") else {
                continue;
            };
            let value = match (
                property.attribute("value"),
                property.attribute("expression"),
            ) {
                (Some(value), _) => Operand::Literal(value.to_owned()),
                (None, Some(text)) => Operand::Expression(self.inside(property, |compiler| {
                    compiler.expression(&place, format_args!("class property {name}"), text)
                })?),
                (None, None) => continue,
            };
            properties.insert(name.to_owned(), value);
        }
        Ok(properties)
    }

    /// Its limits and patterns are properties of the message.
    fn protect(&mut self, threat: Threat, place: &Place<'_>) -> Mediator {
        Mediator::Protect(Box::new(Protection {
            threat,
            fault: self.sequence_ref("_threat_fault_", place),
            schema: NotExecuted {
                what: "XML schema validation".to_owned(),
                place: place.to_string(),
            },
        }))
    }

    /// Without all three the original does nothing.
    fn api_key(
        &mut self,
        properties: &HashMap<String, Operand>,
        place: &Place<'_>,
    ) -> Option<Mediator> {
        let text = |name: &str| match properties.get(name) {
            Some(Operand::Literal(text)) => Some(text.as_str()),
            _ => None,
        };
        let value = properties.get("apiKeyValue").cloned();
        let (Some(name), Some(kind), Some(value)) = (
            text("apiKeyIdentifier"),
            text("apiKeyIdentifierType"),
            value,
        ) else {
            let message = "an ApiKeyMediator without apiKeyIdentifier, apiKeyIdentifierType and \
                           apiKeyValue does nothing";
            self.findings.add(Severity::Ignored, place, message);
            return None;
        };
        let in_query = match kind {
            "HEADER" => false,
            "QUERY_PARAMETER" => true,
            _ => {
                let what = format!("an ApiKeyMediator whose key is put into {kind:?}");
                return Some(self.not_executed(place, &what));
            }
        };
        Some(Mediator::ApiKey(Box::new(ApiKey {
            name: name.to_owned(),
            in_query,
            value: Secret(value),
        })))
    }
}
