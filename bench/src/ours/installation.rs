//! The whole way from a save to gateways: a store with its relay, the broker's topic, a traffic manager.

use std::time::Instant;

use anyhow::{Context, ensure};
use store::{Save, SaveMode, SaveOutcome, Store};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Ground;
use super::manager::Manager;
use crate::broker::Broker;
use crate::peers::rabbitmq::RabbitMq;
use crate::process::Process;

/// The store and the relay run in this program, as they do in the saver.
pub struct Installation {
    pub ground: Ground,
    pub manager: Process,
    /// The traffic manager's.
    pub port: u16,
    /// What the broker says that it is.
    pub broker: String,
    store: Store,
    relay: publisher_saver::Relay,
    _relaying: DropGuard,
    _broker: Broker,
}

/// A change that has been made.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// In the label's log.
    pub position: u64,
    pub at: Instant,
}

impl Installation {
    /// Starts one with a topic of its own; what is saved already nobody has to hear of.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn start(rabbitmq: &RabbitMq, saves: &[Save]) -> anyhow::Result<Self> {
        let broker = Broker::at(test_servers::Server {
            kind: test_servers::Kind::RabbitMq,
            port: rabbitmq.port,
        })
        .await?;
        let ground = Ground::new().await?.with_broker(&broker.event_hub())?;
        ground.save(saves).await?;
        let store = ground.announced_store().await?;
        let Manager { process, port, .. } = Manager::start(&ground).await?;
        let relay = publisher_saver::Relay::new(store.clone(), broker.bus()?);
        let relaying = CancellationToken::new();
        tokio::spawn(relay.clone().run(relaying.clone()));
        Ok(Self {
            manager: process,
            port,
            broker: broker.version.clone(),
            ground,
            store,
            relay,
            _relaying: relaying.drop_guard(),
            _broker: broker,
        })
    }

    /// Saves a change of one API, as the saver does.
    ///
    /// # Errors
    /// When it is refused, or changes nothing.
    pub async fn commit(&self, save: &Save) -> anyhow::Result<Committed> {
        let saves = std::slice::from_ref(save);
        let now = kit::clock::now_ms();
        let outcomes = self.store.save(saves, SaveMode::Atomic, now).await?;
        let at = Instant::now();
        self.relay.wake();
        let Some(SaveOutcome::Saved { labels, .. }) = outcomes.first() else {
            anyhow::bail!("a change is not saved: {outcomes:?}");
        };
        ensure!(labels.len() == 1, "a change of {} labels", labels.len());
        let position = labels.first().context("no label")?.seq;
        Ok(Committed { position, at })
    }
}
