//! What a lookup does to a session: its end goes to the call that it was made for, and to nobody else.
use crate::id::BodyRef;
use crate::record::{End, Ended};
use crate::session::{Found, Open, Session, Work};

/// True where this was a lookup, whose end is now known to its call; a call that is gone needs none.
pub fn told(session: &mut Session, lookup: &Open, list: Option<BodyRef>) -> bool {
    let (Some(of), Work::Tool { call, .. }) = (lookup.looks_for, &lookup.work) else { return false };
    if let Some(open) = session.effects.get_mut(&of) {
        open.found.push(Found { lookup: call.repeat, list });
    }
    true
}

/// The list that it ended with: all of it, where the result is a part.
pub fn list(ended: &Ended) -> Option<BodyRef> {
    if let End::Done { result, spill, .. } = &ended.end { Some(spill.unwrap_or(*result)) } else { None }
}
