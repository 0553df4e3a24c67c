//! Metrics: what is counted by the `metrics` macros anywhere in the process, in Prometheus' text
//! format.

use std::sync::OnceLock;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of every histogram, seconds.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Counts from now on. Called by every part that counts; the first call makes the recorder, which
/// all parts of a process share.
pub fn init() {
    handle();
}

fn handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let matcher = Matcher::Suffix("_seconds".to_owned());
        let installed = PrometheusBuilder::new()
            .set_buckets_for_metric(matcher, SECONDS)
            .and_then(PrometheusBuilder::install_recorder);
        match installed {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::error!(%error, "nothing is counted");
                None
            }
        }
    });
    handle.as_ref()
}

/// The answer of `GET /metrics`.
#[must_use]
pub fn answer() -> HttpResponse {
    let Some(handle) = handle() else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    handle.run_upkeep();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(handle.render())
}

/// Counts requests by resource and status, and how long it takes until an answer begins.
///
/// # Errors
/// Those of the handler.
pub async fn count_requests(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        // Anybody can send any.
        _ => "other",
    };
    let method = method.to_owned();
    // Not the path: anybody can ask for any.
    let resource = request.match_pattern();
    let resource = resource.unwrap_or_else(|| "none".to_owned());
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let labels = [
        ("method", method),
        ("resource", resource.clone()),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("lockstep_http_requests_total", &labels).increment(1);
    metrics::histogram!("lockstep_http_answer_begins_seconds", "resource" => resource)
        .record(begun.elapsed().as_secs_f64());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        init();
        init();
        metrics::counter!("lockstep_test_total").increment(2);
        metrics::histogram!("lockstep_test_seconds").record(0.003);
        let text = handle().unwrap().render();
        assert!(text.contains("lockstep_test_total 2"), "{text}");
        assert!(
            text.contains("lockstep_test_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
    }
}
