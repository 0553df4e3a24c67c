//! `payloadFactory`.

use artifact::Artifact;
use http::header::CONTENT_TYPE;

use super::exchange::{Wanted, answer};
use super::{SEPARATOR, first_line};
use crate::mediate::Body;
use crate::message::Document;
use crate::xml::{Limits, read};

/// First part: media type of the format and content type of the request, then an argument a line,
/// `=` before a text, else an expression, in which `$url:text` is the body. Second part: the
/// format. Third: the body of the request. Where arguments are text and stand where text can
/// stand, what is made is JSON, or XML.
pub fn payload_factory(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut parts = text.splitn(3, SEPARATOR);
    let mut part = || parts.next().unwrap_or_default();
    let (head, format, body) = (part(), part(), part());
    let (types, arguments) = first_line(head);
    let (media, content_type) = types.split_once(' ').unwrap_or((types, ""));
    let arguments: Vec<&str> = arguments.lines().collect();
    let artifact = made(media, &arguments, format);
    let Some(plan) = crate::compile(&artifact, &Limits::default()).plan else {
        return;
    };
    let encoded: String = body
        .bytes()
        .map(percent_encoding::percent_encode_byte)
        .collect();
    let wanted = Wanted {
        method: "POST",
        target: &format!("/a?text={encoded}"),
        content_type,
        body: body.as_bytes(),
    };
    let Some(answer) = answer(&plan, &wanted) else {
        return;
    };
    let is_text = |argument: &&str| argument.starts_with('=') || argument.starts_with("$url:");
    let announced = answer.headers.get(CONTENT_TYPE);
    let announced = announced
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Body::Bytes(bytes) = &answer.body else {
        return;
    };
    if answer.status != 200 || !arguments.iter().all(is_text) {
        return;
    }
    // XML becomes an object in JSON, which cannot stand in a string.
    let texts = arguments.iter().filter_map(|it| it.strip_prefix('='));
    let mut texts = texts.chain([body]);
    if media == "json" && texts.any(|text| Document::parse(text.trim()).is_ok()) {
        return;
    }
    let made = String::from_utf8_lossy(bytes);
    let sample = filled(format, arguments.len());
    match announced {
        "application/json" if media == "json" => {
            let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert!(!is_json(sample.trim()) || is_json(&made), "no JSON: {made}");
        }
        "application/xml" if media == "xml" => {
            let formats = [format, sample.as_str()];
            let read = Document::parse(&made);
            assert!(
                formats.iter().any(|text| Document::parse(text).is_err()) || read.is_ok(),
                "no XML ({read:?}): {made}"
            );
        }
        _ => {}
    }
}

/// The format with a letter in the place of each argument.
fn filled(format: &str, arguments: usize) -> String {
    let mut filled = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = after[..digits].parse().unwrap_or(0);
        let is_argument = (1..=arguments).contains(&number);
        filled.push(if is_argument { 'x' } else { '$' });
        rest = if is_argument { &after[digits..] } else { after };
    }
    filled + rest
}

fn made(media: &str, arguments: &[&str], format: &str) -> Artifact {
    let escaped = |text: &str| quick_xml::escape::escape(text).into_owned();
    let is_xml = media == "xml" && read(format, &Limits::default()).is_ok();
    let format = match is_xml {
        true => format.to_owned(),
        false => escaped(format),
    };
    let arguments: String = arguments
        .iter()
        .map(|argument| match argument.strip_prefix('=') {
            Some(text) => format!("<arg value=\"{}\"/>", escaped(text)),
            None => format!("<arg expression=\"{}\"/>", escaped(argument)),
        })
        .collect();
    Artifact {
        name: "A".into(),
        api_definition: Some(format!(
            "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"A\" context=\"/a\"><resource methods=\"POST\">\
             <inSequence><payloadFactory media-type=\"{}\"><format>{format}</format><args>{arguments}</args>\
             </payloadFactory><respond/></inSequence></resource></api>",
            escaped(media)
        )),
        ..Artifact::default()
    }
}
