//! Acting: with a permit, on exactly what was judged, or not at all.
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use backstay_kernel::Permit;
use backstay_kernel::destination::Connection;
use backstay_kernel::facts::{Facts, Probe};
use backstay_kernel::id::{Digest, SessionId};
use backstay_kernel::label::Label;
use backstay_kernel::tool::EffectClass;

use crate::arguments::ReadOutput;
use crate::prepare::{Action, Prepared, Refused, prepare};
use crate::roots::Roots;
use crate::{command, fetch, git, list, read, search, serve, write};

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ran {
    Done {
        text: String,
        /// The full output, where `text` is a part of it.
        spill: Option<Vec<u8>>,
    },
    /// The runtime keeps the text for the principal, in the commit that records the end.
    Remember { text: String },
    /// The runtime looks it up in what the principal's agents have kept.
    Recall { query: String },
    /// The runtime takes it from the journal of the session that calls, and of no other.
    Output(ReadOutput),
    /// Certainly nothing was done.
    Failed { text: String },
    /// It may have happened: the disk failed at a point from which that cannot be told.
    Unknown,
}

/// How a call ended, and what it reached on the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acted {
    pub ran: Ran,
    pub connections: Vec<Connection>,
    /// Of what it read, where that is more than the tool declares.
    pub label: Label,
    /// The id that the other side gave to what it created.
    pub created: Option<String>,
}

impl From<Ran> for Acted {
    fn from(ran: Ran) -> Self {
        Self { ran, connections: Vec::new(), label: Label::NOTHING, created: None }
    }
}

impl Ran {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed { text: text.into() }
    }
}

/// A call, by whom it is made.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub principal: &'a str,
    pub session: SessionId,
    pub tool: &'a str,
    pub arguments: &'a str,
    /// The runtime itself reads the answer: values in JSON, where there are any.
    pub as_values: bool,
}

/// Makes a permitted call; the permit ends with it. `judged` are the recorded facts that the permit was minted for.
/// Once `halt` is true a command that runs is ended: its permit is taken back.
#[must_use]
pub fn run(permit: Permit, roots: &Roots, call: Asked<'_>, judged: &Facts, halt: &Arc<AtomicBool>) -> Acted {
    act(&permit.key(), permit.facts(), Acting::of(&permit), roots, call, judged, halt)
}

/// Leave to do more than read: what writes or keeps something is shown it, and only the permit
/// of such a call gives one. In a mode that holds calls back there is no such permit.
#[derive(Debug)]
pub(crate) struct Acting(());

impl Acting {
    fn of(permit: &Permit) -> Option<Self> {
        permit.acts().then_some(Self(()))
    }

    #[cfg(test)]
    pub(crate) fn in_a_test() -> Self {
        Self(())
    }
}

pub(crate) fn act(
    key: &Digest,
    permitted: Option<Digest>,
    acting: Option<Acting>,
    roots: &Roots,
    call: Asked<'_>,
    judged: &Facts,
    halt: &Arc<AtomicBool>,
) -> Acted {
    if permitted != Some(judged.digest()) {
        return Ran::failed("the permit is for another call; nothing was done").into();
    }
    let Prepared { facts, action } = match prepare(roots, call.tool, call.arguments) {
        Ok(prepared) => prepared,
        Err(Refused { detail, .. }) => return Ran::failed(detail).into(),
    };
    if facts != *judged {
        return Ran::failed(changed(&facts, judged)).into();
    }
    let only_reads = acting.is_none() && facts.class == EffectClass::Read;
    let ran = match (action, acting) {
        (Action::Read { file, page }, _) => read::read(file, &page),
        (Action::List { dir }, _) => list::list(&dir),
        (Action::Search { start, real, pattern }, _) => search::search(roots, start, real, &pattern),
        (Action::Recall { query }, _) => Ran::Recall { query },
        (Action::ReadOutput(call), _) => Ran::Output(call),
        (Action::AskHuman, _) => Ran::failed("a person answers this call, not a tool"),
        (Action::Write(write), Some(acting)) => write::write(&acting, key, &write),
        (Action::Fetch(fetch), Some(acting)) => return git::fetch(&acting, key, roots, &fetch, halt),
        (Action::Push(push), Some(acting)) => return git::push(&acting, roots, &push, halt),
        (Action::Remember { text }, Some(_)) => Ran::Remember { text },
        // One that is known to read alone is held to that by its sandbox.
        (Action::Run(run), acting) if acting.is_some() || only_reads => return command::run(roots, *run, halt),
        // What only asks has a method that only asks.
        (Action::Send(sent), acting) if acting.is_some() || only_reads => return fetch::send(key, roots, &sent),
        // It is the operator's word that this tool of the server only reads.
        (Action::Serve(serve), acting) if acting.is_some() || only_reads => {
            return serve::serve(roots, (call.principal, call.session), *serve, call.as_values, halt);
        }
        (
            Action::Run(_)
            | Action::Send(_)
            | Action::Fetch(_)
            | Action::Push(_)
            | Action::Serve(_)
            | Action::Write(_)
            | Action::Remember { .. },
            Some(_) | None,
        ) => Ran::failed("the permit is for a call that only reads; nothing was done"),
    };
    ran.into()
}

/// Says what differs, so that the model can read the file again or see that a path moved.
fn changed(facts: &Facts, judged: &Facts) -> &'static str {
    let before = |facts: &Facts| facts.probe.map(|Probe { before, .. }| before);
    if facts.files != judged.files {
        "a program is another file than when the call was judged; nothing was done"
    } else if facts.paths != judged.paths {
        "the path leads elsewhere since the call was judged; nothing was done"
    } else if before(facts) != before(judged) {
        "stale: the file changed since the call was judged; nothing was done: read it again"
    } else {
        "the call changed since it was judged; nothing was done"
    }
}
