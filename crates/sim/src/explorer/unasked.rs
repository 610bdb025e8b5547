//! What goes out without a question, and by what: a second reading of the records about plans, lookups and yeses that
//! stand, and what must hold of them.
use backstay_kernel::id::EffectId;
use backstay_kernel::record::{End, Ended, Judged, Planned, Record, Verdict};
use backstay_kernel::session::Session;

use super::node::{Given, Node, Seen, kind_of};
use super::scope::{Kind, PEOPLE, Unasked};
use super::{Invariant, Violation};

/// What the records say of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Books {
    /// Words of somebody else than the person were seen.
    tainted: bool,
    /// Bits by kind: allowed by a verdict before that.
    free: u8,
    /// Place in the list of people of whoever the open task is of.
    speaker: usize,
    /// Messages of the task, and those that have a plan, the one under way included.
    heard: usize,
    planned: usize,
    /// The plan that is under way, and whether it has come.
    plan: Option<(EffectId, bool)>,
    /// Mails that the plans of the task want, and those that have started without a yes.
    wanted: u32,
    passed: Vec<EffectId>,
    lookups: Vec<Lookup>,
}

impl Books {
    /// Whose task it is, by their place in the list of people.
    #[must_use]
    pub fn speaker(&self) -> usize {
        self.speaker
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Lookup {
    id: EffectId,
    of: EffectId,
    /// Whether it ended with a list.
    ended: Option<bool>,
}

fn broken<T>(invariant: Invariant, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(invariant, detail))
}

/// What must hold of the session that a record is about to change.
pub fn before(node: &Node, books: &Books, record: &Record) -> Result<(), Violation> {
    let scoped = node.unasked.is_planned();
    let lacks_plan = books.tainted && books.planned < books.heard;
    match record {
        Record::Planned(Planned::Scope { .. }) if !(scoped && lacks_plan) => {
            broken(Invariant::Scope, "what has its plan, or needs none, is planned")
        }
        Record::Planned(Planned::Model { .. }) if scoped && lacks_plan => {
            broken(Invariant::Scope, "the task goes on without its plan")
        }
        Record::Scoped(scoped) if books.plan != Some((scoped.effect, false)) => {
            broken(Invariant::Scope, "a plan counts twice, or is none")
        }
        Record::Planned(Planned::Lookup { of, .. }) if books.lookups.iter().any(|lookup| lookup.of == *of) => {
            broken(Invariant::Lookup, "it is looked up again for the same call")
        }
        _ => Ok(()),
    }
}

/// What must hold of the session that a record has changed: its scope is what was planned in its task.
pub fn after(session: &Session, books: &Books) -> Result<(), Violation> {
    let Some(turn) = &session.turn else { return Ok(()) };
    let wanted: u32 = turn.scope.entries.iter().map(|entry| entry.count).sum();
    if wanted != books.wanted {
        return broken(Invariant::Scope, format!("the scope has {wanted} calls, and {} were planned", books.wanted));
    }
    Ok(())
}

/// The second reading of one record, on the session before it.
pub fn read(books: &mut Books, session: &Session, approved: u8, record: &Record) {
    match record {
        Record::TurnStarted(started) => {
            let (tainted, free) = (books.tainted, books.free);
            *books = Books { tainted, free, ..Books::default() };
            let first = session.queue.iter().find(|waiting| started.messages.contains(&waiting.seq));
            let name = first.map(|first| first.principal.as_str()).unwrap_or_default();
            books.speaker = PEOPLE.iter().position(|(known, _)| *known == name).unwrap_or(0);
            hear(books, session, &started.messages);
        }
        Record::Entered { messages } => hear(books, session, messages),
        Record::Planned(Planned::Scope { .. }) => {
            books.planned = books.heard;
            books.plan = Some((session.seq.next(), false));
        }
        Record::Scoped(scoped) => {
            books.plan = Some((scoped.effect, true));
            books.wanted += scoped.entries.iter().map(|entry| entry.count).sum::<u32>();
        }
        Record::Planned(Planned::Lookup { of, .. }) => {
            books.lookups.push(Lookup { id: session.seq.next(), of: *of, ended: None });
        }
        Record::Judged(Judged { effect, verdict: Verdict::Allow { .. }, .. }) => {
            let bit = kind_of(session, *effect).map_or(0, Kind::bit);
            books.free = if books.tainted { books.free & !bit } else { books.free | bit };
        }
        Record::Started(started) => {
            let mail = kind_of(session, started.effect).filter(|kind| kind.is_mail());
            let unasked = mail.is_some_and(|kind| (approved | books.free) & kind.bit() == 0);
            if unasked && !books.passed.contains(&started.effect) {
                books.passed.push(started.effect);
            }
        }
        Record::Ended(Ended { effect, end, .. }) => {
            let of_tool = kind_of(session, *effect).is_some();
            books.tainted |= of_tool && matches!(end, End::Done { .. } | End::Failed { .. });
            let has_list = matches!(end, End::Done { .. });
            let lookup = books.lookups.iter_mut().find(|lookup| lookup.id == *effect);
            lookup.into_iter().for_each(|lookup| lookup.ended = Some(has_list));
        }
        _ => {}
    }
}

fn hear(books: &mut Books, session: &Session, messages: &[EffectId]) {
    let entering = || session.queue.iter().filter(|waiting| messages.contains(&waiting.seq));
    books.tainted |= entering().any(|waiting| waiting.typed.is_none());
    books.heard += entering().filter(|waiting| waiting.typed.is_some()).count();
}

/// A call is let out: whatever is looked up for it is known, and if nobody was asked about mail, that has its reason.
pub fn launched(node: &Node, seen: &Seen, effect: EffectId, kind: Kind) -> Result<(), Violation> {
    let books = &seen.unasked;
    if books.lookups.iter().any(|lookup| lookup.of == effect && lookup.ended.is_none()) {
        return broken(Invariant::Lookup, "a call starts before its lookups have ended");
    }
    if books.lookups.iter().any(|lookup| lookup.id == effect && lookup.ended.is_some()) {
        return broken(Invariant::Lookup, "a lookup that has ended is made again");
    }
    if !kind.is_mail() || seen.approved & kind.bit() != 0 {
        return Ok(());
    }
    let is_free = books.free & kind.bit() != 0;
    let was_listed = books.lookups.iter().any(|lookup| lookup.of == effect && lookup.ended == Some(true));
    match node.unasked {
        Unasked::Never => broken(Invariant::I2Gate, "mail is sent without a yes"),
        Unasked::Planned | Unasked::PlannedTo if !is_free && books.passed.len() > books.wanted as usize => {
            broken(Invariant::Scope, "more mail is sent than the person's words want")
        }
        Unasked::PlannedTo if !is_free && kind == Kind::Letter => {
            broken(Invariant::Scope, "mail is sent to somebody besides those that the plan says")
        }
        Unasked::Named if !is_free && books.passed.len() > books.heard => {
            broken(Invariant::Warrant, "one message sends twice")
        }
        Unasked::Listed if !is_free && !was_listed => broken(Invariant::Lookup, "mail is sent to whom nobody named"),
        Unasked::Standing if !is_free || !stands(node, books, kind) => {
            broken(Invariant::Standing, "mail is sent by a yes that is over, or was said to something else")
        }
        Unasked::Planned | Unasked::PlannedTo | Unasked::Named | Unasked::Listed | Unasked::Standing => Ok(()),
    }
}

/// Somebody's yes to just this call stands.
fn stands(node: &Node, books: &Books, kind: Kind) -> bool {
    let is_it = |given: &&Given| {
        (given.kind, given.speaker) == (kind, books.speaker) && !given.revoked && node.clock < given.until
    };
    node.given.as_ref().filter(is_it).is_some()
}
