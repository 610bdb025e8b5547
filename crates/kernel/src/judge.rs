//! The gate: what the policy says of one call. Pure; an error, a gap or a doubt is a no (I8).
use alloc::vec::Vec;

use crate::facts::{Access, Facts};
use crate::frame::Frame;
use crate::id::{Digest, EffectId};
use crate::policy::{Agent, Role};
use crate::record::{Reason, Verdict};
use crate::rule::{Approvers, Field, Rule, RuleVerdict, is_under};
use crate::session::Session;
use crate::tool::EffectClass;
use crate::{effect::CallRef, limits};

/// Judges one call by its facts.
#[must_use]
pub fn judge(session: &Session, effect: EffectId, call: &CallRef, facts: &Facts, frame: &Frame<'_>) -> Verdict {
    const NO_GRANT: Verdict = Verdict::Deny { by: Reason::NoGrant };
    let Some(agent) = frame.policy.agents.get(&session.agent) else { return NO_GRANT };
    let Some(tool) = call.tool.as_deref() else { return NO_GRANT };
    let known = frame.policy.tools.contains_key(tool);
    let granted = agent.grants.tools.iter().any(|granted| granted == tool);
    if !known || !granted || !paths_granted(agent, facts) {
        return NO_GRANT;
    }
    // A principal that the policy does not know has no role, and a rule on roles would miss it.
    let Some(subject) = Subject::of(session, tool, facts, frame) else { return NO_GRANT };
    let of = |verdict| agent.rules.iter().find(move |r| r.verdict == verdict && subject.meets(r));
    if let Some(rule) = of(RuleVerdict::Deny) {
        return Verdict::Deny { by: Reason::Rule(rule.name.clone()) };
    }
    if let Some(rule) = of(RuleVerdict::Ask) {
        let by = Reason::Rule(rule.name.clone());
        return ask(session, effect, call, facts, by, rule.approvers.clone(), rule.expires_ms, frame);
    }
    if let Some(rule) = of(RuleVerdict::Allow) {
        return Verdict::Allow { by: Reason::Rule(rule.name.clone()) };
    }
    match facts.class {
        EffectClass::Read | EffectClass::Write => Verdict::Allow { by: Reason::ClassDefault },
        EffectClass::Execute | EffectClass::Send | EffectClass::Spend => {
            let owners = Approvers::Roles(Vec::from([Role::Owner]));
            let expires = limits::ASK_EXPIRES_MS;
            ask(session, effect, call, facts, Reason::ClassDefault, owners, expires, frame)
        }
    }
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

#[expect(clippy::too_many_arguments, reason = "everything that an approval is bound to")]
fn ask(
    session: &Session,
    effect: EffectId,
    call: &CallRef,
    facts: &Facts,
    by: Reason,
    approvers: Approvers,
    expires_ms: u64,
    frame: &Frame<'_>,
) -> Verdict {
    let expires_at = frame.now.saturating_add(expires_ms);
    let digest = Digest::of(
        "backstay approval v1",
        &[
            &session.lineage.to_be_bytes(),
            &session.id.0,
            &effect.0.to_be_bytes(),
            call.tool.as_deref().unwrap_or_default().as_bytes(),
            &call.calls.digest.0,
            &call.index.to_be_bytes(),
            &facts.digest().0,
            &frame.policy.epoch.to_be_bytes(),
            &expires_at.to_be_bytes(),
        ],
    );
    Verdict::Ask { by, approvers, expires_at, digest }
}

/// What rules look at.
#[derive(Clone, Copy)]
struct Subject<'a> {
    agent: &'a str,
    principal: &'a str,
    role: &'static str,
    channel: &'a str,
    tool: &'a str,
    class: &'static str,
    facts: &'a Facts,
}

impl<'a> Subject<'a> {
    fn of(session: &'a Session, tool: &'a str, facts: &'a Facts, frame: &Frame<'_>) -> Option<Self> {
        let (principal, channel) = match &session.turn {
            Some(turn) => (turn.principal.as_str(), turn.channel.as_str()),
            None => (session.principal.as_str(), session.channel.as_str()),
        };
        let role = frame.policy.principals.get(principal)?.word();
        let class = word(facts.class);
        Some(Self { agent: &session.agent, principal, role, channel, tool, class, facts })
    }

    fn meets(&self, rule: &Rule) -> bool {
        rule.when.iter().all(|(field, test)| match field {
            Field::Agent => test.holds(self.agent),
            Field::Principal => test.holds(self.principal),
            Field::Role => test.holds(self.role),
            Field::Channel => test.holds(self.channel),
            Field::Tool => test.holds(self.tool),
            Field::Class => test.holds(self.class),
            // One path is enough to stop a call; all must fit to let it pass.
            Field::Path => {
                let mut paths = self.facts.paths.iter().map(|path: &_| path.real.as_str());
                match rule.verdict {
                    RuleVerdict::Ask | RuleVerdict::Deny => paths.any(|path| test.holds(path)),
                    RuleVerdict::Allow => !self.facts.paths.is_empty() && paths.all(|path| test.holds(path)),
                }
            }
        })
    }
}

fn word(class: EffectClass) -> &'static str {
    match class {
        EffectClass::Read => "read",
        EffectClass::Write => "write",
        EffectClass::Execute => "execute",
        EffectClass::Send => "send",
        EffectClass::Spend => "spend",
    }
}
