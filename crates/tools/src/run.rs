//! Acting: with a permit, on exactly what was judged, or not at all.
use std::sync::atomic::AtomicBool;

use backstay_kernel::Permit;
use backstay_kernel::destination::Connection;
use backstay_kernel::facts::{Facts, Probe};
use backstay_kernel::id::Digest;
use backstay_kernel::label::Label;

use crate::arguments::ReadOutput;
use crate::prepare::{Action, Prepared, Refused, prepare};
use crate::roots::Roots;
use crate::{command, fetch, list, read, search, serve, write};

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
}

impl From<Ran> for Acted {
    fn from(ran: Ran) -> Self {
        Self { ran, connections: Vec::new(), label: Label::NOTHING }
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
    pub tool: &'a str,
    pub arguments: &'a str,
}

/// Makes a permitted call; the permit ends with it. `judged` are the recorded facts that the permit was minted for.
/// Once `halt` is true a command that runs is ended: its permit is taken back.
#[must_use]
pub fn run(permit: Permit, roots: &Roots, call: Asked<'_>, judged: &Facts, halt: &AtomicBool) -> Acted {
    act(&permit.key(), permit.facts(), roots, call, judged, halt)
}

pub(crate) fn act(
    key: &Digest,
    permitted: Option<Digest>,
    roots: &Roots,
    call: Asked<'_>,
    judged: &Facts,
    halt: &AtomicBool,
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
    let ran = match action {
        Action::Send(sent) => return fetch::send(key, roots, &sent),
        Action::Read { file, page } => read::read(file, &page),
        Action::Write(write) => write::write(key, &write),
        Action::List { dir } => list::list(&dir),
        Action::Search { start, real, pattern } => search::search(roots, start, real, &pattern),
        Action::Remember { text } => Ran::Remember { text },
        Action::Recall { query } => Ran::Recall { query },
        Action::ReadOutput(call) => Ran::Output(call),
        Action::Run(run) => command::run(roots, *run, halt),
        Action::Serve(serve) => serve::serve(roots, call.principal, *serve),
        Action::AskHuman => Ran::failed("a person answers this call, not a tool"),
    };
    ran.into()
}

/// Says what differs, so that the model can read the file again or see that a path moved.
fn changed(facts: &Facts, judged: &Facts) -> &'static str {
    let before = |facts: &Facts| facts.probe.map(|Probe { before, .. }| before);
    if facts.paths != judged.paths {
        "the path leads elsewhere since the call was judged; nothing was done"
    } else if before(facts) != before(judged) {
        "stale: the file changed since the call was judged; nothing was done: read it again"
    } else {
        "the call changed since it was judged; nothing was done"
    }
}
