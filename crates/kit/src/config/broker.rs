//! Addresses of the broker that the event hub uses.

use std::fmt;
use std::net::Ipv6Addr;

/// Where a broker accepts AMQP 0-9-1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerEndpoint {
    /// Whether the connection is encrypted from its first byte.
    pub tls: bool,
    /// A host name or an IP address, an IPv6 one without its brackets.
    pub host: String,
    /// 5672 or, with TLS, 5671, if the address names none.
    pub port: u16,
}

impl BrokerEndpoint {
    /// Reads `tcp://HOST:PORT` or `amqp://HOST:PORT`, with TLS `ssl://HOST:PORT` or
    /// `amqps://HOST:PORT`. IPv6 addresses stand in brackets.
    ///
    /// # Errors
    /// The rule that the address breaks, without the address: it may hold a password.
    pub fn parse(address: &str) -> Result<Self, String> {
        let forms = "must be tcp://HOST:PORT, amqp://HOST:PORT, ssl://HOST:PORT or \
                     amqps://HOST:PORT";
        let (scheme, rest) = address.trim().split_once("://").ok_or(forms)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "tcp" | "amqp" => false,
            "ssl" | "amqps" => true,
            _ => return Err(forms.to_owned()),
        };
        if rest.contains('@') {
            return Err("has a user; use username and password instead".to_owned());
        }
        if rest.contains(['?', '#']) {
            return Err(format!("has parameters; {forms}"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err("has a path; use virtual_host instead".to_owned());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or("has no closing bracket")?;
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err("has no IPv6 address in its brackets".to_owned());
                }
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(forms.to_owned()),
                }
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("an IPv6 address has to stand in brackets".to_owned());
                }
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(of_a_name) {
            return Err("must have the name or the IP address of a host".to_owned());
        }
        let port = match port {
            None if tls => 5671,
            None => 5672,
            Some(port) => port.parse().unwrap_or(0),
        };
        if port == 0 {
            return Err("must have a port from 1 to 65535".to_owned());
        }
        let host = host.to_owned();
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for BrokerEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(formatter, "{scheme}://[{host}]:{port}")
        } else {
            write!(formatter, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (address, expected) in [
            ("tcp://tm1.example:5672", "amqp://tm1.example:5672"),
            ("amqp://10.0.0.1", "amqp://10.0.0.1:5672"),
            ("ssl://tm1:8672/", "amqps://tm1:8672"),
            ("AMQPS://tm_1", "amqps://tm_1:5671"),
            ("tcp://[::1]:5673", "amqp://[::1]:5673"),
            ("amqps://[fd00::2]", "amqps://[fd00::2]:5671"),
        ] {
            let endpoint = BrokerEndpoint::parse(address).unwrap();
            assert_eq!(endpoint.to_string(), expected);
            assert_eq!(BrokerEndpoint::parse(expected), Ok(endpoint));
        }
        assert_eq!(BrokerEndpoint::parse("tcp://[::1]").unwrap().host, "::1");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named_without_it() {
        for (address, rule) in [
            ("", "must be tcp://HOST:PORT"),
            ("tm1:5672", "must be tcp://HOST:PORT"),
            ("http://hidden", "must be tcp://HOST:PORT"),
            ("amqp://admin:hidden@h:5672", "use username and password"),
            ("amqp://h:5672/hidden", "use virtual_host"),
            ("amqp://h?hidden=1", "has parameters"),
            ("amqp://", "the name or the IP address of a host"),
            ("amqp://a b", "the name or the IP address of a host"),
            (
                "amqp://${carbon.local.ip}:5672",
                "the name or the IP address of a host",
            ),
            ("amqp://:5672", "the name or the IP address of a host"),
            ("amqp://h:0", "a port from 1 to 65535"),
            ("amqp://h:70000", "a port from 1 to 65535"),
            ("amqp://h:", "a port from 1 to 65535"),
            ("amqp://::1:5672", "in brackets"),
            ("amqp://[::1", "no closing bracket"),
            ("amqp://[hidden]", "no IPv6 address"),
            ("amqp://[::1]5672", "must be tcp://HOST:PORT"),
        ] {
            let error = BrokerEndpoint::parse(address).unwrap_err();
            assert!(error.contains(rule), "{address}: {error}");
            assert!(!error.contains("hidden"), "{address}: {error}");
        }
    }
}
