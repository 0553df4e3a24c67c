//! The thread that writes the access log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use metrics::{Counter, counter};

use super::{Format, LEFT_OUT, Message, line};

/// Bytes of lines that are written at once.
const BATCH: usize = 64 * 1024;
/// How often it is looked whether the file is still the one at its path.
const LOOK: Duration = Duration::from_millis(500);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    StandardOutput,
    File(PathBuf),
}

pub(super) struct Writer {
    output: Output,
    format: Format,
    query: bool,
    /// Whether the last lines could not be written.
    failing: bool,
    left_out: Counter,
}

enum Output {
    Standard,
    File {
        path: PathBuf,
        file: File,
        looked: Instant,
    },
}

impl Writer {
    pub(super) fn open(destination: Destination, format: Format, query: bool) -> io::Result<Self> {
        let output = match destination {
            Destination::StandardOutput => Output::Standard,
            Destination::File(path) => Output::File {
                file: open(&path)?,
                path,
                looked: Instant::now(),
            },
        };
        Ok(Self {
            output,
            format,
            query,
            failing: false,
            left_out: counter!(LEFT_OUT),
        })
    }

    /// Writes until it is told to end, or nobody is left who could hand it anything.
    pub(super) fn run(mut self, waiting: &Receiver<Message>) {
        let mut lines = String::with_capacity(BATCH);
        while let Ok(message) = waiting.recv() {
            let mut next = Some(message);
            let mut ends = false;
            while let Some(message) = next.take() {
                match message {
                    Message::Record(record) => {
                        line::append(&mut lines, &record, self.format, self.query);
                    }
                    Message::End => ends = true,
                }
                if lines.len() < BATCH && !ends {
                    next = waiting.try_recv().ok();
                }
            }
            self.write(&lines);
            lines.clear();
            if ends {
                return;
            }
        }
    }

    fn write(&mut self, lines: &str) {
        let written = self.output.write(lines.as_bytes());
        let Err(error) = written else {
            self.failing = false;
            return;
        };
        let lost = lines.bytes().filter(|byte| *byte == b'\n').count();
        self.left_out.increment(lost as u64);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "the access log cannot be written");
        }
    }
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(lines)?;
                output.flush()
            }
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    if !is_at(file, path) {
                        // Without a new one, the one that is open takes the lines.
                        match open(path) {
                            Ok(new) => *file = new,
                            Err(error) => {
                                tracing::error!(%error, "the access log cannot be begun anew");
                            }
                        }
                    }
                }
                file.write_all(lines)
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether the path is still that of the open file, and not moved away or replaced.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => id(open) == id(there),
        _ => false,
    }
}
