//! Opening a database.

use super::*;

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Fixture { store, directory } = fixture().await;
    sqlx::query("INSERT INTO LS_SCHEMA (VERSION, APPLIED) VALUES (99, 1)")
        .execute(&store.write)
        .await
        .unwrap();
    store.close().await;
    let error = Store::open(&options(&directory), 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("its schema is version 99, this program knows up to 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    std::fs::write(&options.file, "x".repeat(5000)).unwrap();
    let error = Store::open(&options, 1).await.unwrap_err().to_string();
    assert!(
        error.contains("lockstep.db: cannot open the database: it is damaged"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&options.file).unwrap().len(), 5000);
}
