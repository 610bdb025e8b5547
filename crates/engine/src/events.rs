//! What a session tells those who listen: commits, after they are durable, and live text.
use std::sync::Arc;

use backstay_kernel::Head;
use backstay_kernel::id::{EffectId, Millis, Seq};
use backstay_kernel::record::Record;

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
