//! `template` and `call-template`. Sources: TemplateMediatorFactory, InvokeMediatorFactory.

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::plan::{CallTemplate, Mediator, Operand, Sequence, Template};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn template(
        &mut self,
        template: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Template {
        let parameters = template
            .elements()
            .filter(|child| child.name == "parameter")
            .filter_map(|parameter| {
                let name = parameter.set_attribute("name")?;
                let default = parameter.attribute("defaultValue").unwrap_or_default();
                Some((name.to_owned(), default.to_owned()))
            })
            .collect();
        let sequence = match template.child("sequence") {
            Some(sequence) => {
                let place = place.child("sequence");
                Sequence {
                    on_error: self.on_error(template, &place),
                    block: self.block(sequence, &place, text),
                }
            }
            None => {
                let mediator =
                    self.not_executed(place, "a template of another thing than a sequence");
                Sequence {
                    on_error: None,
                    block: std::sync::Arc::from([mediator]),
                }
            }
        };
        Template {
            parameters,
            sequence,
        }
    }

    pub(super) fn call_template(&mut self, element: &Element, place: &Place<'_>) -> Mediator {
        let Some(name) = element.set_attribute("target") else {
            self.findings
                .refuse(place, "a call-template needs a target");
            return Mediator::Drop;
        };
        let template = self.template_names.get(name).copied();
        if template.is_none() {
            let message = format!("template {name} is not in the artifact; reaching it is a fault");
            self.findings.add(Severity::NotExecuted, place, message);
        }
        let mut arguments = Vec::new();
        for (place, argument) in place.children(element) {
            if argument.name != "with-param" {
                continue;
            }
            let Some(name) = argument.set_attribute("name") else {
                self.findings.refuse(&place, "a with-param needs a name");
                continue;
            };
            let value = argument.attribute("value").unwrap_or_default();
            let computed = value
                .strip_prefix('{')
                .and_then(|value| value.strip_suffix('}'));
            let operand = match computed {
                // `{{…}}` is computed in the template, with the same result for what can be read here.
                Some(text) => {
                    let inner = text
                        .strip_prefix('{')
                        .and_then(|text| text.strip_suffix('}'));
                    let text = inner.unwrap_or(text);
                    match self.expression(&place, format_args!("parameter {name}"), text) {
                        Ok(expression) => Operand::Expression(expression),
                        Err(not_executed) => return not_executed,
                    }
                }
                None => Operand::Literal(value.to_owned()),
            };
            arguments.push((name.to_owned(), operand));
        }
        Mediator::CallTemplate(Box::new(CallTemplate {
            template,
            name: name.to_owned(),
            arguments,
            on_error: self.on_error(element, place),
        }))
    }
}
