//! Sending events: persistent, mandatory, confirmed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::connect::{Link, Purpose, connect};
use super::{AmqpOptions, EXCHANGE};
use crate::Event;
use crate::bus::NotSent;
use crate::notification::encode;

/// How long the broker may take to confirm what was sent.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// JMS: this is a topic.
const DESTINATION_TYPE: &str = "JMS_QPID_DESTTYPE";
const TOPIC: i32 = 2;
/// JMS's default.
const PRIORITY: u8 = 4;
const PERSISTENT: u8 = 2;

/// The connection for sending, made when it is needed.
pub(super) struct Publisher {
    options: Arc<AmqpOptions>,
    link: Option<Link>,
    /// Looks whether a preferred endpoint is back.
    failback: Option<JoinHandle<Result<Link, String>>>,
    next_failback: Instant,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl Publisher {
    pub(super) fn new(options: Arc<AmqpOptions>) -> Self {
        Self {
            options,
            link: None,
            failback: None,
            next_failback: Instant::now(),
        }
    }

    /// Sends all, then waits for all confirms.
    pub(super) async fn publish(&mut self, events: &[Event]) -> Vec<Result<(), NotSent>> {
        let options = Arc::clone(&self.options);
        let link = match self.link().await {
            Ok(link) => link,
            Err(reason) => return vec![Err(NotSent::Lost(reason)); events.len()],
        };
        if link.is_blocked() {
            return vec![Err(blocked()); events.len()];
        }
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            sent.push(send(link, &options, event, deadline).await);
        }
        let mut results = Vec::with_capacity(events.len());
        // Returns are matched by message id: which confirm carries one says nothing where the
        // broker has confirmed several at once.
        let mut returned: HashMap<String, String> = HashMap::new();
        for sent in sent {
            let confirm = match sent {
                Ok(confirm) => confirm,
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            };
            let (result, message) = match timeout_at(deadline, confirm).await {
                Ok(Ok(Confirmation::Ack(message))) => (Ok(()), message),
                Ok(Ok(Confirmation::Nack(message))) => (Err(NotSent::Refused), message),
                Ok(Ok(Confirmation::NotRequested)) => {
                    (Err(NotSent::Lost("it was not confirmed".into())), None)
                }
                Ok(Err(error)) => (Err(NotSent::Lost(error.to_string())), None),
                Err(_) => (
                    Err(NotSent::Lost("it was not confirmed in time".into())),
                    None,
                ),
            };
            if let Some(message) = message
                && let Some(id) = message.delivery.properties.message_id()
            {
                returned.insert(id.to_string(), message.reply_text.to_string());
            }
            results.push(result);
        }
        for (result, event) in results.iter_mut().zip(events) {
            if let Some(reason) = returned.get(&message_id(event))
                && result.is_ok()
            {
                *result = Err(NotSent::Returned(reason.clone()));
            }
        }
        let lost = |result: &Result<(), NotSent>| matches!(result, Err(NotSent::Lost(_)));
        // A blocked connection stands; another one would be blocked, too.
        if results.iter().any(lost)
            && let Some(link) = self.link.take_if(|link| !link.is_blocked())
        {
            // Not waited for: a broker that hangs does not say goodbye.
            tokio::spawn(link.close());
        }
        results
    }

    /// The connection; a new one where there is none, a preferred one where that has come back.
    async fn link(&mut self) -> Result<&Link, String> {
        let link = match self.link.take().filter(Link::is_connected) {
            Some(link) => self.preferred(link).await,
            None => {
                self.failback = None;
                let options = &self.options;
                let link = connect(options, &options.endpoints, Purpose::Publish).await?;
                tracing::info!(broker = %options.endpoints[link.index], "events go to the broker");
                self.next_failback = Instant::now() + options.failback;
                link
            }
        };
        Ok(self.link.insert(link))
    }

    /// The link, or a preferred one that answers again. Looks for one when it is time; sending
    /// waits for that only when nothing has been sent for as long.
    async fn preferred(&mut self, link: Link) -> Link {
        if link.index == 0 {
            return link;
        }
        let overdue = Instant::now() >= self.next_failback + self.options.failback;
        if self.failback.is_none() && Instant::now() >= self.next_failback {
            let (options, index) = (Arc::clone(&self.options), link.index);
            self.failback = Some(tokio::spawn(async move {
                connect(&options, &options.endpoints[..index], Purpose::Publish).await
            }));
        }
        let finished = self.failback.as_ref().is_some_and(JoinHandle::is_finished);
        if !finished && !overdue {
            return link;
        }
        let Some(looking) = self.failback.take() else {
            return link;
        };
        let found = looking.await;
        self.next_failback = Instant::now() + self.options.failback;
        match found {
            Ok(Ok(found)) if found.index < link.index && found.is_connected() => {
                let broker = &self.options.endpoints[found.index];
                tracing::info!(%broker, "events go to the preferred broker again");
                tokio::spawn(link.close());
                found
            }
            _ => link,
        }
    }
}

async fn send(
    link: &Link,
    options: &AmqpOptions,
    event: &Event,
    deadline: Instant,
) -> Result<PublisherConfirm, NotSent> {
    let encoded = encode(event).map_err(|error| NotSent::Unwritable(error.to_string()))?;
    let mut headers = FieldTable::default();
    headers.insert(DESTINATION_TYPE.into(), AMQPValue::LongInt(TOPIC));
    // No expiration, which JMS writes as "0": RabbitMQ takes that for a message which is to be
    // dropped when it cannot be delivered at once.
    let properties = BasicProperties::default()
        .with_content_type(encoded.content_type.into())
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_priority(PRIORITY)
        .with_message_id(message_id(event).into())
        .with_timestamp(u64::try_from(event.time_stamp).unwrap_or(0))
        .with_user_id(options.username.as_str().into());
    let flags = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let topic = options.topic.as_str().into();
    let sending =
        link.channel
            .basic_publish(EXCHANGE.into(), topic, flags, &encoded.body, properties);
    match timeout_at(deadline, sending).await {
        Ok(Ok(confirm)) => Ok(confirm),
        Ok(Err(error)) => Err(NotSent::Lost(error.to_string())),
        Err(_) => Err(NotSent::Lost("the broker takes nothing".into())),
    }
}

fn blocked() -> NotSent {
    NotSent::Lost("the broker takes nothing for now, it is short of memory or disk".into())
}

fn message_id(event: &Event) -> String {
    format!("ID:{}", event.event_id)
}
