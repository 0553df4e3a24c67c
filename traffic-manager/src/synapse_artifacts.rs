//! The three resources of API Manager 3.2.0's internal data API, in its shapes, for gateways and
//! tools that speak it.

use std::sync::Arc;

use artifact::{Instruction, Label};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;

use crate::TrafficManager;
use crate::blobs::BlobError;
use crate::chunks::Cut;
use crate::encoding::{Assembler, Encoding};
use crate::logs::{Entry, LogsError};

/// Made at a time for one reader, bytes of text.
const CHUNK: usize = 256 * 1024;
/// Artifacts asked for at a time …
const TOGETHER: usize = 32;
/// … and their bytes, but at least one.
const TOGETHER_BYTES: u64 = 2 * 1024 * 1024;
/// How often an artifact that has been replaced meanwhile is looked for anew.
const TRIES: u32 = 3;

/// Answer of `GET /synapse-attributes`. `count` is null, as API Manager's is.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attributes {
    count: Option<u64>,
    labels: Vec<Label>,
    api_id: Option<String>,
}

/// Which instruction is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Any,
    Only(Instruction),
}

impl Asked {
    /// `Publish`, `Remove` or `ANY`; compared with case. Others match nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "ANY" => Some(Self::Any),
            text => Instruction::parse(text).map(Self::Only),
        }
    }
}

/// The artifact of an API in a label, as it was saved; `None` where there is none with this
/// instruction, or the caller may not see it.
pub(crate) async fn artifact(
    manager: &TrafficManager,
    api_id: &str,
    label: &Label,
    asked: Asked,
    visible: impl Fn(&Entry) -> bool,
) -> Result<Option<String>, Cut> {
    manager.logs.current().await?;
    for _ in 0..TRIES {
        let Some(entry) = manager.logs.entry(label, api_id).filter(|e| visible(e)) else {
            return Ok(None);
        };
        if asked != Asked::Any && asked != Asked::Only(entry.instruction) {
            return Ok(None);
        }
        match manager.blobs.text(&entry).await {
            Ok(text) => return Ok(Some(text)),
            Err(error) if error.is_gone() => {
                manager.logs.refresh().await.map_err(LogsError::from)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(gone(api_id))
}

/// The labels that publish an API, and its id.
pub(crate) async fn attributes(
    manager: &TrafficManager,
    (name, version, tenant): (&str, &str, &str),
    visible: impl Fn(&Label) -> bool,
) -> Result<Attributes, Cut> {
    manager.logs.current().await?;
    let api_id = manager.logs.named(name, version, tenant);
    let labels = match &api_id {
        None => Vec::new(),
        Some(api_id) => manager.logs.published_to(api_id),
    };
    let labels = labels.into_iter().map(|saved| saved.label);
    Ok(Attributes {
        count: None,
        labels: labels.filter(|label| visible(label)).collect(),
        api_id: api_id.map(|id| id.to_string()),
    })
}

/// All artifacts that a label publishes, as one JSON object, made while it is sent.
pub(crate) async fn all(
    manager: &TrafficManager,
    label: &Label,
    encoding: Encoding,
    visible: &(dyn Fn(&Entry) -> bool + Sync),
) -> Result<impl Stream<Item = Result<Bytes, Cut>> + use<>, Cut> {
    manager.logs.current().await?;
    let mut entries = manager.logs.published(label);
    entries.retain(|entry| visible(entry));
    let mut sending = Sending {
        manager: manager.clone(),
        label: label.clone(),
        entries,
        next: 0,
        assembler: Assembler::new(encoding),
        ended: false,
    };
    let first = sending.next().await.transpose()?;
    Ok(futures_util::stream::unfold(
        (first, sending),
        |(first, mut sending)| async {
            let next = match first {
                Some(first) => Some(Ok(first)),
                None => sending.next().await,
            };
            if let Some(Err(error)) = &next {
                tracing::warn!(%error, label = %sending.label, "bulk answer cut");
                sending.ended = true;
            }
            Some((next?, (None, sending)))
        },
    ))
}

struct Sending {
    manager: TrafficManager,
    label: Label,
    /// What the answer holds: as it was when it began.
    entries: Vec<Arc<Entry>>,
    next: usize,
    assembler: Assembler,
    ended: bool,
}

impl Sending {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.ended {
            return None;
        }
        let mut text = String::new();
        if self.next == 0 {
            text = format!("{{\"count\":{},\"list\":[", self.entries.len());
        }
        while text.len() < CHUNK && self.next < self.entries.len() {
            let texts = match self.texts().await {
                Ok(texts) => texts,
                Err(error) => return Some(Err(error)),
            };
            for artifact in texts {
                if self.next > 0 {
                    text.push(',');
                }
                self.next += 1;
                text.push_str(&serde_json::Value::from(artifact).to_string());
            }
        }
        self.ended = self.next == self.entries.len();
        if self.ended {
            text.push_str("],\"pagination\":null}");
        }
        let bytes = self.assembler.with_text(Bytes::new(), text, self.ended);
        Some(Ok(bytes))
    }

    /// The next artifacts. One that has been replaced since the answer began comes as it is now;
    /// one that has gone cuts the answer: the count that was sent would be wrong.
    async fn texts(&self) -> Result<Vec<String>, Cut> {
        let mut bytes = 0;
        let rest = self.entries[self.next..].iter().take(TOGETHER);
        let fitting = rest.take_while(|entry| {
            bytes += entry.bytes;
            bytes <= TOGETHER_BYTES
        });
        let part = &self.entries[self.next..][..fitting.count().max(1)];
        let texts = part.iter().map(|entry| self.manager.blobs.text(entry));
        match futures_util::future::try_join_all(texts).await {
            Ok(texts) => return Ok(texts),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error.into()),
        }
        let mut texts = Vec::with_capacity(part.len());
        for entry in part {
            let asked = Asked::Only(Instruction::Publish);
            let found =
                artifact(&self.manager, &entry.api_id, &self.label, asked, |_| true).await?;
            texts.push(found.ok_or_else(|| gone(&entry.api_id))?);
        }
        Ok(texts)
    }
}

fn gone(api_id: &str) -> Cut {
    let api_id = api_id.to_owned();
    Arc::new(BlobError::Gone {
        api_id,
        revision: 0,
    })
    .into()
}
