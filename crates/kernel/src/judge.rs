//! The gate: what the policy says of one call. Pure; an error, a gap or a doubt is a no (I8).
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::approval::Asking;
use crate::destination::{HostGrant, Method, Reachable};
use crate::facts::{Access, Facts, program_of};
use crate::flow::{Flow, Named, composed, flow};
use crate::frame::Frame;
use crate::id::EffectId;
use crate::policy::{Agent, Policy};
use crate::record::{Grounds, Reason, Verdict};
use crate::rule::{Approvers, Field, RuleVerdict, is_under};
use crate::session::Session;
use crate::standing;
use crate::subject::{Ruling, Subject};
use crate::tool::Manifest;
use crate::{effect::CallRef, limit, limits};

/// What the policy says of a call, and by what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    pub grounds: Grounds,
}

/// Judges one call by its facts, and by what the messages of the task name.
#[must_use]
pub fn judge(
    session: &Session,
    effect: EffectId,
    call: &CallRef,
    facts: &Facts,
    named: &Named,
    frame: &Frame<'_>,
) -> Judgement {
    let agent = frame.policy.agents.get(&session.agent);
    let Named { origins, warrant, is_clear, reads, arguments, entry, packages, provenance } = named.clone();
    let manifest = call.tool.as_deref().and_then(|tool| frame.policy.tools.get(tool));
    let composed = agent.and_then(|agent| composed(session, agent, manifest, facts, named));
    let (policy, used) = (frame.policy.digest, Vec::new());
    let line = None;
    let mut grounds = Grounds {
        policy,
        line,
        used,
        origins,
        warrant,
        is_clear,
        composed,
        reads,
        arguments,
        entry,
        packages,
        provenance,
    };
    // A principal that the policy does not know has no role, and a rule on roles would miss it.
    let granted = agent.filter(|agent| is_granted(agent, call.tool.as_deref(), facts, frame.policy));
    let subject = call.tool.as_deref().and_then(|tool| Subject::of(session, tool, (facts, named), frame));
    let (Some(agent), Some(subject)) = (granted, subject) else {
        return Judgement { verdict: Verdict::Deny { by: Reason::NoGrant }, grounds };
    };
    let stands = standing::of_call(session, subject.tool.unwrap_or_default(), facts, named, frame);
    let (Ruling { verdict, rule }, lifted) = standing::ruling(agent.rules.near(&subject), &subject, &stands);
    let is_counted = session.effects.get(&effect).is_some_and(|open| open.is_counted);
    let passed = if is_counted { None } else { limit::passed(&agent.rules, &subject, &frame.allowance) };
    // A limit speaks where it is stricter than the rules.
    let passed = passed.filter(|(limit, _)| verdict < limit.over.verdict());
    let (verdict, by, rule) = match passed {
        Some((limit, rule)) => (limit.over.verdict(), Reason::Limit(rule.name.clone()), Some(rule)),
        None => (verdict, rule.map_or(Reason::ClassDefault, |rule| Reason::Rule(rule.name.clone())), rule),
    };
    if let Some(rule) = rule {
        grounds.line = Some(rule.line);
        let counted = |field: &Field| passed.is_some_and(|(limit, _)| limit.fields().any(|counted| counted == *field));
        let of_rule = |field: &Field| rule.fields().any(|looked_at| looked_at == *field);
        let fields = Field::ALL.into_iter().filter(|field| of_rule(field) || counted(field));
        grounds.used = fields.map(|field| subject.used(field)).collect();
    }
    let ask = |by, (approvers, expires_ms): (Approvers, u64)| {
        let expires_at = frame.now.saturating_add(expires_ms);
        let (by, approvers, policy) = (&by, &approvers, frame.policy);
        let digest = Asking { session, effect, call, facts, named, by, approvers, expires_at, policy }.digest();
        Verdict::Ask { by: by.clone(), approvers: approvers.clone(), expires_at, digest, at: frame.now }
    };
    let flows = || flow(session, effect, call.tool.as_deref(), facts, named, frame);
    let owners = || (Approvers::owners(), limits::ASK_EXPIRES_MS);
    let of_rule = || rule.map_or_else(owners, |rule| (rule.approvers.clone(), rule.expires_ms));
    let verdict = match (verdict, if verdict == RuleVerdict::Deny { None } else { flows() }) {
        (RuleVerdict::Deny, _) => Verdict::Deny { by },
        // What an approver writes is no call of whom the rules let make it, until somebody has said yes to it.
        (RuleVerdict::Allow, None) if session.effects.get(&effect).is_some_and(|open| open.edit.is_some()) => {
            ask(Reason::Flow(Flow::Edited), owners())
        }
        (RuleVerdict::Allow, None) => {
            let lifted = lifted.map(|standing| Reason::Standing(standing.id.clone()));
            Verdict::Allow { by: lifted.unwrap_or(by) }
        }
        (RuleVerdict::Allow, Some(flow)) => ask(Reason::Flow(flow), owners()),
        (RuleVerdict::Ask, None) => ask(by, of_rule()),
        (RuleVerdict::Ask, Some(flow)) => {
            let (approvers, expires_ms) = of_rule();
            let both = Reason::Both { by: Box::new(by), flow };
            ask(both, (approvers.and_owner(), expires_ms))
        }
    };
    Judgement { verdict: unasked(held_back(verdict, facts, frame), session, effect), grounds }
}

/// Nobody is asked for leave to look something up: then there is no list, and the call itself is asked about.
fn unasked(verdict: Verdict, session: &Session, effect: EffectId) -> Verdict {
    let is_lookup = session.effects.get(&effect).is_some_and(|open| open.looks_for.is_some());
    match verdict {
        Verdict::Ask { by, .. } if is_lookup => Verdict::Deny { by },
        Verdict::Allow { .. }
        | Verdict::Ask { .. }
        | Verdict::Parked { .. }
        | Verdict::Deny { .. }
        | Verdict::Invalid { .. }
        | Verdict::Blocked { .. }
        | Verdict::TooMany => verdict,
    }
}

/// A switch takes away what was not denied already.
fn held_back(verdict: Verdict, facts: &Facts, frame: &Frame<'_>) -> Verdict {
    let would = match &verdict {
        Verdict::Allow { .. } => RuleVerdict::Allow,
        Verdict::Ask { .. } | Verdict::Parked { .. } => RuleVerdict::Ask,
        Verdict::Deny { .. } | Verdict::Invalid { .. } | Verdict::Blocked { .. } | Verdict::TooMany => return verdict,
    };
    let mode = frame.switches.mode;
    if mode.holds_back(facts.class) { Verdict::Deny { by: Reason::Mode { mode, would } } } else { verdict }
}

/// The tool is one of the runtime's and the agent's, every path lies where it may go, every program and
/// every host is listed.
#[must_use]
pub fn is_granted(agent: &Agent, tool: Option<&str>, facts: &Facts, policy: &Policy) -> bool {
    let granted = tool.filter(|tool| agent.grants.tools.iter().any(|known| known == tool));
    let Some(manifest) = granted.and_then(|tool| policy.tools.get(tool)) else { return false };
    paths_granted(agent, facts) && programs_granted(agent, manifest, facts) && hosts_granted(agent, manifest, facts)
}

/// Every path lies under a directory granted for that access.
fn paths_granted(agent: &Agent, facts: &Facts) -> bool {
    facts.paths.iter().all(|path| {
        let directories = match path.access {
            Access::Read => &agent.grants.read,
            Access::Write => &agent.grants.write,
        };
        directories.iter().any(|directory| is_under(&path.real, directory))
    })
}

/// Every program that the call starts is granted by its name, or is the tool itself.
fn programs_granted(agent: &Agent, manifest: &Manifest, facts: &Facts) -> bool {
    let is_granted = |program: &str| agent.grants.programs.iter().any(|name| name == program || name == "*");
    let may_start = |program| manifest.program.as_deref() == Some(program) || is_granted(program);
    facts.programs.iter().map(|command| program_of(command)).all(may_start)
}

fn hosts_granted(agent: &Agent, manifest: &Manifest, facts: &Facts) -> bool {
    let hosts = &agent.grants.hosts;
    let goes = |to| manifest.remote || !agent.grants.covering(to, facts).is_empty();
    facts.destination.iter().all(goes)
        && (facts.git.is_none() || facts.destination.is_some())
        && facts.network.iter().all(|place| is_reachable(hosts, place))
}

/// Each thing that may be done there is granted there, by one grant or by several.
fn is_reachable(hosts: &[HostGrant], place: &Reachable) -> bool {
    let grants = || hosts.iter().filter(|grant| grant.is_at(&place.host, place.port));
    let is_granted = |method: &Method| grants().any(|grant| grant.methods.contains(method));
    !place.methods.is_empty()
        && place.methods.iter().all(is_granted)
        && (!place.tunnel || grants().any(|grant| grant.tunnel))
}
