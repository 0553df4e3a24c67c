//! How many requests are worked on at a time.
//!
//! A request counts until the head of its answer is there, so open watch streams do not.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, ResponseError as _};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// A middleware that answers 503 when too many requests are worked on. Clones share the count.
#[derive(Clone, Debug)]
pub struct InFlight {
    free: Arc<Semaphore>,
    most: usize,
}

impl InFlight {
    /// At most so many at a time.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self { free, most }
    }
}

impl<S, B> Transform<S, ServiceRequest> for InFlight
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Counting<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Counting {
            service: Rc::new(service),
            in_flight: self.clone(),
        }))
    }
}

/// A service whose requests are counted.
#[derive(Debug)]
pub struct Counting<S> {
    service: Rc<S>,
    in_flight: InFlight,
}

impl<S, B> Service<ServiceRequest> for Counting<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let service = Rc::clone(&self.service);
        let turn = Arc::clone(&self.in_flight.free).try_acquire_owned();
        // Whoever asks whether the process lives is always told.
        if turn.is_err() && request.path() != "/healthz" {
            let most = self.in_flight.most;
            let detail = format!(
                "{most} requests are being worked on, which is the most \
                 (management.limits.max_in_flight); try again later"
            );
            let refused = Problem::unavailable("too-many-requests", detail).error_response();
            let answer = request.into_response(refused).map_into_right_body();
            return Box::pin(ready(Ok(answer)));
        }
        Box::pin(async move {
            let answer = service.call(request).await;
            drop(turn);
            Ok(answer?.map_into_left_body())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, HttpResponse, web};
    use tokio::sync::Notify;

    use super::*;

    #[actix_web::test]
    async fn one_too_many_is_told_so_and_open_streams_do_not_count() {
        let goes_on = Arc::new(Notify::new());
        let waits = Arc::clone(&goes_on);
        let app = App::new()
            .route(
                "/waits",
                web::get().to(move || {
                    let waits = Arc::clone(&waits);
                    async move {
                        waits.notified().await;
                        "done"
                    }
                }),
            )
            .route(
                "/stream",
                web::get().to(|| async {
                    let never = futures_util::stream::pending::<Result<web::Bytes, Error>>();
                    HttpResponse::Ok().streaming(never)
                }),
            )
            .route("/healthz", web::get().to(|| async { "ok" }))
            .wrap(InFlight::new(1));
        let app = init_service(app).await;
        let get = |path: &str| TestRequest::get().uri(path).to_request();
        let stream = call_service(&app, get("/stream")).await;
        assert_eq!(stream.status(), 200);
        let mut slow = Box::pin(call_service(&app, get("/waits")));
        let early = tokio::time::timeout(Duration::from_millis(1), &mut slow).await;
        assert!(early.is_err());
        let refused = call_service(&app, get("/stream")).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
        assert_eq!(call_service(&app, get("/healthz")).await.status(), 200);
        goes_on.notify_one();
        assert_eq!(read_body(slow.await).await, "done");
        assert_eq!(call_service(&app, get("/stream")).await.status(), 200);
    }
}
