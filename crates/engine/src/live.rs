//! What is said to a live session: commands from people and programs, and how each becomes an
//! input of the kernel once its texts are sealed.
use backstay_kernel::Session;
use backstay_kernel::decide::{Decide, Input, Message};
use backstay_kernel::effect::CallRef;
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId, Millis, Seq, SessionId, TurnId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Mode, Opened, Resolution};
use backstay_kernel::session::Work;
use backstay_kernel::words::{Kind, Typed, extract, quotes};
use backstay_store::{Admission, InboxRow, Store};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot};

use crate::bodies::Bodies;
use crate::error::EngineError;
use crate::events::Event;

#[derive(Clone, Debug)]
pub enum Command {
    Message {
        principal: String,
        channel: String,
        mode: Mode,
        quoted: Vec<String>,
        text: String,
        speaks: Speaks,
        /// The session begins with this message.
        opens: Option<Opening>,
    },
    Open(Opening),
    Decide {
        effect: EffectId,
        digest: Digest,
        approve: bool,
        by: String,
        role: Role,
        channel: String,
        speaks: Speaks,
        note: Option<String>,
    },
    /// A call that is asked about is to have these arguments, a JSON object; it is judged anew.
    Edit {
        effect: EffectId,
        digest: Digest,
        arguments: String,
        by: String,
        role: Role,
        channel: String,
        speaks: Speaks,
        note: Option<String>,
    },
    Answer {
        effect: EffectId,
        text: String,
        by: String,
        speaks: Speaks,
    },
    Resolve {
        effect: EffectId,
        resolution: Resolution,
        by: String,
        note: String,
    },
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
}

#[derive(Clone, Debug)]
pub struct Opening {
    pub agent: String,
    pub principal: String,
    pub channel: String,
    pub title: Option<String>,
}

/// Makes a command at most once (I11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub key: [u8; 32],
    pub body: Digest,
    pub expires_at: u64,
}

impl Key {
    /// The inbox row of what it became.
    pub(crate) fn row(self, seq: Seq, turn: Option<TurnId>) -> InboxRow {
        let Self { key, body, expires_at } = self;
        InboxRow { key, seq, turn, body, expires_at }
    }

    /// What it became before, where that is known still.
    pub(crate) fn said_before(&self, store: &Store, now: Millis) -> Result<Option<Admission>, EngineError> {
        let found = store.find_inbox(&self.key).map_err(|error| EngineError::Unreadable(error.to_string()))?;
        match found.filter(|row| row.expires_at > now) {
            Some(row) if row.body != self.body => Err(EngineError::KeyReused),
            found => Ok(found),
        }
    }
}

/// A command, durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    pub session: SessionId,
    /// The record that it became.
    pub seq: Seq,
    /// The turn that it begins or belongs to.
    pub turn: Option<TurnId>,
}

impl From<Admission> for Accepted {
    fn from(before: Admission) -> Self {
        Self { session: before.session, seq: before.seq, turn: before.turn }
    }
}

pub type Reply = oneshot::Sender<Result<Accepted, EngineError>>;

/// A command on its way.
pub struct Asked {
    pub command: Command,
    pub key: Option<Key>,
    pub reply: Reply,
}

impl Asked {
    /// The row that makes it at most once, for what it became.
    pub fn inbox_row(&self, became: &Accepted) -> Option<InboxRow> {
        Some(self.key?.row(became.seq, became.turn))
    }
}

pub enum Letter {
    Command(Box<Asked>),
    Subscribe(oneshot::Sender<Result<broadcast::Receiver<Event>, EngineError>>),
    /// The policy, a switch or the time has changed.
    Look,
    /// A slot was waited for and is there.
    ModelSlot(OwnedSemaphorePermit),
    ToolSlot(OwnedSemaphorePermit),
}

impl Command {
    /// Without what must not be kept, before anything is made of its texts.
    pub fn cleaned(self, clean: &dyn Fn(String) -> String) -> Self {
        let opening = |opening: Opening| Opening { title: opening.title.map(clean), ..opening };
        match self {
            Self::Open(open) => Self::Open(opening(open)),
            Self::Message { principal, channel, mode, quoted, text, speaks, opens } => {
                let quoted = quoted.into_iter().map(clean).collect();
                let (text, opens) = (clean(text), opens.map(opening));
                Self::Message { principal, channel, mode, quoted, text, speaks, opens }
            }
            Self::Decide { effect, digest, approve, by, role, channel, speaks, note } => {
                Self::Decide { effect, digest, approve, by, role, channel, speaks, note: note.map(clean) }
            }
            Self::Edit { effect, digest, arguments, by, role, channel, speaks, note } => {
                let (arguments, note) = (clean(arguments), note.map(clean));
                Self::Edit { effect, digest, arguments, by, role, channel, speaks, note }
            }
            Self::Answer { effect, text, by, speaks } => Self::Answer { effect, text: clean(text), by, speaks },
            Self::Resolve { effect, resolution, by, note } => {
                Self::Resolve { effect, resolution, by, note: clean(note) }
            }
            Self::Cancel { .. } | Self::Stop { .. } | Self::Resume { .. } => self,
        }
    }

    /// Whether it may come first in a session.
    pub fn opens(&self) -> bool {
        match self {
            Self::Open(_) | Self::Message { opens: Some(_), .. } => true,
            Self::Message { opens: None, .. }
            | Self::Decide { .. }
            | Self::Edit { .. }
            | Self::Answer { .. }
            | Self::Resolve { .. }
            | Self::Cancel { .. }
            | Self::Stop { .. }
            | Self::Resume { .. } => false,
        }
    }
}

/// What a command asks of the kernel, in order.
pub fn inputs(command: Command, session: &Session, lineage: u64, bodies: &mut Bodies) -> Vec<Input> {
    match command {
        Command::Open(opening) => vec![open(opening, lineage, bodies)],
        Command::Message { principal, channel, mode, quoted, text, speaks, opens } => {
            let opening = opens.map(|opening| open(opening, lineage, bodies));
            let quoted = quoted.into_iter().map(|text| bodies.seal(text.into_bytes())).collect();
            let typed = typed(&text, speaks, bodies);
            let body = bodies.seal(text.into_bytes());
            let message = Message { principal, channel, mode, quoted, body, typed };
            opening.into_iter().chain([Input::Message(message)]).collect()
        }
        Command::Decide { effect, digest, approve, by, role, channel, speaks, note } => {
            let note = note.map(|note| bodies.seal(note.into_bytes()));
            vec![Input::Decide(Decide { effect, digest, approve, by, role, channel, speaks, note })]
        }
        Command::Edit { effect, digest, arguments, by, role, channel, speaks, note } => {
            let note = note.map(|note| bodies.seal(note.into_bytes()));
            let word = Decide { effect, digest, approve: true, by, role, channel, speaks, note };
            vec![Input::Edit(word, edited(session, effect, &arguments, bodies))]
        }
        Command::Answer { effect, text, by, speaks } => {
            let typed = typed(&text, speaks, bodies);
            vec![Input::Answer { effect, body: bodies.seal(text.into_bytes()), by, typed }]
        }
        Command::Resolve { effect, resolution, by, note } => {
            let note = bodies.seal(note.into_bytes());
            vec![Input::Resolve { effect, resolution, by, note }]
        }
        Command::Cancel { turn, by } => vec![Input::Cancel { turn, by }],
        Command::Stop { by } => vec![Input::Stop { by }],
        Command::Resume { by, speaks } => vec![Input::Resume { by, speaks }],
    }
}

/// The call of this effect with these arguments: its id, its tool, and nothing else of the reply that it stood in.
fn edited(session: &Session, effect: EffectId, arguments: &str, bodies: &mut Bodies) -> Option<CallRef> {
    let Work::Tool { call, .. } = &session.effects.get(&effect)?.work else { return None };
    let arguments = serde_json::from_str::<Map<String, Value>>(arguments).ok()?;
    // Written anew: what was there twice is there once, for whoever reads it.
    let arguments = Value::Object(arguments).to_string();
    let calls: Value = serde_json::from_slice(&bodies.get(&call.calls).ok()??).ok()?;
    let mut own = calls.get(usize::try_from(call.index).ok()?)?.clone();
    let function = own.get_mut("function")?;
    let name = function.get("name")?.as_str()?.to_owned();
    let repeat = bodies.call_key(&name, &arguments);
    *function.get_mut("arguments")? = Value::String(arguments);
    let calls = bodies.seal(Value::Array(vec![own]).to_string().into_bytes());
    Some(CallRef { calls, index: 0, tool: call.tool.clone(), repeat })
}

/// What a person's text says of itself: which parts are quoted, and which values the others name.
fn typed(text: &str, speaks: Speaks, bodies: &mut Bodies) -> Option<Typed> {
    match speaks {
        Speaks::Program => None,
        Speaks::Human => {
            let quotes = quotes(text);
            let mut atoms = extract(text, &quotes);
            atoms.retain(|atom| atom.0 != Kind::Words);
            let stored = serde_json::to_vec(&atoms).unwrap_or_default();
            Some(Typed { quotes, atoms: (!atoms.is_empty()).then(|| bodies.seal(stored)) })
        }
    }
}

fn open(opening: Opening, lineage: u64, bodies: &mut Bodies) -> Input {
    Input::Open(Opened {
        agent: opening.agent,
        principal: opening.principal,
        channel: opening.channel,
        title: opening.title.map(|title| bodies.seal(title.into_bytes())),
        lineage,
    })
}
