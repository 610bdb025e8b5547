//! `policy explain`: one call, inspected and judged as it would be, and not made.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use backstay_channels::Why;
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::{Facts, Starts};
use backstay_kernel::flow::{Lists, Named, Sources, Tuple, Values, named};
use backstay_kernel::id::{BodyRef, Digest, EffectId, RepeatKey, SessionId};
use backstay_kernel::judge::{Judgement, judge};
use backstay_kernel::label::{Label, Source};
use backstay_kernel::policy::Policy;
use backstay_kernel::reached::{Places, Seen};
use backstay_kernel::record::{Admitted, Mode, Opened, Record, TurnStarted, Verdict};
use backstay_kernel::refusal::Code;
use backstay_kernel::words::{Atom, Kind, Typed, extract, quotes};
use backstay_kernel::{Session, apply};
use serde_json::{Value, json};

use super::super::conversation::{PATHS_SHOWN_MAX, packages, protected, reachable, repository, stays_done};
use super::{Said, past};
use crate::cli::{ExplainArgs, Speaker};
use crate::config::Checked;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, visible_line};
use crate::{serve, world};

pub fn run(home: &Path, config: &Checked, args: &ExplainArgs, out: &Out) -> Outcome<Exit> {
    let policy = &config.policy;
    let name = agent(policy, args.agent.as_deref())?;
    let agent =
        policy.agents.get(name).ok_or_else(|| unknown(Code::UnknownAgent, "agent", name, policy.agents.keys()))?;
    if !policy.principals.contains_key(&args.principal) {
        return Err(unknown(Code::UnknownPrincipal, "principal", &args.principal, policy.principals.keys()));
    }
    let roots = serve::roots_to_look(home, config, agent).map_err(|error| {
        let next = "start the home once: it makes granted directories that are missing";
        Failure::usage(format!("agents.{name}: {error}"), next)
    })?;
    let facts = match backstay_tools::inspect(&roots, &args.tool, &args.arguments) {
        Ok(facts) => facts,
        Err(refused) => {
            if out.json {
                out.value(&json!({ "verdict": "invalid", "why": refused.why, "detail": refused.detail }));
            } else {
                out.line(&visible_line(&format!("no call: {}", refused.detail)));
                if args.tool.contains("__") {
                    out.line("  next: backstay mcp test SERVER (the tools of a server are those of its pin, which only the running home reads)");
                }
            }
            return Ok(Exit::Refused);
        }
    };
    let mut all = past::may_have_reached(Some(&args.tool), &facts).into_iter();
    let of = |(seen, reached)| (seen, judged(policy, name, args, &facts, reached));
    // Nobody has been anywhere yet.
    let (_, judged) = all.next().map(of).unwrap_or_else(|| of((Seen::Never, Arc::default())));
    let others: Vec<_> = all.map(of).filter(|(_, other)| other.verdict.by() != judged.verdict.by()).collect();
    let line = judged.grounds.line;
    let reason = agent.rules.iter().find(|rule| line == Some(rule.line)).and_then(|rule| rule.reason.as_deref());
    show((&judged, &others), &facts, reason, out);
    if !out.json {
        let ExplainArgs { principal, channel, says, .. } = args;
        let message = if says.is_some() { "with this message" } else { "whose message names nothing" };
        out.line(&visible_line(&format!(
            "  as in a new session of {principal} by {channel} that has read nothing yet, {message}, in no mode of `backstay mode`, with limits unused, by an agent whose calls have led nowhere yet; a yes for longer than once is not looked for"
        )));
    }
    Ok(match judged.verdict {
        Verdict::Allow { .. } => Exit::Ok,
        Verdict::Ask { .. } | Verdict::Parked { .. } => Exit::Waiting,
        Verdict::Deny { .. } | Verdict::Invalid { .. } | Verdict::Blocked { .. } | Verdict::TooMany => Exit::Refused,
    })
}

/// In a session of one message: of a person's, nothing untrusted has entered it but what it quotes.
fn judged(policy: &Policy, agent: &str, args: &ExplainArgs, facts: &Facts, reached: Arc<Places>) -> Judgement {
    let mut session = Session::new(SessionId([1; 10]));
    let (principal, channel) = (args.principal.clone(), args.channel.clone());
    let opened = Opened { agent: agent.to_owned(), principal, channel, title: None, lineage: 1 };
    let (principal, channel) = (opened.principal.clone(), opened.channel.clone());
    apply(&mut session, &Record::Opened(opened));
    let body = BodyRef { id: 0, digest: Digest::default(), bytes: 0 };
    let said = args.says.as_deref().unwrap_or_default();
    let typed = match args.speaks {
        Speaker::Human => Some(Typed { quotes: quotes(said), atoms: None }),
        Speaker::Program => None,
    };
    let words = typed.as_ref().map(|typed| extract(said, &typed.quotes)).unwrap_or_default();
    let label = typed.as_ref().map_or(Label::of(Source::Principal), Typed::label);
    let admitted = Admitted { principal, channel, mode: Mode::default(), body, label, typed };
    apply(&mut session, &Record::Admitted(admitted));
    let messages = vec![session.seq];
    apply(&mut session, &Record::TurnStarted(TurnStarted { messages, label: None }));
    let effect = session.seq.next();
    let named = named_in(&session, effect, args, facts, policy, words);
    let call = CallRef { calls: body, index: 0, tool: Some(args.tool.clone()), repeat: RepeatKey([0; 8]) };
    let moment = past::Moment { at: args.at.unwrap_or_else(world::now), reached, ..past::Moment::default() };
    let frame = past::frame(&session, (&call, facts, &named), policy, &moment, |_| 0);
    judge(&session, effect, &call, facts, &named, &frame)
}

/// What the one message says of the call, where nothing was looked up, created or planned.
fn named_in(
    session: &Session,
    effect: EffectId,
    args: &ExplainArgs,
    facts: &Facts,
    policy: &Policy,
    words: Vec<Atom>,
) -> Named {
    let Some(manifest) = policy.tools.get(&args.tool) else { return Named::default() };
    let values = Values::read(manifest, &args.arguments);
    let key = |_: String| RepeatKey([0; 8]);
    let tuple = Tuple { tool: RepeatKey([0; 8]), values: values.choice(facts.class).into_iter().map(key).collect() };
    let atoms = words.iter().filter(|atom| atom.0 != Kind::Words).cloned().collect();
    let from = session.turn.iter().flat_map(|turn| &turn.said).map(|said| said.seq).next().unwrap_or_default();
    let (messages, words, lists) = ([(from, atoms)], [words], Lists::default());
    let sources = Sources { messages: &messages, words: &words, known: Some((manifest, &lists)), wishes: &[] };
    named(session, effect, facts, policy, (&values, &tuple), &sources)
}

fn show((judged, others): (&Judgement, &[(Seen, Judgement)]), facts: &Facts, reason: Option<&str>, out: &Out) {
    let of = |judged: &Judgement| Said::of(&judged.verdict, Some(&judged.grounds));
    let (said, grounds) = (of(judged), &judged.grounds);
    if out.json {
        out.value(&json!({
            "verdict": said.verdict, "disposition": judged.verdict.disposition().word(), "by": said.by, "line": said.line, "reason": reason,
            "used": grounds.used, "facts": facts, "policy": grounds.policy,
            "where_seen": others.iter().map(|(seen, other)| (seen.word(), of(other).json())).collect::<BTreeMap<_, _>>(),
        }));
        return;
    }
    let mut lines = vec![format!("{}: {}", judged.verdict.disposition().word(), said.words())];
    lines.extend(reason.map(|reason| format!("  reason: {reason}")));
    let elsewhere = |(seen, other): &(Seen, Judgement)| {
        format!("  where `destination.seen` is {}: {}", seen.word(), of(other).words())
    };
    lines.extend(others.iter().map(elsewhere));
    lines.extend(grounds.used.iter().map(|fact| format!("  looked at {}", words(&json!(fact)))));
    lines.push(format!("  class: {}", facts.class.word()));
    lines.extend(stays_done(&json!(facts)).map(|line| format!("  {line}")));
    lines.extend(facts.paths.iter().map(|path| format!("  path: {}", path.real)));
    lines.extend(protected(&json!(facts)).iter().map(|line| format!("  {line}")));
    lines.extend(starts(facts));
    lines.extend(facts.bytes_out.map(|bytes| format!("  bytes_out: {bytes}")));
    if let Some(addressed) = &facts.addressed {
        lines.extend(addressed.values.iter().map(|Atom(kind, value)| format!("  {}: {value}", words(&json!(kind)))));
        lines.extend(addressed.more.then(|| "  whom it reaches or what it pays besides, cannot be read".to_owned()));
    }
    lines.extend(facts.destination.iter().map(|to| {
        let backstay_kernel::destination::Destination { scheme, host, port, method, path, url_bytes, header_bytes: _ } =
            to;
        format!("  goes to: {} {}://{host}:{port}{path} ({url_bytes} bytes)", method.word(), scheme.word())
    }));
    lines.extend(repository(&json!(facts), PATHS_SHOWN_MAX).iter().map(|line| format!("  {line}")));
    lines.extend(reachable(&json!(facts)).iter().map(|place| format!("  may reach: {place}")));
    lines.extend(packages(&json!(facts)).map(|line| format!("  {line}")));
    lines.iter().for_each(|line| out.line(&visible_line(line)));
}

/// The programs of a call that runs something, as rules look at them, and what holds them.
fn starts(facts: &Facts) -> Vec<String> {
    let Some(tier) = facts.tier else { return Vec::new() };
    let named = match facts.starts {
        Starts::Programs | Starts::Commands => facts.programs.join(", "),
        Starts::Unknown => "nobody knows what, so that the sandbox alone holds it".to_owned(),
    };
    vec![format!("  starts: {named}"), format!("  in the sandbox: {}", tier.word())]
}

/// `role owner` of `{"role":"owner"}`, and a bare word as it is.
fn words(fact: &Value) -> String {
    match fact.as_object().and_then(|fields| fields.iter().next()) {
        Some((field, Value::String(value))) => format!("{field} {value}"),
        Some((field, value)) => format!("{field} {value}"),
        None => fact.as_str().unwrap_or_default().to_owned(),
    }
}

fn agent<'a>(policy: &'a Policy, named: Option<&'a str>) -> Outcome<&'a str> {
    const MAIN: &str = "main";
    let mut names = policy.agents.keys();
    match (named, names.next(), names.next()) {
        (Some(named), ..) => Ok(named),
        (None, Some(one), None) => Ok(one),
        _ if policy.agents.contains_key(MAIN) => Ok(MAIN),
        _ => Err(Failure::usage("this home has several agents", "give --agent")),
    }
}

fn unknown<'a>(code: Code, what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Failure {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let message = format!("there is no {what} `{}`", visible_line(name));
    Failure::new(Why::Refused(code), message, format!("give one of {}", known.join(", ")))
}
