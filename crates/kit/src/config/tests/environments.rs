//! Gateway environments.

use super::{config, error};

const DIRECTLY: &str = "apim.sync_runtime_artifacts.publisher.publish_directly_to_gateway = true\n";

fn environment(lines: &str) -> String {
    format!("[[apim.gateway.environment]]\n{lines}\n")
}

#[test]
fn environments_are_sections_with_api_managers_keys() {
    let text = environment(
        "name = \"Default\"\ntype = \"hybrid\"\ndisplay_in_api_console = true\n\
         service_url = \"https://$env{HOST}:9445/services/\"\nusername = \"a\"\n\
         password = \"$env{DB_PASSWORD}\"\nhttp_endpoint = \"http://localhost:${http.nio.port}\"",
    );
    assert!(config(&text).direct_environments().is_empty());
    let config = config(&format!("{DIRECTLY}{text}"));
    let [found] = config.direct_environments() else {
        panic!("{config:?}");
    };
    assert_eq!(
        (found.name.as_str(), found.base_url()),
        ("Default", "https://gw.example:9445")
    );
    assert_eq!(found.password.expose(), "leaked-password");
    assert!(!config.effective().unwrap().contains("leaked"));
    assert!(!format!("{found:?}").contains("leaked"));
}

#[test]
fn what_is_wrong_with_an_environment_is_named_with_its_place() {
    assert_eq!(
        error(DIRECTLY),
        "d.toml:1:39: apim.sync_runtime_artifacts.publisher.publish_directly_to_gateway: needs at \
         least one [[apim.gateway.environment]]"
    );
    let good = "name = \"L\"\nservice_url = \"https://gw:1\"\n";
    for (lines, expected) in [
        ("service_url = \"https://gw:1\"", "name: must not be empty"),
        (
            "name = \"L\"",
            "service_url: must be https://HOST:PORT/services/",
        ),
        (
            "name = \"L\"\nservice_url = \"http://gw:1\"",
            "service_url: must be https://HOST:PORT/services/",
        ),
        (
            "name = \"L\"\nservice_url = \"https://gw:${mgt.transport.https.port}/services/\"",
            "service_url: must be an address; Carbon's own ${…} is not known here",
        ),
        (
            &format!("{good}username = \"u\""),
            "username: username and password belong together",
        ),
        (
            &format!("{good}username = \"u\"\npassword = \"p\"\ntoken = \"t\""),
            "token: username and token exclude one another",
        ),
        (
            &format!("{good}[[apim.gateway.environment]]\n{good}"),
            "name: is that of another environment, too",
        ),
    ] {
        let error = error(&format!("{DIRECTLY}{}", environment(lines)));
        let at = |index: usize| format!("apim.gateway.environment.{index}.{expected}");
        assert!(
            error.contains(&at(0)) || error.contains(&at(1)),
            "{error} / {expected}"
        );
    }
}
