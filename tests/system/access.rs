//! Who may do what at the management interfaces.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use kit::access::{hash_password, token_hash};
use kit::credentials::Credentials;
use kit::http_client::Trust;
use kit::secret::Secret;
use serde_json::json;
use tempfile::TempDir;

use super::kit_of_tests::{Running, Up, answering_dto, client, free_ports, program, run};

const CALLERS: [&str; 7] = [
    "nobody",
    "a wrong password",
    "gateway",
    "publisher",
    "operator",
    "viewer",
    "admin",
];

/// Too many wrong passwords would close the door for this address.
const NOT_ASKED: u16 = 0;

/// A resource, what is sent to it, and the status that each of [`CALLERS`] gets.
type Row = (
    &'static str,
    &'static str,
    Option<serde_json::Value>,
    [u16; 7],
);

fn resources() -> Vec<Row> {
    let notice = json!({"payloadType": "HEARTBEAT", "gatewayId": "g1",
                        "environmentLabels": ["Label1"], "timeStamp": 1});
    let publish = json!({"labels": ["Label1"], "dryRun": true, "items": []});
    let open = [200; 7];
    vec![
        ("GET", "/healthz", None, open),
        ("GET", "/readyz", None, [200, 401, 200, 200, 200, 200, 200]),
        // Artifacts are for gateways only.
        (
            "GET",
            "/internal/data/v1/label-log?gatewayLabel=Label1",
            None,
            [401, 401, 200, 403, 403, 403, 403],
        ),
        (
            "GET",
            "/internal/data/v1/gateway-synapse-artifacts?gatewayLabel=Label1",
            None,
            [401, NOT_ASKED, 200, 403, 403, 403, 403],
        ),
        (
            "GET",
            "/internal/data/v1/synapse-artifacts?apiId=x",
            None,
            [401, NOT_ASKED, 200, 403, 403, 403, 403],
        ),
        (
            "GET",
            "/internal/data/v1/synapse-attributes?apiName=x",
            None,
            [401, NOT_ASKED, 200, 403, 200, 403, 200],
        ),
        (
            "GET",
            "/internal/data/v1/label-log/index?gatewayLabel=Label1",
            None,
            [401, NOT_ASKED, 200, 403, 200, 403, 200],
        ),
        (
            "GET",
            "/internal/data/v1/label-log/digest?gatewayLabel=Label1",
            None,
            [401, NOT_ASKED, 200, 403, 200, 403, 200],
        ),
        (
            "GET",
            "/metrics",
            None,
            [401, NOT_ASKED, 403, 403, 200, 200, 200],
        ),
        (
            "POST",
            "/internal/data/v1/notify-gateway",
            Some(notice),
            [401, 401, 200, 403, 403, 403, 403],
        ),
        (
            "POST",
            "/internal/data/v1/notify-api-deployment-status",
            Some(json!({"count": 0, "list": []})),
            [401, 401, 200, 403, 403, 403, 403],
        ),
        (
            "GET",
            "/api/lockstep/v1/apis",
            None,
            [401, 401, 403, 403, 200, 200, 200],
        ),
        (
            "GET",
            "/api/lockstep/v1/apis?apiId=x",
            None,
            [401, 401, 403, 200, 200, 200, 200],
        ),
        (
            "GET",
            "/api/lockstep/v1/gateways",
            None,
            [401, NOT_ASKED, 403, 200, 200, 200, 200],
        ),
        (
            "GET",
            "/api/lockstep/v1/labels",
            None,
            [401, NOT_ASKED, 403, 403, 200, 200, 200],
        ),
        (
            "GET",
            "/api/lockstep/v1/apis/x/revisions/1",
            None,
            [401, NOT_ASKED, 403, 403, 404, 404, 404],
        ),
        (
            "GET",
            "/api/lockstep/v1/explain?api=x&gateway=x",
            None,
            [401, NOT_ASKED, 403, 404, 404, 404, 404],
        ),
        (
            "GET",
            "/api/lockstep/v1/rollouts/x/1/wait",
            None,
            [401, NOT_ASKED, 403, 404, 404, 404, 404],
        ),
        (
            "DELETE",
            "/api/lockstep/v1/gateways/nobody",
            None,
            [401, 401, 403, 403, 404, 403, 404],
        ),
        (
            "GET",
            "/api/lockstep/v1/repairs",
            None,
            [401, NOT_ASKED, 403, 403, 200, 200, 200],
        ),
        (
            "POST",
            "/api/lockstep/v1/repairs/nobody/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/accept",
            None,
            [401, NOT_ASKED, 403, 403, 404, 403, 404],
        ),
        (
            "POST",
            "/api/lockstep/v1/publish",
            Some(publish),
            [401, 401, 403, 200, 403, 403, 200],
        ),
        (
            "DELETE",
            "/api/lockstep/v1/apis?name=x&version=1",
            None,
            [401, 401, 403, 404, 403, 403, 404],
        ),
        ("GET", "/nowhere", None, [404; 7]),
    ]
}

#[tokio::test]
async fn each_role_reaches_its_resources_and_no_others() {
    let up = Up::start(&["--gateways", "1"]).await;
    let wrong = Credentials::basic("viewer", Secret::new("wrong"));
    let mut clients = vec![up.client(), client(up.directory.path(), &wrong)];
    clients.extend(CALLERS[2..].iter().map(|user| up.client_of(user)));
    let mut unexpected = Vec::new();
    for (method, path, body, expected) in resources() {
        for ((who, client), expected) in CALLERS.iter().zip(&clients).zip(expected) {
            if expected == NOT_ASKED {
                continue;
            }
            let url = format!("{}{path}", up.management);
            let request = client.request(method.parse().unwrap(), url);
            let request = match &body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            if status != expected {
                unexpected.push(format!(
                    "{method} {path} by {who}: {status}, not {expected}"
                ));
            }
            if status >= 400 {
                let kind = &answer.headers()["content-type"];
                assert_eq!(kind, "application/problem+json", "{method} {path} by {who}");
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");

    // Names of labels are for users.
    let ready = async |client: &reqwest::Client| -> serde_json::Value {
        let answer = client.get(format!("{}/readyz", up.management)).send().await;
        answer.unwrap().json().await.unwrap()
    };
    assert!(ready(&clients[0]).await["labelLogs"].is_u64());
    assert!(ready(&clients[5]).await["labelLogs"]["Production and Sandbox"].is_u64());

    // The command is as clear about it, and the password in the file is what curl would send.
    let file = up.file("a.json", answering_dto("A", "/a", "x"));
    let refused = up.command(&["publish", &file, "--user", "viewer"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("does not allow the user viewer to do this: this needs the role publisher"),
        "{refused:?}"
    );
    let wrong = up.file("wrong", "wrong\n");
    let arguments = ["list", "--user", "operator", "--password-file", &wrong];
    let refused = up.command(&arguments).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("does not let the user operator in: the user or the password is wrong"),
        "{refused:?}"
    );
    let right = up.directory.path().join("data/access/operator");
    let arguments = [
        "list",
        "--user",
        "operator",
        "--password-file",
        right.to_str().unwrap(),
    ];
    assert_eq!(up.command(&arguments).await.code, 0);
    let publish = ["publish", &file, "--user", "publisher", "--wait"];
    let published = up.command(&publish).await;
    assert_eq!(published.code, 0, "{published:?}");
}

/// A traffic manager as a process of its own.
struct Manager {
    directory: TempDir,
    url: String,
    running: Running,
}

impl Manager {
    async fn start(more: impl Fn(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conf = free_ports(directory.path(), &more(directory.path()));
        let arguments = ["--conf", conf.to_str().unwrap()];
        let mut running = Running::start("traffic-manager", &arguments);
        let line = running.line("listens on").await;
        let (_, address) = line.rsplit_once(' ').unwrap();
        let port = address.rsplit(':').next().unwrap();
        Self {
            directory,
            url: format!("https://localhost:{port}"),
            running,
        }
    }

    async fn get(&self, credentials: &Credentials, path: &str) -> reqwest::Response {
        let client = client(self.directory.path(), credentials);
        let url = format!("{}{path}", self.url);
        client.get(url).send().await.unwrap()
    }

    async fn label_log(&self, credentials: &Credentials, label: &str) -> (u16, String) {
        let path = format!("/internal/data/v1/label-log?gatewayLabel={label}");
        let answer = self.get(credentials, &path).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_gateway_reads_its_labels_and_speaks_for_itself() {
    let token = token_hash("a-token-of-gw1");
    let user = format!(
        "[[apim.internal.user]]\nusername = \"gw1\"\ntoken = \"{token}\"\nroles = [\"gateway\"]\n\
         gateway_id = \"g1\"\nlabels = [\"Label1\"]\n"
    );
    let manager = Manager::start(|_| user.clone()).await;
    let credentials = Credentials::bearer(Secret::new("a-token-of-gw1"));
    assert_eq!(manager.label_log(&credentials, "Label1").await.0, 200);
    let (status, problem) = manager.label_log(&credentials, "Label2").await;
    assert_eq!(status, 403);
    assert!(problem.contains("label-not-allowed"), "{problem}");
    let other = Credentials::bearer(Secret::new("a-token-of-gw2"));
    assert_eq!(manager.label_log(&other, "Label1").await.0, 401);
    // There are no development users where others are configured.
    assert!(!manager.directory.path().join("data/access").exists());

    let client = client(manager.directory.path(), &credentials);
    let post = async |resource: &str, body: serde_json::Value| {
        let url = format!("{}/internal/data/v1/{resource}", manager.url);
        let answer = client.post(url).json(&body).send().await.unwrap();
        answer.status().as_u16()
    };
    let notice = |id: &str, label: &str| {
        json!({"payloadType": "HEARTBEAT", "gatewayId": id, "environmentLabels": [label],
               "timeStamp": 1})
    };
    assert_eq!(post("notify-gateway", notice("g1", "Label1")).await, 200);
    assert_eq!(post("notify-gateway", notice("g2", "Label1")).await, 403);
    assert_eq!(post("notify-gateway", notice("g1", "Label2")).await, 403);
    let report = |id: &str| {
        let digest = "0".repeat(64);
        json!({"count": 1, "list": [{"gatewayId": id, "apiId": "a", "tenantDomain": "carbon.super",
               "deploymentStatus": "SUCCESS", "action": "DEPLOY", "revisionId": digest,
               "revision": 1, "timeStamp": 1}]})
    };
    assert_eq!(
        post("notify-api-deployment-status", report("g1")).await,
        200
    );
    assert_eq!(
        post("notify-api-deployment-status", report("g2")).await,
        403
    );
}

/// An authority, and certificates that it has signed.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Credentials with a certificate of this common name.
    fn client(&self, directory: &Path, name: &str) -> Credentials {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let common_name = rcgen::DnType::CommonName;
        params.distinguished_name.push(common_name, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|end| directory.join(format!("{name}.{end}")));
        std::fs::write(&files[0], certificate.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        let [certificate, key] = files;
        Credentials::none().with_certificate(certificate, key)
    }
}

#[tokio::test]
async fn an_operator_limited_to_a_label_neither_sees_nor_forgets_other_gateways() {
    let user = |name: &str, role: &str, more: &str| {
        let token = token_hash(&format!("a-token-of-{name}"));
        format!(
            "[[apim.internal.user]]\nusername = \"{name}\"\ntoken = \"{token}\"\n\
             roles = [\"{role}\"]\n{more}"
        )
    };
    let users = [
        user("gw", "gateway", ""),
        user("all", "operator", ""),
        user("one", "operator", "labels = [\"Label1\"]\n"),
    ];
    let manager = Manager::start(|_| users.concat()).await;
    let of = |name: &str| Credentials::bearer(Secret::new(format!("a-token-of-{name}")));
    let request = async |method: &str, name: &str, path: &str, body: serde_json::Value| {
        let client = client(manager.directory.path(), &of(name));
        let request = client.request(method.parse().unwrap(), format!("{}{path}", manager.url));
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for (id, labels) in [
        ("g1", json!(["Label1", "Label2"])),
        ("g2", json!(["Label2"])),
    ] {
        let notice = json!({"payloadType": "REGISTER", "gatewayId": id,
                            "environmentLabels": labels, "timeStamp": 1});
        let path = "/internal/data/v1/notify-gateway";
        assert_eq!(request("POST", "gw", path, notice).await.0, 200);
    }
    let gateways = "/api/lockstep/v1/gateways";
    let (status, seen) = request("GET", "one", gateways, json!(null)).await;
    assert_eq!(status, 200);
    assert!(
        seen.contains("g1") && !seen.contains("g2") && !seen.contains("Label2"),
        "{seen}"
    );
    let forget = format!("{gateways}/g2");
    assert_eq!(request("DELETE", "one", &forget, json!(null)).await.0, 404);
    let (_, seen) = request("GET", "all", gateways, json!(null)).await;
    assert!(seen.contains("g2"), "{seen}");
    assert_eq!(request("DELETE", "all", &forget, json!(null)).await.0, 200);
    assert_eq!(request("GET", "one", "/metrics", json!(null)).await.0, 403);
}

#[tokio::test]
async fn a_client_certificate_says_who_is_calling() {
    let authority = Authority::new();
    let manager = Manager::start(|directory| {
        let file = directory.join("clients.pem");
        std::fs::write(&file, &authority.pem).unwrap();
        format!(
            "[management.tls]\nclient_authority = {file:?}\n\
             [[apim.internal.user]]\nusername = \"gw1\"\ncertificate_name = \"GW1.example\"\n\
             roles = [\"gateway\"]\n"
        )
    })
    .await;
    let directory = manager.directory.path();
    let known = authority.client(directory, "gw1.example");
    assert_eq!(manager.label_log(&known, "Label1").await.0, 200);
    let unknown = authority.client(directory, "gw2.example");
    assert_eq!(manager.label_log(&unknown, "Label1").await.0, 401);
    assert_eq!(manager.label_log(&Credentials::none(), "L").await.0, 401);
    // Who shows a name and a password, is judged by them.
    let both = Credentials::basic("gw1", Secret::new("x")).with_certificate(
        directory.join("gw1.example.pem"),
        directory.join("gw1.example.key"),
    );
    assert_eq!(manager.label_log(&both, "Label1").await.0, 401);
    let stranger = Authority::new().client(directory, "gw1.example");
    let trust = Trust::Only(directory.join("data/tls/ca.pem"));
    let client = kit::http_client::client(&trust, &stranger).unwrap();
    let url = format!("{}/healthz", manager.url);
    assert!(
        client.get(url).send().await.is_err(),
        "not of the authority"
    );
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let manager = Manager::start(|_| String::new()).await;
    let apis = "/api/lockstep/v1/apis";
    for _ in 0..10 {
        let guess = Credentials::basic("admin", Secret::new("guess"));
        assert_eq!(manager.get(&guess, apis).await.status(), 401);
    }
    let data = manager.directory.path().join("data");
    let right = Credentials::development(&data, "admin").unwrap();
    let answer = manager.get(&right, apis).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "too-many-failures");
    assert_eq!(
        manager.get(&Credentials::none(), "/readyz").await.status(),
        200
    );
}

#[tokio::test]
async fn writes_and_refusals_are_in_the_audit_log_without_secrets() {
    let manager = Manager::start(|_| String::new()).await;
    let forget = "/api/lockstep/v1/gateways/nobody?more=in-the-query";
    let wrong = Credentials::basic("typed-here", Secret::new("typed-there"));
    let data = manager.directory.path().join("data");
    let operator = Credentials::development(&data, "operator").unwrap();
    let viewer = Credentials::development(&data, "viewer").unwrap();
    for (credentials, expected) in [(wrong, 401), (viewer, 403), (operator, 404)] {
        let client = client(manager.directory.path(), &credentials);
        let url = format!("{}{forget}", manager.url);
        assert_eq!(client.delete(url).send().await.unwrap().status(), expected);
    }
    let log = manager.running.log().await;
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" audit: "))
        .collect();
    let place = "method=\"DELETE\" path=\"/api/lockstep/v1/gateways/nobody\"";
    let remote = "remote=\"127.0.0.1\"";
    for (line, expected) in lines.iter().zip([
        format!(
            "refused user=\"(unknown)\" {place} status=401 {remote} reason=\"bad-credentials\""
        ),
        format!("refused user=\"viewer\" {place} status=403 {remote} reason=\"role-missing\""),
        format!("write user=\"operator\" role=\"operator\" {place} status=404 {remote}"),
    ]) {
        assert!(line.ends_with(&expected), "{line}");
    }
    assert_eq!(lines.len(), 3, "{log}");
    for secret in ["typed-here", "typed-there", "in-the-query"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_cluster_with_users_of_its_own_converges() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users.toml");
    let hash = hash_password("a password").unwrap();
    let text = format!(
        "[[user]]\nusername = \"all-gateways\"\npassword = \"{hash}\"\nroles = [\"gateway\"]\n"
    );
    std::fs::write(&users, text).unwrap();
    let conf = free_ports(
        directory.path(),
        &format!(
            "[management]\nusers_file = {users:?}\n[apim.event_hub.service]\n\
             username = \"all-gateways\"\npassword = \"$secret{{gateway}}\"\n\
             [secrets]\ngateway = \"[a password]\"\n"
        ),
    );
    let arguments = ["up", "--once", "--conf", conf.to_str().unwrap()];
    let finished = run("lockstep", &arguments).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(!finished.text().contains("a password"), "{finished:?}");
}

#[tokio::test]
async fn hashes_and_tokens_are_made_by_the_command() {
    let mut child = std::process::Command::new(program("lockstep"))
        .args(["user", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"a password\n")
        .unwrap();
    let printed = child.wait_with_output().unwrap();
    assert!(printed.status.success());
    let hash = String::from_utf8(printed.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m="), "{hash}");
    assert_eq!(
        run("lockstep", &["user", "hash"]).await.code,
        2,
        "an empty password"
    );

    let printed = run("lockstep", &["user", "token"]).await.stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(token_hash(lines[0]), lines[1]);

    let directory = tempfile::tempdir().unwrap();
    let user = format!(
        "[[apim.internal.user]]\nusername = \"a\"\npassword = \"{}\"\ntoken = \"{}\"\n\
         roles = [\"viewer\"]\n",
        hash.trim(),
        lines[1]
    );
    let conf = free_ports(directory.path(), &user);
    let arguments = ["--print-config", "--conf", conf.to_str().unwrap()];
    let printed = run("traffic-manager", &arguments).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(
        printed.stdout.contains("password = \"********\"\n"),
        "{printed:?}"
    );
    assert!(!printed.text().contains("argon2id"), "{printed:?}");
    assert!(!printed.text().contains(lines[1]), "{printed:?}");
}
