//! Which items the next request shows: the newest that fit, cut only where no call loses its
//! result (I4). Instructions and tools are never cut.
use crate::context::Item;
use crate::limits::{BYTES_PER_TOKEN, CONTEXT_FILL_PERCENT, FRAME_BYTES};
use crate::policy::{Agent, Model, Policy};
use crate::session::Session;

/// Number of the first item to show, or `None` where not even the least fits.
#[must_use]
pub fn first_that_fits(session: &Session, model: &Model, agent: &Agent, policy: &Policy) -> Option<u64> {
    let room = model.context_tokens.saturating_sub(model.max_output_tokens) * CONTEXT_FILL_PERCENT / 100;
    let fixed = agent.instructions.len() as u64 + schema_bytes(agent, policy);
    let items: u64 = session.context().map(item_bytes).sum();
    let mut left = fixed.saturating_add(items);
    if tokens(session, left) <= room {
        return Some(session.first_item);
    }
    let mut first = session.first_item;
    for (item, next) in session.items.iter().zip(session.items.iter().skip(1)) {
        left = left.saturating_sub(item_bytes(item));
        first += 1;
        if may_be_first(next) && tokens(session, left) <= room {
            return Some(first);
        }
    }
    None
}

/// Number of the first item where about half of the window is dropped, if any can be.
#[must_use]
pub fn half(session: &Session) -> Option<u64> {
    let half = session.items.len() / 2;
    let place = session.items.iter().enumerate().skip(half.max(1)).find(|(_, item)| may_be_first(item));
    place.and_then(|(index, _)| Some(session.first_item + u64::try_from(index).ok()?))
}

fn may_be_first(item: &Item) -> bool {
    match item {
        Item::User { .. } | Item::Assistant { .. } | Item::Notice(_) => true,
        Item::Results { .. } => false,
    }
}

/// What the item brings, and about what its frame costs: each answer has one of its own.
fn item_bytes(item: &Item) -> u64 {
    let frames = if let Item::Results { answers, .. } = item { answers.len().max(1) as u64 } else { 1 };
    item.bytes().saturating_add(frames.saturating_mul(FRAME_BYTES))
}

fn schema_bytes(agent: &Agent, policy: &Policy) -> u64 {
    let tools = agent.grants.tools.iter().filter_map(|name| policy.tools.get(name));
    tools.map(|tool| (tool.name.len() + tool.description.len() + tool.schema.len()) as u64).sum()
}

/// Estimated by what this session's latest request was billed, or by a ratio that errs small. A
/// token covers at least one byte: a bill above that says nothing about the window, and must not
/// shut it for ever.
fn tokens(session: &Session, bytes: u64) -> u64 {
    match session.billed {
        Some(billed) if billed.bytes > 0 => {
            bytes.saturating_mul(billed.input_tokens.min(billed.bytes)).div_ceil(billed.bytes)
        }
        _ => bytes.div_ceil(BYTES_PER_TOKEN),
    }
}
