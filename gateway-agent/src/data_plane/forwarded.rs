//! What back ends are told about the client: `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
//!
//! X-Forwarded-For is a list: each hop appends the address that it saw, so what the gateway appends
//! is true, and what stands before it as believable as who said it. The other three are one value
//! each: they are the gateway's own, unless a balancer that is trusted has said them, or a mediator.
//! `Forwarded` (RFC 7239), which the gateway does not write, comes from trusted balancers only.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use kit::config::TrustedProxies;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Who is at the other end of a client's connection, and how it came in.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) https: bool,
    /// Whether what it says about others is believed.
    trusted: bool,
    /// The address and the listener's port as they stand in headers.
    address_text: HeaderValue,
    port_text: HeaderValue,
}

impl Peer {
    /// Made once for a connection, which came in at the listener's `port`.
    pub(crate) fn new(address: IpAddr, https: bool, port: u16, trusted: &TrustedProxies) -> Self {
        let address = address.to_canonical();
        let text = address.to_string();
        Self {
            address,
            https,
            trusted: trusted.contains(address),
            address_text: HeaderValue::try_from(text)
                .unwrap_or(HeaderValue::from_static("unknown")),
            port_text: port.into(),
        }
    }

    /// Takes out of a request what its peer may not say.
    pub(crate) fn admit(&self, headers: &mut HeaderMap) {
        let not_its = [PROTO, HOST, PORT, FORWARDED];
        if !self.trusted && headers.keys().any(|name| not_its.contains(name)) {
            for name in not_its {
                headers.remove(name);
            }
        }
    }

    /// Adds what a back end is told. `host` is what the client has asked for.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, host: Option<&HeaderValue>) {
        // With the correlation id and what the HTTP library adds.
        headers.reserve(8);
        let chain = match headers.contains_key(FOR) {
            false => self.address_text.clone(),
            true => appended(headers, &self.address_text),
        };
        headers.insert(FOR, chain);
        let proto = HeaderValue::from_static(if self.https { "https" } else { "http" });
        headers.entry(PROTO).or_insert(proto);
        headers
            .entry(PORT)
            .or_insert_with(|| self.port_text.clone());
        if let Some(host) = host {
            headers.entry(HOST).or_insert_with(|| host.clone());
        }
    }

    /// The client as far as it is known: the last address of the chain that no trusted balancer
    /// has.
    pub(crate) fn client(&self, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
        if !self.trusted {
            return self.address;
        }
        let lines = headers.get_all(FOR).into_iter();
        let texts: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let chain = texts.iter().rev().flat_map(|line| line.rsplit(','));
        let mut client = self.address;
        for text in chain {
            let Some(address) = address_of(text.trim()) else {
                break;
            };
            client = address.to_canonical();
            if !trusted.contains(client) {
                break;
            }
        }
        client
    }
}

/// An address as balancers write it, some of them with the port.
fn address_of(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

/// All lines of the chain in one, with the address at its end.
fn appended(headers: &HeaderMap, address: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for line in headers.get_all(FOR) {
        chain.extend_from_slice(line.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(address.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn trusted(networks: &str) -> TrustedProxies {
        let text = format!("[gateway]\ntrusted_proxies = {networks}");
        let config = kit::config::Config::from_text(&text, std::path::Path::new("d.toml"));
        config.unwrap().trusted_proxies()
    }

    fn told(peer: &Peer, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = headers(sent);
        peer.admit(&mut headers);
        peer.tell(&mut headers, Some(&HeaderValue::from_static("api.example")));
        headers
    }

    const SENT: [(&str, &str); 6] = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "forged.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=1.1.1.1"),
    ];

    #[test]
    fn a_stranger_says_nothing_but_a_chain() {
        let peer = Peer::new("192.0.2.7".parse().unwrap(), false, 8280, &trusted("[]"));
        let told = told(&peer, &SENT);
        assert_eq!(
            told["x-forwarded-for"],
            "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"
        );
        assert_eq!(told.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(told["x-forwarded-proto"], "http");
        assert_eq!(told["x-forwarded-host"], "api.example");
        assert_eq!(told["x-forwarded-port"], "8280");
        assert!(!told.contains_key("forwarded"));
        assert_eq!(
            peer.client(&headers(&SENT), &trusted("[]")).to_string(),
            "192.0.2.7"
        );
    }

    #[test]
    fn a_trusted_balancer_is_believed() {
        let trusted = trusted("['10.0.0.0/8', '3.3.3.3']");
        let peer = Peer::new("::ffff:10.0.0.1".parse().unwrap(), true, 8243, &trusted);
        let told = told(&peer, &SENT);
        assert_eq!(
            told["x-forwarded-for"],
            "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1"
        );
        assert_eq!(told["x-forwarded-proto"], "https");
        assert_eq!(told["x-forwarded-host"], "forged.example");
        assert_eq!(told["x-forwarded-port"], "1");
        assert!(told.contains_key("forwarded"));
        assert_eq!(
            peer.client(&headers(&SENT), &trusted).to_string(),
            "2.2.2.2"
        );
        assert_eq!(
            peer.client(&HeaderMap::new(), &trusted).to_string(),
            "10.0.0.1"
        );
        for (written, client) in [
            ("203.0.113.9:4711, 10.0.0.2", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1, unknown", "10.0.0.1"),
        ] {
            let headers = headers(&[("x-forwarded-for", written)]);
            assert_eq!(peer.client(&headers, &trusted).to_string(), client);
        }
        let alone = self::told(&peer, &[]);
        assert_eq!(alone["x-forwarded-for"], "10.0.0.1");
        assert_eq!(alone["x-forwarded-proto"], "https");
    }
}
