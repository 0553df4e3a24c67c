//! Reaching a broker: the first of the endpoints, in order of preference, that answers.

use std::time::Duration;

use kit::config::BrokerEndpoint;
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

use super::AmqpOptions;

/// How long an endpoint may take to let a connection in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection with its one channel.
pub(super) struct Link {
    connection: Connection,
    pub(super) channel: Channel,
    /// Which of the endpoints it is; 0 is the preferred one.
    pub(super) index: usize,
}

/// What the channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// With publisher confirms.
    Publish,
    /// With at most this many messages under way.
    Consume(u16),
}

/// Connects to the first of `endpoints` that answers.
///
/// # Errors
/// What each of them says, without credentials.
pub(super) async fn connect(
    options: &AmqpOptions,
    endpoints: &[BrokerEndpoint],
    purpose: Purpose,
) -> Result<Link, String> {
    let mut reasons = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let opened = timeout(CONNECT_TIMEOUT, open(options, endpoint, purpose)).await;
        match opened {
            Ok(Ok((connection, channel))) => {
                return Ok(Link {
                    connection,
                    channel,
                    index,
                });
            }
            Ok(Err(reason)) => reasons.push(format!("{endpoint}: {reason}")),
            Err(_) => reasons.push(format!("{endpoint}: no answer")),
        }
    }
    Err(reasons.join("; "))
}

async fn open(
    options: &AmqpOptions,
    endpoint: &BrokerEndpoint,
    purpose: Purpose,
) -> Result<(Connection, Channel), String> {
    let said = |error: lapin::Error| error.to_string();
    let uri = AMQPUri {
        scheme: if endpoint.tls {
            AMQPScheme::AMQPS
        } else {
            AMQPScheme::AMQP
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: options.username.clone(),
                password: options.password.expose().to_owned(),
            },
            host: endpoint.host.clone(),
            port: endpoint.port,
        },
        vhost: options.virtual_host.clone(),
        query: AMQPQueryString {
            heartbeat: Some(options.heartbeat),
            ..AMQPQueryString::default()
        },
    };
    let tls = if endpoint.tls {
        tls(options).await?
    } else {
        OwnedTLSConfig::default()
    };
    let properties =
        ConnectionProperties::default().with_connection_name(options.name.as_str().into());
    let runtime = lapin::runtime::default_runtime().map_err(said)?;
    let connection = Connection::connect_uri_with_config(uri, properties, tls, runtime)
        .await
        .map_err(said)?;
    let channel = connection.create_channel().await.map_err(said)?;
    match purpose {
        Purpose::Publish => {
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await
        }
        Purpose::Consume(prefetch) => {
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await
        }
    }
    .map_err(said)?;
    Ok((connection, channel))
}

async fn tls(options: &AmqpOptions) -> Result<OwnedTLSConfig, String> {
    let read = async |path: &std::path::Path| {
        let read = tokio::fs::read(path).await;
        read.map_err(|error| format!("{}: {error}", path.display()))
    };
    let cert_chain = match &options.tls.ca_certificate {
        None => None,
        Some(path) => {
            let text = String::from_utf8(read(path).await?);
            Some(text.map_err(|_| format!("{}: is no PEM file", path.display()))?)
        }
    };
    let identity = match &options.tls.client {
        None => None,
        Some((certificate, key)) => Some(OwnedIdentity::PKCS8 {
            pem: read(certificate).await?,
            key: read(key).await?,
        }),
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain,
    })
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.channel.status().connected() && self.connection.status().connected()
    }

    /// Ends it in good order, if the broker takes part.
    pub(super) async fn close(self) {
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "done".into())).await;
    }
}
