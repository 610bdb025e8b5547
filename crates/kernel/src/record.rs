//! Records: the only truth. One append writes one entry, one or more records that share a time.
//!
//! A record holds enums, integers, ids, digests and names that the operator chose; free text and
//! identifiers from outside lie in bodies. Stored bytes are hashed and never written again, so a
//! field is only ever added, with a default.
mod planned;
mod reason;
mod scoped;
mod turn;

pub use planned::Planned;
pub use reason::Reason;
pub use scoped::{InScope, Scoped};
pub use turn::{Cap, Completion, LoopRule, StopReason, TurnEnded};

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::budget::{Amount, Usage};
use crate::destination::{Audience, Connection};
use crate::effect::{CallRef, FailureClass, Finish, Probed};
use crate::facts::{Facts, Invalid};
use crate::flow::{Composed, Named, Origin, Provenance, Warrant};
use crate::home::Speaks;
use crate::id::{BodyRef, Boot, Digest, EffectId, Millis, RepeatKey, Seq, TurnId};
use crate::label::{Confidentiality, Integrity, Label, Source, Sources};
use crate::mode::WorkMode;
use crate::policy::Role;
use crate::reached::Seen;
use crate::request::Request;
use crate::rule::{Approvers, Field};
use crate::tool::{Answerer, Idempotency};
use crate::words::Typed;

/// Version of the stored records.
pub const VERSION: u32 = 1;

/// What one append stores: `v` first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<R> {
    pub v: u32,
    pub at: Millis,
    pub records: Vec<R>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Opened(Opened),
    Admitted(Admitted),
    TurnStarted(TurnStarted),
    /// Waiting messages joined the open turn.
    Entered {
        messages: Vec<Seq>,
    },
    /// Items before this one are no longer sent.
    Windowed {
        first: u64,
    },
    Planned(Planned),
    Judged(Judged),
    /// A person or a program answered an ask, or its time ran out.
    Decided {
        effect: EffectId,
        decision: Decision,
        by: Option<String>,
        /// Absent in records of an earlier version, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        speaks: Option<Speaks>,
        note: Option<BodyRef>,
    },
    /// Whoever may answer the ask gave its call other arguments: it is looked at and judged anew.
    Edited {
        effect: EffectId,
        by: String,
        speaks: Speaks,
        call: CallRef,
        note: Option<BodyRef>,
    },
    Answered {
        effect: EffectId,
        body: BodyRef,
        by: String,
        #[serde(default = "untyped", skip_serializing_if = "is_untyped")]
        label: Label,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        typed: Option<Typed>,
    },
    Started(Started),
    /// The call fits under this ledger window only once others have settled what they reserved;
    /// looked at again with every settlement, and at `until`.
    Unfunded {
        effect: EffectId,
        window: String,
        until: Millis,
    },
    /// A started call has outlived its limit and still runs: its end is waited for.
    Overdue {
        effect: EffectId,
    },
    /// A started effect was turned back at the last look.
    Bounced {
        effect: EffectId,
        why: BounceReason,
    },
    /// An attempt failed and there will be another.
    Retried(Retried),
    /// Whatever ran the effect is gone, and the effect may be started or probed again.
    Lapsed {
        effect: EffectId,
        boot: Boot,
    },
    Doubted {
        effect: EffectId,
        boot: Boot,
    },
    /// What the effect reached while it ran; written with its end.
    Connected {
        effect: EffectId,
        connections: Vec<Connection>,
    },
    /// The id that the other side gave to what the effect created; written with its end.
    Created {
        effect: EffectId,
        id: BodyRef,
    },
    Scoped(Scoped),
    Resolved {
        effect: EffectId,
        resolution: Resolution,
        by: Option<String>,
        note: Option<BodyRef>,
    },
    Ended(Ended),
    /// The turn is to end; what runs is let go or waited for by its class.
    Cancelled {
        turn: TurnId,
        by: String,
    },
    TurnEnded(TurnEnded),
    Stopped {
        by: String,
    },
    Resumed {
        by: String,
    },
    /// The home was restored or the session imported: keys and hashes change from here on.
    Lineage {
        old: u64,
        new: u64,
        from: Seq,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    pub agent: String,
    pub principal: String,
    /// The door that it was opened at.
    pub channel: String,
    pub title: Option<BodyRef>,
    pub lineage: u64,
}

/// How a message meets a turn that is open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// After it.
    #[default]
    Queue,
    /// Into it, at the next step.
    Steer,
    /// Instead of it.
    Interrupt,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admitted {
    pub principal: String,
    pub channel: String,
    pub mode: Mode,
    pub body: BodyRef,
    pub label: Label,
    /// Absent where a program speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Typed>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnStarted {
    pub messages: Vec<Seq>,
    /// Of the session, before the messages entered it; the first records did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// Of an answer whose record says nothing else.
fn untyped() -> Label {
    Label::of(Source::Principal)
}

fn is_untyped(label: &Label) -> bool {
    *label == untyped()
}

/// Of a failure whose record says nothing else.
fn of_a_tool() -> Label {
    Label::of(Source::Tool)
}

fn is_of_a_tool(label: &Label) -> bool {
    *label == of_a_tool()
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    pub effect: EffectId,
    /// The policy that judged.
    pub epoch: u64,
    /// Absent where the call is no call at all.
    pub facts: Option<Facts>,
    pub idempotency: Idempotency,
    pub answerer: Answerer,
    pub verdict: Verdict,
    /// Absent where no policy was asked, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grounds: Option<Box<Grounds>>,
}

/// What a verdict rests on besides the facts of the call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grounds {
    /// The digest of the policy that judged; an epoch names it in one home only.
    pub policy: Digest,
    /// Where the rule stands in `backstay.toml`; absent where no rule spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What the rule looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<Used>,
    /// Which of the call's values a person named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// The message that names all by which the call chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warrant: Option<Warrant>,
    /// What it says leads nowhere that nobody named.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_clear: bool,
    /// What its URL takes of the day's bytes, where untrusted words may have composed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composed: Option<Composed>,
    /// How confidential the directories were that a call with a network could read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Confidentiality>,
    /// The call's arguments, where somebody has said yes to some of its tool for longer than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Digest>,
    /// The entry of the task's scope that it is inside of, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
    /// The message that names all packages that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Seq>,
    /// Where the values by which it chooses come from; absent where nobody looked, or nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<BTreeSet<Provenance>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Grounds {
    /// What the messages of the task said of the call.
    #[must_use]
    pub fn named(&self) -> Named {
        let Self { origins, warrant, is_clear, reads, arguments, entry, packages, provenance, .. } = self;
        let (origins, warrant, provenance) = (origins.clone(), warrant.clone(), provenance.clone());
        let (is_clear, reads, arguments, entry, packages) = (*is_clear, *reads, *arguments, *entry, *packages);
        Named { origins, warrant, is_clear, reads, arguments, entry, packages, provenance }
    }
}

/// A fact that a rule looked at. One without a value stands in the facts beside it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Used {
    Agent(String),
    Principal(String),
    Role(Role),
    Channel(String),
    Tool(String),
    Class,
    Path,
    BytesOut,
    Recipient,
    Account,
    Amount,
    Host,
    Port,
    Method,
    UrlPath,
    UrlBytes,
    Repo,
    Ref,
    Force,
    Changed,
    Clock(Millis),
    Weekday(Millis),
    LabelConf(Confidentiality),
    LabelIntegrity(Integrity),
    Mode(WorkMode),
    Seen(Option<Seen>),
    Speaks(Speaks),
    Tier,
    Program,
    Subcommand,
    Source(Sources),
    Provenance(BTreeSet<Provenance>),
    Audience(Vec<Audience>),
    Reversible(bool),
    /// Nobody could tell it, so the rule fell to the strict side.
    Missing(Field),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allow {
        by: Reason,
    },
    Ask {
        by: Reason,
        approvers: Approvers,
        expires_at: Millis,
        digest: Digest,
        /// When it was opened; the first records did not say it.
        #[serde(default, skip_serializing_if = "is_zero")]
        at: Millis,
    },
    /// An ask that nobody is shown yet: another one is open, or, until then, the hour has had its asks.
    Parked {
        by: Reason,
        until: Option<Millis>,
    },
    Deny {
        by: Reason,
    },
    Invalid {
        why: Invalid,
        detail: Option<BodyRef>,
    },
    /// The loop detector: the same call gave the same result this often already.
    Blocked {
        repeats: u32,
    },
    /// The reply held more calls than are looked at.
    TooMany,
}

/// What becomes of a call, in an operator's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Made, by what its class is.
    Autonomous,
    /// Made, because a rule says so.
    Checked,
    /// Put to a person.
    Escalated,
    Impossible,
}

impl Disposition {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Autonomous => "autonomous",
            Self::Checked => "checked",
            Self::Escalated => "escalated",
            Self::Impossible => "impossible",
        }
    }
}

impl Verdict {
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Allow { by: Reason::ClassDefault } => Disposition::Autonomous,
            Self::Allow { .. } => Disposition::Checked,
            Self::Ask { .. } | Self::Parked { .. } => Disposition::Escalated,
            Self::Deny { .. } | Self::Invalid { .. } | Self::Blocked { .. } | Self::TooMany => Disposition::Impossible,
        }
    }

    /// What it rests on; nothing, where no policy was asked.
    #[must_use]
    pub fn by(&self) -> Option<&Reason> {
        match self {
            Self::Allow { by } | Self::Ask { by, .. } | Self::Parked { by, .. } | Self::Deny { by } => Some(by),
            Self::Invalid { .. } | Self::Blocked { .. } | Self::TooMany => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Deny,
    Expire,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    pub effect: EffectId,
    pub at: Millis,
    pub boot: Boot,
    /// The policy that it started under.
    pub epoch: u64,
    pub attempt: u32,
    pub request: Option<Request>,
    pub reservation: Option<Reservation>,
    /// What it takes of the limits of rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Counted>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    pub amount: Amount,
    /// The ledger windows that it was booked in.
    pub windows: Vec<String>,
}

/// What a call takes of one limit of a rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// The row of the ledger that it is booked in.
    pub window: String,
    /// Calls or bytes.
    pub units: u64,
    /// What the row may come to with it; absent where a person has said yes to more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BounceReason {
    PolicyChanged,
    Frozen,
    Stopped,
    ApprovalGone,
    FactsChanged,
    /// A switch holds back whatever does more than read.
    HeldBack,
    /// A queue outside the session had no place; nothing was sent.
    Busy,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retried {
    pub effect: EffectId,
    pub at: Millis,
    pub class: FailureClass,
    pub not_before: Millis,
    pub detail: BodyRef,
    /// The tries are used up: this is the long, named wait.
    pub provider_wait: bool,
    /// Whether the reservation stays, since a bill may still come.
    pub possibly_billed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    Done,
    NotDone,
    Retry,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    pub effect: EffectId,
    pub at: Millis,
    /// Seq of the `started` that this is the end of; absent where it never started.
    pub started: Option<Seq>,
    pub end: End,
    /// What it cost, once known.
    pub spent: Option<Amount>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Replied {
        text: Option<BodyRef>,
        calls: Option<BodyRef>,
        count: u32,
        finish: Finish,
        usage: Option<Usage>,
        overrun: bool,
    },
    ModelFailed {
        class: FailureClass,
        detail: BodyRef,
    },
    Done {
        result: BodyRef,
        repeat: RepeatKey,
        label: Label,
        warned: bool,
        /// All that it put out, where the result is a part of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spill: Option<BodyRef>,
    },
    /// A probe, a person or a rule concluded it; the result itself is lost.
    Concluded {
        done: bool,
        probed: Option<Probed>,
    },
    Failed {
        result: BodyRef,
        repeat: RepeatKey,
        #[serde(default = "of_a_tool", skip_serializing_if = "is_of_a_tool")]
        label: Label,
    },
    NotStarted,
    /// Let go of; whether it happened is not known.
    Unknown,
}
