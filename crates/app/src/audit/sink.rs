//! Where checkpoints go: a file that only grows, stdout for whoever collects it, or a collector on the network.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use backstay_providers::Client;

use crate::config::SinkConfig;

pub enum Sink {
    File(PathBuf),
    Stdout,
    Collector(String, Client),
}

impl Sink {
    pub fn new(config: &SinkConfig, client: Client) -> Self {
        match config {
            SinkConfig::File(path) => Self::File(path.clone()),
            SinkConfig::Stdout => Self::Stdout,
            SinkConfig::Collector(url) => Self::Collector(url.clone(), client),
        }
    }

    /// Hands one line over; the same line may come twice.
    ///
    /// # Errors
    /// It was not taken, or nobody knows.
    pub async fn take(&self, line: &str) -> Result<(), String> {
        match self {
            Self::File(path) => {
                let (path, line) = (path.clone(), format!("{line}\n"));
                let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
                written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
            }
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| format!("stdout: {error}"))
            }
            Self::Collector(url, client) => client.deliver(url, line.to_owned(), &[]).await,
        }
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}
