//! One run of the process: it lives until it is killed, and whatever of it still moves after that
//! has no effect on anything outside.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub struct Switch {
    dead: AtomicBool,
    killed: Notify,
}

impl Switch {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.killed.notify_one();
    }

    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Until the process is killed.
    pub async fn killed(&self) {
        while !self.is_dead() {
            self.killed.notified().await;
        }
    }
}
