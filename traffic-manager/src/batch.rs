//! Notices that are written together: what counts of each, by what is stored of its gateway. Pure.

use std::collections::HashMap;

use artifact::NoticeKind;
use store::{DeploymentRow, GatewayRow, Said};

use crate::instances::{self, Standing};

/// What a gateway said.
#[derive(Debug)]
pub(crate) enum Notice {
    Gateway(NoticeKind, GatewayRow),
    /// With the process that says so.
    Deployments(Option<String>, Vec<DeploymentRow>),
}

impl Notice {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Gateway(..) => 1,
            Self::Deployments(_, rows) => rows.len(),
        }
    }

    /// The gateways that what is stored has to be known of.
    pub(crate) fn ids(&self) -> Vec<&str> {
        match self {
            Self::Gateway(_, row) if instances::instance(&row.properties).is_some() => {
                vec![row.gateway_id.as_str()]
            }
            Self::Deployments(Some(_), rows) => {
                rows.iter().map(|row| row.gateway_id.as_str()).collect()
            }
            Self::Gateway(..) | Self::Deployments(None, _) => Vec::new(),
        }
    }
}

/// What is to be written of notices, one after the other.
pub(crate) struct Batch {
    pub(crate) said: Said,
    /// What will be stored of the gateways.
    known: HashMap<String, GatewayRow>,
    now: i64,
    expiry: i64,
}

impl Batch {
    pub(crate) fn new(known: Vec<GatewayRow>, now: i64, expiry: i64) -> Self {
        let by_id = |row: GatewayRow| (row.gateway_id.clone(), row);
        Self {
            said: Said::default(),
            known: known.into_iter().map(by_id).collect(),
            now,
            expiry,
        }
    }

    fn standing(&self, gateway_id: &str, instance: Option<&str>) -> Standing {
        let known = self.known.get(gateway_id);
        instances::standing(known, instance, self.now, self.expiry)
    }

    /// Adds a notice to what was said before it: one that starts or ends has not said anything before.
    pub(crate) fn add(&mut self, notice: Notice) -> Standing {
        let (kind, row) = match notice {
            Notice::Deployments(instance, rows) => return self.deployments(instance, rows),
            Notice::Gateway(kind, row) => (kind, row),
        };
        let instance = instances::instance(&row.properties);
        let standing = self.standing(&row.gateway_id, instance);
        match (kind, standing) {
            (NoticeKind::Register, _) => {
                self.forget(&row.gateway_id);
                self.said.started.push(row.clone());
                self.known.insert(row.gateway_id.clone(), row);
                return Standing::Speaks;
            }
            (NoticeKind::Deregister, Standing::Speaks) => {
                self.forget(&row.gateway_id);
                self.said.ended.push(row.gateway_id);
            }
            (NoticeKind::Deregister, Standing::Conflict) => {
                if let Some(known) = self.known.get_mut(&row.gateway_id) {
                    instances::without_note(&mut known.properties);
                    self.said.seen.push(known.clone());
                }
            }
            (NoticeKind::Heartbeat, Standing::Conflict) => {
                if let Some(known) = self.known.get_mut(&row.gateway_id) {
                    instances::note(known, &row);
                    self.said.seen.push(known.clone());
                }
            }
            // Who has fallen silent is told of until this one has registered.
            (_, Standing::Unregistered) if self.known.contains_key(&row.gateway_id) => {}
            (NoticeKind::Deregister, Standing::Unregistered) => {}
            (NoticeKind::Heartbeat, Standing::Speaks | Standing::Unregistered) => {
                let mut row = row;
                if let Some(known) = self.known.get(&row.gateway_id) {
                    instances::keep_note(&mut row, known);
                }
                self.said.seen.push(row.clone());
                self.known.insert(row.gateway_id.clone(), row);
            }
        }
        standing
    }

    fn deployments(&mut self, instance: Option<String>, rows: Vec<DeploymentRow>) -> Standing {
        let mut worst = Standing::Speaks;
        for row in rows {
            match self.standing(&row.gateway_id, instance.as_deref()) {
                Standing::Speaks => self.said.deployments.push(row),
                standing => worst = standing,
            }
        }
        worst
    }

    fn forget(&mut self, gateway_id: &str) {
        let said = &mut self.said;
        said.deployments.retain(|row| row.gateway_id != gateway_id);
        said.seen.retain(|row| row.gateway_id != gateway_id);
        said.started.retain(|row| row.gateway_id != gateway_id);
        self.known.remove(gateway_id);
    }
}

#[cfg(test)]
mod tests {
    use artifact::{DeploymentNotice, Digest};

    use super::*;
    use crate::registry::{deployment_row, gateway_row};

    fn gateway(id: &str, kind: NoticeKind) -> Notice {
        let notice = serde_json::json!({
            "payloadType": kind, "gatewayId": id, "environmentLabels": ["L1"], "timeStamp": 1,
        });
        Notice::Gateway(
            kind,
            gateway_row(serde_json::from_value(notice).unwrap(), 5),
        )
    }

    fn deployments(id: &str) -> Notice {
        let notice = serde_json::json!({
            "gatewayId": id, "apiId": "u", "tenantDomain": "carbon.super",
            "deploymentStatus": "SUCCESS", "action": "DEPLOY", "timeStamp": 1, "revision": 1,
            "revisionId": Digest::of(b"x"),
        });
        let notice: DeploymentNotice = serde_json::from_value(notice).unwrap();
        Notice::Deployments(None, vec![deployment_row(&notice).unwrap()])
    }

    #[test]
    fn what_a_gateway_said_before_it_started_or_ended_counts_no_more() {
        use NoticeKind::{Deregister, Heartbeat, Register};
        let mut batch = Batch::new(Vec::new(), 5, 50);
        for notice in [
            gateway("a", Register),
            deployments("a"),
            gateway("b", Register),
            deployments("b"),
            gateway("a", Heartbeat),
            gateway("a", Deregister),
            gateway("b", Register),
            gateway("c", Heartbeat),
        ] {
            assert_eq!(batch.add(notice), Standing::Speaks);
        }
        let said = batch.said;
        let ids = |rows: &[GatewayRow]| -> Vec<String> {
            rows.iter().map(|row| row.gateway_id.clone()).collect()
        };
        assert_eq!(said.ended, ["a"]);
        assert_eq!(ids(&said.started), ["b"]);
        assert_eq!(ids(&said.seen), ["c"]);
        assert!(said.deployments.is_empty());
    }

    /// As one process of a gateway.
    fn by(instance: &str, notice: Notice) -> Notice {
        match notice {
            Notice::Gateway(kind, mut row) => {
                row.properties.insert("instance".into(), instance.into());
                row.urls = vec![instance.into()];
                Notice::Gateway(kind, row)
            }
            Notice::Deployments(_, rows) => Notice::Deployments(Some(instance.into()), rows),
        }
    }

    #[test]
    fn of_two_processes_with_one_id_the_one_that_registered_last_is_believed() {
        use NoticeKind::{Deregister, Heartbeat, Register};
        use Standing::{Conflict, Speaks, Unregistered};
        let mut batch = Batch::new(Vec::new(), 5, 50);
        for (instance, notice, standing) in [
            ("a", gateway("g", Register), Speaks),
            ("b", gateway("g", Register), Speaks),
            ("a", gateway("g", Heartbeat), Conflict),
            ("a", deployments("g"), Conflict),
            ("b", deployments("g"), Speaks),
            ("b", gateway("g", Heartbeat), Speaks),
        ] {
            assert_eq!(batch.add(by(instance, notice)), standing, "{instance}");
        }
        assert_eq!(batch.said.deployments.len(), 1);
        let written = batch.said.seen.last().unwrap();
        assert_eq!(written.urls, ["b"]);
        assert_eq!(instances::other(written, 5, 50).unwrap().urls, ["a"]);
        // The other one ends: nothing is forgotten but the note.
        let ends = by("a", gateway("g", Deregister));
        assert_eq!(batch.add(ends), Conflict);
        assert!(batch.said.ended.is_empty());
        let written = batch.said.seen.last().unwrap();
        assert_eq!(instances::other(written, 5, 50), None);
        // The one that is believed ends: the other one has to say everything again.
        batch.add(by("b", gateway("g", Deregister)));
        assert_eq!(batch.said.ended, ["g"]);
        let beats = by("a", gateway("g", Heartbeat));
        assert_eq!(batch.add(beats), Unregistered);
        assert_eq!(batch.add(by("a", gateway("g", Register))), Speaks);
    }
}
