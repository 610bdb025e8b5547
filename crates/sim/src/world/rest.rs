//! Nothing moves: no task is ready, no thread works, the journal has answered everybody. Only then
//! does a run let something happen, or time pass.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_engine::Store;
use backstay_kernel::id::{Seq, SessionId};
use backstay_store::{Append, HeadUpdate};
use tokio::sync::{Notify, oneshot};

use super::gate::Gate;
use crate::disk::Disk;

/// Tells when tokio has no task left to run: it calls [`Idle::parks`] before it would sleep.
#[derive(Default)]
pub struct Idle {
    wanted: AtomicBool,
    parks: Notify,
}

impl Idle {
    pub fn parks(&self) {
        if self.wanted.swap(false, Ordering::SeqCst) {
            self.parks.notify_one();
        }
    }

    pub async fn parked(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        self.parks.notified().await;
    }
}

pub struct Rest {
    pub idle: Arc<Idle>,
    pub gate: Arc<Gate>,
    pub disk: Arc<Disk>,
    pub store: Store,
}

impl Rest {
    /// False where the engine never rests.
    pub async fn reached(&self) -> bool {
        tokio::select! {
            () = self.comes() => {
                self.gate.rested();
                true
            }
            () = self.gate.spins() => false,
        }
    }

    /// One whole round in which the engine asked nothing of the world proves it: every pass of a
    /// session looks at the clock.
    async fn comes(&self) {
        loop {
            let before = self.gate.moves();
            self.idle.parked().await;
            // While a flush is stalled, whoever waits for the journal has his rest.
            tokio::select! {
                () = self.gate.threads_rest() => {}
                () = self.disk.stall_began() => {}
            }
            self.journal_rests().await;
            self.idle.parked().await;
            if self.gate.moves() == before {
                return;
            }
        }
    }

    /// An append of nothing is refused, after all that was asked before it was answered.
    async fn journal_rests(&self) {
        if self.disk.is_stalled() {
            return;
        }
        let (done, answer) = oneshot::channel();
        let nothing = Append {
            session: SessionId::HOME,
            expected: Seq(0),
            at: 0,
            lineage: 0,
            records: 0,
            entry: String::new(),
            head: HeadUpdate::default(),
            create: None,
            bodies: Vec::new(),
            inbox: None,
            ledger: Vec::new(),
            snapshot: None,
            memories: Vec::new(),
        };
        self.store.append(nothing, Box::new(move |outcome| drop(done.send(outcome))));
        tokio::select! {
            _ = answer => {}
            () = self.disk.stall_began() => {}
        }
    }
}
