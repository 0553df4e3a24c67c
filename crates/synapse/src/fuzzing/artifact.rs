//! Whole artifacts: compiled, and each request that they take run.

use artifact::{Artifact, Content, Severity};

use super::exchange::{Wanted, answer};
use super::{SEPARATOR, first_line};
use crate::example::example;
use crate::xml::{Limits, read};

const API: &str = "<api name='A' context='/a'><resource methods='GET POST'><inSequence>\
    <sequence key='piece'/><send><endpoint key='piece'/></send></inSequence></resource></api>";

/// First part: an API, sequence, template, endpoint or local entry. Second part, which may be left
/// out: `METHOD TARGET CONTENT-TYPE` and the body of a request. Compiling tells the same twice and
/// says why it refuses; every request that gets to an API is answered.
pub fn artifact(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (text, request) = text.split_once(SEPARATOR).unwrap_or((text, ""));
    let limits = Limits::default();
    let compilation = crate::compile(&made(text), &limits);
    let again = crate::compile(&made(text), &limits);
    assert_eq!(compilation.findings, again.findings, "compiled differently");
    let refused = compilation
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Refused);
    assert_eq!(
        compilation.plan.is_none(),
        refused,
        "{:?}",
        compilation.findings
    );
    let Some(plan) = compilation.plan else {
        return;
    };
    let (head, body) = first_line(request);
    let mut words = head.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let wanted = Wanted {
        method: word(),
        target: word(),
        content_type: word(),
        body: body.as_bytes(),
    };
    let mut all = vec![wanted];
    let examples: Vec<_> = plan
        .apis
        .iter()
        .filter_map(|api| example(&api.route))
        .collect();
    for example in &examples {
        for (content_type, body) in [
            ("application/json", "{\"a\":[1,{\"b\":\"x\"}]}"),
            ("text/xml", "<a xmlns='urn:a'><b c='1'>x</b></a>"),
            ("text/plain", ""),
        ] {
            all.push(Wanted {
                method: example.method,
                target: &example.target,
                content_type,
                body: body.as_bytes(),
            });
        }
    }
    for wanted in &all {
        answer(&plan, wanted);
    }
}

/// An artifact of the text: an API, or a piece beside an API that uses it.
fn made(text: &str) -> Artifact {
    let content = Content {
        name: "piece".into(),
        content: text.into(),
    };
    let mut artifact = Artifact {
        name: "A".into(),
        api_definition: Some(API.into()),
        ..Artifact::default()
    };
    let root = read(text, &Limits::default()).map(|root| root.name);
    match root.as_deref() {
        Ok("sequence" | "template") => artifact.sequence_to_be_add.push(content),
        Ok("endpoint") => artifact.endpoint_entries_to_be_add.push(content),
        Ok("localEntry") => artifact.local_entries_to_be_add.push(content),
        _ => artifact.api_definition = Some(text.into()),
    }
    artifact
}
