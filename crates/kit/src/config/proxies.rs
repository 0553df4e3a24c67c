//! The balancers in front of a gateway that are believed.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Config, ConfigError};

/// Addresses and networks whose `X-Forwarded-…` headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether the address is one of them. IPv4 addresses in IPv6 form are looked up as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads `gateway.trusted_proxies`.
fn parse(written: &[String]) -> Option<TrustedProxies> {
    let network = |text: &String| {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or(address).ok()
    };
    written
        .iter()
        .map(network)
        .collect::<Option<_>>()
        .map(TrustedProxies)
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    match parse(&config.gateway.trusted_proxies) {
        Some(_) => Ok(()),
        None => Err(ConfigError::Rule {
            key: "gateway.trusted_proxies",
            rule: "must be addresses (192.0.2.1) and networks (10.0.0.0/8, 2001:db8::/32)"
                .to_owned(),
        }),
    }
}

impl Config {
    /// The balancers in front of the gateway.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        parse(&self.gateway.trusted_proxies).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_trusted_and_nothing_else() {
        let text = |items: &[&str]| items.iter().map(|&item| item.into()).collect::<Vec<_>>();
        let trusted = parse(&text(&["192.0.2.1", "10.0.0.0/8", "2001:db8::/32"])).unwrap();
        for (address, expected) in [
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("10.9.8.7", true),
            ("::ffff:10.9.8.7", true),
            ("2001:db8::1", true),
            ("::1", false),
        ] {
            assert_eq!(
                trusted.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        assert!(parse(&text(&["10.0.0.0/33"])).is_none());
        assert!(parse(&text(&["balancer.example"])).is_none());
    }
}
