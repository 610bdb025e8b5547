//! A yes for longer than once: to one exact call of one agent, for one person, until a day.
//!
//! It is an exception of the rule that asked, or, where no rule did, of its class asking; no other rule, no
//! limit and no information flow is lifted by it.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Probe};
use crate::flow::Named;
use crate::frame::Frame;
use crate::home::Speaks;
use crate::id::{Digest, EffectId, Millis, Place};
use crate::limits::STANDING_MS_MAX;
use crate::policy::Policy;
use crate::record::Reason;
use crate::refusal::{Code, Refusal};
use crate::rule::{Rule, RuleVerdict};
use crate::session::{Session, State, Work};
use crate::subject::{self, Ruling, Subject};
use crate::tool::EffectClass;

/// Granted to a person's word, in the home's journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The ask that it was said to.
    pub id: String,
    pub agent: String,
    /// For whom the agent works when it makes the call.
    pub principal: String,
    pub tool: String,
    /// The rule that asked, as it was then; absent where its class did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<AskedBy>,
    pub arguments: Digest,
    pub facts: FactsThen,
    pub at: Millis,
    pub until: Millis,
    pub by: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedBy {
    pub name: String,
    /// Of all that it says; where it stands does not matter.
    pub digest: Digest,
}

impl AskedBy {
    fn of(rule: &Rule) -> Self {
        let text = serde_json::to_string(&Rule { line: 0, ..rule.clone() }).unwrap_or_default();
        Self { name: rule.name.clone(), digest: Digest::of("backstay rule v1", &[text.as_bytes()]) }
    }
}

/// What a call was when somebody looked at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsThen {
    /// Of all but what was in the file that it writes.
    digest: Digest,
    /// What was in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Digest>,
}

impl FactsThen {
    fn of(facts: &Facts) -> Self {
        let probe = facts.probe.map(|probe| Probe { before: None, ..probe });
        let digest = Facts { probe, ..facts.clone() }.digest();
        Self { digest, before: facts.probe.and_then(|probe| probe.before) }
    }

    /// The same call over the same file, or over what the call itself leaves there: what anybody else has put
    /// in its place is not overwritten unseen.
    fn covers(&self, facts: &Facts) -> bool {
        let now = Self::of(facts);
        let own = facts.probe.is_some_and(|probe| now.before == Some(probe.after));
        now.digest == self.digest && (now.before == self.before || own)
    }
}

/// Names the arguments of a call, whatever their order; none, where they are no arguments.
#[must_use]
pub fn arguments(tool: &str, arguments: &str) -> Option<Digest> {
    let given: serde_json::Map<String, serde_json::Value> = serde_json::from_str(arguments).ok()?;
    let canonical = serde_json::to_string(&given).ok()?;
    Some(Digest::of("backstay arguments v1", &[tool.as_bytes(), canonical.as_bytes()]))
}

/// All of the call is in its arguments and facts: nothing runs that could do otherwise the next time.
fn is_exact(facts: &Facts) -> bool {
    let class = match facts.class {
        EffectClass::Read | EffectClass::Write | EffectClass::Send => true,
        EffectClass::Execute | EffectClass::Spend => false,
    };
    class && !facts.more_paths && facts.programs.is_empty() && facts.network.is_empty()
}

/// The standing yeses that were said to just this call.
pub(crate) fn of_call<'f>(
    session: &Session,
    tool: &str,
    facts: &Facts,
    named: &Named,
    frame: &'f Frame<'_>,
) -> Vec<&'f Standing> {
    let principal = session.turn.as_ref().map(|turn| turn.principal.as_str());
    let is_of = |standing: &&Standing| {
        standing.until > frame.now
            && (&standing.agent, standing.tool.as_str()) == (&session.agent, tool)
            && Some(standing.principal.as_str()) == principal
            && named.arguments == Some(standing.arguments)
            && is_exact(facts)
            && standing.facts.covers(facts)
    };
    frame.standing.iter().filter(is_of).collect()
}

/// What the rules say where these stand, and the one by which they say less.
pub(crate) fn ruling<'r, 's>(
    rules: Vec<&'r Rule>,
    subject: &Subject<'_>,
    standing: &[&'s Standing],
) -> (Ruling<'r>, Option<&'s Standing>) {
    let mut left = rules;
    let mut lifted = None;
    loop {
        let found = subject::ruling(left.iter().copied(), subject);
        let asks = |standing: &&&Standing| found.verdict == RuleVerdict::Ask && standing.is_to(found.rule);
        let Some(standing) = standing.iter().find(asks) else { return (found, lifted) };
        lifted = Some(*standing);
        match found.rule {
            Some(rule) => left.retain(|other| !core::ptr::eq(*other, rule)),
            None => return (Ruling { verdict: RuleVerdict::Allow, rule: None }, lifted),
        }
    }
}

impl Standing {
    /// The question is the one that it answers, and is put to one person still.
    fn is_to(&self, rule: Option<&Rule>) -> bool {
        match (&self.rule, rule) {
            (None, None) => true,
            (Some(then), Some(rule)) => *then == AskedBy::of(rule) && rule.approvers.quorum <= 1,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// What a person asks for who says "always".
pub struct Always<'a> {
    pub effect: EffectId,
    pub digest: Digest,
    /// Of the arguments that were shown.
    pub arguments: Option<Digest>,
    pub until: Millis,
    pub by: &'a str,
    pub speaks: Speaks,
    /// The names in a path that are protected by themselves.
    pub is_protected: &'a dyn Fn(&str) -> bool,
}

/// What a yes to this ask would stand for.
///
/// # Errors
/// A [`Refusal`] where the ask is another by now, or is none that may be answered for longer than once.
pub fn granted(session: &Session, always: &Always<'_>, policy: &Policy, now: Millis) -> Result<Standing, Refusal> {
    let once = |why: &str| {
        Refusal::new(Code::OnlyOnce, format!("a yes to this is for once: {why}"), "approve it without `--always`")
    };
    let open = session.effects.get(&always.effect);
    let Some((Work::Tool { call, judged: Some(judged), .. }, State::Asked { by, approvers, digest, .. })) =
        open.map(|open| (&open.work, &open.state))
    else {
        return Err(Refusal::new(Code::AskClosed, "this approval is used, expired or withdrawn", "backstay approvals"));
    };
    if *digest != always.digest {
        return Err(Refusal::new(
            Code::WrongDigest,
            "the digest is not that of the action that waits",
            "look at the action again and send the digest that it shows",
        ));
    }
    if always.speaks != Speaks::Human {
        return Err(once("only a person says it for longer, and this is a program's word"));
    }
    if always.until <= now || always.until.saturating_sub(now) > STANDING_MS_MAX {
        return Err(once("it must end later than now and within 30 days"));
    }
    let agent = policy.agents.get(&session.agent);
    let rule = match by {
        Reason::ClassDefault => None,
        Reason::Rule(name) => {
            let rule = agent.and_then(|agent| agent.rules.iter().find(|rule| rule.name == *name));
            Some(AskedBy::of(rule.ok_or_else(|| once("its rule is gone"))?))
        }
        Reason::Flow(_) | Reason::Both { .. } => {
            return Err(once("information flow asks, and that is about this time"));
        }
        Reason::Limit(_) => return Err(once("a limit is used up")),
        Reason::Mode { .. } | Reason::NoGrant | Reason::Refused | Reason::Standing(_) => {
            return Err(once("no rule asks"));
        }
    };
    if approvers.quorum > 1 {
        return Err(once("it takes more than one person"));
    }
    let facts = &judged.facts;
    if facts.stays_done() {
        return Err(once("what it does cannot be taken back"));
    }
    if !is_exact(facts) {
        return Err(once("it runs what may do something else the next time"));
    }
    if facts.paths.iter().any(|path| (always.is_protected)(&path.real)) {
        return Err(once("it touches a protected path"));
    }
    let tool = call.tool.clone().ok_or_else(|| once("there is no such tool"))?;
    let principal = session.turn.as_ref().map(|turn| turn.principal.clone());
    Ok(Standing {
        id: Place { session: session.id, seq: always.effect }.to_string(),
        agent: session.agent.clone(),
        principal: principal.ok_or_else(|| once("its turn is over"))?,
        tool,
        rule,
        arguments: always.arguments.ok_or_else(|| once("its arguments are erased"))?,
        facts: FactsThen::of(facts),
        at: now,
        until: always.until,
        by: always.by.into(),
    })
}
