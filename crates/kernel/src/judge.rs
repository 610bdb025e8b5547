//! The gate: what the policy says of one call. Pure; an error, a gap or a doubt is a no (I8).
use alloc::vec::Vec;

use crate::facts::{Access, Facts};
use crate::frame::Frame;
use crate::id::{Digest, EffectId};
use crate::policy::{Agent, Role};
use crate::record::{Reason, Verdict};
use crate::rule::{Approvers, RuleVerdict, is_under};
use crate::session::Session;
use crate::subject::{Ruling, Subject, ruling};
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
    let Ruling { verdict, rule } = ruling(&agent.rules, &subject);
    let by = rule.map_or(Reason::ClassDefault, |rule| Reason::Rule(rule.name.clone()));
    match verdict {
        RuleVerdict::Allow => Verdict::Allow { by },
        RuleVerdict::Deny => Verdict::Deny { by },
        RuleVerdict::Ask => {
            let owners = || (Approvers::Roles(Vec::from([Role::Owner])), limits::ASK_EXPIRES_MS);
            let (approvers, expires_ms) = rule.map_or_else(owners, |rule| (rule.approvers.clone(), rule.expires_ms));
            ask(session, effect, call, facts, by, approvers, expires_ms, frame)
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
