//! Waiting until enough gateways have a revision deployed.
//!
//! Woken by what this instance writes of its gateways; what other instances write is found by a
//! look now and then. The answer begins at once, with blank lines, so that a client that has gone
//! away is noticed and nothing waits for it any more.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use artifact::{Overview, Rollout};
use bytes::Bytes;
use futures_util::Stream;
use kit::access::Caller;
use kit::problem::Problem;
use store::Which;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::apis::{overview, revision_number};
use super::rollout::{Quorum, judge};
use super::{Manager, api_not_found, named};
use crate::http::problem;
use crate::parameters::Parameters;
use crate::permissions::readable;
use crate::{TextError, TrafficManager};

/// The longest wait and the usual one, seconds.
const MOST: u64 = 300;
const DEFAULT: u64 = 30;
/// The time between two looks at the database: at most …
const LOOK: Duration = Duration::from_millis(500);
/// … and at least, however much gateways say.
const LEAST: Duration = Duration::from_millis(50);

/// Waits until enough of the gateways that should have a revision have it deployed.
///
/// A newer revision and the API's removal end the wait. Blank lines may come before the answer.
#[utoipa::path(
    get, path = "/api/lockstep/v1/rollouts/{api}/{revision}/wait", tag = "apis",
    params(
        ("api" = String, Path, description = "Its id, `name:version` or `name:version@tenant`, percent-encoded"),
        ("revision" = u64, Path, description = "Number of the revision"),
        ("quorum" = Option<String>, Query, description = "How many gateways are enough, such as 3 or 80%; default 100%"),
        ("timeout" = Option<u32>, Query, minimum = 0, maximum = 300, description = "Seconds; default 30"),
    ),
    responses(
        (status = 200, body = Rollout, description = "Whether it was reached or not"),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 404, body = Problem, description = "No such API, or no such revision yet", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_rollout(
    manager: Manager,
    caller: Caller,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (api, revision) = path.into_inner();
    let revision = revision_number("revision", &revision)?;
    let parameters = Parameters::of(&request);
    parameters.only(&["quorum", "timeout"])?;
    let quorum = parameters.parsed("quorum", Quorum::RULE)?;
    let timeout = parameters.between("timeout", 0..=MOST)?.unwrap_or(DEFAULT);
    // Subscribed before the first look: nothing is missed between the two.
    let written = manager.registry.written();
    let rows = named(&manager, &caller, &api).await?;
    let api = rows.apis.first().ok_or_else(|| api_not_found("any more"))?;
    if revision > api.revision {
        let detail = format!(
            "there is no revision {revision} of the API {} yet; the newest is {}",
            api.api_id, api.revision
        );
        return Err(Problem::not_found("revision-not-found", detail));
    }
    let Overview { gateways, apis } = overview(&manager, &rows);
    let api = apis.first().ok_or_else(|| api_not_found("any more"))?;
    let quorum = quorum.unwrap_or(Quorum::ALL);
    let (rollout, over) = judge(api, &gateways, revision, quorum);
    let wait = Wait {
        manager: manager.get_ref().clone(),
        caller,
        quorum,
        deadline: Instant::now() + Duration::from_secs(timeout),
        written,
        looked: Instant::now(),
        over: over || timeout == 0,
        rollout,
    };
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json");
    Ok(answer.streaming(lines(wait)))
}

struct Wait {
    manager: TrafficManager,
    /// Who waits: only what this one may read counts.
    caller: Caller,
    quorum: Quorum,
    deadline: Instant,
    written: watch::Receiver<()>,
    looked: Instant,
    /// Nothing more is waited for.
    over: bool,
    /// As of the last look.
    rollout: Rollout,
}

/// Blank lines, then the answer. Dropped, it waits no more.
fn lines(wait: Wait) -> impl Stream<Item = Result<Bytes, TextError>> {
    futures_util::stream::unfold(Some(wait), |wait| async move {
        let mut wait = wait?;
        if wait.over {
            // Nothing of it can fail to be written as JSON.
            let line = serde_json::to_vec(&wait.rollout).unwrap_or_default();
            return Some((Ok(line.into()), None));
        }
        wait.step().await;
        Some((Ok(Bytes::from_static(b"\n")), Some(wait)))
    })
}

impl Wait {
    /// Waits for a reason to look, and looks.
    async fn step(&mut self) {
        let until = (self.looked + LOOK).min(self.deadline);
        let least = (self.looked + LEAST).min(self.deadline);
        let written = &mut self.written;
        let woken = async {
            if written.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep_until(least).await;
        };
        tokio::select! {
            () = woken => {}
            () = sleep_until(until) => {}
            () = self.manager.shutdown.cancelled() => {
                self.rollout.reason = Some("the traffic manager ends".to_owned());
                self.over = true;
                return;
            }
        }
        self.looked = Instant::now();
        self.written.mark_unchanged();
        // A database that fails is asked again until the time is over.
        if let Err(problem) = self.look().await {
            self.rollout.reason = Some(problem.detail);
        }
        self.over |= Instant::now() >= self.deadline;
    }

    async fn look(&mut self) -> Result<(), Problem> {
        let id = self.rollout.api_id.as_str();
        let which = Which::These(&[id]);
        let mut rows = self.manager.store.snapshot(which).await.map_err(problem)?;
        // A removed API has no labels: who may read it was judged when the wait began.
        let apis = rows.apis.clone();
        readable(&self.caller, &mut rows);
        rows.apis = apis;
        let Overview { gateways, apis } = overview(&self.manager, &rows);
        let api = apis.first().ok_or_else(|| api_not_found("any more"))?;
        (self.rollout, self.over) = judge(api, &gateways, self.rollout.revision, self.quorum);
        Ok(())
    }
}
