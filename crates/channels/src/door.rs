//! What all listeners of a home share.
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use backstay_engine::{Engine, Reader};
use serde_json::Value;
use tokio::sync::watch;

use crate::error::Problem;
use crate::guard::Guard;
use crate::idempotency::Keys;
use crate::metrics::Metrics;
use crate::openai::history::Histories;
use crate::openai::recent::Recent;

type Answer = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send>>;

/// What only the binary can do. The answers are JSON objects.
#[derive(Clone)]
pub struct Acts {
    /// Reads the config again, in the name of a principal.
    pub reload: Arc<dyn Fn(String) -> Answer + Send + Sync>,
    /// Writes a backup into a directory, with the workspace or without.
    pub backup: Arc<dyn Fn(PathBuf, bool) -> Answer + Send + Sync>,
}

pub struct Door {
    pub engine: Engine,
    pub(crate) reader: Reader,
    pub(crate) acts: Acts,
    /// True once the process is going away: streams end, nothing new is waited for.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) version: &'static str,
    pub(crate) guard: Guard,
    pub(crate) keys: Keys,
    pub(crate) metrics: Metrics,
    pub(crate) histories: Histories,
    pub(crate) recent: Recent,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Door {
    #[must_use]
    pub fn new(engine: Engine, acts: Acts, closing: watch::Receiver<bool>, version: &'static str) -> Arc<Self> {
        let reader = Reader::new(engine.store().clone());
        Arc::new(Self {
            engine,
            reader,
            acts,
            closing,
            version,
            guard: Guard::default(),
            keys: Keys::default(),
            metrics: Metrics::new(),
            histories: Histories::default(),
            recent: Recent::default(),
        })
    }

    /// Runs what may wait for the disk where it holds up nobody.
    pub(crate) async fn off_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let door = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&door)).await;
        done.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Ends when the process goes away.
pub(crate) async fn closed(mut closing: watch::Receiver<bool>) {
    // A sender that is gone will never say it: then nothing ever closes.
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending::<()>().await;
    }
}
