//! Reaching a broker: the first of the endpoints, in order of preference, that answers.
//!
//! The stream is made here, with a time limit, and handed to the client library, whose own attempts
//! could neither be bounded nor ended. A connection ends with its [`Link`], whatever the broker does.

use std::net::Shutdown;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use kit::config::BrokerEndpoint;
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::AmqpOptions;

/// How long an endpoint may take to let a connection in.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to end in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection with its one channel.
pub(super) struct Link {
    connection: Connection,
    pub(super) channel: Channel,
    /// Which of the endpoints it is; 0 is the preferred one.
    pub(super) index: usize,
    _cut: Cut,
}

/// Cuts the stream when it is dropped.
struct Cut(std::net::TcpStream);

impl Drop for Cut {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

type Stream = AsyncTcpStream<Compat<TcpStream>>;

/// What the channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// With publisher confirms.
    Publish,
    /// With at most this many messages under way.
    Consume(u16),
}

impl Purpose {
    /// Bytes of a frame at most, as brokers propose it. The client library keeps room for 64 of them on
    /// each connection, 8 MiB: too much for those who listen, who are many. Longer events travel in
    /// several frames; the properties of a message cannot, and those of strangers have to come through.
    fn frame(self) -> u32 {
        match self {
            Self::Publish => 131_072,
            Self::Consume(_) => 32_768,
        }
    }
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
        let opened = timeout(CONNECT_TIMEOUT, open(options, endpoint, index, purpose)).await;
        match opened {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(reason)) => reasons.push(format!("{endpoint}: {reason}")),
            Err(_) => reasons.push(format!("{endpoint}: no answer")),
        }
    }
    Err(reasons.join("; "))
}

async fn open(
    options: &AmqpOptions,
    endpoint: &BrokerEndpoint,
    index: usize,
    purpose: Purpose,
) -> Result<Link, String> {
    let said = |error: lapin::Error| error.to_string();
    let (stream, cut) = stream(options, endpoint).await?;
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
            frame_max: Some(purpose.frame()),
            ..AMQPQueryString::default()
        },
    };
    let name = options.name.as_str().into();
    let properties = ConnectionProperties::default().with_connection_name(name);
    let runtime = lapin::runtime::default_runtime().map_err(said)?;
    let ready = Mutex::new(Some(stream));
    let hand_over = async move |_, _| {
        let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
        let used = || std::io::Error::other("the stream has been used").into();
        ready.take().ok_or_else(used)
    };
    let connection = Connection::connector(uri, runtime, hand_over, properties)
        .await
        .map_err(said)?;
    let channel = connection.create_channel().await.map_err(said)?;
    match purpose {
        Purpose::Publish => {
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await
        }
        Purpose::Consume(prefetch) => {
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await
        }
    }
    .map_err(said)?;
    Ok(Link {
        connection,
        channel,
        index,
        _cut: cut,
    })
}

async fn stream(options: &AmqpOptions, endpoint: &BrokerEndpoint) -> Result<(Stream, Cut), String> {
    let said = |error: std::io::Error| error.to_string();
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
        .await
        .map_err(said)?;
    tcp.set_nodelay(true).map_err(said)?;
    let tcp = tcp.into_std().map_err(said)?;
    let cut = Cut(tcp.try_clone().map_err(said)?);
    let tcp = TcpStream::from_std(tcp).map_err(said)?;
    let plain = AsyncTcpStream::Plain(Compat::new(tcp));
    if !endpoint.tls {
        return Ok((plain, cut));
    }
    let tls = &options.tls;
    let client = tls.client.as_ref();
    let config = kit::tls::client_config(
        tls.ca_certificate.as_deref(),
        client.map(|(certificate, key)| (certificate.as_path(), key.as_path())),
    );
    let connector = RustlsConnector::from(config.map_err(|error| error.to_string())?);
    let encrypted = plain.into_rustls(&connector, &endpoint.host);
    Ok((encrypted.await.map_err(said)?, cut))
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.channel.status().connected() && self.connection.status().connected()
    }

    /// Whether the broker takes nothing for now (RabbitMQ: an alarm of memory or disk). The
    /// connection stands, and nothing leaves on it, a goodbye neither.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Ends it in good order, if the broker takes part; ends it anyway.
    pub(super) async fn close(self) {
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "done".into())).await;
    }
}
