//! What may be saved. Pure: the operator's command runs it for a dry run without a server, the
//! saver runs it again on everything that it is sent.

use std::collections::HashMap;

use artifact::{
    Artifact, ArtifactResult, Finding, MAX_ARTIFACT_BYTES, Outcome, PublishItem, Severity,
};
use synapse::xml::{Limits, read};

/// An artifact that may be saved.
#[derive(Clone, Debug)]
pub struct Checked {
    pub source: String,
    pub artifact: Artifact,
    /// What is stored: comments around the XML are gone, since they can hold credentials.
    pub text: String,
    /// The routes that the API claims.
    pub claims: Vec<String>,
    pub findings: Vec<Finding>,
}

impl Checked {
    /// The result of this artifact with everything but the outcome filled in.
    #[must_use]
    pub fn result(&self, outcome: Outcome) -> ArtifactResult {
        ArtifactResult {
            source: self.source.clone(),
            outcome,
            api_id: Some(self.artifact.api_id.clone()),
            name: Some(self.artifact.name.clone()),
            version: Some(self.artifact.version.clone()),
            context: self.claims.first().cloned(),
            revision: None,
            digest: None,
            labels: Vec::new(),
            removed_from: Vec::new(),
            reason: None,
            findings: self.findings.clone(),
        }
    }
}

/// Checks the items of a batch, each for itself and against those before it.
#[must_use]
pub fn check_batch(items: &[PublishItem]) -> Vec<Result<Checked, Box<ArtifactResult>>> {
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut claims: HashMap<String, String> = HashMap::new();
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        let result = check(item).and_then(|checked| {
            let id = &checked.artifact.api_id;
            let same_claim = |claim: &&String| claims.contains_key(*claim);
            let reason = if let Some(other) = ids.get(id) {
                Some(format!("is the same API as {other} (apiId {id})"))
            } else {
                checked.claims.iter().find(same_claim).map(|claim| {
                    let other = &claims[claim];
                    format!("claims the context and version of {other}: {claim}")
                })
            };
            match reason {
                Some(reason) => Err(Box::new(ArtifactResult {
                    reason: Some(reason),
                    ..checked.result(Outcome::Rejected)
                })),
                None => Ok(checked),
            }
        });
        if let Ok(checked) = &result {
            ids.insert(checked.artifact.api_id.clone(), checked.source.clone());
            let source = &checked.source;
            claims.extend(
                checked
                    .claims
                    .iter()
                    .map(|claim| (claim.clone(), source.clone())),
            );
        }
        results.push(result);
    }
    results
}

/// Checks one artifact by itself.
pub fn check(item: &PublishItem) -> Result<Checked, Box<ArtifactResult>> {
    let rejected = |reason: String| Box::new(ArtifactResult::rejected(&item.source, reason));
    if item.artifact.len() > MAX_ARTIFACT_BYTES {
        let size = item.artifact.len();
        return Err(rejected(format!(
            "the artifact has {size} bytes, at most {MAX_ARTIFACT_BYTES} are stored"
        )));
    }
    let mut artifact =
        Artifact::parse(&item.artifact).map_err(|error| rejected(error.to_string()))?;
    let limits = Limits::default();
    let compilation = synapse::compile(&artifact, &limits);
    let refusals: Vec<String> = compilation
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Refused)
        .map(|finding| format!("{}: {}", finding.place, finding.message))
        .collect();
    if !refusals.is_empty() {
        return Err(Box::new(ArtifactResult {
            api_id: Some(artifact.api_id.clone()),
            name: Some(artifact.name.clone()),
            version: Some(artifact.version.clone()),
            findings: compilation.findings,
            ..*rejected(first_of(&refusals))
        }));
    }
    strip_comments(&mut artifact, &limits);
    let text = artifact
        .to_text()
        .map_err(|error| rejected(error.to_string()))?;
    // Escapes can make the stored text longer than the one that was read.
    if text.len() > MAX_ARTIFACT_BYTES {
        let size = text.len();
        return Err(rejected(format!(
            "the artifact has {size} bytes as it is stored, at most {MAX_ARTIFACT_BYTES} are"
        )));
    }
    Ok(Checked {
        source: item.source.clone(),
        artifact,
        text,
        claims: compilation.claims,
        findings: compilation.findings,
    })
}

/// The first few reasons, and how many more there are.
fn first_of(reasons: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = reasons.iter().take(SHOWN).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join("; ");
    match reasons.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// Cuts what stands before and behind the root element of every XML member.
fn strip_comments(artifact: &mut Artifact, limits: &Limits) {
    let contents = artifact
        .sequence_to_be_add
        .iter_mut()
        .chain(&mut artifact.endpoint_entries_to_be_add)
        .chain(&mut artifact.local_entries_to_be_add)
        .map(|content| &mut content.content);
    let definitions = artifact
        .api_definition
        .iter_mut()
        .chain(&mut artifact.default_api_definition);
    for text in definitions.chain(contents) {
        if let Ok(root) = read(text, limits)
            && let Some(element) = text.get(root.start..root.end)
            && element.len() < text.len()
        {
            *text = element.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(source: &str, id: &str, context: &str, tail: &str) -> PublishItem {
        let definition = format!(
            "<!-- licence -->\n<api name='{id}' context='{context}'><resource><inSequence><respond/></inSequence></resource></api>{tail}"
        );
        PublishItem {
            source: source.into(),
            artifact: serde_json::json!({"apiId": id, "name": id, "version": "1", "apiDefinition": definition})
                .to_string(),
        }
    }

    #[test]
    fn comments_around_the_definition_are_not_stored() {
        let checked = check(&item("a.json", "a", "/a", "<!-- password: hunter2 -->")).unwrap();
        assert!(!checked.text.contains("hunter2"));
        assert_eq!(checked.claims, ["/a"]);
        assert!(
            checked
                .artifact
                .api_definition
                .unwrap()
                .starts_with("<api ")
        );
    }

    #[test]
    fn a_batch_rejects_the_second_of_two_that_exclude_each_other() {
        let results = check_batch(&[
            item("a.json", "a", "/x", ""),
            item("b.json", "b", "/x", ""),
            item("c.json", "a", "/c", ""),
        ]);
        assert!(results[0].is_ok());
        let reason = |at: usize| results[at].as_ref().unwrap_err().reason.clone().unwrap();
        assert_eq!(reason(1), "claims the context and version of a.json: /x");
        assert_eq!(reason(2), "is the same API as a.json (apiId a)");
    }

    #[test]
    fn a_refused_artifact_names_place_and_rule() {
        let mut bad = item("a.json", "a", "/a", "");
        bad.artifact = bad
            .artifact
            .replace("<resource>", "<resource methods='FETCH'>");
        let result = check(&bad).unwrap_err();
        assert_eq!(result.outcome, Outcome::Rejected);
        assert_eq!(
            result.reason.unwrap(),
            "apiDefinition/api/resource: unknown method \"FETCH\"; apiDefinition/api: an API needs at least one <resource>"
                .split(';')
                .next()
                .unwrap()
        );
    }
}
