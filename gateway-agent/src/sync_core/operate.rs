//! Doing what an operator says on the gateway itself: taking an API down here, and putting it back.

use std::sync::Arc;

use artifact::{DeploymentAction, DeploymentNotice};

use super::apply::{Compiled, entry_notice};
use super::{Compiling, Core, Output};
use crate::commands::{Asked, Redeployed};
use crate::kept::Kept;

/// What the gateway has of an API.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The newest revision that it knows.
    pub newest: Arc<Kept>,
    /// The one that answers requests, if one does.
    pub live: Option<Arc<Kept>>,
}

impl Core {
    pub(super) fn undeploy(&mut self, command: u64, asked: &Asked) {
        let known = self.take_down(asked);
        self.out.push_back(Output::Undeployed { command, known });
    }

    /// Takes an API out of the route table; requests in flight go on with the plan that they have.
    fn take_down(&mut self, asked: &Asked) -> bool {
        let Some(newest) = self.find(asked) else {
            return false;
        };
        let api_id = &newest.entry.api_id;
        if !self.standings.undeploy(api_id) {
            // It is taken down already.
            return true;
        }
        if let Some(live) = self.set.get(api_id) {
            self.taken.insert(api_id.clone(), Arc::clone(live));
        }
        self.failed.remove(api_id);
        let installed = self.swap(std::slice::from_ref(api_id), Vec::new());
        tracing::info!(
            api = newest.entry.name,
            version = newest.entry.version,
            revision = newest.entry.revision,
            user = asked.by,
            "undeployed by an operator"
        );
        self.notify(DeploymentNotice {
            action: DeploymentAction::Undeploy,
            error_message: Some(format!("undeployed on the gateway by {}", asked.by)),
            overridden: true,
            ..entry_notice(&self.settings.gateway_id, &newest.entry)
        });
        self.tell(&installed);
        true
    }

    /// Has the newest revision compiled again, to swap it in.
    pub(super) fn redeploy(&mut self, command: u64, asked: &Asked) {
        let entry = match self.find(asked) {
            Some(newest) => newest.whole().map(|entry| (newest, entry)),
            None => {
                let outcome = Redeployed::Unknown;
                self.out.push_back(Output::Redeployed { command, outcome });
                return;
            }
        };
        let (newest, entry) = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let outcome = Redeployed::Refused(error.to_string());
                self.out.push_back(Output::Redeployed { command, outcome });
                return;
            }
        };
        let api_id = &newest.entry.api_id;
        tracing::info!(
            api = newest.entry.name,
            version = newest.entry.version,
            revision = newest.entry.revision,
            user = asked.by,
            "redeployed by an operator"
        );
        self.standings.redeploy(api_id);
        // So that it is reported again.
        self.failed.remove(api_id);
        self.compiling = Some(Compiling::Redeploy { command, newest });
        self.out.push_back(Output::Compile(vec![entry]));
    }

    pub(super) fn redeployed(&mut self, command: u64, newest: &Arc<Kept>, compiled: Vec<Compiled>) {
        self.install(compiled, Vec::new());
        self.bring_back(newest);
        let api_id = &newest.entry.api_id;
        let live = self.set.get(api_id);
        let outcome = match self.failed.get(api_id) {
            Some((_, reason)) => Redeployed::Refused(reason.clone()),
            None if live.is_some_and(|live| live.digest == newest.entry.digest) => Redeployed::Done,
            None => Redeployed::Refused("the compiler failed on it".to_owned()),
        };
        self.out.push_back(Output::Redeployed { command, outcome });
    }

    /// Where the newest revision is refused, lets the older one answer again that did before the API
    /// was taken down; a newest one that waits for its route goes on waiting.
    fn bring_back(&mut self, newest: &Arc<Kept>) {
        let api_id = &newest.entry.api_id;
        if self.set.get(api_id).is_some() {
            return;
        }
        let Some(older) = self.taken.get(api_id) else {
            return;
        };
        if !self.set.bring_back(older) {
            return;
        }
        self.taken.remove(api_id);
        self.out.push_back(Output::Swap);
        // Told again, with what answers now.
        if let Some((_, reason)) = self.failed.remove(api_id) {
            let notice = entry_notice(&self.settings.gateway_id, &newest.entry);
            self.refuse(&notice, &reason);
        }
    }

    /// What the gateway has of an API; `None` when no label of it publishes such an API, or none that
    /// the asker may see.
    #[must_use]
    pub fn show(&self, asked: &Asked) -> Option<Shown> {
        let newest = self.find(asked)?;
        let live = self.set.get(&newest.entry.api_id);
        Some(Shown {
            live: live.map(|live| Arc::clone(live.live())),
            newest,
        })
    }

    /// The newest revision of an API that a label of this gateway publishes and the asker may see.
    fn find(&self, asked: &Asked) -> Option<Arc<Kept>> {
        let fits = |kept: &&Arc<Kept>| {
            let entry = &kept.entry;
            entry.name == asked.name
                && entry.version == asked.version
                && entry.tenant_domain == asked.tenant
                && (asked.labels.is_empty()
                    || self
                        .standings
                        .publishing(&entry.api_id)
                        .any(|label| asked.labels.iter().any(|seen| seen == label.as_str())))
        };
        let found = self.newest.values().filter(fits);
        found.max_by_key(|kept| kept.entry.time).cloned()
    }
}

#[cfg(test)]
mod tests;
