//! What a bus has to do: one suite for the bus of a process and for the broker's.

mod amqp;
mod faults;
mod tls;

use std::time::Duration;

use artifact::{Announcement, Digest, Instruction, Label, SavedTo};
use kit::config::BrokerEndpoint;
use kit::secret::Secret;
use test_servers::{Kind, Server};
use tokio::time::timeout;

use crate::*;

/// How long anything that has to come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn event(n: u64) -> Event {
    Event::of(&Announcement {
        dc: "DC1".into(),
        api_id: format!("api-{n}"),
        name: "ä <&> \u{1f600}".into(),
        version: "1.0.0".into(),
        tenant_domain: "carbon.super".into(),
        instruction: if n.is_multiple_of(2) {
            Instruction::Publish
        } else {
            Instruction::Remove
        },
        digest: Digest::of(b"x"),
        time: 1_597_929_892_000,
        labels: vec![SavedTo {
            label: Label::parse("Production and Sandbox").unwrap(),
            seq: n,
        }],
    })
}

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(event).collect()
}

/// The next thing heard.
async fn heard(subscription: &mut Subscription) -> Heard {
    timeout(PATIENCE, subscription.next())
        .await
        .expect("something is heard in time")
        .expect("the subscription goes on")
}

/// The next event, whatever is said of the connection before.
async fn next_event(subscription: &mut Subscription) -> Event {
    loop {
        if let Heard::Event(event) = heard(subscription).await {
            return (*event).clone();
        }
    }
}

async fn subscribed(bus: &Bus) -> Subscription {
    let mut subscription = bus.subscribe();
    assert_eq!(heard(&mut subscription).await, Heard::Subscribed);
    subscription
}

fn options(servers: &[Server], topic: &str) -> AmqpOptions {
    let (username, password) = servers[0].credentials();
    let endpoints = servers.iter().map(Server::broker_url);
    AmqpOptions {
        endpoints: endpoints
            .map(|url| BrokerEndpoint::parse(&url).unwrap())
            .collect(),
        username: username.into(),
        password: Secret::new(password),
        virtual_host: "/".into(),
        topic: topic.into(),
        heartbeat: 1,
        failback: Duration::from_millis(200),
        tls: AmqpTls::default(),
        name: "test".into(),
    }
}

/// A topic that no other test has.
fn topic() -> String {
    format!("notification-{}", uuid::Uuid::new_v4())
}

async fn in_process() -> Option<Bus> {
    Some(Bus::InProcess(InProcessBus::new()))
}

async fn over_amqp() -> Option<Bus> {
    let server = test_servers::shared(Kind::RabbitMq, "the bus over AMQP").await?;
    Some(Bus::Amqp(AmqpBus::new(options(&[server], &topic()))))
}

macro_rules! suite {
    ($($test:ident,)*) => {
        suite!(bus_in_process, in_process: $($test,)*);
        suite!(bus_over_amqp, over_amqp: $($test,)*);
    };
    ($name:ident, $bus:ident: $($test:ident,)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(bus) = super::$bus().await {
                    super::$test(&bus).await;
                }
            })*
        }
    };
}

suite! {
    events_arrive_as_they_were_sent_and_in_order,
    an_event_of_many_frames_arrives_as_it_was_sent,
    everybody_hears_every_event,
    what_was_sent_before_is_not_heard,
    a_subscription_ends_when_it_is_dropped,
}

async fn events_arrive_as_they_were_sent_and_in_order(bus: &Bus) {
    let mut subscription = subscribed(bus).await;
    let sent = events(0..300);
    for part in sent.chunks(100) {
        assert_eq!(bus.publish(part).await, vec![Ok(()); 100]);
    }
    for event in sent {
        assert_eq!(next_event(&mut subscription).await, event);
    }
    let counted = subscription.counters().now();
    assert_eq!((counted.events, counted.subscribed), (300, 1));
}

async fn an_event_of_many_frames_arrives_as_it_was_sent(bus: &Bus) {
    let mut subscription = subscribed(bus).await;
    let sent = Event {
        name: "ä".repeat(50_000),
        ..event(1)
    };
    let all = [event(0), sent, event(2)];
    assert_eq!(bus.publish(&all).await, vec![Ok(()); 3]);
    for event in all {
        assert_eq!(next_event(&mut subscription).await, event);
    }
}

async fn everybody_hears_every_event(bus: &Bus) {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(subscribed(bus).await);
    }
    bus.publish(&events(0..5)).await;
    for subscription in &mut all {
        for event in events(0..5) {
            assert_eq!(next_event(subscription).await, event);
        }
    }
}

async fn what_was_sent_before_is_not_heard(bus: &Bus) {
    let _other = subscribed(bus).await;
    bus.publish(&[event(1)]).await;
    let mut subscription = subscribed(bus).await;
    bus.publish(&[event(2)]).await;
    assert_eq!(next_event(&mut subscription).await, event(2));
}

async fn a_subscription_ends_when_it_is_dropped(bus: &Bus) {
    drop(subscribed(bus).await);
    let mut subscription = subscribed(bus).await;
    assert_eq!(bus.publish(&[event(1)]).await, [Ok(())]);
    assert_eq!(next_event(&mut subscription).await, event(1));
}
