//! The session's places in the queues that it shares with all others of the home: one for its model
//! call, and one for a call of a tool. A slot that was waited for comes in a letter and is the
//! session's until it uses it or gives it back: word of a free one alone would wake all who wait.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::live::Letter;

pub(super) struct Slots {
    own_address: mpsc::WeakSender<Letter>,
    model: Place,
    tool: Place,
}

#[derive(Default)]
struct Place {
    held: Option<OwnedSemaphorePermit>,
    awaited: bool,
}

impl Place {
    fn came(&mut self, slot: OwnedSemaphorePermit) {
        self.awaited = false;
        self.held = Some(slot);
    }

    /// Asks for a letter with a slot, unless one is here or on its way.
    fn wait(&mut self, all: &Arc<Semaphore>, to: &mpsc::WeakSender<Letter>, bring: fn(OwnedSemaphorePermit) -> Letter) {
        if self.awaited || self.held.is_some() {
            return;
        }
        self.awaited = true;
        let (all, to) = (Arc::clone(all), to.clone());
        tokio::spawn(async move {
            if let (Ok(slot), Some(to)) = (all.acquire_owned().await, to.upgrade()) {
                let _ = to.send(bring(slot)).await;
            }
        });
    }
}

impl Slots {
    pub(super) fn new(own_address: mpsc::WeakSender<Letter>) -> Self {
        Self { own_address, model: Place::default(), tool: Place::default() }
    }

    pub(super) fn has_model(&self) -> bool {
        self.model.held.is_some()
    }

    /// Tries to hold a slot for a model call; a letter brings it later where none is free.
    pub(super) fn take_model(&mut self, all: &Arc<Semaphore>) -> bool {
        self.model.held = self.model.held.take().or_else(|| Arc::clone(all).try_acquire_owned().ok());
        self.model.wait(all, &self.own_address, Letter::ModelSlot);
        self.has_model()
    }

    pub(super) fn model_came(&mut self, slot: OwnedSemaphorePermit) {
        self.model.came(slot);
    }

    /// The slot, for the call that it is needed for.
    pub(super) fn use_model(&mut self) -> Option<OwnedSemaphorePermit> {
        self.model.held.take()
    }

    pub(super) fn give_back_model(&mut self) {
        self.model.held = None;
    }

    /// How many calls of tools could start now.
    pub(super) fn tools(&self, all: &Semaphore) -> u32 {
        let free = all.available_permits().saturating_add(usize::from(self.tool.held.is_some()));
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// Every tool slot is taken: a letter brings one.
    pub(super) fn await_tool(&mut self, all: &Arc<Semaphore>) {
        self.tool.wait(all, &self.own_address, Letter::ToolSlot);
    }

    pub(super) fn tool_came(&mut self, slot: OwnedSemaphorePermit) {
        self.tool.came(slot);
    }

    /// The slot that came, or one that is free.
    pub(super) fn use_tool(&mut self, all: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        self.tool.held.take().or_else(|| Arc::clone(all).try_acquire_owned().ok())
    }

    pub(super) fn give_back_tool(&mut self) {
        self.tool.held = None;
    }
}
