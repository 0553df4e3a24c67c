//! `POST /api/lockstep/v1/entries`: what a saver publishes directly, line by line.

use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use artifact::{DirectAnswer, DirectEntry, DirectOutcome, DirectStatus};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use kit::time_limit::within;

use crate::commands::Commands;

/// Until an answer begins, the body included: entries wait for the batch that is being deployed.
const TIME: Duration = Duration::from_secs(120);

/// Adds the route.
pub(super) fn routes(app: &mut web::ServiceConfig, access: &Access, max_body_size: usize) {
    app.service(
        web::resource("/api/lockstep/v1/entries")
            .app_data(web::PayloadConfig::new(max_body_size))
            .wrap(from_fn(|request, next| within(TIME, request, next)))
            .wrap(access.require(&[Role::Publisher]))
            .route(web::post().to(post_entries)),
    );
}

pub(super) async fn post_entries(
    commands: web::Data<Commands>,
    body: web::Bytes,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    // Parsing and digests are work for another thread.
    let judged = web::block(move || judge(&body, &caller)).await;
    let judged =
        judged.map_err(|error| Problem::unavailable("ended-early", error.to_string()))??;
    let Judged { refused, entries } = judged;
    let applied = commands.entries(entries).await;
    let applied = applied.map_err(|ended| Problem::unavailable("ending", ended.to_string()))?;
    let mut applied = applied.into_iter();
    let list = refused.into_iter();
    let list = list.filter_map(|refused| refused.or_else(|| applied.next()));
    let answer = DirectAnswer {
        list: list.collect(),
    };
    Ok(HttpResponse::Ok().json(answer))
}

/// The lines of a body.
#[derive(Debug)]
struct Judged {
    /// For each line, why it is not handed on; `None` for those that are.
    refused: Vec<Option<DirectStatus>>,
    entries: Vec<DirectEntry>,
}

/// Reads the lines. What is not what its digest names is refused by itself: were it applied, the
/// genuine entry of the log would come too late.
fn judge(body: &[u8], caller: &Caller) -> Result<Judged, Problem> {
    let bad = |number: usize, rule: String| {
        Problem::bad_request("bad-entry", format!("line {number}: {rule}"))
    };
    let mut judged = Judged {
        refused: Vec::new(),
        entries: Vec::new(),
    };
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let line = std::str::from_utf8(line)
            .map_err(|error| bad(index + 1, format!("not UTF-8: {error}")))?;
        let direct = DirectEntry::parse(line).map_err(|error| bad(index + 1, error.to_string()))?;
        let reason = if !caller.may_read_label(direct.label.as_str()) {
            Some("this user may not see the label")
        } else if !caller.may_read_tenant(&direct.entry.tenant_domain) {
            Some("this user may not see the tenant")
        } else if !direct.entry.is_genuine() {
            Some("the artifact does not match its digest")
        } else {
            None
        };
        judged.refused.push(reason.map(|reason| DirectStatus {
            api_id: direct.entry.api_id.clone(),
            revision: direct.entry.revision,
            status: DirectOutcome::Refused,
            reason: Some(reason.to_owned()),
        }));
        if reason.is_none() {
            judged.entries.push(direct);
        }
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use artifact::{Digest, Instruction, Label, LabelLogEntry};
    use kit::access::Roles;

    use super::*;

    fn line(label: &str, tenant: &str, digest_of: &str) -> String {
        let direct = DirectEntry {
            label: Label::parse(label).unwrap(),
            entry: LabelLogEntry {
                seq: 1,
                api_id: "a".into(),
                name: "A".into(),
                version: "1".into(),
                tenant_domain: tenant.into(),
                instruction: Instruction::Publish,
                revision: 1,
                digest: Digest::of(digest_of.as_bytes()),
                time: 0,
                artifact: Some("{}".into()),
                published_to: Vec::new(),
            },
        };
        format!("{}\n", direct.to_text().unwrap())
    }

    fn caller() -> Caller {
        Caller {
            name: "saver".into(),
            roles: Roles::from_iter([Role::Publisher]),
            gateway_id: None,
            labels: vec!["L".into()],
            tenants: vec!["t".into()],
        }
    }

    #[test]
    fn each_line_is_judged_by_itself() {
        let body = [
            line("L", "t", "{}"),
            line("M", "t", "{}"),
            line("L", "u", "{}"),
            line("L", "t", "other"),
            line("L", "t", "{}"),
        ];
        let judged = judge(body.concat().as_bytes(), &caller()).unwrap();
        assert_eq!(judged.entries.len(), 2);
        let reasons: Vec<_> = judged
            .refused
            .into_iter()
            .map(|it| it.and_then(|it| it.reason))
            .collect();
        let reason = |text: &str| Some(text.to_owned());
        assert_eq!(
            reasons,
            [
                None,
                reason("this user may not see the label"),
                reason("this user may not see the tenant"),
                reason("the artifact does not match its digest"),
                None
            ]
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_nothing_is_done() {
        let body = format!("{}\n{{}}\n", line("L", "t", "{}"));
        let problem = judge(body.as_bytes(), &caller()).unwrap_err();
        assert_eq!(problem.detail, "line 3: label log line lacks `entry`");
    }
}
