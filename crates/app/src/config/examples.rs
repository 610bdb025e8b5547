//! The examples of a rule: calls that it must match, and calls that it must not.
use std::collections::BTreeSet;

use backstay_kernel::destination::{Audience, Method};
use backstay_kernel::facts::Tier;
use backstay_kernel::flow::{Provenance, folded};
use backstay_kernel::home::Speaks;
use backstay_kernel::label::{Confidentiality, Integrity, Source, Sources};
use backstay_kernel::mode::WorkMode;
use backstay_kernel::policy::Role;
use backstay_kernel::reached::Seen;
use backstay_kernel::record::Used;
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::subject::{Going, Subject, To, With};
use backstay_kernel::tool::{EffectClass, Manifest};
use backstay_kernel::words::{Atom, Kind};

use super::check::{Checker, role};
use super::mistake::{Code, Place, list, quoted};
use super::raw::View;
use super::rules::{class, programs, words};

/// An example says enough where what it leaves out could not change whether the rule matches: with
/// what doubt makes of it, and with the opposite.
pub fn try_example(checker: &mut Checker<'_>, rule: &Rule, place: Place, call: &ExampleCall, expected: bool) {
    let subject = call.subject();
    let (strict, lenient) = (RuleVerdict::Deny, RuleVerdict::Allow);
    let fits = |doubts| rule.fits_doubting(rule.verdict, doubts, &subject);
    let name = quoted(&rule.name);
    let message = match (fits(strict), fits(lenient)) {
        (true, false) => {
            let silent: Vec<&str> = rule
                .fields()
                .filter(|field| matches!(subject.used(*field), Used::Missing(_)))
                .map(Field::word)
                .collect();
            format!("this example does not say {}, which the rule {name} looks at", list(&silent))
        }
        (true, true) if !expected => format!("the rule {name} matches this example of `does_not_match`"),
        (false, _) if expected => format!("the rule {name} does not match this example of `matches`"),
        _ => return,
    };
    checker.mistakes.add(place, Code::Example, message);
}

/// One of `matches` or `does_not_match`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    pub line: usize,
    /// Whose rule it is of: an agent's, or every agent's.
    pub agent: String,
    pub rule: String,
    pub matches: bool,
    pub call: ExampleCall,
}

/// The facts of an example.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExampleCall {
    pub agent: String,
    principal: Option<String>,
    role: Option<Role>,
    speaks: Option<Speaks>,
    channel: Option<String>,
    pub tool: Option<String>,
    class: Option<EffectClass>,
    reversible: Option<bool>,
    tier: Option<Option<Tier>>,
    programs: Option<Vec<String>>,
    commands: Option<Vec<String>>,
    pub path: Option<String>,
    bytes_out: Option<u64>,
    values: Option<Vec<Atom>>,
    going: ExampleGoing,
    audience: Option<Vec<Audience>>,
    git: ExampleGit,
    at: Option<u64>,
    conf: Option<Confidentiality>,
    integrity: Option<Integrity>,
    sources: Option<Sources>,
    provenance: Option<BTreeSet<Provenance>>,
    mode: Option<WorkMode>,
    seen: Option<Seen>,
}

/// Where the call of an example goes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum ExampleGoing {
    NotSaid,
    Nowhere,
    To { host: Option<String>, port: Option<u16>, method: Option<Method>, path: Option<String>, url_bytes: Option<u64> },
}

/// What the call of an example does with a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
enum ExampleGit {
    NotSaid,
    None,
    Some { repo: Option<String>, name: Option<String>, force: Option<bool>, changed: Option<String> },
}

impl ExampleGit {
    fn with(&self) -> With<'_> {
        match self {
            Self::NotSaid => With::Unknown,
            Self::None => With::None,
            Self::Some { repo, name, force, changed } => With::Repository {
                repo: repo.as_deref(),
                refs: name.as_deref().map(|name| vec![name]),
                force: *force,
                changed: changed.as_deref().map(|path| vec![path]),
            },
        }
    }
}

impl ExampleCall {
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        let reads = self.class == Some(EffectClass::Read);
        Subject {
            agent: Some(&self.agent),
            principal: self.principal.as_deref(),
            role: self.role,
            speaks: self.speaks,
            channel: self.channel.as_deref(),
            tool: self.tool.as_deref(),
            class: self.class,
            reversible: self.reversible,
            tier: self.tier,
            programs: self.programs.as_deref().map(texts),
            commands: self.commands.as_deref().map(texts),
            paths: self.path.as_deref().map(|path| vec![path]),
            bytes_out: self.bytes_out.or(reads.then_some(0)),
            values: self.values.as_deref(),
            going: match &self.going {
                ExampleGoing::NotSaid => Going::Unknown,
                ExampleGoing::Nowhere => Going::Nowhere,
                ExampleGoing::To { host, port, method, path, url_bytes } => Going::To(To {
                    host: host.as_deref(),
                    port: *port,
                    method: *method,
                    path: path.as_deref(),
                    url_bytes: *url_bytes,
                }),
            },
            git: self.git.with(),
            now: self.at,
            conf: self.conf,
            integrity: self.integrity,
            sources: self.sources,
            provenance: self.provenance.as_ref(),
            audience: self.audience.clone(),
            mode: self.mode,
            seen: self.seen.map(Some),
        }
    }
}

/// `None` where one of its facts is mistaken.
fn going(checker: &mut Checker<'_>, example: View<'_>, tool: Option<&Manifest>) -> Option<ExampleGoing> {
    let host = match example.text("host") {
        Some(spot) => Some(checker.hosts_of_rule(spot.place, &Test::Equal(spot.value.to_owned()))?),
        None => None,
    };
    let path = match example.text("url_path") {
        Some(spot) => Some(checker.url_paths_of_rule(spot.place, &Test::Equal(spot.value.to_owned()))?),
        None => None,
    };
    let text = |test| if let Test::Equal(text) = test { Some(text) } else { None };
    let (host, path) = (host.and_then(text), path.and_then(text));
    let method = example.text("method").and_then(|spot| Method::read(spot.value));
    let port = example.integer("port").and_then(|spot| u16::try_from(spot.value).ok());
    let url_bytes = example.integer("url_bytes").map(|spot| spot.value);
    if host.is_some() || path.is_some() || method.is_some() || port.is_some() || url_bytes.is_some() {
        return Some(ExampleGoing::To { host, port, method, path, url_bytes });
    }
    Some(if tool.is_some_and(stays) { ExampleGoing::Nowhere } else { ExampleGoing::NotSaid })
}

/// `None` where one of its facts is mistaken.
fn git(checker: &mut Checker<'_>, example: View<'_>, tool: Option<&Manifest>) -> Option<ExampleGit> {
    let mut text = |field: Field| {
        let Some(spot) = example.text(field.word()) else { return Some(None) };
        let read = checker.repositories_of_rule(field, spot.place, &Test::Equal(spot.value.to_owned()))?;
        Some(if let Test::Equal(text) = read { Some(text) } else { None })
    };
    let (repo, name, changed) = (text(Field::Repo)?, text(Field::Ref)?, text(Field::Changed)?);
    let force = flag(example, "force");
    if repo.is_some() || name.is_some() || changed.is_some() || force.is_some() {
        return Some(ExampleGit::Some { repo, name, force, changed });
    }
    Some(if tool.is_some_and(stays) { ExampleGit::None } else { ExampleGit::NotSaid })
}

/// Whether its call can be taken back. A class that the example says tells it where a class does, and that of a built-in
/// tool; a call of a declared one may be of a higher class than its tool, which then says it of no payment.
fn reversible(example: View<'_>, class: Option<EffectClass>, tool: Option<&Manifest>) -> Option<bool> {
    let said = tool.and_then(|tool| tool.reversible);
    let own = tool.filter(|tool| runs_nothing(tool)).map(|tool| tool.class);
    let of_class = |class: EffectClass| class.reversible(said);
    let of_tool = || class.or(own).map_or(said.filter(|said| !said), of_class);
    flag(example, "reversible").or_else(of_tool)
}

fn flag(example: View<'_>, key: &str) -> Option<bool> {
    example.condition(key).map(|spot| spot.value == Test::Equal("true".to_owned()))
}

/// The first `None` where one is mistaken, the second where none is said of a tool that could have some.
fn values_of(checker: &mut Checker<'_>, example: View<'_>, tool: Option<&Manifest>) -> Option<Option<Vec<Atom>>> {
    let kinds =
        [("recipient", &[Kind::Email][..]), ("account", &[Kind::Account]), ("amount", &[Kind::Money, Kind::Number])];
    let (mut found, mut good) = (Vec::new(), true);
    for (key, kinds) in kinds {
        for spot in example.texts(key).into_iter().flat_map(|texts| texts.value) {
            match kinds.iter().find_map(|kind| Atom::of(*kind, &spot.value)).map(folded) {
                Some(atom) => found.push(atom),
                None => {
                    checker.mistakes.add(spot.place, Code::BadValue, format!("{} is no {key}", quoted(&spot.value)));
                    good = false;
                }
            }
        }
    }
    good.then(|| (tool.is_some_and(stays) || !found.is_empty()).then_some(found))
}

fn texts(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// The first `None` where one is mistaken, the second where it does not say them.
fn started(checker: &mut Checker<'_>, example: View<'_>, field: Field) -> Option<Option<Vec<String>>> {
    let Some(spot) = example.texts(field.word()) else { return Some(None) };
    let named: Vec<String> = spot.value.iter().map(|spot| spot.value.clone()).collect();
    programs(checker, field, spot.place, &Test::AnyOf(named.clone()))?;
    Some(Some(named))
}

/// `None` where one of its facts is mistaken.
pub fn call_of<'a>(checker: &mut Checker<'a>, agent: &str, example: View<'a>) -> Option<ExampleCall> {
    if !example.is_sound() {
        return None;
    }
    let mut named = |field: Field| {
        let Some(spot) = example.text(field.word()) else { return Some(None) };
        words(checker, field, spot.place, &Test::Equal(spot.value.to_owned()))?;
        Some(Some(spot.value.to_owned()))
    };
    let (of_agent, principal, channel) = (named(Field::Agent)?, named(Field::Principal)?, named(Field::Channel)?);
    let (tool, as_role, as_class) = (named(Field::Tool)?, named(Field::Role)?, named(Field::Class)?);
    let path = match example.text("path") {
        Some(spot) => Some(checker.real("path", &spot)?.path),
        None => None,
    };
    let of_principal = principal.as_ref().and_then(|name| checker.principals.get(name)).copied();
    let text = |key| example.text(key).map(|spot| spot.value);
    let label = |key| example.table("label")?.text(key).map(|spot| spot.value);
    let manifest = tool.as_ref().and_then(|name| checker.tools.get(name)).cloned();
    let of_tool = manifest.as_ref().map(|tool| tool.class);
    let as_class = as_class.and_then(|word| class(&word));
    let going = going(checker, example, manifest.as_ref())?;
    let nowhere = || (going == ExampleGoing::Nowhere).then(Vec::new);
    let audience = all(example, "audience", Audience::read).or_else(nowhere);
    let git = git(checker, example, manifest.as_ref())?;
    let none = || manifest.as_ref().is_some_and(runs_nothing).then(Vec::new);
    let commands = started(checker, example, Field::Subcommand)?;
    let name = |command: &String| command.split(' ').next().map(str::to_owned);
    let named = || commands.as_ref().map(|all| all.iter().filter_map(name).collect());
    let programs = started(checker, example, Field::Program)?.or_else(named).or_else(none);
    Some(ExampleCall {
        agent: of_agent.unwrap_or_else(|| agent.to_owned()),
        role: as_role.and_then(|word| role(&word)).or(of_principal),
        class: as_class.or(of_tool),
        reversible: reversible(example, as_class, manifest.as_ref()),
        speaks: text("speaks").and_then(|word| Speaks::ALL.into_iter().find(|speaks| speaks.word() == word)),
        tier: match text("tier").and_then(|word| Tier::ALL.into_iter().find(|tier| tier.word() == word)) {
            Some(tier) => Some(Some(tier)),
            None => manifest.as_ref().is_some_and(runs_nothing).then_some(None),
        },
        programs,
        commands: commands.or_else(none),
        principal,
        channel,
        tool,
        path,
        bytes_out: example.integer("bytes_out").map(|spot| spot.value),
        values: values_of(checker, example, manifest.as_ref())?,
        going,
        git,
        at: example.integer("at").map(|spot| spot.value),
        conf: label("conf").and_then(conf),
        integrity: label("integrity").and_then(integrity),
        sources: all(example, "source", |word| Source::ALL.into_iter().find(|source| source.word() == word)),
        provenance: all(example, "provenance", |word| Provenance::ALL.into_iter().find(|one| one.word() == word)),
        audience,
        seen: example.table("destination").and_then(|to| to.text("seen")).and_then(|spot| seen(spot.value)),
        mode: text("mode").and_then(|word| WorkMode::ALL.into_iter().find(|mode| mode.word() == word)),
    })
}

/// What words of an example stand for, in a list.
fn all<T, L: FromIterator<T>>(example: View<'_>, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<L> {
    Some(example.texts(key)?.value.iter().filter_map(|spot| read(&spot.value)).collect())
}

/// One of the runtime's own: what others declare, or a server offers, may do anything.
fn stays(tool: &Manifest) -> bool {
    backstay_tools::stays(&tool.name)
}

fn runs_nothing(tool: &Manifest) -> bool {
    backstay_tools::runs_nothing(&tool.name)
}

fn conf(word: &str) -> Option<Confidentiality> {
    let all = [Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret];
    all.into_iter().find(|conf| conf.word() == word)
}

fn seen(word: &str) -> Option<Seen> {
    Seen::ALL.into_iter().find(|seen| seen.word() == word)
}

fn integrity(word: &str) -> Option<Integrity> {
    [Integrity::Untrusted, Integrity::Trusted].into_iter().find(|integrity| integrity.word() == word)
}
