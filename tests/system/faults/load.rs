//! Requests to data planes at a fixed pace, whatever becomes of the ones before, and a verdict on each
//! answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::kit_of_tests::PATIENCE;

/// An answer is waited for so long; later counts as failed.
const TIME: Duration = PATIENCE;

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub struct Target {
    pub gateway: usize,
    /// `http://127.0.0.1:1234`
    pub base: String,
    pub api: String,
    /// It comes and goes, so 404 is an answer too.
    pub may_be_absent: bool,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Record {
    pub target: usize,
    pub start: Instant,
    pub end: Instant,
    /// The revision in the answer; none where the API was absent.
    pub outcome: Result<Option<u64>, String>,
}

/// Requests that go on until they are stopped.
pub struct Load {
    targets: Arc<Vec<Target>>,
    stop: CancellationToken,
    running: JoinHandle<Vec<Record>>,
    answered: Arc<Mutex<u64>>,
}

/// All requests of a load.
pub struct Requests {
    targets: Arc<Vec<Target>>,
    pub records: Vec<Record>,
}

/// While a gateway was away: from before it was killed until it was ready again.
#[derive(Clone, Copy, Debug)]
pub struct Away {
    pub gateway: usize,
    pub from: Instant,
    pub until: Instant,
}

impl Load {
    /// Begins to send so many requests a second, round the targets.
    pub fn start(targets: Vec<Target>, per_second: u32) -> Self {
        let targets = Arc::new(targets);
        let stop = CancellationToken::new();
        let answered = Arc::default();
        let sending = send(
            Arc::clone(&targets),
            per_second,
            stop.clone(),
            Arc::clone(&answered),
        );
        Self {
            targets,
            stop,
            running: tokio::spawn(sending),
            answered,
        }
    }

    /// How many have been answered or have failed.
    pub fn answered(&self) -> u64 {
        *self.answered.lock().unwrap()
    }

    /// Sends no more, waits for what was sent.
    pub async fn stop(self) -> Requests {
        self.stop.cancel();
        Requests {
            targets: self.targets,
            records: self.running.await.unwrap(),
        }
    }
}

async fn send(
    targets: Arc<Vec<Target>>,
    per_second: u32,
    stop: CancellationToken,
    answered: Arc<Mutex<u64>>,
) -> Vec<Record> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIME)
        // A connection that its server is about to give up is not used.
        .pool_idle_timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    // Late ones are made up for: the pace is that of the clients, not of the answers.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut flying = JoinSet::new();
    let mut records = Vec::new();
    for n in 0.. {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = pace.tick() => {}
        }
        let target = n % targets.len();
        let (client, targets) = (client.clone(), Arc::clone(&targets));
        flying.spawn(async move {
            let start = Instant::now();
            let outcome = ask(&client, &targets[target]).await;
            Record {
                target,
                start,
                end: Instant::now(),
                outcome,
            }
        });
        while let Some(record) = flying.try_join_next() {
            *answered.lock().unwrap() += 1;
            records.push(record.unwrap());
        }
    }
    records.extend(flying.join_all().await);
    records
}

/// One request; the answer has to be of one revision.
async fn ask(client: &reqwest::Client, target: &Target) -> Result<Option<u64>, String> {
    let url = format!("{}/{}", target.base, target.api);
    let answer = client.get(url).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let header = answer.headers().get("x-revision").cloned();
    let body = answer.text().await.map_err(|error| format!("{error:?}"))?;
    match (status, header) {
        (404, _) if target.may_be_absent => Ok(None),
        (200, Some(header)) if header.as_bytes() == body.as_bytes() => {
            body.parse().map(Some).map_err(|_| body)
        }
        (status, header) => Err(format!("status {status}, header {header:?}, body {body:?}")),
    }
}

impl Away {
    /// Whether the request was there at the time.
    fn cuts(&self, gateway: usize, record: &Record) -> bool {
        self.gateway == gateway && record.end >= self.from && record.start <= self.until
    }
}

impl Requests {
    pub fn new(targets: Vec<Target>, records: Vec<Record>) -> Self {
        Self {
            targets: Arc::new(targets),
            records,
        }
    }

    /// Every request was answered, those at a gateway that was away excepted; no answer is of an older
    /// revision than an answer that was there before the request.
    pub fn judge(&self, away: &[Away]) {
        let gateway = |record: &Record| self.targets[record.target].gateway;
        let excused = |record: &&Record| away.iter().any(|away| away.cuts(gateway(record), record));
        let judged: Vec<&Record> = self.records.iter().filter(|r| !excused(r)).collect();
        let failed = judged.iter().filter(|record| record.outcome.is_err());
        let failed: Vec<String> = failed
            .map(|record| {
                let target = &self.targets[record.target];
                let first = self.records[0].start;
                format!(
                    "{:?} after {:?}: {target:?}",
                    record.outcome,
                    record.start - first
                )
            })
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} requests failed, the first ones: {:#?}",
            failed.len(),
            judged.len(),
            &failed[..failed.len().min(5)]
        );
        self.never_goes_back(&judged, away);
    }

    fn never_goes_back(&self, judged: &[&Record], away: &[Away]) {
        // A gateway that was killed may come back with what it had a moment before.
        let life = |record: &Record, gateway| {
            let lives = away.iter().filter(|away| away.gateway == gateway);
            lives.filter(|away| record.start > away.until).count()
        };
        let mut of_one: BTreeMap<(usize, usize), Vec<&Record>> = BTreeMap::new();
        for record in judged {
            let life = life(record, self.targets[record.target].gateway);
            of_one
                .entry((record.target, life))
                .or_default()
                .push(record);
        }
        for ((target, _), records) in of_one {
            let revision = |record: &Record| record.outcome.clone().ok().flatten();
            let mut by_end = records.clone();
            by_end.sort_by_key(|record| record.end);
            let mut by_start = records;
            by_start.sort_by_key(|record| record.start);
            let (mut ended, mut newest) = (0, 0);
            for record in by_start {
                while ended < by_end.len() && by_end[ended].end < record.start {
                    newest = newest.max(revision(by_end[ended]).unwrap_or(0));
                    ended += 1;
                }
                let found = revision(record).unwrap_or(u64::MAX);
                let target = &self.targets[target];
                assert!(found >= newest, "{found} after {newest}: {target:?}");
            }
        }
    }

    /// The revisions of an API that were answered.
    pub fn revisions(&self, api: &str) -> impl Iterator<Item = u64> {
        let of_api = move |record: &&Record| self.targets[record.target].api == api;
        let found = |record: &Record| record.outcome.clone().ok().flatten();
        self.records.iter().filter(of_api).filter_map(found)
    }

    /// What the load saw, for people.
    pub fn summary(&self) -> String {
        let mut times: Vec<Duration> = self.records.iter().map(|r| r.end - r.start).collect();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let failed = self.records.iter().filter(|r| r.outcome.is_err()).count();
        format!(
            "{} requests, {failed} failed; median {:?}, 99 % {:?}, longest {:?}",
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}
