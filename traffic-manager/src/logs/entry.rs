//! An entry of a label log, and how it is sent.

use std::ops::Deref;
use std::sync::OnceLock;

use artifact::{LabelLogEntry, SavedTo};
use store::LogRow;

use crate::encoding::{Encoding, Piece};

/// An entry of a label log: its row, and how it is sent.
#[derive(Debug)]
pub(crate) struct Entry {
    row: LogRow,
    /// Its line up to the artifact, in zstd.
    head: OnceLock<Piece>,
}

impl Entry {
    pub(super) fn new(row: LogRow) -> Self {
        let head = OnceLock::new();
        Self { row, head }
    }

    /// The line up to the artifact, which is the same for all who ask.
    pub(crate) fn head(&self, encoding: Encoding) -> Piece {
        let make = || {
            let head = self.line(Vec::new()).up_to_artifact();
            // Nothing of the entry can fail to be written as JSON.
            encoding.piece(head.unwrap_or_default().into())
        };
        match encoding {
            Encoding::Zstd => self.head.get_or_init(make).clone(),
            Encoding::Gzip | Encoding::Identity => make(),
        }
    }

    /// The entry on the wire, without its artifact.
    pub(crate) fn line(&self, published_to: Vec<SavedTo>) -> LabelLogEntry {
        let row = &self.row;
        LabelLogEntry {
            seq: row.seq,
            api_id: row.api_id.clone(),
            name: row.name.clone(),
            version: row.version.clone(),
            tenant_domain: row.tenant_domain.clone(),
            instruction: row.instruction,
            revision: row.revision,
            digest: row.digest,
            time: row.time,
            artifact: None,
            published_to,
        }
    }
}

impl Deref for Entry {
    type Target = LogRow;

    fn deref(&self) -> &LogRow {
        &self.row
    }
}
