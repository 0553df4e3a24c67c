//! The sequences that a gateway ships. An artifact's own sequence of the same name goes first.

use std::sync::{Arc, LazyLock};

use super::{Compiler, Findings, Place};
use crate::plan::Sequence;
use crate::xml::{Limits, read};

/// What stands behind a shipped name.
pub(super) enum Shipped {
    Executed(Arc<Sequence>),
    NotExecuted,
}

/// Behaviour of API Manager's `fault`: JSON with the error, status CUSTOM_HTTP_SC or 500.
const FAULT: &str = r#"<sequence name="fault">
  <payloadFactory media-type="json">
    <format>{"code":"$1","type":"Status report","message":"Runtime Error","description":"$2"}</format>
    <args><arg expression="$ctx:ERROR_CODE"/><arg expression="$ctx:ERROR_MESSAGE"/></args>
  </payloadFactory>
  <filter source="$ctx:CUSTOM_HTTP_SC" regex="[2-5][0-9][0-9]">
    <then><property name="HTTP_SC" scope="axis2" expression="$ctx:CUSTOM_HTTP_SC"/></then>
    <else><property name="HTTP_SC" scope="axis2" value="500"/></else>
  </filter>
  <property name="NO_ENTITY_BODY" scope="axis2" action="remove"/>
  <respond/>
</sequence>"#;

const SANDBOX_KEY_ERROR: &str = r#"<sequence name="_sandbox_key_error_">
  <payloadFactory media-type="json">
    <format>{"code":"900901","type":"Status report","message":"Runtime Error","description":"Sandbox key offered to an API that has no sandbox endpoint"}</format>
  </payloadFactory>
  <property name="HTTP_SC" scope="axis2" value="403"/>
  <respond/>
</sequence>"#;

const PRODUCTION_KEY_ERROR: &str = r#"<sequence name="_production_key_error_">
  <payloadFactory media-type="json">
    <format>{"code":"900901","type":"Status report","message":"Runtime Error","description":"Production key offered to an API that has no production endpoint"}</format>
  </payloadFactory>
  <property name="HTTP_SC" scope="axis2" value="403"/>
  <respond/>
</sequence>"#;

/// Shipped by API Manager for its handlers; nothing here runs them yet.
const NOT_EXECUTED: [&str; 13] = [
    "main",
    "_auth_failure_handler_",
    "_throttle_out_handler_",
    "_resource_mismatch_handler_",
    "_cors_request_handler_",
    "_token_fault_",
    "_threat_fault_",
    "_api_blocked_sequence_",
    "_graphql_failure_handler",
    "_mcp_failure_handler_",
    "_opa_policy_failure_handler_",
    "_build_",
    "webhooksFaultSequence",
];

/// By name; `None` for one that does not compile, which a test excludes.
type ByName = [(&'static str, Option<Arc<Sequence>>); 3];

static EXECUTED: LazyLock<ByName> = LazyLock::new(|| {
    [
        ("fault", compiled(FAULT)),
        ("_sandbox_key_error_", compiled(SANDBOX_KEY_ERROR)),
        ("_production_key_error_", compiled(PRODUCTION_KEY_ERROR)),
    ]
});

fn compiled(text: &str) -> Option<Arc<Sequence>> {
    let limits = Limits::default();
    let root = read(text, &limits).ok()?;
    let mut findings = Findings::default();
    let mut compiler = Compiler {
        limits: &limits,
        findings: &mut findings,
        sequence_names: std::collections::HashMap::new(),
        endpoint_names: std::collections::HashMap::new(),
        namespaces: Vec::new(),
        to_endpoints: Vec::new(),
        sets_to: false,
        regexes: 0,
    };
    let block = compiler.block(&root, &Place::root("sequence"), text);
    findings.list.is_empty().then(|| {
        Arc::new(Sequence {
            block,
            on_error: None,
        })
    })
}

pub(super) fn shipped_sequence(key: &str) -> Option<Shipped> {
    let executed = EXECUTED.iter().find(|(name, _)| *name == key);
    match executed {
        Some((_, Some(sequence))) => Some(Shipped::Executed(Arc::clone(sequence))),
        Some((_, None)) => Some(Shipped::NotExecuted),
        None => NOT_EXECUTED.contains(&key).then_some(Shipped::NotExecuted),
    }
}

/// Whether a gateway has a sequence of this name of its own.
#[must_use]
pub fn is_shipped_sequence(key: &str) -> bool {
    shipped_sequence(key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_sequences_compile_without_findings() {
        for (name, sequence) in EXECUTED.iter() {
            assert!(sequence.is_some(), "{name}");
        }
        assert!(is_shipped_sequence("main") && !is_shipped_sequence("mine"));
    }
}
