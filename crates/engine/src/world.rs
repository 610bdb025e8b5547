//! The world as the engine sees it: one trait, implemented by the binary and by the simulator.
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use backstay_kernel::Permit;
use backstay_kernel::budget::Usage;
use backstay_kernel::context::Item;
use backstay_kernel::destination::Connection;
use backstay_kernel::effect::{FailureClass, Finish, Probed};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::id::{BodyRef, Millis, SessionId};
use backstay_kernel::label::Label;
use backstay_kernel::policy::Policy;
use backstay_kernel::request::Piece;

pub type Bytes = Arc<[u8]>;

/// A request around its items: `head`, then the fragments joined by commas, `lead` first, then
/// `tail`.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub head: String,
    pub lead: Option<String>,
    pub tail: String,
}

/// One item as the provider reads it, and the pieces that make the same bytes again.
#[derive(Clone, Debug)]
pub struct Fragment {
    pub wire: String,
    pub pieces: Vec<Piece>,
}

/// A model call that may be made now.
#[derive(Debug)]
pub struct ModelCall {
    pub permit: Permit,
    /// Name in the policy.
    pub model: String,
    pub wire: Bytes,
}

/// What a model says while it speaks; display only, never journaled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delta {
    Text(String),
    Reasoning(String),
}

/// One call as the model wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

#[derive(Clone, Debug)]
pub struct ModelReply {
    pub text: String,
    pub calls: Vec<RawCall>,
    /// The calls as they are stored: the array `tool_calls` of an OpenAI message.
    pub calls_json: String,
    pub finish: Finish,
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug)]
pub struct ModelFailure {
    pub class: FailureClass,
    pub retry_at: Option<Millis>,
    pub detail: String,
    pub billed: bool,
}

pub type ModelResult = Result<ModelReply, ModelFailure>;

/// A tool call as its journal has it.
#[derive(Clone, Debug)]
pub struct ToolCall {
    pub session: SessionId,
    pub agent: String,
    /// On whose behalf.
    pub principal: String,
    pub tool: String,
    pub arguments: String,
    /// True once the call must end: its turn, its session or the home was stopped.
    pub halt: Arc<AtomicBool>,
    /// The runtime itself reads the answer: values in JSON, where there are any.
    pub as_values: bool,
}

/// A call that is no call; the model is told why.
#[derive(Clone, Debug)]
pub struct Refused {
    pub why: Invalid,
    pub detail: String,
}

/// What a tool did.
#[derive(Clone, Debug)]
pub enum ToolRan {
    Done {
        text: String,
        /// The full output, where `text` is a part of it.
        spill: Option<Vec<u8>>,
        /// A text to remember for the principal, in the commit that records the end.
        memory: Option<String>,
        /// Of what went into the text, beyond what the tool declares and what its files bear.
        label: Label,
    },
    /// Certainly nothing was done.
    Failed { text: String, label: Label },
    /// Nobody knows.
    Unknown,
}

impl ToolRan {
    /// What it says bears this label too.
    pub(crate) fn join(&mut self, other: Label) {
        if let Self::Done { label, .. } | Self::Failed { label, .. } = self {
            *label = label.join(other);
        }
    }
}

/// How a tool ended, and what it reached on the network meanwhile.
#[derive(Clone, Debug)]
pub struct ToolEnd {
    pub ran: ToolRan,
    pub connections: Vec<Connection>,
    /// The id that the other side gave to what it created.
    pub created: Option<String>,
}

impl From<ToolRan> for ToolEnd {
    fn from(ran: ToolRan) -> Self {
        Self { ran, connections: Vec::new(), created: None }
    }
}

/// Everything outside: one adapter for every kind of effect. Methods that are not `async` may
/// block for as long as a local disk takes; the engine calls them off its own thread, but for
/// [`World::envelope`], [`World::item`], [`World::now`] and [`World::random`], which only compute.
pub trait World: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch: the one clock.
    fn now(&self) -> Millis;

    /// A drawn number.
    fn random(&self) -> u64;

    fn envelope(&self, policy: &Policy, agent: &str, model: &str, output_tokens_max: u64) -> Envelope;

    /// # Errors
    /// The body that is needed and not there any more.
    fn item(
        &self,
        policy: &Policy,
        model: &str,
        item: &Item,
        bodies: &dyn Fn(&BodyRef) -> Option<Bytes>,
    ) -> Result<Fragment, BodyRef>;

    /// # Errors
    /// Why the call is no call.
    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused>;

    /// What the call would start, as a text made of its words, where it would start anything: what a person reads is
    /// never what the model wrote.
    fn command_line(&self, _call: &ToolCall) -> Option<String> {
        None
    }

    fn probe(&self, call: &ToolCall, facts: &Facts) -> Probed;

    fn run_tool(&self, permit: Permit, call: &ToolCall, facts: &Facts) -> ToolEnd;

    /// A text of somebody outside without the values that must not be kept; computed at once.
    fn clean(&self, text: String) -> String;

    /// How many values have been taken out of texts since the process began, by their names.
    fn redactions(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// Makes exactly one attempt.
    fn call_model(
        &self,
        call: ModelCall,
        on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>>;
}
