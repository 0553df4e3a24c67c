//! The gateway's management interface: health, readiness and metrics, held repairs, the gateway REST
//! API of API Manager 3.2.0 (`v1`) and 4.x (`v2`), and what savers publish directly (`entries`).

mod entries;
mod health;
mod pieces;
mod repairs;
mod rest;
mod v1;
mod v2;

use crate::commands::Commands;
use crate::driver::Routes;
use actix_web::{App, web};
pub(crate) use health::Health;
use kit::access::{Access, Role};
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
pub(crate) use repairs::Repairs;

/// The routes of the data plane; `None` where another server serves clients.
#[derive(Clone)]
pub(crate) struct Serving(pub(crate) Option<Routes>);

/// Binds the gateway's management interface.
pub(crate) fn serve(
    config: &Config,
    access: Access,
    commands: Commands,
    health: Health,
    repairs: Repairs,
    serving: Serving,
) -> Result<Running, StartError> {
    let listener = kit::server::bind(config.gateway_management_address()?)?;
    let max_body_size = config.management.max_body_size;
    kit::serve!(
        move || {
            App::new()
                .app_data(web::Data::new(health.clone()))
                .app_data(web::Data::new(commands.clone()))
                .app_data(web::Data::new(repairs.clone()))
                .app_data(web::Data::new(serving.clone()))
                .route("/healthz", web::get().to(|| async { "ok\n" }))
                .route("/readyz", web::get().to(health::get_ready))
                .service(
                    web::resource("/metrics")
                        .wrap(access.require(&[Role::Viewer]))
                        .route(web::get().to(health::get_metrics)),
                )
                .configure(|app| repairs::routes(app, &access))
                .configure(|app| rest::routes(app, &access))
                .configure(|app| entries::routes(app, &access, max_body_size))
        },
        listener,
        Frame::of(config)?
    )
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::StatusCode;
    use actix_web::{HttpResponse, ResponseError as _};
    use kit::access::{Caller, Roles};

    use super::*;
    use crate::commands::{Command, Redeployed};

    fn caller(tenants: &[&str]) -> Caller {
        Caller {
            name: "olga".into(),
            roles: Roles::default(),
            gateway_id: None,
            labels: vec!["L".into()],
            tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        }
    }

    fn parameters(query: &str) -> rest::Parameters {
        rest::Parameters::from_query(query).unwrap()
    }

    async fn told(answer: Result<HttpResponse, rest::Failure>) -> (StatusCode, String) {
        let answer = answer.unwrap_or_else(|failure| failure.error_response());
        let status = answer.status();
        let body = to_bytes(answer.into_body()).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn a_refusal_is_told_with_its_reason() {
        let (commands, mut commanded) = Commands::channel();
        let commands = web::Data::new(commands);
        tokio::spawn(async move {
            while let Some(Command::Redeploy(asked, answer)) = commanded.recv().await {
                assert_eq!((asked.name.as_str(), asked.by.as_str()), ("A b", "olga"));
                assert_eq!(asked.labels, ["L"]);
                let _ = answer.send(Redeployed::Refused("a \"bad\" end".into()));
            }
        });
        let query = || parameters("apiName=A+b&version=1");
        let told_v1 = told(v1::redeploy(commands.clone(), query(), caller(&[])).await).await;
        let golden = r#"{"code":500,"message":"Internal server error","description":"a \"bad\" end","moreInfo":"","error":[]}"#;
        assert_eq!(told_v1, (StatusCode::INTERNAL_SERVER_ERROR, golden.into()));
        let told_v2 = told(v2::redeploy(commands, query(), caller(&[])).await).await;
        let golden = r#"{"deployStatus":"ERROR","jsonPayload":"a \"bad\" end"}"#;
        assert_eq!(told_v2, (StatusCode::INTERNAL_SERVER_ERROR, golden.into()));
    }

    #[actix_web::test]
    async fn other_tenants_are_refused_and_a_gateway_that_ends_says_so() {
        let (commands, commanded) = Commands::channel();
        drop(commanded);
        let commands = web::Data::new(commands);
        for (query, status) in [
            ("apiName=A&version=1&tenantDomain=t", 503),
            ("apiName=A&version=1&tenantDomain=u", 403),
            ("apiName=A&version=1", 403),
        ] {
            let answer = v1::undeploy(commands.clone(), parameters(query), caller(&["t"])).await;
            assert_eq!(told(answer).await.0.as_u16(), status, "{query}");
        }
    }
}
