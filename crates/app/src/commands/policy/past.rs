//! Every call that the journal holds a verdict on, with the session as it was when it was judged.
use backstay_kernel::budget::{Used, WindowState};
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::Facts;
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::id::{Boot, EffectId, Millis, Place, SessionId};
use backstay_kernel::limit::windows;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Judged, Reason, Record};
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
}

impl Past<'_> {
    /// As it was: what others had taken of limits is not looked up again, so one is used up where the
    /// verdict of then says so.
    pub fn frame<'p>(&self, policy: &'p Policy) -> Frame<'p> {
        let mut frame = frame(self.session, self.call, self.facts, policy, self.at);
        let by = self.judged.verdict.by();
        if let Some(Reason::Limit(rule)) = by {
            let of_rule = format!("/{rule}");
            for state in frame.allowance.iter_mut().filter(|state| state.window.key.ends_with(&of_rule)) {
                state.used.settled.tokens = u64::MAX;
            }
        }
        frame
    }
}

/// What a verdict of that moment may see, where nobody has taken anything of a limit yet.
pub fn frame<'p>(session: &Session, call: &CallRef, facts: &Facts, policy: &'p Policy, at: Millis) -> Frame<'p> {
    let (slots, switches) = (Slots { model: 0, tool: 0 }, Switches::default());
    let mut frame = Frame {
        now: at,
        boot: Boot(0),
        policy,
        switches,
        slots,
        allowance: Vec::new(),
        standing: Vec::new(),
        reached: std::sync::Arc::default(),
    };
    let rules = policy.agents.get(&session.agent).map(|agent| agent.rules.as_slice()).unwrap_or_default();
    let subject = call.tool.as_deref().and_then(|tool| Subject::of(session, tool, facts, &frame));
    let windows = subject.map(|subject| windows(rules, &subject)).unwrap_or_default();
    frame.allowance = windows.into_iter().map(|window| WindowState { window, used: Used::default() }).collect();
    frame
}

/// Calls that no policy has decided (wrong arguments, repeats, what a person had refused before) are passed over.
pub async fn each(client: &Client, mut seen: impl FnMut(&Past<'_>)) -> Outcome<()> {
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

async fn of_session(client: &Client, name: &str, seen: &mut impl FnMut(&Past<'_>)) -> Outcome<()> {
    let id = SessionId::parse(name).ok_or_else(|| Failure::fault(format!("`{name}` is no session")))?;
    let mut session = Session::new(id);
    let mut after = 0;
    loop {
        let page = client.get(&format!("/api/sessions/{name}/records?after={after}&limit={RECORDS}")).await?;
        for item in list(&page, "records") {
            let record = record(item)?;
            if let Record::Judged(judged) = &record
                && judged.verdict.by() != Some(&Reason::Refused)
                && let Some(facts) = &judged.facts
                && let Some(Work::Tool { call, .. }) = session.effects.get(&judged.effect).map(|open| &open.work)
            {
                let at = number(item, "at");
                seen(&Past { session: &session, at, effect: judged.effect, call, facts, judged });
            }
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
