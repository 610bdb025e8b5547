//! What people ask of a turn: where it stands, what it said, what it did. Read from records.
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use backstay_kernel::budget::Amount;
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::Facts;
use backstay_kernel::id::{BodyRef, EffectId, Millis, Seq, SessionId, TurnId};
use backstay_kernel::record::{Completion, Entry, Record, StopReason, Verdict};
use backstay_store::Store;

use crate::error::EngineError;
use crate::limits::RECORDS_PAGE;

/// Read-only views over the journal.
#[derive(Clone)]
pub struct Reader {
    store: Store,
}

/// One record with its place and time.
#[derive(Clone, Debug)]
pub struct Placed {
    pub seq: Seq,
    pub at: Millis,
    pub record: Record,
}

#[derive(Clone, Debug)]
pub enum TurnState {
    /// Admitted; its turn has not begun.
    Queued,
    Open,
    Ended(StopReason),
}

#[derive(Clone, Debug)]
pub struct TurnView {
    pub state: TurnState,
    pub reply: Option<BodyRef>,
    pub completion: Completion,
    pub spent: Amount,
    pub calls: BTreeMap<EffectId, CallView>,
    pub records: Vec<Placed>,
}

/// One call of a turn, from plan to end.
#[derive(Clone, Debug)]
pub struct CallView {
    pub call: CallRef,
    pub facts: Option<Facts>,
    pub verdict: Option<Verdict>,
}

impl Reader {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The first `limit` records after `after`, in order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn records(&self, session: SessionId, after: Seq, limit: usize) -> Result<Vec<Placed>, EngineError> {
        let unreadable = |why: String| EngineError::Unreadable(why);
        let rows = self.store.entries_after(session, after, limit).map_err(|e| unreadable(e.to_string()))?;
        let mut out = Vec::new();
        for row in rows {
            let entry: Entry<Record> = serde_json::from_str(&row.body).map_err(|e| unreadable(e.to_string()))?;
            let first = row.seq.0 + 1 - entry.records.len() as u64;
            for (seq, record) in (first..).map(Seq).zip(entry.records) {
                if seq > after {
                    out.push(Placed { seq, at: entry.at, record });
                }
            }
        }
        out.truncate(limit);
        Ok(out)
    }

    /// Hands over every record after `after`, in order, until `take` has seen enough. Read by the
    /// page: other readers of the journal have their turn in between.
    ///
    /// # Errors
    /// Those of `take`, and where the journal cannot be read.
    pub fn each<E: From<EngineError>>(
        &self,
        session: SessionId,
        mut after: Seq,
        mut take: impl FnMut(Placed) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        loop {
            let page = self.records(session, after, RECORDS_PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for placed in page {
                if take(placed)?.is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// A turn, by the message that began it.
    ///
    /// # Errors
    /// The journal cannot be read, or has no such turn.
    pub fn turn(&self, session: SessionId, turn: TurnId) -> Result<TurnView, EngineError> {
        let mut view = TurnView::queued();
        self.each(session, Seq(turn.0.saturating_sub(1)), |placed| {
            let ended = view.take(turn, &placed);
            view.records.push(placed);
            Ok::<_, EngineError>(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        match view.records.first() {
            Some(Placed { record: Record::Admitted(_), .. }) => Ok(view),
            _ => Err(EngineError::NoSession),
        }
    }
}

impl TurnView {
    fn queued() -> Self {
        Self {
            state: TurnState::Queued,
            reply: None,
            completion: Completion::default(),
            spent: Amount::ZERO,
            calls: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Takes in one record; true where it is the turn's last.
    fn take(&mut self, turn: TurnId, placed: &Placed) -> bool {
        if let Record::TurnStarted(started) = &placed.record
            && started.messages.contains(&turn)
        {
            self.state = TurnState::Open;
        }
        if let Record::Planned(planned) = &placed.record
            && let Some((of, call)) = planned.call()
            && of == turn
        {
            let call = CallView { call: call.clone(), facts: None, verdict: None };
            self.calls.insert(placed.seq, call);
        }
        if let Record::Edited { effect, call, .. } = &placed.record
            && let Some(view) = self.calls.get_mut(effect)
        {
            *view = CallView { call: call.clone(), facts: None, verdict: None };
        }
        if let Record::Judged(judged) = &placed.record
            && let Some(call) = self.calls.get_mut(&judged.effect)
        {
            call.facts.clone_from(&judged.facts);
            call.verdict = Some(judged.verdict.clone());
        }
        let Record::TurnEnded(ended) = &placed.record else { return false };
        if ended.turn != turn {
            return false;
        }
        self.state = TurnState::Ended(ended.reason);
        self.reply = ended.reply;
        self.completion = ended.completion.clone();
        self.spent = ended.spent;
        true
    }
}
