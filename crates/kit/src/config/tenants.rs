//! `[apim.sync_runtime_artifacts.tenant_loading]`: which tenants a gateway loads when they are needed.

use std::time::Duration;

use artifact::TenantList;

use super::{Config, ConfigError};

const SECTION: [&str; 3] = [
    "apim.sync_runtime_artifacts.tenant_loading.tenants",
    "apim.sync_runtime_artifacts.tenant_loading.idle_time",
    "apim.sync_runtime_artifacts.tenant_loading.request_timeout",
];

/// Some tenants are loaded when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LazyTenants {
    /// These are loaded at the start.
    pub eager: TenantList,
    /// The others are unloaded when they have not been used for so long.
    pub idle: Duration,
    /// A request waits so long for its tenant.
    pub patience: Duration,
}

impl Config {
    /// What is loaded when it is needed; `None` where every tenant is loaded at the start.
    ///
    /// # Errors
    /// When the list of tenants is none; [`Config::load`] finds that, too.
    pub fn lazy_tenants(&self) -> Result<Option<LazyTenants>, ConfigError> {
        let loading = &self.apim.sync_runtime_artifacts.tenant_loading;
        let eager = TenantList::parse(&loading.tenants)
            .map_err(|error| broken(SECTION[0], error.to_string()))?;
        let lazy = loading.enable && !eager.is_all();
        Ok(lazy.then(|| LazyTenants {
            eager,
            idle: Duration::from_millis(loading.idle_time),
            patience: Duration::from_millis(loading.request_timeout),
        }))
    }
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let sync = &config.apim.sync_runtime_artifacts;
    if config.lazy_tenants()?.is_some() && sync.gateway.data_retrieval_mode == "sync" {
        let rule = "leaves tenants to be loaded when they are needed, which data_retrieval_mode = \
                    \"sync\" excludes: such a gateway serves nothing before all that is published \
                    to its labels is applied; set it to \"async\", or tenants to \"*\"";
        return Err(broken(SECTION[0], rule.to_owned()));
    }
    if sync.tenant_loading.idle_time < 1000 {
        return Err(broken(SECTION[1], "must be at least 1000".to_owned()));
    }
    if sync.tenant_loading.request_timeout == 0 {
        return Err(broken(SECTION[2], "must be at least 1".to_owned()));
    }
    Ok(())
}

fn broken(key: &'static str, rule: String) -> ConfigError {
    ConfigError::Rule { key, rule }
}
