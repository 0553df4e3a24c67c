//! Headers from one connection to the next.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};

/// Headers that speak of one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

/// Headers that `Connection` may not name: they are for all on the way (RFC 9110, section 7.6.1),
/// and dispatch and mediators go by them.
const END_TO_END: [HeaderName; 6] = [
    HOST,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    AUTHORIZATION,
    COOKIE,
];

/// Takes out of trailers what may stand in headers only: who is asked, by whom, and with which
/// right (RFC 9110, section 6.5.1). Some servers put trailers among the headers.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let names: Vec<HeaderName> = trailers.keys().cloned().collect();
    for name in names {
        let text = name.as_str();
        let of_proxies = text.starts_with("x-forwarded-") || text == "forwarded";
        if of_proxies || END_TO_END.contains(&name) || HOP_BY_HOP.contains(&name) {
            trailers.remove(&name);
        }
    }
}

/// Takes the headers out that must not travel on, those named by Connection included. That trailers
/// are welcome travels on, for they do.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none: looking at each header costs less than looking each of these up.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    let trailers = headers.get_all(TE).iter().any(names_trailers);
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn names_trailers(te: &HeaderValue) -> bool {
    let text = te.to_str().unwrap_or_default();
    text.split(',')
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Makes one header of several: HTTP/2 lets cookies come apart, and HTTP/1.1 does not (RFC 9113,
/// section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.by_ref().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_headers_do_not_travel_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine, Content-Type"),
            ("content-type", "text/plain"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("x-other", "2"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["x-other"], "2");
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn trailers_say_nothing_about_the_request() {
        let mut trailers = HeaderMap::new();
        for name in ["x-forwarded-proto", "authorization", "host", "grpc-status"] {
            trailers.insert(name, HeaderValue::from_static("0"));
        }
        strip_trailers(&mut trailers);
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["grpc-status"]);
    }

    #[test]
    fn cookies_become_one_header() {
        let mut headers = HeaderMap::new();
        join_cookies(&mut headers);
        assert!(headers.is_empty());
        for cookie in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}
