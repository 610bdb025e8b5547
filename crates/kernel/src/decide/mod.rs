//! One transition: what an input means for a session, as records. Nothing is changed here; the
//! driver applies what comes back, and asks again until [`Input::Advance`] has no more to say.
use alloc::string::String;
use alloc::vec::Vec;

use crate::destination::Connection;
use crate::effect::{CallRef, Inspection, Outcome, Probed};
use crate::flow::Named;
use crate::frame::Frame;
use crate::home::Speaks;
use crate::id::{BodyRef, Digest, EffectId, Seq, TurnId};
use crate::permit::Bounce;
use crate::policy::Role;
use crate::record::{Mode, Opened, Record, Resolution};
use crate::refusal::{Code, Refusal};
use crate::request::Request;
use crate::session::Session;
use crate::words::Typed;

mod advance;
mod lookups;
mod outcome;
mod people;
mod windup;

/// Everything that can happen to a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Open(Opened),
    Message(Message),
    /// The request of a planned model call is rendered and stored.
    Prepared {
        effect: EffectId,
        request: Request,
    },
    /// There is no request for a planned model call: a text that it needs was erased.
    Erased {
        effect: EffectId,
    },
    Inspected {
        effect: EffectId,
        inspection: Inspection,
        /// What the messages of the task say of it.
        named: Named,
    },
    /// Before it can be told what this call is, these are to be made.
    LookUp {
        effect: EffectId,
        calls: Vec<CallRef>,
    },
    /// `started`: seq of the record that this is the outcome of; any other is stale.
    Ended {
        effect: EffectId,
        started: Seq,
        outcome: Outcome,
        /// What it reached on the network.
        connections: Vec<Connection>,
    },
    Probed {
        effect: EffectId,
        found: Probed,
    },
    Bounced(Bounce),
    Decide(Decide),
    /// Other arguments for the call that is asked about, from somebody whose yes would count; `None`: there is no such
    /// call to be made of them.
    Edit(Decide, Option<CallRef>),
    Answer {
        effect: EffectId,
        body: BodyRef,
        by: String,
        typed: Option<Typed>,
    },
    Resolve {
        effect: EffectId,
        resolution: Resolution,
        by: String,
        note: BodyRef,
    },
    /// End the open turn.
    Cancel {
        turn: Option<TurnId>,
        by: String,
    },
    Stop {
        by: String,
    },
    Resume {
        by: String,
        speaks: Speaks,
    },
    Lineage {
        old: u64,
        new: u64,
    },
    /// And now?
    Advance,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub principal: String,
    pub channel: String,
    pub mode: Mode,
    /// Earlier messages that the client quoted, oldest first; they enter before the message.
    pub quoted: Vec<BodyRef>,
    pub body: BodyRef,
    /// Absent where a program speaks.
    pub typed: Option<Typed>,
}

/// A person's word on an ask, bound to the digest of the exact action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decide {
    pub effect: EffectId,
    pub digest: Digest,
    pub approve: bool,
    pub by: String,
    pub role: Role,
    /// The door at which it is said.
    pub channel: String,
    pub speaks: Speaks,
    pub note: Option<BodyRef>,
}

/// What an input means for the session, as records to append; empty where it means nothing.
///
/// # Errors
/// A [`Refusal`] where a person or a program asked for something that is not to be had.
pub fn decide(session: &Session, input: Input, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
    match input {
        Input::Open(opened) => open(session, opened, frame),
        Input::Message(message) => people::message(session, message, frame),
        Input::Prepared { effect, request } => Ok(advance::start_model(session, effect, request, frame)),
        Input::Erased { effect } => Ok(advance::erased(session, effect, frame)),
        Input::Inspected { effect, inspection, named } => {
            Ok(advance::inspected(session, effect, inspection, &named, frame))
        }
        Input::LookUp { effect, calls } => Ok(lookups::plan(session, effect, calls, frame)),
        Input::Ended { effect, started, outcome, connections } => {
            let mut records = outcome::ended(session, effect, started, outcome, frame);
            if !records.is_empty() && !connections.is_empty() {
                records.insert(0, Record::Connected { effect, connections });
            }
            Ok(records)
        }
        Input::Probed { effect, found } => Ok(outcome::probed(session, effect, found, frame)),
        Input::Bounced(bounce) => Ok(outcome::bounced(session, bounce, frame)),
        Input::Decide(decision) => people::decide(session, decision, frame),
        Input::Edit(word, call) => people::edit(session, word, call, frame),
        Input::Answer { effect, body, by, typed } => people::answer(session, effect, body, by, typed),
        Input::Resolve { effect, resolution, by, note } => people::resolve(session, effect, resolution, by, note),
        Input::Cancel { turn, by } => people::cancel(session, turn, by),
        Input::Stop { by } => Ok(people::stop(session, by)),
        Input::Resume { by, speaks } => people::resume(session, by, speaks),
        Input::Lineage { old, new } => Ok(people::lineage(session, old, new)),
        Input::Advance => Ok(advance::advance(session, frame)),
    }
}

fn open(session: &Session, opened: Opened, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
    if session.seq != Seq(0) {
        return Err(Refusal::new(Code::Stale, "this session exists already", "choose another id"));
    }
    if !frame.policy.agents.contains_key(&opened.agent) {
        let named: String = opened.agent.chars().take(crate::limits::ECHOED_CHARS_MAX).collect();
        let known: Vec<&str> = frame.policy.agents.keys().map(String::as_str).collect();
        return Err(Refusal::new(
            Code::UnknownAgent,
            alloc::format!("there is no agent `{named}`"),
            alloc::format!("use one of: {}", known.join(", ")),
        ));
    }
    Ok(Vec::from([Record::Opened(opened)]))
}
