//! Databases that fail in the middle: each save was either reported committed and is there, or was
//! reported failed and is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::Digest;
use test_servers::Own;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PUBLISHERS: usize = 5;
const SAVES: usize = 100;

/// What a publisher was told of one save, by API and content.
struct Told {
    api_id: String,
    digest: Digest,
    /// The position, `None` when it failed.
    seq: Option<u64>,
}

/// Saves one artifact after another; a failed one is not tried again.
async fn publish(store: Store, publisher: usize) -> Vec<Told> {
    let mut told = Vec::new();
    for n in 0..SAVES {
        let save = save(&format!("p{publisher}"), &format!("{n}"), &["L1"]);
        let api_id = save.artifact.api_id.clone();
        let digest = Digest::of(save.text.as_bytes());
        let seq = match store.save(&[save], SaveMode::Each, 10).await {
            Ok(mut outcomes) => match outcomes.remove(0) {
                SaveOutcome::Saved { labels, .. } => Some(labels[0].seq),
                // The save before it, the same but for its number, cannot have been this one.
                other => panic!("{other:?}"),
            },
            Err(StoreError::Unknown) => panic!("the database came back in time to be asked"),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                None
            }
        };
        told.push(Told {
            api_id,
            digest,
            seq,
        });
    }
    told
}

/// 500 saves by five publishers, the fault in the middle of them; then the truth.
async fn truth_after(own: &Own, fault: impl AsyncFnOnce(&Own)) {
    let mut database = on_server(own.server, &own.server.new_database().await);
    database.pool.wait = Duration::from_secs(2);
    let mut options = options(database);
    // Everything is kept, so that every save that took place can be found.
    options.history_size = 10_000;
    let store = Store::open(&options).await.unwrap();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(store.clone(), publisher)))
        .collect();
    let middle = async {
        loop {
            let seqs = store.label_seqs().await.unwrap_or_default();
            if seqs.values().any(|seq| *seq >= 100) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    middle.await;
    fault(own).await;
    let mut told = Vec::new();
    for publisher in publishers {
        told.extend(publisher.await.unwrap());
    }
    let failed = told.iter().filter(|told| told.seq.is_none()).count();
    let mut revisions: BTreeMap<(String, String), usize> = BTreeMap::new();
    let rows = sqlx::query("SELECT API_ID, DIGEST FROM LS_REVISION");
    for row in rows.fetch_all(&store.read).await.unwrap() {
        let key = (sqlx::Row::get(&row, 0), sqlx::Row::get(&row, 1));
        *revisions.entry(key).or_default() += 1;
    }
    for told in &told {
        let key = (told.api_id.clone(), told.digest.to_string());
        let there = revisions.get(&key).copied().unwrap_or(0);
        let expected = usize::from(told.seq.is_some());
        assert_eq!(there, expected, "{key:?} was told {:?}", told.seq);
    }
    let mut seqs: Vec<u64> = told.iter().filter_map(|told| told.seq).collect();
    seqs.sort_unstable();
    let end = (told.len() - failed) as u64;
    assert!(seqs.iter().copied().eq(1..=end), "{seqs:?}");
    assert_eq!(store.outbox_length().await.unwrap(), end);
    store.close().await;
}

async fn kill(own: &Own) {
    own.kill().await;
    own.restart().await;
}

/// Longer than any lock is waited for, shorter than an operator's patience.
async fn hang(own: &Own) {
    own.pause().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    own.unpause().await;
}

/// What becomes of the next COMMIT that a [`Proxy`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commit {
    /// It arrives; its answer does not come back.
    Arrives,
    /// It does not arrive.
    IsLost,
}

/// Stands between a store and its server, and cuts a connection at its COMMIT.
struct Proxy {
    port: u16,
    cut: Arc<Mutex<Option<Commit>>>,
}

impl Proxy {
    async fn start(server: Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut: Arc<Mutex<Option<Commit>>> = Arc::default();
        let shared = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server.port)).await;
                tokio::spawn(relay(client, server.unwrap(), Arc::clone(&shared)));
            }
        });
        Self { port, cut }
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, cut: Arc<Mutex<Option<Commit>>>) {
    let (mut to_server, mut to_client) = ([0; 65536], [0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut to_server) => {
                let Some(bytes) = read.ok().filter(|n| *n > 0).map(|n| &to_server[..n]) else {
                    return;
                };
                // PostgreSQL ends its statements by NUL. (READ COMMITTED is no COMMIT.)
                let commits = bytes.strip_suffix(b"\0").unwrap_or(bytes).ends_with(b"COMMIT");
                let fate = if commits { cut.lock().unwrap().take() } else { None };
                if fate != Some(Commit::IsLost) && server.write_all(bytes).await.is_err() {
                    return;
                }
                if fate == Some(Commit::Arrives) {
                    // Until the server has answered.
                    let _ = server.read(&mut to_client).await;
                }
                if fate.is_some() {
                    return;
                }
            }
            read = server.read(&mut to_client) => {
                let Some(bytes) = read.ok().filter(|n| *n > 0).map(|n| &to_client[..n]) else {
                    return;
                };
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The connection is lost at the very commit: the store finds out what became of it.
async fn a_commit_without_an_answer(kind: Kind) {
    let Some(server) = test_servers::shared(kind, "a commit without an answer").await else {
        return;
    };
    let name = server.new_database().await;
    // The schema is made without the proxy: it commits, too.
    Store::open(&options(on_server(server, &name)))
        .await
        .unwrap()
        .close()
        .await;
    let proxy = Proxy::start(server).await;
    let through = Server {
        port: proxy.port,
        ..server
    };
    let store = Store::open(&options(on_server(through, &name)))
        .await
        .unwrap();
    for (n, fate) in (1..).zip([Commit::Arrives, Commit::IsLost, Commit::Arrives]) {
        *proxy.cut.lock().unwrap() = Some(fate);
        let outcome = saved(&store, save("a", &n.to_string(), &["L1"])).await;
        assert_eq!(*proxy.cut.lock().unwrap(), None, "the commit was seen");
        let SaveOutcome::Saved {
            revision, labels, ..
        } = outcome
        else {
            panic!("{fate:?}: {outcome:?}");
        };
        assert_eq!((revision, labels[0].seq), (n, n), "{fate:?}");
    }
    for fate in [Commit::Arrives, Commit::IsLost] {
        saved(&store, save("b", "1", &["L1"])).await;
        *proxy.cut.lock().unwrap() = Some(fate);
        let removed = store.remove("b", "1", "carbon.super", 20).await.unwrap();
        assert_eq!(removed.unwrap().labels.len(), 1, "{fate:?}");
    }
    assert_eq!(store.outbox_length().await.unwrap(), 7);
    store.close().await;
}

#[tokio::test]
async fn a_commit_without_an_answer_on_postgresql() {
    a_commit_without_an_answer(Kind::PostgreSql).await;
}

#[tokio::test]
async fn a_commit_without_an_answer_on_mariadb() {
    a_commit_without_an_answer(Kind::MariaDb).await;
}

macro_rules! faults {
    ($($database:ident: $kind:expr,)*) => {$(
        mod $database {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed_in_the_middle_of_500_saves() {
                if let Some(own) = Own::start($kind, "a database that is killed").await {
                    truth_after(&own, kill).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn hangs_in_the_middle_of_500_saves() {
                if let Some(own) = Own::start($kind, "a database that hangs").await {
                    truth_after(&own, hang).await;
                }
            }
        }
    )*};
}

faults! {
    postgresql: Kind::PostgreSql,
    mariadb: Kind::MariaDb,
}
