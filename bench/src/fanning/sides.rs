//! The sides of a fan-out: who hears of a change, and how it is made.

use std::time::Instant;

use anyhow::Context;
use store::Save;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ours::apis::{Plain, saves};
use crate::ours::gateway::Settings;
use crate::ours::hosted::Hosted;
use crate::ours::installation::Installation;
use crate::peers::etcd::Etcd;
use crate::peers::nats::{Bucket, Nats};
use crate::peers::rabbitmq::RabbitMq;
use crate::process::PATIENCE;
use crate::report::Report;

/// APIs of each gateway.
const APIS: usize = 10;
const LABEL: &str = crate::data::LABEL;

/// What all sides of all sizes share.
pub struct Servers {
    pub rabbitmq: RabbitMq,
    pub nats: Option<Nats>,
    pub etcd: Option<Etcd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each gateway hears the event and pulls.
    Events,
    /// Each gateway follows the traffic manager's stream, which hears the event.
    Stream,
    Nats,
    Etcd,
}

/// A side with all its subscribers.
pub enum Side {
    Ours {
        way: Way,
        installation: Box<Installation>,
        gateways: Box<Hosted>,
    },
    Nats {
        bucket: Box<Bucket>,
        subscribers: Subscribers,
    },
    Etcd {
        prefix: String,
        subscribers: Subscribers,
    },
}

/// A change, and when it had reached the last.
pub struct Change {
    pub begun: Instant,
    pub committed: Instant,
    pub last: Instant,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "Lockstep, events",
            Self::Stream => "Lockstep, watch stream",
            Self::Nats => "NATS",
            Self::Etcd => "etcd",
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Self::Events | Self::Stream)
    }
}

impl Servers {
    /// Starts so many gateways or subscribers of each kind.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn sides(&self, size: usize, report: &mut Report) -> anyhow::Result<Vec<Side>> {
        let mut sides = Vec::new();
        let apis: Vec<Plain> = (0..APIS).map(|number| plain(number, 1)).collect();
        let first = saves(&apis, &[LABEL])?;
        for (way, id) in [(Way::Events, "events"), (Way::Stream, "stream")] {
            // Each with a topic of its own, so that neither hears of the other's changes.
            let installation = Installation::start(&self.rabbitmq, &first).await?;
            report.server(installation.broker.clone());
            let settings = Settings {
                id,
                label: LABEL,
                threads: None,
                hears: way == Way::Events,
                snapshot: false,
            };
            let ground = &installation.ground;
            let position = first.len() as u64;
            let gateways =
                Hosted::start(ground, installation.port, settings, size, position).await?;
            sides.push(Side::Ours {
                way,
                installation: Box::new(installation),
                gateways: Box::new(gateways),
            });
        }
        if let Some(nats) = &self.nats {
            let name = format!("fan-out-{size}");
            let bucket = nats.bucket(&name).await?;
            let mut values = Vec::with_capacity(size);
            for _ in 0..size {
                values.push(nats.connected(&name).await?.watch().await?);
            }
            let subscribers = Subscribers::of(values);
            sides.push(Side::Nats {
                bucket: Box::new(bucket),
                subscribers,
            });
        }
        if let Some(etcd) = &self.etcd {
            let prefix = format!("fan-out-{size}/");
            let mut values = Vec::with_capacity(size);
            for _ in 0..size {
                // An answer that does not end keeps its connection for itself.
                values.push(etcd.watch(&prefix).await?);
            }
            let subscribers = Subscribers::of(values);
            sides.push(Side::Etcd {
                prefix,
                subscribers,
            });
        }
        Ok(sides)
    }

    /// Ends them.
    pub async fn stop(self) {
        self.rabbitmq.stop().await;
        if let Some(nats) = self.nats {
            nats.process.stop().await;
        }
        if let Some(etcd) = self.etcd {
            etcd.process.stop().await;
        }
    }
}

impl Side {
    pub fn way(&self) -> Way {
        match self {
            Self::Ours { way, .. } => *way,
            Self::Nats { .. } => Way::Nats,
            Self::Etcd { .. } => Way::Etcd,
        }
    }

    /// Makes a change of one API, and waits for the last who hears of it.
    ///
    /// # Errors
    /// When it is refused, or does not reach all.
    pub async fn change(&mut self, revision: usize, servers: &Servers) -> anyhow::Result<Change> {
        let api = plain(revision % APIS, revision);
        let save = saves(&[api], &[LABEL])?;
        let save = save.first().context("nothing to save")?;
        let key = format!("plain-{}", api.number);
        let Save { text, .. } = save;
        let begun = Instant::now();
        match self {
            Self::Ours {
                installation,
                gateways,
                ..
            } => {
                let committed = installation.commit(save).await?;
                Ok(Change {
                    begun,
                    committed: committed.at,
                    last: gateways.all_have(committed.position).await?,
                })
            }
            Self::Nats {
                bucket,
                subscribers,
            } => {
                bucket.put(&key, text).await?;
                let committed = Instant::now();
                let last = subscribers.all_have_another().await?;
                Ok(Change {
                    begun,
                    committed,
                    last,
                })
            }
            Self::Etcd {
                prefix,
                subscribers,
            } => {
                let etcd = servers.etcd.as_ref().context("etcd is away")?;
                etcd.put(&format!("{prefix}{key}"), text).await?;
                let committed = Instant::now();
                let last = subscribers.all_have_another().await?;
                Ok(Change {
                    begun,
                    committed,
                    last,
                })
            }
        }
    }

    /// Ends what belongs to it alone.
    pub async fn stop(self) {
        if let Self::Ours {
            installation,
            gateways,
            ..
        } = self
        {
            gateways.process.stop().await;
            installation.manager.stop().await;
        }
    }
}

/// Those who hear of what is put; they only count.
pub struct Subscribers {
    /// How many values have come to all of them, and when the last one did.
    delivered: watch::Receiver<(usize, Instant)>,
    expected: usize,
    counting: JoinSet<()>,
}

impl Subscribers {
    fn of(values: Vec<mpsc::Receiver<Vec<u8>>>) -> Self {
        let (sender, delivered) = watch::channel((0, Instant::now()));
        let mut counting = JoinSet::new();
        for mut values in values {
            let sender = sender.clone();
            counting.spawn(async move {
                while let Some(value) = values.recv().await {
                    let now = Instant::now();
                    if !value.is_empty() {
                        sender.send_modify(|(count, last)| {
                            *count += 1;
                            *last = now.max(*last);
                        });
                    }
                }
            });
        }
        Self {
            delivered,
            expected: 0,
            counting,
        }
    }

    /// When each had got one value more; waits for that.
    async fn all_have_another(&mut self) -> anyhow::Result<Instant> {
        self.expected += self.counting.len();
        let expected = self.expected;
        let all = self.delivered.wait_for(|(count, _)| *count >= expected);
        let lacking = || format!("fewer than {expected} values have been delivered");
        let all = timeout(PATIENCE, all).await.with_context(lacking)?;
        Ok(all.with_context(lacking)?.1)
    }
}

fn plain(number: usize, revision: usize) -> Plain {
    Plain {
        number,
        revision,
        back_end: 9000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_counts_when_all_have_it() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(4)).unzip();
        let mut subscribers = Subscribers::of(receivers);
        for round in 0_u8..2 {
            let begun = Instant::now();
            let (last, others) = senders.split_last().unwrap();
            for sender in others {
                sender.send(vec![round]).await.unwrap();
            }
            let mut all = Box::pin(subscribers.all_have_another());
            assert!(futures_util::poll!(&mut all).is_pending());
            last.send(vec![round]).await.unwrap();
            assert!(all.await.unwrap() >= begun);
        }
    }
}
