//! `policy check | explain | test | diff | backtest`: what rules say, of a call, of their examples and of
//! the past. Nothing is done and nothing is recorded.
mod explain;
mod past;

use std::path::Path;

use backstay_kernel::flow::{Flow, Named};
use backstay_kernel::frame::Frame;
use backstay_kernel::judge::judge;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Grounds, Reason, Verdict};
use backstay_kernel::rule::{Rule, RuleVerdict};
use backstay_kernel::subject::ruling;
use serde_json::{Value, json};

use crate::cli::PolicyCommand;
use crate::client::{Client, Intent};
use crate::config::{self, Checked, EVERY_AGENT, Example, ExampleCall, FILE};
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::print::{Out, visible_line};
use crate::time;
use past::{Past, Taken};

pub async fn run(home: &Path, command: &PolicyCommand, out: &Out) -> Outcome<Exit> {
    home::require(home)?;
    let file = match command {
        PolicyCommand::Check { file } | PolicyCommand::Test { file } | PolicyCommand::Backtest { file } => {
            file.as_deref()
        }
        PolicyCommand::Diff { file } => Some(file.as_path()),
        PolicyCommand::Explain(_) => None,
    };
    let checked = match load(home, file) {
        Ok(checked) => checked,
        Err(mistakes) if matches!(command, PolicyCommand::Check { .. }) => {
            if out.json {
                out.value(&mistakes.to_json())
            } else {
                out.line(&mistakes.to_string())
            }
            return Ok(Exit::Usage);
        }
        Err(mistakes) => return Err(mistaken(file, &mistakes)),
    };
    match command {
        PolicyCommand::Check { .. } => check(&checked, out),
        PolicyCommand::Explain(args) => return explain::run(home, &checked, args, out),
        PolicyCommand::Test { .. } => test(&checked, out),
        PolicyCommand::Diff { .. } => {
            let now = load(home, None).map_err(|mistakes| mistaken(None, &mistakes))?;
            diff(home, &now, &checked, out).await?;
        }
        PolicyCommand::Backtest { .. } => backtest(home, &checked.policy, out).await?,
    }
    Ok(Exit::Ok)
}

fn load(home: &Path, file: Option<&Path>) -> Result<Checked, config::Mistakes> {
    let manifests = backstay_tools::manifests();
    match file {
        Some(file) => config::load_file(home, file, manifests),
        None => config::load(home, manifests),
    }
}

fn mistaken(file: Option<&Path>, mistakes: &config::Mistakes) -> Failure {
    let (name, next) = match file {
        Some(file) => (file.display().to_string(), format!("backstay policy check {}", file.display())),
        None => (FILE.to_owned(), "backstay config check".to_owned()),
    };
    Failure::usage(format!("{name} has mistakes: {}", mistakes.first_of_all()), next)
}

fn check(checked: &Checked, out: &Out) {
    let of_rule = |agent: &str, rule: &Rule| {
        checked.examples.iter().filter(|example| example.agent == agent && example.rule == rule.name).count()
    };
    // Those of the home once, and then each agent's own.
    let of_home =
        checked.policy.agents.values().next().map(|agent| (EVERY_AGENT, agent.rules.get(..checked.home_rules())));
    let own =
        checked.policy.agents.iter().map(|(name, agent)| (name.as_str(), agent.rules.get(checked.home_rules()..)));
    let rules = of_home.into_iter().chain(own);
    let rules = rules.flat_map(|(agent, rules)| rules.unwrap_or_default().iter().map(move |rule| (agent, rule)));
    if out.json {
        let row = |(agent, rule): (&str, &Rule)| {
            let examples = of_rule(agent, rule);
            json!({ "agent": agent, "line": rule.line, "verdict": rule.verdict, "rule": rule.name, "examples": examples })
        };
        let rules: Vec<Value> = rules.map(row).collect();
        out.value(&json!({ "policy": checked.policy.digest, "rules": rules, "count": 0, "mistakes": [] }));
        return;
    }
    let cells = rules.map(|(agent, rule)| {
        let (line, examples) = (rule.line.to_string(), of_rule(agent, rule).to_string());
        vec![agent.to_owned(), line, word(rule.verdict).to_owned(), visible_line(&rule.name), examples]
    });
    out.table(&["AGENT", "LINE", "VERDICT", "RULE", "EXAMPLES"], &cells.collect::<Vec<_>>());
}

fn test(checked: &Checked, out: &Out) {
    let said = |example: &Example| Said::of_example(&checked.policy, &example.call);
    if out.json {
        let row = |example: &Example| {
            json!({
                "line": example.line, "agent": example.agent, "rule": example.rule, "matches": example.matches,
                "is": said(example).json(),
            })
        };
        let examples: Vec<Value> = checked.examples.iter().map(row).collect();
        out.value(&json!({ "policy": checked.policy.digest, "examples": examples }));
        return;
    }
    for example in &checked.examples {
        let word = if example.matches { "matches" } else { "does not match" };
        let words = format!("{FILE}:{}: {word} `{}`; {}", example.line, example.rule, said(example).words());
        out.line(&visible_line(&words));
    }
    out.line(&format!("{} examples hold", checked.examples.len()));
}

async fn diff(home: &Path, now: &Checked, other: &Checked, out: &Out) -> Outcome<()> {
    let mut changes = Changes::default();
    let mut examples: Vec<&ExampleCall> = Vec::new();
    for call in now.examples.iter().chain(&other.examples).map(|example| &example.call) {
        if !examples.contains(&call) {
            examples.push(call);
        }
    }
    for call in examples {
        let (was, is) = (Said::of_example(&now.policy, call), Said::of_example(&other.policy, call));
        let (tool, path) = (call.tool.as_deref().unwrap_or("any tool"), call.path.as_deref().unwrap_or_default());
        let of = json!({ "agent": call.agent, "tool": call.tool, "path": call.path });
        changes.examples += 1;
        changes.add(of, &format!("example of agent {}, {tool} {path}", call.agent), &was, &is);
    }
    each(home, [&now.policy, &other.policy], |past, [now, other]| {
        changes.add_call(past, past.judged_by(now), past.judged_by(other));
    })
    .await?;
    changes.tell(out);
    Ok(())
}

async fn backtest(home: &Path, policy: &Policy, out: &Out) -> Outcome<()> {
    let mut changes = Changes::default();
    each(home, [policy], |past, [judge]| changes.add_call(past, Some(past.recorded()), past.judged_by(judge))).await?;
    changes.tell(out);
    Ok(())
}

/// A policy, and what the calls of the past took of its limits.
struct Judge<'p> {
    policy: &'p Policy,
    taken: Taken,
}

async fn each<const N: usize>(
    home: &Path,
    policies: [&Policy; N],
    mut seen: impl FnMut(&Past<'_>, &[Judge<'_>; N]),
) -> Outcome<()> {
    let client = Client::connect(home, Intent::Read).await?;
    let done = over(&client, policies, &mut seen).await;
    client.close().await;
    done
}

async fn over<const N: usize>(
    client: &Client,
    policies: [&Policy; N],
    seen: &mut impl FnMut(&Past<'_>, &[Judge<'_>; N]),
) -> Outcome<()> {
    let mut taken = Vec::with_capacity(N);
    for policy in policies {
        taken.push(Taken::of(client, policy).await?);
    }
    let mut taken = taken.into_iter();
    let judges = policies.map(|policy| Judge { policy, taken: taken.next().unwrap_or_default() });
    past::each(client, |past| seen(past, &judges)).await
}

/// What would be judged differently, of how much that was looked at.
#[derive(Default)]
struct Changes {
    calls: u64,
    examples: u64,
    /// Calls whose verdict hangs on what nobody wrote down.
    unknown: u64,
    list: Vec<Value>,
    words: Vec<String>,
}

impl Changes {
    fn add_call(&mut self, past: &Past<'_>, was: Option<Said>, is: Option<Said>) {
        self.calls += 1;
        match (was, is) {
            (Some(was), Some(is)) => self.add(past.json(), &past.words(), &was, &is),
            (None, _) | (_, None) => self.unknown += 1,
        }
    }

    fn add(&mut self, mut of: Value, words: &str, was: &Said, is: &Said) {
        if was.verdict == is.verdict {
            return;
        }
        if let Some(fields) = of.as_object_mut() {
            fields.insert("was".into(), was.json());
            fields.insert("is".into(), is.json());
        }
        self.list.push(of);
        self.words.push(format!("{words}: {} -> {}", was.words(), is.words()));
    }

    fn tell(&self, out: &Out) {
        let Self { calls, examples, unknown, list, .. } = self;
        let count = list.len();
        if out.json {
            out.value(&json!({
                "calls": calls, "examples": examples, "not_comparable": unknown, "count": count, "changes": list,
            }));
            return;
        }
        self.words.iter().for_each(|words| out.line(&visible_line(words)));
        let examples = if *examples > 0 { format!(" and {examples} examples") } else { String::new() };
        out.line(&format!("{count} of {calls} calls{examples} would be judged differently"));
        if *unknown > 0 {
            out.line(&format!(
                "{unknown} of {calls} calls hang on what the journal does not say, and are not compared"
            ));
        }
    }
}

/// A verdict in the words of the command line.
struct Said {
    verdict: &'static str,
    by: String,
    line: Option<u32>,
}

impl Said {
    fn of(verdict: &Verdict, grounds: Option<&Grounds>) -> Self {
        let by = verdict.by().map(words).unwrap_or_default();
        let verdict = match verdict {
            Verdict::Allow { .. } => "allow",
            Verdict::Ask { .. } | Verdict::Parked { .. } => "ask",
            Verdict::Deny { .. } => "deny",
            Verdict::Invalid { .. } | Verdict::Blocked { .. } | Verdict::TooMany => "not judged",
        };
        Self { verdict, by, line: grounds.and_then(|grounds| grounds.line) }
    }

    /// Of the whole policy: a stricter rule may speak before the example's own.
    fn of_example(policy: &Policy, call: &ExampleCall) -> Self {
        let Some(agent) = policy.agents.get(&call.agent) else {
            return Self { verdict: "deny", by: "no grant".to_owned(), line: None };
        };
        let subject = call.subject();
        let said = ruling(agent.rules.near(&subject), &subject);
        let by = said.rule.map_or_else(|| "class default".to_owned(), |rule| format!("rule `{}`", rule.name));
        Self { verdict: word(said.verdict), by, line: said.rule.map(|rule| rule.line) }
    }

    fn json(&self) -> Value {
        json!({ "verdict": self.verdict, "by": self.by, "line": self.line })
    }

    fn words(&self) -> String {
        let line = self.line.map(|line| format!(" ({FILE}:{line})")).unwrap_or_default();
        format!("{} by {}{line}", self.verdict, self.by)
    }
}

impl Past<'_> {
    /// `None` where that hangs on what the record does not say.
    fn judged_by(&self, by: &Judge<'_>) -> Option<Said> {
        let grounds = self.judged.grounds.as_deref();
        let recorded = self.recorded();
        let of = |named: &Named, frame: &Frame<'_>| {
            let judged = judge(self.session, self.effect, self.call, self.facts, named, frame);
            Said::of(&judged.verdict, Some(&judged.grounds))
        };
        let at =
            |named: Named| self.frames(by.policy, &named, &by.taken).iter().map(|frame| of(&named, frame)).collect();
        let all: Vec<Said> = self.named(by.policy).into_iter().flat_map::<Vec<_>, _>(at).collect();
        let is = |verdict: &str| all.iter().any(|said| said.verdict == verdict);
        // Somebody's yes may stand to the question still.
        let has_arguments = grounds.is_some_and(|grounds| grounds.arguments.is_some());
        let was_lifted = recorded.verdict == "allow" && has_arguments;
        if grounds.is_some_and(|grounds| grounds.policy == by.policy.digest) {
            let stood = matches!(self.judged.verdict, Verdict::Allow { by: Reason::Standing(_) });
            return (is(recorded.verdict) || stood && is("ask")).then_some(recorded);
        }
        // The tools of a server are those of its pin, which only the running home reads.
        let tool = self.call.tool.as_ref()?;
        let is_granted =
            by.policy.agents.get(&self.session.agent).is_some_and(|agent| agent.grants.tools.contains(tool));
        if (is_granted && !by.policy.tools.contains_key(tool)) || (was_lifted && is("ask")) {
            return None;
        }
        let first = all.first()?.verdict;
        let agree = all.iter().all(|said| said.verdict == first);
        all.into_iter().next().filter(|_| agree)
    }

    fn recorded(&self) -> Said {
        Said::of(&self.judged.verdict, self.judged.grounds.as_deref())
    }

    fn json(&self) -> Value {
        let (agent, tool) = (&self.session.agent, &self.call.tool);
        json!({ "call": self.place(), "at": self.at, "agent": agent, "tool": tool, "facts": self.facts })
    }

    fn words(&self) -> String {
        let paths: Vec<&str> = self.facts.paths.iter().map(|path| path.real.as_str()).collect();
        let tool = self.call.tool.as_deref().unwrap_or_default();
        format!("{} {} {tool} {}", time::stamp(self.at), self.place(), paths.join(" "))
    }
}

fn word(verdict: RuleVerdict) -> &'static str {
    match verdict {
        RuleVerdict::Allow => "allow",
        RuleVerdict::Ask => "ask",
        RuleVerdict::Deny => "deny",
    }
}

fn words(by: &Reason) -> String {
    match by {
        Reason::Rule(name) => format!("rule `{name}`"),
        Reason::Limit(name) => format!("limit of rule `{name}`"),
        Reason::ClassDefault => "class default".to_owned(),
        Reason::NoGrant => "no grant".to_owned(),
        Reason::Refused => "a person's no before".to_owned(),
        Reason::Standing(id) => format!("the standing yes to {id}"),
        Reason::Flow(flow) => of_flow(*flow).to_owned(),
        Reason::Both { by, flow } => format!("{} and {}", words(by), of_flow(*flow)),
        Reason::Mode { mode, .. } => format!("mode {}", mode.word()),
    }
}

fn of_flow(flow: Flow) -> &'static str {
    if flow == Flow::ProtectedPath { "a protected path" } else { "information flow" }
}
