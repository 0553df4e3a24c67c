//! The configuration as it is printed.

use super::{config, load};

const TEXT: &str = "\
[secrets]
plain = \"[leak 1]\"
[server]
hostname = \"$env{HOST}\"
[gateway]
id = \"x-$secret{plain}\"
management_port = \"$env{PORT}\"
[lockstep]
dc = \"$ref{gateway.id}\"
[apim.event_hub]
password = \"leak 2\"
username = \"$ref{database.apim_db.password}\"
tls.client_key = \"k.pem\"
tls.client_certificate = \"c.pem\"
[database.apim_db]
url = \"jdbc:mysql://u:leak4@db/am?password=leak5&x=y\"
password = \"leak 3\"
[database.sync_runtime_artifacts_db]
url = \"jdbc:mysql://db/am?x=$env{DB_PASSWORD}\"";

#[test]
fn what_is_secret_is_masked() {
    let config = config(TEXT);
    let printed = config.effective().unwrap();
    let shown = format!("{config:?}");
    assert!(
        !printed.contains("leak") && !shown.contains("leak"),
        "{printed}"
    );
    let table: toml::Table = printed.parse().unwrap();
    let mask = "********";
    for (path, expected) in [
        ("secrets.plain", mask),
        ("server.hostname", "gw.example"),
        ("gateway.id", mask),
        ("lockstep.dc", mask),
        ("apim.event_hub.password", mask),
        ("apim.event_hub.username", mask),
        ("apim.event_hub.tls.client_key", "k.pem"),
        ("database.apim_db.password", mask),
        (
            "database.apim_db.url",
            "jdbc:mysql://********@db/am?password=********&x=y",
        ),
        ("database.sync_runtime_artifacts_db.url", mask),
        ("database.sync_runtime_artifacts_db.password", ""),
    ] {
        let value = path
            .split('.')
            .fold(None, |at: Option<&toml::Value>, key| match at {
                None => table.get(key),
                Some(value) => value.get(key),
            });
        assert_eq!(value.unwrap().as_str(), Some(expected), "{path}");
    }
    assert!(printed.contains("management_port = 7000"), "{printed}");
}

#[test]
fn it_has_every_key_and_can_be_read_again() {
    let mut config = config("server.offset = 5");
    config.server.offset = 7;
    config.lockstep.data_dir = "elsewhere".into();
    let printed = config.effective().unwrap();
    let (again, plain) = load(&printed).unwrap();
    assert!(plain.is_empty());
    assert_eq!(again.server.offset, 7);
    assert_eq!(again.lockstep.data_dir.display().to_string(), "elsewhere");
    assert_eq!(again.effective().unwrap(), printed);
    assert!(printed.contains("minEvictableIdleTimeMillis = 60000"));
}
