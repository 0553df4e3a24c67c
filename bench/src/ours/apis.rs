//! Plain HTTP APIs, written as API Manager 4.7 renders one with a production and a sandbox endpoint:
//! the same elements in the same order, the handlers and the endpoints beside it.

use artifact::{Artifact, Content, Label, PublishItem};
use store::Save;

const VERSION: &str = "1.0.0";

/// The attribute that says which paths a resource takes, and its methods.
type Resource = (&'static str, &'static str);

/// What a shop of pizzas has.
const RESOURCES: [Resource; 5] = [
    ("url-mapping=\"/menu\"", "GET"),
    ("url-mapping=\"/order\"", "POST"),
    ("uri-template=\"/order/{orderId}\"", "GET PUT DELETE"),
    ("uri-template=\"/order/{orderId}/delivery\"", "GET"),
    ("url-mapping=\"/customers\"", "GET POST"),
];

/// A plain API: its name is `plain-N`, its context `/plain-N/1.0.0`.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    pub number: usize,
    /// Revisions differ in the path at the back end.
    pub revision: usize,
    /// The port of the back end, which gets `/plain-N/revision-R/…`.
    pub back_end: u16,
}

impl Plain {
    /// The part of a path that takes a request to it, without a slash at its end.
    #[must_use]
    pub fn prefix(self) -> String {
        format!("/plain-{}/{VERSION}", self.number)
    }

    /// What its prefix becomes at the back end.
    #[must_use]
    pub fn target(self) -> String {
        format!("/plain-{}/revision-{}", self.number, self.revision)
    }

    /// The artifact: one resource that takes everything.
    #[must_use]
    pub fn artifact(self) -> Artifact {
        self.with(&[("url-mapping=\"/*\"", "GET POST PUT DELETE PATCH")])
    }

    /// The artifact with 3 to 5 resources, one of them `/menu`: between 6 and 10 KiB.
    #[must_use]
    pub fn with_resources(self) -> Artifact {
        let count = 3 + self.number % (RESOURCES.len() - 2);
        self.with(RESOURCES.get(..count).unwrap_or_default())
    }

    fn with(self, resources: &[Resource]) -> Artifact {
        let name = format!("plain-{}", self.number);
        let api_id = artifact::derive_api_id(artifact::SUPER_TENANT, &name, VERSION);
        let endpoint = |kind: &str| format!("{name}--v{VERSION}_API{kind}Endpoint");
        let production = endpoint("production");
        let sandbox = endpoint("sandbox");
        let content = |key: &String| Content {
            name: key.clone(),
            content: self.endpoint(key),
        };
        Artifact {
            api_definition: Some(self.api(&name, &api_id, [&production, &sandbox], resources)),
            endpoint_entries_to_be_add: vec![content(&production), content(&sandbox)],
            name,
            version: VERSION.into(),
            provider: Some("admin".into()),
            tenant_domain: artifact::SUPER_TENANT.into(),
            api_id,
            r#override: true,
            ..Artifact::default()
        }
    }

    fn api(self, name: &str, api_id: &str, endpoints: [&str; 2], resources: &[Resource]) -> String {
        let number = self.number;
        let [production, sandbox] = endpoints.map(|key| {
            format!(
                "<send><endpoint xmlns=\"http://ws.apache.org/ns/synapse\" key=\"{key}\"/></send>"
            )
        });
        let resources: String = resources
            .iter()
            .map(|(mapping, methods)| {
                format!(
                    r#"<resource xmlns="http://ws.apache.org/ns/synapse" {mapping} methods="{methods}" faultSequence="fault">
<inSequence>
<property name="api.ut.backendRequestTime" expression="get-property('SYSTEM_TIME')"/>
<filter source="$ctx:AM_KEY_TYPE" regex="PRODUCTION">
<then>{production}</then>
<else>{sandbox}</else>
</filter>
</inSequence>
<outSequence>
<filter source="$ctx:AM_KEY_TYPE" regex="PRODUCTION">
<then></then>
<else></else>
</filter>
<send/>
</outSequence>
</resource>
"#
                )
            })
            .collect();
        let handlers = "org.wso2.carbon.apimgt.gateway.handlers";
        format!(
            r#"<api xmlns="http://ws.apache.org/ns/synapse" name="admin--{name}" context="/plain-{number}/{{version}}" version="{VERSION}" version-type="context">
{resources}<handlers xmlns="http://ws.apache.org/ns/synapse">
<handler class="{handlers}.common.APIMgtLatencyStatsHandler"><property name="apiUUID" value="{api_id}"/></handler>
<handler class="{handlers}.security.CORSRequestHandler"><property name="apiImplementationType" value="ENDPOINT"/><property name="AuthorizationHeader" value="Authorization"/><property name="ApiKeyHeader" value="ApiKey"/></handler>
<handler class="{handlers}.common.APIStatusHandler"></handler>
<handler class="{handlers}.security.APIAuthenticationHandler"><property name="AuthorizationHeader" value="Authorization"/><property name="APISecurity" value="oauth_basic_auth_api_key_mandatory,oauth2"/><property name="RemoveOAuthHeadersFromOutMessage" value="true"/><property name="apiUUID" value="{api_id}"/><property name="keyManagers" value="all"/></handler>
<handler class="{handlers}.throttling.ThrottleHandler"></handler>
<handler class="{handlers}.analytics.APIMgtGoogleAnalyticsTrackingHandler"><property name="configKey" value="ga-config-key"/></handler>
<handler class="{handlers}.ext.APIManagerExtensionHandler"></handler>
</handlers>
</api>"#
        )
    }

    fn endpoint(self, key: &str) -> String {
        let address = format!("http://127.0.0.1:{}{}", self.back_end, self.target());
        format!(
            r#"<endpoint xmlns="http://ws.apache.org/ns/synapse" name="{key}">
<http uri-template="{address}">
<timeout><responseAction>fault</responseAction></timeout>
<suspendOnFailure><progressionFactor>1.0</progressionFactor></suspendOnFailure>
<markForSuspension><retriesBeforeSuspension>0</retriesBeforeSuspension><retryDelay>0</retryDelay></markForSuspension>
</http>
<property name="ENDPOINT_ADDRESS" value="{address}"/>
</endpoint>"#
        )
    }
}

/// What a publish of these APIs to these labels saves, checked as the saver does.
///
/// # Errors
/// When an artifact is refused.
pub fn saves(apis: &[Plain], labels: &[&str]) -> anyhow::Result<Vec<Save>> {
    saves_of(apis.iter().map(|api| api.artifact()), labels)
}

/// As [`saves`], of these artifacts.
///
/// # Errors
/// When an artifact is refused.
pub fn saves_of(
    artifacts: impl Iterator<Item = Artifact>,
    labels: &[&str],
) -> anyhow::Result<Vec<Save>> {
    let labels: Vec<Label> = labels
        .iter()
        .map(|label| Label::parse(*label))
        .collect::<Result<_, _>>()?;
    let items: Vec<PublishItem> = artifacts
        .map(|artifact| {
            Ok(PublishItem {
                source: artifact.name.clone(),
                artifact: artifact.to_text()?,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let checked = publisher_saver::check::check_batch(&items);
    let saves = checked.into_iter().map(|checked| {
        let checked = checked.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        Ok(Save {
            artifact: checked.artifact,
            text: checked.text,
            routes: checked.claims,
            labels: labels.clone(),
        })
    });
    saves.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(artifact: &Artifact) -> publisher_saver::check::Checked {
        let item = PublishItem {
            source: "x".into(),
            artifact: artifact.to_text().unwrap(),
        };
        publisher_saver::check::check(&item).unwrap()
    }

    #[test]
    fn a_plain_api_is_executed_and_answers_at_its_prefix() {
        let api = Plain {
            number: 7,
            revision: 1,
            back_end: 9000,
        };
        for artifact in [api.artifact(), api.with_resources()] {
            let checked = checked(&artifact);
            assert_eq!(checked.claims, [api.prefix()]);
            // Handlers are passed by; all that mediates runs.
            let of_handler = |finding: &artifact::Finding| finding.place.contains("/handlers/");
            let findings = &checked.findings;
            assert!(findings.iter().all(of_handler), "{findings:?}");
        }
    }

    #[test]
    fn with_resources_an_artifact_has_6_to_10_kib() {
        let lengths = (10_000..10_006).map(|number| {
            let api = Plain {
                number,
                revision: 1,
                back_end: 9000,
            };
            checked(&api.with_resources()).text.len()
        });
        let lengths: Vec<usize> = lengths.collect();
        let fits = |length: &usize| (6 * 1024..=10 * 1024).contains(length);
        assert!(lengths.iter().all(fits), "{lengths:?}");
    }
}
