//! `<authentication>` of endpoints, and OAuthMediator. Sources: AuthUtils, OAuthUtils of Synapse;
//! OAuthMediator of API Manager. Findings never show what a credential is, or is computed from.

use std::collections::HashMap;
use std::time::Duration;

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::expression::Expression;
use crate::plan::{Authentication, Grant, Mediator, NotExecuted, Oauth, Operand, Secret};
use crate::xml::Element;

/// Why an authentication is none.
enum Unusable {
    /// A finding says what is wrong.
    Refused,
    NotExecuted(NotExecuted),
}

impl Compiler<'_> {
    /// `Ok(None)`: it is refused, and a finding says why.
    pub(super) fn authentication(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        endpoint: &str,
    ) -> Result<Option<Authentication>, NotExecuted> {
        let read = match (element.child("basicAuth"), element.child("oauth")) {
            (Some(basic), _) => self.basic(basic, &place.child("basicAuth")),
            (None, Some(oauth)) => self.oauth(oauth, &place.child("oauth"), endpoint),
            (None, None) => {
                let what = "endpoint authentication other than basicAuth and oauth";
                return Err(self.note_not_executed(place, what));
            }
        };
        match read {
            Ok(authentication) => Ok(Some(authentication)),
            Err(Unusable::Refused) => Ok(None),
            Err(Unusable::NotExecuted(element)) => Err(element),
        }
    }

    fn basic(&mut self, basic: &Element, place: &Place<'_>) -> Result<Authentication, Unusable> {
        Ok(Authentication::Basic {
            username: Secret(self.required(basic, "username", place)?),
            password: Secret(self.required(basic, "password", place)?),
        })
    }

    fn oauth(
        &mut self,
        oauth: &Element,
        place: &Place<'_>,
        endpoint: &str,
    ) -> Result<Authentication, Unusable> {
        let grants = [
            "authorizationCode",
            "clientCredentials",
            "passwordCredentials",
        ];
        let mut found = oauth
            .elements()
            .filter(|child| grants.contains(&child.name.as_str()));
        let (Some(element), None) = (found.next(), found.next()) else {
            let message = "an oauth needs one of authorizationCode, clientCredentials and \
                           passwordCredentials";
            self.findings.refuse(place, message);
            return Err(Unusable::Refused);
        };
        let place = &place.child(&element.name);
        let grant = match element.name.as_str() {
            "clientCredentials" => Grant::ClientCredentials,
            "passwordCredentials" => Grant::Password {
                username: Secret(self.required(element, "username", place)?),
                password: Secret(self.required(element, "password", place)?),
            },
            _ => Grant::RefreshToken(Secret(self.required(element, "refreshToken", place)?)),
        };
        if let Some(proxy) = element.child("proxyConfigs")
            && proxy.elements().next().is_some()
        {
            let message = "proxyConfigs: the token endpoint is called without a proxy";
            self.findings.add(Severity::NotExecuted, place, message);
        }
        let timeout = element.child("socketTimeout").map(Element::text);
        let timeout = timeout.and_then(|text| text.parse().ok());
        Ok(Authentication::Oauth(Box::new(Oauth {
            token_url: self.required(element, "tokenUrl", place)?,
            client_id: Secret(self.required(element, "clientId", place)?),
            client_secret: Secret(self.required(element, "clientSecret", place)?),
            grant,
            mode: self.credential(element.child("authMode"), "authMode", place)?,
            parameters: self.named(element, "requestParameters", "parameter", place)?,
            headers: self.named(element, "customHeaders", "header", place)?,
            timeout: timeout
                .filter(|milliseconds| *milliseconds > 0)
                .map(Duration::from_millis),
            user: format!("oauth configured http endpoint {endpoint}"),
        })))
    }

    fn required(
        &mut self,
        parent: &Element,
        name: &str,
        place: &Place<'_>,
    ) -> Result<Operand, Unusable> {
        match self.credential(parent.child(name), name, place)? {
            Some(operand) => Ok(operand),
            None => {
                let message = format!("<{}> needs a <{name}>", parent.name);
                self.findings.refuse(place, message);
                Err(Unusable::Refused)
            }
        }
    }

    fn named(
        &mut self,
        parent: &Element,
        list: &str,
        item: &str,
        place: &Place<'_>,
    ) -> Result<Vec<(String, Secret)>, Unusable> {
        let mut found = Vec::new();
        let items = parent.child(list).into_iter().flat_map(Element::elements);
        for element in items.filter(|element| element.name == item) {
            let name = element.set_attribute("name").unwrap_or_default();
            match self.credential(Some(element), name, place)? {
                Some(value) if !name.is_empty() => found.push((name.to_owned(), Secret(value))),
                _ => {
                    let message = format!("<{list}>: each <{item}> needs a name and a value");
                    self.findings.refuse(place, message);
                    return Err(Unusable::Refused);
                }
            }
        }
        Ok(found)
    }

    /// The text of an element: as it is, or computed where it stands in braces.
    fn credential(
        &mut self,
        element: Option<&Element>,
        name: &str,
        place: &Place<'_>,
    ) -> Result<Option<Operand>, Unusable> {
        let Some(text) = element.map(Element::text).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let outside = ["$SYSTEM:", "$FILE:", "$CONFIG:"];
        if outside.iter().any(|prefix| text.starts_with(prefix)) {
            let what = format!("{name} from the server's environment");
            return Err(Unusable::NotExecuted(self.note_not_executed(place, &what)));
        }
        self.computed(&text, name, place)
            .map(Some)
            .map_err(Unusable::NotExecuted)
    }

    fn computed(
        &mut self,
        text: &str,
        name: &str,
        place: &Place<'_>,
    ) -> Result<Operand, NotExecuted> {
        let Some(inner) = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        else {
            return Ok(Operand::Literal(text.to_owned()));
        };
        match self.parse_expression(inner) {
            Ok(expression) => {
                self.note_aliases(&expression, place);
                Ok(Operand::Expression(expression))
            }
            Err(_) => {
                let what = format!("{name} by an expression that cannot be read here");
                Err(self.note_not_executed(place, &what))
            }
        }
    }

    /// OAuthMediator with its properties as API Manager renders them.
    pub(super) fn token_mediator(
        &mut self,
        properties: &HashMap<String, Operand>,
        place: &Place<'_>,
    ) -> Option<Mediator> {
        let value = |name: &str| properties.get(name).cloned();
        let required = |compiler: &mut Self, name: &str| {
            let found = value(name);
            if found.is_none() {
                let message = format!("an OAuthMediator needs the property {name}");
                compiler.findings.refuse(place, message);
            }
            found
        };
        let grant = match properties.get("grantType") {
            Some(Operand::Literal(text)) if text == "CLIENT_CREDENTIALS" => {
                Grant::ClientCredentials
            }
            Some(Operand::Literal(text)) if text == "PASSWORD" => Grant::Password {
                username: Secret(required(self, "username")?),
                password: Secret(required(self, "password")?),
            },
            _ => {
                let what = "an OAuthMediator whose grantType is not CLIENT_CREDENTIALS or PASSWORD";
                return Some(self.not_executed(place, what));
            }
        };
        let parameters = match properties.get("customParameters") {
            Some(Operand::Literal(text)) if !text.trim().is_empty() => {
                match serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(text) {
                    Ok(members) => members
                        .into_iter()
                        .map(|(name, value)| {
                            let text = value.as_str().map(str::to_owned);
                            let text = text.unwrap_or_else(|| value.to_string());
                            (name, Secret(Operand::Literal(text)))
                        })
                        .collect(),
                    Err(_) => {
                        let message = "customParameters must be a JSON object";
                        self.findings.refuse(place, message);
                        return None;
                    }
                }
            }
            None | Some(Operand::Literal(_)) => Vec::new(),
            Some(Operand::Expression(_)) => {
                return Some(self.not_executed(place, "customParameters by an expression"));
            }
        };
        let user = match properties.get("uniqueIdentifier") {
            Some(Operand::Literal(text)) => format!("OAuthMediator {text}"),
            _ => "OAuthMediator".to_owned(),
        };
        Some(Mediator::Token(Box::new(Oauth {
            token_url: required(self, "tokenEndpointUrl")?,
            client_id: Secret(required(self, "clientId")?),
            client_secret: Secret(required(self, "clientSecret")?),
            grant,
            mode: None,
            parameters,
            headers: Vec::new(),
            timeout: None,
            user,
        })))
    }

    /// Aliases that an expression looks up, and that the artifact does not bring.
    pub(super) fn note_aliases(&mut self, expression: &Expression, place: &Place<'_>) {
        for alias in expression.aliases() {
            if !self.aliases.contains(alias) {
                let message = format!(
                    "alias {alias} is not among the artifact's credentials; reaching it is a fault"
                );
                self.findings.add(Severity::NotExecuted, place, message);
            }
        }
    }
}
