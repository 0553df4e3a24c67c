//! Which operations of an API want no credentials: `x-auth-type` of its OpenAPI definition, which
//! travels as a local entry under the API's id. Source: OpenAPIUtils of API Manager's gateway.

use serde_json::Value;

use crate::dispatch::MethodSet;
use crate::plan::ApiPlan;

/// On an operation; `None` says that nobody is asked for credentials.
const AUTH_TYPE: &str = "x-auth-type";
/// On an operation, or on the definition for all of them.
const DISABLE_SECURITY: &str = "x-wso2-disable-security";

/// Takes note of the open operations in the resources whose pattern is their path. A definition
/// that cannot be read opens nothing.
pub(super) fn note_open_operations(api: &mut ApiPlan, definition: &str) {
    if !definition.contains(AUTH_TYPE) && !definition.contains(DISABLE_SECURITY) {
        return;
    }
    let Ok(definition) = serde_json::from_str::<Value>(definition) else {
        return;
    };
    let all = is_disabled(&definition);
    for (path, operations) in definition["paths"].as_object().into_iter().flatten() {
        let operations = operations.as_object().into_iter().flatten();
        let open: Vec<String> = operations
            .filter(|(_, operation)| all || is_open(operation))
            .map(|(method, _)| method.to_ascii_uppercase())
            .filter(|method| MethodSet::KNOWN.contains(&method.as_str()))
            .collect();
        let Ok(open) = MethodSet::parse(&open.join(" ")) else {
            continue;
        };
        for resource in &mut api.resources {
            if resource.pattern == *path {
                resource.open = open;
            }
        }
    }
}

fn is_open(operation: &Value) -> bool {
    let none = operation[AUTH_TYPE].as_str();
    none.is_some_and(|kind| kind.eq_ignore_ascii_case("None")) || is_disabled(operation)
}

fn is_disabled(value: &Value) -> bool {
    match &value[DISABLE_SECURITY] {
        Value::Bool(disabled) => *disabled,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}
