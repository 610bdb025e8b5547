//! One state of the small world.
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use backstay_kernel::budget::{Amount, Ceiling, Used, Window, WindowState};
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::home::Home;
use backstay_kernel::id::{Boot, Digest, EffectId, Seq, SessionId};
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Opened, Record};
use backstay_kernel::session::{Session, Work};

use super::hash;
use super::moves::Move;
use super::scope::{CHANNELS, KINDS, Kind, Left, OWNER, Scope, Shared, Unasked};
use super::unasked::Books;

/// Windows end with the hour.
const HOUR_MS: u64 = 3_600_000;
/// When the clock of the small world starts, milliseconds.
const CLOCK_START_MS: u64 = 1_000_000;

/// The journal as a list that shares its past with every state that grew from it.
#[derive(Debug)]
pub struct Link {
    pub records: Vec<Record>,
    pub before: Option<Arc<Link>>,
}

/// A session after some append, with what an independent reader of the records keeps of them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub session: Session,
    pub seen: Seen,
    pub journal: Option<Arc<Link>>,
    pub hash: u64,
}

/// The checks' own reading of the records; the kernel never sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Seen {
    /// Bits: which messages were admitted.
    pub admitted: u8,
    /// Bits by kind: called; approved by a person and not judged since; reported done.
    pub issued: u8,
    pub approved: u8,
    pub done: u8,
    /// Bits by person: who has said yes to what is asked now; how many it takes, and whether one's own yes counts.
    pub yes: u8,
    pub quorum: u32,
    pub but_requester: bool,
    /// Bits by kind: concluded by a person's or a rule's word, not by the world's.
    pub concluded: u8,
    /// Bits by kind: started, and neither ended nor concluded since.
    pub unsettled: u8,
    pub stopped: bool,
    /// Asks that are open, and when each was opened.
    pub asks: Vec<EffectId>,
    pub asked_at: Vec<u64>,
    /// Bits by kind: refused by a person in the open turn; made once more.
    pub refused: u8,
    pub again: u8,
    /// Noes and silences since the latest yes.
    pub noes: u8,
    /// The calls of the open turn.
    pub calls: Vec<(EffectId, Kind)>,
    /// Where the reply of the open turn must go.
    pub route: Option<usize>,
    /// Tokens that the open turn has spent and reserved, and what the call in flight reserved.
    pub spent: u64,
    pub reserved: u64,
    pub in_flight: u64,
    /// Tokens that the session has settled in the window that it shares; a call without a bill at all of it.
    pub settled: u64,
    pub unasked: Books,
}

/// A launched effect of the running process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Running {
    pub effect: EffectId,
    pub started: Seq,
    /// `None`: a model call.
    pub kind: Option<Kind>,
    /// Past its limit; and whether it has had its effect, of which nobody has heard.
    pub overdue: bool,
    pub happened: bool,
}

/// A yes that somebody has said for longer than once: to this call, for whoever the task was of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Given {
    pub kind: Kind,
    /// Place in the list of people.
    pub speaker: usize,
    pub until: u64,
    pub revoked: bool,
}

/// What has really happened, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Happened {
    pub times: u8,
    /// Times that a person ordered it anew.
    pub retries: u8,
    pub key: Option<Digest>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub durable: Arc<Snapshot>,
    /// Appended and not durable yet, oldest first.
    pub pending: Vec<Arc<Snapshot>>,
    pub running: Vec<Running>,
    pub world: [Happened; KINDS],
    /// The home's own journal, and what was last said there.
    pub home: Arc<Home>,
    pub given: Option<Given>,
    /// Place in the list of people of whoever speaks.
    pub speaker: usize,
    pub clock: u64,
    pub boot: u64,
    pub frozen: bool,
    pub narrowed: bool,
    pub left: Left,
    /// The scope's cap.
    pub turn_tokens: Option<u64>,
    pub shared: Option<Shared>,
    pub asks_per_hour: u32,
    pub unasked: Unasked,
    /// What others have reserved in the window is settled: they needed nothing.
    pub others_settled: bool,
    pub depth: u32,
    pub path: Option<Arc<Step>>,
}

/// One move of a path, linked to the one before it.
#[derive(Debug)]
pub struct Step {
    pub made: Move,
    pub before: Option<Arc<Step>>,
}

impl Node {
    #[must_use]
    pub fn first(scope: &Scope) -> Self {
        Self {
            durable: opened(SessionId([7; 10])),
            pending: Vec::new(),
            running: Vec::new(),
            world: [Happened::default(); KINDS],
            home: Arc::default(),
            given: None,
            speaker: 0,
            clock: CLOCK_START_MS,
            boot: 1,
            frozen: false,
            narrowed: false,
            left: scope.left,
            turn_tokens: scope.turn_tokens,
            shared: scope.shared,
            asks_per_hour: scope.asks_per_hour,
            unasked: scope.unasked,
            others_settled: scope.shared.is_none_or(|shared| shared.reserved == 0),
            depth: 0,
            path: None,
        }
    }

    /// Nothing of its session goes on, or waits.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let session = self.session();
        let is_over = session.turn.is_none() && session.queue.is_empty() && session.effects.is_empty();
        is_over && self.pending.is_empty() && self.running.is_empty() && !session.stopped
    }

    /// It is another session that this is about from now on.
    pub fn begin_another(&mut self, who: usize) {
        self.left.sessions -= 1;
        self.speaker = who;
        self.world = [Happened::default(); KINDS];
        self.durable = opened(SessionId([8; 10]));
    }

    /// The session in memory.
    #[must_use]
    pub fn now(&self) -> &Arc<Snapshot> {
        self.pending.last().unwrap_or(&self.durable)
    }

    #[must_use]
    pub fn session(&self) -> &Session {
        &self.now().session
    }

    #[must_use]
    pub fn frame<'a>(&self, policies: &'a [Policy; 2]) -> Frame<'a> {
        let [wide, narrow] = policies;
        Frame {
            now: self.clock,
            boot: Boot(self.boot),
            policy: if self.narrowed { narrow } else { wide },
            switches: Switches { frozen: self.frozen, ..Switches::default() },
            slots: Slots { model: 8, tool: 8 },
            allowance: self.allowance(&self.now().seen),
            standing: self.home.standing.values().cloned().collect(),
            reached: std::sync::Arc::default(),
        }
    }

    /// The shared window; in a later one nobody else holds anything.
    #[must_use]
    pub fn allowance(&self, seen: &Seen) -> Vec<WindowState> {
        let Some(shared) = self.shared else { return Vec::new() };
        let hour = self.clock / HOUR_MS;
        let others = if self.others_settled || hour > 0 { 0 } else { shared.reserved };
        let tokens = |tokens| Amount { tokens, micro_usd: 0 };
        let ceiling = Ceiling { tokens: Some(shared.tokens), micro_usd: None };
        let used = Used { settled: tokens(seen.settled), reserved: tokens(seen.in_flight + others) };
        vec![WindowState { window: Window { key: format!("home/{hour}"), ceiling }, used }]
    }

    #[must_use]
    pub fn hash(&self) -> u64 {
        hash::of(self)
    }

    pub fn happened(&mut self, kind: Kind) -> &mut Happened {
        let [mail, shell, read, post, write, letter, list] = &mut self.world;
        match kind {
            Kind::Mail => mail,
            Kind::Shell => shell,
            Kind::Read => read,
            Kind::Post => post,
            Kind::Write => write,
            Kind::Letter => letter,
            Kind::List => list,
        }
    }

    /// The model has not made this call, or insists on one that a person refused and of which nothing came.
    #[must_use]
    pub fn may_be_called(&self, kind: Kind, insists: bool) -> bool {
        let seen = &self.now().seen;
        let again = insists && seen.refused & !seen.again & kind.bit() != 0 && self.times(kind).times == 0;
        seen.issued & kind.bit() == 0 || again
    }

    #[must_use]
    pub fn times(&self, kind: Kind) -> Happened {
        let [mail, shell, read, post, write, letter, list] = self.world;
        match kind {
            Kind::Mail => mail,
            Kind::Shell => shell,
            Kind::Read => read,
            Kind::Post => post,
            Kind::Write => write,
            Kind::Letter => letter,
            Kind::List => list,
        }
    }
}

fn opened(id: SessionId) -> Arc<Snapshot> {
    let mut session = Session::new(id);
    let opened = Record::Opened(Opened {
        agent: "g".to_owned(),
        principal: OWNER.to_owned(),
        channel: CHANNELS[0].to_owned(),
        title: None,
        lineage: 1,
    });
    backstay_kernel::apply(&mut session, &opened);
    let journal = Some(Arc::new(Link { records: vec![opened], before: None }));
    Arc::new(Snapshot::new(session, Seen::default(), journal))
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.durable.hash);
        for snapshot in &self.pending {
            state.write_u64(snapshot.hash);
        }
        (&self.running, &self.world, self.clock, self.boot, self.given, self.speaker).hash(state);
        (self.frozen, self.narrowed, self.others_settled, self.left).hash(state);
    }
}

impl Snapshot {
    #[must_use]
    pub fn new(session: Session, seen: Seen, journal: Option<Arc<Link>>) -> Self {
        let hash = hash::of(&(&session, &seen));
        Self { session, seen, journal, hash }
    }

    /// Every record since the session was opened.
    #[must_use]
    pub fn records(&self) -> Vec<&Record> {
        let mut links = Vec::new();
        let mut next = self.journal.as_ref();
        while let Some(link) = next {
            links.push(link);
            next = link.before.as_ref();
        }
        links.iter().rev().flat_map(|link| &link.records).collect()
    }
}

/// What kind of call an effect is; `None`: a model call, or not open.
#[must_use]
pub fn kind_of(session: &Session, effect: EffectId) -> Option<Kind> {
    match &session.effects.get(&effect)?.work {
        Work::Model { .. } => None,
        Work::Tool { call, .. } => Kind::of(call.repeat),
    }
}

/// It is a model call that plans.
#[must_use]
pub fn plans(session: &Session, effect: EffectId) -> bool {
    session.effects.get(&effect).is_some_and(|open| matches!(open.work, Work::Model { plans: true, .. }))
}
