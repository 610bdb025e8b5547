//! What a tool declares of itself: its manifest.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::destination::Audience;
use crate::label::Label;
use crate::words::{Kind, Sign};

/// What a call does to the world, from the rules' point of view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    Read,
    Write,
    Execute,
    Send,
    Spend,
}

impl EffectClass {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Send => "send",
            Self::Spend => "spend",
        }
    }

    /// Whether what such a call does can be taken back, where this is said of it: what only reads does nothing, and
    /// what is paid is paid.
    #[must_use]
    pub fn reversible(self, said: Option<bool>) -> Option<bool> {
        match self {
            Self::Read => Some(said.unwrap_or(true)),
            Self::Spend => Some(false),
            Self::Write | Self::Execute | Self::Send => said,
        }
    }
}

/// What may be done with a `started` call whose process died.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    /// Inside the home, free, repeatable: run again. The only class that may run before its
    /// records are durable.
    Pure,
    /// Doing it twice is doing it once: start again.
    Idempotent,
    /// The other side drops a second call with the same key: start again, same key.
    Keyed,
    /// The world can be asked whether it happened: probe, then conclude or run.
    Probed,
    /// Everything else: in doubt, and never silently run again.
    Unsafe,
}

/// Who answers a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answerer {
    Tool,
    /// A person, by the next message or by `answer`.
    Human,
}

/// What an argument is, so that the gate knows what to look at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentRole {
    /// Who, where, which or how much: a value of this kind, which untrusted words must not choose.
    Authority(Kind),
    /// How much: a number that untrusted words may choose up to so many whole units, and no further. Who gets it
    /// is a value of its own.
    UpTo(u64),
    /// Which of the things that are there is looked at.
    Selector,
    /// What is said, written or searched for.
    Payload,
}

/// By what a person may have named a value whose own form they need not know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The operator's words for it.
    Listed(Vec<Name>),
    /// A name that a tool of the same server lists; the runtime itself calls it.
    Listing(Box<Listing>),
    /// It is what one of these tools of the same server created in this session.
    Created(Vec<String>),
}

/// A name, and the value that it stands for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    pub name: String,
    pub value: String,
}

/// How to find out which names there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// One that reads and may be called again, by its name in the policy.
    pub tool: String,
    /// Of its calls: a JSON object.
    pub arguments: String,
    /// To the list in its result, and from an entry of it to the name and to the value: JSON Pointers.
    pub list: String,
    pub name: String,
    pub value: String,
    /// What alone makes a word of a message a name of the list, where strangers can put names into it.
    pub sign: Sign,
    /// No stranger can put a name into the list: it may also stand unquoted in a message, or with any sign.
    pub unquoted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Manifest {
    /// It takes a value that untrusted words must not choose, and that no fact of the call shows.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        let is_hidden = |role: &ArgumentRole| match role {
            ArgumentRole::Authority(kind) => *kind != Kind::Path,
            ArgumentRole::UpTo(_) => true,
            ArgumentRole::Selector | ArgumentRole::Payload => false,
        };
        self.arguments.iter().any(|(_, role)| is_hidden(role))
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// What the model reads.
    pub description: String,
    pub class: EffectClass,
    pub idempotency: Idempotency,
    /// Whether what a call does can be taken back; `Some(false)`: it deletes, gives a permission, or cannot be undone
    /// otherwise. `None`: nobody said it of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversible: Option<bool>,
    pub answerer: Answerer,
    pub arguments: Vec<(String, ArgumentRole)>,
    /// The one program that a declared tool is: whoever may use the tool may start it by this tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// A server at a URL that the operator named makes its calls: whoever may use the tool may tell that server, and
    /// no other grant and no message needs to name where it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub remote: bool,
    /// Of what it returns.
    pub result: Label,
    /// Who gets to know what is told to it, where no destination says where that goes.
    pub audience: Audience,
    /// By what else than their own form values of its arguments are known, by the argument.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<(String, Known)>,
    /// Where in its result the id of what it created stands: a JSON Pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// JSON Schema of the arguments, as the text that the model is sent.
    pub schema: String,
    /// A call that takes longer than this is overdue: awaited by name where it could be started
    /// again (probed, unsafe), told as unknown elsewhere.
    pub timeout_ms: u64,
}
