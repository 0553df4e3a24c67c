//! The bus over a broker that speaks AMQP 0-9-1: the topic `notification` of `amq.topic`.
//!
//! `connect` reaches a broker by preference, `publish` sends with confirms, `subscribe` keeps a
//! queue of its own. The outbox is what guarantees delivery, not this.

mod connect;
mod publish;
mod subscribe;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::config::{BrokerEndpoint, Config, ConfigError};
use kit::secret::Secret;
use tokio::sync::Mutex;

use crate::Event;
use crate::bus::{NotSent, Subscription};
use publish::Publisher;

/// The exchange that API Manager's broker and every AMQP 0-9-1 broker has.
const EXCHANGE: &str = "amq.topic";

/// How to reach the broker.
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// In order of preference, at least one.
    pub endpoints: Vec<BrokerEndpoint>,
    pub username: String,
    pub password: Secret,
    pub virtual_host: String,
    /// Routing key of the events (`notification`).
    pub topic: String,
    /// Seconds, 0 for what the broker proposes.
    pub heartbeat: u16,
    /// How often it is tried to get back to an endpoint that is preferred.
    pub failback: Duration,
    pub tls: AmqpTls,
    /// By what name the broker's operators see the connections.
    pub name: String,
}

/// PEM files for endpoints with TLS.
#[derive(Clone, Debug, Default)]
pub struct AmqpTls {
    /// Trusted alone; without it the platform's roots.
    pub ca_certificate: Option<PathBuf>,
    /// Certificate chain and key that the broker is shown.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl AmqpOptions {
    /// What a configuration says; `None` when it names no broker. `name` is the program's.
    ///
    /// # Errors
    /// When an endpoint is no address of a broker.
    pub fn of(config: &Config, name: &str) -> Result<Option<Self>, ConfigError> {
        let endpoints = config.event_hub_endpoints()?;
        if endpoints.is_empty() {
            return Ok(None);
        }
        let hub = &config.apim.event_hub;
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let certificate = path(&hub.tls.client_certificate);
        Ok(Some(Self {
            endpoints,
            username: hub.username.clone(),
            password: hub.password.clone(),
            virtual_host: hub.virtual_host.clone(),
            topic: hub.topic.clone(),
            heartbeat: hub.heartbeat,
            failback: Duration::from_millis(hub.failback_interval),
            tls: AmqpTls {
                ca_certificate: path(&hub.tls.ca_certificate).or_else(|| path(&hub.ca_certificate)),
                client: certificate.zip(path(&hub.tls.client_key)),
            },
            name: name.to_owned(),
        }))
    }
}

/// The bus over a broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AmqpBus {
    options: Arc<AmqpOptions>,
    publisher: Arc<Mutex<Publisher>>,
}

impl AmqpBus {
    #[must_use]
    pub fn new(options: AmqpOptions) -> Self {
        let options = Arc::new(options);
        let publisher = Publisher::new(Arc::clone(&options));
        Self {
            options,
            publisher: Arc::new(Mutex::new(publisher)),
        }
    }

    pub(crate) async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotSent>> {
        self.publisher.lock().await.publish(events).await
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let (subscription, feed) = Subscription::new(subscribe::PREFETCH.into());
        tokio::spawn(subscribe::run(Arc::clone(&self.options), feed));
        subscription
    }
}
