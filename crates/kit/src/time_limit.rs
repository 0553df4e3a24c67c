//! A bound on how long a request may take until its answer begins, its body included.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use tokio::time::timeout;

use crate::problem::Problem;

/// Lets the request go on for so long. A body that comes too slowly is cut off by it as well; an
/// answer that has begun is not.
///
/// # Errors
/// Those of the handler, and a problem with status 503, for it may be this side that is slow.
pub async fn within<B: MessageBody>(
    limit: Duration,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    timeout(limit, next.call(request))
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the request took more than {} s", limit.as_secs_f64());
            let problem = Problem::unavailable("took-too-long", detail);
            Err(problem.into())
        })
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    use super::*;

    #[actix_web::test]
    async fn a_request_that_takes_too_long_is_told_so() {
        let limit = Duration::from_millis(5);
        let never = || async {
            std::future::pending::<()>().await;
            "never"
        };
        let scope = web::scope("/x")
            .wrap(from_fn(move |request, next| within(limit, request, next)))
            .service(web::resource("/now").route(web::get().to(|| async { "done" })))
            .service(web::resource("/never").route(web::get().to(never)));
        let app = init_service(App::new().service(scope)).await;
        let get = |path: &str| TestRequest::get().uri(path).to_request();
        assert_eq!(call_service(&app, get("/x/now")).await.status(), 200);
        let late = actix_web::dev::Service::call(&app, get("/x/never")).await;
        let late = late.unwrap_err().as_response_error().status_code();
        assert_eq!(late, 503);
    }
}
