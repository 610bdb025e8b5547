//! What the runtime looks up before it judges a call: lists of names, by tools that read.
use alloc::vec::Vec;

use crate::effect::CallRef;
use crate::frame::Frame;
use crate::id::EffectId;
use crate::limits;
use crate::permit::is_wanted;
use crate::record::{Planned, Record};
use crate::session::{Session, State, Work};
use crate::tool::{EffectClass, Idempotency};

/// Plans the lookups of a call that was not judged, once. Each is then a call as any other, judged for itself;
/// nothing, where one of them might do more than read, or could not be made again after a crash.
pub fn plan(session: &Session, effect: EffectId, calls: Vec<CallRef>, frame: &Frame<'_>) -> Vec<Record> {
    let Some(open) = session.effects.get(&effect).filter(|open| is_wanted(session, open)) else { return Vec::new() };
    let waits = matches!((&open.work, &open.state), (Work::Tool { judged: None, .. }, State::Planned));
    let is_first = open.looks_for.is_none() && open.found.is_empty() && !session.looks_for(effect);
    if !waits || !is_first || calls.len() > limits::LOOKUPS_MAX || !calls.iter().all(|call| only_reads(call, frame)) {
        return Vec::new();
    }
    let turn = open.work.turn();
    calls.into_iter().map(|call| Record::Planned(Planned::Lookup { turn, of: effect, call })).collect()
}

fn only_reads(call: &CallRef, frame: &Frame<'_>) -> bool {
    let manifest = call.tool.as_ref().and_then(|tool| frame.policy.tools.get(tool));
    // What is pure would run before its record is durable, and be looked at again in the same pass.
    manifest
        .is_some_and(|manifest| manifest.class == EffectClass::Read && manifest.idempotency == Idempotency::Idempotent)
}
