//! The rules that a configuration keeps besides the types of its values.
//!
//! No rule shows a value, which may come from a secret; [`Config::shown`] gives what may be shown.

use super::sections::{ACCESS_LOG_FORMATS, RETRIEVERS, SAVERS};
use super::{
    Config, ConfigError, Database, EventHubService, environments, parse_ip, proxies, tenants,
};

type Rule = (&'static str, &'static str);

fn broken((key, rule): Rule) -> ConfigError {
    ConfigError::Rule {
        key,
        rule: rule.to_owned(),
    }
}

/// Checks all of them.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    if let Some(rule) = sections(config) {
        return Err(broken(rule));
    }
    for (keys, database) in [
        (APIM_DB, &config.database.apim_db),
        (
            SYNC_RUNTIME_ARTIFACTS_DB,
            &config.database.sync_runtime_artifacts_db,
        ),
    ] {
        if let Some(rule) = database_rule(keys, database) {
            return Err(broken(rule));
        }
    }
    tenants::check(config)?;
    proxies::check(config)?;
    if let Some(rule) = event_hub_rule(config)? {
        return Err(broken(rule));
    }
    environments::check(config)?;
    config.gateway_http_address()?;
    config.gateway_https_address()?;
    let key = "management.bind_address";
    parse_ip(config, key, &config.management.bind_address)?;
    Ok(())
}

fn sections(config: &Config) -> Option<Rule> {
    let sync = &config.apim.sync_runtime_artifacts;
    let modes = ["sync", "async"];
    let limits = &config.management.limits;
    let native = config.gateway.deployer == "native";
    let rules = [
        (
            SAVERS.contains(&sync.publisher.artifact_saver.as_str()),
            "apim.sync_runtime_artifacts.publisher.artifact_saver",
            "unknown saver; known: DBSaver, FileSystemSaver",
        ),
        (
            sync.publisher.direct_publish_timeout >= 100,
            "apim.sync_runtime_artifacts.publisher.direct_publish_timeout",
            "must be at least 100",
        ),
        (
            RETRIEVERS.contains(&sync.gateway.artifact_retriever.as_str()),
            "apim.sync_runtime_artifacts.gateway.artifact_retriever",
            "unknown retriever; known: DBRetriever, FileSystemRetriever",
        ),
        (
            modes.contains(&sync.gateway.data_retrieval_mode.as_str()),
            "apim.sync_runtime_artifacts.gateway.data_retrieval_mode",
            "must be \"sync\" or \"async\"",
        ),
        (
            sync.gateway.max_retry_count >= 1,
            "apim.sync_runtime_artifacts.gateway.max_retry_count",
            "must be at least 1",
        ),
        (
            sync.gateway.max_delete_percent <= 100,
            "apim.sync_runtime_artifacts.gateway.max_delete_percent",
            "must be 0 to 100",
        ),
        (
            ["native", "synapse-directory"].contains(&config.gateway.deployer.as_str()),
            "gateway.deployer",
            "unknown deployer; known: native, synapse-directory",
        ),
        (
            native || !config.gateway.synapse_directory.as_os_str().is_empty(),
            "gateway.synapse_directory",
            "must be given with deployer = \"synapse-directory\"",
        ),
        (
            native || !config.gateway.id.is_empty(),
            "gateway.id",
            "must be given with deployer = \"synapse-directory\": there is no port to name it by",
        ),
        (
            ["off", "enforce"].contains(&config.gateway.security.mode.as_str()),
            "gateway.security.mode",
            "must be \"off\" or \"enforce\"",
        ),
        (
            config.management.max_body_size >= 1024 * 1024,
            "management.max_body_size",
            "must be at least 1048576",
        ),
        (
            limits.max_connections >= 1,
            "management.limits.max_connections",
            "must be at least 1",
        ),
        (
            (1..=1_000_000).contains(&limits.max_in_flight),
            "management.limits.max_in_flight",
            "must be from 1 to 1000000",
        ),
        (
            limits.header_timeout >= 100,
            "management.limits.header_timeout",
            "must be at least 100",
        ),
        (
            limits.slow_client_timeout >= 1000,
            "management.limits.slow_client_timeout",
            "must be at least 1000",
        ),
        (
            is_free_header(&config.gateway.correlation_header),
            "gateway.correlation_header",
            "must be the name of a header that HTTP, credentials and cookies have no use for",
        ),
        (
            ACCESS_LOG_FORMATS.contains(&config.gateway.access_log.format.as_str()),
            "gateway.access_log.format",
            "unknown format; known: combined, json",
        ),
        (
            (1..=10_000).contains(&config.gateway.limits.max_headers),
            "gateway.limits.max_headers",
            "must be from 1 to 10000",
        ),
        (
            config.gateway.limits.slow_client_timeout >= 100,
            "gateway.limits.slow_client_timeout",
            "must be at least 100",
        ),
        (
            config.gateway.limits.idle_timeout >= 100,
            "gateway.limits.idle_timeout",
            "must be at least 100",
        ),
        (
            config.gateway.limits.tunnel_idle_timeout >= 100,
            "gateway.limits.tunnel_idle_timeout",
            "must be at least 100",
        ),
        (
            is_key_or_empty(config.gateway.snapshot.key.expose()),
            "gateway.snapshot.key",
            "must have 64 hex digits (32 bytes)",
        ),
        (
            config.gateway.snapshot.generations <= 100,
            "gateway.snapshot.generations",
            "must be at most 100",
        ),
        (
            config.gateway.snapshot.max_size >= 1024 * 1024,
            "gateway.snapshot.max_size",
            "must be at least 1048576",
        ),
        (
            config.synapse_properties.global_timeout_interval > 0,
            "synapse_properties.synapse.global_timeout_interval",
            "must be at least 1",
        ),
        (
            (1..=64).contains(&config.lockstep.dc.len())
                && config.lockstep.dc.trim() == config.lockstep.dc,
            "lockstep.dc",
            "must have 1 to 64 bytes and no blanks at its ends",
        ),
    ];
    let mut broken = rules.into_iter().filter(|(kept, ..)| !kept);
    broken.next().map(|(_, key, rule)| (key, rule))
}

fn is_key_or_empty(text: &str) -> bool {
    text.is_empty() || (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The keys of a database in errors.
#[derive(Clone, Copy)]
struct DatabaseKeys {
    url: &'static str,
    max_active: &'static str,
    max_wait: &'static str,
    min_idle: &'static str,
}

const APIM_DB: DatabaseKeys = DatabaseKeys {
    url: "database.apim_db.url",
    max_active: "database.apim_db.pool_options.maxActive",
    max_wait: "database.apim_db.pool_options.maxWait",
    min_idle: "database.apim_db.pool_options.minIdle",
};
const SYNC_RUNTIME_ARTIFACTS_DB: DatabaseKeys = DatabaseKeys {
    url: "database.sync_runtime_artifacts_db.url",
    max_active: "database.sync_runtime_artifacts_db.pool_options.maxActive",
    max_wait: "database.sync_runtime_artifacts_db.pool_options.maxWait",
    min_idle: "database.sync_runtime_artifacts_db.pool_options.minIdle",
};

fn database_rule(keys: DatabaseKeys, database: &Database) -> Option<Rule> {
    let pool = &database.pool_options;
    let r#type = database.r#type.as_str();
    let embedded = r#type.is_empty() || r#type.eq_ignore_ascii_case("sqlite");
    if database.url.is_empty() && (!embedded || !database.username.is_empty()) {
        let rule = "must not be empty when type or username say that there is a database server";
        return Some((keys.url, rule));
    }
    if database.url.contains(":memory:") {
        return Some((keys.url, "must name a file that lasts"));
    }
    if pool.max_active == 0 {
        return Some((keys.max_active, "must be at least 1"));
    }
    if pool.max_wait == 0 {
        return Some((keys.max_wait, "must be at least 1"));
    }
    if pool.min_idle > pool.max_active {
        return Some((keys.min_idle, "must not be above maxActive"));
    }
    None
}

const CERTIFICATE_AND_KEY: &str =
    "client_certificate and client_key belong together; one of them is empty";

fn service_rule(service: &EventHubService) -> Option<Rule> {
    let EventHubService {
        username,
        password,
        token,
        client_certificate,
        client_key,
    } = service;
    if username.is_empty() != password.is_empty() {
        let rule = "username and password belong together; one of them is empty";
        return Some(("apim.event_hub.service.username", rule));
    }
    if !username.is_empty() && !token.is_empty() {
        let rule = "username and token exclude one another";
        return Some(("apim.event_hub.service.token", rule));
    }
    match (client_certificate.is_empty(), client_key.is_empty()) {
        (true, false) => Some((
            "apim.event_hub.service.client_certificate",
            CERTIFICATE_AND_KEY,
        )),
        (false, true) => Some(("apim.event_hub.service.client_key", CERTIFICATE_AND_KEY)),
        _ => None,
    }
}

fn event_hub_rule(config: &Config) -> Result<Option<Rule>, ConfigError> {
    let hub = &config.apim.event_hub;
    if !config.event_hub_endpoints()?.is_empty() && hub.username.is_empty() {
        return Ok(Some((
            "apim.event_hub.username",
            "must not be empty when there are event_listening_endpoints",
        )));
    }
    if hub.virtual_host.is_empty() {
        let rule = "must not be empty; the usual one is \"/\"";
        return Ok(Some(("apim.event_hub.virtual_host", rule)));
    }
    // AMQP's short strings.
    for (key, value) in [
        ("apim.event_hub.username", &hub.username),
        ("apim.event_hub.virtual_host", &hub.virtual_host),
        ("apim.event_hub.topic", &hub.topic),
    ] {
        if value.len() > 255 {
            return Ok(Some((key, "must have at most 255 bytes")));
        }
    }
    if hub.topic.is_empty() {
        let rule = "must not be empty; API Manager's is \"notification\"";
        return Ok(Some(("apim.event_hub.topic", rule)));
    }
    if hub.failback_interval == 0 {
        let key = "apim.event_hub.failback_interval";
        return Ok(Some((key, "must be at least 1")));
    }
    if let Some(rule) = service_rule(&hub.service) {
        return Ok(Some(rule));
    }
    let together = CERTIFICATE_AND_KEY;
    Ok(
        match (
            hub.tls.client_certificate.is_empty(),
            hub.tls.client_key.is_empty(),
        ) {
            (true, false) => Some(("apim.event_hub.tls.client_certificate", together)),
            (false, true) => Some(("apim.event_hub.tls.client_key", together)),
            _ => None,
        },
    )
}

/// A header that may be set on every request and every answer.
fn is_free_header(name: &str) -> bool {
    const TAKEN: [&str; 10] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "set-cookie",
        "transfer-encoding",
        "upgrade",
    ];
    let parsed = name.parse::<http::HeaderName>();
    parsed.is_ok_and(|name| !TAKEN.contains(&name.as_str()))
}
