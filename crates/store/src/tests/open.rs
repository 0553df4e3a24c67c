//! Opening a database.

use super::*;

pub(super) async fn a_newer_schema_is_refused(fixture: &Fixture) {
    sqlx::query("INSERT INTO LS_SCHEMA (VERSION, APPLIED) VALUES (99, 1)")
        .execute(&fixture.store.write)
        .await
        .unwrap();
    let error = Store::open(&fixture.options).await.unwrap_err().to_string();
    let expected = format!("its schema is version 99, this program knows up to {SCHEMA_VERSION}");
    assert!(error.contains(&expected), "{error}");
}

pub(super) async fn programs_that_start_together_agree_on_one_schema(fixture: &Fixture) {
    let directory = tempfile::tempdir().unwrap();
    let dialect = fixture.options.database.dialect();
    let database = empty(dialect, directory.path()).await.unwrap();
    assert_eq!(database.status().await.unwrap().version, 0);
    let options = options(database.clone());
    let start = || async {
        let store = Store::open(&options).await.unwrap();
        saved(&store, save("a", "1", &["L1"])).await;
        store.close().await;
    };
    tokio::join!(start(), start(), start(), start());
    let status = database.status().await.unwrap();
    assert_eq!((status.version, status.pending.len()), (SCHEMA_VERSION, 0));
    // An administrator may apply the last script by hand; it says that it has been applied.
    assert!(database.migrate().await.unwrap().pending.is_empty());
}

/// The two tables of API Manager 3.2.0 with a row in each, made before Lockstep came.
pub(super) async fn tables_of_the_original_are_taken_as_they_are(fixture: &Fixture) {
    let directory = tempfile::tempdir().unwrap();
    let dialect = fixture.options.database.dialect();
    let database = empty(dialect, directory.path()).await.unwrap();
    let blob = match dialect {
        Dialect::Sqlite => "BLOB",
        Dialect::PostgreSql => "BYTEA",
        Dialect::MySql => "LONGBLOB",
    };
    let tables = format!(
        "CREATE TABLE AM_GW_PUBLISHED_API_DETAILS (API_ID varchar(255) NOT NULL, \
         TENANT_DOMAIN varchar(255), API_PROVIDER varchar(255), API_NAME varchar(255), \
         API_VERSION varchar(255), PRIMARY KEY (API_ID)); \
         CREATE TABLE AM_GW_API_ARTIFACTS (API_ID varchar(255) NOT NULL, ARTIFACT {blob}, \
         GATEWAY_INSTRUCTION varchar(20), GATEWAY_LABEL varchar(255), \
         TIME_STAMP TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         PRIMARY KEY (GATEWAY_LABEL, API_ID), FOREIGN KEY (API_ID) \
         REFERENCES AM_GW_PUBLISHED_API_DETAILS(API_ID) ON UPDATE CASCADE ON DELETE NO ACTION); \
         INSERT INTO AM_GW_PUBLISHED_API_DETAILS (API_ID, API_NAME, API_VERSION, TENANT_DOMAIN) \
         VALUES ('id-a', 'a', '1', 'carbon.super'); \
         INSERT INTO AM_GW_API_ARTIFACTS (ARTIFACT, GATEWAY_INSTRUCTION, API_ID, GATEWAY_LABEL) \
         VALUES ('x', 'Publish', 'id-a', 'L1');"
    );
    let mut url = database.url();
    if dialect == Dialect::Sqlite {
        url.set_query(Some("mode=rwc"));
    }
    let pool = sqlx::AnyPool::connect(url.as_str()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(tables))
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let store = Store::open(&options(database)).await.unwrap();
    saved(&store, save("a", "2", &["L1"])).await;
    assert_eq!(log(&store, "L1").await, [(1, "a".into(), Publish, 1)]);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let database = file(&directory);
    let first = Dialect::Sqlite.scripts()[0];
    let rows = "INSERT INTO AM_GW_PUBLISHED_API_DETAILS (API_ID, TENANT_DOMAIN, API_NAME, \
         API_VERSION) VALUES ('id-a', 'carbon.super', 'a', '1'); \
         INSERT INTO LS_API (API_ID, INSTRUCTION, REVISION, DIGEST, DC, SAVED) \
         VALUES ('id-a', 'Publish', 1, '00', 'DC1', 1);";
    sqlx::any::install_default_drivers();
    let mut url = database.url();
    url.set_query(Some("mode=rwc"));
    let pool = sqlx::AnyPool::connect(url.as_str()).await.unwrap();
    sqlx::raw_sql(first.text).execute(&pool).await.unwrap();
    sqlx::raw_sql(rows).execute(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(database.status().await.unwrap().version, 1);
    let store = Store::open(&options(database)).await.unwrap();
    let row = sqlx::query("SELECT API_NAME, API_VERSION, TENANT_DOMAIN FROM LS_API");
    let row = row.fetch_one(&store.read).await.unwrap();
    let names: [String; 3] = [0, 1, 2].map(|column| sqlx::Row::get(&row, column));
    assert_eq!(names, ["a", "1", "carbon.super"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockstep.db");
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    let error = Store::open(&options(file(&directory)))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("lockstep.db: cannot open the database: it is damaged"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 5000);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let mut database =
        Database::parse("", "jdbc:postgresql://127.0.0.1:1/db", "apim", "s3cret").unwrap();
    database.pool.wait = std::time::Duration::from_secs(1);
    let error = format!("{:?}", Store::open(&options(database)).await.unwrap_err());
    assert!(error.contains("127.0.0.1:1/db"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}
