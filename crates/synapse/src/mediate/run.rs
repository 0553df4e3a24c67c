//! Running mediators: an explicit stack of blocks, so that an exchange can wait for a back end
//! anywhere and no artifact can overflow the thread's stack.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;

use super::answers::{engine_answer, not_executed};
use super::content::Seen;
use super::cors::CORS_SEQUENCE;
use super::endpoint::After;
use super::exchange::{
    BackendResponse, Body, Exchange, Fault, Frame, Handler, Message, Need, Step,
};
use super::handlers::Stage;
use crate::plan::{Block, Flow, Sequence, SequenceRef};

/// Blocks inside each other at run time; a sequence that calls itself ends here.
const MAX_FRAMES: usize = 128;
/// Mediators of one exchange; loops through send and fault end here.
const MAX_EXECUTED: usize = 20_000;

/// Back-end calls of one exchange.
pub(super) const MAX_CALLS: usize = 16;
/// What a mediator leaves to do.
pub(super) enum Flowing {
    On,
    Done(Step),
    Failed(Fault),
}

impl Exchange {
    /// Goes on with the back end's response. `now` is milliseconds since the epoch.
    #[must_use]
    pub fn response(&mut self, response: BackendResponse, now: i64) -> Step {
        self.environment.now = now;
        if response.status == 401
            && let Some(step) = self.renew(response.request_left)
        {
            return step;
        }
        self.message = Message {
            headers: response.headers,
            body: Body::Response,
            is_response: true,
            from_back_end: true,
            ..Message::default()
        };
        // The response has an axis2 scope of its own (`SynapseCallbackReceiver`).
        self.axis2.forget_all();
        self.response_status = Some(response.status);
        if self.session_in_body() {
            self.arriving = true;
            return Step::Read(Body::Response, Need::Whole);
        }
        self.go_on_behind()
    }

    /// Goes on behind `send` or `call` with the response.
    fn go_on_behind(&mut self) -> Step {
        match self.arrived() {
            After::RespondPath => self.respond_path(),
            After::Continue => self.run(),
            After::Sequence(sequence) => {
                self.stage = Stage::Mediation;
                self.in_response_path = true;
                // The gateway's `fault` and the resource's fault sequence.
                self.handlers.truncate(2);
                let entered = self.enter_reference(&sequence);
                self.go_on(entered)
            }
        }
    }

    /// Takes note that the back end has switched protocols: the exchange is over, and the endpoint
    /// works. `now` is milliseconds since the epoch.
    pub fn switched(&mut self, now: i64) {
        self.environment.now = now;
        self.arrived();
    }

    /// Goes on after a failed call: the group's next endpoint gets the message, if its body is
    /// left (can be sent once more), else the innermost fault handler runs.
    #[must_use]
    pub fn failed(&mut self, fault: Fault, now: i64, body_left: bool) -> Step {
        self.environment.now = now;
        let flowing = self.call_failed(fault, body_left, true);
        self.go_on(flowing)
    }

    /// Goes on after a call over a connection that the back end had kept open, and closed meanwhile:
    /// that says nothing about the endpoint. A request that may be repeated (RFC 9110, 9.2.2) is made
    /// once more; else it goes on as after other failures.
    #[must_use]
    pub fn closed(&mut self, fault: Fault, now: i64, body_left: bool) -> Step {
        self.environment.now = now;
        let flowing = match self
            .sending
            .take_if(|sending| body_left && sending.may_be_made_again)
        {
            Some(mut sending) => {
                sending.fresh = true;
                self.call_again(sending)
            }
            None => self.call_failed(fault, body_left, false),
        };
        self.go_on(flowing)
    }

    /// Goes on with the body that [`Step::Read`] asked for; `None`: it has more bytes than asked
    /// for, and can still be streamed.
    #[must_use]
    pub fn read(&mut self, body: Result<Option<Bytes>, Fault>) -> Step {
        let need = self.reading.take();
        match body {
            Ok(Some(bytes)) => {
                self.message.coded = matches!(need, Some(Need::UpTo(_)))
                    && self.message.headers.contains_key(CONTENT_ENCODING);
                if !self.message.coded {
                    self.message.headers.remove(CONTENT_ENCODING);
                }
                self.message.body = match bytes.is_empty() {
                    true => Body::Empty,
                    false => Body::Bytes(bytes),
                };
                self.message.seen = Seen::default();
                match std::mem::take(&mut self.arriving) {
                    true => self.go_on_behind(),
                    false => self.run(),
                }
            }
            Ok(None) => {
                // The mediator that wanted it is passed by.
                if let Some(frame) = self.frames.last_mut() {
                    frame.next += 1;
                }
                self.run()
            }
            Err(fault) => {
                self.message.body = Body::Empty;
                if std::mem::take(&mut self.arriving) {
                    self.sending = None;
                }
                self.go_on(Flowing::Failed(fault))
            }
        }
    }

    /// Runs from where the last thing left it.
    pub(super) fn go_on(&mut self, flowing: Flowing) -> Step {
        match flowing {
            Flowing::On => self.run(),
            Flowing::Done(step) => step,
            Flowing::Failed(fault) => match self.handle(fault) {
                Some(step) => step,
                None => self.run(),
            },
        }
    }

    /// The handlers see the response, then the resource's outSequence.
    pub(super) fn respond_path(&mut self) -> Step {
        self.in_response_path = true;
        self.begin_stage(Stage::Response(0));
        self.go_on(Flowing::On)
    }

    pub(super) fn enter_flow(&mut self, flow: &Flow) -> Flowing {
        match flow {
            Flow::Reference(reference) => self.enter_reference(reference),
            Flow::Inline(block) => {
                self.enter_block(block);
                Flowing::On
            }
        }
    }

    pub(super) fn push_flow_handler(&mut self, flow: &Flow) {
        self.handlers.push(match flow {
            Flow::Inline(block) => Handler::Block(Arc::clone(block)),
            Flow::Reference(reference) => Handler::Sequence(reference.clone()),
        });
    }

    /// Enters the sequence that a reference names; a fault when it is not there.
    pub(super) fn enter_reference(&mut self, reference: &SequenceRef) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let missing = |key: &str| {
            let message = format!("Sequence named {key} cannot be found");
            Flowing::Failed(Fault::new(0, message))
        };
        let sequence: &Sequence = match reference {
            SequenceRef::Own(index) => match plan.sequences.get(*index) {
                Some(sequence) => sequence,
                None => return missing("?"),
            },
            SequenceRef::Shipped(name, sequence) => {
                let own = plan.sequence_names.get(*name);
                if *name == CORS_SEQUENCE && own.is_none() {
                    self.put_cors_headers();
                    return Flowing::On;
                }
                own.and_then(|at| plan.sequences.get(*at))
                    .unwrap_or(sequence)
            }
            SequenceRef::Missing(key) => return missing(key),
            SequenceRef::NotExecuted(element) => return Flowing::Done(not_executed(element)),
            SequenceRef::Dynamic(expression) => {
                let key = self.text_of(expression).unwrap_or_default();
                let index = plan.sequence_names.get(&key);
                match index.and_then(|at| plan.sequences.get(*at)) {
                    Some(sequence) => sequence,
                    None => return missing(&key),
                }
            }
        };
        self.enter(sequence);
        Flowing::On
    }

    pub(super) fn enter(&mut self, sequence: &Sequence) {
        let handlers = self.push_on_error(sequence.on_error.as_ref());
        self.frames.push(Frame {
            block: Arc::clone(&sequence.block),
            next: 0,
            handlers,
            parameters: None,
        });
    }

    /// How many handlers there are more.
    pub(super) fn push_on_error(&mut self, on_error: Option<&SequenceRef>) -> usize {
        let handler = on_error.map(|on_error| Handler::Sequence(on_error.clone()));
        let pushed = usize::from(handler.is_some());
        self.handlers.extend(handler);
        pushed
    }

    /// Runs until there is something to do outside.
    fn run(&mut self) -> Step {
        // Blocks are shared by threads: counting who has one costs more than comparing.
        let mut entered: Option<Block> = None;
        loop {
            let flowing = match self.frames.last_mut() {
                None => self.next_stage(),
                Some(frame) if frame.next >= frame.block.len() => {
                    let left = self.handlers.len().saturating_sub(frame.handlers);
                    self.handlers.truncate(left);
                    self.frames.pop();
                    continue;
                }
                Some(frame) => {
                    let block = match entered.take() {
                        Some(block) if Arc::ptr_eq(&block, &frame.block) => block,
                        _ => Arc::clone(&frame.block),
                    };
                    let at = frame.next;
                    frame.next += 1;
                    let block = entered.insert(block);
                    match self.run_one(block, at) {
                        Ok(flowing) => flowing,
                        Err(step) => return step,
                    }
                }
            };
            match flowing {
                Flowing::On => {}
                Flowing::Done(step) => return step,
                Flowing::Failed(fault) => {
                    if let Some(step) = self.handle(fault) {
                        return step;
                    }
                }
            }
        }
    }

    /// The mediator of a block at a position; a step where it has to wait or never ends.
    fn run_one(&mut self, block: &Block, at: usize) -> Result<Flowing, Step> {
        self.executed += 1;
        if self.executed > MAX_EXECUTED || self.frames.len() > MAX_FRAMES {
            return Err(engine_answer(
                500,
                "Internal Server Error",
                "the sequences of this API call each other without end",
            ));
        }
        let Some(mediator) = block.get(at) else {
            return Ok(Flowing::On);
        };
        if let Some((body, need)) = self.to_be_read(mediator) {
            if let Some(frame) = self.frames.last_mut() {
                frame.next = at;
            }
            self.reading = Some(need);
            return Err(Step::Read(body, need));
        }
        let flowing = self.mediate(mediator);
        Ok(match self.unevaluated.take() {
            Some(reason) => Flowing::Failed(Fault::new(0, reason)),
            None => flowing,
        })
    }

    /// Makes the innermost fault handler that can be entered the next thing to run.
    fn handle(&mut self, mut fault: Fault) -> Option<Step> {
        // What was set for the back end is not for the client.
        self.message.own_headers.clear();
        loop {
            for (name, value) in [
                ("ERROR_CODE", fault.code.to_string()),
                ("ERROR_MESSAGE", fault.message.clone()),
                ("ERROR_DETAIL", fault.detail.clone()),
                ("ERROR_EXCEPTION", fault.detail.clone()),
            ] {
                self.default.set(name, value);
            }
            self.frames.clear();
            self.stage = Stage::Mediation;
            let entered = match self.handlers.pop() {
                None => return Some(engine_answer(500, "Runtime Error", &fault.message)),
                Some(Handler::Block(block)) => {
                    self.enter_block(&block);
                    Flowing::On
                }
                Some(Handler::Sequence(reference)) => self.enter_reference(&reference),
            };
            match entered {
                Flowing::On => return None,
                Flowing::Done(step) => return Some(step),
                Flowing::Failed(next) => fault = next,
            }
        }
    }

    pub(super) fn enter_block(&mut self, block: &Block) {
        if !block.is_empty() {
            self.frames.push(Frame {
                block: Arc::clone(block),
                next: 0,
                handlers: 0,
                parameters: None,
            });
        }
    }
}
