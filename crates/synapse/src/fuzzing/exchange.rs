//! Runs exchanges to their end, in the place of the data plane and the back ends.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::dispatch::{RequestHead, RouteTable, Selection};
use crate::mediate::{
    Answer, BackendResponse, Body, Environment, Exchange, Fault, MessageId, Need, Request, Step,
    Target,
};
use crate::plan::Plan;

/// Steps of one exchange: there are at most 16 calls, and each body is read once.
const MAX_STEPS: usize = 200;

/// A request as inputs write it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) content_type: &'a str,
    /// Of the request, and of each response.
    pub(super) body: &'a [u8],
}

impl Wanted<'_> {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::try_from(self.content_type) {
            headers.insert(CONTENT_TYPE, value);
        }
        headers
    }
}

/// Dispatches a request among the APIs of a plan and runs what takes it. `None` where dispatch
/// answers.
pub(super) fn answer(plan: &Arc<Plan>, wanted: &Wanted<'_>) -> Option<Answer> {
    let routes = plan.apis.iter().map(|api| Arc::clone(&api.route)).zip(0..);
    let table: RouteTable<usize> = RouteTable::new(routes);
    let head = RequestHead {
        method: wanted.method,
        target: wanted.target,
        host: Some("localhost:8280"),
        https: false,
        content_type: Some(wanted.content_type),
        user_agent: None,
        has_body: !wanted.body.is_empty(),
    };
    let https = RequestHead {
        https: true,
        ..head
    };
    let selected = match table.select(&head) {
        Selection::Api(selected) => selected,
        _ => match table.select(&https) {
            Selection::Api(selected) => selected,
            _ => return None,
        },
    };
    assert!(wanted.target.ends_with(selected.rest_url_postfix));
    let request = Request {
        method: wanted.method,
        target: wanted.target,
        https: false,
        headers: wanted.headers(),
        has_body: !wanted.body.is_empty(),
        remote: None,
    };
    let environment = Environment {
        now: 1_600_000_000_000,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    let target = Target {
        api: *selected.attached,
        resource: selected.resource,
        rest_url_postfix: selected.rest_url_postfix,
    };
    let (exchange, step) = Exchange::start(Arc::clone(plan), target, request, environment);
    Some(to_the_end(exchange, step, wanted))
}

/// Every second call fails.
fn to_the_end(mut exchange: Exchange, mut step: Step, wanted: &Wanted<'_>) -> Answer {
    for number in 0..MAX_STEPS {
        exchange.take_logs();
        step = match step {
            Step::Answer(answer) => return *answer,
            Step::Token(_) => {
                while exchange.token_call(1_600_000_000_001).is_some() {
                    let body = Bytes::copy_from_slice(wanted.body);
                    exchange.token_came(Ok((200, body)), 1_600_000_000_001);
                }
                exchange.with_token(1_600_000_000_001)
            }
            Step::Ask(_) => panic!("asks for credentials while security is off"),
            Step::Read(_, Need::UpTo(most)) if wanted.body.len() > most => exchange.read(Ok(None)),
            Step::Read(..) => {
                let body = Bytes::copy_from_slice(wanted.body);
                exchange.read(Ok(Some(body)))
            }
            Step::Call(_) if number % 2 == 1 => {
                let fault = Fault::new(Fault::CONNECTION_FAILED, "no one <there>");
                exchange.failed(fault, 1_600_000_000_001, true)
            }
            Step::Call(call) => {
                assert!(!matches!(call.body, Body::Response) || number > 0);
                let response = BackendResponse {
                    status: 200,
                    headers: wanted.headers(),
                    request_left: number % 3 == 0,
                };
                exchange.response(response, 1_600_000_000_001)
            }
        };
    }
    panic!("an exchange does not end");
}
