//! The broker by TLS, which asks for a certificate.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use test_servers::Own;

use super::*;

/// An authority, the broker's certificate and a client's, as PEM files.
fn certificates(directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "Test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write("ca.pem", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    for (name, hosts) in [("server", vec!["127.0.0.1".to_owned()]), ("client", vec![])] {
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        write(
            &format!("{name}.pem"),
            params.signed_by(&key, &issuer).unwrap().pem(),
        );
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test]
async fn broker_and_client_show_each_other_their_certificates() {
    kit::tls::install_provider();
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).unwrap();
    let what = "a broker by TLS";
    let Some(broker) = Own::start_with(Kind::RabbitMqTls, Some(directory.path()), what).await
    else {
        return;
    };
    let mut options = options(&[broker.server], "notification");
    let file = |name: &str| directory.path().join(name);
    options.tls.ca_certificate = Some(file("ca.pem"));
    options.tls.client = Some((file("client.pem"), file("client.key")));
    let bus = Bus::Amqp(AmqpBus::new(options.clone()));
    let mut subscription = subscribed(&bus).await;
    assert_eq!(bus.publish(&[event(1)]).await, [Ok(())]);
    assert_eq!(next_event(&mut subscription).await, event(1));

    let refused = async |tls: AmqpTls| {
        let options = AmqpOptions {
            tls,
            ..options.clone()
        };
        let sent = Bus::Amqp(AmqpBus::new(options)).publish(&[event(1)]).await;
        assert!(matches!(sent[..], [Err(NotSent::Lost(_))]), "{sent:?}");
    };
    // No certificate of ours, and an authority that does not vouch for the broker's.
    refused(AmqpTls {
        client: None,
        ..options.tls.clone()
    })
    .await;
    refused(AmqpTls {
        ca_certificate: None,
        ..options.tls.clone()
    })
    .await;
}
