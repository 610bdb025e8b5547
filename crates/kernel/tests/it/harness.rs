//! One session, its policy and its clock, driven as the engine drives it.
use std::sync::Arc;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use backstay_kernel::budget::{Amount, Budget, Ceiling, LedgerEntry, Price, Usage, Used, Window, WindowState};
use backstay_kernel::context::Item;
use backstay_kernel::decide::{Decide, Message};
use backstay_kernel::destination::{Audience, Destination};
use backstay_kernel::effect::{CallRef, Effect, Failure, FailureClass, Finish, Inspection, Outcome, Probed};
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Named, Tuple, Values, Warrant};
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{BodyRef, Boot, Digest, EffectId, Millis, RepeatKey, Seq, SessionId};
use backstay_kernel::label::{Confidentiality, Label};
use backstay_kernel::ledger::{entries, wanted};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::reached::Places;
use backstay_kernel::record::{Mode, Opened, Record, Resolution, StopReason, TurnEnded};
use backstay_kernel::refusal::Refusal;
use backstay_kernel::request::Request;
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::session::{Open, State, Work};
use backstay_kernel::standing::{Standing, arguments};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};
use backstay_kernel::words::Typed;
use backstay_kernel::{Input, Session, apply, decide, open_effects};

/// (effect's state, record, effect's state after it), as words.
pub type Arrow = (&'static str, &'static str, &'static str);

thread_local! {
    /// What the tests of this thread have seen.
    pub static ARROWS: RefCell<BTreeSet<Arrow>> = const { RefCell::new(BTreeSet::new()) };
}

pub const OWNER: &str = "ann";
pub const DAY_MS: u64 = 86_400_000;

#[derive(Debug)]
pub struct TestSession {
    pub session: Session,
    pub records: Vec<Record>,
    pub policy: Policy,
    pub now: Millis,
    pub boot: u64,
    pub switches: Switches,
    pub slots: Slots,
    pub allowance: Vec<WindowState>,
    pub standing: Vec<Standing>,
    /// Where its agent has been.
    pub reached: Arc<Places>,
    /// What the limits of rules have taken in.
    pub ledger: BTreeMap<String, Used>,
    pub request_bytes: u64,
    /// What every call turns out to be, in place of what its tool says.
    pub goes: Option<(EffectClass, Destination)>,
}

/// A tool by its name: what it is to the world.
pub const TOOLS: [(&str, Idempotency, EffectClass, Answerer); 6] = [
    ("read", Idempotency::Pure, EffectClass::Read, Answerer::Tool),
    ("shell", Idempotency::Unsafe, EffectClass::Write, Answerer::Tool),
    ("mail", Idempotency::Unsafe, EffectClass::Send, Answerer::Tool),
    ("post", Idempotency::Keyed, EffectClass::Write, Answerer::Tool),
    ("write", Idempotency::Probed, EffectClass::Write, Answerer::Tool),
    ("question", Idempotency::Pure, EffectClass::Read, Answerer::Human),
];

pub fn policy() -> Policy {
    let tool = |(name, idempotency, class, answerer): (&str, _, _, _)| {
        let manifest = Manifest {
            name: name.to_owned(),
            description: String::new(),
            class,
            idempotency,
            answerer,
            reversible: None,
            arguments: Vec::new(),
            program: None,
            remote: false,
            result: backstay_kernel::label::Label::of(backstay_kernel::label::Source::Tool),
            audience: Audience::Named,
            known: Vec::new(),
            creates: None,
            schema: String::new(),
            timeout_ms: 60_000,
        };
        (name.to_owned(), manifest)
    };
    let agent = Agent {
        model: "m".to_owned(),
        instructions: "Help.".to_owned(),
        grants: Grants { tools: TOOLS.map(|tool| tool.0.to_owned()).to_vec(), ..Grants::default() },
        rules: Vec::new().into(),
        budget: Budget::default(),
        caps: Caps { steps: 100, tool_calls: 500, wall_ms: 7_200_000, asks_per_hour: 5 },
        in_doubt: InDoubt::Ask,
        scope: false,
    };
    let model = Model {
        provider: "p".to_owned(),
        clearance: Confidentiality::Secret,
        name: "m1".to_owned(),
        context_tokens: 100_000,
        max_output_tokens: 1_000,
        price: Price { input: 1_000_000, cached_input: 100_000, cache_write: 1_250_000, output: 5_000_000 },
    };
    Policy {
        epoch: 1,
        principals: BTreeMap::from([(OWNER.to_owned(), Role::Owner), ("bob".to_owned(), Role::User)]),
        agents: BTreeMap::from([("main".to_owned(), agent)]),
        models: BTreeMap::from([("m".to_owned(), model)]),
        tools: TOOLS.into_iter().map(tool).collect(),
        ..Policy::default()
    }
}

pub fn rule(name: &str, verdict: RuleVerdict, when: &[(Field, Test)]) -> Rule {
    Rule::new(name, verdict, when.iter().cloned().collect())
}

pub fn body(id: u64) -> BodyRef {
    BodyRef { id, digest: Digest::default(), bytes: 10 }
}

pub fn tokens(most: u64) -> Ceiling {
    Ceiling { tokens: Some(most), micro_usd: None }
}

impl TestSession {
    pub fn new() -> Self {
        let mut session = Self {
            session: Session::new(SessionId([1; 10])),
            records: Vec::new(),
            policy: policy(),
            now: 1_795_219_200_000,
            boot: 1,
            switches: Switches::default(),
            slots: Slots { model: 4, tool: 8 },
            allowance: Vec::new(),
            standing: Vec::new(),
            reached: Arc::default(),
            ledger: BTreeMap::new(),
            request_bytes: 100,
            goes: None,
        };
        let opened = Opened {
            agent: "main".to_owned(),
            principal: OWNER.to_owned(),
            channel: "api".to_owned(),
            title: None,
            lineage: 1,
        };
        session.input(Input::Open(opened)).unwrap();
        session
    }

    pub fn agent(&mut self) -> &mut Agent {
        self.policy.agents.get_mut("main").unwrap()
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame {
            now: self.now,
            boot: Boot(self.boot),
            policy: &self.policy,
            switches: self.switches,
            slots: self.slots,
            allowance: self.allowance.clone(),
            standing: self.standing.clone(),
            reached: Arc::clone(&self.reached),
        }
    }

    /// With the rows of the ledger that limits of rules look at.
    fn frame_of(&self, input: &Input) -> Frame<'_> {
        let mut frame = self.frame();
        for window in wanted(&self.session, input, &frame) {
            let used = self.ledger.get(&window.key).copied().unwrap_or_default();
            frame.allowance.push(WindowState { window, used });
        }
        frame
    }

    fn book(&mut self, record: &Record) {
        for entry in entries(&self.session, record, &[]) {
            let (LedgerEntry::Reserve { key, .. } | LedgerEntry::Settle { key, .. }) = &entry;
            let used = self.ledger.entry(key.clone()).or_default();
            match entry {
                LedgerEntry::Reserve { amount, ceiling, .. } => {
                    assert!(ceiling.holds(used.sum().plus(amount)), "the store would refuse {record:?}");
                    used.reserved = used.reserved.plus(amount);
                }
                LedgerEntry::Settle { reserved, spent, .. } => {
                    used.reserved = used.reserved.minus(reserved);
                    used.settled = used.settled.plus(spent);
                }
            }
        }
        // Money is the business of the tests that set a window.
        self.ledger.retain(|key, _| key.starts_with("limit:"));
    }

    /// One pass of the driver: the input, then Advance until it is silent.
    pub fn input(&mut self, input: Input) -> Result<Vec<Record>, Refusal> {
        let mut out = Vec::new();
        let mut records = decide(&self.session, input.clone(), &self.frame_of(&input))?;
        for pass in 0.. {
            assert!(pass <= backstay_kernel::limits::ADVANCES_MAX, "advance does not fall silent");
            if pass > 0 && records.is_empty() {
                break;
            }
            for record in records {
                self.apply(&record);
                out.push(record);
            }
            records = decide(&self.session, Input::Advance, &self.frame_of(&Input::Advance))?;
        }
        Ok(out)
    }

    /// Like `input`, for what is never refused.
    pub fn tell(&mut self, input: Input) -> Vec<Record> {
        self.input(input).unwrap()
    }

    pub fn advance(&mut self) -> Vec<Record> {
        self.tell(Input::Advance)
    }

    fn apply(&mut self, record: &Record) {
        let states = |session: &Session| -> BTreeMap<EffectId, &'static str> {
            session.effects.iter().map(|(id, open)| (*id, word(&open.state))).collect()
        };
        let before = states(&self.session);
        self.book(record);
        apply(&mut self.session, record);
        let after = states(&self.session);
        for id in before.keys().chain(after.keys()) {
            let (from, to) = (before.get(id).unwrap_or(&"none"), after.get(id).unwrap_or(&"gone"));
            if from != to {
                ARROWS.with_borrow_mut(|seen| seen.insert((*from, record_word(record), *to)));
            }
        }
        self.records.push(record.clone());
    }

    pub fn message(&self, id: u64, mode: Mode) -> Message {
        Message {
            principal: OWNER.to_owned(),
            channel: "api".to_owned(),
            mode,
            quoted: Vec::new(),
            body: body(id),
            typed: None,
        }
    }

    /// A message, and everything up to the running model call.
    pub fn say(&mut self, id: u64) -> Vec<Record> {
        self.send(id, Mode::Queue)
    }

    /// The same, from a person.
    pub fn type_in(&mut self, id: u64) -> Vec<Record> {
        let message = Message { typed: Some(Typed::default()), ..self.message(id, Mode::Queue) };
        let mut records = self.tell(Input::Message(message));
        records.extend(self.settle());
        records
    }

    pub fn send(&mut self, id: u64, mode: Mode) -> Vec<Record> {
        let message = self.message(id, mode);
        let mut records = self.tell(Input::Message(message));
        records.extend(self.settle());
        records
    }

    /// Gives every preparation and inspection its result, until none is open or has news.
    pub fn settle(&mut self) -> Vec<Record> {
        let mut out = self.advance();
        loop {
            let inputs: Vec<Input> = self.open().iter().filter_map(|effect| self.pure(effect)).collect();
            let news: Vec<Record> = inputs.into_iter().flat_map(|input| self.tell(input)).collect();
            if news.is_empty() {
                return out;
            }
            out.extend(news);
        }
    }

    fn pure(&self, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Prepare { id, .. } => Some(Input::Prepared { effect: *id, request: self.request() }),
            Effect::Inspect { id, call } => {
                let class = self.policy.tools.get(call.tool.as_ref()?)?.class;
                let facts = match self.goes.clone() {
                    Some((class, to)) => Facts { destination: Some(to), ..Facts::new(class, Vec::new()) },
                    None => Facts::new(class, Vec::new()),
                };
                let named = Named { arguments: self.arguments_of(call), ..Named::default() };
                Some(Input::Inspected { effect: *id, inspection: Inspection::Facts(facts), named })
            }
            Effect::Probe { .. } | Effect::Model { .. } | Effect::Tool { .. } => None,
        }
    }

    /// As the engine names them, where a yes stands.
    pub fn arguments_of(&self, call: &CallRef) -> Option<Digest> {
        let number = call.repeat.0[1];
        arguments(call.tool.as_deref()?, &format!("{{\"n\":{number}}}")).filter(|_| !self.standing.is_empty())
    }

    pub fn request(&self) -> Request {
        Request { rope: body(900), digest: Digest::default(), bytes: self.request_bytes, bytes_unchanged: 0 }
    }

    pub fn open(&self) -> Vec<Effect> {
        open_effects(&self.session, &self.frame())
    }

    pub fn head(&self) -> backstay_kernel::Head {
        backstay_kernel::head(&self.session)
    }

    /// The outcome of a started effect.
    pub fn outcome(&mut self, effect: EffectId, outcome: Outcome) -> Vec<Record> {
        let State::Started { seq, .. } = self.effect(effect).state else { panic!("{effect:?} is not started") };
        let mut records = self.tell(Input::Ended { effect, started: seq, outcome, connections: Vec::new() });
        records.extend(self.settle());
        records
    }

    /// The tool of a call, ended or not.
    pub fn tool_of(&self, id: EffectId) -> &str {
        let at = usize::try_from(id.0).unwrap() - 1;
        let Record::Planned(backstay_kernel::record::Planned::Tool { call, .. }) = &self.records[at] else { panic!() };
        call.tool.as_deref().unwrap()
    }

    pub fn effect(&self, id: EffectId) -> &Open {
        &self.session.effects[&id]
    }

    /// The open model call.
    pub fn model(&self) -> EffectId {
        let is_model = |open: &Open| matches!(open.work, Work::Model { .. });
        *self.session.effects.iter().find(|(_, open)| is_model(open)).expect("a model call").0
    }

    /// The latest open call of this tool.
    pub fn call(&self, tool: &str) -> EffectId {
        let of_tool = |open: &Open| matches!(&open.work, Work::Tool { call, .. } if call.tool.as_deref() == Some(tool));
        *self.session.effects.iter().rfind(|(_, open)| of_tool(open)).expect("a call").0
    }

    /// The model replies with these calls (tool, arguments by number), or, without any, with text.
    pub fn reply(&mut self, calls: &[(&str, u8)]) -> Vec<Record> {
        let mut records = self.only_reply(calls);
        records.extend(self.settle());
        records
    }

    /// The same; the calls are not looked at yet.
    pub fn only_reply(&mut self, calls: &[(&str, u8)]) -> Vec<Record> {
        let stored = body(700 + self.session.seq.0);
        let calls = calls.iter().zip(0..).map(|((tool, arguments), index)| CallRef {
            calls: stored,
            index,
            tool: self.policy.tools.contains_key(*tool).then(|| (*tool).to_owned()),
            repeat: repeat(tool, *arguments),
        });
        let calls: Vec<_> = calls.collect();
        let outcome = Outcome::Replied {
            text: calls.is_empty().then(|| body(800)),
            finish: if calls.is_empty() { Finish::Stop } else { Finish::Calls },
            calls,
            usage: Some(Usage { uncached: 50, output: 10, ..Usage::default() }),
        };
        let effect = self.model();
        let State::Started { seq: started, .. } = self.effect(effect).state else {
            panic!("{effect:?} is not started")
        };
        self.tell(Input::Ended { effect, started, outcome, connections: Vec::new() })
    }

    pub fn fails(&mut self, class: FailureClass, retry_at: Option<Millis>, jitter_permille: u64) -> Vec<Record> {
        let failure = Failure { class, retry_at, detail: body(801), billed: false, jitter_permille };
        self.outcome(self.model(), Outcome::ModelFailed(failure))
    }

    pub fn done(&mut self, effect: EffectId, result: u8) -> Vec<Record> {
        let repeat = RepeatKey([result; 8]);
        self.outcome(
            effect,
            Outcome::Done {
                result: body(600 + u64::from(result)),
                spill: None,
                repeat,
                label: Label::NOTHING,
                created: None,
            },
        )
    }

    pub fn failed(&mut self, effect: EffectId) -> Vec<Record> {
        self.outcome(effect, Outcome::Failed { result: body(600), repeat: RepeatKey([9; 8]), label: Label::NOTHING })
    }

    pub fn probed(&mut self, effect: EffectId, found: Probed) -> Vec<Record> {
        self.tell(Input::Probed { effect, found })
    }

    pub fn decide(&mut self, effect: EffectId, approve: bool) -> Result<Vec<Record>, Refusal> {
        self.decide_as(effect, approve, (OWNER, Speaks::Program))
    }

    pub fn decide_as(
        &mut self,
        effect: EffectId,
        approve: bool,
        (by, speaks): (&str, Speaks),
    ) -> Result<Vec<Record>, Refusal> {
        let State::Asked { digest, .. } = self.effect(effect).state else { panic!("{effect:?} is not asked") };
        let by = by.to_owned();
        self.input(Input::Decide(Decide {
            effect,
            digest,
            approve,
            by,
            role: Role::Owner,
            channel: "cli".into(),
            speaks,
            note: None,
        }))
    }

    /// A yes to a call that nobody was asked about yet.
    pub fn decide_parked(&mut self, effect: EffectId) -> Result<Vec<Record>, Refusal> {
        let (by, role, channel) = (OWNER.to_owned(), Role::Owner, "cli".into());
        let (digest, speaks) = (Digest::default(), Speaks::Human);
        self.input(Input::Decide(Decide { effect, digest, approve: true, by, role, channel, speaks, note: None }))
    }

    pub fn resolve(&mut self, effect: EffectId, resolution: Resolution) -> Result<Vec<Record>, Refusal> {
        self.input(Input::Resolve { effect, resolution, by: OWNER.to_owned(), note: body(802) })
    }

    pub fn cancel(&mut self) -> Vec<Record> {
        self.tell(Input::Cancel { turn: None, by: OWNER.to_owned() })
    }

    /// The process dies and another begins; everything recorded so far was durable.
    pub fn crash(&mut self) -> Vec<Record> {
        self.boot += 1;
        self.settle()
    }

    pub fn start(&self, effect: EffectId) -> Result<backstay_kernel::Permit, backstay_kernel::Bounce> {
        backstay_kernel::start(&self.session, effect, &self.frame())
    }

    pub fn narrow(&mut self, rule: Rule) {
        self.policy.epoch += 1;
        self.agent().rules.push(rule);
    }

    /// The one ledger window, and what others have settled and reserved in it.
    pub fn window(&mut self, most: u64, settled: u64, reserved: u64) {
        let window = Window { key: "home/day/2026-11-21".to_owned(), ceiling: tokens(most) };
        let amount = |tokens| Amount { tokens, micro_usd: 0 };
        let used = Used { settled: amount(settled), reserved: amount(reserved) };
        self.allowance = vec![WindowState { window, used }];
    }

    /// The ends of all turns so far.
    pub fn ends(&self) -> Vec<&TurnEnded> {
        let ends = self.records.iter().filter_map(|record| match record {
            Record::TurnEnded(ended) => Some(ended),
            _ => None,
        });
        ends.collect()
    }

    #[track_caller]
    pub fn assert_ended(&self, reason: StopReason) {
        assert_eq!(self.ends().last().map(|end| end.reason), Some(reason), "{:?}", self.records);
        assert_eq!(self.session.turn, None);
    }

    /// Every reply with calls is followed by its results.
    #[track_caller]
    pub fn assert_paired(&self) {
        let items: Vec<&Item> = self.session.context().collect();
        for (place, item) in items.iter().enumerate() {
            if let Item::Assistant { calls: Some(calls), .. } = item {
                assert!(
                    matches!(items.get(place + 1), Some(Item::Results { calls: of, .. }) if of == calls),
                    "{items:?}"
                );
            }
        }
    }
}

pub fn repeat(tool: &str, arguments: u8) -> RepeatKey {
    let first = tool.bytes().next().unwrap_or(0);
    RepeatKey([first, arguments, 0, 0, 0, 0, 0, 0])
}

/// Of a call of this number; another number chooses something else.
pub fn warrant(from: Seq, number: u8) -> Warrant {
    Warrant { from, tuple: repeat("tool", 0), values: Some(vec![repeat("values", number)]) }
}

/// What tells this call from others of its tool.
pub fn tuple(values: &Values, class: EffectClass) -> Tuple {
    let key = |text: &String| {
        let Digest(bytes) = Digest::of("value", &[text.as_bytes()]);
        RepeatKey(bytes[..8].try_into().unwrap())
    };
    Tuple { tool: repeat("tool", 0), values: values.choice(class).iter().map(key).collect() }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Planned => "planned",
        State::Asked { .. } => "asked",
        State::Parked { .. } => "parked",
        State::Ready => "ready",
        State::Question => "question",
        State::Started { overdue: false, .. } => "started",
        State::Started { overdue: true, .. } => "overdue",
        State::Unfunded { .. } => "unfunded",
        State::Backoff { provider_wait: false, .. } => "backoff",
        State::Backoff { provider_wait: true, .. } => "provider",
        State::Probing => "probing",
        State::Doubt => "doubt",
    }
}

pub fn record_word(record: &Record) -> &'static str {
    match record {
        Record::Opened(_) => "opened",
        Record::Admitted(_) => "admitted",
        Record::TurnStarted(_) => "turn_started",
        Record::Entered { .. } => "entered",
        Record::Windowed { .. } => "windowed",
        Record::Planned(_) => "planned",
        Record::Judged(_) => "judged",
        Record::Decided { .. } => "decided",
        Record::Edited { .. } => "edited",
        Record::Answered { .. } => "answered",
        Record::Started(_) => "started",
        Record::Unfunded { .. } => "unfunded",
        Record::Overdue { .. } => "overdue",
        Record::Bounced { .. } => "bounced",
        Record::Retried(_) => "retried",
        Record::Lapsed { .. } => "lapsed",
        Record::Connected { .. } => "connected",
        Record::Created { .. } => "created",
        Record::Scoped(_) => "scoped",
        Record::Doubted { .. } => "doubted",
        Record::Resolved { .. } => "resolved",
        Record::Ended(_) => "ended",
        Record::Cancelled { .. } => "cancelled",
        Record::TurnEnded(_) => "turn_ended",
        Record::Stopped { .. } => "stopped",
        Record::Resumed { .. } => "resumed",
        Record::Lineage { .. } => "lineage",
    }
}
