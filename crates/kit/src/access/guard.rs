//! The guard of a route: who is calling, whether they may, and a line for the audit log.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::Method;
use actix_web::{Error, HttpMessage as _};
use futures_util::future::LocalBoxFuture;

use super::caller::Caller;
use super::role::Role;
use super::{Access, Denied};

/// Guards a scope or a resource: `.wrap(access.require(&[Role::Viewer]))`.
#[derive(Clone, Debug)]
pub struct Guard {
    pub(super) access: Access,
    /// One of them is needed; `None` lets everybody in and still says who is calling.
    pub(super) roles: Option<Arc<[Role]>>,
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded {
            service: Rc::new(service),
            guard: self.clone(),
        }))
    }
}

/// A service behind a guard.
#[derive(Debug)]
pub struct Guarded<S> {
    service: Rc<S>,
    guard: Guard,
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
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
        let guard = self.guard.clone();
        Box::pin(async move {
            let line = Line::of(&request);
            let admitted = guard.access.admit(&request, guard.roles.as_deref()).await;
            let caller = match admitted {
                Err(denied) => {
                    line.refused(&denied);
                    let answer = request.into_response(denied.refusal.response());
                    return Ok(answer.map_into_right_body());
                }
                Ok(None) => return Ok(service.call(request).await?.map_into_left_body()),
                Ok(Some(caller)) => caller,
            };
            let role = caller.roles.first_of(guard.roles.as_deref().unwrap_or(&[]));
            request.extensions_mut().insert(caller.clone());
            let answer = service.call(request).await;
            let status = match &answer {
                Ok(answer) => answer.status(),
                Err(error) => error.as_response_error().status_code(),
            };
            line.answered(&caller, role, status.as_u16());
            Ok(answer?.map_into_left_body())
        })
    }
}

/// What the audit log says of a request. Never its query, its header or its body.
struct Line {
    method: Method,
    path: String,
    remote: String,
}

impl Line {
    fn of(request: &ServiceRequest) -> Self {
        let remote = request.peer_addr();
        Self {
            method: request.method().clone(),
            path: request.path().to_owned(),
            remote: remote.map_or_else(String::new, |address| address.ip().to_string()),
        }
    }

    /// Writes are told, and reads that the handler has refused.
    fn answered(&self, caller: &Caller, role: Option<Role>, status: u16) {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method);
        let user = caller.name.as_str();
        let role = role.map_or("", Role::as_str);
        let Self { path, remote, .. } = self;
        let method = self.method.as_str();
        if status == 403 {
            let reason = "not-allowed";
            tracing::warn!(target: "audit", user, role, method, path, status, remote, reason, "refused");
        } else if !reads {
            tracing::info!(target: "audit", user, role, method, path, status, remote, "write");
        }
    }

    fn refused(&self, denied: &Denied) {
        let Denied { user, refusal } = denied;
        let user = user.as_deref().unwrap_or("(unknown)");
        let (status, reason) = (refusal.status().as_u16(), refusal.reason());
        let (method, Self { path, remote, .. }) = (self.method.as_str(), self);
        tracing::warn!(target: "audit", user, method, path, status, remote, reason, "refused");
    }
}
