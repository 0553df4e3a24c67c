//! Requests that are refused before anything else looks at them: what two servers in a row could
//! understand differently (request smuggling), and what is beyond a limit.
//!
//! Much is refused by the HTTP library before it comes here: lengths that differ or are no digits,
//! codings after `chunked`, chunks that are none, folded headers, blanks before a colon, control
//! characters. Of a request with both Content-Length and Transfer-Encoding it takes the length away
//! before anybody can see it, and closes the connection after the answer, as RFC 9112, section 6.3,
//! asks for.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Version};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The rule that it breaks.
    pub(crate) rule: &'static str,
}

impl Refusal {
    pub(crate) const MALFORMED_BODY: Self = Self::bad("the body is not what HTTP allows");
    pub(crate) const TOO_LARGE: Self = Self {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        rule: "the body has more bytes than gateway.limits.max_request_body_size",
    };
    pub(crate) const TOO_SLOW: Self = Self {
        status: StatusCode::REQUEST_TIMEOUT,
        rule: "nothing of the body came within gateway.limits.slow_client_timeout",
    };
    const TOO_MANY_HEADERS: Self = Self {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        rule: "more headers than gateway.limits.max_headers",
    };

    const fn bad(rule: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            rule,
        }
    }
}

/// Judges the head of a request.
pub(crate) fn refusal(head: &Parts, max_headers: usize) -> Option<Refusal> {
    if head.headers.len() > max_headers {
        return Some(Refusal::TOO_MANY_HEADERS);
    }
    let rule = target_rule(head)
        .or_else(|| host_rule(head))
        .or_else(|| framing_rule(&head.headers));
    rule.map(Refusal::bad)
}

/// RFC 9112, section 3.2: origin-form, absolute-form of http and https, or `*`.
fn target_rule(head: &Parts) -> Option<&'static str> {
    if head.method == Method::CONNECT {
        return Some("no tunnels are made by CONNECT");
    }
    let scheme = head.uri.scheme_str();
    if !scheme.is_none_or(|scheme| scheme == "http" || scheme == "https") {
        return Some("the target has a scheme that is not http or https");
    }
    match head.uri.path() {
        path if path.starts_with('/') => None,
        "*" if head.method == Method::OPTIONS => None,
        _ => Some("the target is no path"),
    }
}

/// RFC 9112, section 3.2, and RFC 9113, section 8.3.1: one host, said once or twice the same.
fn host_rule(head: &Parts) -> Option<&'static str> {
    let mut named = head.headers.get_all(HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Some("more than one Host");
    }
    let authority = head.uri.authority();
    let needs_host = match head.version {
        Version::HTTP_09 | Version::HTTP_10 => false,
        Version::HTTP_11 => true,
        _ => authority.is_none(),
    };
    if needs_host && host.is_none() {
        return Some("no Host");
    }
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Some("the target has a user name");
    }
    let host = host?;
    if !is_host(host.as_bytes()) {
        return Some("the Host is none");
    }
    let authority = authority?;
    let https = head.uri.scheme_str() == Some("https");
    let same =
        Authority::try_from(host.as_bytes()).is_ok_and(|host| are_same(authority, &host, https));
    (!same).then_some("the Host is another one than that of the target")
}

/// A name or an address, and perhaps a port (RFC 3986, section 3.2), without asking the allocator.
fn is_host(host: &[u8]) -> bool {
    let colon = host.iter().rposition(|byte| *byte == b':');
    let bracket = host.iter().rposition(|byte| *byte == b']');
    let (name, port) = match colon {
        Some(colon) if bracket.is_none_or(|bracket| bracket < colon) => host.split_at(colon),
        _ => (host, &[][..]),
    };
    let is_port = |port: &[u8]| port.len() <= 6 && port.iter().skip(1).all(u8::is_ascii_digit);
    let is_address = |inside: &[u8]| {
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        !inside.is_empty() && inside.iter().all(is_part)
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    is_port(port)
        && match name {
            [b'[', inside @ .., b']'] => is_address(inside),
            name => !name.is_empty() && name.iter().all(is_name),
        }
}

fn are_same(one: &Authority, other: &Authority, https: bool) -> bool {
    let default = if https { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

/// RFC 9112, section 6: a body has one length. Only the coding `chunked` is known, said once. What
/// it is that the headers of a request or a response break.
pub(crate) fn framing_rule(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Some("a Transfer-Encoding other than chunked");
    }
    let both = headers.contains_key(CONTENT_LENGTH);
    both.then_some("both Content-Length and Transfer-Encoding")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn judged(target: &str, version: Version, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::get(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        refusal(&head, 10).map(|refusal| refusal.rule)
    }

    #[test]
    fn a_request_has_one_host() {
        let one = Version::HTTP_11;
        let two = Version::HTTP_2;
        let other = Some("the Host is another one than that of the target");
        for (target, version, hosts, expected) in [
            ("/a", one, &["h"][..], None),
            ("/a", one, &[], Some("no Host")),
            ("/a", Version::HTTP_10, &[], None),
            ("/a", one, &["h", "h"], Some("more than one Host")),
            ("/a", one, &["a b"], Some("the Host is none")),
            ("/a", one, &[""], Some("the Host is none")),
            ("/a", one, &["u@h"], Some("the Host is none")),
            ("/a", one, &["h:8280"], None),
            ("/a", one, &["[::1]:8280"], None),
            ("/a", one, &["[::1]"], None),
            ("/a", one, &["::1"], Some("the Host is none")),
            ("/a", one, &["[::1"], Some("the Host is none")),
            ("/a", one, &["h:a"], Some("the Host is none")),
            ("/a", one, &["h/a"], Some("the Host is none")),
            ("/a", one, &[":80"], Some("the Host is none")),
            ("http://h/a", one, &["H:80"], None),
            ("https://h/a", one, &["h:443"], None),
            ("http://h/a", one, &["other"], other),
            ("http://h:1/a", one, &["h:2"], other),
            (
                "http://u@h/a",
                one,
                &["h"],
                Some("the target has a user name"),
            ),
            ("http://h/a", two, &[], None),
            ("http://h/a", two, &["other"], other),
            ("/a", two, &[], Some("no Host")),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(
                judged(target, version, &headers),
                expected,
                "{target} {hosts:?}"
            );
        }
    }

    #[test]
    fn a_body_has_one_length() {
        let other = Some("a Transfer-Encoding other than chunked");
        for (codings, expected) in [
            (&["chunked"][..], None),
            (&["Chunked"], None),
            (&["gzip, chunked"], other),
            (&["chunked, chunked"], other),
            (&["chunked", "chunked"], other),
            (&["identity", "chunked"], other),
            (&["xchunked"], other),
        ] {
            let mut headers: Vec<_> = codings
                .iter()
                .map(|coding| ("transfer-encoding", *coding))
                .collect();
            headers.push(("host", "h"));
            assert_eq!(
                judged("/a", Version::HTTP_11, &headers),
                expected,
                "{codings:?}"
            );
        }
        let both = [
            ("host", "h"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
        ];
        assert!(judged("/a", Version::HTTP_11, &both).is_some());
    }

    #[test]
    fn more_headers_than_the_limit_are_refused() {
        let headers: Vec<_> = std::iter::repeat_n(("x", "1"), 10)
            .chain([("host", "h")])
            .collect();
        let rule = judged("/a", Version::HTTP_11, &headers);
        assert_eq!(rule, Some(Refusal::TOO_MANY_HEADERS.rule));
    }
}
