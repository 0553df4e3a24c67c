//! `cache`. Source: CacheMediatorFactory.

use super::Compiler;
use super::place::Place;
use crate::plan::{Cache, Mediator};
use crate::xml::Element;

/// What holds where the artifact says nothing: seconds, and responses kept.
const TIMEOUT: i64 = 5000;
const ENTRIES: usize = 1000;
/// The most of each, whatever the artifact says: bytes of a response, responses.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_ENTRIES: usize = 10_000;

impl Compiler<'_> {
    pub(super) fn cache(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Option<Mediator> {
        if element.set_attribute("collector") == Some("true") {
            return Some(Mediator::Collect);
        }
        let mut cache = Cache {
            timeout: TIMEOUT * 1000,
            entries: ENTRIES,
            bytes: MAX_BYTES,
            methods: None,
            statuses: None,
            ignored_headers: Some(Vec::new()),
            on_hit: None,
            number: self.caches,
        };
        self.caches += 1;
        for (attribute, what) in [("timeout", true), ("maxMessageSize", false)] {
            let Some(text) = element.set_attribute(attribute) else {
                continue;
            };
            match text.parse::<i64>() {
                Ok(seconds) if what => cache.timeout = seconds.max(0).saturating_mul(1000),
                Ok(bytes) if bytes >= 0 => {
                    let bytes = usize::try_from(bytes).unwrap_or(MAX_BYTES);
                    cache.bytes = bytes.min(MAX_BYTES);
                }
                Ok(_) => {}
                Err(_) => {
                    let message = format!("{attribute} must be a number, found {text:?}");
                    self.findings.refuse(place, message);
                    return None;
                }
            }
        }
        for (place, child) in place.children(element) {
            match child.name.as_str() {
                "implementation" => {
                    let entries = child.set_attribute("maxSize").and_then(|n| n.parse().ok());
                    cache.entries = entries.unwrap_or(ENTRIES).min(MAX_ENTRIES);
                }
                "onCacheHit" if child.elements().next().is_some() => {
                    cache.on_hit = Some(self.block(child, &place, text));
                }
                "protocol" => self.protocol(child, &place, &mut cache)?,
                _ => {}
            }
        }
        Some(Mediator::Cache(Box::new(cache)))
    }

    fn protocol(&mut self, protocol: &Element, place: &Place<'_>, cache: &mut Cache) -> Option<()> {
        for child in protocol.elements() {
            let text = child.text();
            let words = || -> Vec<String> {
                let words = text.split(',').map(|word| word.trim().to_owned());
                words.filter(|word| !word.is_empty()).collect()
            };
            match child.name.as_str() {
                "methods" if text != "*" => cache.methods = Some(words()),
                "headersToExcludeInHash" if text == "*" => cache.ignored_headers = None,
                "headersToExcludeInHash" => {
                    let words = words().into_iter().map(|word| word.to_ascii_lowercase());
                    cache.ignored_headers = Some(words.collect());
                }
                "responseCodes" if !text.is_empty() => match self.whole(place, &text) {
                    Ok(pattern) => cache.statuses = Some(pattern),
                    // Reported; nothing is kept then.
                    Err(_) => cache.entries = 0,
                },
                _ => {}
            }
        }
        Some(())
    }
}
