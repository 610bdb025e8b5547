//! Every call that the journal holds a verdict on, with the session as it was when it was judged, and with what is known
//! of all else that a verdict sees: the mode, where the agent had been, what others had taken of limits.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backstay_kernel::budget::{Amount, Used as Taking, Window, WindowState};
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Named, Provenance, wants_provenance};
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::id::{Boot, EffectId, Millis, Place, Seq, SessionId};
use backstay_kernel::limit::{counted, windows};
use backstay_kernel::mode::WorkMode;
use backstay_kernel::policy::Policy;
use backstay_kernel::reached::{Places, Seen, places};
use backstay_kernel::record::{Grounds, Judged, Reason, Record, Started, Used, Verdict};
use backstay_kernel::rule::Field;
use backstay_kernel::session::Work;
use backstay_kernel::subject::Subject;
use backstay_kernel::{Session, apply};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::commands::conversation::{list, number, text};
use crate::exit::{Failure, Outcome};

/// Sessions, and records, that one request asks for.
const SESSIONS: usize = 100;
const RECORDS: usize = 1000;

pub struct Past<'a> {
    pub session: &'a Session,
    pub at: Millis,
    pub effect: EffectId,
    pub call: &'a CallRef,
    pub facts: &'a Facts,
    pub judged: &'a Judged,
}

impl Past<'_> {
    pub fn place(&self) -> String {
        Place { session: self.session.id, seq: self.effect }.to_string()
    }

    /// All that it may have been judged by, as far as its record leaves that open.
    pub fn frames<'p>(&self, policy: &'p Policy, named: &Named, taken: &Taken) -> Vec<Frame<'p>> {
        let used = |key: &str| taken.before(key, self.at, (self.session.id, self.session.seq));
        let of = |moment: &Moment| frame(self.session, (self.call, self.facts, named), policy, moment, used);
        self.moments(policy).iter().map(of).collect()
    }

    /// What may have been known of its values. Where they came from is recorded where the gate or a rule wanted to know.
    pub fn named(&self, policy: &Policy) -> Vec<Named> {
        let named = self.judged.grounds.as_deref().map(Grounds::named).unwrap_or_default();
        let is_told = named.provenance.is_some() || self.facts.is_opaque();
        if is_told || !wants_provenance(self.session, self.call.tool.as_deref(), self.facts, policy) {
            return vec![named];
        }
        let mut sets = vec![BTreeSet::new()];
        for one in Provenance::ALL {
            let with: Vec<_> = sets.iter().cloned().map(|set| set.into_iter().chain([one]).collect()).collect();
            sets.extend(with);
        }
        sets.into_iter().map(|set| Named { provenance: Some(set), ..named.clone() }).collect()
    }

    /// A mode is a switch beside the policy: where nothing tells of one, and no rule looks at it, there was none.
    fn moments(&self, policy: &Policy) -> Vec<Moment> {
        let used = || self.judged.grounds.iter().flat_map(|grounds| &grounds.used);
        let looked_at = used().find_map(|fact| if let Used::Mode(mode) = fact { Some(*mode) } else { None });
        let was_held_back =
            if let Some(Reason::Mode { mode, .. }) = self.judged.verdict.by() { Some(*mode) } else { None };
        let mut rules = policy.agents.get(&self.session.agent).into_iter().flat_map(|agent| agent.rules.iter());
        let matters = rules.any(|rule| rule.fields().any(|field| field == Field::Mode));
        let is_denied = matches!(self.judged.verdict, Verdict::Deny { .. });
        let may_be = |mode: &WorkMode| match was_held_back.or(looked_at) {
            Some(known) => *mode == known,
            None if matters => is_denied || !mode.holds_back(self.facts.class),
            None => *mode == WorkMode::Normal,
        };
        let seen = used().find_map(|fact| if let Used::Seen(seen) = fact { *seen } else { None });
        let reached = may_have_reached(self.call.tool.as_deref(), self.facts);
        let reached: Vec<_> =
            reached.into_iter().filter(|(as_seen, _)| seen.is_none_or(|seen| seen == *as_seen)).collect();
        let at = |mode| reached.iter().map(move |(_, reached)| Moment { at: self.at, mode, reached: reached.clone() });
        WorkMode::ALL.into_iter().filter(may_be).flat_map(at).collect()
    }
}

/// What a verdict sees of its moment, besides the session and limits.
#[derive(Default)]
pub struct Moment {
    pub at: Millis,
    pub mode: WorkMode,
    pub reached: Arc<Places>,
}

/// Where an agent may have been before a call, as far as a rule could tell.
pub fn may_have_reached(tool: Option<&str>, facts: &Facts) -> Vec<(Seen, Arc<Places>)> {
    let places = tool.and_then(|tool| places(tool, facts)).unwrap_or_default();
    let known = |seen| match seen {
        Seen::Never => Places::new(),
        Seen::Allowed => places.iter().map(|place| (place.clone(), false)).collect(),
        Seen::Approved => places.iter().map(|place| (place.clone(), true)).collect(),
    };
    let all = Seen::ALL.into_iter().filter(|seen| !places.is_empty() || *seen == Seen::Never);
    all.map(|seen| (seen, Arc::new(known(seen)))).collect()
}

/// What a verdict may see; `used`: of a limit's row.
pub fn frame<'p>(
    session: &Session,
    (call, facts, named): (&CallRef, &Facts, &Named),
    policy: &'p Policy,
    moment: &Moment,
    used: impl Fn(&str) -> u64,
) -> Frame<'p> {
    let mut frame = Frame {
        now: moment.at,
        boot: Boot(0),
        policy,
        switches: Switches { mode: moment.mode, ..Switches::default() },
        slots: Slots { model: 0, tool: 0 },
        allowance: Vec::new(),
        standing: Vec::new(),
        reached: moment.reached.clone(),
    };
    let rules = policy.agents.get(&session.agent).map(|agent| agent.rules.as_slice()).unwrap_or_default();
    let subject = call.tool.as_deref().and_then(|tool| Subject::of(session, tool, (facts, named), &frame));
    let windows = subject.map(|subject| windows(rules, &subject)).unwrap_or_default();
    let state = |window: Window| {
        let settled = Amount { tokens: used(&window.key), micro_usd: 0 };
        WindowState { window, used: Taking { settled, ..Taking::default() } }
    };
    frame.allowance = windows.into_iter().map(state).collect();
    frame
}

/// What the calls of the journal took of limits, by the rows of a ledger.
#[derive(Default)]
pub struct Taken(BTreeMap<String, Vec<Share>>);

struct Share {
    at: Millis,
    by: (SessionId, Seq),
    units: u64,
}

impl Taken {
    /// Of the limits of a policy: of a row that was booked what was booked, of another one what would have been.
    pub async fn of(client: &Client, policy: &Policy) -> Outcome<Self> {
        let (mut taken, mut verdicts) = (Self::default(), BTreeMap::new());
        walk(client, |session, record, _| {
            if let Record::Judged(judged) = record {
                verdicts.insert((session.id, judged.effect), judged.clone());
            }
            if let Record::Started(started) = record
                && let Some(judged) = verdicts.remove(&(session.id, started.effect))
            {
                taken.add(session, started, &judged, policy);
            }
        })
        .await?;
        Ok(taken)
    }

    fn add(&mut self, session: &Session, started: &Started, judged: &Judged, policy: &Policy) {
        let open = session.effects.get(&started.effect).filter(|open| !open.is_counted);
        let (Some(Work::Tool { call, .. }), Some(facts)) = (open.map(|open| &open.work), &judged.facts) else { return };
        let (at, effect) = (started.at, started.effect);
        let past = Past { session, at, effect, call, facts, judged };
        let booked = started.counted.iter().map(|counted| (counted.window.clone(), counted.units));
        let mut rows: BTreeMap<String, u64> = booked.collect();
        let rules = policy.agents.get(&session.agent).map(|agent| agent.rules.as_slice()).unwrap_or_default();
        let moment = past.moments(policy).into_iter().next().unwrap_or_default();
        let named = judged.grounds.as_deref().map(Grounds::named).unwrap_or_default();
        let frame = frame(session, (call, facts, &named), policy, &moment, |_| 0);
        let subject = call.tool.as_deref().and_then(|tool| Subject::of(session, tool, (facts, &named), &frame));
        for row in subject.map(|subject| counted(rules, &subject, false)).unwrap_or_default() {
            rows.entry(row.window).or_insert(row.units);
        }
        for (key, units) in rows {
            self.0.entry(key).or_default().push(Share { at, by: (session.id, session.seq.next()), units });
        }
    }

    /// What stood in a row before the next record of a session, at this time.
    fn before(&self, key: &str, at: Millis, (session, seq): (SessionId, Seq)) -> u64 {
        let is_before = |share: &&Share| if share.by.0 == session { share.by.1 <= seq } else { share.at < at };
        let shares = self.0.get(key).into_iter().flatten();
        shares.filter(is_before).fold(0, |sum: u64, share| sum.saturating_add(share.units))
    }
}

/// Calls that no policy has decided (wrong arguments, repeats, what a person had refused before) are passed over.
pub async fn each(client: &Client, mut seen: impl FnMut(&Past<'_>)) -> Outcome<()> {
    walk(client, |session, record, at| {
        if let Record::Judged(judged) = record
            && judged.verdict.by() != Some(&Reason::Refused)
            && let Some(facts) = &judged.facts
            && let Some(Work::Tool { call, .. }) = session.effects.get(&judged.effect).map(|open| &open.work)
        {
            seen(&Past { session, at, effect: judged.effect, call, facts, judged });
        }
    })
    .await
}

/// Every record of every session, with the session before it.
async fn walk(client: &Client, mut seen: impl FnMut(&Session, &Record, Millis)) -> Outcome<()> {
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/api/sessions?limit={SESSIONS}{after}")).await?;
        for item in list(&page, "sessions") {
            of_session(client, text(item, "session"), &mut seen).await?;
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(()),
        }
    }
}

async fn of_session(client: &Client, name: &str, seen: &mut impl FnMut(&Session, &Record, Millis)) -> Outcome<()> {
    let id = SessionId::parse(name).ok_or_else(|| Failure::fault(format!("`{name}` is no session")))?;
    let mut session = Session::new(id);
    let mut after = 0;
    loop {
        let page = client.get(&format!("/api/sessions/{name}/records?after={after}&limit={RECORDS}")).await?;
        for item in list(&page, "records") {
            let record = record(item)?;
            seen(&session, &record, number(item, "at"));
            apply(&mut session, &record);
        }
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// A record as the API shows it, in its stored form `{kind: body}`.
fn record(item: &Value) -> Outcome<Record> {
    let body = item.get("body").cloned().unwrap_or(Value::Null);
    let stored = Map::from_iter([(text(item, "kind").to_owned(), body)]);
    let read = serde_json::from_value(Value::Object(stored));
    read.map_err(|error| Failure::fault(format!("a record cannot be read: {error}")))
}
