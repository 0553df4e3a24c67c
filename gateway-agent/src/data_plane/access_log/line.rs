//! A record as a line.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Version};
use serde_json::json;

use super::{Format, Record};

/// Appends the line of a record, its end included.
pub(super) fn append(to: &mut String, record: &Record, format: Format, query: bool) {
    match format {
        Format::Combined => combined(to, record, query),
        Format::Json => object(to, record, query),
    }
    to.push('\n');
}

/// `client - - [time] "request" status bytes "referrer" "agent"`, then names with values.
fn combined(to: &mut String, record: &Record, query: bool) {
    let _ = write!(to, "{} - - [{}] ", record.client, time(record.time));
    let request = format!(
        "{} {} {}",
        record.method,
        target(record, query),
        version(record.version)
    );
    quoted(to, request.as_bytes());
    match record.status {
        None => to.push_str(" - "),
        Some(status) => {
            let _ = write!(to, " {} ", status.as_u16());
        }
    }
    match record.bytes {
        0 => to.push('-'),
        bytes => {
            let _ = write!(to, "{bytes}");
        }
    }
    for header in [&record.referer, &record.user_agent] {
        to.push(' ');
        quoted(to, header.as_ref().map_or(b"-", HeaderValue::as_bytes));
    }
    to.push_str(" api=");
    quoted(to, api(record).as_deref().unwrap_or("-").as_bytes());
    to.push_str(" endpoint=");
    quoted(to, record.endpoint.as_deref().unwrap_or("-").as_bytes());
    let _ = write!(to, " duration={} back_end=", record.duration.as_millis());
    match record.back_end {
        None => to.push('-'),
        Some(back_end) => {
            let _ = write!(to, "{}", back_end.as_millis());
        }
    }
    to.push_str(" complete=");
    to.push_str(if record.complete { "true" } else { "false" });
    to.push_str(" id=");
    quoted(to, record.correlation.as_bytes());
}

fn object(to: &mut String, record: &Record, query: bool) {
    let text = |header: &Option<HeaderValue>| header.as_ref().map(lossy);
    let deployment = record.deployment.as_deref();
    let object = json!({
        "time": record.time,
        "client": record.client,
        "method": record.method.as_str(),
        "target": target(record, query),
        "protocol": version(record.version),
        "status": record.status.map(|status| status.as_u16()),
        "bytes": record.bytes,
        "referer": text(&record.referer),
        "user_agent": text(&record.user_agent),
        "api": deployment.map(|deployment| &deployment.name),
        "api_version": deployment.map(|deployment| &deployment.version),
        "endpoint": record.endpoint,
        "duration": milliseconds(record.duration),
        "back_end": record.back_end.map(milliseconds),
        "complete": record.complete,
        "correlation": lossy(&record.correlation),
    });
    let _ = write!(to, "{object}");
}

fn api(record: &Record) -> Option<String> {
    let deployment = record.deployment.as_deref()?;
    Some(format!("{}:{}", deployment.name, deployment.version))
}

fn target(record: &Record, query: bool) -> &str {
    match record.target.path_and_query() {
        None => "-",
        Some(target) if query => target.as_str(),
        Some(target) => target.path(),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        _ => "HTTP/2.0",
    }
}

/// As NCSA writes it, in UTC: `22/Nov/2026:12:28:02 +0000`.
fn time(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    // "Sun, 22 Nov 2026 12:28:02 GMT"
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since);
    let mut parts = text.split(' ').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", part(), part(), part(), part())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// In quotes; what could end them, or the line, is escaped.
fn quoted(to: &mut String, bytes: &[u8]) {
    to.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                to.push('\\');
                to.push(char::from(*byte));
            }
            0x20..=0x7e => to.push(char::from(*byte)),
            _ => {
                let _ = write!(to, "\\x{byte:02x}");
            }
        }
    }
    to.push('"');
}
