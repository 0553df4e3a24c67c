//! RabbitMQ, with one subscriber so that what is sent is routed, and a plain client of it.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use events::{AmqpBus, AmqpOptions, AmqpTls, Bus, Event};
use futures_util::StreamExt;
use kit::config::BrokerEndpoint;
use kit::secret::Secret;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use test_servers::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const EXCHANGE: &str = "amq.topic";

/// The broker with a topic of its own for this run.
#[derive(Debug)]
pub struct Broker {
    /// For the report.
    pub version: String,
    server: Server,
    topic: String,
    plain: Channel,
    heard: watch::Receiver<u64>,
    /// They end with their connections.
    _connections: [Connection; 2],
}

/// A message as the bus sends it, made beforehand.
#[derive(Debug)]
pub struct Message {
    body: Vec<u8>,
    properties: BasicProperties,
}

impl Broker {
    /// Starts the broker where there is none yet, and subscribes.
    ///
    /// # Errors
    /// When it does not start, or refuses.
    pub async fn open() -> anyhow::Result<Self> {
        Self::at(test_servers::started(test_servers::Kind::RabbitMq).await?).await
    }

    /// Subscribes at a broker that runs.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn at(server: Server) -> anyhow::Result<Self> {
        let topic = format!("bench-{}", uuid::Uuid::new_v4());
        let consuming = connection(server).await?;
        let heard = subscribe(&consuming, &topic).await?;
        let publishing = connection(server).await?;
        let plain = publishing.create_channel().await?;
        plain
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            version: format!("RabbitMQ: {}", version(server).await?),
            server,
            topic,
            plain,
            heard,
            _connections: [consuming, publishing],
        })
    }

    /// The bus as the programs have it.
    ///
    /// # Errors
    /// When the broker's address is none.
    pub fn bus(&self) -> anyhow::Result<Bus> {
        let (username, password) = self.server.credentials();
        let endpoint = BrokerEndpoint::parse(&self.server.broker_url());
        Ok(Bus::Amqp(AmqpBus::new(AmqpOptions {
            endpoints: vec![endpoint.map_err(anyhow::Error::msg)?],
            username: username.into(),
            password: Secret::new(password),
            virtual_host: "/".into(),
            topic: self.topic.clone(),
            heartbeat: 60,
            failback: std::time::Duration::from_secs(60),
            tls: AmqpTls::default(),
            name: "bench".into(),
        })))
    }

    /// The lines of `[apim.event_hub]` by which programs use it.
    #[must_use]
    pub fn event_hub(&self) -> String {
        let (user, password) = self.server.credentials();
        format!(
            "event_listening_endpoints = [\"{}\"]\nusername = \"{user}\"\n\
             password = \"{password}\"\ntopic = \"{}\"\n",
            self.server.broker_url(),
            self.topic
        )
    }

    /// How many messages the subscriber has heard.
    #[must_use]
    pub fn heard(&self) -> u64 {
        *self.heard.borrow()
    }

    /// What the bus would send for an event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn message(&self, event: &Event) -> anyhow::Result<Message> {
        let encoded = events::encode(event)?;
        let mut headers = FieldTable::default();
        headers.insert("JMS_QPID_DESTTYPE".into(), AMQPValue::LongInt(2));
        let properties = BasicProperties::default()
            .with_content_type(encoded.content_type.into())
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_priority(4)
            .with_message_id(format!("ID:{}", event.event_id).into())
            .with_timestamp(u64::try_from(event.time_stamp)?)
            .with_user_id(self.server.credentials().0.into());
        Ok(Message {
            body: encoded.body,
            properties,
        })
    }

    /// Sends all, then waits for all confirms, by a plain client. Returns the messages per second.
    ///
    /// # Errors
    /// When one of them is not confirmed, or returned.
    pub async fn send_plainly(&self, messages: Vec<Message>) -> anyhow::Result<f64> {
        let count = messages.len();
        let flags = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let mut confirms = Vec::with_capacity(count);
        let start = Instant::now();
        for Message { body, properties } in messages {
            let topic = self.topic.as_str().into();
            let publish =
                self.plain
                    .basic_publish(EXCHANGE.into(), topic, flags, &body, properties);
            confirms.push(publish.await?);
        }
        for confirm in confirms {
            match confirm.await? {
                Confirmation::Ack(None) => {}
                other => bail!("the broker says of a message: {other:?}"),
            }
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    /// Waits until the subscriber has heard so many messages in all.
    ///
    /// # Errors
    /// When it has heard more, or hears nothing any more.
    pub async fn has_heard(&self, messages: u64) -> anyhow::Result<()> {
        let mut heard = self.heard.clone();
        let heard = heard.wait_for(|heard| *heard >= messages);
        let heard = *heard.await.context("the subscription ended")?;
        ensure!(
            heard == messages,
            "{heard} messages heard instead of {messages}"
        );
        Ok(())
    }
}

async fn connection(server: Server) -> anyhow::Result<Connection> {
    let (user, password) = server.credentials();
    let url = format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", server.port);
    Ok(Connection::connect(&url, ConnectionProperties::default()).await?)
}

/// A queue such as gateways have, whose messages are counted and need no acknowledgement.
async fn subscribe(connection: &Connection, topic: &str) -> anyhow::Result<watch::Receiver<u64>> {
    let channel = connection.create_channel().await?;
    let flags = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("".into(), flags, FieldTable::default());
    let name = queue.await?.name().clone();
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(name.clone(), EXCHANGE.into(), topic.into(), bind, none);
    bound.await?;
    let flags = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume(name, "".into(), flags, FieldTable::default());
    let mut consumer = consumer.await?;
    let (count, heard) = watch::channel(0);
    tokio::spawn(async move {
        let _open = channel;
        while let Some(Ok(_)) = consumer.next().await {
            count.send_modify(|heard| *heard += 1);
        }
    });
    Ok(heard)
}

/// What the broker says of itself in the first frame of a connection.
async fn version(server: Server) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut start = vec![0; 7];
    stream.read_exact(&mut start).await?;
    let length = u32::from_be_bytes([start[3], start[4], start[5], start[6]]);
    let mut frame = vec![0; usize::try_from(length.min(0x1_0000))?];
    stream.read_exact(&mut frame).await?;
    Ok(text_property(&frame, "version").unwrap_or_else(|| "unknown version".into()))
}

/// The value of a text in a field table: its name with its length before it, `S`, length, value.
fn text_property(frame: &[u8], name: &str) -> Option<String> {
    let mut key = vec![u8::try_from(name.len()).ok()?];
    key.extend(name.as_bytes());
    key.push(b'S');
    let at = frame.windows(key.len()).position(|part| part == key)? + key.len();
    let (length, rest) = frame.get(at..)?.split_first_chunk::<4>()?;
    let value = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_a_table() {
        let frame = b"\0\x07productS\0\0\0\x01x\x07versionS\0\0\0\x033.9\0";
        assert_eq!(text_property(frame, "version").as_deref(), Some("3.9"));
        assert_eq!(text_property(frame, "platform"), None);
        assert_eq!(text_property(b"\x07versionS\0\0\0\x09", "version"), None);
    }
}
