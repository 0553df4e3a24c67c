//! Messages that leave the engine: answers to the client, and headers and bodies in either
//! direction.

use http::header::CONTENT_TYPE;

use super::exchange::{Answer, Body, Exchange, Fault, Step};
use super::run::Flowing;
use crate::message::{is_foreign, without_foreign};

impl Exchange {
    /// Nothing was sent: 202, or the status that was set (`ServerWorker.sendAck`).
    pub(super) fn acknowledge(&mut self) -> Step {
        self.message.body = Body::Empty;
        self.message.headers.clear();
        let status = match self.message.is_response {
            true => None,
            false => self.status(),
        };
        Step::Answer(Box::new(Answer {
            status: status.unwrap_or(202),
            headers: http::HeaderMap::new(),
            body: Body::Empty,
        }))
    }

    /// Sends the current message to the client.
    pub(super) fn answer(&mut self) -> Flowing {
        let soap_fault = self.message.soap_fault;
        let (mut headers, body) = match self.outgoing() {
            Ok(outgoing) => outgoing,
            Err(fault) => return Flowing::Failed(fault),
        };
        // `PassThroughTransportUtils.determineHttpStatusCode`.
        let otherwise = if soap_fault { 500 } else { 200 };
        if !self.message.from_back_end {
            headers = super::answers::own_headers(headers, &self.message.own_headers, &body);
        }
        Flowing::Done(Step::Answer(Box::new(Answer {
            status: self.status().unwrap_or(otherwise),
            headers,
            body,
        })))
    }

    /// Whether a mediator has said that the message leaves without its body.
    pub(super) fn has_no_entity(&self) -> bool {
        let set = self.axis2_set("NO_ENTITY_BODY");
        set.is_some_and(|flag| flag.eq_ignore_ascii_case("true"))
    }

    /// Headers and body as they leave the gateway, in either direction.
    pub(super) fn outgoing(&mut self) -> Result<(http::HeaderMap, Body), Fault> {
        let no_entity = self.has_no_entity();
        let as_set = no_entity || self.convert()?;
        let mut headers = std::mem::take(&mut self.message.headers);
        let mut body = std::mem::take(&mut self.message.body);
        if no_entity {
            body = Body::Empty;
            headers.remove(CONTENT_TYPE);
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
        }
        let made = self.message.content_type.take();
        let message_type = self.axis2_set("messageType");
        let wanted = self.axis2_set("ContentType").or(message_type);
        if let Body::Bytes(_) = body {
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
        }
        // What has been made here is UTF-8.
        let utf_8 = match (&made, wanted) {
            (Some(made), Some(wanted)) if !is_foreign(made) => without_foreign(wanted),
            _ => None,
        };
        let wanted = utf_8.as_deref().or(wanted);
        // What a header cannot carry must not leave the body under its former type.
        let types = [wanted.filter(|_| as_set), made.as_deref()];
        let mut types = types.into_iter().flatten();
        if body != Body::Empty
            && let Some(value) = types.find_map(|text| http::HeaderValue::try_from(text).ok())
        {
            headers.insert(CONTENT_TYPE, value);
        }
        Ok((headers, body))
    }
}
