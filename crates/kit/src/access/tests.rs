//! Access as a whole: guards in an application, and the limits of failures.

use std::net::SocketAddr;
use std::path::Path;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, Error, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failures::{MOST_FAILURES, WINDOW};
use super::{Access, Caller, Role, hash_password, token_hash};
use crate::config::Config;

const NEAR: &str = "10.0.0.1:1";
const FAR: &str = "10.0.0.2:1";

fn access() -> Access {
    let hash = hash_password("right").unwrap();
    let text = format!(
        "[[apim.internal.user]]\nusername = \"gw\"\npassword = \"{hash}\"\nroles = [\"gateway\"]\n\
         [[apim.internal.user]]\nusername = \"op\"\npassword = \"{hash}\"\ntoken = \"{}\"\n\
         roles = [\"operator\"]\n",
        token_hash("secret-token")
    );
    Access::of(&Config::from_text(&text, Path::new("d.toml")).unwrap()).unwrap()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// An application with a guarded and an open route.
async fn app(
    access: &Access,
) -> impl Service<actix_http::Request, Response = ServiceResponse<impl MessageBody>, Error = Error>
{
    let name = |caller: Option<Caller>| async move {
        HttpResponse::Ok().body(caller.map_or_else(String::new, |caller| caller.name))
    };
    let app = App::new()
        .service(
            web::resource("/viewers")
                .wrap(access.require(&[Role::Viewer]))
                .route(web::get().to(|caller: Caller| async move { caller.name })),
        )
        .service(
            web::resource("/open")
                .wrap(access.recognize())
                .route(web::get().to(name)),
        )
        .route("/unguarded", web::get().to(|_: Caller| async { "never" }));
    init_service(app).await
}

async fn get(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<impl MessageBody>, Error = Error>,
    path: &str,
    from: &str,
    authorization: &str,
) -> (u16, String) {
    let from: SocketAddr = from.parse().unwrap();
    let mut request = TestRequest::get().uri(path).peer_addr(from);
    if !authorization.is_empty() {
        request = request.insert_header(("authorization", authorization));
    }
    let answer = call_service(app, request.to_request()).await;
    let retry = answer.headers().get("retry-after");
    let retry = retry.map_or("", |value| value.to_str().unwrap());
    (answer.status().as_u16(), retry.to_owned())
}

#[actix_web::test]
async fn a_guard_asks_for_credentials_then_for_a_role() {
    let access = access();
    let app = app(&access).await;
    let right = basic("op", "right");
    for (path, authorization, expected) in [
        ("/viewers", "", 401),
        ("/viewers", right.as_str(), 200),
        ("/viewers", &basic("op", "wrong"), 401),
        ("/viewers", &basic("nobody", "right"), 401),
        ("/viewers", &basic("gw", "right"), 403),
        ("/viewers", "Bearer secret-token", 200),
        ("/viewers", "Bearer other-token", 401),
        ("/viewers", "Digest x", 401),
        ("/open", "", 200),
        ("/open", &right, 200),
        ("/open", &basic("op", "wrong"), 401),
        ("/unguarded", &right, 403),
    ] {
        let (status, _) = get(&app, path, NEAR, authorization).await;
        assert_eq!(status, expected, "{path} {authorization}");
    }
    let request = TestRequest::get().uri("/viewers").to_request();
    let answer = call_service(&app, request).await;
    let challenges: Vec<&str> = answer
        .headers()
        .get_all("www-authenticate")
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(
        challenges,
        [
            "Basic realm=\"lockstep\", charset=\"UTF-8\"",
            "Bearer realm=\"lockstep\""
        ]
    );
    let kind = answer.headers().get("content-type").unwrap();
    assert_eq!(kind, "application/problem+json");
}

#[actix_web::test]
async fn guessing_is_slowed_down_and_locks_out_nobody_who_is_known() {
    tokio::time::pause();
    let access = access();
    let app = app(&access).await;
    let right = basic("op", "right");
    assert_eq!(get(&app, "/viewers", NEAR, &right).await.0, 200);
    for guess in 0..MOST_FAILURES {
        let guess = basic("op", &format!("guess {guess}"));
        assert_eq!(get(&app, "/viewers", FAR, &guess).await.0, 401);
    }
    let seconds = WINDOW.as_secs().to_string();
    let limited = (429, seconds);
    assert_eq!(
        get(&app, "/viewers", FAR, &right).await,
        limited,
        "no guess is answered"
    );
    assert_eq!(
        get(&app, "/viewers", FAR, &basic("gw", "right")).await,
        limited
    );
    assert_eq!(
        get(&app, "/viewers", NEAR, &right).await.0,
        200,
        "it is remembered"
    );
    let other = basic("op", "yet another");
    assert_eq!(
        get(&app, "/viewers", NEAR, &other).await,
        limited,
        "the name cools down"
    );
    assert_eq!(
        get(&app, "/viewers", NEAR, &basic("gw", "right")).await.0,
        403
    );
    assert_eq!(
        get(&app, "/viewers", FAR, "Bearer secret-token").await.0,
        200
    );
    assert_eq!(get(&app, "/viewers", FAR, "Bearer x").await.0, 429);
    tokio::time::advance(WINDOW).await;
    assert_eq!(get(&app, "/viewers", FAR, &right).await.0, 200);
}

#[actix_web::test]
async fn guesses_at_what_is_remembered_are_counted_too() {
    tokio::time::pause();
    let access = access();
    let app = app(&access).await;
    let right = basic("op", "right");
    assert_eq!(get(&app, "/viewers", NEAR, &right).await.0, 200);
    // The address cools down because of another name …
    for _ in 0..MOST_FAILURES {
        assert_eq!(get(&app, "/viewers", FAR, &basic("gw", "x")).await.0, 401);
    }
    // … so a neighbour who is known gets in, and one who guesses does so only ten times.
    assert_eq!(get(&app, "/viewers", FAR, &right).await.0, 200);
    for _ in 0..MOST_FAILURES {
        assert_eq!(get(&app, "/viewers", FAR, &basic("op", "x")).await.0, 429);
    }
    assert_eq!(get(&app, "/viewers", FAR, &right).await.0, 429);
    assert_eq!(get(&app, "/viewers", NEAR, &right).await.0, 200);
}

#[actix_web::test]
async fn who_cools_down_fills_no_table_with_names_that_nobody_has() {
    tokio::time::pause();
    let access = access();
    let app = app(&access).await;
    for guess in 0..500 {
        let guess = basic(&format!("nobody {guess}"), "x");
        let (status, _) = get(&app, "/viewers", FAR, &guess).await;
        assert!([401, 429].contains(&status));
    }
    let counted = access.0.failures.len();
    assert!(counted <= 2 * MOST_FAILURES as usize, "{counted} counters");
}
