//! `cache`: responses kept by the requests that they answered. Source: CacheMediator,
//! HttpRequestHashGenerator.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::cors::strip_cors_headers;
use super::exchange::{Body, Exchange, Message};
use super::handlers::Stage;
use super::run::Flowing;
use crate::cache::KeptResponse;
use crate::pattern::Whole;
use crate::plan::Cache;

/// Headers of one connection or one moment: they never tell requests apart.
const NEVER: [&str; 6] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "transfer-encoding",
    "te",
];

/// What is needed to keep the response to this request.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    mediator: usize,
    key: String,
    timeout: i64,
    entries: usize,
    bytes: usize,
    statuses: Option<Whole>,
}

impl Exchange {
    /// Whether `cache` looks into the request's body: only where it can tell requests apart.
    pub(super) fn cache_reads_body(&self) -> bool {
        !matches!(&*self.method, "GET" | "HEAD" | "OPTIONS")
    }

    /// How many bytes of the response `cache` would keep; `None`: nothing.
    pub(super) fn collects(&self) -> Option<usize> {
        let keeping = self.keeping.as_ref()?;
        let kept = self.message.is_response && self.is_kept(keeping);
        kept.then_some(keeping.bytes)
    }

    fn is_kept(&self, keeping: &Keeping) -> bool {
        let status = self.axis2_text("HTTP_SC").unwrap_or("200".into());
        let statuses = keeping.statuses.as_ref();
        statuses.is_none_or(|pattern| pattern.is_match(&status))
    }

    pub(super) fn find_kept(&mut self, cache: &Cache) -> Flowing {
        let methods = cache.methods.as_ref();
        let takes = |methods: &Vec<String>| methods.iter().any(|method| *method == self.method);
        if !methods.is_none_or(takes) || cache.entries == 0 {
            return Flowing::On;
        }
        let key = self.request_key(cache.ignored_headers.as_deref());
        let now = self.environment.now;
        let Some(found) = self.plan.kept.find(cache.number, &key, now) else {
            self.keeping = Some(Keeping {
                mediator: cache.number,
                key,
                timeout: cache.timeout,
                entries: cache.entries,
                bytes: cache.bytes,
                statuses: cache.statuses.clone(),
            });
            return Flowing::On;
        };
        self.axis2.forget("HTTP_SC");
        self.response_status = Some(found.status);
        for gone in ["messageType", "ContentType", "NO_ENTITY_BODY"] {
            self.axis2.forget(gone);
        }
        self.message = Message {
            coded: found.headers.contains_key(CONTENT_ENCODING),
            headers: found.headers,
            body: match found.body.is_empty() {
                true => Body::Empty,
                false => Body::Bytes(found.body),
            },
            is_response: true,
            from_back_end: true,
            ..Message::default()
        };
        self.frames.clear();
        self.stage = Stage::Mediation;
        if self.cors_noted.is_some() {
            self.put_cors_headers();
        }
        match &cache.on_hit {
            Some(block) => {
                self.enter_block(block);
                Flowing::On
            }
            None => self.answer(),
        }
    }

    /// Everything that tells the request from others.
    fn request_key(&self, ignored: Option<&[String]>) -> String {
        let mut key = format!(
            "{} {}\n",
            self.method,
            self.message.to.as_deref().unwrap_or_default()
        );
        if let Some(ignored) = ignored {
            let mut headers: Vec<(&str, String)> = self
                .message
                .headers
                .iter()
                .filter(|(name, _)| {
                    let name = name.as_str();
                    !NEVER.contains(&name) && !ignored.iter().any(|own| own == name)
                })
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.as_str(), value.into_owned())
                })
                .collect();
            headers.sort();
            for (name, value) in headers {
                key.push_str(&format!("{name}: {value}\n"));
            }
        }
        if let Body::Bytes(bytes) = &self.message.body {
            key.push_str(&String::from_utf8_lossy(bytes));
        }
        key
    }

    /// Keeps the response that has been read.
    pub(super) fn keep_response(&mut self) {
        let Some(keeping) = self.keeping.take_if(|_| self.message.is_response) else {
            return;
        };
        // What is kept leaves without the types that have been set for this message.
        if !self.message.coded && self.convert().is_err() {
            return;
        }
        let body = match &self.message.body {
            Body::Bytes(bytes) if bytes.len() <= keeping.bytes => bytes.clone(),
            Body::Empty => bytes::Bytes::new(),
            _ => return,
        };
        if !self.is_kept(&keeping) {
            return;
        }
        let mut headers: HeaderMap = self.message.headers.clone();
        let own = self.message.type_text();
        if let Some(own) = own.and_then(|own| HeaderValue::try_from(own).ok()) {
            headers.insert(CONTENT_TYPE, own);
        }
        for name in NEVER {
            headers.remove(name);
        }
        // Each client gets its own.
        if self.cors_noted.is_some() {
            strip_cors_headers(&mut headers);
        }
        let status = self
            .axis2_text("HTTP_SC")
            .and_then(|text| text.parse().ok());
        let response = KeptResponse {
            status: status.unwrap_or(200),
            headers,
            body,
        };
        let now = self.environment.now;
        self.plan.kept.keep(
            keeping.mediator,
            keeping.key,
            response,
            now.saturating_add(keeping.timeout),
            (keeping.entries, now),
        );
    }
}
