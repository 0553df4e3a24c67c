//! Saver, traffic manager and gateways with addresses that outlive them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::changes::{COMING, Publisher, STAYING};
use super::load::{Away, Load, Target};
use crate::kit_of_tests::eventually;
use crate::nodes::{Gateway, Ground, Nodes, free_port};
use tokio::time::Instant;

/// The processes of one test.
pub struct Cluster {
    pub nodes: Nodes,
    pub publisher: Publisher,
    pub gateways: Vec<Member>,
}

/// A gateway, running or not.
pub struct Member {
    pub conf: PathBuf,
    pub http: String,
    pub running: Option<Gateway>,
}

impl Cluster {
    /// Starts everything, with something published everywhere; `more` are lines of deployment.toml.
    pub async fn start(ground: &Ground, gateways: usize, more: &str) -> Self {
        let nodes = Nodes::start(ground, more).await;
        let publisher = Publisher::of(&nodes);
        publisher.begin().await;
        let mut cluster = Self {
            nodes,
            publisher,
            gateways: Vec::new(),
        };
        for n in 0..gateways {
            let member = cluster.member(&format!("gw{n}"), |text| text);
            cluster.gateways.push(member);
            cluster.start_gateway(n).await;
        }
        cluster.converged().await;
        cluster
    }

    /// A gateway that does not run yet, with ports of its own; `change` edits its deployment.toml.
    pub fn member(&self, id: &str, change: impl FnOnce(String) -> String) -> Member {
        let conf = self.nodes.named(id);
        let mut text = std::fs::read_to_string(&conf).unwrap();
        let (http, https) = (free_port(), free_port());
        for (section, port) in [("http", http), ("https", https)] {
            let section = format!("[transport.passthru_{section}.listener.parameters]\nport = ");
            text = text.replace(&format!("{section}0"), &format!("{section}{port}"));
        }
        std::fs::write(&conf, change(text)).unwrap();
        Member {
            conf,
            http: format!("http://127.0.0.1:{http}"),
            running: None,
        }
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn start_gateway(&mut self, n: usize) {
        let gateway = self.nodes.gateway_with(&self.gateways[n].conf).await;
        self.nodes.ready(&gateway).await;
        self.gateways[n].running = Some(gateway);
    }

    pub async fn kill_gateway(&mut self, n: usize) {
        let gateway = self.gateways[n].running.take().unwrap();
        gateway.running.kill().await;
    }

    /// Kills a gateway, does something meanwhile, and starts it again; tells when it was away.
    pub async fn without_gateway(&mut self, n: usize, meanwhile: impl Future<Output = ()>) -> Away {
        let from = Instant::now();
        self.kill_gateway(n).await;
        meanwhile.await;
        self.start_gateway(n).await;
        Away {
            gateway: n,
            from,
            until: Instant::now(),
        }
    }

    pub fn running(&self) -> impl Iterator<Item = &Gateway> {
        let running = self.gateways.iter().map(|member| member.running.as_ref());
        running.flatten()
    }

    /// Begins to send requests to all APIs at all gateways.
    pub fn load(&self, per_second: u32) -> Load {
        Load::start(self.targets(), per_second)
    }

    /// All APIs at all gateways.
    pub fn targets(&self) -> Vec<Target> {
        let apis = (0..STAYING).map(|n| (format!("stays{n}"), false));
        let apis = apis.chain((0..COMING).map(|n| (format!("comes{n}"), true)));
        let apis: Vec<(String, bool)> = apis.collect();
        let mut targets = Vec::new();
        for (api, may_be_absent) in apis {
            for (gateway, member) in self.gateways.iter().enumerate() {
                targets.push(Target {
                    gateway,
                    base: member.http.clone(),
                    api: api.clone(),
                    may_be_absent,
                });
            }
        }
        targets
    }

    /// Waits until every gateway runs what was acknowledged, nothing else, and the traffic manager
    /// says so.
    pub async fn converged(&self) {
        let expected = self.publisher.expected();
        for gateway in self.running() {
            self.serves(gateway, &expected).await;
        }
        self.is_reported(&expected, self.running().count()).await;
        eventually("the outbox is empty", || async {
            (self.nodes.outbox().await? == 0).then_some(())
        })
        .await;
    }

    /// Waits until all that a gateway has applied is on its disk.
    pub async fn is_written(&self, gateway: &Gateway) {
        eventually("the snapshot is written", || async {
            let snapshot = &self.nodes.state(gateway).await["snapshot"];
            (snapshot["on"] == true && snapshot["waiting"] == false).then_some(())
        })
        .await;
    }

    /// Waits until a gateway answers so for each API, and has no others.
    pub async fn serves(&self, gateway: &Gateway, expected: &BTreeMap<String, Option<u64>>) {
        for (name, revision) in expected {
            match revision {
                Some(revision) => {
                    let revision = revision.to_string();
                    self.nodes.answers(gateway, name, 200, &revision).await;
                }
                None => self.nodes.answers(gateway, name, 404, "").await,
            }
        }
        let published = expected.values().flatten().count();
        eventually(&format!("{published} APIs are deployed"), || async {
            let state = self.nodes.state(gateway).await;
            let all = state["deployed"] == published && state["failed"] == 0;
            (all && state["missing"].as_array()?.is_empty()).then_some(())
        })
        .await;
    }

    /// Waits until the traffic manager tells of so many gateways that each runs what was acknowledged.
    pub async fn is_reported(&self, expected: &BTreeMap<String, Option<u64>>, gateways: usize) {
        let url = format!("{}/api/lockstep/v1/apis?limit=1000", self.nodes.manager_url);
        eventually("the traffic manager tells of convergence", || async {
            let answer = self.nodes.admin.get(&url).send().await.ok()?;
            let page: serde_json::Value = answer.json().await.ok()?;
            let apis = page["list"].as_array()?;
            let told = apis.iter().all(|api| {
                let name = api["name"].as_str().unwrap_or_default();
                let (instruction, state) = match expected.get(name) {
                    Some(Some(_)) => ("Publish", "deployed"),
                    Some(None) => ("Remove", "undeployed"),
                    None => return false,
                };
                let mut states = api["gateways"].as_array().into_iter().flatten();
                let count = states.clone().count();
                api["instruction"] == instruction
                    && states.all(|gateway| gateway["state"] == state)
                    && count == gateways
            });
            (told && apis.len() == expected.len()).then_some(())
        })
        .await;
    }
}
