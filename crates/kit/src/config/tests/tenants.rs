//! Tenants that are loaded when they are needed.

use std::time::Duration;

use super::{config, error};

const SECTION: &str = "[apim.sync_runtime_artifacts.tenant_loading]\n";
const ASYNC: &str = "[apim.sync_runtime_artifacts.gateway]\ndata_retrieval_mode = \"async\"\n";

#[test]
fn nothing_is_lazy_unless_it_is_enabled_and_somebody_is_left_out() {
    for text in [
        String::new(),
        format!("{SECTION}enable = true"),
        format!("{SECTION}tenants = \"a.example\""),
        format!("{SECTION}enable = \"false\"\ntenants = \"*,!a.example\""),
    ] {
        assert_eq!(config(&text).lazy_tenants().unwrap(), None, "{text}");
    }
    let text = format!("{ASYNC}{SECTION}enable = true\ntenants = \"a.example\"\nidle_time = 5000");
    let lazy = config(&text).lazy_tenants().unwrap().unwrap();
    assert_eq!(lazy.eager.to_string(), "carbon.super,a.example");
    assert_eq!(lazy.idle, Duration::from_secs(5));
    assert_eq!(lazy.patience, Duration::from_secs(10));
}

#[test]
fn sync_and_lazy_exclude_one_another_and_the_error_says_why() {
    let found = error(&format!(
        "{SECTION}enable = true\ntenants = \"*,!a.example\""
    ));
    assert!(
        found.starts_with("d.toml:3:1: apim.sync_runtime_artifacts.tenant_loading.tenants: leaves"),
        "{found}"
    );
    assert!(
        found.contains("serves nothing before all that is published"),
        "{found}"
    );
}

#[test]
fn a_list_that_is_none_and_times_that_are_too_short_are_refused() {
    for (line, rule) in [
        (
            "tenants = \"a,,b\"",
            "tenants: has an empty item; the items stand between commas",
        ),
        (
            "tenants = \"!a\"",
            "tenants: says which tenants are excluded, but not from what; begin with *",
        ),
        ("idle_time = 999", "idle_time: must be at least 1000"),
        ("request_timeout = 0", "request_timeout: must be at least 1"),
    ] {
        let found = error(&format!("{SECTION}{line}"));
        let place = "d.toml:2:1: apim.sync_runtime_artifacts.tenant_loading.";
        assert_eq!(found, format!("{place}{rule}"));
    }
}
