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

/// Artifacts in a chunk of the bulk answer at most …
const TOGETHER: usize = 32;
/// … and their bytes, but at least one.
const TOGETHER_BYTES: u64 = 512 * 1024;
/// How often an artifact that has been replaced meanwhile is looked for anew.
const TRIES: u32 = 3;

/// Answer of `GET /synapse-attributes`. `count` is null, as API Manager's is.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
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
        let entry = manager.logs.entry(label, api_id);
        let Some(entry) = entry.filter(|entry| visible(entry)) else {
            manager.logs.is_absent()?;
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
    let Some(api_id) = api_id else {
        manager.logs.is_absent()?;
        return Ok(Attributes::default());
    };
    let all: Vec<Label> = manager
        .logs
        .published_to(&api_id)
        .into_iter()
        .map(|saved| saved.label)
        .collect();
    let labels: Vec<Label> = all.iter().filter(|label| visible(label)).cloned().collect();
    if labels.is_empty() && !all.is_empty() {
        // Nobody is told of an API that is not theirs.
        return Ok(Attributes::default());
    }
    Ok(Attributes {
        count: None,
        labels,
        api_id: Some(api_id.to_string()),
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
    if manager.logs.seq(label) == 0 {
        manager.logs.is_absent()?;
    }
    entries.retain(|entry| visible(entry));
    let mut sending = Sending {
        manager: manager.clone(),
        label: label.clone(),
        entries,
        next: 0,
        encoding,
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
    encoding: Encoding,
    assembler: Assembler,
    ended: bool,
}

impl Sending {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.ended {
            return None;
        }
        Some(self.chunk().await)
    }

    async fn chunk(&mut self) -> Result<Bytes, Cut> {
        let (first, part) = (self.next == 0, self.part());
        let texts = self.texts(part).await?;
        self.next += texts.len();
        self.ended = self.next == self.entries.len();
        let (count, last, encoding) = (self.entries.len(), self.ended, self.encoding);
        // Escaping and compressing takes a while: not on a thread that serves others.
        let make = move || {
            let mut text = String::with_capacity(texts.iter().map(String::len).sum());
            if first {
                text = format!("{{\"count\":{count},\"list\":[");
            }
            for (index, artifact) in texts.into_iter().enumerate() {
                if index > 0 || !first {
                    text.push(',');
                }
                text.push_str(&serde_json::Value::from(artifact).to_string());
            }
            if last {
                text.push_str("],\"pagination\":null}");
            }
            encoding.piece(text.into())
        };
        let piece = tokio::task::spawn_blocking(make).await;
        let piece = piece.map_err(|error| interrupted(error.to_string()))?;
        let bytes = self.assembler.add(piece);
        Ok(self.assembler.with_text(bytes, String::new(), self.ended))
    }

    /// The entries of the next chunk.
    fn part(&self) -> Vec<Arc<Entry>> {
        let rest = &self.entries[self.next..];
        let mut bytes = 0;
        let fitting = rest.iter().take(TOGETHER).take_while(|entry| {
            bytes += entry.bytes;
            bytes <= TOGETHER_BYTES
        });
        let fitting = fitting.count().max(1).min(rest.len());
        rest[..fitting].to_vec()
    }

    /// Their artifacts. One that has been replaced since the answer began comes as it is now; one
    /// that has gone cuts the answer: the count that was sent would be wrong.
    async fn texts(&self, part: Vec<Arc<Entry>>) -> Result<Vec<String>, Cut> {
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

fn interrupted(reason: String) -> Cut {
    Arc::new(BlobError::Interrupted(reason)).into()
}

fn gone(api_id: &str) -> Cut {
    let api_id = api_id.to_owned();
    Arc::new(BlobError::Gone {
        api_id,
        revision: 0,
    })
    .into()
}
