//! The self-check: one request to each API on each gateway that should have it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use artifact::{Artifact, Digest, Instruction, Overview, Severity};
use kit::credentials::Credentials;
use kit::http_client::Trust;
use synapse::example::{Example, example};
use synapse::xml::Limits;

use super::cluster::Cluster;
use crate::print;

/// A request, and what its answer has to say.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) api_id: String,
    gateway: String,
    /// Name and version, as the gateway names the API.
    api: String,
    digest: Digest,
    base: String,
    /// `None`: no ordinary request reaches the API.
    example: Option<Example>,
    /// A finding says that reaching something is a fault or is not executed.
    faults_expected: bool,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The checks for what the overview wants on each gateway.
pub(super) async fn checks(cluster: &Cluster, overview: &Overview) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for gateway in &cluster.gateways {
        let artifacts = artifacts(cluster, &gateway.label).await?;
        for api in &overview.apis {
            if api.instruction == Instruction::Remove || !api.labels.contains(&gateway.label) {
                continue;
            }
            let Some(artifact) = artifacts.get(&api.api_id) else {
                continue;
            };
            let compilation = synapse::compile(artifact, &Limits::default());
            let plan = compilation.plan.as_ref();
            let route = plan
                .and_then(|plan| plan.apis.first())
                .map(|api| &api.route);
            let example = route.and_then(|route| example(route));
            let https = example.as_ref().is_some_and(|example| example.https_only);
            checks.push(Check {
                api_id: api.api_id.clone(),
                gateway: gateway.id.clone(),
                api: format!("{} {}", api.name, api.version),
                digest: api.digest,
                base: if https { &gateway.https } else { &gateway.http }.clone(),
                example,
                faults_expected: compilation.findings.iter().any(|finding| {
                    finding.severity == Severity::NotExecuted
                        && (finding.message.contains("reaching it is a fault")
                            || finding.message.contains("get 501"))
                }),
            });
        }
    }
    Ok(checks)
}

async fn artifacts(
    cluster: &Cluster,
    label: &artifact::Label,
) -> anyhow::Result<HashMap<String, Artifact>> {
    let artifacts = cluster.manager.artifacts(label).await?;
    // One that cannot be read is refused by the gateways, and shown as that.
    Ok(artifacts
        .into_iter()
        .filter_map(|text| Artifact::parse(&text).ok())
        .map(|artifact| (artifact.api_id.clone(), artifact))
        .collect())
}

impl Check {
    /// The request for a shell.
    pub(super) fn curl(&self, authority: &Path) -> Option<String> {
        let example = self.example.as_ref()?;
        let method = match example.method {
            "GET" => String::new(),
            "HEAD" => " -I".to_owned(),
            method => format!(" -X {method}"),
        };
        let trust = if example.https_only {
            format!(" --cacert {}", authority.display())
        } else {
            String::new()
        };
        let quote = |text: &str| match text.contains(['?', '&', '{', '*', '\'']) {
            true => format!("'{text}'"),
            false => text.to_owned(),
        };
        Some(format!(
            "curl -i{method}{trust} {}",
            quote(&format!("{}{}", self.base, example.target))
        ))
    }
}

/// Runs the checks, prints a line for each, and returns how many failed.
pub(super) async fn run(cluster: &Cluster, checks: &[Check]) -> anyhow::Result<usize> {
    let client = kit::http_client::client(
        &Trust::Only(cluster.authority.clone()),
        &Credentials::none(),
    )?;
    let (mut failed, mut explained) = (0, 0);
    for check in checks {
        let (verdict, told) = match &check.example {
            None => (
                Verdict::Explained,
                "no ordinary request reaches this API".to_owned(),
            ),
            Some(example) => request(&client, check, example).await,
        };
        failed += usize::from(verdict == Verdict::Failed);
        explained += usize::from(verdict == Verdict::Explained);
        let word = match verdict {
            Verdict::Fine => "ok  ",
            Verdict::Explained => "note",
            Verdict::Failed => "FAIL",
        };
        print::line(&format!("{word} {} {}: {told}", check.gateway, check.api));
    }
    let count = checks.len();
    print::line(&match (failed, explained) {
        (0, 0) => format!("self-check: {count} request(s), all answered by the revision published"),
        (0, n) => format!(
            "self-check: {count} request(s), all answered by the revision published, \
             {n} of them with an error that the artifact's findings explain"
        ),
        (n, _) => format!("self-check: {n} of {count} FAILED"),
    });
    Ok(failed)
}

async fn request(client: &reqwest::Client, check: &Check, example: &Example) -> (Verdict, String) {
    let url = format!("{}{}", check.base, example.target);
    let method = reqwest::Method::from_bytes(example.method.as_bytes()).unwrap_or_default();
    let request = client
        .request(method, &url)
        .header("Lockstep-Trace", "1")
        .timeout(REQUEST_TIMEOUT);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return (
                Verdict::Failed,
                format!("{url}: {}", kit::http_client::cause(&error)),
            );
        }
    };
    let header = |name: &str| {
        let value = answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let status = answer.status().as_u16();
    let told = format!("{} {url} -> {status}", example.method);
    let (api, revision) = (header("lockstep-api"), header("lockstep-revision"));
    if api.is_empty() {
        return (Verdict::Failed, format!("{told}: answered by no API"));
    }
    if api != check.api {
        return (Verdict::Failed, format!("{told}: answered by {api}"));
    }
    if revision != check.digest.to_string() {
        return (
            Verdict::Failed,
            format!("{told}: answered by another revision, {revision}"),
        );
    }
    if status < 500 {
        return (Verdict::Fine, told);
    }
    let body = answer.text().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let description = body["description"].as_str().unwrap_or_default();
    let told = format!("{told} {description}");
    let code = body["code"]
        .as_str()
        .and_then(|code| code.parse::<u32>().ok());
    // A fault has a code of Synapse's, or 0 where the engine itself has raised it; an answer that
    // the artifact makes on purpose has none of these.
    let is_fault = code.is_some_and(|code| code == 0 || (101_000..400_000).contains(&code));
    match (is_fault || status == 501, check.faults_expected) {
        (false, _) => (Verdict::Fine, told),
        (true, true) => (Verdict::Explained, told),
        (true, false) => (Verdict::Failed, told),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// An error, and a finding says why.
    Explained,
    Failed,
}
