//! What happens next where nothing moves: a script's order, or a seed's.
use std::time::Duration;

use backstay_engine::{Engine, Store};
use backstay_kernel::record::Resolution;
use backstay_kernel::session::State;

use super::house;
use super::play::{Life, Move, Play};
use super::scenario::{Do, When};

/// The first pause where nobody knows how long to wait, milliseconds; it doubles.
const PAUSE_MS: u64 = 25;
const PAUSE_DOUBLINGS_MAX: u32 = 20;

impl Play {
    pub(super) fn choose(&mut self, engine: &Engine, life: &Life) -> Move {
        if std::mem::take(&mut self.later) {
            return Move::Pass;
        }
        let held = life.gate.held();
        let heads = engine.store().sessions(None, None, None, house::SESSIONS_MAX);
        let Ok(heads) = heads else { return Move::Pass };
        // A frozen home waits for its operator, whatever is open.
        let frozen = engine.home().switches().frozen;
        let goes_on = !frozen && heads.iter().any(|head| head.open || head.wake_at.is_some());
        let in_doubt = heads.iter().any(|head| head.wait.as_deref() == Some("doubt"));
        let busy = !held.is_empty() || in_doubt || (!frozen && heads.iter().any(|head| head.open));
        let ready = self.flight.is_none() && self.is_ready(engine, &held, busy);
        if let Some(dice) = &mut self.dice {
            // Time passes now and then although something could be done.
            if !held.is_empty() && dice.one_in(12) {
                return Move::Pass;
            }
            if !held.is_empty() && (!ready || dice.one_in(2)) {
                return Move::Release(usize::try_from(dice.below(held.len() as u64)).unwrap_or(0));
            }
        }
        if ready {
            return Move::Act;
        }
        if !held.is_empty() {
            return Move::Release(0);
        }
        if self.flight.is_none()
            && let Some(doubt) = self.a_doubt(engine)
        {
            return doubt;
        }
        if self.flight.is_some() || goes_on || self.disk.is_stalled() {
            return Move::Pass;
        }
        if self.step().is_some() { Move::Skip } else { Move::End }
    }

    fn is_ready(&self, engine: &Engine, held: &[String], busy: bool) -> bool {
        let Some(step) = self.step() else { return false };
        let state = |who: usize| self.who[who].and_then(|id| engine.look(id).ok());
        let any = |who, is: fn(&State) -> bool| state(who).is_some_and(|s| s.effects.values().any(|e| is(&e.state)));
        match step.when {
            // Said before, and nobody heard the answer: it is said again at once.
            _ if self.begun && matches!(step.act, Do::Say { .. } | Do::Cancel { .. }) => true,
            When::Now => true,
            When::Held(name) => held.iter().any(|held| held == name),
            When::Asked(who) => any(who, |state| matches!(state, State::Asked { .. })),
            When::Question(who) => any(who, |state| *state == State::Question),
            When::Quiet => !busy,
        }
    }

    /// A doubt that a person can look into: nothing of the old process is on its way any more.
    fn a_doubt(&self, engine: &Engine) -> Option<Move> {
        for head in engine.store().needing_people().ok()? {
            let state = engine.look(head.session).ok()?;
            let Some((effect, open)) = state.effects.iter().find(|(_, open)| open.state == State::Doubt) else {
                continue;
            };
            let wanted = state.turn.as_ref().is_some_and(|turn| turn.id == open.work.turn() && !turn.cancelled);
            let resolution = match (self.outside.log().has_acted(head.session, *effect), wanted) {
                (true, _) => Resolution::Done,
                (false, true) => Resolution::Retry,
                (false, false) => Resolution::NotDone,
            };
            return Some(Move::Resolve(head.session, *effect, resolution));
        }
        None
    }

    pub(super) fn situation(&self, engine: &Engine, life: &Life) -> String {
        let heads = engine.store().sessions(None, None, None, house::SESSIONS_MAX);
        let heads = heads.map(|heads| heads.into_iter().map(|h| (h.open, h.wake_at, h.wait)).collect::<Vec<_>>());
        format!(
            "step {} {:?}, held {:?}, {heads:?}, now {}",
            self.next,
            self.step(),
            life.gate.held(),
            self.outside.now()
        )
    }

    /// Time passes: to the next moment that the journal knows, or a while, and longer each time.
    pub(super) async fn pause(&mut self, store: &Store) {
        let doubled = PAUSE_MS << self.pauses.min(PAUSE_DOUBLINGS_MAX);
        self.pauses += 1;
        let due = store.next_wake().ok().flatten().map(|at| at.saturating_sub(self.outside.now()));
        let wait = due.filter(|wait| *wait > 0).map_or(doubled, |wait| wait.min(doubled));
        self.pass(wait).await;
        self.disk.unstall();
    }

    pub(super) async fn pass(&mut self, wait_ms: u64) {
        self.outside.set_now(self.outside.now().saturating_add(wait_ms));
        tokio::time::advance(Duration::from_millis(wait_ms)).await;
    }
}
