//! A queue of one's own, kept up: lost connections are made again, a preferred endpoint that is
//! back is gone back to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kit::backoff::{Backoff, spread};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{CONNECT_TIMEOUT, Link, Purpose, connect};
use super::{AmqpOptions, EXCHANGE};
use crate::bus::{Feed, Heard};
use crate::notification::{Received, decode};

/// Messages that the broker sends ahead.
pub(super) const PREFETCH: u16 = 256;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(250),
    most: Duration::from_secs(15),
};

/// A subscription that ends sooner counts as a failure.
const LASTING: Duration = Duration::from_secs(10);

/// A connection with its queue.
struct Subscribed {
    link: Link,
    consumer: Consumer,
}

/// Feeds the subscription until it is dropped.
pub(super) async fn run(options: Arc<AmqpOptions>, feed: Feed) {
    let ends = feed.ends.clone();
    tokio::select! {
        () = ends.cancelled() => {}
        () = keep_up(&options, &feed) => {}
    }
}

async fn keep_up(options: &AmqpOptions, feed: &Feed) {
    let mut failures = 0;
    loop {
        match subscribe(options, options.endpoints.len()).await {
            Ok(subscribed) => {
                let since = Instant::now();
                if !follow(options, feed, subscribed).await || !feed.say(Heard::Lost).await {
                    return;
                }
                // One that does not last is a failure as well.
                failures = if since.elapsed() < LASTING {
                    failures + 1
                } else {
                    0
                };
            }
            Err(reason) => {
                failures += 1;
                tracing::warn!(reason, failures, "no broker can be reached, trying again");
                if failures == 1 && !feed.say(Heard::Lost).await {
                    return;
                }
            }
        }
        sleep(BACKOFF.wait_with_jitter(failures.max(1), spread())).await;
    }
}

/// Subscribes at the first of the `among` preferred endpoints that answers.
async fn subscribe(options: &AmqpOptions, among: usize) -> Result<Subscribed, String> {
    let endpoints = &options.endpoints[..among];
    let link = connect(options, endpoints, Purpose::Consume(PREFETCH)).await?;
    let endpoint = &endpoints[link.index];
    match timeout(CONNECT_TIMEOUT, consume(options, link)).await {
        Ok(consumed) => consumed.map_err(|reason| format!("{endpoint}: {reason}")),
        Err(_) => Err(format!("{endpoint}: no answer")),
    }
}

/// Takes a queue on a new connection.
async fn consume(options: &AmqpOptions, link: Link) -> Result<Subscribed, String> {
    let said = |error: lapin::Error| error.to_string();
    // Named by the broker; gone with the connection.
    let flags = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let channel = &link.channel;
    let queue = channel
        .queue_declare("".into(), flags, FieldTable::default())
        .await
        .map_err(said)?;
    channel
        .queue_bind(
            queue.name().clone(),
            EXCHANGE.into(),
            options.topic.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(said)?;
    let flags = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let name = queue.name().clone();
    let consumer = channel
        .basic_consume(name, "".into(), flags, FieldTable::default())
        .await
        .map_err(said)?;
    Ok(Subscribed { link, consumer })
}

/// Hands messages on until the connection is lost; `false` when the subscriber is gone.
async fn follow(options: &AmqpOptions, feed: &Feed, mut now: Subscribed) -> bool {
    loop {
        let broker = &options.endpoints[now.link.index];
        tracing::info!(%broker, "events come from the broker");
        if !feed.say(Heard::Subscribed).await {
            return false;
        }
        let preferred = tokio::select! {
            end = hand_on(feed, &mut now.consumer) => match end {
                End::Lost(reason) => {
                    tracing::warn!(%broker, reason, "the connection to the broker is lost");
                    return true;
                }
                End::Gone => return false,
            },
            preferred = failback(options, now.link.index) => preferred,
        };
        // Subscribed there before the old queue goes; what is doubled does no harm.
        now.link.close().await;
        now = preferred;
    }
}

/// Waits until an endpoint that is preferred to this one is subscribed to.
async fn failback(options: &AmqpOptions, index: usize) -> Subscribed {
    if index == 0 {
        std::future::pending::<()>().await;
    }
    loop {
        sleep(options.failback.mul_f64(0.75 + 0.25 * spread())).await;
        if let Ok(subscribed) = subscribe(options, index).await {
            return subscribed;
        }
    }
}

enum End {
    Lost(String),
    /// The subscriber.
    Gone,
}

async fn hand_on(feed: &Feed, consumer: &mut Consumer) -> End {
    loop {
        let delivery = match consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return End::Lost(error.to_string()),
            None => return End::Lost("the broker ended the subscription".into()),
        };
        if let Some(heard) = read(feed, &delivery)
            && !feed.say(heard).await
        {
            return End::Gone;
        }
        // A body that cannot be read is acknowledged, too: it would come again for ever.
        if let Err(error) = delivery.ack(BasicAckOptions::default()).await {
            return End::Lost(error.to_string());
        }
    }
}

fn read(feed: &Feed, delivery: &Delivery) -> Option<Heard> {
    let content_type = delivery.properties.content_type().as_ref();
    match decode(content_type.map(|text| text.as_str()), &delivery.data) {
        Ok(Received::Event(event)) => Some(Heard::Event(Arc::new(event))),
        Ok(Received::Other { .. }) => {
            feed.counters.other();
            None
        }
        Err(error) => {
            feed.counters.malformed();
            tracing::warn!(
                %error,
                bytes = delivery.data.len(),
                "a message on the topic cannot be read, passing over it"
            );
            None
        }
    }
}
