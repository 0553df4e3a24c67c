//! The traffic managers: what they answer, and how they fail.

use artifact::{Label, LabelLogEntry, TenantList};

use super::super::{IndexEntry, Input, PullError, Range, Wanted};
use super::chance::Chance;
use super::store::Store;

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 500, or no connection.
    Fails,
    /// It ends early.
    Truncated,
    /// As if nothing had ever been published.
    Empty,
    /// From a database that is so many commits behind.
    Old(usize),
    /// Nothing comes; cut after a while.
    Silent,
}

impl Fault {
    pub fn pick(chance: &mut Chance) -> Option<Self> {
        Some(match chance.below(12) {
            0 | 1 => Self::Fails,
            2 => Self::Truncated,
            3 => Self::Empty,
            4 | 5 => Self::Old(1 + chance.index(6)),
            6 => Self::Silent,
            _ => return None,
        })
    }

    /// How many commits are seen.
    pub fn view(fault: Option<Self>, store: &Store) -> usize {
        match fault {
            Some(Self::Empty) => 0,
            Some(Self::Old(by)) => store.commits.len().saturating_sub(by),
            _ => store.commits.len(),
        }
    }
}

/// A question that is open.
#[derive(Clone, Debug)]
pub struct Stream {
    pub label: Label,
    pub what: Asked,
    pub fault: Option<Fault>,
    /// Whose artifacts it asks for.
    pub artifacts_of: TenantList,
    /// Nothing to send: it waits for the log to grow.
    pub idle: bool,
}

#[derive(Clone, Debug)]
pub enum Asked {
    Pull {
        wanted: Wanted,
        worked: bool,
    },
    Digest,
    Index,
    Fetch {
        ranges: Vec<Range>,
        tenant: Option<String>,
    },
}

/// What comes next on a stream.
#[derive(Debug)]
pub enum Next {
    /// Sent; goes on when it is applied.
    Say(Input),
    /// The last thing.
    End(Input),
    /// Waits for growth.
    Idle,
}

impl Stream {
    /// The next thing to send to the question `id`.
    pub fn step(&mut self, id: u64, store: &Store, chance: &mut Chance) -> Next {
        let label = self.label.clone();
        let failed = |text: &str| PullError::Failed(text.to_owned());
        let fault = self.fault;
        let view = Fault::view(fault, store);
        if matches!(fault, Some(Fault::Fails | Fault::Silent)) {
            let error = failed("no answer");
            return Next::End(match self.what {
                Asked::Pull { .. } => Input::PullEnded {
                    label,
                    id,
                    result: Err(error),
                },
                _ => Input::AskFailed { label, id, error },
            });
        }
        let seq = store.seq(&label, view);
        match &mut self.what {
            Asked::Digest => Next::End(Input::Digest {
                digest: store.digest(&label, view),
                label,
                id,
                seq,
            }),
            Asked::Index if fault == Some(Fault::Truncated) => Next::End(Input::AskFailed {
                label,
                id,
                error: PullError::EndedByServer,
            }),
            Asked::Index => {
                let log = store.log(&label, view);
                let entries = log.into_iter().map(|entry| IndexEntry {
                    seq: entry.seq,
                    api_id: entry.api_id,
                    instruction: entry.instruction,
                    digest: entry.digest,
                    revision: entry.revision,
                    published_to: entry.published_to,
                });
                Next::End(Input::Index {
                    entries: entries.collect(),
                    label,
                    id,
                    seq,
                })
            }
            Asked::Fetch { ranges, tenant } => {
                if fault == Some(Fault::Truncated) && chance.percent(50) {
                    let error = PullError::EndedByServer;
                    return Next::End(Input::AskFailed { label, id, error });
                }
                let range = ranges.remove(0);
                let log = store.log(&label, view);
                let after = log.into_iter().filter(|entry| entry.seq > range.after);
                let first = after.take(usize::try_from(range.limit).unwrap());
                let of = |entry: &LabelLogEntry| {
                    tenant.as_ref().is_none_or(|it| *it == entry.tenant_domain)
                };
                let mut entries: Vec<LabelLogEntry> = first.filter(of).collect();
                if tenant.is_none() {
                    strip(&self.artifacts_of, &mut entries);
                }
                let last = ranges.is_empty();
                let said = Input::Fetched {
                    label,
                    id,
                    entries,
                    last,
                };
                if last {
                    Next::End(said)
                } else {
                    Next::Say(said)
                }
            }
            Asked::Pull { wanted, worked } => {
                if let Some(least) = wanted.least.filter(|least| *least > seq) {
                    let behind = PullError::Behind {
                        found: seq,
                        wanted: least,
                    };
                    return Next::End(Input::PullEnded {
                        label,
                        id,
                        result: Err(behind),
                    });
                }
                if *worked && !wanted.follow {
                    let result = Ok(());
                    return Next::End(Input::PullEnded { label, id, result });
                }
                let log = store.log(&label, view);
                let after = log.into_iter().filter(|entry| entry.seq > wanted.after);
                let mut entries: Vec<LabelLogEntry> = after.collect();
                strip(&self.artifacts_of, &mut entries);
                if entries.is_empty() && *worked {
                    return Next::Idle;
                }
                if fault == Some(Fault::Truncated) && chance.percent(60) {
                    let result = Err(PullError::EndedByServer);
                    return Next::End(Input::PullEnded { label, id, result });
                }
                let most = 1 + chance.index(6);
                let whole = entries.len() <= most;
                entries.truncate(most);
                wanted.after = entries.last().map_or(wanted.after, |entry| entry.seq);
                *worked |= whole;
                Next::Say(Input::Pulled {
                    label,
                    id,
                    entries,
                    complete_to: whole.then_some(seq),
                })
            }
        }
    }
}

/// Of other tenants there are no artifacts.
fn strip(artifacts_of: &TenantList, entries: &mut [LabelLogEntry]) {
    for entry in entries {
        if !artifacts_of.has(&entry.tenant_domain) {
            entry.artifact = None;
        }
    }
}
