//! Somebody who knows what the person said and puts it together in another way. Each pair of a message and a call is
//! judged as the engine has it judged, in a session that has read somebody else's words.
use std::collections::{BTreeMap, BTreeSet};

use backstay_kernel::Input;
use backstay_kernel::decide::Message;
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method, Reachable};
use backstay_kernel::effect::{Inspection, Outcome};
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact, Tier};
use backstay_kernel::flow::{
    Flow, Lists, Named, Sources, Tuple, Values, Wish, addressed, named, read_scope, wants_names,
};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId, RepeatKey, SessionId};
use backstay_kernel::policy::{Agent, Policy};
use backstay_kernel::record::{InScope, Judged, Mode, Opened, Record, Verdict};
use backstay_kernel::rule::RuleVerdict;
use backstay_kernel::session::{State, Work};
use backstay_kernel::standing::{Always, Standing, arguments, granted};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Known, Listing, Manifest};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind, Sign, Typed, extract, quotes};
use serde_json::{Map, Value};

use crate::harness::{DAY_MS, OWNER, TestSession, body, rule};

const TASKS: &str = include_str!("../data/reuse.txt");
/// What an operator is told that this does not promise.
const TOLD: &str = include_str!("../../../../docs/operate/security.md");
const PAIRS_MIN: usize = 200;
/// The result of the tool that every session reads first.
const READ: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Becomes {
    Allowed,
    Asked(Flow),
    AskedByRule,
    Denied,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mouth {
    Earlier,
    Elsewhere,
    /// What a tool gives back.
    Read,
    Program,
    Person,
}

struct Call {
    tool: String,
    arguments: String,
}

#[derive(Default)]
struct Task {
    name: String,
    said: Vec<(Mouth, String)>,
    list: Option<String>,
    plan: Option<String>,
    /// What the person does want, each by itself.
    meant: Vec<Call>,
    /// What was done before.
    done: Vec<Call>,
    pairs: Vec<(Becomes, Call)>,
}

/// `<s400>` is so many of that letter.
fn unfolded(text: &str) -> String {
    let text = text.replace('⏎', "\n");
    let Some((before, rest)) = text.split_once("<s") else { return text };
    let (count, after) = rest.split_once('>').unwrap();
    format!("{before}{}{after}", "s".repeat(count.parse().unwrap()))
}

fn tasks() -> Vec<Task> {
    let mut all: Vec<Task> = Vec::new();
    for line in TASKS.lines().filter(|line| !line.is_empty() && !line.starts_with("//")) {
        if let Some(name) = line.strip_prefix("# ") {
            all.push(Task { name: name.to_owned(), ..Task::default() });
            continue;
        }
        let task = all.last_mut().unwrap();
        if line == "---" {
            let name = task.name.clone();
            all.push(Task { name, ..Task::default() });
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap();
        let rest = unfolded(rest);
        let call = || {
            let (tool, arguments) = rest.split_once(' ').unwrap();
            Call { tool: tool.to_owned(), arguments: arguments.to_owned() }
        };
        match word {
            "says" => task.said.push((Mouth::Person, rest)),
            "earlier" => task.said.push((Mouth::Earlier, rest)),
            "elsewhere" => task.said.push((Mouth::Elsewhere, rest)),
            "read" => task.said.push((Mouth::Read, rest)),
            "program" => task.said.push((Mouth::Program, rest)),
            "list" => task.list = Some(rest),
            "plan" => task.plan = Some(rest),
            "meant" => task.meant.push(call()),
            "done" => task.done.push(call()),
            "passes" => task.pairs.push((Becomes::Allowed, call())),
            "denied" => task.pairs.push((Becomes::Denied, call())),
            flow => {
                let flow = serde_json::from_value(flow.into()).unwrap_or_else(|_| panic!("{line}"));
                task.pairs.push((Becomes::Asked(flow), call()));
            }
        }
    }
    all
}

/// The tools of a bank, of mail, of a calendar, of files and of the network, as an operator declares them.
fn manifests() -> Vec<Manifest> {
    use ArgumentRole::{Authority, Payload, Selector, UpTo};
    use EffectClass::{Execute, Read, Send, Spend, Write};
    let (account, money, email, id) =
        (Authority(Kind::Account), Authority(Kind::Money), Authority(Kind::Email), Authority(Kind::Id));
    let (path, url) = (Authority(Kind::Path), Authority(Kind::Url));
    let of = |name: &str, class, roles: &[(&str, ArgumentRole)]| {
        let arguments = roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect();
        let schema = r#"{"type":"object"}"#.to_owned();
        Manifest { name: name.into(), class, arguments, schema, ..crate::harness::policy().tools["mail"].clone() }
    };
    let listing = Listing {
        tool: "read".into(),
        arguments: "{}".into(),
        list: String::new(),
        name: "/name".into(),
        value: "/value".into(),
        sign: Sign::At,
        unquoted: false,
    };
    let known = vec![("to".to_owned(), Known::Listing(Box::new(listing)))];
    vec![
        of("pay", Spend, &[("to", account), ("amount", money), ("subject", Payload)]),
        of("tip", Spend, &[("to", account), ("amount", UpTo(100)), ("subject", Payload)]),
        of("donate", Spend, &[("to", account), ("amount", Authority(Kind::Number))]),
        of("standing_order", Write, &[("to", account), ("amount", money)]),
        of("order", Spend, &[("item", id), ("price", money)]),
        of("mail", Send, &[("to", email), ("cc", email), ("subject", Payload), ("body", Payload)]),
        of("share", Send, &[("file", id), ("with", email)]),
        of("invite", Send, &[("event", id), ("who", email)]),
        of("delete_event", Send, &[("event", id)]),
        of("delete_file", Send, &[("path", path)]),
        Manifest { known, ..of("message", Send, &[("to", id), ("text", Payload)]) },
        of("ping", Send, &[("who", Authority(Kind::QuotedString))]),
        of("ring", Send, &[("url", url)]),
        of("password", Write, &[("password", Authority(Kind::QuotedString))]),
        of("allow_host", Write, &[("host", Authority(Kind::Host))]),
        of("note", Write, &[("text", Payload)]),
        of("read_file", Read, &[("path", Selector)]),
        of("write_file", Write, &[("path", path), ("content", Payload)]),
        of("http", Send, &[("url", url), ("method", Payload), ("body", Payload)]),
        of("fetch", Read, &[("url", Selector)]),
        of("run", Execute, &[("command", Payload), ("network", Selector)]),
    ]
}

fn manifest(name: &str) -> Manifest {
    manifests().into_iter().find(|manifest| manifest.name == name).unwrap()
}

fn host(host: &str, audience: Audience) -> HostGrant {
    HostGrant {
        host: host.into(),
        port: 443,
        methods: Method::ALL.to_vec(),
        path_prefix: "/".into(),
        allow_private: Vec::new(),
        audience,
        secrets: false,
        tunnel: false,
    }
}

/// What the tools find out of a call before it is judged.
fn facts(manifest: &Manifest, text: &str) -> Result<Facts, Invalid> {
    let given: Map<String, Value> = serde_json::from_str(text).unwrap();
    let texts = |name: &str| match given.get(name) {
        Some(Value::Array(all)) => all.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    };
    let plain = || Facts::new(manifest.class, Vec::new());
    Ok(match manifest.name.as_str() {
        "write_file" | "delete_file" => {
            let path = |text: &String| PathFact::new(Access::Write, real(text));
            Facts::new(manifest.class, texts("path").iter().map(path).collect())
        }
        "http" | "fetch" => {
            let url = Url::read(&texts("url")[0]).map_err(|_| Invalid::BadArguments)?;
            let method = texts("method").first().map_or(Method::Get, |word| Method::read(word).unwrap());
            let class = if method.only_asks() { EffectClass::Read } else { EffectClass::Send };
            Facts { destination: Some(Destination::of(&url, method, 0)), ..Facts::new(class, Vec::new()) }
        }
        "run" => {
            let place = |host: &String| Reachable {
                host: host.clone(),
                port: 443,
                methods: vec![Method::Get, Method::Head],
                tunnel: false,
            };
            Facts { network: texts("network").iter().map(place).collect(), tier: Some(Tier::Full), ..plain() }
        }
        _ => Facts { addressed: addressed(manifest, manifest.class, text).map(Box::new), ..plain() },
    })
}

/// Where a path of the workspace `/w` leads, links aside.
fn real(path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("/w/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// In what a task stands besides its own words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Setting {
    /// A rule allows everything.
    Plain,
    /// Beside it a scope: whoever plans found that the person wants nothing.
    NothingPlanned,
    /// Beside it a scope: each tool once, with whatever values.
    EveryToolPlanned,
    /// A rule asks about everything, and a person has said yes to just this call until tomorrow.
    Standing,
}

struct Scene<'t> {
    task: &'t Task,
    t: TestSession,
    /// Every text by its body.
    texts: BTreeMap<u64, String>,
    wishes: Vec<Wish>,
    said: u64,
    calls: u8,
}

impl<'t> Scene<'t> {
    fn new(task: &'t Task, setting: Setting) -> Self {
        let mut t = TestSession::new();
        t.policy.workspace = "/w".into();
        let agent = t.agent();
        agent.rules = vec![rule("everything", RuleVerdict::Allow, &[])].into();
        agent.grants.write = vec!["/w".into(), "/srv".into(), "/home/ann".into()];
        agent.grants.programs = vec!["*".into()];
        agent.grants.hosts = vec![
            host("api.example.com", Audience::Named),
            host("hooks.example.com", Audience::Named),
            host("open.example.com", Audience::Public),
        ];
        agent.scope = match setting {
            Setting::NothingPlanned | Setting::EveryToolPlanned => true,
            Setting::Plain | Setting::Standing => task.plan.is_some(),
        };
        for manifest in manifests() {
            t.agent().grants.tools.push(manifest.name.clone());
            t.policy.tools.insert(manifest.name.clone(), manifest);
        }
        let mut scene = Self { task, t, texts: BTreeMap::new(), wishes: Vec::new(), said: 0, calls: READ };
        scene.play(setting);
        if setting == Setting::Standing {
            scene.t.narrow(rule("asked", RuleVerdict::Ask, &[]));
        }
        scene
    }

    fn play(&mut self, setting: Setting) {
        let (mut has_begun, task) = (false, self.task);
        for (mouth, text) in &task.said {
            self.said += 1;
            let id = if *mouth == Mouth::Read { 600 + u64::from(READ) } else { self.said };
            self.texts.insert(id, text.clone());
            match mouth {
                Mouth::Read => {}
                Mouth::Elsewhere => {
                    let mut other = TestSession::new();
                    other.session = backstay_kernel::Session::new(SessionId([2; 10]));
                    let (agent, principal, channel) = ("main".into(), OWNER.into(), "api".into());
                    other.tell(Input::Open(Opened { agent, principal, channel, title: None, lineage: 1 }));
                    send(&mut other, id, Mode::Queue, Some(text));
                }
                Mouth::Earlier => {
                    send(&mut self.t, id, Mode::Queue, Some(text));
                    self.t.reply(&[]);
                    assert_eq!(self.t.session.turn, None, "{}", task.name);
                }
                Mouth::Program | Mouth::Person => {
                    let mode = if has_begun { Mode::Steer } else { Mode::Queue };
                    send(&mut self.t, id, mode, (*mouth == Mouth::Person).then_some(text));
                    has_begun = true;
                }
            }
            self.plan(setting);
        }
        self.t.reply(&[("read", READ)]);
        let read = self.t.call("read");
        self.t.done(read, READ);
        self.plan(setting);
        assert!(!self.t.session.label.is_trusted());
    }

    /// Answers whoever plans: once, and then that nothing more is wanted.
    fn plan(&mut self, setting: Setting) {
        while self.t.session.effects.values().any(|open| matches!(open.work, Work::Model { plans: true, .. })) {
            let plan = match setting {
                Setting::NothingPlanned => "{}".to_owned(),
                Setting::EveryToolPlanned => {
                    let used: BTreeSet<_> = self.task.pairs.iter().map(|(_, call)| &call.tool).collect();
                    let one = |tool| serde_json::json!({ "name": tool, "count": 1 });
                    serde_json::json!({ "tools": used.into_iter().map(one).collect::<Vec<_>>() }).to_string()
                }
                Setting::Plain | Setting::Standing => self.task.plan.clone().unwrap(),
            };
            let agent: &Agent = &self.t.policy.agents["main"];
            let of = |wish: &Wish| InScope { tool: wish.tool.clone(), count: wish.count };
            let is_first = self.wishes.is_empty();
            let wishes = if is_first { read_scope(&plan, agent, &self.t.policy, &self.words()) } else { Vec::new() };
            let (entries, finish) = (wishes.iter().map(of).collect(), backstay_kernel::effect::Finish::Stop);
            self.wishes.extend(wishes);
            let outcome = Outcome::Scoped { said: Some(body(900)), entries, body: body(901), finish, usage: None };
            self.t.outcome(self.t.model(), outcome);
        }
    }

    fn words(&self) -> Vec<Vec<Atom>> {
        let said = self.t.session.turn.iter().flat_map(|turn| &turn.said);
        said.map(|said| extract(&self.texts[&said.body.id], &said.typed.quotes)).collect()
    }

    fn named(&self, effect: EffectId, call: &Call, facts: &Facts) -> Named {
        let (session, policy): (_, &Policy) = (&self.t.session, &self.t.policy);
        let arguments = arguments(&call.tool, &call.arguments).filter(|_| !self.t.standing.is_empty());
        if !wants_names(session, Some(&call.tool), facts, policy) {
            return Named { arguments, ..Named::default() };
        }
        let manifest = &policy.tools[&call.tool];
        let values = Values::read(manifest, &call.arguments);
        let words = self.words();
        let stored = |all: &Vec<Atom>| all.iter().filter(|atom| atom.0 != Kind::Words).cloned().collect();
        let said = session.turn.iter().flat_map(|turn| &turn.said);
        let messages: Vec<_> = said.zip(&words).map(|(said, words)| (said.seq, stored(words))).collect();
        let names = manifest.known.iter().zip(0..).filter_map(|((_, known), place)| match known {
            Known::Listing(listing) => Some((place, listing.names(self.task.list.as_deref()?)?)),
            Known::Listed(_) | Known::Created(_) => None,
        });
        let lists = Lists { names: names.collect(), created: Vec::new() };
        let wishes = (0..).zip(self.wishes.clone()).filter(|(_, wish)| wish.tool == call.tool);
        let wishes: Vec<_> = wishes.collect();
        let sources = Sources { messages: &messages, words: &words, known: Some((manifest, &lists)), wishes: &wishes };
        let tuple =
            Tuple { tool: key(&call.tool), values: values.choice(facts.class).iter().map(|one| key(one)).collect() };
        Named { arguments, ..named(session, effect, facts, policy, (&values, &tuple), &sources) }
    }

    /// The model calls it, and it is looked at.
    fn call(&mut self, call: &Call) -> (EffectId, Becomes) {
        self.calls += 1;
        self.t.only_reply(&[(&call.tool, self.calls)]);
        let effect = self.t.call(&call.tool);
        let (inspection, named) = match facts(&self.t.policy.tools[&call.tool], &call.arguments) {
            Ok(facts) => {
                let named = self.named(effect, call, &facts);
                (Inspection::Facts(facts), named)
            }
            Err(why) => (Inspection::Invalid { why, detail: body(5) }, Named::default()),
        };
        let records = self.t.tell(Input::Inspected { effect, inspection, named });
        let verdict = |record| if let Record::Judged(Judged { verdict, .. }) = record { Some(verdict) } else { None };
        let verdict = records.into_iter().find_map(verdict).unwrap();
        let becomes = match &verdict {
            Verdict::Allow { .. } => Becomes::Allowed,
            Verdict::Ask { by, .. } => by.flow().map_or(Becomes::AskedByRule, Becomes::Asked),
            Verdict::Deny { .. } | Verdict::Invalid { .. } => Becomes::Denied,
            other => panic!("{other:?}"),
        };
        (effect, becomes)
    }

    /// What was done before, and then this call.
    fn then(mut self, call: &Call) -> Becomes {
        for (before, result) in self.task.done.iter().zip(READ + 1..) {
            let (effect, becomes) = self.call(before);
            assert_eq!(becomes, Becomes::Allowed, "{}: {} {}", self.task.name, before.tool, before.arguments);
            self.t.settle();
            self.t.done(effect, result);
        }
        self.call(call).1
    }
}

fn send(t: &mut TestSession, id: u64, mode: Mode, typed: Option<&String>) {
    let typed = typed.map(|text| Typed { quotes: quotes(text), atoms: None });
    let message = Message { typed, ..t.message(id, mode) };
    t.tell(Input::Message(message));
    t.settle();
}

fn in_setting(task: &Task, setting: Setting, call: &Call) -> Becomes {
    Scene::new(task, setting).then(call)
}

#[test]
fn whoever_puts_a_persons_words_together_in_another_way_is_asked_about() {
    let (mut pairs, mut wrong) = (0, Vec::new());
    for task in tasks() {
        for meant in &task.meant {
            let found = Scene::new(&task, Setting::Plain).call(meant).1;
            assert_eq!(found, Becomes::Allowed, "{}: {} {} is meant", task.name, meant.tool, meant.arguments);
        }
        for (becomes, call) in &task.pairs {
            pairs += usize::from(*becomes != Becomes::Allowed);
            let found = in_setting(&task, Setting::Plain, call);
            if found != *becomes {
                wrong.push(format!("{}: {} {}: {found:?}, not {becomes:?}", task.name, call.tool, call.arguments));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(pairs >= PAIRS_MIN, "{pairs}");
}

/// A yes of a person to just this call, where one may be said to it.
fn standing(t: &TestSession, call: &Call) -> Option<Standing> {
    let mut then = TestSession { policy: t.policy.clone(), ..TestSession::new() };
    then.type_in(1);
    then.only_reply(&[(&call.tool, 1)]);
    let (effect, arguments) = (then.call(&call.tool), arguments(&call.tool, &call.arguments));
    let inspection = Inspection::Facts(facts(&t.policy.tools[&call.tool], &call.arguments).ok()?);
    then.tell(Input::Inspected { effect, inspection, named: Named { arguments, ..Named::default() } });
    let State::Asked { digest, .. } = then.session.effects.get(&effect)?.state else { return None };
    let (until, by, speaks, is_protected) = (t.now + DAY_MS, OWNER, Speaks::Human, &|_: &str| false);
    let always = Always { effect, digest, arguments, until, by, speaks, is_protected };
    granted(&then.session, &always, &then.policy, then.now).ok()
}

#[test]
fn no_plan_that_wants_less_and_no_standing_yes_lets_more_of_them_pass() {
    let (mut stood, mut planned) = (0, 0);
    for task in tasks() {
        for (becomes, call) in &task.pairs {
            let what = format!("{}: {} {}", task.name, call.tool, call.arguments);
            let is_read =
                facts(&manifest(&call.tool), &call.arguments).is_ok_and(|facts| facts.class == EffectClass::Read);
            let found = Scene::new(&task, Setting::NothingPlanned).call(call).1;
            assert!(found != Becomes::Allowed || is_read && *becomes == Becomes::Allowed, "{what}");
            if task.plan.is_none() && task.done.is_empty() {
                let found = in_setting(&task, Setting::EveryToolPlanned, call);
                assert_eq!(found == Becomes::Allowed, *becomes == Becomes::Allowed, "{what}");
                planned += 1;
                let mut scene = Scene::new(&task, Setting::Standing);
                scene.t.standing = standing(&scene.t, call).into_iter().collect();
                stood += scene.t.standing.len();
                let stands = !scene.t.standing.is_empty();
                let found = scene.call(call).1;
                assert!(found == *becomes || !stands && found != Becomes::Allowed, "{what}: {found:?}");
            }
        }
    }
    assert!(planned >= PAIRS_MIN && stood >= PAIRS_MIN, "{planned} {stood}");
}

#[test]
fn what_passes_all_the_same_is_said_to_whoever_runs_it() {
    let passing: BTreeSet<String> = tasks()
        .into_iter()
        .filter(|task| task.pairs.iter().any(|(becomes, _)| *becomes == Becomes::Allowed))
        .map(|task| task.name)
        .collect();
    let told = TOLD.split_once("## Not promised").unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ");
    let unsaid: Vec<&String> = passing.iter().filter(|name| !told.contains(name.as_str())).collect();
    assert!(unsaid.is_empty(), "{unsaid:#?}");
}

fn key(text: &str) -> RepeatKey {
    RepeatKey(*Digest::of("tuple", &[text.as_bytes()]).0.first_chunk().unwrap())
}
