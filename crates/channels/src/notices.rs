//! What waits for somebody outside, as one list: each thing once, under an id that stays the same over a restart.
//! It is read off the same state as the approvals, the doubts and the status, whenever that may have changed, so
//! nothing of it can be lost or pile up. It holds names of the config and nothing that a model or a person said.
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backstay_engine::{Short, StoreError};
use backstay_kernel::Session;
use backstay_kernel::id::{Digest, Millis, Place, Seq, SessionId};
use backstay_kernel::record::{Decision, Record, Resolution};
use backstay_kernel::session::{State, Work};
use backstay_kernel::tool::EffectClass;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::door::Door;
use crate::error::Problem;
use crate::limits::{NOTICE_ID_CHARS, NOTICES_LOOK};
use crate::rows::Row;
use crate::waits::{self, Waiting};

/// The most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The journal cannot be written: nothing goes on.
    Journal,
    /// The disk has too little room for anything new.
    Disk,
    Approval,
    Question,
    Doubt,
    /// Turns of an agent end or wait, since a budget has no room.
    Budget,
    /// Turns of an agent wait for its model's provider, after all tries.
    Provider,
}

impl NoticeKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Disk => "disk",
            Self::Approval => "approval",
            Self::Question => "question",
            Self::Doubt => "doubt",
            Self::Budget => "budget",
            Self::Provider => "provider",
        }
    }

    /// The command that shows it.
    fn see(self) -> &'static str {
        match self {
            Self::Journal | Self::Disk => "backstay doctor",
            Self::Approval => "backstay approvals",
            Self::Doubt => "backstay doubts",
            Self::Budget => "backstay budget",
            Self::Question | Self::Provider => "backstay status",
        }
    }
}

/// One thing that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// Of the notice alone: nothing can be answered by it.
    pub id: String,
    pub kind: NoticeKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<EffectClass>,
    pub since: Millis,
    /// When it ends without anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    pub see: &'static str,
    #[serde(skip)]
    place: Option<Place>,
}

impl Notice {
    fn new(lineage: u64, kind: NoticeKind, since: Millis, parts: &[&[u8]]) -> Self {
        let all: Vec<&[u8]> = [kind.word().as_bytes()].into_iter().chain(parts.iter().copied()).collect();
        let mut id = Digest::of(&format!("backstay notice v1 {lineage}"), &all).to_string();
        id.truncate(NOTICE_ID_CHARS);
        let (session, agent, tool, class) = (None, None, None, None);
        Self { id, kind, session, agent, tool, class, since, expires_at: None, see: kind.see(), place: None }
    }
}

/// What was read of each session that waits, so that only one that moved is folded again.
#[derive(Debug, Default)]
pub struct Notices(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, (Seq, Found)>,
    /// Since when an agent's turns wait for the provider without a break.
    outages: BTreeMap<String, Millis>,
    /// What the journal suffers, and since when.
    trouble: Option<(NoticeKind, Millis)>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    own: Vec<Notice>,
    /// Since when the provider fails.
    failing: Option<Millis>,
    /// Until when money is waited for.
    unfunded: Option<Millis>,
}

impl Door {
    /// Everything that waits, the most urgent first. Waits for the disk.
    fn read_notices(&self) -> Result<Vec<Notice>, Problem> {
        let mut known = self.notices.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.engine.now();
        let mut all: Vec<Notice> = self.trouble(&mut known, now).into_iter().collect();
        let rows = match (self.sessions_with_waits(), self.sessions_held_up()) {
            (Ok(people), Ok(held_up)) => people.into_iter().chain(held_up),
            // Where the journal is why, it is told all the same, and what was known still is.
            (Err(problem), _) | (_, Err(problem)) if all.is_empty() => return Err(problem),
            (Err(_), _) | (_, Err(_)) => {
                all.extend(known.sessions.values().flat_map(|(_, found)| found.own.iter().cloned()));
                return Ok(all);
            }
        };
        let mut before = std::mem::take(&mut known.sessions);
        let mut groups = Groups { short: self.engine.short(), ..Groups::default() };
        for row in rows {
            if known.sessions.contains_key(&row.session) {
                continue;
            }
            let found = match before.remove(&row.session) {
                Some((seq, found)) if seq == row.seq => found,
                seen => match self.read_session(&row, seen, now) {
                    Ok(found) => found,
                    // One that cannot be read hides no other.
                    Err(problem) => {
                        tracing::error!(session = %row.session, problem = problem.message, "its waits cannot be read");
                        continue;
                    }
                },
            };
            groups.take(&row, &found);
            all.extend(found.own.iter().filter(|notice| notice.expires_at.is_none_or(|at| at > now)).cloned());
            known.sessions.insert(row.session, (row.seq, found));
        }
        all.extend(groups.notices(self.engine.store().lineage(), &mut known.outages));
        all.sort_by(|a, b| (a.kind, a.since, &a.id).cmp(&(b.kind, b.since, &b.id)));
        Ok(all)
    }

    fn trouble(&self, known: &mut Known, now: Millis) -> Option<Notice> {
        let kind = match self.engine.store().writable() {
            Ok(()) | Err(StoreError::Closed) => None,
            Err(StoreError::Full(_)) => Some(NoticeKind::Disk),
            Err(_) => Some(NoticeKind::Journal),
        };
        let same = |kind| known.trouble.filter(|(was, _)| *was == kind).map_or(now, |(_, since)| since);
        known.trouble = kind.map(|kind| (kind, same(kind)));
        // Nothing can be written down of it: a restart makes another of it.
        known
            .trouble
            .map(|(kind, since)| Notice::new(self.engine.store().lineage(), kind, since, &[&since.to_be_bytes()]))
    }

    /// `seen` is what was found up to an earlier record: nothing before that is read again.
    fn read_session(&self, row: &Row, seen: Option<(Seq, Found)>, now: Millis) -> Result<Found, Problem> {
        let state = self.fold(row.session)?;
        let lineage = self.engine.store().lineage();
        let mut found = Found::default();
        for waiting in waits::of_session(&state, now) {
            let (kind, digest) = match &waiting.kind {
                waits::Kind::Approval { digest, .. } => (NoticeKind::Approval, digest.0.as_slice()),
                waits::Kind::Question => (NoticeKind::Question, [].as_slice()),
                waits::Kind::Doubt => (NoticeKind::Doubt, [].as_slice()),
                // Told when somebody is asked.
                waits::Kind::Parked { .. } => continue,
                waits::Kind::Provider { .. } => {
                    let since = state.effects.get(&waiting.effect).and_then(|open| open.failing_since);
                    let since = since.unwrap_or(row.updated_at);
                    found.failing = Some(found.failing.map_or(since, |earlier| earlier.min(since)));
                    continue;
                }
            };
            let known = seen.iter().find_map(|(seq, found)| {
                let same = |notice: &&Notice| notice.kind == kind && notice.place == Some(waiting.place());
                Some((*seq, found.own.iter().find(same)?.since))
            });
            let since = self.since(&waiting, known)?.unwrap_or(row.updated_at);
            // An effect may come to wait again: asked anew, or in doubt once more.
            let parts = [waiting.session.0.as_slice(), &waiting.effect.0.to_be_bytes(), &since.to_be_bytes(), digest];
            let (tool, class) = tool_of(&state, &waiting);
            found.own.push(Notice {
                session: Some(row.session),
                agent: Some(row.agent.clone()),
                tool,
                class,
                expires_at: waiting.until(),
                place: Some(waiting.place()),
                ..Notice::new(lineage, kind, since, &parts)
            });
        }
        let until = state
            .effects
            .values()
            .filter_map(|open| if let State::Unfunded { until } = open.state { Some(until) } else { None });
        found.unfunded = until.max();
        Ok(found)
    }

    /// The time of the record that made it wait; `known` is what it was at an earlier record.
    fn since(&self, waiting: &Waiting, known: Option<(Seq, Millis)>) -> Result<Option<Millis>, Problem> {
        let (mut after, mut at) = (Seq(waiting.effect.0.saturating_sub(1)), None);
        if let Some((seq, since)) = known {
            (after, at) = (seq, Some(since));
        }
        self.reader.each(waiting.session, after, |placed| {
            let makes = matches!(&placed.record, Record::Planned(_) if placed.seq == waiting.effect)
                || matches!(&placed.record, Record::Judged(judged) if judged.effect == waiting.effect)
                || matches!(&placed.record, Record::Doubted { effect, .. } if *effect == waiting.effect);
            at = if makes { Some(placed.at) } else { at };
            Ok::<_, Problem>(ControlFlow::Continue(()))
        })?;
        Ok(at)
    }

    /// How what a notice spoke of came to its end, in one word.
    fn how(&self, notice: &Notice) -> Result<&'static str, Problem> {
        let Some(place) = notice.place else { return Ok("over") };
        let mut how = "over";
        self.reader.each(place.session, place.seq, |placed| {
            if let Record::Decided { effect, decision, .. } = &placed.record
                && *effect == place.seq
            {
                how = match decision {
                    Decision::Approve => "approved",
                    Decision::Deny => "denied",
                    Decision::Expire => "expired",
                };
            }
            if matches!(&placed.record, Record::Edited { effect, .. } if *effect == place.seq) {
                how = "edited";
            }
            if matches!(&placed.record, Record::Answered { effect, .. } if *effect == place.seq) {
                how = "answered";
            }
            if let Record::Resolved { effect, resolution, .. } = &placed.record
                && *effect == place.seq
            {
                how = match resolution {
                    Resolution::Done => "done",
                    Resolution::NotDone => "not done",
                    Resolution::Retry => "tried again",
                };
            }
            Ok::<_, Problem>(ControlFlow::Continue(()))
        })?;
        Ok(how)
    }
}

/// As the policy names it: a name that the model made up is none.
fn tool_of(state: &Session, waiting: &Waiting) -> (Option<String>, Option<EffectClass>) {
    match state.effects.get(&waiting.effect).map(|open| &open.work) {
        Some(Work::Tool { call, judged, .. }) => (call.tool.clone(), judged.as_ref().map(|judged| judged.facts.class)),
        Some(Work::Model { .. }) | None => (None, None),
    }
}

/// What many sessions wait for together, by agent: one notice each, not one for every turn.
#[derive(Default)]
struct Groups {
    short: Vec<Short>,
    failing: BTreeMap<String, (Millis, SessionId)>,
}

impl Groups {
    fn take(&mut self, row: &Row, found: &Found) {
        if let Some(since) = found.failing {
            let first = self.failing.entry(row.agent.clone()).or_insert((since, row.session));
            *first = (*first).min((since, row.session));
        }
        if let Some(until) = found.unfunded
            && !self.short.iter().any(|short| short.agent == row.agent)
        {
            let (agent, session, since) = (row.agent.clone(), row.session, row.updated_at);
            self.short.push(Short { agent, session, since, until });
        }
    }

    fn notices(self, lineage: u64, outages: &mut BTreeMap<String, Millis>) -> Vec<Notice> {
        outages.retain(|agent, _| self.failing.contains_key(agent));
        let failing = self.failing.into_iter().map(|(agent, (since, session))| {
            let since = *outages.entry(agent.clone()).or_insert(since);
            let notice = Notice::new(lineage, NoticeKind::Provider, since, &[agent.as_bytes(), &since.to_be_bytes()]);
            Notice { session: Some(session), agent: Some(agent), ..notice }
        });
        let short = self.short.into_iter().map(|Short { agent, session, since, until }| {
            let notice = Notice::new(lineage, NoticeKind::Budget, since, &[agent.as_bytes(), &until.to_be_bytes()]);
            Notice { session: Some(session), agent: Some(agent), expires_at: Some(until), ..notice }
        });
        failing.chain(short).collect()
    }
}

/// How telling goes, where somebody outside is told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Telling {
    /// Since the process began.
    pub sent: u64,
    pub failed: u64,
    /// What waits and was not taken yet.
    pub untold: usize,
    /// Why the latest try failed; none once another was taken.
    pub last_error: Option<String>,
}

/// The latest word of whoever tells; none where nobody is told.
#[derive(Debug, Default)]
pub struct Told(Mutex<Option<Telling>>);

impl Told {
    pub fn get(&self) -> Option<Telling> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Door {
    /// Says how telling goes, for the status and the metrics.
    pub fn tells(&self, telling: Telling) {
        *self.told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(telling);
    }
}

/// The list, and when to look at it again.
#[derive(Debug)]
pub struct Follower {
    door: Door,
    changes: watch::Receiver<()>,
}

impl Follower {
    #[must_use]
    pub fn new(door: Door) -> Self {
        let changes = door.engine.waits();
        Self { door, changes }
    }

    /// Everything that waits now, the most urgent first.
    ///
    /// # Errors
    /// The journal cannot be read, or is closed.
    pub async fn now(&mut self) -> Result<Vec<Notice>, Problem> {
        self.changes.borrow_and_update();
        self.door.off_thread(Door::read_notices).await
    }

    /// Until `now` may say something else than it did. Where nothing waits, nothing wakes it but a wait.
    pub async fn change(&mut self, seen: &[Notice]) {
        let at = self.door.engine.now();
        let ahead = |until: Millis| Duration::from_millis(until.saturating_sub(at));
        let ends = seen.iter().filter_map(|notice| {
            // Nobody tells when there is room again.
            let is_trouble = matches!(notice.kind, NoticeKind::Journal | NoticeKind::Disk);
            let until = notice.expires_at.filter(|until| *until > at).map(ahead);
            if is_trouble { Some(NOTICES_LOOK) } else { until }
        });
        let first = ends.min();
        tokio::select! {
            changed = self.changes.changed() => if changed.is_err() { std::future::pending::<()>().await },
            () = sleep(first.unwrap_or_default()), if first.is_some() => {}
        }
    }

    /// How what a notice spoke of came to its end, in one word.
    ///
    /// # Errors
    /// Those of [`Follower::now`].
    pub async fn how(&self, notice: Notice) -> Result<&'static str, Problem> {
        self.door.off_thread(move |door| door.how(&notice)).await
    }
}
