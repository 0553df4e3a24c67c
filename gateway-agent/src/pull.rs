//! Asking the traffic manager: a label's log, its digest, its index. Each question is a task of its
//! own that tells the core what has come.

use std::time::Duration;

use artifact::{Digest, Label, LabelDigest, LabelLogEntry, LogLine};
use futures_util::Stream;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::handing::{Batch, hand_on};
use crate::lines::{MAX_LINE, Parse, Reading};
use crate::sync_core::{IndexEntry, Input, PullError, Range, Wanted};

/// The most entries that an index may have: what is longer is no index.
const MAX_INDEX: usize = 10_000_000;

/// Where and how to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Source {
    pub client: reqwest::Client,
    /// `https://localhost:9443`.
    pub traffic_manager: String,
    /// An answer that is silent for longer is cut.
    pub silence: Duration,
    /// Only these tenants' artifacts are asked for, as they come; `None` for all.
    pub artifacts_of: Option<String>,
}

/// One question: where its answers go, and what lets it go on.
#[derive(Debug)]
pub(crate) struct Question {
    pub label: Label,
    pub id: u64,
    pub answers: mpsc::Sender<Input>,
    /// Told when what was handed on has been applied.
    pub go_on: mpsc::Receiver<()>,
}

/// What else can come between.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Line(#[from] artifact::LogLineError),
    #[error("a line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    #[error("a line is not UTF-8")]
    NotUtf8,
    #[error("the index has more than {MAX_INDEX} entries")]
    IndexTooLong,
    /// Nobody asks any more.
    #[error("the agent has ended")]
    Ended,
}

impl AskError {
    fn for_core(self) -> Option<PullError> {
        match self {
            Self::Pull(error) => Some(error),
            Self::Ended => None,
            error => Some(PullError::Failed(error.to_string())),
        }
    }
}

pub(crate) fn failed(reason: impl ToString) -> AskError {
    AskError::Pull(PullError::Failed(reason.to_string()))
}

#[derive(Deserialize)]
struct DigestTold {
    seq: u64,
    count: u64,
    digest: Digest,
}

impl Source {
    /// Pulls a label's log, and tells how that ended.
    pub(crate) async fn pull(self, wanted: Wanted, mut question: Question) {
        let result = self.try_pull(wanted, &mut question).await;
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => match error.for_core() {
                Some(error) => Err(error),
                None => return,
            },
        };
        question.end_pull(result).await;
    }

    async fn try_pull(&self, wanted: Wanted, question: &mut Question) -> Result<(), AskError> {
        let mut query = vec![
            ("after", wanted.after.to_string()),
            ("follow", wanted.follow.to_string()),
        ];
        query.extend(wanted.least.map(|seq| ("minSeq", seq.to_string())));
        query.extend(self.artifacts_of());
        let parse = self.parser();
        let answer = self.ask("label-log", &question.label, &query).await?;
        if let (StatusCode::CONFLICT, Some(least)) = (answer.status(), wanted.least) {
            return Err(PullError::Behind {
                found: wanted.after,
                wanted: least,
            }
            .into());
        }
        let reading = self.reading(answer).await?;
        hand_on(reading, parse, &wanted, question).await
    }

    /// Asks for a label's digest.
    pub(crate) async fn digest(self, question: Question) {
        let asked = async {
            let answer = self.ask("label-log/digest", &question.label, &[]).await?;
            let answer = success(answer).await?;
            let told: DigestTold = timeout(self.silence, answer.json())
                .await
                .map_err(|_| failed("no answer"))?
                .map_err(|error| failed(kit::http_client::cause(&error)))?;
            Ok(told)
        };
        let told = asked.await;
        let Question { label, id, .. } = &question;
        let (label, id) = (label.clone(), *id);
        question
            .answer(told.map(|DigestTold { seq, count, digest }| Input::Digest {
                label,
                id,
                seq,
                digest: LabelDigest { digest, count },
            }))
            .await;
    }

    /// Asks for all entries of a label, without their artifacts.
    pub(crate) async fn index(self, question: Question) {
        let (label, id) = (question.label.clone(), question.id);
        let index = self.try_index(&label).await;
        question
            .answer(index.map(|(seq, entries)| Input::Index {
                label,
                id,
                seq,
                entries,
            }))
            .await;
    }

    async fn try_index(&self, label: &Label) -> Result<(u64, Vec<IndexEntry>), AskError> {
        let answer = self.ask("label-log/index", label, &[]).await?;
        let mut reading = self.reading(answer).await?;
        let mut entries = Vec::new();
        loop {
            match reading.line(LogLine::parse_index).await? {
                Some(LogLine::Entry(entry)) => entries.push(IndexEntry {
                    seq: entry.seq,
                    api_id: entry.api_id,
                    instruction: entry.instruction,
                    digest: entry.digest,
                    revision: entry.revision,
                    published_to: entry.published_to,
                }),
                Some(LogLine::CompleteTo(seq)) => return Ok((seq, entries)),
                // Without its end it is not known what is missing.
                None => return Err(PullError::EndedByServer.into()),
            }
            if entries.len() > MAX_INDEX {
                return Err(AskError::IndexTooLong);
            }
        }
    }

    /// Reads parts of a label's log; of a tenant's entries, where one is named, all artifacts.
    pub(crate) async fn fetch(
        self,
        ranges: Vec<Range>,
        tenant: Option<String>,
        mut question: Question,
    ) {
        let result = self.try_fetch(&ranges, tenant, &mut question).await;
        question.answer(result).await;
    }

    async fn try_fetch(
        &self,
        ranges: &[Range],
        tenant: Option<String>,
        question: &mut Question,
    ) -> Result<Input, AskError> {
        let mut batch = Batch::default();
        for range in ranges {
            let mut query = vec![
                ("after", range.after.to_string()),
                ("limit", range.limit.to_string()),
            ];
            let parse = match &tenant {
                Some(tenant) => {
                    query.push(("tenantDomain", tenant.clone()));
                    LogLine::parse
                }
                None => {
                    query.extend(self.artifacts_of());
                    self.parser()
                }
            };
            let answer = self.ask("label-log", &question.label, &query).await?;
            let mut reading = self.reading(answer).await?;
            loop {
                match reading.line(parse).await? {
                    Some(LogLine::Entry(entry)) => batch.push(*entry),
                    Some(LogLine::CompleteTo(_)) => break,
                    None => return Err(PullError::EndedByServer.into()),
                }
                if batch.is_full() {
                    let entries = batch.take_all();
                    question.tell(question.fetched(entries, false)).await?;
                    question.applied().await?;
                }
            }
        }
        Ok(question.fetched(batch.take_all(), true))
    }

    fn artifacts_of(&self) -> Option<(&'static str, String)> {
        let tenants = self.artifacts_of.clone();
        tenants.map(|tenants| ("artifactsOf", tenants))
    }

    /// Lines without artifacts are good where not all artifacts are asked for.
    fn parser(&self) -> Parse {
        match self.artifacts_of {
            Some(_) => LogLine::parse_index,
            None => LogLine::parse,
        }
    }

    async fn ask(
        &self,
        resource: &str,
        label: &Label,
        query: &[(&str, String)],
    ) -> Result<Response, AskError> {
        let url = format!("{}/internal/data/v1/{resource}", self.traffic_manager);
        let request = self.client.get(url);
        let request = request
            .query(&[("gatewayLabel", label.as_str())])
            .query(query);
        let answer = timeout(self.silence, request.send()).await;
        let answer = answer.map_err(|_| failed("no answer"))?;
        answer.map_err(|error| failed(kit::http_client::cause(&error)))
    }

    async fn reading(
        &self,
        answer: Response,
    ) -> Result<Reading<impl Stream<Item = reqwest::Result<bytes::Bytes>> + use<>>, AskError> {
        let answer = success(answer).await?;
        Ok(Reading::new(answer.bytes_stream(), self.silence))
    }
}

async fn success(answer: Response) -> Result<Response, AskError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let reason = kit::http_client::failure(answer).await;
    Err(failed(format!("the traffic manager answered: {reason}")))
}

impl Question {
    pub(crate) async fn end_pull(self, result: Result<(), PullError>) {
        let Self { label, id, .. } = self;
        let ended = Input::PullEnded { label, id, result };
        // Who has ended does not need it.
        let _ = self.answers.send(ended).await;
    }

    pub(crate) async fn tell(&self, input: Input) -> Result<(), AskError> {
        self.answers.send(input).await.map_err(|_| AskError::Ended)
    }

    pub(crate) async fn applied(&mut self) -> Result<(), AskError> {
        self.go_on.recv().await.ok_or(AskError::Ended)
    }

    /// Hands entries on; [`Question::applied`] tells when the next ones may follow.
    pub(crate) async fn hand_on(
        &self,
        entries: Vec<LabelLogEntry>,
        complete_to: Option<u64>,
    ) -> Result<(), AskError> {
        let pulled = Input::Pulled {
            label: self.label.clone(),
            id: self.id,
            entries,
            complete_to,
        };
        self.tell(pulled).await
    }

    pub(crate) fn fetched(&self, entries: Vec<LabelLogEntry>, last: bool) -> Input {
        Input::Fetched {
            label: self.label.clone(),
            id: self.id,
            entries,
            last,
        }
    }

    /// The last answer.
    pub(crate) async fn answer(self, answer: Result<Input, AskError>) {
        let input = match answer {
            Ok(input) => input,
            Err(error) => match error.for_core() {
                Some(error) => Input::AskFailed {
                    label: self.label,
                    id: self.id,
                    error,
                },
                None => return,
            },
        };
        let _ = self.answers.send(input).await;
    }
}
