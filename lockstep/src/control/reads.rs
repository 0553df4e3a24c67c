//! What the commands read of the traffic manager, and forget and accept there.

use std::collections::HashSet;
use std::time::Duration;

use artifact::{
    ApiOverview, Explanation, GatewayDetail, GatewayOverview, Label, Overview, Page,
    RepairOverview, Rollout,
};
use kit::process::Usage;

use super::{Control, READ_TIMEOUT};

/// Ids of one request for APIs.
const MAX_IDS: usize = 50;
/// Items of one part of a list.
const PART: u32 = 500;

impl Control {
    pub async fn forget(&self, gateway_id: &str) -> anyhow::Result<serde_json::Value> {
        let url = self.resource(&["gateways", gateway_id])?;
        let request = self.client.delete(url).timeout(READ_TIMEOUT);
        self.answer(request, &self.server).await
    }

    /// The repairs that gateways hold: all, of one gateway, of one label.
    pub async fn repairs(
        &self,
        gateway: Option<&str>,
        label: Option<&Label>,
    ) -> anyhow::Result<Vec<RepairOverview>> {
        let mut query = Vec::new();
        query.extend(gateway.map(|gateway| ("gateway", gateway)));
        query.extend(label.map(|label| ("label", label.as_str())));
        self.list("repairs", &query).await
    }

    /// Accepts a repair as it is held.
    pub async fn accept_repair(&self, held: &RepairOverview) -> anyhow::Result<RepairOverview> {
        let repair = held.held.repair.to_string();
        let url = self.resource(&["repairs", &held.gateway_id, &repair, "accept"])?;
        let request = self.client.post(url).timeout(READ_TIMEOUT);
        self.answer(request, &self.server).await
    }

    /// All gateways.
    pub async fn gateways(&self) -> anyhow::Result<Vec<GatewayDetail>> {
        self.list("gateways", &[]).await
    }

    /// The overview of all APIs, or of those with these ids. Read part by part; what came or went
    /// meanwhile is left out ([`consistent`]).
    pub async fn overview(&self, ids: Option<&[String]>) -> anyhow::Result<Overview> {
        let gateways = self.gateways().await?;
        let fits = |ids: &&[String]| ids.iter().all(|id| !id.contains(',') && id.len() < 64);
        let apis = match ids.filter(fits) {
            Some(ids) => {
                let mut apis = Vec::new();
                for ids in ids.chunks(MAX_IDS) {
                    let ids = ids.join(",");
                    apis.extend(self.list("apis", &[("apiId", ids.as_str())]).await?);
                }
                apis
            }
            // Ids that do not fit a URL: the caller picks its own out of all.
            None => self.list("apis", &[]).await?,
        };
        let gateways = gateways.into_iter().map(|gateway| gateway.overview);
        Ok(consistent(gateways.collect(), apis))
    }

    /// Why an API is, or is not, on a gateway.
    pub async fn explain(&self, api: &str, gateway: &str) -> anyhow::Result<Explanation> {
        let url = self.resource(&["explain"])?;
        let request = self.client.get(url).timeout(READ_TIMEOUT);
        let query = [("api", api), ("gateway", gateway)];
        self.answer(request.query(&query), &self.server).await
    }

    /// Waits for so many seconds until a quorum of the gateways has a revision deployed.
    pub async fn rollout(
        &self,
        api: &str,
        revision: u64,
        quorum: &str,
        seconds: u64,
    ) -> anyhow::Result<Rollout> {
        let url = self.resource(&["rollouts", api, &revision.to_string(), "wait"])?;
        let limit = READ_TIMEOUT + Duration::from_secs(seconds);
        let request = self.client.get(url).timeout(limit);
        let query = [("quorum", quorum), ("timeout", &seconds.to_string())];
        self.answer(request.query(&query), &self.server).await
    }

    /// All parts of a list.
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<Vec<T>> {
        let url = self.resource(&[name])?;
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let request = self.client.get(url.clone()).timeout(READ_TIMEOUT);
            let request = request.query(query).query(&[("limit", PART)]);
            let after_it = after.as_ref().map(|after| [("after", after)]);
            let request = match &after_it {
                Some(after) => request.query(after),
                None => request,
            };
            let page: Page<T> = self.answer(request, &self.server).await?;
            all.extend(page.list);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// The address of a resource of the traffic manager; its parts may hold any character.
    fn resource(&self, parts: &[&str]) -> anyhow::Result<reqwest::Url> {
        let base = format!("{}/api/lockstep/v1", self.server);
        let mut url = reqwest::Url::parse(&base)?;
        let mut path = url
            .path_segments_mut()
            .map_err(|()| Usage(format!("{:?} is not the URL of a server", self.server)))?;
        path.extend(parts);
        drop(path);
        Ok(url)
    }
}

/// Puts together what was read one after another: gateways, then APIs. A gateway without a status
/// of an API whose label it carries has gone meanwhile; a status of a gateway that is not listed is
/// of one that has come. Left in, either would make an API look converged that is not.
fn consistent(mut gateways: Vec<GatewayOverview>, mut apis: Vec<ApiOverview>) -> Overview {
    for api in &apis {
        let said: HashSet<&str> = api.gateways.iter().map(|s| s.gateway_id.as_str()).collect();
        gateways.retain(|gateway| {
            let carries = api
                .labels
                .iter()
                .any(|label| gateway.labels.contains(label));
            !carries || said.contains(gateway.gateway_id.as_str())
        });
    }
    let known: HashSet<&str> = gateways.iter().map(|g| g.gateway_id.as_str()).collect();
    for api in &mut apis {
        api.gateways
            .retain(|status| known.contains(status.gateway_id.as_str()));
    }
    Overview { gateways, apis }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: &str, label: &str) -> GatewayOverview {
        let gateway = serde_json::json!({"gatewayId": id, "labels": [label], "urls": [],
            "status": "online", "registered": 0, "lastSeen": 0});
        serde_json::from_value(gateway).unwrap()
    }

    fn api(label: &str, gateways: &[&str]) -> ApiOverview {
        let digest = "0".repeat(64);
        let status = |id| {
            serde_json::json!({"gatewayId": id, "state": "deployed", "desired": digest,
                "received": null, "deployed": null, "reason": null, "since": null, "online": true})
        };
        let gateways: Vec<serde_json::Value> = gateways.iter().map(status).collect();
        let api = serde_json::json!({"apiId": "u", "name": "A", "version": "1", "context": "/a",
            "tenantDomain": "carbon.super", "instruction": "Publish", "revision": 1,
            "digest": digest, "labels": [label], "saved": 0, "gateways": gateways});
        serde_json::from_value(api).unwrap()
    }

    #[test]
    fn what_comes_or_goes_while_it_is_read_does_not_make_an_api_converged() {
        let gateways = || vec![gateway("a", "L1"), gateway("b", "L2")];
        let ids = |overview: &Overview| -> Vec<String> {
            let gateways = overview.gateways.iter();
            gateways.map(|g| g.gateway_id.clone()).collect()
        };
        let same = consistent(gateways(), vec![api("L1", &["a"])]);
        assert_eq!(ids(&same), ["a", "b"]);
        assert_eq!(same.apis[0].gateways.len(), 1);
        let gone = consistent(gateways(), vec![api("L1", &[])]);
        assert_eq!(ids(&gone), ["b"], "it ended: nobody carries the label");
        let come = consistent(gateways(), vec![api("L3", &["c"])]);
        assert!(come.apis[0].gateways.is_empty());
        assert_eq!(ids(&come), ["a", "b"], "nobody carries the label yet");
    }
}
