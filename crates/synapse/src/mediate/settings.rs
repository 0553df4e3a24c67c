//! What all exchanges of a gateway share: its ports and what its configuration says.

/// Of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub http_port: u16,
    pub https_port: u16,
    pub cors: CorsSettings,
    pub security: Security,
}

/// `[apim.cors]`: for APIs that do not say it themselves.
#[derive(Clone, Debug)]
pub struct CorsSettings {
    /// Off: no headers are added; preflights are still answered.
    pub enable: bool,
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub allow_credentials: bool,
}

impl Default for CorsSettings {
    /// What API Manager ships.
    fn default() -> Self {
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Self {
            enable: true,
            allow_origins: list("*"),
            allow_methods: list("GET,PUT,POST,DELETE,PATCH,OPTIONS"),
            allow_headers: list(
                "authorization,Access-Control-Allow-Origin,Content-Type,SOAPAction,apikey,Internal-Key",
            ),
            expose_headers: Vec::new(),
            allow_credentials: false,
        }
    }
}

/// `[gateway.security] mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Nobody is asked for credentials.
    #[default]
    Off,
    /// Who asks for a resource that wants credentials has to be admitted.
    Enforce,
}
