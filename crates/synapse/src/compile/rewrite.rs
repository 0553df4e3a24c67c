//! `rewrite`. Source: URLRewriteMediatorFactory, EvaluatorFactoryFinder.

use super::Compiler;
use super::place::Place;
use crate::pattern::Pattern;
use crate::plan::{
    Change, Check, CheckSource, Fragment, Mediator, Operand, Rewrite, RewriteAction, RewriteRule,
};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn rewrite(&mut self, element: &Element, place: &Place<'_>) -> Mediator {
        let mut rules = Vec::new();
        for (place, rule) in place.children(element) {
            if rule.name != "rewriterule" && rule.name != "rule" {
                continue;
            }
            match self.rewrite_rule(rule, &place) {
                Ok(rule) => rules.push(rule),
                Err(mediator) => return mediator,
            }
        }
        let named = |name: &str| element.set_attribute(name).map(str::to_owned);
        let output = named("outProperty");
        self.sets_to |= output.is_none();
        Mediator::Rewrite(Box::new(Rewrite {
            input: named("inProperty"),
            output,
            rules,
        }))
    }

    fn rewrite_rule(&mut self, rule: &Element, place: &Place<'_>) -> Result<RewriteRule, Mediator> {
        let condition = match rule.child("condition") {
            None => None,
            Some(condition) => match condition.elements().next() {
                Some(check) => Some(self.check(check, place)?),
                None => {
                    self.findings
                        .refuse(place, "a condition needs an element, such as <equal>");
                    return Err(Mediator::Drop);
                }
            },
        };
        let mut actions = Vec::new();
        for (place, action) in place.children(rule) {
            if action.name == "action" {
                actions.push(self.rewrite_action(action, &place)?);
            }
        }
        if actions.is_empty() {
            self.findings
                .refuse(place, "a rewrite rule needs at least one <action>");
            return Err(Mediator::Drop);
        }
        Ok(RewriteRule { condition, actions })
    }

    fn rewrite_action(
        &mut self,
        action: &Element,
        place: &Place<'_>,
    ) -> Result<RewriteAction, Mediator> {
        let name = action.set_attribute("fragment").unwrap_or("full");
        let fragment = self.fragment(name, place)?;
        let value = match (action.attribute("value"), action.set_attribute("xpath")) {
            (Some(value), _) => Some(Operand::Literal(value.to_owned())),
            (None, Some(text)) => Some(Operand::Expression(self.inside(action, |compiler| {
                compiler.expression(place, "rewrite value", text)
            })?)),
            (None, None) => None,
        };
        let kind = action.set_attribute("type").unwrap_or("set");
        let change = match (kind, action.attribute("regex")) {
            ("set", _) => Change::Set,
            ("append", _) => Change::Append,
            ("prepend", _) => Change::Prepend,
            ("remove", _) => Change::Remove,
            ("replace", Some(regex)) => {
                Change::Replace(self.pattern(place, regex, Pattern::anywhere)?)
            }
            ("replace", None) => {
                self.findings
                    .refuse(place, "an action of type replace needs a regex");
                return Err(Mediator::Drop);
            }
            _ => {
                let message = format!("action type {kind:?} is none");
                self.findings.refuse(place, message);
                return Err(Mediator::Drop);
            }
        };
        if value.is_none() && !matches!(change, Change::Remove) {
            self.findings
                .refuse(place, "an action needs a value or an xpath");
            return Err(Mediator::Drop);
        }
        Ok(RewriteAction {
            fragment,
            change,
            value,
        })
    }

    fn fragment(&mut self, name: &str, place: &Place<'_>) -> Result<Fragment, Mediator> {
        Ok(match name {
            "protocol" => Fragment::Protocol,
            "user" => Fragment::User,
            "host" => Fragment::Host,
            "port" => Fragment::Port,
            "path" => Fragment::Path,
            "query" => Fragment::Query,
            "ref" => Fragment::Reference,
            "full" => Fragment::Full,
            _ => {
                let message = format!("URL fragment {name:?} is none");
                self.findings.refuse(place, message);
                return Err(Mediator::Drop);
            }
        })
    }

    /// The reader bounds how deep conditions are.
    fn check(&mut self, check: &Element, place: &Place<'_>) -> Result<Check, Mediator> {
        match check.name.as_str() {
            "and" | "or" => {
                let inner: Result<Vec<Check>, Mediator> = check
                    .elements()
                    .map(|inner| self.check(inner, place))
                    .collect();
                Ok(match check.name.as_str() {
                    "and" => Check::All(inner?),
                    _ => Check::Any(inner?),
                })
            }
            "not" => match check.elements().next() {
                Some(inner) => Ok(Check::Not(Box::new(self.check(inner, place)?))),
                None => {
                    self.findings.refuse(place, "<not> needs a condition");
                    Err(Mediator::Drop)
                }
            },
            "equal" => {
                let source = self.check_source(check, place)?;
                let value = check.attribute("value").unwrap_or_default();
                Ok(Check::Equal(source, value.to_owned()))
            }
            "match" => {
                let source = self.check_source(check, place)?;
                let regex = check.attribute("regex").unwrap_or_default();
                Ok(Check::Match(source, self.whole(place, regex)?))
            }
            other => Err(self.not_executed(place, &format!("rewrite condition <{other}>"))),
        }
    }

    fn check_source(
        &mut self,
        check: &Element,
        place: &Place<'_>,
    ) -> Result<CheckSource, Mediator> {
        let source = check.set_attribute("source").unwrap_or_default();
        let kind = check.set_attribute("type").unwrap_or_default();
        Ok(match kind {
            "url" => {
                let name = check.set_attribute("fragment").unwrap_or(match source {
                    "" => "full",
                    source => source,
                });
                CheckSource::Fragment(self.fragment(name, place)?)
            }
            "header" => CheckSource::Header(source.to_owned()),
            "param" => CheckSource::Parameter(source.to_owned()),
            "property" => CheckSource::Property(source.to_owned()),
            _ => {
                let what = format!("rewrite condition on {kind:?}");
                return Err(self.not_executed(place, &what));
            }
        })
    }
}
