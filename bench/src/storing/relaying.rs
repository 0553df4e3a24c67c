//! The relay: what waits in the outbox to the broker, against a plain client that sends the same.

use std::time::Instant;

use anyhow::ensure;
use events::Event;
use publisher_saver::Relay;
use store::SaveMode;

use super::site::Site;
use crate::broker::{Broker, Message};
use crate::report::{Aim, Measured, Report, Unit};
use crate::samples::Samples;

/// Announcements of one round, each of another API.
const ANNOUNCEMENTS: usize = 2000;
/// The texts are not sent, so they are short.
const BYTES: usize = 512;

/// Drains the outbox, then sends as many messages by a plain client; both to one subscriber.
pub async fn relay(
    site: &Site,
    broker: &Broker,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let store = &site.store;
    let relay = Relay::new(store.clone(), broker.bus()?);
    // What the saves before have left; that also opens the connections.
    let mut sent = u64::try_from(drain(&relay).await?)?;
    let (mut measured, mut under) = (Samples::default(), Samples::default());
    // The first round only prepares statements.
    for round in 0..=rounds {
        let messages = fill(site, broker).await?;
        broker.has_heard(sent).await?;
        let start = Instant::now();
        let drained = drain(&relay).await?;
        let time = start.elapsed();
        ensure!(drained == ANNOUNCEMENTS, "{drained} announcements relayed");
        ensure!(store.outbox_length().await? == 0, "the outbox is not empty");
        sent += ANNOUNCEMENTS as u64;
        broker.has_heard(sent).await?;
        let floor_rate = broker.send_plainly(messages).await?;
        sent += ANNOUNCEMENTS as u64;
        broker.has_heard(sent).await?;
        if round > 0 {
            measured.round(vec![ANNOUNCEMENTS as f64 / time.as_secs_f64()]);
            under.round(vec![floor_rate]);
        }
    }
    let on = format!("{}, RabbitMQ", site.kind.name());
    let what = format!("relay of {ANNOUNCEMENTS}, events");
    let relay = Measured::alone(what, &on, Unit::PerSecond, &measured);
    let relay = relay.beside(&under).with_aim(Aim::AtLeast(0.8));
    report.measured.push(relay);
    Ok(())
}

/// Steps until nothing is left.
async fn drain(relay: &Relay) -> anyhow::Result<usize> {
    let mut drained = 0;
    loop {
        match relay.step().await? {
            0 => return Ok(drained),
            announced => drained += announced,
        }
    }
}

/// Saves new APIs, and returns the messages that announce as many others.
async fn fill(site: &Site, broker: &Broker) -> anyhow::Result<Vec<Message>> {
    let mut maker = site.maker.lock().await;
    let now = kit::clock::now_ms();
    for _ in 0..2 {
        let saves = maker.new_saves(ANNOUNCEMENTS / 2, BYTES)?;
        site.store.save(&saves, SaveMode::Atomic, now).await?;
    }
    let plain = maker.new_saves(ANNOUNCEMENTS, BYTES)?;
    let numbered = (1..).zip(&plain);
    numbered
        .map(|(seq, save)| broker.message(&Event::of(&maker.announcement(save, seq, now))))
        .collect()
}
