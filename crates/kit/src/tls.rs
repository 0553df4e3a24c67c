//! TLS: a development certificate authority under the data directory, or the operator's files.
//!
//! One crypto provider (aws-lc-rs) for servers and clients alike.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file}: {reason}")]
    File { file: PathBuf, reason: String },
    #[error("cannot make a development certificate: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// PEM files of a certificate chain and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The crypto provider of the whole product.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Installs the provider for libraries that ask for the process's default. Safe to repeat.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Where the development authority's certificate lies; clients trust it.
#[must_use]
pub fn development_ca(data_dir: &Path) -> PathBuf {
    data_dir.join("tls").join("ca.pem")
}

/// The development certificate under `data_dir/tls`, made on first use together with an authority
/// of its own. Keys are readable by their owner only.
pub fn development_identity(data_dir: &Path, hostname: &str) -> Result<Identity, TlsError> {
    let directory = data_dir.join("tls");
    let identity = Identity {
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
    };
    if directory.exists() {
        return Ok(identity);
    }
    // Made aside and moved into place whole: programs that start together agree on one.
    let aside = data_dir.join(format!("tls.{}", std::process::id()));
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside).map_err(|error| file_error(&aside, error))?;

    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name
        .push(DnType::CommonName, "Lockstep development authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;

    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if !names.iter().any(|name| name == hostname) {
        names.push(hostname.to_owned());
    }
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, hostname);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let issuer = Issuer::new(ca, ca_key);
    let server_certificate = server.signed_by(&server_key, &issuer)?;

    // The authority's key is thrown away: nothing else is ever to be signed by it.
    write_private(&aside.join("server.key"), &server_key.serialize_pem())?;
    write(&aside.join("server.pem"), &server_certificate.pem())?;
    write(&aside.join("ca.pem"), &ca_certificate.pem())?;
    if let Err(error) = fs::rename(&aside, &directory) {
        let _ = fs::remove_dir_all(&aside);
        if directory.exists() {
            return Ok(identity);
        }
        return Err(file_error(&directory, error));
    }
    tracing::info!(
        authority = %development_ca(data_dir).display(),
        "made a development certificate"
    );
    Ok(identity)
}

/// A server's TLS set-up with ALPN for HTTP/2 and HTTP/1.1. With `clients`, the PEM file of an
/// authority, clients may show a certificate, which has to be of that authority.
pub fn server_config(
    identity: &Identity,
    clients: Option<&Path>,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|error| file_error(&identity.key, error))?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(roots(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| file_error(file, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client's TLS set-up: servers are vouched for by the authorities in `ca` and nobody else, or
/// without it by the platform's; `client` are the PEM files of the certificate chain and the key
/// that the server is shown.
///
/// # Errors
/// When a file cannot be read, with its name, or the platform has no authorities.
pub fn client_config(
    ca: Option<&Path>,
    client: Option<(&Path, &Path)>,
) -> Result<rustls::ClientConfig, TlsError> {
    let provider = provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match ca {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, error))?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
    }
}

/// The certificates of a PEM file; an empty file is an error.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(file, error))?;
    if chain.is_empty() {
        return Err(file_error(file, "holds no certificate"));
    }
    Ok(chain)
}

/// A root store that trusts exactly the certificates of `file`.
pub fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn file_error(file: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn write(file: &Path, text: &str) -> Result<(), TlsError> {
    fs::write(file, text).map_err(|error| file_error(file, error))
}

fn write_private(file: &Path, text: &str) -> Result<(), TlsError> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| file_error(file, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn makes_a_certificate_once_and_keeps_its_key_private() {
        let directory = tempfile::tempdir().unwrap();
        let identity = development_identity(directory.path(), "gw.example").unwrap();
        server_config(&identity, None).unwrap();
        server_config(&identity, Some(&development_ca(directory.path()))).unwrap();
        roots(&development_ca(directory.path())).unwrap();
        let mode = fs::metadata(&identity.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let before = fs::read(&identity.certificate).unwrap();
        development_identity(directory.path(), "gw.example").unwrap();
        assert_eq!(fs::read(&identity.certificate).unwrap(), before);
    }

    #[test]
    fn names_the_file_that_holds_no_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("empty.pem");
        fs::write(&file, "").unwrap();
        assert!(
            certificates(&file)
                .unwrap_err()
                .to_string()
                .contains("empty.pem")
        );
    }
}
