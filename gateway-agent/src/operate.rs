//! Doing what an operator says on the gateway itself: taking an API down here, and putting it back.

use std::sync::Arc;

use artifact::{DeploymentAction, DeploymentNotice};

use crate::commands::{Asked, Command, Redeployed, Shown};
use crate::deploy::{Deployer, compile_all, entry_notice};
use crate::kept::Kept;

impl Deployer {
    pub(crate) async fn operate(&mut self, command: Command) {
        // Who has gone away in the meantime does not need the answer.
        match command {
            Command::Undeploy(asked, answer) => {
                let _ = answer.send(self.undeploy(&asked));
            }
            Command::Redeploy(asked, answer) => {
                let _ = answer.send(self.redeploy(&asked).await);
            }
            Command::Show(asked, answer) => {
                let _ = answer.send(self.show(&asked));
            }
        }
        self.tell_progress();
    }

    /// Takes an API out of the route table; requests in flight go on with the plan that they have.
    fn undeploy(&mut self, asked: &Asked) -> bool {
        let Some(newest) = self.find(asked) else {
            return false;
        };
        let api_id = &newest.entry.api_id;
        if !self.core.undeploy(api_id) {
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
            ..entry_notice(&self.gateway_id, &newest.entry)
        });
        self.tell(&installed);
        true
    }

    /// Compiles the newest revision again and swaps it in.
    async fn redeploy(&mut self, asked: &Asked) -> Redeployed {
        let Some(newest) = self.find(asked) else {
            return Redeployed::Unknown;
        };
        let api_id = &newest.entry.api_id;
        let entry = match newest.whole() {
            Ok(entry) => entry,
            Err(error) => return Redeployed::Refused(error.to_string()),
        };
        tracing::info!(
            api = newest.entry.name,
            version = newest.entry.version,
            revision = newest.entry.revision,
            user = asked.by,
            "redeployed by an operator"
        );
        self.core.redeploy(api_id);
        // So that it is reported again.
        self.failed.remove(api_id);
        let compiled = compile_all(vec![entry]).await;
        self.install(compiled, Vec::new());
        self.bring_back(&newest);
        let live = self.set.get(api_id);
        match self.failed.get(api_id) {
            Some((_, reason)) => Redeployed::Refused(reason.clone()),
            None if live.is_some_and(|live| live.digest == newest.entry.digest) => Redeployed::Done,
            None => Redeployed::Refused("the compiler failed on it".to_owned()),
        }
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
        self.routes.store(Arc::new(self.set.route_table()));
        // Told again, with what answers now.
        if let Some((_, reason)) = self.failed.remove(api_id) {
            let notice = entry_notice(&self.gateway_id, &newest.entry);
            self.refuse(&notice, &reason);
        }
    }

    fn show(&self, asked: &Asked) -> Option<Shown> {
        let newest = self.find(asked)?;
        let live = self.set.get(&newest.entry.api_id);
        Some(Shown {
            live: live.map(|live| Arc::clone(&live.kept)),
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
                        .core
                        .publishing(&entry.api_id)
                        .any(|label| asked.labels.iter().any(|seen| seen == label.as_str())))
        };
        let found = self.newest.values().filter(fits);
        found.max_by_key(|kept| kept.entry.time).cloned()
    }
}

#[cfg(test)]
mod tests;
