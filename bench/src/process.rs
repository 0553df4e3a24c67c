//! Programs that run beside each other: started, waited for, ended, and what they use of the
//! processor and the memory.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a program may take to come up, or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Clock ticks a second in /proc/PID/stat: `USER_HZ`, which is 100 on all that Linux runs on today.
const TICKS: f64 = 100.0;

/// A program with all the processes that it has started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Option<Lines<BufReader<ChildStdout>>>,
    /// What it works with; goes when it has ended.
    directory: Option<TempDir>,
}

impl Process {
    /// Starts it. What it logs goes to this program's standard error, what it prints to
    /// [`Process::line`].
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        let output = child.stdout.take().map(|out| BufReader::new(out).lines());
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            directory: None,
        })
    }

    /// Keeps the directory that it works in for as long as it runs.
    #[must_use]
    pub fn working_in(mut self, directory: TempDir) -> Self {
        self.directory = Some(directory);
        self
    }

    /// The first line that it prints; what it prints later is read and thrown away.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        let output = self.output.as_mut();
        let output = output.with_context(|| format!("{} is not listened to", self.name))?;
        let line = timeout(PATIENCE, output.next_line()).await;
        let line = line.with_context(|| format!("{} prints nothing", self.name))??;
        let line = line.with_context(|| format!("{} has ended", self.name))?;
        self.ignore_output();
        Ok(line)
    }

    /// What it prints, line by line; once.
    pub fn lines(&mut self) -> Option<Lines<BufReader<ChildStdout>>> {
        self.output.take()
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub async fn listening(&mut self, port: u16) -> anyhow::Result<()> {
        self.ignore_output();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let name = &self.name;
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} has ended: {status}");
            }
            ensure!(Instant::now() < deadline, "{name} does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Seconds of processor time that it has used so far, in user and kernel mode.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        let mut ticks = 0;
        for id in self.tree()? {
            ticks += stat(id).map_or(0, |stat| stat.ticks);
        }
        Ok(ticks as f64 / TICKS)
    }

    /// Bytes of memory that it has now; what its processes share counts once (Pss).
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn memory(&self) -> anyhow::Result<f64> {
        let mut kibibytes = 0.0;
        for id in self.tree()? {
            kibibytes += field(&format!("/proc/{id}/smaps_rollup"), "Pss:")?;
        }
        Ok(kibibytes * 1024.0)
    }

    /// The most bytes that its first process has had (VmHWM).
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("it has ended")?;
        Ok(field(&format!("/proc/{id}/status"), "VmHWM:")? * 1024.0)
    }

    /// Ends it in good order, or at once when it takes too long.
    pub async fn stop(mut self) {
        terminate(&self.child);
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Ends it at once.
    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Reads on, so that the program never waits for its reader.
    fn ignore_output(&mut self) {
        if let Some(mut output) = self.output.take() {
            tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        }
    }

    /// The ids of the program and of all that descend from it.
    fn tree(&self) -> anyhow::Result<Vec<u32>> {
        let root = self.child.id().context("it has ended")?;
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            if let Some((id, stat)) = id.and_then(|id| Some((id, stat(id)?))) {
                children.entry(stat.parent).or_default().push(id);
            }
        }
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(id) = tree.get(next) {
            tree.extend(children.remove(id).unwrap_or_default());
            next += 1;
        }
        Ok(tree)
    }
}

/// Where a scenario fails, its programs end all the same, and in good order: some would leave
/// processes behind that they have started.
impl Drop for Process {
    #[expect(clippy::disallowed_methods, reason = "nothing is measured any more")]
    fn drop(&mut self) {
        terminate(&self.child);
        for _ in 0..500 {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

/// Asks it to end, if it has not.
fn terminate(child: &Child) {
    if let Some(id) = child.id() {
        let id = id.to_string();
        let kill = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status();
        drop(kill);
    }
}

/// As [`Process::processor_seconds`], of this program without those that it has started.
///
/// # Errors
/// When the operating system does not tell.
pub fn own_processor_seconds() -> anyhow::Result<f64> {
    let own = stat(std::process::id()).context("/proc does not tell of this program")?;
    Ok(own.ticks as f64 / TICKS)
}

/// As [`Process::memory`], of this program.
///
/// # Errors
/// When the operating system does not tell.
pub fn own_memory() -> anyhow::Result<f64> {
    Ok(field("/proc/self/smaps_rollup", "Pss:")? * 1024.0)
}

/// A port that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The path of a peer: as `bench/peers install` leaves it, or where the system has it.
#[must_use]
pub fn peer(name: &str) -> std::path::PathBuf {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin");
    let installed = Path::new(installed).join(name);
    match installed.exists() {
        true => installed,
        false => name.into(),
    }
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// `None` for a process that is gone.
fn stat(id: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// /proc/PID/stat, see proc(5). The name, the second field, may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: ticks(11)? + ticks(12)?,
    })
}

/// The KiB on the line of that name.
fn field(file: &str, name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    let value = value.with_context(|| format!("{file} has no {name}"))?;
    Ok(value.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let text = "7 (a) S 1 2) R 3 7 7 0 -1 0 0 0 0 0 110 15 0 0 20 0 1 0 5";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 125));
        assert!(parse_stat("7 (a) R").is_none());
    }

    #[tokio::test]
    async fn descendants_count_and_end_is_waited_for() {
        let mut shell = Command::new("sh");
        let script = "trap 'kill $!; exit' TERM; sleep 1000 & echo up; \
                      while :; do i=$((i+1)); [ $i = 300000 ] && wait; done";
        let mut process = Process::start("shell", shell.args(["-c", script])).unwrap();
        assert_eq!(process.line().await.unwrap(), "up");
        assert_eq!(process.tree().unwrap().len(), 2);
        assert!(process.memory().unwrap() > 0.0);
        let deadline = Instant::now() + PATIENCE;
        while process.processor_seconds().unwrap() == 0.0 {
            assert!(Instant::now() < deadline, "no processor time is counted");
            tokio::task::yield_now().await;
        }
        let sleeper = process.tree().unwrap()[1];
        process.stop().await;
        while stat(sleeper).is_some() {
            assert!(Instant::now() < deadline, "a process is left behind");
            tokio::task::yield_now().await;
        }
    }
}
