//! Lines in real files.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;

use super::*;

fn entry(log: &AccessLog, target: &str) -> Entry {
    let request = Request::get(target).header("user-agent", "a\"b\u{1f}".replace('\u{1f}', "\t"));
    let head = request.body(()).unwrap().into_parts().0;
    let correlation = HeaderValue::from_static("c-1");
    let mut entry = log.entry(&head, "192.0.2.7".parse().unwrap(), &correlation);
    entry.note(|record| {
        record.time = 1_795_350_482_000;
        record.status = Some(StatusCode::OK);
        record.bytes = 12;
        record.endpoint = Some("E".into());
        record.back_end = Some(Duration::from_millis(3));
        record.complete = true;
    });
    entry
}

async fn written(format: Format, query: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log").join("access.log");
    let log = AccessLog::start(Destination::File(file.clone()), format, query).unwrap();
    drop(entry(&log, "/a/b?key=secret"));
    log.end().await;
    fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn a_line_is_the_combined_format_and_more() {
    let line = written(Format::Combined, false).await;
    let begin = r#"192.0.2.7 - - [22/Nov/2026:12:28:02 +0000] "GET /a/b HTTP/1.1" 200 12 "-" "a\"b\x09" api="-" endpoint="E" duration="#;
    assert!(line.starts_with(begin), "{line}");
    assert!(
        line.ends_with(" back_end=3 complete=true id=\"c-1\"\n"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    let line = written(Format::Combined, true).await;
    assert!(line.contains("\"GET /a/b?key=secret HTTP/1.1\""), "{line}");
}

#[tokio::test]
async fn a_line_is_an_object() {
    let line = written(Format::Json, false).await;
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["client"], "192.0.2.7");
    assert_eq!(object["target"], "/a/b");
    assert_eq!(object["user_agent"], "a\"b\t");
    assert_eq!(object["back_end"], 3);
    assert_eq!(object["correlation"], "c-1");
    assert!(!line.contains("secret"));
}

/// Writes entries until the file has one.
fn write_until_there(log: &AccessLog, file: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(file).is_ok_and(|text| !text.is_empty()) {
        assert!(
            Instant::now() < end,
            "nothing is written to {}",
            file.display()
        );
        drop(entry(log, "/"));
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let destination = Destination::File(file.clone());
    let log = AccessLog::start(destination, Format::Combined, false).unwrap();
    write_until_there(&log, &file);
    fs::rename(&file, folder.path().join("access.log.1")).unwrap();
    write_until_there(&log, &file);
}

#[test]
fn a_full_queue_leaves_records_out_and_counts_them() {
    let (records, waiting) = sync_channel(2);
    let left_out = Arc::new(AtomicU64::new(0));
    let log = AccessLog(Arc::new(Inner {
        records,
        left_out: Counter::from_arc(Arc::clone(&left_out)),
        writing: Mutex::new(None),
    }));
    for _ in 0..5 {
        drop(entry(&log, "/"));
    }
    assert_eq!(left_out.load(Ordering::Relaxed), 3);
    assert_eq!(waiting.try_iter().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_takes_nothing_keeps_nobody_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access.log");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // Nobody reads from it.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe);
    let log = AccessLog::start(Destination::File(pipe), Format::Combined, true).unwrap();
    // More than a pipe holds.
    let target = format!("/{}", "a".repeat(1000));
    for _ in 0..200 {
        drop(entry(&log, &target));
    }
    let began = tokio::time::Instant::now();
    log.end().await;
    assert!(began.elapsed() >= END);
    drop(reader);
}
