//! What a request shows of who is calling: Basic, else Bearer, else a client certificate.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::secret::Secret;

/// The longest header that is read, in bytes.
const MOST: usize = 4096;

/// What a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    Nothing,
    Basic {
        name: String,
        password: Secret,
    },
    Bearer(Secret),
    /// The common name and the DNS names of a verified certificate.
    Certificate(Vec<String>),
    /// An authorization that is neither; what is wrong with it, without its content.
    Unreadable(&'static str),
}

/// The names in the certificate that the client of a connection has shown, kept with it.
#[derive(Clone, Debug)]
pub struct CertificateNames(pub Vec<String>);

impl Presented {
    pub fn of(request: &ServiceRequest) -> Self {
        let mut headers = request.headers().get_all(AUTHORIZATION);
        if let Some(header) = headers.next() {
            if headers.next().is_some() {
                return Self::Unreadable("there is more than one Authorization header");
            }
            return header.to_str().map_or(
                Self::Unreadable("the Authorization header is not ASCII"),
                Self::authorization,
            );
        }
        match request.request().conn_data::<CertificateNames>() {
            Some(names) => Self::Certificate(names.0.clone()),
            None => Self::Nothing,
        }
    }

    fn authorization(header: &str) -> Self {
        if header.len() > MOST {
            return Self::Unreadable("the Authorization header is longer than 4096 bytes");
        }
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Self::Bearer(Secret::new(rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unreadable("the Authorization header is neither Basic nor Bearer");
        }
        let text = STANDARD.decode(rest).ok();
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_once(':')) {
            Some((name, password)) => Self::Basic {
                name: name.to_owned(),
                password: Secret::new(password),
            },
            None => Self::Unreadable("Basic must be base64 of name:password in UTF-8"),
        }
    }
}

/// The common name and the DNS names of a certificate; none if it cannot be read.
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| Some(name.as_str().ok()?.to_owned()))
        .collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_and_bearer_are_read_in_any_case_of_their_names() {
        let basic = Presented::Basic {
            name: "gw".into(),
            password: Secret::new("a:b"),
        };
        assert_eq!(Presented::authorization("bASIC Z3c6YTpi"), basic);
        let bearer = Presented::Bearer(Secret::new("abc"));
        assert_eq!(Presented::authorization("BEARER  abc"), bearer);
        for header in [
            "",
            "Basic",
            "Basic ?",
            "Basic Z3c=",
            "Basic /w==",
            "Bearer ",
            "Digest a",
        ] {
            let read = Presented::authorization(header);
            assert!(
                matches!(read, Presented::Unreadable(_)),
                "{header}: {read:?}"
            );
        }
        let long = Presented::authorization(&format!("Bearer {}", "a".repeat(MOST)));
        assert!(matches!(long, Presented::Unreadable(_)));
    }

    #[test]
    fn a_certificate_has_its_common_name_and_its_dns_names() {
        let mut params = rcgen::CertificateParams::new(vec!["gw.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "gw1");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(certificate_names(certificate.der()), ["gw1", "gw.example"]);
        assert!(certificate_names(&CertificateDer::from(vec![1, 2])).is_empty());
    }
}
