//! What the parts with gateways share: a back end, and a traffic manager with all APIs.

use std::time::Duration;

use super::{ANSWER, FEW, MANY, plain, routes};
use crate::ours::Ground;
use crate::ours::apis::{Plain, saves};
use crate::ours::gateway::{Gateway, Settings};
use crate::ours::manager::Manager;
use crate::peers::nginx::Nginx;
use crate::process::PATIENCE;
use crate::report::Report;

pub const LABELS: [(usize, &str); 2] = [(FEW, "Few"), (MANY, "Many")];
/// Threads for requests, of each side.
pub const THREADS: usize = 1;

pub struct Site<'a> {
    pub back_end: Nginx,
    /// The first few have a label of their own, too.
    pub all: Vec<Plain>,
    ground: &'a Ground,
    manager: Manager<'a>,
}

impl<'a> Site<'a> {
    /// Saves all APIs and starts the traffic manager; `None` where there is no back end.
    ///
    /// # Errors
    /// When a program of this project fails.
    pub async fn start(ground: &'a Ground, report: &mut Report) -> anyhow::Result<Option<Self>> {
        let back_end = match Nginx::start(1, |_, port| Ok(routes::back_end(port))).await {
            Ok(back_end) => back_end,
            Err(error) => {
                report.missing("nginx as the back end", &error);
                return Ok(None);
            }
        };
        let all: Vec<Plain> = (0..MANY)
            .map(|number| plain(number, back_end.port))
            .collect();
        let (few, rest) = all.split_at(FEW);
        let [(_, label_of_few), (_, label)] = LABELS;
        let mut batch = saves(few, &[label_of_few, label])?;
        batch.extend(saves(rest, &[label])?);
        ground.save(&batch).await?;
        Ok(Some(Self {
            back_end,
            all,
            ground,
            manager: Manager::start(ground).await?,
        }))
    }

    /// Starts a gateway of this label; its snapshot is that of this part alone.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn gateway(&self, part: &str, label: &str) -> anyhow::Result<Gateway> {
        let settings = Settings {
            id: &format!("{part}-{label}"),
            label,
            threads: Some(THREADS),
            hears: false,
            snapshot: true,
        };
        Gateway::start(self.ground, self.manager.port, settings).await
    }

    pub async fn stop(self) {
        self.manager.process.stop().await;
        self.back_end.process.stop().await;
    }
}

/// Waits until each of these APIs is answered by the back end.
///
/// # Errors
/// When that takes too long.
pub async fn answers(port: u16, apis: &[Plain]) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for api in apis {
        let url = format!("http://127.0.0.1:{port}{}/menu", api.prefix());
        loop {
            let said = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let body = answer.bytes().await?;
                    anyhow::ensure!(body.len() == ANSWER, "{url}: {} bytes", body.len());
                    break;
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{url}: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
