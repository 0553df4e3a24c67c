//! Access tokens for back ends: who may ask the token endpoint now, and the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use synapse::endpoint::TokenOwner;
use synapse::mediate::{BackendCall, Body, Exchange, Fault, Step};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::back_end::BackEnds;
use super::body;
use super::source::{Bounds, Source};

/// Bytes of a token endpoint's answer.
const MAX_ANSWER: usize = 64 * 1024;

/// For each owner of tokens that is waited for: one exchange at a time. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<TokenOwner, Weak<Turn<()>>>>>);

impl Turns {
    async fn wait(&self, owner: TokenOwner) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(&owner).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::new(()));
                    turns.insert(owner, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

impl BackEnds {
    /// Gets the token that an exchange waits for, in its turn, and goes on with it.
    pub(super) async fn get_token(&self, owner: TokenOwner, exchange: &mut Exchange) -> Step {
        let turn = self.turns.wait(owner).await;
        while let Some(call) = exchange.token_call(kit::clock::now_ms()) {
            let endpoint = call.endpoint.clone();
            let answer = self.ask_for_token(call).await;
            if let Err(fault) = &answer {
                tracing::warn!(
                    endpoint,
                    code = fault.code,
                    detail = fault.detail,
                    "the token endpoint could not be called"
                );
            }
            exchange.token_came(answer, kit::clock::now_ms());
        }
        drop(turn);
        exchange.with_token(kit::clock::now_ms())
    }

    async fn ask_for_token(&self, call: BackendCall) -> Result<(u16, Bytes), Fault> {
        let body = match &call.body {
            Body::Bytes(bytes) => body::full(bytes.clone()),
            Body::Empty | Body::Request | Body::Response => body::empty(),
        };
        let response = self.call(call, body, false).await;
        let (parts, incoming) = response.map_err(|failed| failed.fault)?.into_parts();
        let answer = Source::new(incoming, parts.version, &parts.headers, Bounds::NONE);
        let read = async {
            let read = answer.read(MAX_ANSWER, true).await;
            read.map_err(|error| Fault::new(Fault::RECEIVING_FAILED, error.to_string()))
        };
        let bytes = self.in_time(read).await?;
        Ok((parts.status.as_u16(), bytes))
    }
}
