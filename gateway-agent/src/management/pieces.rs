//! The pieces of an API that answer requests, and those that are known but do not. Pure.

use artifact::{Artifact, Content};

use crate::kept::KeptError;
use crate::sync_core::Shown;

/// Definitions in Synapse XML, without their secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    pub definitions: Vec<String>,
    pub endpoints: Vec<String>,
    pub local_entries: Vec<String>,
    pub sequences: Vec<String>,
}

/// What there is of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// In the revision that answers requests.
    pub deployed: Pieces,
    /// In the newest revision, and not, or not so, in the one that answers.
    pub undeployed: Pieces,
    /// How the endpoints of the revision that answers requests stand.
    pub states: Vec<serde_json::Value>,
}

/// # Errors
/// When what was kept, or was published, is no artifact.
pub(super) fn standing(shown: &Shown) -> Result<Standing, KeptError> {
    let live = shown.live.as_ref();
    let same = live.is_some_and(|live| live.entry.digest == shown.newest.entry.digest);
    let live = live.map(|live| live.artifact()).transpose()?;
    let newest = if same {
        None
    } else {
        Some(shown.newest.artifact()?)
    };
    Ok(compare(live.as_ref(), newest.as_ref()))
}

/// `newest` is `None` where it is the one that is live.
fn compare(live: Option<&Artifact>, newest: Option<&Artifact>) -> Standing {
    let nothing = Artifact::default();
    let live = live.unwrap_or(&nothing);
    Standing {
        deployed: pieces(live, &nothing),
        undeployed: newest.map_or_else(Pieces::default, |newest| pieces(newest, live)),
        states: Vec::new(),
    }
}

/// The pieces of an artifact that another one has not.
fn pieces(artifact: &Artifact, without: &Artifact) -> Pieces {
    let masked = artifact.masked();
    // What was changed is told by what it was, not by what is shown of it.
    let contents = |all: &[Content], shown: &[Content], without: &[Content]| {
        all.iter()
            .zip(shown)
            .filter(|(content, _)| !without.contains(content))
            .map(|(_, shown)| shown.content.clone())
            .collect()
    };
    let definition = |one: &Option<String>, shown: Option<String>, other: &Option<String>| {
        shown.filter(|_| one != other)
    };
    let api = definition(
        &artifact.api_definition,
        masked.api_definition,
        &without.api_definition,
    );
    let default = definition(
        &artifact.default_api_definition,
        masked.default_api_definition,
        &without.default_api_definition,
    );
    Pieces {
        definitions: api.into_iter().chain(default).collect(),
        endpoints: contents(
            &artifact.endpoint_entries_to_be_add,
            &masked.endpoint_entries_to_be_add,
            &without.endpoint_entries_to_be_add,
        ),
        local_entries: contents(
            &artifact.local_entries_to_be_add,
            &masked.local_entries_to_be_add,
            &without.local_entries_to_be_add,
        ),
        sequences: contents(
            &artifact.sequence_to_be_add,
            &masked.sequence_to_be_add,
            &without.sequence_to_be_add,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(endpoint: &str, sequence: &str) -> Artifact {
        let content = |name: &str, content: &str| Content {
            name: name.into(),
            content: content.into(),
        };
        Artifact {
            api_definition: Some("<api/>".into()),
            endpoint_entries_to_be_add: vec![content("e", endpoint), content("f", "<f/>")],
            sequence_to_be_add: vec![content("s", sequence)],
            local_entries_to_be_add: vec![content("l", "<l/>")],
            ..Artifact::default()
        }
    }

    #[test]
    fn tells_what_answers_from_what_waits() {
        let live = artifact("<e a='1'/>", "<s/>");
        let standing = compare(Some(&live), None);
        assert_eq!(standing.deployed.definitions, ["<api/>"]);
        assert_eq!(standing.deployed.endpoints, ["<e a=\"1\"/>", "<f/>"]);
        assert_eq!(standing.deployed.local_entries, ["<l/>"]);
        assert_eq!(standing.deployed.sequences, ["<s/>"]);
        assert_eq!(standing.undeployed, Pieces::default());
        // A newer revision was refused.
        let newer = artifact("<e a='2'/>", "<s/>");
        let standing = compare(Some(&live), Some(&newer));
        assert_eq!(standing.deployed.endpoints, ["<e a=\"1\"/>", "<f/>"]);
        assert_eq!(standing.undeployed.endpoints, ["<e a=\"2\"/>"]);
        assert_eq!(standing.undeployed.sequences, [""; 0]);
        // It was taken down.
        let standing = compare(None, Some(&newer));
        assert_eq!(standing.deployed, Pieces::default());
        assert_eq!(standing.undeployed.definitions, ["<api/>"]);
        assert_eq!(standing.undeployed.sequences, ["<s/>"]);
    }

    #[test]
    fn a_changed_password_is_a_change_and_is_not_shown() {
        let with = |password: &str| artifact(&format!("<e password='{password}'/>"), "<s/>");
        let standing = compare(Some(&with("hunter22")), Some(&with("hunter23")));
        assert_eq!(
            standing.undeployed.endpoints,
            ["<e password=\"********\"/>"]
        );
        assert!(!format!("{standing:?}").contains("hunter"));
    }
}
