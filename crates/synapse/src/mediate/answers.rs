//! Answers that the engine itself gives, and the texts that mediators make.

use std::collections::HashSet;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};

use super::exchange::{Answer, Body, Step};
use crate::plan::{Media, NotExecuted};

/// API Manager's JSON error: code, type, message, description.
#[must_use]
pub fn engine_answer(status: u16, message: &str, description: &str) -> Step {
    let body = serde_json::json!({
        "code": status.to_string(),
        "type": "Status report",
        "message": message,
        "description": description,
    });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Step::Answer(Box::new(Answer {
        status,
        headers,
        body: Body::Bytes(Bytes::from(body.to_string())),
    }))
}

/// API Manager's JSON for credentials and quotas: code, message, description.
pub(super) fn error_body(code: u32, message: &str, description: &str) -> Bytes {
    let body = serde_json::json!({
        "code": code.to_string(),
        "message": message,
        "description": description,
    });
    Bytes::from(body.to_string())
}

/// No API or no resource fits: what API Manager's `main` sequence answers.
#[must_use]
pub fn not_found(target: &str) -> Step {
    let path = target.split('?').next().unwrap_or_default();
    engine_answer(
        404,
        "Not Found",
        &format!("The requested resource ({path}) is not available."),
    )
}

/// Another method would have fitted.
#[must_use]
pub fn method_not_allowed() -> Step {
    engine_answer(
        405,
        "Method Not Allowed",
        "Method not allowed for given API resource",
    )
}

/// The API is not served over this transport.
#[must_use]
pub fn transport_denied(https: bool) -> Step {
    let transport = if https { "https" } else { "http" };
    engine_answer(
        403,
        "Forbidden",
        &format!("{transport} is not allowed for this API"),
    )
}

/// OPTIONS on a resource that does not list it: the methods that it lists (`sendOptions`).
#[must_use]
pub fn options(allow: &str) -> Step {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(allow) {
        headers.insert(ALLOW, value);
    }
    Step::Answer(Box::new(Answer {
        status: 200,
        headers,
        body: Body::Empty,
    }))
}

/// A status and nothing else.
pub(super) fn nothing(status: u16) -> Step {
    Step::Answer(Box::new(Answer {
        status,
        headers: HeaderMap::new(),
        body: Body::Empty,
    }))
}

/// 501 with the element that would have decided the answer.
pub(super) fn not_executed(element: &NotExecuted) -> Step {
    engine_answer(
        501,
        "Not Implemented",
        &format!("not executed: {} ({})", element.what, element.place),
    )
}

/// Bytes of a payload that a mediator makes.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// Stands around the number of an argument that the format itself has (`${…}`): a character that no
/// artifact can hold.
pub(crate) const INSIDE: char = '\u{1}';

/// `$1`, `$2` … replaced by the arguments. `None` when the text becomes too large.
pub(super) fn fill(format: &str, arguments: &[String]) -> Option<String> {
    if arguments.is_empty() {
        return Some(format.to_owned());
    }
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find(['$', INSIDE]) {
        text.push_str(&rest[..at]);
        let mark = if rest[at..].starts_with('$') {
            '$'
        } else {
            INSIDE
        };
        rest = &rest[at + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let argument = rest[..digits]
            .parse::<usize>()
            .ok()
            .and_then(|number| arguments.get(number.checked_sub(1)?));
        match argument {
            Some(argument) => {
                text.push_str(argument);
                rest = &rest[digits..];
                if mark == INSIDE {
                    rest = rest.strip_prefix(INSIDE).unwrap_or(rest);
                }
                if text.len() > MAX_PAYLOAD {
                    return None;
                }
            }
            None => text.push(mark),
        }
    }
    text.push_str(rest);
    Some(text)
}

/// A text as it stands inside XML, or inside a JSON string.
pub(super) fn escaped(text: &str, media: Media) -> String {
    match media {
        Media::Text | Media::Fields => text.to_owned(),
        Media::Xml => quick_xml::escape::escape(text).into_owned(),
        Media::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
    }
}

/// The headers of a request's message that go back to the client: those that mediators have set,
/// and the content type of a body that is there. What the client sent is not echoed to it, and
/// what was meant for a back end is not told to it.
pub(super) fn own_headers(headers: HeaderMap, own: &HashSet<HeaderName>, body: &Body) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in &headers {
        let speaks_of_body = name == CONTENT_TYPE && *body != Body::Empty;
        if own.contains(name) || speaks_of_body {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_arguments_escaped_for_their_text() {
        let fill = |format, media| {
            let arguments = ["a\"b", "<c>"].map(|text| escaped(text, media));
            fill(format, &arguments).unwrap()
        };
        assert_eq!(fill("{\"x\":\"$1\"}", Media::Json), "{\"x\":\"a\\\"b\"}");
        assert_eq!(fill("<x>$2$3 $</x>", Media::Xml), "<x>&lt;c&gt;$3 $</x>");
        assert_eq!(fill("$1$2", Media::Text), "a\"b<c>");
    }
}
