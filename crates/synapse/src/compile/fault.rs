//! `makefault`. Source: FaultMediatorFactory.

use super::Compiler;
use super::place::Place;
use crate::plan::{MakeFault, Mediator, Operand};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn make_fault(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Mediator {
        let version = match element.set_attribute("version") {
            None | Some("pox") => None,
            Some("soap11") => Some(11),
            Some("soap12") => Some(12),
            Some(other) => {
                let message = format!("version must be soap11, soap12 or pox, found {other:?}");
                self.findings.refuse(place, message);
                return Mediator::Drop;
            }
        };
        let mut part = |name: &str| -> Result<Option<Operand>, Mediator> {
            let Some(child) = element.child(name) else {
                return Ok(None);
            };
            match (child.attribute("value"), child.attribute("expression")) {
                (Some(value), _) => Ok(Some(Operand::Literal(value.to_owned()))),
                (None, Some(text)) => self
                    .expression(&place.child(name), format_args!("fault {name}"), text)
                    .map(|expression| Some(Operand::Expression(expression))),
                (None, None) => Ok(Some(Operand::Literal(child.text().into_owned()))),
            }
        };
        let parts = || -> Result<_, Mediator> {
            Ok([
                part("code")?,
                part("reason")?,
                part("role")?,
                part("node")?,
                part("detail")?,
            ])
        };
        let [code, reason, role, node, mut detail] = match { parts }() {
            Ok(parts) => parts,
            Err(not_executed) => return not_executed,
        };
        let nothing = || Some(Operand::Literal(String::new()));
        let (code, reason) = match element.set_attribute("version") {
            Some("pox") => (code.or_else(nothing), reason.or_else(nothing)),
            _ => (code, reason),
        };
        let (Some(code), Some(reason)) = (code, reason) else {
            self.findings
                .refuse(place, "a makefault needs a <code> and a <reason>");
            return Mediator::Drop;
        };
        let written = element
            .child("detail")
            .filter(|detail| detail.attribute("expression").is_none())
            .and_then(|detail| detail.elements().next());
        if let Some(written) = written {
            detail = Some(Operand::Literal(self.stand_alone(written, text)));
        }
        let filled =
            |operand: &Operand| !matches!(operand, Operand::Literal(text) if text.is_empty());
        Mediator::MakeFault(Box::new(MakeFault {
            version,
            code,
            reason,
            role: role.filter(filled),
            node: node.filter(filled),
            detail: detail.filter(filled),
            detail_is_xml: written.is_some(),
            response: element.set_attribute("response") == Some("true"),
        }))
    }
}
