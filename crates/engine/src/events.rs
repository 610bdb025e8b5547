//! What a session tells those who listen: commits, after they are durable, and live text.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_kernel::Head;
use backstay_kernel::id::{EffectId, Millis, Seq};
use backstay_kernel::record::Record;
use tokio::sync::broadcast::{Receiver, Sender};

use crate::limits::EVENTS_MAX;
use crate::world::Delta;

#[derive(Clone, Debug)]
pub enum Event {
    /// Records `first..` are durable; `head` is the session after them.
    Committed { at: Millis, first: Seq, records: Arc<Vec<Record>>, head: Head },
    /// Records are durable that nobody was told of: their commit was answered with an error. The
    /// journal has them.
    Missed,
    /// Display only.
    Delta { effect: EffectId, attempt: u32, delta: Delta },
    /// What was shown of this effect is withdrawn: it is tried again.
    Reset { effect: EffectId },
}

/// Who listens to one session; clones share them. What is kept for slow readers is 30 KB, most of what
/// a session at rest would hold: it is there only while somebody listens.
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<Option<Sender<Event>>>>);

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Option<Sender<Event>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn subscribe(&self) -> Receiver<Event> {
        self.lock().get_or_insert_with(|| Sender::new(EVENTS_MAX)).subscribe()
    }

    pub fn tell(&self, event: Event) {
        let mut sender = self.lock();
        if sender.as_ref().is_some_and(|sender| sender.send(event).is_err()) {
            *sender = None;
        }
    }

    pub fn are_there(&self) -> bool {
        let mut sender = self.lock();
        *sender = sender.take().filter(|sender| sender.receiver_count() > 0);
        sender.is_some()
    }

    /// Until nobody listens any more.
    pub async fn gone(&self) {
        let sender = self.lock().clone();
        if let Some(sender) = sender {
            sender.closed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_nobody() {
        let listeners = Listeners::default();
        let event = Event::Reset { effect: Seq(1) };
        listeners.tell(event.clone());
        assert!(!listeners.are_there() && listeners.lock().is_none());
        let (mut early, late) = (listeners.subscribe(), listeners.clone().subscribe());
        listeners.tell(event.clone());
        assert!(matches!(early.try_recv(), Ok(Event::Reset { effect: Seq(1) })));
        drop(early);
        assert!(listeners.are_there());
        drop(late);
        assert!(!listeners.are_there() && listeners.lock().is_none(), "the last has left");
        let last = listeners.subscribe();
        drop(last);
        listeners.tell(event);
        assert!(listeners.lock().is_none(), "an event that nobody hears shows it too");
    }
}
