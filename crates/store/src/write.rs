//! Writing a plan: a few statements for each table, whatever the size of the batch.

use std::collections::BTreeMap;

use crate::decide::{Plan, Revision};
use crate::tx::{Arg, Tx};
use crate::{StoreError, sql};

impl Plan<'_> {
    /// Writes all rows. `history_size` revisions of each API are kept.
    pub(crate) async fn write(&self, tx: &mut Tx, history_size: u32) -> Result<(), StoreError> {
        self.write_apis(tx, history_size).await?;
        let seqs: Vec<Vec<Arg<'_>>> = self
            .seqs
            .iter()
            .map(|(label, seq)| vec![self.dc.into(), label.as_str().into(), signed(*seq).into()])
            .collect();
        tx.put(&sql::SEQUENCE, &seqs).await?;
        let mut artifacts = Vec::with_capacity(self.entries.len());
        let mut entries = Vec::with_capacity(self.entries.len());
        for ((label, api_id), entry) in &self.entries {
            let label = label.as_str();
            let instruction = entry.instruction.as_str();
            artifacts.push(vec![
                label.into(),
                (*api_id).into(),
                entry.text.as_bytes().into(),
                instruction.into(),
            ]);
            entries.push(vec![
                self.dc.into(),
                label.into(),
                (*api_id).into(),
                signed(entry.seq).into(),
                instruction.into(),
                signed(entry.revision).into(),
                entry.digest.to_string().into(),
                self.now.into(),
            ]);
        }
        tx.put(&sql::ARTIFACTS, &artifacts).await?;
        tx.put(&sql::LOG_ENTRY, &entries).await?;
        let mut outbox = Vec::with_capacity(self.announcements.len());
        for announcement in &self.announcements {
            let text = serde_json::to_string(announcement)
                .map_err(|error| StoreError::bad_row("LS_OUTBOX", error.to_string()))?;
            outbox.push(vec![
                (&announcement.api_id).into(),
                text.into(),
                self.now.into(),
            ]);
        }
        tx.put(&sql::OUTBOX, &outbox).await?;
        match tx.dialect.tell_growth() {
            Some(tell) if !self.entries.is_empty() => tx.execute(tell, &[]).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Details, newest state, routes and revisions of the APIs that have a new revision.
    async fn write_apis(&self, tx: &mut Tx, history_size: u32) -> Result<(), StoreError> {
        let revisions: Vec<Vec<Arg<'_>>> = self
            .revisions
            .iter()
            .map(|revision| {
                vec![
                    (&revision.artifact.api_id).into(),
                    signed(revision.revision).into(),
                    self.dc.into(),
                    revision.instruction.as_str().into(),
                    revision.digest.to_string().into(),
                    revision.text.as_bytes().into(),
                    self.now.into(),
                ]
            })
            .collect();
        // The last revision of each API is what it is from now on.
        let newest: BTreeMap<&str, &Revision<'_>> = self
            .revisions
            .iter()
            .map(|revision| (revision.artifact.api_id.as_str(), revision))
            .collect();
        let (mut details, mut apis, mut routes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut revised, mut long) = (Vec::new(), Vec::new());
        for (api_id, revision) in newest {
            let artifact = revision.artifact;
            details.push(vec![
                api_id.into(),
                (&artifact.tenant_domain).into(),
                artifact.provider.as_deref().into(),
                (&artifact.name).into(),
                (&artifact.version).into(),
            ]);
            apis.push(vec![
                api_id.into(),
                (&artifact.name).into(),
                (&artifact.version).into(),
                (&artifact.tenant_domain).into(),
                revision.instruction.as_str().into(),
                signed(revision.revision).into(),
                revision.digest.to_string().into(),
                self.dc.into(),
                self.now.into(),
            ]);
            for (position, route) in (0_i64..).zip(revision.routes) {
                routes.push(vec![api_id.into(), position.into(), route.into()]);
            }
            if revision.revision > 1 {
                revised.push(Arg::from(api_id));
            }
            if revision.revision > u64::from(history_size) {
                long.push(Arg::from(api_id));
            }
        }
        tx.put(&sql::DETAILS, &details).await?;
        tx.put(&sql::API, &apis).await?;
        tx.execute_in(sql::FORGET_ROUTES, &[], &revised).await?;
        tx.put(&sql::ROUTE, &routes).await?;
        tx.put(&sql::REVISION, &revisions).await?;
        let keep = i64::from(history_size).into();
        tx.execute_in(sql::PRUNE_REVISIONS, &[keep], &long).await?;
        Ok(())
    }
}

pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
