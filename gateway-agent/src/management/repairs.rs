//! The repairs that this gateway holds, for when the traffic manager cannot be asked: in the shapes
//! and at the paths of its `/api/lockstep/v1/repairs`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use artifact::{Acceptance, Digest, HeldRepair, Label, Page, RepairOverview};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use kit::time_limit::within;

use crate::commands::Commands;
use crate::reconciliation::Reconciliation;

/// Until an answer begins.
const TIME: Duration = Duration::from_secs(60);

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Repairs {
    pub gateway_id: String,
    pub reconciliation: Reconciliation,
    pub commands: Commands,
}

/// Adds the routes.
pub(super) fn routes(app: &mut web::ServiceConfig, access: &Access) {
    app.service(
        web::scope("/api/lockstep/v1/repairs")
            .wrap(from_fn(|request, next| within(TIME, request, next)))
            .service(
                web::resource("")
                    .wrap(access.require(&[Role::Viewer]))
                    .route(web::get().to(get_repairs)),
            )
            .service(
                web::resource("/{repair}/accept")
                    .wrap(access.require(&[Role::Operator]))
                    .route(web::post().to(post_accept)),
            ),
    );
}

async fn get_repairs(repairs: web::Data<Repairs>, caller: Caller) -> HttpResponse {
    let held = repairs.reconciliation.now().held.into_iter();
    let list = held
        .filter(|(label, _)| caller.may_read_label(label.as_str()))
        .map(|(label, mut held)| {
            // They may be other tenants'.
            if !caller.tenants.is_empty() {
                held.apis.clear();
            }
            repairs.overview(label, held, None)
        })
        .collect();
    HttpResponse::Ok().json(Page { list, next: None })
}

/// Answers when the gateway has begun to carry it out.
async fn post_accept(
    repairs: web::Data<Repairs>,
    caller: Caller,
    repair: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let repair = Digest::parse(&repair)
        .map_err(|error| Problem::bad_request("bad-parameter", format!("repair: {error}")))?;
    if !caller.tenants.is_empty() {
        let detail = "this is about all tenants, and this user may read only some of them";
        let code = "tenant-not-allowed";
        return Err(Problem::new(StatusCode::FORBIDDEN, code, detail));
    }
    let now = repairs.reconciliation.now();
    let held = now.holds(repair);
    // Who may not read a label is not told that something is held.
    let held = held.filter(|(label, _)| caller.may_read_label(label.as_str()));
    let (label, held) = held.ok_or_else(|| not_held(repair))?;
    let accepted = repairs.commands.accept(repair).await;
    match accepted {
        Err(ended) => return Err(Problem::unavailable("ending", ended.to_string())),
        Ok(false) => return Err(not_held(repair)),
        Ok(true) => {}
    }
    let (repair, by) = (repair.short(), caller.name.as_str());
    tracing::warn!(%label, repair, by, "the repair is accepted on the gateway, carrying it out");
    let acceptance = Acceptance {
        by: caller.name,
        time: kit::clock::now_ms(),
    };
    let overview = repairs.overview(label.clone(), held.clone(), Some(acceptance));
    Ok(HttpResponse::Ok().json(overview))
}

impl Repairs {
    fn overview(
        &self,
        label: Label,
        held: HeldRepair,
        accepted: Option<Acceptance>,
    ) -> RepairOverview {
        RepairOverview {
            gateway_id: self.gateway_id.clone(),
            label,
            held,
            online: true,
            accepted,
        }
    }
}

fn not_held(repair: Digest) -> Problem {
    let detail = format!("this gateway does not hold the repair {repair}");
    Problem::not_found("repair-not-held", detail)
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use kit::access::Roles;

    use super::*;
    use crate::commands::Command;
    use crate::sync_core::{Compared, Held};

    fn caller(labels: &[&str]) -> Caller {
        Caller {
            name: "olga".into(),
            roles: Roles::from_iter([Role::Operator]),
            gateway_id: None,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            tenants: Vec::new(),
        }
    }

    #[actix_web::test]
    async fn a_caller_lists_and_accepts_what_its_labels_let_it() {
        let (commands, mut commanded) = Commands::channel();
        let reconciliation = Reconciliation::new("g");
        let [first, second] = [b"1", b"2"].map(|text| Digest::of(text));
        for (label, repair) in [("L1", first), ("L2", second)] {
            let held = Held {
                repair,
                reason: "r".into(),
                removes: 11,
                puts: 0,
                apis: vec!["id".into()],
            };
            reconciliation.tell(&Label::parse(label).unwrap(), &Compared::Held(held));
        }
        tokio::spawn(async move {
            while let Some(Command::Accept(repair, answer)) = commanded.recv().await {
                let _ = answer.send(repair == first);
            }
        });
        let repairs = web::Data::new(Repairs {
            gateway_id: "g".into(),
            reconciliation,
            commands,
        });
        for (labels, listed) in [(&[][..], 2), (&["L1"], 1), (&["L9"], 0)] {
            let answer = get_repairs(repairs.clone(), caller(labels)).await;
            let body = to_bytes(answer.into_body()).await.unwrap();
            let page: Page<RepairOverview> = serde_json::from_slice(&body).unwrap();
            assert_eq!(page.list.len(), listed, "{labels:?}");
        }
        let accept = async |repair: String, labels: &[&str]| {
            let path = web::Path::from(repair);
            match post_accept(repairs.clone(), caller(labels), path).await {
                Ok(answer) => answer.status().as_u16(),
                Err(problem) => problem.status,
            }
        };
        assert_eq!(accept(first.to_string(), &["L1"]).await, 200);
        assert_eq!(accept(first.to_string(), &["L2"]).await, 404, "not told");
        assert_eq!(accept(second.to_string(), &[]).await, 404, "not any more");
        assert_eq!(accept(first.short(), &[]).await, 400);
        let limited = Caller {
            tenants: vec!["t".into()],
            ..caller(&[])
        };
        let path = web::Path::from(first.to_string());
        let refused = post_accept(repairs.clone(), limited, path).await;
        assert_eq!(refused.unwrap_err().status, 403, "it concerns all tenants");
    }
}
