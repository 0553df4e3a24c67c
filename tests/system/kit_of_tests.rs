//! What the system tests share: programs as processes, a back end that tells what it got.

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use kit::credentials::Credentials;
use kit::http_client::Trust;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long any condition may take before the test fails. Nothing waits for it in vain.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value.
pub async fn eventually<T, F, Fut>(what: &str, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A program of the workspace, built once.
pub fn program(name: &str) -> PathBuf {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    let directory = TARGET.get_or_init(|| {
        // …/target/debug/deps/system-0123 -> …/target/debug
        let test = std::env::current_exe().unwrap();
        let directory = test.parent().unwrap().parent().unwrap().to_owned();
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--workspace", "--bins", "--quiet"]);
        if directory.ends_with("release") {
            build.arg("--release");
        }
        build.current_dir(workspace());
        assert!(
            build.status().unwrap().success(),
            "the programs do not build"
        );
        directory
    });
    directory.join(name)
}

/// The root of the project.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The folder of shared test data, or `None` with a line that says what is left out.
pub fn shared(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LOCKSTEP_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    // Not by a print macro: the test runner keeps those of tests that pass.
    let line = format!("LEFT OUT: {what}: {} is not there\n", folder.display());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A configuration file with every port left to the operating system.
pub fn free_ports(directory: &Path, more: &str) -> PathBuf {
    let file = directory.join("deployment.toml");
    let data = directory.join("data");
    let text = format!(
        "[lockstep]\ndata_dir = {data:?}\n\
         [transport.https.properties]\nport = 0\n\
         [publisher_saver]\nport = 0\n\
         [sample_back_end]\nport = 0\n\
         [transport.passthru_http.listener.parameters]\nport = 0\n\
         [transport.passthru_https.listener.parameters]\nport = 0\n\
         [gateway]\nmanagement_port = 0\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// What a finished program did.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output and error in one.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a program to its end.
pub async fn run(name: &str, arguments: &[&str]) -> Finished {
    let output = Command::new(program(name))
        .args(arguments)
        .current_dir(workspace())
        .env_remove("LOCKSTEP_DATA_DIR")
        .env_remove("LOCKSTEP_SERVER")
        .env_remove("LOCKSTEP_USER")
        .env_remove("LOCKSTEP_PASSWORD")
        .env_remove("LOCKSTEP_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap_or_else(|_| panic!("{name} {arguments:?} does not end"))
        .unwrap();
    let finished = Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    finished
}

/// A program that goes on running; killed when the test ends.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Reads on, so that the program never waits for a reader of its log.
    log: JoinHandle<String>,
    pub printed: String,
}

impl Running {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program(name))
            .args(arguments)
            .current_dir(workspace())
            .env_remove("LOCKSTEP_DATA_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            lines,
            log,
            printed: String::new(),
        }
    }

    /// Reads what the program prints up to a line that holds `text`, and returns that line.
    pub async fn line(&mut self, text: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            match line {
                Err(_) => panic!("no line with {text:?} in:\n{}", self.printed),
                Ok(line) => match line.unwrap() {
                    None => {
                        let stderr = self.stderr().await;
                        panic!("ended without {text:?}:\n{}{stderr}", self.printed);
                    }
                    Some(line) => {
                        writeln!(self.printed, "{line}").unwrap();
                        if line.contains(text) {
                            return line;
                        }
                    }
                },
            }
        }
    }

    /// What the program has logged; to be asked for once it has ended.
    async fn stderr(&mut self) -> String {
        (&mut self.log).await.unwrap()
    }

    /// Ctrl-C; returns the exit code.
    pub async fn interrupt(self) -> i32 {
        self.signal("-INT").await.0
    }

    /// Ctrl-C; returns what was logged.
    pub async fn log(self) -> String {
        self.signal("-INT").await.1
    }

    /// kill -9.
    pub async fn kill(self) {
        self.signal("-KILL").await;
    }

    /// kill -9, without a look at what it has said.
    pub async fn kill_now(&mut self) {
        self.child.kill().await.unwrap();
    }

    async fn signal(mut self, signal: &str) -> (i32, String) {
        let id = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.unwrap().success());
        // Read on, so that the program never waits for its reader.
        let drain = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        let ended = async {
            let (_, status) = tokio::join!(drain, self.child.wait());
            status.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, ended).await;
        let status = status.expect("the program does not end on its signal");
        let stderr = self.stderr().await;
        assert!(!stderr.contains("panicked"), "{stderr}");
        (status.code().unwrap_or(-1), stderr)
    }
}

/// Reads "… listens on URL" and returns the URLs of the line.
pub async fn listening(running: &mut Running) -> Vec<String> {
    let line = running.line("listens on").await;
    line.split([' ', ','])
        .filter(|word| word.starts_with("http"))
        .map(str::to_owned)
        .collect()
}

/// `lockstep up` with ports of its own.
pub struct Up {
    pub directory: TempDir,
    pub running: Running,
    /// `https://localhost:1234`
    pub management: String,
    /// HTTP base of each gateway.
    pub gateways: Vec<String>,
    pub gateways_https: Vec<String>,
}

impl Up {
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments).await
    }

    pub async fn start_in(directory: TempDir, arguments: &[&str]) -> Self {
        let conf = free_ports(directory.path(), "");
        let mut all = vec!["up", "--conf", conf.to_str().unwrap()];
        all.extend(arguments);
        let mut running = Running::start("lockstep", &all);
        let management = running.line("management ").await;
        let management = management.split_whitespace().nth(1).unwrap().to_owned();
        running.line("Serving until Ctrl-C").await;
        let addresses = running.printed.clone();
        let gateways = addresses
            .lines()
            .filter(|line| line.starts_with("gateway-"));
        let columns: Vec<Vec<&str>> = gateways
            .map(|line| line.split_whitespace().collect())
            .collect();
        Self {
            directory,
            running,
            management,
            gateways: columns.iter().map(|line| line[1].to_owned()).collect(),
            gateways_https: columns.iter().map(|line| line[2].to_owned()).collect(),
        }
    }

    /// Runs a command of the operator against this cluster.
    pub async fn command(&self, arguments: &[&str]) -> Finished {
        let data = self.directory.path().join("data");
        let mut all = arguments.to_vec();
        all.extend([
            "--server",
            &self.management,
            "--data-dir",
            data.to_str().unwrap(),
        ]);
        run("lockstep", &all).await
    }

    /// Writes a file into the test's directory and returns its name.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A client that trusts the development certificate and says nothing of itself.
    pub fn client(&self) -> reqwest::Client {
        client(self.directory.path(), &Credentials::none())
    }

    /// A client of the management interfaces: a development user.
    pub fn client_of(&self, user: &str) -> reqwest::Client {
        development_client(self.directory.path(), user)
    }
}

/// A client that trusts the development certificate below the test's directory.
pub fn client(directory: &Path, credentials: &Credentials) -> reqwest::Client {
    let authority = directory.join("data/tls/ca.pem");
    kit::http_client::client(&Trust::Only(authority), credentials).unwrap()
}

/// A client that is a development user of the data directory below the test's directory.
pub fn development_client(directory: &Path, user: &str) -> reqwest::Client {
    let credentials = Credentials::development(&directory.join("data"), user);
    client(
        directory,
        &credentials.expect("there are development users"),
    )
}

/// A client that is a development user and gives bodies as they were sent, encoded.
pub fn raw_client(directory: &Path, user: &str) -> reqwest::Client {
    kit::tls::install_provider();
    let authority = kit::tls::certificates(&directory.join("data/tls/ca.pem")).unwrap();
    let authority = authority
        .iter()
        .map(|der| reqwest::Certificate::from_der(der).unwrap());
    let mut headers = reqwest::header::HeaderMap::new();
    let basic = basic(directory, user).parse().unwrap();
    headers.insert(reqwest::header::AUTHORIZATION, basic);
    reqwest::Client::builder()
        .tls_certs_only(authority)
        .default_headers(headers)
        .no_zstd()
        .build()
        .unwrap()
}

/// The `Authorization` header of a development user.
pub fn basic(directory: &Path, user: &str) -> String {
    let password = kit::access::development::password(&directory.join("data"), user).unwrap();
    let pair = format!("{user}:{}", password.expose());
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {pair}")
}

/// The lines of a body in one of the encodings.
pub fn decoded(encoding: &str, bytes: &[u8]) -> String {
    let mut text = Vec::new();
    match encoding {
        "zstd" => text = zstd::decode_all(bytes).unwrap(),
        "gzip" => {
            let mut decoder = flate2::read::GzDecoder::new(bytes);
            std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
        }
        _ => text.extend(bytes),
    }
    String::from_utf8(text).unwrap()
}

/// A `GatewayAPIDTO` whose API sends everything to `back_end`.
pub fn dto(name: &str, context: &str, back_end: &str) -> String {
    let definition = format!(
        "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\" context=\"{context}/{{version}}\" \
         version=\"1.0\" version-type=\"context\"><resource url-mapping=\"/*\" \
         methods=\"GET POST PUT DELETE PATCH HEAD\"><inSequence><send><endpoint><http \
         uri-template=\"{back_end}\"/></endpoint></send></inSequence>\
         <outSequence><send/></outSequence></resource></api>"
    );
    serde_json::json!({
        "name": name, "version": "1.0", "provider": "admin", "tenantDomain": "carbon.super",
        "apiId": format!("id-of-{name}"), "apiDefinition": definition, "override": true,
    })
    .to_string()
}

/// A `GatewayAPIDTO` whose API answers `text` by itself.
pub fn answering_dto(name: &str, context: &str, text: &str) -> String {
    let definition = format!(
        "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\" context=\"{context}\">\
         <resource><inSequence><payloadFactory media-type=\"text\"><format>{text}</format>\
         </payloadFactory><respond/></inSequence></resource></api>"
    );
    serde_json::json!({
        "name": name, "version": "1.0", "tenantDomain": "carbon.super",
        "apiId": format!("id-of-{name}"), "apiDefinition": definition, "override": true,
    })
    .to_string()
}
