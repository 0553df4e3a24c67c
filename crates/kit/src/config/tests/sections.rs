//! The overlay, the sections and their rules.

use super::{Config, DEFAULT, config, error};

#[test]
fn the_shipped_file_is_the_default_and_lays_over_itself() {
    let config = Config::load(None).unwrap();
    assert_eq!(config.traffic_manager_address().unwrap().port(), 9443);
    assert_eq!(config.gateway_http_address().unwrap().port(), 8280);
    assert_eq!(config.gateway_https_address().unwrap().port(), 8243);
    assert_eq!(config.traffic_manager_url(), "https://localhost:9443");
    super::config(DEFAULT);
}

#[test]
fn the_offset_shifts_every_port() {
    let config = config("[server]\noffset = 10");
    assert_eq!(config.traffic_manager_address().unwrap().port(), 9453);
    assert_eq!(config.publisher_saver_address().unwrap().port(), 9454);
    assert_eq!(config.gateway_management_address().unwrap().port(), 9455);
    assert_eq!(config.gateway_http_address().unwrap().port(), 8290);
    assert!(error("server.offset = 60000").contains("8280 + offset 60000 is above 65535"));
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    assert_eq!(
        error("[server]\n  ofset = 1"),
        "d.toml:2:3: unknown key server.ofset; did you mean offset?"
    );
    assert_eq!(
        error("[apim.sync_runtime_artifacts.gatway]\nx = 1"),
        "d.toml:1:30: unknown key apim.sync_runtime_artifacts.gatway; did you mean gateway?"
    );
    assert!(error("zzz = 1").starts_with("d.toml:1:1: unknown key zzz; known here: "));
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    assert_eq!(
        error("[server]\noffset = \"one\""),
        "d.toml:2:10: server.offset: must be a whole number, found \"one\""
    );
    assert!(error("[server\n").starts_with("d.toml:1:"));
    config("[management]\nbind_address = \"0.0.0.0\"");
    assert_eq!(
        error("[server]\noffset = 70000"),
        "d.toml:2:10: server.offset: must be at most 65535, found 70000"
    );
    assert_eq!(
        error("[server]\noffset = -1"),
        "d.toml:2:10: server.offset: must not be negative, found -1"
    );
    assert_eq!(
        error("\n[management]\nmax_body_size = 0"),
        "d.toml:3:1: management.max_body_size: must be at least 1048576"
    );
}

#[test]
fn quoted_numbers_and_booleans_are_taken_as_wso2_writes_them() {
    let text = "[apim.sync_runtime_artifacts.publisher]\npublish_directly_to_gateway = \"false\"\n\
                [apim.sync_runtime_artifacts.gateway]\nevent_waiting_time = \"5000\"";
    let config = config(text);
    let gateway = &config.apim.sync_runtime_artifacts.gateway;
    assert_eq!(gateway.event_waiting_time, 5000);
}

#[test]
fn a_rule_is_placed_at_its_key_or_its_section() {
    let text = "[database.apim_db]\nusername = \"u\"\nurl = \"sqlite:x\"\n[apim.event_hub]\n\
                event_listening_endpoints = [\"tcp://tm1\"]";
    assert_eq!(
        error(text),
        "d.toml:4:7: apim.event_hub.username: must not be empty when there are \
         event_listening_endpoints"
    );
    assert_eq!(
        error(&format!("{text}\nusername = \"\"")),
        "d.toml:6:1: apim.event_hub.username: must not be empty when there are \
         event_listening_endpoints"
    );
    assert_eq!(
        error("[management]\nbind_address = \"gw\""),
        "d.toml:2:1: management.bind_address: must be an IP address, found \"gw\""
    );
}

#[test]
fn artifacts_are_in_the_database_of_their_own_if_there_is_one() {
    let chosen = |text: &str| config(text).artifacts_database().url.clone();
    let apim = "[database.apim_db]\ntype = \"sqlite\"\nurl = \"sqlite:apim.db\"\n";
    assert_eq!(chosen(""), "");
    assert_eq!(chosen(apim), "sqlite:apim.db");
    let own = format!("{apim}[database.sync_runtime_artifacts_db]\n");
    let with_url = format!("{own}url = \"sqlite://own.db\"");
    assert_eq!(chosen(&with_url), "sqlite://own.db");
    let with_type = format!("{own}type = \"sqlite\"");
    assert_eq!(chosen(&with_type), "");
    let with_neither = format!("{own}password = \"unused\"");
    assert_eq!(chosen(&with_neither), "sqlite:apim.db");
}

#[test]
fn a_database_is_described_as_wso2_describes_it() {
    let config = config(
        "[database.sync_runtime_artifacts_db]\ntype = \"mysql\"\n\
         url = \"jdbc:mysql://db:3306/am?user=u&password=leak\"\nusername = \"wso2\"\n\
         password = \"leak\"\ndriver = \"com.mysql.cj.jdbc.Driver\"\n\
         validationQuery = \"SELECT 1\"\n\
         pool_options.maxActive = \"50\"\npool_options.maxWait = 60000\n\
         pool_options.minIdle = 5\npool_options.testOnBorrow = \"false\"\n\
         pool_options.validationInterval = \"30000\"\npool_options.jmxEnabled = true",
    );
    let database = config.artifacts_database();
    assert_eq!(database.r#type, "mysql");
    assert_eq!(database.password.expose(), "leak");
    let pool = &database.pool_options;
    assert_eq!(
        (pool.max_active, pool.max_wait, pool.min_idle),
        (50, 60000, 5)
    );
    assert!(!pool.test_on_borrow);
    let untouched = config.database.apim_db.pool_options;
    let defaults = (untouched.max_active, untouched.max_wait, untouched.min_idle);
    assert_eq!(defaults, (16, 10000, 0));
    assert!(untouched.test_on_borrow);
    for shown in [format!("{database:?}"), format!("{config:?}")] {
        assert!(!shown.contains("leak"), "{shown}");
        assert!(shown.contains("jdbc:mysql://db:3306/am"), "{shown}");
    }
}

#[test]
fn what_a_database_lacks_is_named() {
    for (text, place) in [
        (
            "type = \"mysql\"",
            "d.toml:1:11: database.apim_db.url: must not be empty",
        ),
        (
            "username = \"u\"",
            "d.toml:1:11: database.apim_db.url: must not be empty",
        ),
        (
            "url = \"sqlite::memory:\"",
            "d.toml:2:1: database.apim_db.url: must name a file",
        ),
        (
            "pool_options.maxActive = 0",
            "d.toml:2:14: database.apim_db.pool_options.maxActive: ",
        ),
        (
            "pool_options.maxWait = 0",
            "d.toml:2:14: database.apim_db.pool_options.maxWait: ",
        ),
        (
            "pool_options.minIdle = 17",
            "d.toml:2:14: database.apim_db.pool_options.minIdle: ",
        ),
        ("pool_options.maxactive = 1", "d.toml:2:14: unknown key"),
    ] {
        let error = error(&format!("[database.apim_db]\n{text}"));
        assert!(error.starts_with(place), "{error}");
    }
    let own = error("[database.sync_runtime_artifacts_db]\ntype = \"mysql\"");
    assert!(
        own.contains("database.sync_runtime_artifacts_db.url: must not"),
        "{own}"
    );
}

#[test]
fn brokers_are_listed_in_order_of_preference() {
    let text = "[apim.event_hub]\nusername = \"u\"\npassword = \"p\"\n\
                event_listening_endpoints = [\"amqps://tm1\", \"tcp://[::1]:5673\"]\n";
    let hub = config(text);
    let endpoints = hub.event_hub_endpoints().unwrap();
    let all: Vec<_> = endpoints
        .iter()
        .map(|e| (e.tls, e.host.as_str(), e.port))
        .collect();
    assert_eq!(all, [(true, "tm1", 5671), (false, "::1", 5673)]);
    let hub = &hub.apim.event_hub;
    let rest = (
        hub.virtual_host.as_str(),
        hub.heartbeat,
        hub.failback_interval,
    );
    assert_eq!(rest, ("/", 30, 30000));
    let disabled = config(&format!("{text}enable = false"));
    assert!(disabled.event_hub_endpoints().unwrap().is_empty());
    assert!(config("").event_hub_endpoints().unwrap().is_empty());
}

#[test]
fn what_the_event_hub_lacks_is_named() {
    for (text, expected) in [
        (
            "event_listening_endpoints = [\"tcp://a\", \"tcp://u:leaked@b\"]",
            "d.toml:2:1: apim.event_hub.event_listening_endpoints: [1]: has a user; use username \
             and password instead",
        ),
        (
            "event_listening_endpoints = \"tcp://a\"",
            "d.toml:2:29: apim.event_hub.event_listening_endpoints: must be a list of strings, \
             found string",
        ),
        (
            "heartbeat = 65536",
            "d.toml:2:13: apim.event_hub.heartbeat: must be at most 65535, found 65536",
        ),
        (
            "failback_interval = 0",
            "d.toml:2:1: apim.event_hub.failback_interval: must be at least 1",
        ),
        (
            "virtual_host = \"\"",
            "d.toml:2:1: apim.event_hub.virtual_host: must not be empty; the usual one is \"/\"",
        ),
        (
            "tls.client_key = \"k.pem\"",
            "d.toml:2:1: apim.event_hub.tls.client_certificate: client_certificate and client_key \
             belong together; one of them is empty",
        ),
        (
            "tls.client_certificate = \"c.pem\"",
            "d.toml:2:1: apim.event_hub.tls.client_key: client_certificate and client_key belong \
             together; one of them is empty",
        ),
    ] {
        assert_eq!(error(&format!("[apim.event_hub]\n{text}")), expected);
    }
}

#[test]
fn savers_and_retrievers_are_known_by_their_names() {
    let publisher = "[apim.sync_runtime_artifacts.publisher]\n";
    assert_eq!(
        error(&format!(
            "{publisher}artifact_saver = \"GHSynchronizerSaver\""
        )),
        "d.toml:2:1: apim.sync_runtime_artifacts.publisher.artifact_saver: unknown saver; \
         known: DBSaver, FileSystemSaver"
    );
    let retriever = error("apim.sync_runtime_artifacts.gateway.artifact_retriever = \"X\"");
    assert!(
        retriever.ends_with("unknown retriever; known: DBRetriever, FileSystemRetriever"),
        "{retriever}"
    );
    assert_eq!(config("").file_system_directory(), None);
    let saver = format!("{publisher}artifact_saver = \"FileSystemSaver\"\n");
    let directory = |text: &str| config(text).file_system_directory().unwrap();
    assert_eq!(
        directory(&saver),
        std::path::Path::new("lockstep-data/synapse")
    );
    let named = format!("{saver}file_system_directory = \"/mnt/wso2\"");
    assert_eq!(directory(&named), std::path::Path::new("/mnt/wso2"));
}
