use std::time::Duration;

use artifact::{Digest, Instruction, Label};
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::sync_core::Input;

const SILENCE: Duration = Duration::from_secs(30);
/// Longer than anything that is waited for: nothing comes any more.
const EVER: Duration = Duration::from_secs(3600);

/// An answer that is written here, and the core that is told what it says.
struct Pulled {
    chunks: Option<mpsc::Sender<Bytes>>,
    inputs: mpsc::Receiver<Input>,
    go_on: mpsc::Sender<()>,
    task: JoinHandle<Result<(), AskError>>,
}

impl Pulled {
    fn after(after: u64, follow: bool) -> Self {
        // With room for one chunk: when there is room, all others have been read.
        let (chunks, read) = mpsc::channel(1);
        let (answers, inputs) = mpsc::channel(64);
        let (go_on, applied) = mpsc::channel(1);
        let stream = unfold(read, |mut read| async {
            let chunk: Bytes = read.recv().await?;
            Some((Ok(chunk), read))
        });
        let mut question = Question {
            label: Label::parse("L").unwrap(),
            id: 1,
            answers,
            go_on: applied,
        };
        let wanted = Wanted {
            after,
            least: None,
            follow,
        };
        let reading = Reading::new(stream, SILENCE);
        let task =
            tokio::spawn(
                async move { hand_on(reading, LogLine::parse, &wanted, &mut question).await },
            );
        Self {
            chunks: Some(chunks),
            inputs,
            go_on,
            task,
        }
    }

    fn chunks(&self) -> &mpsc::Sender<Bytes> {
        self.chunks.as_ref().unwrap()
    }

    /// The lines come in one chunk, and have been read.
    async fn says(&self, lines: &[String]) {
        self.chunks().send(lines.concat().into()).await.unwrap();
        self.has_read().await;
    }

    async fn has_read(&self) {
        let _ = self.chunks().reserve().await.unwrap();
    }

    fn ends(&mut self) {
        self.chunks = None;
    }

    /// The next batch: the positions of its entries, and the end of the log.
    async fn batch(&mut self) -> (Vec<u64>, Option<u64>) {
        match self.inputs.recv().await {
            Some(Input::Pulled {
                entries,
                complete_to,
                ..
            }) => {
                let seqs = entries.iter().map(|entry| entry.seq).collect();
                (seqs, complete_to)
            }
            other => panic!("{other:?}"),
        }
    }

    fn applied(&self) {
        self.go_on.try_send(()).unwrap();
    }

    async fn error(self) -> String {
        self.task.await.unwrap().unwrap_err().to_string()
    }
}

/// The line of an entry, with an artifact of so many bytes.
fn sized(seq: u64, bytes: usize) -> String {
    let text = format!("{{\"x\":\"{}\"}}", "x".repeat(bytes));
    let entry = LabelLogEntry {
        seq,
        api_id: format!("api{seq}"),
        name: "n".into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        instruction: Instruction::Publish,
        revision: 1,
        digest: Digest::of(text.as_bytes()),
        time: 0,
        artifact: Some(text),
        published_to: Vec::new(),
    };
    LogLine::Entry(Box::new(entry)).to_text().unwrap() + "\n"
}

fn entry(seq: u64) -> String {
    sized(seq, 1)
}

fn end(seq: u64) -> String {
    LogLine::CompleteTo(seq).to_text().unwrap() + "\n"
}

/// A change as a follower gets it.
fn change(seq: u64) -> String {
    entry(seq) + &end(seq)
}

#[tokio::test(start_paused = true)]
async fn a_lone_change_is_handed_on_at_once() {
    let mut pulled = Pulled::after(0, true);
    let began = Instant::now();
    for seq in 1..=3 {
        pulled.says(&[change(seq)]).await;
        assert_eq!(pulled.batch().await, (vec![seq], Some(seq)));
        pulled.applied();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_applied_is_one_batch() {
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1)]).await;
    assert_eq!(pulled.batch().await, (vec![1], Some(1)));
    for seq in 2..=5 {
        pulled.says(&[change(seq)]).await;
    }
    pulled.says(&[end(5)]).await;
    assert!(pulled.inputs.try_recv().is_err());
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![2, 3, 4, 5], Some(5)));
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_one_batch() {
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1), change(2), change(3)]).await;
    assert_eq!(pulled.batch().await, (vec![1, 2, 3], Some(3)));
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_log_tells_of_nothing_that_comes_after_it() {
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1), change(2), entry(3)]).await;
    assert_eq!(pulled.batch().await, (vec![1, 2], Some(2)));
    pulled.applied();
    pulled.says(&[entry(4), end(4)]).await;
    assert_eq!(pulled.batch().await, (vec![3, 4], Some(4)));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_batch_is_read_ahead() {
    let most = BATCH as u64;
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1)]).await;
    assert_eq!(pulled.batch().await, (vec![1], Some(1)));
    for seq in 2..=most + 1 {
        pulled.says(&[change(seq)]).await;
    }
    // Behind a full one nothing is read, for however long; that is no silence.
    let next = Bytes::from(change(most + 2));
    pulled.chunks().send(next).await.unwrap();
    assert!(timeout(EVER, pulled.has_read()).await.is_err());
    pulled.applied();
    // The end that the last entry is followed by stands behind it.
    assert_eq!(pulled.batch().await, ((2..=most).collect(), Some(most)));
    pulled.has_read().await;
    pulled.applied();
    let (last, next) = (most + 1, most + 2);
    assert_eq!(pulled.batch().await, (vec![last, next], Some(next)));
}

#[tokio::test(start_paused = true)]
async fn large_artifacts_fill_a_batch_sooner() {
    let mut pulled = Pulled::after(0, false);
    let half = BATCH_BYTES / 2;
    let lines = [sized(1, half), sized(2, half), sized(3, half), end(3)];
    pulled.says(&lines).await;
    assert_eq!(pulled.batch().await, (vec![1, 2], None));
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![3], Some(3)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_before_an_error() {
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1)]).await;
    assert_eq!(pulled.batch().await, (vec![1], Some(1)));
    let lines = [change(2), entry(3), "no JSON\n".into()];
    pulled.says(&lines).await;
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![2], Some(2)));
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![3], None));
    // It ends when that has been applied.
    assert!(!pulled.task.is_finished());
    pulled.applied();
    assert!(pulled.error().await.contains("not the expected JSON"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_before_the_end() {
    let mut pulled = Pulled::after(0, false);
    pulled.says(&[entry(1), end(1)]).await;
    pulled.ends();
    assert_eq!(pulled.batch().await, (vec![1], Some(1)));
    pulled.applied();
    pulled.task.await.unwrap().unwrap();

    let mut pulled = Pulled::after(0, false);
    pulled.says(&[entry(1)]).await;
    pulled.ends();
    assert_eq!(pulled.batch().await, (vec![1], None));
    pulled.applied();
    let ended = PullError::EndedByServer.to_string();
    assert_eq!(pulled.error().await, ended);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_back_is_told_alone() {
    let mut pulled = Pulled::after(5, true);
    let lines = [change(6), change(7), end(3), change(4)];
    pulled.says(&lines).await;
    for told in [(vec![6, 7], Some(7)), (vec![], Some(3)), (vec![4], Some(4))] {
        assert_eq!(pulled.batch().await, told);
        pulled.applied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_silent_when_nothing_comes_and_not_when_applying_takes_long() {
    let mut pulled = Pulled::after(0, true);
    pulled.says(&[change(1)]).await;
    assert_eq!(pulled.batch().await, (vec![1], Some(1)));
    for _ in 0..5 {
        advance(SILENCE / 2).await;
        pulled.says(&[end(1)]).await;
    }
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![], Some(1)));
    pulled.says(&[change(2)]).await;
    pulled.applied();
    assert_eq!(pulled.batch().await, (vec![2], Some(2)));
    pulled.applied();
    let began = Instant::now();
    assert!(pulled.error().await.contains("silent"));
    assert!(began.elapsed() >= SILENCE);
}
