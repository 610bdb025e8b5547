//! What one search lets happen: the messages, what the model may reply, and how often each fault
//! may strike. Each scope is searched to its end.
use std::collections::BTreeMap;

use backstay_kernel::budget::{Budget, Ceiling, Price};
use backstay_kernel::id::RepeatKey;
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::record::Mode;
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::tool::{Answerer, ArgumentRole, EffectClass, Idempotency, Known, Listing, Manifest};
use backstay_kernel::words::{Kind as Form, Sign};

use super::Invariant;

pub const KINDS: usize = 7;

/// The calls of the small world; each is made at most once by a session on any path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Unsafe, and a person is asked.
    Mail,
    /// Unsafe, allowed until the policy is narrowed.
    Shell,
    /// Pure.
    Read,
    /// Keyed.
    Post,
    /// Probed.
    Write,
    /// Mail in other words, and to another address.
    Letter,
    /// What the runtime itself looks up; no model calls it.
    List,
}

impl Kind {
    pub const ALL: [Self; KINDS] =
        [Self::Mail, Self::Shell, Self::Read, Self::Post, Self::Write, Self::Letter, Self::List];

    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Mail => 0,
            Self::Shell => 1,
            Self::Read => 2,
            Self::Post => 3,
            Self::Write => 4,
            Self::Letter => 5,
            Self::List => 6,
        }
    }

    #[must_use]
    pub fn bit(self) -> u8 {
        1 << self.number()
    }

    /// Of its tool.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mail | Self::Letter => "mail",
            Self::Shell => "shell",
            Self::Read => "read",
            Self::Post => "post",
            Self::Write => "write",
            Self::List => "list",
        }
    }

    #[must_use]
    pub fn idempotency(self) -> Idempotency {
        match self {
            Self::Mail | Self::Letter | Self::Shell => Idempotency::Unsafe,
            Self::Read => Idempotency::Pure,
            Self::Post => Idempotency::Keyed,
            Self::Write => Idempotency::Probed,
            Self::List => Idempotency::Idempotent,
        }
    }

    #[must_use]
    pub fn class(self) -> EffectClass {
        match self {
            Self::Mail | Self::Letter => EffectClass::Send,
            Self::Read | Self::List => EffectClass::Read,
            Self::Shell | Self::Post | Self::Write => EffectClass::Write,
        }
    }

    /// It reaches somebody: nobody is to be asked about it only for a reason.
    #[must_use]
    pub fn is_mail(self) -> bool {
        self.class() == EffectClass::Send
    }

    #[must_use]
    pub fn key(self) -> RepeatKey {
        RepeatKey([self.number() + 1; 8])
    }

    /// The kind whose calls carry this key.
    #[must_use]
    pub fn of(key: RepeatKey) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }
}

/// By what mail may go out that nobody was asked about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unasked {
    /// By nothing: programs speak here, whose words are nobody's.
    Never,
    /// A plan of what the person typed wants it.
    Planned,
    /// The plan says to whom, and nothing of whom else.
    PlannedTo,
    /// The person typed to whom, once for each of the task's messages.
    Named,
    /// The person typed a name, and it goes to whom a list has by that name.
    Listed,
    /// Somebody has said yes to it for longer than once.
    Standing,
}

impl Unasked {
    #[must_use]
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Planned | Self::PlannedTo)
    }
}

/// How often each thing may still happen on a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Left {
    pub crashes: u8,
    pub failures: u8,
    pub unknowns: u8,
    pub cancels: u8,
    pub freezes: u8,
    pub stops: u8,
    pub narrows: u8,
    pub busy: u8,
    pub overdue: u8,
    /// A yes for longer than once is said; it is taken back, or comes to its end.
    pub grants: u8,
    pub ends: u8,
    /// Another session of the same home begins where this one is at rest, of anybody.
    pub sessions: u8,
}

#[derive(Clone, Debug)]
pub struct Scope {
    pub name: &'static str,
    /// How each message arrives.
    pub messages: &'static [Mode],
    /// What the model may reply: the calls of one reply each; an empty list is its last word.
    pub replies: &'static [&'static [Kind]],
    pub left: Left,
    /// Appends that may wait for the disk at once.
    pub pending_max: usize,
    /// Pure preparations, inspections and probes are done in the pass that asks for them.
    pub eager: bool,
    pub in_doubt: InDoubt,
    /// Tokens that a turn may use.
    pub turn_tokens: Option<u64>,
    /// A ledger window that this session has with others.
    pub shared: Option<Shared>,
    /// Mail wants the yes of two, and not of whoever asked for it.
    pub two_people: bool,
    /// What a rule asks about, beside mail.
    pub asking: &'static [Kind],
    pub asks_per_hour: u32,
    /// The model may make a call once more that a person has refused.
    pub insists: bool,
    pub unasked: Unasked,
    /// What the model that plans may answer: calls of each kind's tool.
    pub plans: &'static [&'static [(Kind, u32)]],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shared {
    /// What it may hold.
    pub tokens: u64,
    /// What others have reserved in it when the search begins.
    pub reserved: u64,
}

/// What every model call of the small world is reserved and billed.
pub const REQUEST_BYTES: u64 = 10;
pub const OUTPUT_TOKENS_MAX: u64 = 10;
pub const BILLED_TOKENS: u64 = 5;

pub const CHANNELS: [&str; 2] = ["a", "b"];
pub const OWNER: &str = "o";
/// Who may answer; the first is who asks.
pub const PEOPLE: [(&str, Role); 3] = [(OWNER, Role::Owner), ("p", Role::Approver), ("q", Role::Approver)];
const AGENT: &str = "g";

impl Scope {
    /// Whether it is what the invariant is about that happens here.
    #[must_use]
    pub fn is_about(&self, invariant: Invariant) -> bool {
        match invariant {
            Invariant::I3Once => self.left.overdue > 0,
            Invariant::I5Money => self.shared.is_some() || self.turn_tokens.is_some(),
            Invariant::I10NamedWait => self.shared.is_some_and(|shared| shared.reserved > 0),
            Invariant::Asks => self.insists,
            Invariant::Scope => self.unasked.is_planned(),
            Invariant::Warrant => self.unasked == Unasked::Named,
            Invariant::Lookup => self.unasked == Unasked::Listed,
            Invariant::Standing => self.unasked == Unasked::Standing,
            _ => false,
        }
    }

    /// The policy before and after it is narrowed.
    #[must_use]
    pub fn policies(&self) -> [Policy; 2] {
        [self.policy(false), self.policy(true)]
    }

    fn policy(&self, narrowed: bool) -> Policy {
        let tools = Kind::ALL.map(|kind| (kind.name().to_owned(), self.manifest(kind)));
        let model = Model {
            provider: String::new(),
            clearance: backstay_kernel::label::Confidentiality::Secret,
            name: String::new(),
            context_tokens: 1_000_000,
            max_output_tokens: OUTPUT_TOKENS_MAX,
            price: Price { input: 1, cached_input: 1, cache_write: 1, output: 1 },
        };
        Policy {
            epoch: 1 + u64::from(narrowed),
            principals: PEOPLE.into_iter().map(|(name, role)| (name.to_owned(), role)).collect(),
            agents: BTreeMap::from([(AGENT.to_owned(), self.agent(narrowed))]),
            models: BTreeMap::from([("m".to_owned(), model)]),
            tools: BTreeMap::from(tools),
            ..Policy::default()
        }
    }

    fn agent(&self, narrowed: bool) -> Agent {
        let shell = BTreeMap::from([(Field::Tool, Test::Equal(Kind::Shell.name().to_owned()))]);
        let deny = Rule::new("no shell", RuleVerdict::Deny, shell);
        let asking = self.asking.iter().map(|kind| asked_about(*kind));
        // So that nothing asks but what was seen.
        let go_on = (self.unasked.is_planned() || matches!(self.unasked, Unasked::Named | Unasked::Listed)).then(go_on);
        let turn = Ceiling { tokens: self.turn_tokens, micro_usd: None };
        Agent {
            model: "m".to_owned(),
            instructions: String::new(),
            grants: Grants { tools: Kind::ALL.map(|kind| kind.name().to_owned()).to_vec(), ..Grants::default() },
            rules: narrowed
                .then_some(deny)
                .into_iter()
                .chain(self.two_people.then(two_people))
                .chain(asking)
                .chain(go_on)
                .collect(),
            budget: Budget { turn, ..Budget::default() },
            caps: Caps { steps: 100, tool_calls: 100, wall_ms: u64::MAX, asks_per_hour: self.asks_per_hour },
            in_doubt: self.in_doubt,
            scope: self.unasked.is_planned(),
        }
    }

    fn manifest(&self, kind: Kind) -> Manifest {
        let chooses = |kind| ["to", "cc"].map(|name| (name.to_owned(), ArgumentRole::Authority(kind))).to_vec();
        let of_mail = |manifest| match self.unasked {
            Unasked::Planned | Unasked::PlannedTo | Unasked::Named => {
                Manifest { arguments: chooses(Form::Email), ..manifest }
            }
            Unasked::Listed => Manifest { arguments: chooses(Form::Id), known: vec![listed()], ..manifest },
            Unasked::Never | Unasked::Standing => manifest,
        };
        if kind.is_mail() { of_mail(manifest(kind)) } else { manifest(kind) }
    }
}

fn go_on() -> Rule {
    Rule::new("go on", RuleVerdict::Allow, BTreeMap::new())
}

/// Whom mail reaches is an id, for which a name on the list stands.
fn listed() -> (String, Known) {
    let [tool, arguments, name, value] = [Kind::List.name(), "{}", "/name", "/id"].map(str::to_owned);
    let sign = Sign::Quoted;
    let listing = Listing { tool, arguments, list: String::new(), name, value, sign, unquoted: false };
    ("to".to_owned(), Known::Listing(Box::new(listing)))
}

fn asked_about(kind: Kind) -> Rule {
    let calls = BTreeMap::from([(Field::Tool, Test::Equal(kind.name().to_owned()))]);
    Rule::new(kind.name(), RuleVerdict::Ask, calls)
}

fn two_people() -> Rule {
    let mail = BTreeMap::from([(Field::Tool, Test::Equal(Kind::Mail.name().to_owned()))]);
    let who = Who::Principals(PEOPLE.map(|(name, _)| name.to_owned()).to_vec());
    let approvers = Approvers { quorum: 2, but_requester: true, ..who.into() };
    Rule { approvers, ..Rule::new("two people", RuleVerdict::Ask, mail) }
}

fn manifest(kind: Kind) -> Manifest {
    Manifest {
        name: kind.name().to_owned(),
        description: String::new(),
        class: kind.class(),
        idempotency: kind.idempotency(),
        reversible: None,
        answerer: Answerer::Tool,
        arguments: Vec::new(),
        program: None,
        remote: false,
        result: backstay_kernel::label::Label::of(backstay_kernel::label::Source::Tool),
        audience: backstay_kernel::destination::Audience::Named,
        known: Vec::new(),
        creates: None,
        schema: String::new(),
        timeout_ms: 1,
    }
}

const QUIET: Left = Left {
    crashes: 0,
    failures: 0,
    unknowns: 0,
    cancels: 0,
    freezes: 0,
    stops: 0,
    narrows: 0,
    busy: 0,
    overdue: 0,
    grants: 0,
    ends: 0,
    sessions: 0,
};

const BASE: Scope = Scope {
    name: "base",
    messages: &[Mode::Queue],
    replies: &[&[]],
    left: QUIET,
    pending_max: 1,
    eager: true,
    in_doubt: InDoubt::Ask,
    turn_tokens: None,
    shared: None,
    two_people: false,
    asking: &[],
    asks_per_hour: 5,
    insists: false,
    unasked: Unasked::Never,
    plans: &[],
};

const TWO_MESSAGES: Scope = Scope {
    name: "two messages, one cut off",
    messages: &[Mode::Queue, Mode::Interrupt],
    replies: &[&[Kind::Mail, Kind::Shell, Kind::Read], &[]],
    left: Left { crashes: 2, failures: 1, cancels: 1, ..QUIET },
    ..BASE
};

const SWITCHES: Scope = Scope {
    name: "policy, stop, freeze",
    replies: &[&[Kind::Mail, Kind::Shell], &[Kind::Post], &[]],
    left: Left { crashes: 1, stops: 1, narrows: 1, busy: 1, freezes: 1, ..QUIET },
    ..BASE
};

const SLOW_DISK: Scope = Scope {
    name: "slow disk, small steps",
    replies: &[&[Kind::Mail, Kind::Shell, Kind::Read], &[Kind::Write], &[]],
    left: Left { crashes: 1, cancels: 1, freezes: 1, ..QUIET },
    pending_max: 2,
    eager: false,
    ..BASE
};

/// What `explore` searches, each to its end: about a minute on two cores.
pub const SCOPES: &[Scope] = &[
    Scope {
        name: "a yes of two people",
        replies: &[&[Kind::Mail, Kind::Post], &[]],
        left: Left { crashes: 1, narrows: 1, freezes: 1, ..QUIET },
        two_people: true,
        ..BASE
    },
    Scope {
        name: "the last look",
        messages: &[Mode::Queue, Mode::Queue],
        replies: &[&[Kind::Shell], &[]],
        left: Left { cancels: 1, freezes: 1, narrows: 1, ..QUIET },
        pending_max: 2,
        ..BASE
    },
    Scope {
        name: "asks one by one",
        replies: &[&[Kind::Mail, Kind::Read, Kind::Post], &[Kind::Mail], &[]],
        left: Left { crashes: 1, cancels: 1, freezes: 1, ..QUIET },
        asking: &[Kind::Read, Kind::Post],
        asks_per_hour: 2,
        insists: true,
        ..BASE
    },
    SWITCHES,
    Scope {
        name: "little money",
        messages: &[Mode::Queue, Mode::Queue],
        replies: &[&[Kind::Shell], &[Kind::Read], &[]],
        left: Left { crashes: 2, failures: 1, cancels: 1, unknowns: 1, ..QUIET },
        turn_tokens: Some(60),
        ..BASE
    },
    Scope {
        name: "doubts assumed done",
        messages: &[Mode::Queue, Mode::Interrupt],
        replies: &[&[Kind::Mail, Kind::Shell], &[Kind::Write], &[]],
        left: Left { crashes: 2, unknowns: 1, cancels: 1, stops: 1, ..QUIET },
        in_doubt: InDoubt::AssumeDone,
        ..BASE
    },
    SLOW_DISK,
    TWO_MESSAGES,
    Scope {
        name: "every class, steered",
        messages: &[Mode::Queue, Mode::Steer],
        replies: &[&[Kind::Shell, Kind::Post, Kind::Write], &[Kind::Read], &[]],
        left: Left { crashes: 2, unknowns: 1, ..QUIET },
        ..BASE
    },
    Scope {
        name: "past their limits",
        replies: &[&[Kind::Shell, Kind::Post, Kind::Write], &[]],
        left: Left { crashes: 2, overdue: 2, cancels: 1, ..QUIET },
        ..BASE
    },
    Scope {
        name: "money that others hold",
        messages: &[Mode::Queue, Mode::Queue],
        replies: &[&[Kind::Shell], &[Kind::Read], &[]],
        left: Left { crashes: 1, failures: 1, cancels: 1, ..QUIET },
        shared: Some(Shared { tokens: 60, reserved: 45 }),
        ..BASE
    },
    TASK,
    WHOM,
    ONCE,
    NAME,
    ALWAYS,
];

/// A session that has seen untrusted words plans what its person typed.
const TASK: Scope = Scope {
    name: "the scope of a task",
    messages: &[Mode::Queue, Mode::Steer],
    replies: &[&[Kind::Read], &[Kind::Mail, Kind::Letter], &[Kind::Mail], &[Kind::Letter], &[]],
    left: Left { crashes: 1, failures: 1, ..QUIET },
    unasked: Unasked::Planned,
    plans: &[&[(Kind::Mail, 1)], &[]],
    shared: Some(Shared { tokens: 100, reserved: 0 }),
    ..BASE
};

const WHOM: Scope = Scope {
    name: "a plan that says whom",
    messages: &[Mode::Queue, Mode::Steer],
    replies: &[&[Kind::Read], &[Kind::Mail, Kind::Letter], &[]],
    left: Left { crashes: 1, failures: 1, ..QUIET },
    unasked: Unasked::PlannedTo,
    plans: &[&[(Kind::Mail, 2)], &[]],
    ..BASE
};

const ONCE: Scope = Scope {
    name: "once for a message",
    messages: &[Mode::Queue, Mode::Steer],
    replies: &[&[Kind::Read], &[Kind::Mail, Kind::Letter], &[Kind::Mail], &[Kind::Letter], &[]],
    left: Left { crashes: 1, failures: 1, unknowns: 1, cancels: 1, ..QUIET },
    unasked: Unasked::Named,
    ..BASE
};

const NAME: Scope = Scope {
    name: "a name is looked up",
    replies: &[&[Kind::Read], &[Kind::Mail, Kind::Post], &[]],
    left: Left { crashes: 2, failures: 1, unknowns: 1, cancels: 1, ..QUIET },
    unasked: Unasked::Listed,
    ..BASE
};

const ALWAYS: Scope = Scope {
    name: "a yes that stands",
    replies: &[&[Kind::Mail, Kind::Letter], &[]],
    left: Left { crashes: 1, grants: 1, ends: 1, sessions: 1, ..QUIET },
    pending_max: 2,
    unasked: Unasked::Standing,
    ..BASE
};

/// The same worlds with more faults at once: tens of millions of states each.
pub const DEEP: &[Scope] = &[
    Scope { messages: &[Mode::Queue, Mode::Queue], ..SWITCHES },
    Scope { left: Left { crashes: 2, cancels: 1, freezes: 1, ..QUIET }, ..SLOW_DISK },
    Scope { left: Left { crashes: 2, failures: 1, cancels: 1, freezes: 1, ..QUIET }, ..TWO_MESSAGES },
];
