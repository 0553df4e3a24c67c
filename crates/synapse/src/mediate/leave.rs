//! Messages that leave the engine: answers to the client, and headers and bodies in either
//! direction.

use http::header::CONTENT_TYPE;

use super::answers::{needs_conversion, not_executed};
use super::exchange::{Answer, Body, Exchange, Step};

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

    fn status(&self) -> Option<u16> {
        self.axis2
            .get("HTTP_SC")
            .and_then(|text| text.trim().parse().ok())
            .filter(|status| (200..=999).contains(status))
    }

    /// Sends the current message to the client.
    pub(super) fn answer(&mut self) -> Step {
        let (mut headers, body) = match self.outgoing() {
            Ok(outgoing) => outgoing,
            Err(step) => return step,
        };
        if !self.message.from_back_end {
            headers = super::answers::own_headers(headers, &self.message.own_headers, &body);
        }
        Step::Answer(Box::new(Answer {
            status: self.status().unwrap_or(200),
            headers,
            body,
        }))
    }

    /// Headers and body as they leave the gateway, in either direction.
    pub(super) fn outgoing(&mut self) -> Result<(http::HeaderMap, Body), Step> {
        let mut headers = std::mem::take(&mut self.message.headers);
        let mut body = std::mem::take(&mut self.message.body);
        let no_entity = self.axis2.get("NO_ENTITY_BODY");
        if no_entity.is_some_and(|flag| flag.eq_ignore_ascii_case("true")) {
            body = Body::Empty;
            headers.remove(CONTENT_TYPE);
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
        }
        let message_type = self.axis2.get("messageType");
        let wanted = self.axis2.get("ContentType").or(message_type);
        let made = self.message.content_type.take();
        if let Body::Bytes(_) = body {
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
            headers.remove(http::header::CONTENT_ENCODING);
        }
        if body == Body::Empty {
            return Ok((headers, body));
        }
        let have = made.as_deref().or_else(|| {
            let value = headers.get(CONTENT_TYPE)?;
            value.to_str().ok()
        });
        let converted = [message_type, wanted]
            .into_iter()
            .flatten()
            .find(|wanted| have.is_some_and(|have| needs_conversion(have, wanted)));
        if let (Some(wanted), Some(have)) = (converted, have) {
            return Err(not_executed(&crate::plan::NotExecuted {
                what: format!("conversion of {have} to {wanted}"),
                place: "messageType".into(),
            }));
        }
        if let Some(content_type) = wanted.map(String::as_str).or(made.as_deref())
            && let Ok(value) = http::HeaderValue::try_from(content_type)
        {
            headers.insert(CONTENT_TYPE, value);
        }
        Ok((headers, body))
    }
}
