//! Placeholders in the user's file, and the secrets that they stand for.

use super::{config, error, load};

#[test]
fn a_value_may_have_several_of_them() {
    let config = config(
        "[server]\nhostname = \"a.$env{HOST}\"\n\
         [gateway]\nid = \"$ref{server.hostname}:$env{PORT}$env{EMPTY}/$ref{server.offset}\"",
    );
    assert_eq!(config.gateway.id, "a.gw.example:7000/0");
}

#[test]
fn numbers_booleans_and_lists_are_resolved_first_and_converted_then() {
    let config = config(
        "[publisher_saver]\nport = \"$env{PORT}\"\n\
         [gateway]\nmanagement_port = \"$ref{publisher_saver.port}\"\n\
         trace_header = \"$env{YES}\"\n\
         [lockstep]\nhistory_size = \"1$env{EMPTY}2\"\ndc = \"$ref{server.offset}\"\n\
         [database.apim_db.pool_options]\ntestOnBorrow = \"$ref{apim.event_hub.enable}\"\n\
         [apim.sync_runtime_artifacts.gateway]\ngateway_labels = [\"L-$env{HOST}\", \"b\"]\n\
         [apim.event_hub]\nusername = \"u\"\nenable = false\n\
         event_listening_endpoints = \"$ref{apim.sync_runtime_artifacts.gateway.gateway_labels}\"",
    );
    assert_eq!(config.publisher_saver_address().unwrap().port(), 7000);
    assert_eq!(config.gateway.management_port, 7000);
    assert!(config.gateway.trace_header);
    assert!(!config.database.apim_db.pool_options.test_on_borrow);
    assert_eq!(config.lockstep.history_size, 12);
    assert_eq!(config.lockstep.dc, "0");
    let labels = ["L-gw.example", "b"];
    assert_eq!(
        config.apim.sync_runtime_artifacts.gateway.gateway_labels,
        labels
    );
    assert_eq!(config.apim.event_hub.event_listening_endpoints, labels);
}

#[test]
fn what_is_put_in_is_not_resolved_again() {
    let config = config("[server]\nhostname = \"$env{NESTED} ${x} $ env{A} $env{\"");
    let expected = "$env{HOST} $ref{server.hostname} ${x} $ env{A} $env{";
    assert_eq!(config.server.hostname, expected);
}

#[test]
fn a_conversion_that_fails_shows_the_placeholder() {
    for (text, expected) in [
        (
            "server.offset = \"$env{WRONG}\"",
            "d.toml:1:17: server.offset: must be a whole number, found \"$env{WRONG}\"",
        ),
        (
            "publisher_saver.port = \"$env{HUGE}\"",
            "d.toml:1:24: publisher_saver.port: must be at most 65535, found \"$env{HUGE}\"",
        ),
        (
            "gateway.trace_header = \"$env{WRONG}\"",
            "d.toml:1:24: gateway.trace_header: must be true or false, found \"$env{WRONG}\"",
        ),
        (
            "management.bind_address = \"$env{WRONG}\"",
            "d.toml:1:12: management.bind_address: must be an IP address, found \"$env{WRONG}\"",
        ),
        (
            "server.offset = \"60000$env{EMPTY}\"",
            "d.toml:1:8: transport.passthru_http.listener.parameters.port: port 8280 + offset \
             60000$env{EMPTY} is above 65535",
        ),
        (
            "apim.sync_runtime_artifacts.gateway.gateway_labels = \"$env{WRONG}\"",
            "d.toml:1:54: apim.sync_runtime_artifacts.gateway.gateway_labels: must be a list of \
             strings, found string",
        ),
        (
            "gateway.id = \"$ref{apim.sync_runtime_artifacts.gateway.gateway_labels}\"",
            "d.toml:1:14: gateway.id: must be a string, found array",
        ),
        (
            "gateway = \"$env{WRONG}\"",
            "d.toml:1:11: gateway: must be a section, found string",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn what_cannot_be_resolved_is_named() {
    let references = "References can't be resolved for";
    for (text, expected) in [
        (
            "[server]\nhostname = \"a $env{ABSENT}\"",
            "d.toml:2:12: server.hostname: $env{ABSENT}: the environment variable is not set"
                .into(),
        ),
        (
            "server.hostname = \"$env{}\"",
            "d.toml:1:19: server.hostname: $env{}: the environment variable is not set".into(),
        ),
        (
            "server.hostname = \"$sys{carbon.home}\"",
            "d.toml:1:19: server.hostname: $sys{carbon.home}: there are no Java system properties \
             here; use $env{NAME}"
                .into(),
        ),
        (
            "server.hostname = \"$ref{server.name}\"",
            format!("d.toml:1:19: server.hostname: {references} server.name: there is no such key"),
        ),
        (
            "server.hostname = \"$ref{server}\"",
            format!("d.toml:1:19: server.hostname: {references} server: it is a section"),
        ),
        (
            "secrets.a = \"[b]\"\nserver.hostname = \"$ref{secrets.a}\"",
            format!(
                "d.toml:2:19: server.hostname: {references} secrets.a: secrets are referred to by \
                 $secret{{alias}}"
            ),
        ),
        (
            "gateway.id = \"x$ref{apim.event_hub.event_listening_endpoints}\"",
            format!(
                "d.toml:1:14: gateway.id: {references} apim.event_hub.event_listening_endpoints: \
                 it is a list, which has to be the whole value"
            ),
        ),
        (
            "gateway.id = \"$ref{gateway.id}\"",
            format!(
                "d.toml:1:14: gateway.id: {references} gateway.id -> gateway.id: they lead in a \
                 circle"
            ),
        ),
        (
            "gateway.id = \"$ref{lockstep.dc}\"\nserver.hostname = \"$ref{gateway.id}\"\n\
             lockstep.dc = \"x$ref{server.hostname}\"",
            format!(
                "d.toml:2:19: server.hostname: {references} gateway.id -> lockstep.dc -> \
                 server.hostname -> gateway.id: they lead in a circle"
            ),
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn secrets_are_looked_at_first_and_references_last() {
    let text = "gateway.id = \"$ref{absent}\"\nserver.hostname = \"$env{ABSENT}\"\n\
                lockstep.dc = \"$sys{absent}\"\nlockstep.data_dir = \"$secret{absent}\"";
    let expected = "d.toml:4:21: lockstep.data_dir: Secret references can't be resolved for \
                    absent: there is no such alias in [secrets]";
    assert_eq!(error(text), expected);
    let text = text.replace("$secret{absent}", "x");
    assert!(error(&text).contains("$sys{absent}"));
    let text = text.replace("$sys{absent}", "x");
    assert!(error(&text).contains("$env{ABSENT}"));
}

#[test]
fn a_secret_is_in_the_file_the_environment_or_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broker");
    std::fs::write(&file, "from a file\r\n").unwrap();
    let file = file.display();
    let (config, plain) = load(&format!(
        "[secrets]\nplain = \"[a]$env{{X}}]\"\nunused = \"[]\"\n\
         variable = \"$env{{DB_PASSWORD}}\"\nfile = \"file:{file}\"\nurl = \"file://{file}\"\n\
         [database.apim_db]\nusername = \"$secret{{url}}\"\npassword = \"$secret{{plain}}\"\n\
         url = \"x\"\n\
         [database.sync_runtime_artifacts_db]\npassword = \"$secret{{variable}}\"\n\
         [apim.event_hub]\npassword = \"$secret{{file}}/$env{{PORT}}\"",
    ))
    .unwrap();
    let database = &config.database;
    assert_eq!(database.apim_db.password.expose(), "a]$env{X}");
    assert_eq!(database.apim_db.username, "from a file");
    let own = &database.sync_runtime_artifacts_db;
    assert_eq!(own.password.expose(), "leaked-password");
    assert_eq!(config.apim.event_hub.password.expose(), "from a file/7000");
    assert_eq!(plain, ["plain", "unused"]);
}

#[test]
fn a_path_of_a_secret_may_have_environment_variables() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gw.example"), "x\n\n").unwrap();
    let folder = directory.path().display();
    let config = config(&format!(
        "secrets.a = \"file:{folder}/$env{{HOST}}\"\napim.event_hub.password = \"$secret{{a}}\""
    ));
    assert_eq!(config.apim.event_hub.password.expose(), "x\n");
}

#[test]
fn a_secret_that_cannot_be_had_is_named_at_its_entry() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("long");
    std::fs::write(&long, "x".repeat(65537)).unwrap();
    let binary = directory.path().join("binary");
    std::fs::write(&binary, [0xff]).unwrap();
    let encrypted = "values encrypted by WSO2's cipher tool cannot be read; write \"[plain text]\", \
                     \"$env{NAME}\" or \"file:/path\"";
    for (kept, expected) in [
        ("\"bGVha2Vk\"".to_owned(), encrypted),
        ("\"\"".into(), encrypted),
        ("\"file:\"".into(), encrypted),
        ("\"x$env{HOST}\"".into(), encrypted),
        ("\"$ref{server.hostname}\"".into(), encrypted),
        ("1".into(), "must be a string, found integer"),
        ("{ b = \"[x]\" }".into(), "must be a string, found table"),
        (
            "\"$env{ABSENT}\"".into(),
            "$env{ABSENT}: the environment variable is not set",
        ),
        (
            "\"file:/$env{ABSENT}\"".into(),
            "$env{ABSENT}: the environment variable is not set",
        ),
        (
            "\"file:/$ref{a}\"".into(),
            "only $env{NAME} can stand in a path",
        ),
        (
            "\"file:/absent/$env{DB_PASSWORD}\"".into(),
            "file /absent/$env{DB_PASSWORD}: No such file or directory (os error 2)",
        ),
        (
            format!("\"file:{}\"", long.display()),
            "a secret may have 65536 bytes",
        ),
        (format!("\"file:{}\"", binary.display()), "is not UTF-8"),
    ] {
        let error = error(&format!(
            "[secrets]\na = {kept}\n[apim.event_hub]\npassword = \"$secret{{a}}\""
        ));
        assert!(error.starts_with("d.toml:2:5: secrets.a: "), "{error}");
        assert!(error.ends_with(expected), "{error}");
    }
}
