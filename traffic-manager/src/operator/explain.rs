//! Why an API is, or is not, on a gateway. Pure.

use artifact::{
    Conclusion, DeploymentState, DeploymentStatus, Digest, Explanation, HeldRepair, Instruction,
    Label, Step, StepName,
};
use store::{ApiRow, DeploymentRow, GatewayRow, LabelRow, RevisionRow};

use crate::{repairs, truth};

/// What is known about one API and one gateway.
pub(super) struct Facts<'a> {
    pub(super) api: &'a ApiRow,
    /// The API's entries in all label logs.
    pub(super) labels: &'a [LabelRow],
    pub(super) gateway: &'a GatewayRow,
    /// What the gateway last said about the API.
    pub(super) said: Option<&'a DeploymentRow>,
    /// Those that are kept, to tell a digest's number.
    pub(super) revisions: &'a [RevisionRow],
    pub(super) online: bool,
}

/// A conclusion and the steps that lead to it.
pub(super) fn explain(facts: &Facts<'_>) -> Explanation {
    let rows: Vec<&LabelRow> = facts.labels.iter().collect();
    let desired = truth::desired(&rows, &facts.gateway.labels);
    let loaded = truth::has_loaded(facts.gateway, &facts.api.tenant_domain);
    let status = desired
        .map(|desired| truth::status(facts.gateway, facts.said, desired, loaded, facts.online));
    let pulled = facts.pulled(desired);
    let announced = facts.announced();
    let held = facts.held();
    let outcome = outcome(
        status.as_ref(),
        facts.online,
        held.as_ref()
            .map(|(_, held)| held.concerns(&facts.api.api_id) == Some(true)),
        pulled.ok == Some(true),
        announced.ok == Some(true),
    );
    Explanation {
        api_id: facts.api.api_id.clone(),
        name: facts.api.name.clone(),
        version: facts.api.version.clone(),
        tenant_domain: facts.api.tenant_domain.clone(),
        gateway_id: facts.gateway.gateway_id.clone(),
        outcome,
        conclusion: facts.sentence(outcome, desired, status.as_ref(), held.as_ref()),
        steps: vec![
            facts.published(),
            facts.registered(),
            facts.label(desired),
            announced,
            pulled,
            facts.deployed(desired, status.as_ref(), held.as_ref()),
            facts.heartbeat(),
        ],
        status,
    }
}

fn outcome(
    status: Option<&DeploymentStatus>,
    online: bool,
    // Whether it is sure that what is held concerns the API.
    held: Option<bool>,
    pulled: bool,
    announced: bool,
) -> Conclusion {
    let Some(status) = status else {
        return Conclusion::NotCarried;
    };
    // What it said may have been lost with the database that was there before.
    if held == Some(true) && online {
        return Conclusion::RepairHeld;
    }
    match status.state {
        DeploymentState::Deployed if online => Conclusion::Deployed,
        DeploymentState::Deployed => Conclusion::DeployedButOffline,
        DeploymentState::Undeployed => Conclusion::Removed,
        DeploymentState::Failed => Conclusion::Refused,
        DeploymentState::Overridden => Conclusion::Overridden,
        DeploymentState::NotLoaded => Conclusion::NotLoaded,
        DeploymentState::Pending if !online => Conclusion::Offline,
        DeploymentState::Pending if held.is_some() => Conclusion::RepairHeld,
        DeploymentState::Pending if pulled => Conclusion::NotReported,
        DeploymentState::Pending if announced => Conclusion::NotPulled,
        DeploymentState::Pending => Conclusion::NotAnnounced,
    }
}

impl Facts<'_> {
    fn sentence(
        &self,
        outcome: Conclusion,
        desired: Option<&LabelRow>,
        status: Option<&DeploymentStatus>,
        held: Option<&(Label, HeldRepair)>,
    ) -> String {
        let api = format!("{} {}", self.api.name, self.api.version);
        let gateway = &self.gateway.gateway_id;
        let revision = desired.map_or(self.api.revision, |row| row.revision);
        let removal = desired.is_some_and(|row| row.instruction == Instruction::Remove);
        let what = if removal {
            format!("the removal of {api} (revision {revision})")
        } else {
            format!("revision {revision} of {api}")
        };
        let serves = self.serves(status);
        let reason = status
            .and_then(|status| status.reason.as_deref())
            .unwrap_or("it gave no reason");
        match outcome {
            Conclusion::Deployed => format!("{gateway} answers requests with {what}"),
            Conclusion::DeployedButOffline => {
                format!("{gateway} is offline; when it was last heard of, it had {what}")
            }
            Conclusion::NotCarried => match (self.publishing().as_slice(), &self.api.instruction) {
                ([], Instruction::Remove) => format!(
                    "{api} was removed (revision {}), and no label of {gateway} ever had it",
                    self.api.revision
                ),
                ([], Instruction::Publish) => {
                    format!("{api} is published to no label of this data center")
                }
                (labels, _) => format!(
                    "{api} is published to {}, but {gateway} carries {}",
                    joined(labels),
                    self.carries()
                ),
            },
            Conclusion::Refused => format!("{gateway} refused {what}: {reason}; it {serves}"),
            Conclusion::Overridden => {
                format!("an operator has overridden {what} on {gateway}: {reason}")
            }
            Conclusion::Offline => {
                format!(
                    "{gateway} is offline and has not got {what}; it last said that it {serves}"
                )
            }
            Conclusion::RepairHeld => {
                let held = held.map(waits).unwrap_or_default();
                format!("{gateway} has not done {what}: {held}; it last said that it {serves}")
            }
            Conclusion::NotAnnounced => {
                format!("{what} is not announced yet, and {gateway} has not pulled it")
            }
            Conclusion::NotPulled => {
                format!("{what} is announced, but {gateway} has not pulled it yet; it {serves}")
            }
            Conclusion::NotReported => {
                format!("{gateway} has pulled {what} and has not said yet what it did with it")
            }
            Conclusion::NotLoaded => format!(
                "{gateway} has not loaded the tenant {0}; the next request to /t/{0}/ brings {what}",
                self.api.tenant_domain
            ),
            Conclusion::Removed => format!("{gateway} has done {what}: it is taken down"),
        }
    }

    fn published(&self) -> Step {
        let labels = self.publishing();
        let (api, revision) = (self.api, self.api.revision);
        let (ok, detail) = match api.instruction {
            Instruction::Publish if labels.is_empty() => {
                let detail = format!("revision {revision} is in no label log of this data center");
                (false, detail)
            }
            Instruction::Publish => {
                let labels = joined(&labels);
                (
                    true,
                    format!("revision {revision} is published to {labels}"),
                )
            }
            Instruction::Remove => (false, format!("revision {revision} removed it")),
        };
        step(StepName::Published, Some(ok), detail, Some(api.saved))
    }

    fn registered(&self) -> Step {
        let detail = format!("{} is registered", self.gateway.gateway_id);
        let time = Some(self.gateway.registered);
        step(StepName::Registered, Some(true), detail, time)
    }

    fn label(&self, desired: Option<&LabelRow>) -> Step {
        let carries = self.carries();
        let (ok, detail) = match desired {
            Some(row) if row.instruction == Instruction::Publish => {
                let of = &row.label;
                (
                    true,
                    format!("it carries {carries}; {of} publishes the API"),
                )
            }
            Some(row) => {
                let of = &row.label;
                let detail = format!("it carries {carries}; the API was removed from {of}");
                (false, detail)
            }
            None => {
                let detail = format!("it carries {carries}; none of it ever had the API");
                (false, detail)
            }
        };
        step(StepName::Label, Some(ok), detail, None)
    }

    fn announced(&self) -> Step {
        let newest = self.api.revision;
        let (ok, detail, time) = match self.api.announced {
            Some((digest, time)) if digest == self.api.digest => {
                (true, format!("revision {newest} was announced"), Some(time))
            }
            Some((digest, time)) => {
                let older = self.revision_of(digest);
                let detail = format!("{older} was announced, revision {newest} not yet");
                (false, detail, Some(time))
            }
            None => (
                false,
                format!("revision {newest} is not announced yet"),
                None,
            ),
        };
        step(StepName::Announced, Some(ok), detail, time)
    }

    fn pulled(&self, desired: Option<&LabelRow>) -> Step {
        let Some(desired) = desired else {
            let detail = "there is nothing for it to pull".to_owned();
            return step(StepName::Pulled, None, detail, None);
        };
        if let Some(said) = self.said.filter(|said| said.received == desired.digest) {
            let detail = format!("it received revision {}", desired.revision);
            return step(StepName::Pulled, Some(true), detail, Some(said.since));
        }
        // Any of its labels may have brought it.
        let applied = |row: &&LabelRow| {
            row.digest == desired.digest && self.applied(&row.label).is_some_and(|n| n >= row.seq)
        };
        let brought = self.labels.iter().find(applied);
        let (label, seq) = brought.map_or((&desired.label, desired.seq), |r| (&r.label, r.seq));
        let detail = match self.applied(label) {
            Some(n) => format!("it has applied the log of {label} up to {n}; the entry is {seq}"),
            None => format!("it has applied nothing of the log of {label}; the entry is {seq}"),
        };
        step(StepName::Pulled, Some(brought.is_some()), detail, None)
    }

    fn deployed(
        &self,
        desired: Option<&LabelRow>,
        status: Option<&DeploymentStatus>,
        held: Option<&(Label, HeldRepair)>,
    ) -> Step {
        let (Some(desired), Some(status)) = (desired, status) else {
            let detail = "there is nothing for it to deploy".to_owned();
            return step(StepName::Deployed, None, detail, None);
        };
        let revision = desired.revision;
        let reason = status.reason.as_deref().unwrap_or("it gave no reason");
        let serves = self.serves(Some(status));
        let pending = status.state == DeploymentState::Pending;
        let sure = |held: &HeldRepair| held.concerns(&self.api.api_id) == Some(true);
        if let Some(held) = held.filter(|(_, held)| pending || sure(held)) {
            let detail = format!("{}; it last said that it {serves}", waits(held));
            return step(StepName::Deployed, Some(false), detail, status.since);
        }
        let (ok, detail) = match status.state {
            DeploymentState::Deployed => {
                (Some(true), format!("revision {revision} answers requests"))
            }
            DeploymentState::Undeployed => (Some(true), "it was taken down".to_owned()),
            DeploymentState::Failed => {
                let detail = format!("revision {revision} was refused: {reason}; it {serves}");
                (Some(false), detail)
            }
            DeploymentState::Overridden => (Some(false), format!("overridden: {reason}")),
            DeploymentState::NotLoaded => {
                let tenant = &self.api.tenant_domain;
                let detail = format!("it has not loaded the tenant {tenant}, no request needs it");
                (None, detail)
            }
            DeploymentState::Pending if self.said.is_some() => {
                let detail = format!("it has said nothing about revision {revision}; it {serves}");
                (Some(false), detail)
            }
            DeploymentState::Pending => {
                let detail = "it has said nothing about the API".to_owned();
                (None, detail)
            }
        };
        step(StepName::Deployed, ok, detail, status.since)
    }

    /// The repair that is held of a label by which the API comes or came to the gateway, and that
    /// concerns the API, or may.
    fn held(&self) -> Option<(Label, HeldRepair)> {
        let has = |label: &Label| self.labels.iter().any(|row| row.label == *label);
        let mut held = repairs::held(self.gateway).into_iter();
        held.find(|(label, held)| has(label) && held.concerns(&self.api.api_id) != Some(false))
    }

    fn heartbeat(&self) -> Step {
        let detail = if self.online {
            "it sends heartbeats"
        } else {
            "it is offline since its last heartbeat"
        };
        let (ok, seen) = (Some(self.online), Some(self.gateway.last_seen));
        step(StepName::Online, ok, detail.to_owned(), seen)
    }

    /// What answers requests there, by its own word.
    fn serves(&self, status: Option<&DeploymentStatus>) -> String {
        match status.and_then(|status| status.deployed) {
            Some(digest) => format!("serves {}", self.revision_of(digest)),
            None => "serves no revision of the API".to_owned(),
        }
    }

    fn revision_of(&self, digest: Digest) -> String {
        let mut known = self.revisions.iter();
        match known.find(|row| row.digest == digest) {
            Some(row) => format!("revision {}", row.revision),
            None => format!("a revision that is not kept any more ({})", digest.short()),
        }
    }

    fn publishing(&self) -> Vec<&Label> {
        let rows = self.labels.iter();
        rows.filter(|row| row.instruction == Instruction::Publish)
            .map(|row| &row.label)
            .collect()
    }

    fn carries(&self) -> String {
        match self.gateway.labels.as_slice() {
            [] => "no label".to_owned(),
            labels => joined(&labels.iter().collect::<Vec<_>>()),
        }
    }

    fn applied(&self, label: &Label) -> Option<u64> {
        let carried = self.gateway.labels.contains(label);
        let applied = self.gateway.applied.get(label).copied();
        applied.filter(|_| carried)
    }
}

fn step(step: StepName, ok: Option<bool>, detail: String, time: Option<i64>) -> Step {
    Step {
        step,
        ok,
        detail,
        time,
    }
}

/// That a repair waits for an operator.
fn waits((label, held): &(Label, HeldRepair)) -> String {
    let HeldRepair { repair, reason, .. } = held;
    format!(
        "a repair of {label} ({}) is held until an operator accepts it: {reason}",
        repair.short()
    )
}

fn joined(labels: &[&Label]) -> String {
    let names: Vec<&str> = labels.iter().map(|label| label.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
