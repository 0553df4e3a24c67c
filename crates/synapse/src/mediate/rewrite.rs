//! `rewrite`: the parts of a URL changed by rules. Sources: URLRewriteMediator, RewriteAction,
//! URIFragments.

use super::exchange::{Exchange, Fault};
use super::run::Flowing;
use crate::expression::Scope;
use crate::plan::{Change, Check, CheckSource, Fragment, Rewrite, RewriteAction};

/// Bytes of a URL.
const MAX_URL: usize = 64 * 1024;

/// A URL in parts; those that it has not are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    protocol: Option<String>,
    user: Option<String>,
    host: Option<String>,
    port: Option<String>,
    path: Option<String>,
    query: Option<String>,
    reference: Option<String>,
}

impl Parts {
    fn read(url: &str) -> Self {
        let mut parts = Self::default();
        let mut rest = url;
        if let Some((before, reference)) = rest.split_once('#') {
            parts.reference = Some(reference.to_owned());
            rest = before;
        }
        if let Some((before, query)) = rest.split_once('?') {
            parts.query = Some(query.to_owned());
            rest = before;
        }
        if let Some((protocol, after)) = rest.split_once("://") {
            parts.protocol = Some(protocol.to_owned());
            let at = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(at);
            let host = match authority.rsplit_once('@') {
                Some((user, host)) => {
                    parts.user = Some(user.to_owned());
                    host
                }
                None => authority,
            };
            match host
                .rsplit_once(':')
                .filter(|(_, port)| !port.contains(']'))
            {
                Some((host, port)) => {
                    parts.host = Some(host.to_owned());
                    parts.port = Some(port.to_owned());
                }
                None => parts.host = Some(host.to_owned()),
            }
            rest = path;
        }
        parts.path = (!rest.is_empty()).then(|| rest.to_owned());
        parts
    }

    fn write(&self) -> String {
        let mut url = String::new();
        let path = self.path.as_deref().unwrap_or_default();
        if let Some(host) = &self.host {
            if let Some(protocol) = &self.protocol {
                url.push_str(&format!("{protocol}:"));
            }
            url.push_str("//");
            if let Some(user) = &self.user {
                url.push_str(&format!("{user}@"));
            }
            url.push_str(host);
            if let Some(port) = self.port.as_deref().filter(|port| *port != "-1") {
                url.push_str(&format!(":{port}"));
            }
            if !path.is_empty() && !path.starts_with('/') {
                url.push('/');
            }
        }
        url.push_str(path);
        if let Some(query) = &self.query {
            url.push_str(&format!("?{query}"));
        }
        if let Some(reference) = &self.reference {
            url.push_str(&format!("#{reference}"));
        }
        url
    }

    fn get(&self, fragment: Fragment) -> Option<String> {
        match fragment {
            Fragment::Protocol => self.protocol.clone(),
            Fragment::User => self.user.clone(),
            Fragment::Host => self.host.clone(),
            Fragment::Port => self.port.clone(),
            Fragment::Path => self.path.clone(),
            Fragment::Query => self.query.clone(),
            Fragment::Reference => self.reference.clone(),
            Fragment::Full => Some(self.write()),
        }
    }

    fn set(&mut self, fragment: Fragment, value: Option<String>) {
        match fragment {
            Fragment::Protocol => self.protocol = value,
            Fragment::User => self.user = value,
            Fragment::Host => self.host = value,
            Fragment::Port => self.port = value,
            Fragment::Path => self.path = value,
            Fragment::Query => self.query = value,
            Fragment::Reference => self.reference = value,
            Fragment::Full => *self = Self::read(&value.unwrap_or_default()),
        }
    }
}

impl Exchange {
    pub(super) fn rewrite(&mut self, rewrite: &Rewrite) -> Flowing {
        let url = match &rewrite.input {
            Some(name) => self.property(Scope::Default, name),
            None => self.message.to.as_deref().map(str::to_owned),
        };
        let mut parts = Parts::read(&url.unwrap_or_default());
        for rule in &rewrite.rules {
            let holds = rule.condition.as_ref();
            if holds.is_none_or(|check| self.holds(check, &parts)) {
                for action in &rule.actions {
                    self.act(action, &mut parts);
                }
            }
        }
        let url = parts.write();
        if url.len() > MAX_URL {
            return Flowing::Failed(Fault::new(0, "the rewritten URL is too long"));
        }
        match &rewrite.output {
            Some(name) => self.set_property(Scope::Default, name, Some(url)),
            None => self.message.to = Some(url.into()),
        }
        Flowing::On
    }

    fn act(&self, action: &RewriteAction, parts: &mut Parts) {
        let value = action.value.as_ref();
        let value = value
            .and_then(|value| self.operand(value))
            .unwrap_or_default();
        let current = parts.get(action.fragment).unwrap_or_default();
        let changed = match &action.change {
            Change::Set => Some(value),
            Change::Append => Some(current + &value),
            Change::Prepend => Some(value + &current),
            Change::Remove => None,
            Change::Replace(pattern) => Some(pattern.replace_all(&current, &value)),
        };
        parts.set(action.fragment, changed);
    }

    fn holds(&self, check: &Check, parts: &Parts) -> bool {
        match check {
            Check::Equal(source, value) => self.checked(source, parts).as_ref() == Some(value),
            Check::Match(source, pattern) => self
                .checked(source, parts)
                .is_some_and(|text| pattern.is_match(&text)),
            Check::All(checks) => checks.iter().all(|check| self.holds(check, parts)),
            Check::Any(checks) => checks.iter().any(|check| self.holds(check, parts)),
            Check::Not(check) => !self.holds(check, parts),
        }
    }

    fn checked(&self, source: &CheckSource, parts: &Parts) -> Option<String> {
        match source {
            CheckSource::Fragment(fragment) => parts.get(*fragment),
            CheckSource::Header(name) => self.property(Scope::Transport, name),
            CheckSource::Parameter(name) => {
                let found = self.query.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone())
            }
            CheckSource::Property(name) => self.property(Scope::Default, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_and_together() {
        for url in [
            "http://u:p@h:80/a/b?c=d#e",
            "/a?b",
            "https://[::1]:8243",
            "https://h",
            "value",
            "",
            "?q=1",
        ] {
            assert_eq!(Parts::read(url).write(), url);
        }
        let mut parts = Parts::read("http://h:80/a?b=c");
        parts.set(Fragment::Port, Some("81".into()));
        parts.set(Fragment::Path, Some("x".into()));
        parts.set(Fragment::Query, None);
        assert_eq!(parts.write(), "http://h:81/x");
    }
}
