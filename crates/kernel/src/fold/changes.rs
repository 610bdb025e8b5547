//! The small changes that the records' folds are made of.
use alloc::vec::Vec;

use crate::budget::Amount;
use crate::context::{Answer, Item, Notice};
use crate::id::{BodyRef, EffectId, Millis, RepeatKey, Seq, TurnId};
use crate::label::Label;
use crate::limits;
use crate::record::{InScope, Reservation, Scoped};
use crate::session::{Created, Repeat, Said, ScopeEntry, Session, Step, Turn, Work};
use crate::words::Typed;

impl Session {
    /// A content of this label enters the context: from now on all that comes of it bears it.
    pub(super) fn take_in(&mut self, label: Option<Label>) {
        self.label = label.map_or(self.label, |label| self.label.join(label));
    }

    /// Their own words of the principal whose turn it is name values for it; those of others do not.
    pub(super) fn hear(&mut self, seq: Seq, by: &str, body: BodyRef, typed: Option<&Typed>) {
        if let (Some(turn), Some(typed)) = (&mut self.turn, typed)
            && turn.principal == by
            && turn.said.len() < limits::TASK_MESSAGES_MAX
        {
            turn.said.push(Said { seq, body, typed: typed.clone() });
        }
    }

    /// What a call made that no person had to choose the values of is the session's own.
    pub(super) fn create(&mut self, effect: EffectId, id: BodyRef) {
        let Some(Work::Tool { call, judged: Some(judged), .. }) = self.effects.get(&effect).map(|open| &open.work)
        else {
            return;
        };
        let is_chosen = judged.approved.as_ref().is_some_and(|yes| yes.by.flow().is_some());
        if let (false, Some(tool)) = (is_chosen, call.tool.clone()) {
            if self.created.len() >= limits::CREATED_MAX {
                self.created.pop_front();
            }
            self.created.push_back(Created { tool, id });
        }
    }

    /// The calls of a plan are in the scope of its task from now on.
    pub(super) fn widen(&mut self, scoped: &Scoped) {
        let turn = self.effects.get(&scoped.effect).map(|open| open.work.turn());
        if let Some(turn) = self.turn.as_mut().filter(|open| Some(open.id) == turn && !open.said.is_empty()) {
            let entry = |(InScope { tool, count }, place): (&InScope, u32)| {
                let (tool, body, taken) = (tool.clone(), scoped.body, Vec::new());
                ScopeEntry { tool, count: *count, taken, body, place }
            };
            turn.scope.entries.extend(scoped.entries.iter().zip(0..).map(entry));
        }
    }

    /// A call that starts takes its place in the scope, once: nobody gives it back.
    pub(super) fn take_of_scope(&mut self, effect: EffectId) {
        let work = self.effects.get(&effect).map(|open| &open.work);
        let Some(Work::Tool { judged: Some(judged), .. }) = work else { return };
        let place = judged.named.entry.and_then(|entry| usize::try_from(entry).ok());
        let entries = self.turn.as_mut().map(|turn| &mut turn.scope.entries);
        if let Some(entry) = place.zip(entries).and_then(|(place, entries)| entries.get_mut(place))
            && !entry.taken.contains(&effect)
        {
            entry.taken.push(effect);
        }
    }

    /// Adds a word of the runtime; never between a reply and the results of its calls (I4).
    pub(super) fn tell(&mut self, notice: Notice) {
        let calling = matches!(&self.turn, Some(Turn { step: Step::Calls { .. }, .. }));
        let place = self.items.len().saturating_sub(usize::from(calling));
        self.items.insert(place, Item::Notice(notice));
    }

    /// Answers one call of the open turn; false where it is none of that turn's.
    pub(super) fn answer(&mut self, effect: EffectId, answer: Answer) -> bool {
        let Some(turn) = &mut self.turn else { return false };
        let Step::Calls { calls, count, slots } = &mut turn.step else { return false };
        let Some(slot) = slots.iter_mut().find(|slot| slot.effect == effect) else { return false };
        slot.answer = Some(slot.told(answer));
        let whole = u32::try_from(slots.len()) == Ok(*count);
        if whole && slots.iter().all(|slot| slot.answer.is_some()) {
            let answers = slots.iter_mut().filter_map(|slot| slot.answer.take()).collect();
            self.items.push_back(Item::Results { calls: *calls, answers });
            turn.step = Step::Next;
        }
        true
    }

    pub(super) fn remember_repeat(&mut self, call: RepeatKey, result: Option<RepeatKey>) {
        if self.repeats.len() >= limits::REPEAT_WINDOW {
            self.repeats.pop_front();
        }
        self.repeats.push_back(Repeat { call, result });
    }

    /// A call of this turn has ended, or was refused; one that was done begins a new row.
    pub(super) fn count_failing(&mut self, turn: TurnId, done: bool) {
        if let Some(turn) = self.turn.as_mut().filter(|open| open.id == turn) {
            turn.failing = if done { 0 } else { turn.failing.saturating_add(1) };
        }
    }

    pub(super) fn begin_running(&mut self, at: Millis) {
        if let Some(turn) = &mut self.turn {
            if turn.running == 0 {
                turn.running_since = at;
            }
            turn.running = turn.running.saturating_add(1);
        }
    }

    /// `at`: `None` where nobody was there to see when it stopped.
    pub(super) fn end_running(&mut self, turn_id: TurnId, at: Option<Millis>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == turn_id) else { return };
        turn.running = turn.running.saturating_sub(1);
        if turn.running == 0 {
            let worked = at.map_or(0, |at| at.saturating_sub(turn.running_since));
            turn.worked_ms = turn.worked_ms.saturating_add(worked);
        }
    }

    /// Books the end of a reservation: released, but for what was spent.
    pub(super) fn settle(&mut self, turn_id: TurnId, reservation: Option<&Reservation>, spent: Amount) {
        let reserved = reservation.map(|r| r.amount).unwrap_or_default();
        self.reserved = self.reserved.minus(reserved);
        self.spent = self.spent.plus(spent);
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == turn_id) {
            turn.reserved = turn.reserved.minus(reserved);
            turn.spent = turn.spent.plus(spent);
        }
    }
}
