//! What events say about the labels of this gateway.
//!
//! Events are hints: any number of them between two pulls is one, and a pull after each
//! (re)connect makes up for those that were missed.

use std::collections::BTreeMap;
use std::time::Duration;

use artifact::Label;
use events::{Event, Heard, Subscription};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What is known of one label's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hint {
    /// Events can be heard.
    subscribed: bool,
    /// Rises with each event and each subscription.
    count: u64,
    /// The newest position announced in this gateway's data center since it was subscribed.
    seq: u64,
}

/// One label's hints.
#[derive(Clone, Debug)]
pub struct Hints {
    label: watch::Receiver<Hint>,
    /// `event_waiting_time`: wait between an event and the pull.
    waiting_time: Duration,
}

impl Hints {
    /// The announced position that a pull started now has to reach; `None` while events cannot be
    /// heard.
    pub(crate) fn announced(&mut self) -> Option<u64> {
        let hint = *self.label.borrow_and_update();
        hint.subscribed.then_some(hint.seq)
    }

    /// Returns when events can be heard.
    pub(crate) async fn subscribed(&mut self) {
        if self.label.wait_for(|hint| hint.subscribed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns `event_waiting_time` after the next event, at once when events cannot be heard any
    /// more.
    pub(crate) async fn hinted(&mut self) {
        if self.label.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if self.label.borrow().subscribed {
            tokio::time::sleep(self.waiting_time).await;
        }
    }
}

/// Takes events and tells the followers of their labels.
#[derive(Debug)]
pub struct Listener {
    labels: BTreeMap<Label, watch::Sender<Hint>>,
    dc: String,
}

impl Listener {
    /// For a gateway with these labels in a data center; positions of another one's events say
    /// nothing about the logs here.
    #[must_use]
    pub fn new(labels: &[Label], dc: &str) -> Self {
        let labels = labels.iter().cloned();
        Self {
            labels: labels
                .map(|label| (label, watch::Sender::default()))
                .collect(),
            dc: dc.to_owned(),
        }
    }

    /// The hints of one of the labels.
    #[must_use]
    pub fn hints(&self, label: &Label, waiting_time: Duration) -> Option<Hints> {
        let label = self.labels.get(label)?.subscribe();
        Some(Hints {
            label,
            waiting_time,
        })
    }

    /// Listens until shutdown.
    pub async fn run(self, mut events: Subscription, shutdown: CancellationToken) {
        loop {
            let heard = tokio::select! {
                () = shutdown.cancelled() => return,
                heard = events.next() => heard,
            };
            match heard {
                Some(heard) => self.tell(&heard),
                // Nothing will be heard any more: the watch stream has to do.
                None => {
                    self.tell(&Heard::Lost);
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    fn tell(&self, heard: &Heard) {
        match heard {
            Heard::Event(event) => self.tell_labels_of(event),
            Heard::Subscribed | Heard::Lost => {
                let subscribed = *heard == Heard::Subscribed;
                for label in self.labels.values() {
                    label.send_modify(|hint| {
                        *hint = Hint {
                            subscribed,
                            count: hint.count + 1,
                            seq: 0,
                        }
                    });
                }
            }
        }
    }

    fn tell_labels_of(&self, event: &Event) {
        for label in &event.gateway_labels {
            let Some(sender) = self.labels.get(label) else {
                continue;
            };
            let position = event.positions.iter().find(|at| at.label == *label);
            let seq = position
                .filter(|_| event.dc == self.dc)
                .map_or(0, |at| at.seq);
            sender.send_modify(|hint| {
                hint.count += 1;
                hint.seq = hint.seq.max(seq);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use artifact::{Announcement, Digest, Instruction, SavedTo};

    use super::*;

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn event(dc: &str, positions: &[(&str, u64)]) -> Heard {
        let labels = positions.iter().map(|(name, seq)| SavedTo {
            label: label(name),
            seq: *seq,
        });
        let announcement = Announcement {
            dc: dc.into(),
            api_id: "a".into(),
            name: "a".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            instruction: Instruction::Publish,
            digest: Digest::of(b""),
            time: 1,
            labels: labels.collect(),
        };
        Heard::Event(std::sync::Arc::new(Event::of(&announcement)))
    }

    #[tokio::test]
    async fn events_concern_the_labels_that_they_name() {
        let listener = Listener::new(&[label("L1"), label("L2")], "DC1");
        let hints = |name: &str| listener.hints(&label(name), Duration::ZERO).unwrap();
        let (mut one, mut two) = (hints("L1"), hints("L2"));
        assert_eq!(one.announced(), None);
        listener.tell(&Heard::Subscribed);
        one.subscribed().await;
        assert_eq!((one.announced(), two.announced()), (Some(0), Some(0)));
        listener.tell(&event("DC1", &[("L1", 7), ("elsewhere", 9)]));
        one.hinted().await;
        assert_eq!((one.announced(), two.announced()), (Some(7), Some(0)));
        // Another data center counts for itself: a reason to pull, no position to reach.
        listener.tell(&event("DC2", &[("L2", 99)]));
        two.hinted().await;
        assert_eq!(two.announced(), Some(0));
        // Late or doubled: no step back.
        listener.tell(&event("DC1", &[("L1", 3)]));
        one.hinted().await;
        assert_eq!(one.announced(), Some(7));
        listener.tell(&Heard::Lost);
        one.hinted().await;
        assert_eq!(one.announced(), None);
    }
}
