//! The sequences that a gateway ships. An artifact's own sequence of the same name goes first.

use std::sync::{Arc, LazyLock, OnceLock};

use super::{Compiler, Findings, Place};
use crate::plan::{Sequence, SequenceRef};
use crate::xml::{Limits, read};

/// What ends a sequence of API Manager that answers the client: the message turns round, what was
/// meant for the back end leaves it, and the CORS headers are put on.
const TURN_ROUND: &str = r#"<property name="RESPONSE" value="true"/>
  <header name="To" action="remove"/>
  <property name="NO_ENTITY_BODY" scope="axis2" action="remove"/>
  <property name="ContentType" scope="axis2" action="remove"/>
  <property name="Authorization" scope="transport" action="remove"/>
  <property name="Host" scope="transport" action="remove"/>
  <property name="Accept" scope="transport" action="remove"/>
  <property name="X-JWT-Assertion" scope="transport" action="remove"/>"#;

/// The artifact's own one goes first here, too.
const CORS: &str = r#"<sequence key="_cors_request_handler_"/>"#;

/// `_cors_request_handler_`: what the CORS handler found, as headers that are not there yet.
const CORS_HEADERS: &str = r#"<filter source="$ctx:CORSConfiguration.Enabled" regex="true"><then>
  <filter xpath="not($trp:Access-Control-Allow-Origin)">
    <property name="Access-Control-Allow-Origin" scope="transport" expression="$ctx:Access-Control-Allow-Origin"/>
  </filter>
  <filter xpath="$ctx:REST_METHOD = 'OPTIONS'"><then>
    <filter xpath="not($trp:Access-Control-Allow-Methods)">
      <property name="Access-Control-Allow-Methods" scope="transport" expression="$ctx:Access-Control-Allow-Methods"/>
    </filter>
    <filter xpath="not($trp:Access-Control-Allow-Headers)">
      <property name="Access-Control-Allow-Headers" scope="transport" expression="$ctx:Access-Control-Allow-Headers"/>
    </filter>
    <filter xpath="not($trp:Access-Control-Expose-Headers)">
      <property name="Access-Control-Expose-Headers" scope="transport" expression="$ctx:Access-Control-Expose-Headers"/>
    </filter>
  </then></filter>
  <filter xpath="not($trp:Access-Control-Allow-Credentials) and $ctx:Access-Control-Allow-Credentials">
    <property name="Access-Control-Allow-Credentials" scope="transport" expression="$ctx:Access-Control-Allow-Credentials"/>
  </filter>
</then></filter>"#;

/// A SOAP fault with ERROR_MESSAGE for SOAP messages, else the JSON of `format` with ERROR_CODE,
/// ERROR_MESSAGE and ERROR_DETAIL.
fn error(code: &str, format: &str) -> String {
    format!(
        r#"<filter source="get-property('MESSAGE_FORMAT')" regex="soap1[1-2]"><then>
          <makefault><code value="{code}"/><reason expression="$ctx:ERROR_MESSAGE"/>
          <detail expression="$ctx:ERROR_DETAIL"/></makefault>
        </then><else><payloadFactory media-type="json"><format>{format}</format><args>
          <arg expression="$ctx:ERROR_CODE"/><arg expression="$ctx:ERROR_MESSAGE"/><arg expression="$ctx:ERROR_DETAIL"/>
        </args></payloadFactory></else></filter>"#
    )
}

/// The status that a property holds, or another one.
fn status(property: &str, otherwise: u16) -> String {
    format!(
        r#"<filter source="$ctx:{property}" regex="[2-5][0-9][0-9]">
          <then><property name="HTTP_SC" scope="axis2" expression="$ctx:{property}"/></then>
          <else><property name="HTTP_SC" scope="axis2" value="{otherwise}"/></else>
        </filter>"#
    )
}

fn key_error(description: &str) -> String {
    format!(
        r#"<payloadFactory media-type="json">
          <format>{{"code":"900901","type":"Status report","message":"Runtime Error","description":"{description}"}}</format>
        </payloadFactory><property name="HTTP_SC" scope="axis2" value="403"/><respond/>"#
    )
}

/// The sequences that are executed, with what API Manager's do.
fn definitions() -> Vec<(&'static str, String)> {
    let fault = [
        error(
            "Server",
            r#"{"code":"$1","type":"Status report","message":"Runtime Error","description":"$2"}"#,
        ),
        status("CUSTOM_HTTP_SC", 500),
        TURN_ROUND.to_owned(),
        CORS.to_owned(),
        "<respond/>".to_owned(),
    ]
    .concat();
    let plain = error(
        "Client",
        r#"{"code":"$1","message":"$2","description":"$3"}"#,
    );
    let refused = |otherwise| {
        [
            plain.clone(),
            status("HTTP_RESPONSE_STATUS_CODE", otherwise),
            TURN_ROUND.to_owned(),
            CORS.to_owned(),
        ]
        .concat()
    };
    let threat = r#"<payloadFactory media-type="json"><format>{"code":"$1","message":"$2","description":"$3"}</format>
        <args><arg expression="$ctx:THREAT_CODE"/><arg expression="$ctx:THREAT_MSG"/><arg expression="$ctx:THREAT_DESC"/></args>
        </payloadFactory><property name="HTTP_SC" scope="axis2" value="400"/>"#;
    let token = r#"<payloadFactory><format><am:fault xmlns:am="http://wso2.org/apimanager"><am:code>$1</am:code>
        <am:type>Status report</am:type><am:message>Runtime Error</am:message><am:description>$2</am:description></am:fault>
        </format><args><arg expression="$ctx:ERROR_CODE"/><arg expression="$ctx:ERROR_MESSAGE"/></args></payloadFactory>"#;
    let mcp = r#"<payloadFactory media-type="json">
        <format>{"jsonrpc":"2.0","id":"$1","error":{"message":"$2","data":"$2","code":$3}}</format>
        <args><arg expression="$ctx:MCP_ID"/><arg expression="$ctx:ERROR_MESSAGE"/><arg expression="$ctx:MCP_ERROR_CODE"/></args>
        </payloadFactory>"#;
    let blocked = r#"<payloadFactory media-type="json">
        <format>{"code":"700700","type":"Status report","message":"API blocked","description":"This API has been blocked temporarily. Please try again later or contact the system administrators."}</format>
        </payloadFactory><property name="HTTP_SC" scope="axis2" value="503"/><respond/>"#;
    let main = r#"<filter source="$ctx:TRANSPORT_DENIED" regex="true"><then>
          <payloadFactory media-type="json"><format>{"code":"403","type":"Status report","message":"Forbidden","description":"Unsupported Transport"}</format></payloadFactory>
          <property name="HTTP_SC" scope="axis2" value="403"/>
        </then><else>
          <payloadFactory media-type="json"><format>{"code":"404","type":"Status report","message":"Not Found","description":"The requested resource is not available."}</format></payloadFactory>
          <property name="HTTP_SC" scope="axis2" value="404"/>
        </else></filter><respond/>"#;
    vec![
        ("fault", fault),
        (
            "_resource_mismatch_handler_",
            r#"<sequence key="fault"/>"#.to_owned(),
        ),
        ("_cors_request_handler_", CORS_HEADERS.to_owned()),
        ("_auth_failure_handler_", refused(401)),
        // Who calls it sets the status before, and answers behind it (`OPAUtils`).
        ("_opa_policy_failure_handler_", refused(500)),
        (
            "webhooksFaultSequence",
            [
                r#"<payloadFactory media-type="json"><format>{"error":"$1"}</format>
                <args><arg expression="$ctx:ERROR_DETAIL"/></args></payloadFactory>"#,
                TURN_ROUND,
                CORS,
            ]
            .concat(),
        ),
        (
            "_throttle_out_handler_",
            [
                r#"<property name="X-JWT-Assertion" scope="transport" action="remove"/>"#,
                CORS,
            ]
            .concat(),
        ),
        (
            "_graphql_failure_handler",
            [plain.clone(), TURN_ROUND.to_owned(), CORS.to_owned()].concat(),
        ),
        ("_mcp_failure_handler_", [mcp, TURN_ROUND, CORS].concat()),
        (
            "_threat_fault_",
            [threat, TURN_ROUND, CORS, "<respond/>"].concat(),
        ),
        (
            "_token_fault_",
            [
                token.to_owned(),
                status("CUSTOM_HTTP_SC", 500),
                TURN_ROUND.to_owned(),
                "<respond/>".to_owned(),
            ]
            .concat(),
        ),
        ("_api_blocked_sequence_", blocked.to_owned()),
        ("main", main.to_owned()),
        // Names the builders of bodies, which are looked into by their content type here.
        ("_build_", String::new()),
        (
            "_sandbox_key_error_",
            key_error("Sandbox key offered to an API that has no sandbox endpoint"),
        ),
        (
            "_production_key_error_",
            key_error("Production key offered to an API that has no production endpoint"),
        ),
    ]
}

/// One of them, compiled when it is first needed: they refer to each other.
struct Shipped {
    name: &'static str,
    inside: String,
    /// `None` for one that does not compile, which a test excludes.
    compiled: OnceLock<Option<Arc<Sequence>>>,
}

static SHIPPED: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
    definitions()
        .into_iter()
        .map(|(name, inside)| Shipped {
            name,
            inside,
            compiled: OnceLock::new(),
        })
        .collect()
});

fn compiled(text: &str) -> Option<Arc<Sequence>> {
    let limits = Limits::default();
    let root = read(text, &limits).ok()?;
    let mut findings = Findings::default();
    let mut compiler = Compiler::new(&limits, &mut findings);
    let block = compiler.block(&root, &Place::root("sequence"), text);
    findings.list.is_empty().then(|| {
        Arc::new(Sequence {
            block,
            on_error: None,
        })
    })
}

/// The name and the gateway's sequence of that name.
pub(super) fn shipped_sequence(key: &str) -> Option<(&'static str, Arc<Sequence>)> {
    let shipped = SHIPPED.iter().find(|shipped| shipped.name == key)?;
    let sequence = shipped
        .compiled
        .get_or_init(|| compiled(&format!("<sequence>{}</sequence>", shipped.inside)));
    Some((shipped.name, sequence.clone()?))
}

/// The gateway's own sequence of this name, if it has one.
pub(crate) fn shipped_reference(key: &str) -> Option<SequenceRef> {
    let (name, sequence) = shipped_sequence(key)?;
    Some(SequenceRef::Shipped(name, sequence))
}

/// Whether a gateway has a sequence of this name of its own.
#[must_use]
pub fn is_shipped_sequence(key: &str) -> bool {
    SHIPPED.iter().any(|shipped| shipped.name == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_sequences_compile_without_findings() {
        for shipped in SHIPPED.iter() {
            assert!(shipped_sequence(shipped.name).is_some(), "{}", shipped.name);
        }
        assert!(is_shipped_sequence("main") && !is_shipped_sequence("mine"));
    }
}
