//! What a store has to do, whatever database it stands on: one suite, run on each of them.

mod faults;
mod open;
mod outbox;
mod read;
mod repairs;
mod save;

use std::path::Path;

use artifact::{Artifact, Instruction, Label, SavedTo};
use tempfile::TempDir;
use test_servers::{Kind, Server};

use super::*;

/// A store of its own on one of the databases.
struct Fixture {
    store: Store,
    options: StoreOptions,
    /// Of the embedded database.
    _directory: TempDir,
}

fn options(database: Database) -> StoreOptions {
    StoreOptions {
        database,
        dc: "DC1".into(),
        history_size: 3,
    }
}

fn file(directory: &TempDir) -> Database {
    Database::file(&directory.path().join("lockstep.db")).unwrap()
}

fn on_server(server: Server, database: &str) -> Database {
    let (user, password) = server.credentials();
    Database::parse("", &server.jdbc_url(database), user, password).unwrap()
}

/// A database that nobody else has, still empty; `None` when tests with servers are left out.
async fn empty(dialect: Dialect, directory: &Path) -> Option<Database> {
    let kind = match dialect {
        Dialect::Sqlite => return Some(Database::file(&directory.join("lockstep.db")).unwrap()),
        Dialect::PostgreSql => Kind::PostgreSql,
        Dialect::MySql => Kind::MariaDb,
    };
    let server = test_servers::shared(kind, "a test of the store").await?;
    Some(on_server(server, &server.new_database().await))
}

impl Fixture {
    async fn new(dialect: Dialect) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = options(empty(dialect, directory.path()).await?);
        Some(Self {
            store: Store::open(&options).await.unwrap(),
            options,
            _directory: directory,
        })
    }

    /// Another store on the same database, as another process has it.
    async fn another(&self) -> Store {
        Store::open(&self.options).await.unwrap()
    }
}

macro_rules! suite {
    ($($file:ident::$test:ident,)*) => {
        suite!(sqlite, Dialect::Sqlite, $($file::$test,)*);
        suite!(postgresql, Dialect::PostgreSql, $($file::$test,)*);
        suite!(mariadb, Dialect::MySql, $($file::$test,)*);
    };
    ($database:ident, $dialect:expr, $($file:ident::$test:ident,)*) => {
        mod $database {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                if let Some(fixture) = Fixture::new($dialect).await {
                    $file::$test(&fixture).await;
                    fixture.store.close().await;
                }
            })*
        }
    };
}

suite! {
    open::a_newer_schema_is_refused,
    open::programs_that_start_together_agree_on_one_schema,
    open::tables_of_the_original_are_taken_as_they_are,
    save::a_save_appends_to_every_label_and_a_second_one_compacts,
    save::identical_bytes_change_nothing,
    save::a_label_that_is_not_named_any_more_gets_a_remove,
    save::remove_leaves_tombstones_and_frees_name_and_context,
    save::a_context_or_name_belongs_to_one_api,
    save::atomic_and_dry_run_leave_nothing_behind,
    save::only_the_last_revisions_are_kept,
    save::positions_are_gap_free_and_in_commit_order_with_many_publishers,
    save::what_counts_is_who_has_which_route_after_the_batch,
    save::one_batch_may_save_an_api_twice,
    save::a_large_batch_is_saved_whole,
    save::an_artifact_of_64_mib_comes_back,
    save::labels_and_texts_compare_byte_by_byte,
    save::the_tables_of_the_original_hold_what_its_readers_expect,
    read::the_log_gives_back_the_bytes_that_were_saved,
    read::what_has_come_since_is_read_of_all_labels_at_once,
    read::artifacts_come_in_the_order_asked_for,
    read::apis_are_read_page_by_page,
    read::apis_that_match_are_read_page_by_page,
    read::the_database_tells_of_growth_where_it_can,
    read::a_status_that_was_said_earlier_changes_nothing,
    read::a_gateway_that_registers_again_says_anew_what_it_runs,
    repairs::an_accepted_repair_is_kept_for_its_gateway_and_forgotten_with_it,
    repairs::old_acceptances_are_pruned,
    outbox::each_announcement_goes_to_one_relay_until_its_lease_ends,
    outbox::relays_share_the_work_and_keep_the_order_of_each_api,
    outbox::what_is_given_back_is_claimed_again_at_once,
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn save(name: &str, content: &str, labels: &[&str]) -> Save {
    let artifact = Artifact {
        name: name.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        api_id: format!("id-{name}"),
        api_definition: Some(content.into()),
        ..Artifact::default()
    };
    Save {
        text: artifact.to_text().unwrap(),
        artifact,
        routes: vec![format!("/{name}")],
        labels: labels.iter().map(|name| label(name)).collect(),
    }
}

async fn saved(store: &Store, save: Save) -> SaveOutcome {
    store
        .save(&[save], SaveMode::Each, 10)
        .await
        .unwrap()
        .remove(0)
}

/// The entries of a label behind a position, and the newest position.
async fn behind(store: &Store, name: &str, after: u64) -> (Vec<LogRow>, u64) {
    let label = label(name);
    let since = [(label.clone(), after)].into();
    let mut logs = store.label_logs(&since).await.unwrap();
    let entries = logs.entries.remove(&label).unwrap_or_default();
    (entries, logs.seqs.get(&label).copied().unwrap_or(0))
}

/// The artifact's text of each entry.
async fn texts(store: &Store, entries: &[LogRow]) -> Vec<Option<String>> {
    let wanted: Vec<Wanted<'_>> = entries
        .iter()
        .map(|entry| (entry.api_id.as_str(), entry.revision, entry.bytes))
        .collect();
    let texts = store.artifacts(&wanted).await.unwrap().into_iter();
    texts
        .map(|bytes| Some(String::from_utf8(bytes?).unwrap()))
        .collect()
}

/// The log of a label as (seq, name, instruction, revision).
async fn log(store: &Store, name: &str) -> Vec<(u64, String, Instruction, u64)> {
    let (entries, _) = behind(store, name, 0).await;
    let entries = entries.into_iter();
    entries
        .map(|e| (e.seq, e.name, e.instruction, e.revision))
        .collect()
}

use Instruction::{Publish, Remove};
