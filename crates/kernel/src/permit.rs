//! The last look before acting, and the proof that it was taken.

use crate::facts::Facts;
use crate::frame::Frame;
use crate::id::{Digest, EffectId, Seq, SessionId};
use crate::record::BounceReason;
use crate::session::{Open, Session, State, Work};
use crate::tool::EffectClass;

/// A yes for one exact action: minted by [`start`] alone, never stored, never copied, consumed by
/// the code that acts.
#[derive(Debug)]
pub struct Permit {
    session: SessionId,
    effect: EffectId,
    started: Seq,
    attempt: u32,
    key: Digest,
    facts: Option<Digest>,
    acts: bool,
}

impl Permit {
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    #[must_use]
    pub fn effect(&self) -> EffectId {
        self.effect
    }

    /// Seq of the `started` record that must be durable before an effect that is not pure.
    #[must_use]
    pub fn started(&self) -> Seq {
        self.started
    }

    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The idempotency key: the same for every attempt, on every backend, until a restore.
    #[must_use]
    pub fn key(&self) -> Digest {
        self.key
    }

    /// The facts that were judged; a tool derives them again from the handle that it will use and
    /// refuses to act where they differ. Absent for a model call.
    #[must_use]
    pub fn facts(&self) -> Option<Digest> {
        self.facts
    }

    /// The call may do more than read. In a mode that holds such calls back no permit says so.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.acts
    }
}

/// Not now: the reason goes back to `decide` as an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounce {
    pub effect: EffectId,
    pub reason: BounceReason,
}

/// Key of an effect: H("v1", lineage, session, seq of `planned`).
#[must_use]
pub fn idempotency_key(lineage: u64, session: SessionId, effect: EffectId) -> Digest {
    Digest::of("v1", &[&lineage.to_be_bytes(), &session.0, &effect.0.to_be_bytes()])
}

/// Started by this process; what another has started may have happened, and is not ours to start.
pub(crate) fn is_of_this_boot(open: &Open, frame: &Frame<'_>) -> bool {
    matches!(open.state, State::Started { boot, .. } if boot == frame.boot)
}

/// Its turn is open and goes on: a call whose turn ended before it was started is never started.
pub(crate) fn is_wanted(session: &Session, open: &Open) -> bool {
    session.turn.as_ref().is_some_and(|turn| turn.id == open.work.turn() && !turn.cancelled)
}

/// The yes for longer than once has neither ended nor been taken back.
fn stands(id: &str, frame: &Frame<'_>) -> bool {
    frame.standing.iter().any(|standing| standing.id == id && standing.until > frame.now)
}

/// Mints the permit of a started effect if everything that allowed it still holds.
///
/// # Errors
/// The reason why it may not act now; nothing has happened.
pub fn start(session: &Session, effect: EffectId, frame: &Frame<'_>) -> Result<Permit, Bounce> {
    let bounce = |reason| Err(Bounce { effect, reason });
    let Some(open) = session.effects.get(&effect) else {
        return bounce(BounceReason::Stopped);
    };
    let State::Started { seq, epoch, .. } = open.state else {
        return bounce(BounceReason::Stopped);
    };
    if !is_of_this_boot(open, frame) || !is_wanted(session, open) {
        return bounce(BounceReason::Stopped);
    }
    if frame.switches.hold() {
        return bounce(BounceReason::Frozen);
    }
    if session.stopped {
        return bounce(BounceReason::Stopped);
    }
    if epoch != frame.policy.epoch {
        return bounce(BounceReason::PolicyChanged);
    }
    let judged = match &open.work {
        Work::Model { .. } => None,
        Work::Tool { judged, .. } => match judged {
            Some(judged) if judged.approved.as_ref().is_some_and(|yes| yes.until <= frame.now) => {
                return bounce(BounceReason::ApprovalGone);
            }
            Some(judged) if judged.standing.as_ref().is_some_and(|id| !stands(id, frame)) => {
                return bounce(BounceReason::ApprovalGone);
            }
            Some(judged) if frame.switches.mode.holds_back(judged.facts.class) => {
                return bounce(BounceReason::HeldBack);
            }
            Some(judged) => Some(&judged.facts),
            None => return bounce(BounceReason::FactsChanged),
        },
    };
    Ok(Permit {
        session: session.id,
        effect,
        started: seq,
        attempt: open.attempt,
        key: idempotency_key(session.lineage, session.id, effect),
        facts: judged.map(Facts::digest),
        acts: judged.is_some_and(|facts| facts.class != EffectClass::Read),
    })
}
