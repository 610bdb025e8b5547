//! What all listeners of a home share.
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use backstay_engine::{Engine, Key, Reader};
use backstay_kernel::id::SessionId;
use tokio::sync::{Semaphore, watch};

use crate::answers::Answers;
use crate::error::Problem;
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::notices::{Notices, Told};
use crate::openai::pasts::Pasts;
use crate::openai::recent::Recent;
use crate::places::Places;

/// What a reload has brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    pub epoch: u64,
    pub changed: bool,
    /// Keys whose new value only a new process takes.
    pub needs_restart: Vec<&'static str>,
    pub connections_per_principal: u32,
}

/// A reload on its way; fails with every mistake of the config, in words.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Reloaded, String>> + Send>>;

/// Reads the config again, in the name of a principal and at most once for a key.
pub type Reload = Arc<dyn Fn(String, Option<Key>) -> Reloading + Send + Sync>;

/// Reads at a time, which is no limit: as many as the runtime has threads for them at most.
const READS: u16 = u16::MAX;

/// A home as its listeners see it; clones share it.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

pub struct Shared {
    pub engine: Engine,
    pub reader: Reader,
    /// The home's directory.
    pub home: PathBuf,
    reload: Reload,
    pub guard: Guard,
    pub places: Places,
    pub answers: Answers,
    pub metrics: Metrics,
    pub notices: Notices,
    /// How telling of them goes.
    pub told: Told,
    pub pasts: Pasts,
    pub recent: Recent,
    /// Which paths are protected by their names; until somebody says so, every one.
    protected: OnceLock<fn(&str) -> bool>,
    /// One permit for each read that is under way, also where nobody waits for it any more.
    reads: Arc<Semaphore>,
}

impl Deref for Door {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Door").field(&self.home).finish()
    }
}

impl Door {
    #[must_use]
    pub fn new(engine: Engine, home: PathBuf, connections_per_principal: u32, reload: Reload) -> Self {
        Self(Arc::new(Shared {
            reader: engine.reader(),
            engine,
            home,
            reload,
            guard: Guard::default(),
            places: Places::new(connections_per_principal),
            answers: Answers::default(),
            metrics: Metrics::new(),
            notices: Notices::default(),
            told: Told::default(),
            pasts: Pasts::default(),
            recent: Recent::default(),
            protected: OnceLock::new(),
            reads: Arc::new(Semaphore::new(usize::from(READS))),
        }))
    }

    /// Says which paths are protected by their names; the first word counts.
    #[must_use]
    pub fn protecting(self, is_protected: fn(&str) -> bool) -> Self {
        let _ = self.protected.set(is_protected);
        self
    }

    pub(crate) fn is_protected(&self, path: &str) -> bool {
        self.protected.get().is_none_or(|is_protected| is_protected(path))
    }

    /// Reads the config again, in the name of `by`.
    ///
    /// # Errors
    /// Its mistakes in words; the old one stays in force.
    pub async fn reload(&self, by: &str, key: Option<Key>) -> Result<Reloaded, String> {
        let (door, by) = (self.clone(), by.to_owned());
        // To its end, also where whoever asked hangs up: half a config is none.
        let reloading = tokio::spawn(async move {
            let reloaded = (door.0.reload)(by, key).await?;
            door.places.set(reloaded.connections_per_principal);
            Ok(reloaded)
        });
        reloading.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Lets the reads that are under way end, and begins no other: after this nobody asks the journal.
    pub async fn shut(&self) {
        let _all = self.reads.acquire_many(READS.into()).await;
        self.reads.close();
    }

    /// Reads a few rows of a session by their keys. Those of one that is in memory were written or
    /// read lately, so they are read at once; for others the disk may have to be waited for.
    pub(crate) async fn rows_of<T: Send + 'static>(
        &self,
        session: SessionId,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if !self.engine.is_live(session) {
            return self.off_thread(work).await;
        }
        if self.reads.is_closed() { Err(Problem::draining()) } else { work(self) }
    }

    /// Runs what may wait for the disk where it holds up nobody.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let door = self.clone();
        let reading = Arc::clone(&self.reads).acquire_owned().await.map_err(|_| Problem::draining())?;
        let work = move || {
            let done = work(&door);
            drop(reading);
            done
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }
}

/// Whether the listener of a request is going away.
#[derive(Clone, Debug)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    #[must_use]
    pub fn new(signal: watch::Receiver<bool>) -> Self {
        Self(signal)
    }

    /// Of a request that has no listener: never.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }
}

/// Ends when the listener goes away.
pub(crate) async fn closed(closing: Option<Closing>) {
    if let Some(Closing(mut signal)) = closing {
        // Without its sender nobody will ever say it.
        if signal.wait_for(|closing| *closing).await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use backstay_sim::setting;
    use backstay_sim::stage::Play;

    use super::*;
    use crate::error::Why;

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_ends_before_the_door_is_shut_and_none_begins_after() {
        let home = tempfile::tempdir().unwrap();
        let play = Play::begin(home.path(), setting::policy(&[]), Vec::new()).await;
        let reload: Reload = Arc::new(|_, _| Box::pin(async { Err(String::new()) }));
        let door = Door::new(play.engine.clone(), home.path().to_owned(), 1, reload);
        let (go, held) = std::sync::mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();
        let reader = door.clone();
        let asked = tokio::spawn(async move {
            let read = move |_: &Door| {
                began.send(()).unwrap();
                held.recv().unwrap();
                Ok(())
            };
            reader.off_thread(read).await
        });
        begun.await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        let mut shut = Box::pin(door.shut());
        assert!(poll_fn(|context| Poll::Ready(shut.as_mut().poll(context).is_pending())).await, "it still reads");
        go.send(()).unwrap();
        shut.await;
        assert_eq!(door.off_thread(|_| Ok(())).await.unwrap_err().why, Why::Draining);
    }
}
