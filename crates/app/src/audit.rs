//! Signed checkpoints of the journal, handed to a place outside: when something has changed, at most once a
//! minute or every thousand records. A place that does not take them is tried again for as long as it takes,
//! also after a restart; no turn ever waits for it.
pub mod export;
pub mod line;
mod sink;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backstay_engine::Engine;
use backstay_providers::Client;
use backstay_secrets::{Key, Signer, Vault};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{AuditConfig, Checked};
use crate::kept;
use crate::opening::OpenError;
use line::Tip;
use sink::Sink;

/// In the home: where the chain has come to, and the line that was not taken yet.
const STATE: &str = "state.checkpoint";
/// Between two checkpoints, unless [`RECORDS`] have come.
const EVERY: Duration = Duration::from_secs(60);
const RECORDS: u64 = 1_000;
/// Entries that one checkpoint speaks of: its line stays below 200 KB.
const ENTRIES: usize = 1_000;
/// Between two tries of a place that does not take them; doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    n: u64,
    entry: u64,
    lineage: u64,
    hash: String,
    line: Option<String>,
}

/// Keeps one home's checkpoints.
pub struct Keeper {
    home: PathBuf,
    engine: Engine,
    signer: Signer,
    sink: Sink,
    /// One at a time, so that lines follow each other.
    tip: Mutex<(Tip, Option<String>)>,
}

/// The key by which a home's checkpoints are verified; `None` where it makes none.
///
/// # Errors
/// The key cannot be used.
pub fn signer(config: &Checked) -> Result<Option<Signer>, OpenError> {
    config.audit.as_ref().map(|audit| Ok(read(audit)?.0)).transpose()
}

fn read(audit: &AuditConfig) -> Result<(Signer, Key), OpenError> {
    let setup = |why: String| OpenError::Setup(format!("audit.key: {why}"));
    let key = Key::read(&audit.key).map_err(|error| setup(error.to_string()))?;
    let signer = Signer::new(&key).ok_or_else(|| setup("it cannot be used for signatures".to_owned()))?;
    Ok((signer, key))
}

impl Keeper {
    /// `None` where the config asks for none. Its key is looked for from here on.
    ///
    /// # Errors
    /// The key or what the home has kept cannot be used.
    pub fn new(
        home: &Path,
        config: &Checked,
        engine: Engine,
        client: Client,
        vault: &Vault,
    ) -> Result<Option<Arc<Self>>, OpenError> {
        let Some(audit) = &config.audit else { return Ok(None) };
        let (signer, key) = read(audit)?;
        vault.watch_key("audit.key", &key);
        let sink = Sink::new(&audit.sink, client);
        let lineage = engine.store().lineage();
        let tip = match fs::read_to_string(home.join(STATE)) {
            Ok(text) => {
                let kept: Option<State> = serde_json::from_str(&text).ok();
                let kept = kept.ok_or_else(|| {
                    OpenError::Setup(format!("{STATE} is damaged: move it away, and a new chain of checkpoints begins"))
                })?;
                // A restore has left the old lineage, and its entries with it.
                if kept.lineage == lineage {
                    let State { n, entry, lineage, hash, line } = kept;
                    (Tip { n, entry, lineage, hash }, line)
                } else {
                    (Tip::none(lineage), None)
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Tip::none(lineage), None),
            Err(error) => return Err(OpenError::Setup(format!("{STATE}: {error}"))),
        };
        Ok(Some(Arc::new(Self { home: home.to_owned(), engine, signer, sink, tip: Mutex::new(tip) })))
    }

    pub fn public(&self) -> String {
        self.signer.public()
    }

    /// Until the process ends.
    pub async fn run(self: Arc<Self>) {
        let (mut records, mut home) = (self.engine.journaled(), self.engine.home().changes());
        let mut pause = RETRY_MIN;
        loop {
            let (began, before) = (Instant::now(), *records.borrow_and_update());
            home.borrow_and_update();
            if let Err(why) = self.checkpoint().await {
                tracing::error!(why, "no checkpoint could be handed over; it is tried again");
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(RETRY_MAX);
                continue;
            }
            pause = RETRY_MIN;
            if !changed(&mut records, &mut home).await {
                return;
            }
            while *records.borrow_and_update() < before.saturating_add(RECORDS) {
                tokio::select! {
                    () = sleep_until(began + EVERY) => break,
                    more = records.changed() => if more.is_err() { return },
                }
            }
        }
    }

    /// Signs what is new and hands it over, line by line.
    ///
    /// # Errors
    /// Why that is not done; what was signed is kept and handed over the next time.
    pub async fn checkpoint(&self) -> Result<(), String> {
        let mut kept = self.tip.lock().await;
        loop {
            if let Some(line) = &kept.1 {
                self.sink.take(line).await?;
                self.keep(&mut kept, None).await?;
            }
            let (store, after, at) = (self.engine.store().clone(), kept.0.entry, self.engine.now());
            let reached = tokio::task::spawn_blocking(move || store.reached(after, ENTRIES)).await;
            let reached = reached.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if reached.ends.is_empty() {
                return Ok(());
            }
            let (line, tip) = line::next(&kept.0, &reached, at, &self.signer);
            kept.0 = tip;
            self.keep(&mut kept, Some(line)).await?;
        }
    }

    /// What was signed is on disk before it leaves: after a crash the same line is handed over, not another
    /// of the same number.
    async fn keep(&self, kept: &mut (Tip, Option<String>), line: Option<String>) -> Result<(), String> {
        let Tip { n, entry, lineage, hash } = kept.0.clone();
        let state = State { n, entry, lineage, hash, line: line.clone() };
        let text = serde_json::to_string(&state).map_err(|error| error.to_string())?;
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || kept::replace(&home, STATE, &text)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| format!("{STATE}: {error}"))?;
        kept.1 = line;
        Ok(())
    }
}

/// False where nothing will ever change again.
async fn changed(records: &mut watch::Receiver<u64>, home: &mut watch::Receiver<()>) -> bool {
    tokio::select! {
        changed = records.changed() => changed.is_ok(),
        changed = home.changed() => changed.is_ok(),
    }
}
