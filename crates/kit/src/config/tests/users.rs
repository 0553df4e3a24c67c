//! Users in deployment.toml and in a file of their own.

use super::{config, error, load};

/// Argon2id with the least parameters.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$\
                    aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

fn entry(lines: &str) -> String {
    format!("[[apim.internal.user]]\n{lines}\n")
}

#[test]
fn users_are_sections_with_placeholders_and_are_printed_without_secrets() {
    let token = format!("sha256:{}", "ab".repeat(32));
    let mut text = entry(
        "username = \"$env{HOST}\"\npassword = \"$secret{hash}\"\nroles = [\"gateway\"]\n\
         gateway_id = \"g1\"\nlabels = [\"L1\", \"$env{HOST}\"]",
    );
    for index in 1..12 {
        text += &entry(&format!(
            "username = \"u{index}\"\ncertificate_name = \"c{index}\"\nroles = [\"viewer\"]"
        ));
    }
    text += &entry(&format!(
        "username = \"t\"\ntoken = \"{token}\"\nroles = [\"publisher\", \"operator\"]"
    ));
    text += &format!("[secrets]\nhash = \"[{HASH}]\"\n");
    let config = config(&text);
    let names: Vec<&str> = config
        .users
        .iter()
        .map(|u| u.caller.name.as_str())
        .collect();
    assert_eq!(names[..3], ["gw.example", "u1", "u2"]);
    assert_eq!(names[11..], ["u11", "t"]);
    let first = &config.users[0];
    assert!(first.password.is_some() && first.token.is_none());
    assert_eq!(first.caller.labels, ["L1", "gw.example"]);
    assert!(first.caller.speaks_for("g1") && !first.caller.speaks_for("g2"));
    assert!(config.has_users());

    let printed = config.effective().unwrap();
    assert!(
        !printed.contains(&token) && !printed.contains("argon2id"),
        "{printed}"
    );
    let printed: toml::Table = printed.parse().unwrap();
    let users = printed["apim"]["internal"]["user"].as_array().unwrap();
    assert_eq!(users.len(), 13);
    assert_eq!(users[0]["password"].as_str(), Some("********"));
    assert_eq!(users[12]["token"].as_str(), Some("********"));
    assert_eq!(users[2]["username"].as_str(), Some("u2"));
}

#[test]
fn what_is_wrong_with_a_user_is_named_with_its_place_and_without_secrets() {
    let good = format!("username = \"a\"\npassword = \"{HASH}\"\nroles = [\"viewer\"]\n");
    for (lines, expected) in [
        (
            "username = \"a\"\nroles = [\"viewer\"]".to_owned(),
            "d.toml:2:1: apim.internal.user.0.username: needs a password, a token or a \
             certificate_name",
        ),
        (
            good.replace(HASH, "leaked"),
            "d.toml:3:1: apim.internal.user.0.password: must be an argon2id hash",
        ),
        (
            format!("{good}token = \"leaked\""),
            "d.toml:5:1: apim.internal.user.0.token: must be sha256:",
        ),
        (
            good.replace("viewer", "admin"),
            "d.toml:4:1: apim.internal.user.0.roles: [0]: unknown role; known: gateway, \
             publisher, operator, viewer",
        ),
        (
            good.replace("\"viewer\"", ""),
            "d.toml:4:1: apim.internal.user.0.roles: name at least one",
        ),
        (
            format!("{good}rolls = []"),
            "d.toml:5:1: unknown key apim.internal.user.0.rolls; did you mean roles?",
        ),
        (
            format!("{good}gateway_id = \"g\""),
            "d.toml:5:1: apim.internal.user.0.gateway_id: only a user with the role gateway",
        ),
        (
            good.replace("viewer", "publisher") + "labels = [\"L\"]",
            "d.toml:5:1: apim.internal.user.0.labels: cannot limit",
        ),
        (
            format!("{good}[[apim.internal.user]]\n{good}"),
            "d.toml:6:1: apim.internal.user.1.username: another user has the same name",
        ),
        (
            good.replace("\"a\"", "\"a:b\""),
            "d.toml:2:1: apim.internal.user.0.username: must have no colon",
        ),
        (
            good.replace("username = \"a\"\n", ""),
            "d.toml:1:1: apim.internal.user.0.username: must have 1 to 255 bytes",
        ),
    ] {
        let error = error(&entry(&lines));
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("leaked"), "{error}");
    }
    for (text, expected) in [
        (
            "user = [1]",
            "d.toml:2:9: apim.internal.user.0: must be a section",
        ),
        (
            "user = \"$env{HOST}\"",
            "d.toml:2:8: apim.internal.user: must be a list of sections",
        ),
    ] {
        let error = error(&format!("[apim.internal]\n{text}"));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn users_of_a_file_of_their_own_are_added() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.toml");
    let text = format!(
        "[management]\nusers_file = {file:?}\n{}",
        entry(&format!(
            "username = \"a\"\npassword = \"{HASH}\"\nroles = [\"viewer\"]"
        ))
    );
    let user = |name: &str| {
        format!(
            "[[user]]\nusername = \"{name}\"\npassword = \"$secret{{h}}\"\nroles = [\"viewer\"]\n"
        )
    };
    std::fs::write(&file, format!("{}[secrets]\nh = \"[{HASH}]\"", user("b"))).unwrap();
    assert_eq!(config(&text).users.len(), 2);
    std::fs::write(&file, user("c")).unwrap();
    let missing = load(&text).unwrap_err().to_string();
    assert!(
        missing.contains("users.toml:3:12: user.0.password: "),
        "{missing}"
    );
    std::fs::write(&file, format!("{}[secrets]\nh = \"[{HASH}]\"", user("a"))).unwrap();
    let twice = load(&text).unwrap_err().to_string();
    assert!(
        twice.contains("users.toml:2:1: user.0.username: another user"),
        "{twice}"
    );
    std::fs::remove_file(&file).unwrap();
    let gone = load(&text).unwrap_err().to_string();
    assert!(gone.contains("users.toml: cannot be read"), "{gone}");
}
