//! The session's places in the queues that it shares with all others of the home: one for its model
//! call, and word of a free one for its tools.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::live::Letter;

pub(super) struct Slots {
    own_address: mpsc::WeakSender<Letter>,
    model: Option<OwnedSemaphorePermit>,
    waits_for_model: bool,
    waits_for_tool: bool,
}

impl Slots {
    pub(super) fn new(own_address: mpsc::WeakSender<Letter>) -> Self {
        Self { own_address, model: None, waits_for_model: false, waits_for_tool: false }
    }

    pub(super) fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// Tries to hold a slot for a model call; a letter brings it later where none is free.
    pub(super) fn take_model(&mut self, all: &Arc<Semaphore>) -> bool {
        self.model = self.model.take().or_else(|| Arc::clone(all).try_acquire_owned().ok());
        if self.model.is_none() && !self.waits_for_model {
            self.waits_for_model = true;
            let (all, address) = (Arc::clone(all), self.own_address.clone());
            tokio::spawn(async move {
                if let (Ok(slot), Some(address)) = (all.acquire_owned().await, address.upgrade()) {
                    let _ = address.send(Letter::Slot(slot)).await;
                }
            });
        }
        self.model.is_some()
    }

    /// The slot that was waited for.
    pub(super) fn came(&mut self, slot: OwnedSemaphorePermit) {
        self.waits_for_model = false;
        self.model = Some(slot);
    }

    /// The slot, for the call that it is needed for.
    pub(super) fn use_model(&mut self) -> Option<OwnedSemaphorePermit> {
        self.model.take()
    }

    pub(super) fn give_back_model(&mut self) {
        self.model = None;
    }

    /// Every tool slot is taken by other sessions: a letter tells when one is free.
    pub(super) fn await_tool(&mut self, all: &Arc<Semaphore>) {
        if self.waits_for_tool {
            return;
        }
        self.waits_for_tool = true;
        let (all, address) = (Arc::clone(all), self.own_address.clone());
        tokio::spawn(async move {
            drop(all.acquire_owned().await);
            if let Some(address) = address.upgrade() {
                let _ = address.send(Letter::Look).await;
            }
        });
    }

    /// Somebody says "look": that may be word of a free tool slot.
    pub(super) fn looked(&mut self) {
        self.waits_for_tool = false;
    }
}
