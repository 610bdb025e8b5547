//! A call as rules look at it, and the one place that knows what a missing fact does to a rule.
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::destination::{Audience, Destination, Method, Reachable};
use crate::facts::{Facts, Starts, Tier, program_of};
use crate::flow::{self, Named, Provenance};
use crate::frame::Frame;
use crate::git::{self, Git, compared};
use crate::home::Speaks;
use crate::id::Millis;
use crate::label::{Confidentiality, Integrity, Source, Sources};
use crate::mode::WorkMode;
use crate::money::Money;
use crate::policy::Role;
use crate::reached::{self, Seen};
use crate::record::Used;
use crate::rule::{Conditions, Field, Rule, RuleVerdict, Test};
use crate::session::Session;
use crate::tool::EffectClass;
use crate::words::{Atom, Kind};

/// The facts of one call; `None` is a fact that nobody knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subject<'a> {
    pub agent: Option<&'a str>,
    /// Who spoke.
    pub principal: Option<&'a str>,
    pub speaks: Option<Speaks>,
    pub role: Option<Role>,
    pub channel: Option<&'a str>,
    pub tool: Option<&'a str>,
    pub class: Option<EffectClass>,
    /// Whether what it does can be taken back.
    pub reversible: Option<bool>,
    /// How a call that runs something would be held; the inner `None`: it runs nothing.
    pub tier: Option<Option<Tier>>,
    /// All programs that its words start.
    pub programs: Option<Vec<&'a str>>,
    /// The same, each with its subcommand where it has one.
    pub commands: Option<Vec<&'a str>>,
    /// All that the call touches.
    pub paths: Option<Vec<&'a str>>,
    pub bytes_out: Option<u64>,
    /// Who gets it, and how much, as a declared tool is told.
    pub values: Option<&'a [Atom]>,
    pub going: Going<'a>,
    /// Who gets to know what it tells, of each place that it goes to.
    pub audience: Option<Vec<Audience>>,
    /// What it does with a repository there.
    pub git: With<'a>,
    pub now: Option<Millis>,
    /// Of the session's label, the join of all that has entered it.
    pub conf: Option<Confidentiality>,
    pub integrity: Option<Integrity>,
    pub sources: Option<Sources>,
    /// Of the values by which it chooses.
    pub provenance: Option<&'a BTreeSet<Provenance>>,
    pub mode: Option<WorkMode>,
    /// Whether it leads to where no call of the agent has been; the inner `None`: it leads nowhere.
    pub seen: Option<Option<Seen>>,
}

/// Where a call goes on the network, as far as that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Going<'a> {
    #[default]
    Unknown,
    /// Nothing holds of where it goes.
    Nowhere,
    To(To<'a>),
    /// To any of them, as often as it likes.
    Any(&'a [Reachable]),
}

/// What a call does with a repository, as far as that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum With<'a> {
    #[default]
    Unknown,
    /// Nothing holds of it.
    None,
    /// It asks for what git asks for, below the path of a repository, and nobody has looked into it.
    Perhaps(&'a Destination),
    Repository {
        repo: Option<&'a str>,
        refs: Option<Vec<&'a str>>,
        force: Option<bool>,
        changed: Option<Vec<&'a str>>,
    },
}

impl<'a> With<'a> {
    fn of(facts: &'a Facts) -> Self {
        let Some(Git { repo, refs, push }) = facts.git.as_deref() else {
            return match &facts.destination {
                // What a command says to a host nobody sees.
                _ if !facts.network.is_empty() => Self::Unknown,
                Some(to) if git::is_asked(&to.path) => Self::Perhaps(to),
                Some(_) | None => Self::None,
            };
        };
        fn texts(all: &[String]) -> Vec<&str> {
            all.iter().map(String::as_str).collect()
        }
        Self::Repository {
            repo: Some(repo),
            refs: Some(texts(refs)),
            force: Some(push.as_ref().is_some_and(|push| push.force)),
            changed: push.as_ref().map_or(Some(Vec::new()), |push| push.changed.as_deref().map(texts)),
        }
    }

    /// `None` where it cannot be told.
    fn meets(&self, field: Field, test: &Test, doubt: Doubt) -> Option<bool> {
        match (self, field) {
            (Self::Unknown, _) => None,
            (Self::None, _) => Some(false),
            (Self::Perhaps(to), Field::Repo) => {
                let may_be = git::above(to).iter().any(|repo| test.holds(repo));
                if may_be { None } else { Some(false) }
            }
            (Self::Perhaps(_), _) => None,
            (Self::Repository { repo, .. }, Field::Repo) => repo.map(|repo| test.holds(&compared(repo))),
            (Self::Repository { refs, .. }, Field::Ref) => refs.as_ref().map(|refs| meet(refs, test, doubt)),
            (Self::Repository { force, .. }, Field::Force) => force.map(|force| test.holds(flag(force))),
            (Self::Repository { changed, .. }, _) => changed.as_ref().map(|paths| meet(paths, test, doubt)),
        }
    }

    fn knows(&self, field: Field) -> bool {
        match (self, field) {
            (Self::Unknown | Self::Perhaps(_), _) => false,
            (Self::None, _) => true,
            (Self::Repository { repo, .. }, Field::Repo) => repo.is_some(),
            (Self::Repository { refs, .. }, Field::Ref) => refs.is_some(),
            (Self::Repository { force, .. }, Field::Force) => force.is_some(),
            (Self::Repository { changed, .. }, _) => changed.is_some(),
        }
    }
}

/// As a rule compares it.
fn flag(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct To<'a> {
    pub host: Option<&'a str>,
    pub port: Option<u16>,
    pub method: Option<Method>,
    pub path: Option<&'a str>,
    pub url_bytes: Option<u64>,
}

impl<'a> Going<'a> {
    fn of(facts: &'a Facts) -> Self {
        if !facts.network.is_empty() {
            return Self::Any(&facts.network);
        }
        let Some(Destination { host, port, method, path, url_bytes, header_bytes: _, scheme: _ }) = &facts.destination
        else {
            return Self::Nowhere;
        };
        Self::To(To {
            host: Some(host),
            port: Some(*port),
            method: Some(*method),
            path: Some(path),
            url_bytes: Some(*url_bytes),
        })
    }

    /// The one word of wherever it goes; `None` where it cannot be told, or is not one.
    pub(crate) fn one(self, fact: impl Fn(To<'a>) -> Option<String>) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::Nowhere => Some(String::new()),
            Self::To(to) => fact(to),
            Self::Any(places) => {
                let mut all = each(places).map(fact);
                let first = all.next()??;
                all.all(|other| other.as_ref() == Some(&first)).then_some(first)
            }
        }
    }

    /// `None` where it cannot be told.
    fn meets<T>(self, doubt: Doubt, fact: impl Fn(To<'a>) -> Option<T>, holds: impl Fn(T) -> bool) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Nowhere => Some(false),
            Self::To(to) => fact(to).map(holds),
            Self::Any(places) => of_several(each(places).map(|to| fact(to).map(&holds)), doubt),
        }
    }

    fn knows(self, fact: impl Fn(To<'a>) -> bool) -> bool {
        match self {
            Self::Unknown => false,
            Self::Nowhere => true,
            Self::To(to) => fact(to),
            Self::Any(places) => each(places).all(fact),
        }
    }
}

/// One is enough to stop a call, and all must fit to let it pass, as of paths.
fn of_several(each: impl Iterator<Item = Option<bool>>, doubt: Doubt) -> Option<bool> {
    let decides = doubt == Doubt::Holds;
    let mut each = each.peekable();
    // Of none nothing holds.
    let start = each.peek().is_some() && !decides;
    each.try_fold(start, |so_far, one| match one {
        Some(holds) if holds == decides => Err(Some(decides)),
        Some(_) => Ok(so_far),
        None => Err(None),
    })
    .map_or_else(|stopped| stopped, Some)
}

/// What a command may do in each place. Of the paths and of the bytes nobody knows, nor of what a tunnel carries.
fn each(places: &[Reachable]) -> impl Iterator<Item = To<'_>> {
    places.iter().flat_map(|place| {
        let to = To { host: Some(&place.host), port: Some(place.port), ..To::default() };
        let methods = if place.tunnel { &[][..] } else { &place.methods };
        let sealed = place.tunnel.then_some(to);
        methods.iter().map(move |method| To { method: Some(*method), ..to }).chain(sealed)
    })
}

/// What the rules say of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ruling<'r> {
    pub verdict: RuleVerdict,
    /// `None`: no rule matches, and the class decides.
    pub rule: Option<&'r Rule>,
}

/// Deny over ask over allow; of several alike, the first.
#[must_use]
pub fn ruling<'r>(rules: impl IntoIterator<Item = &'r Rule>, subject: &Subject<'_>) -> Ruling<'r> {
    let mut strictest: Option<&Rule> = None;
    for rule in rules {
        if strictest.is_none_or(|found| rule.verdict > found.verdict) && rule.matches(subject) {
            strictest = Some(rule);
        }
    }
    if let Some(rule) = strictest {
        return Ruling { verdict: rule.verdict, rule: Some(rule) };
    }
    let verdict = match (subject.class, subject.tier) {
        (Some(EffectClass::Read | EffectClass::Write), _) => RuleVerdict::Allow,
        // What runs is held, whatever it is.
        (Some(EffectClass::Execute), Some(Some(Tier::Full | Tier::Copy))) => RuleVerdict::Allow,
        (Some(EffectClass::Execute | EffectClass::Send | EffectClass::Spend) | None, _) => RuleVerdict::Ask,
    };
    Ruling { verdict, rule: None }
}

/// Where a condition falls that cannot be told, and whether one of several values is enough for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doubt {
    Holds,
    Fails,
}

impl Doubt {
    fn of(verdict: RuleVerdict) -> Self {
        match verdict {
            RuleVerdict::Ask | RuleVerdict::Deny => Self::Holds,
            RuleVerdict::Allow => Self::Fails,
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
        }
    }
}

impl Rule {
    /// Whether it speaks on this call, now.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let over = match (self.until, subject.now) {
            (None, _) => false,
            (Some(until), Some(now)) => until <= now,
            // An allow that may be over is over, a deny that may be over is not.
            (Some(_), None) => self.verdict == RuleVerdict::Allow,
        };
        !over && self.fits(subject)
    }

    /// The same at any time of its life. Doubt makes a deny or an ask fit and an allow not fit, so an
    /// exception that cannot be told keeps a deny or an ask, and takes an allow away.
    #[must_use]
    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        self.fits_as(self.verdict, subject)
    }

    pub(crate) fn fits_as(&self, verdict: RuleVerdict, subject: &Subject<'_>) -> bool {
        self.fits_doubting(verdict, verdict, subject)
    }

    /// The same of a rule of this verdict, where a missing fact counts as it does in one of that `doubts` says: what
    /// both kinds of rules say, no missing fact could change.
    #[must_use]
    pub fn fits_doubting(&self, verdict: RuleVerdict, doubts: RuleVerdict, subject: &Subject<'_>) -> bool {
        let (doubt, missing) = (Doubt::of(verdict), Doubt::of(doubts));
        let is_excepted =
            !self.unless.is_empty() && all_hold(&self.unless, subject, doubt.opposite(), missing.opposite());
        all_hold(&self.when, subject, doubt, missing) && !is_excepted
    }

    /// What it looks at, each once.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(|field| self.looks_at(*field))
    }

    /// Whether it looks at this.
    #[must_use]
    pub fn looks_at(&self, field: Field) -> bool {
        self.when.contains_key(&field) || self.unless.contains_key(&field)
    }
}

fn all_hold(conditions: &Conditions, subject: &Subject<'_>, doubt: Doubt, missing: Doubt) -> bool {
    // The one place where a fact is missing.
    conditions.iter().all(|(field, test)| subject.meets(*field, test, doubt).unwrap_or(missing == Doubt::Holds))
}

impl<'a> Subject<'a> {
    /// `None`: the policy does not know who spoke, so it cannot know the role.
    #[must_use]
    pub fn of(
        session: &'a Session,
        tool: &'a str,
        (facts, named): (&'a Facts, &'a Named),
        frame: &Frame<'_>,
    ) -> Option<Self> {
        let (principal, channel) = match &session.turn {
            Some(turn) => (turn.principal.as_str(), turn.channel.as_str()),
            None => (session.principal.as_str(), session.channel.as_str()),
        };
        let (agent, manifest) = (frame.policy.agents.get(&session.agent), frame.policy.tools.get(tool));
        Some(Self {
            agent: Some(&session.agent),
            principal: Some(principal),
            speaks: session.turn.as_ref().and_then(|turn| turn.speaks),
            role: Some(*frame.policy.principals.get(principal)?),
            channel: Some(channel),
            tool: Some(tool),
            now: Some(frame.now),
            conf: Some(session.label.conf),
            integrity: Some(session.label.integrity),
            sources: Some(session.label.sources),
            provenance: named.provenance.as_ref(),
            audience: agent.and_then(|agent| flow::audience(agent, manifest, facts)),
            mode: Some(frame.switches.mode),
            seen: reached::least(reached::places(tool, facts).as_deref(), &frame.reached),
            ..Self::of_facts(facts)
        })
    }

    /// What the facts alone tell.
    #[must_use]
    pub fn of_facts(facts: &'a Facts) -> Self {
        let reads = facts.class == EffectClass::Read;
        let (programs, commands) = started(facts);
        Self {
            class: Some(facts.class),
            reversible: facts.class.reversible(facts.reversible),
            tier: tier(facts),
            programs,
            commands,
            paths: (!facts.more_paths).then(|| facts.paths.iter().map(|path| path.real.as_str()).collect()),
            bytes_out: facts.bytes_out.or(reads.then_some(0)),
            values: values(facts),
            going: Going::of(facts),
            audience: (!flow::leaves(facts)).then(Vec::new),
            git: With::of(facts),
            ..Self::default()
        }
    }

    /// What a record says of a field that a rule looked at.
    #[must_use]
    pub fn used(&self, field: Field) -> Used {
        let used = match field {
            Field::Agent => self.agent.map(|name| Used::Agent(name.into())),
            Field::Principal => self.principal.map(|name| Used::Principal(name.into())),
            Field::Role => self.role.map(Used::Role),
            Field::Channel => self.channel.map(|name| Used::Channel(name.into())),
            Field::Tool => self.tool.map(|name| Used::Tool(name.into())),
            Field::Class => self.class.map(|_| Used::Class),
            Field::Path => self.paths.as_ref().map(|_| Used::Path),
            Field::BytesOut => self.bytes_out.map(|_| Used::BytesOut),
            Field::Recipient => self.texts(Kind::Email).map(|_| Used::Recipient),
            Field::Account => self.texts(Kind::Account).map(|_| Used::Account),
            Field::Amount => self.amounts().map(|_| Used::Amount),
            Field::Host => self.going.knows(|to| to.host.is_some()).then_some(Used::Host),
            Field::Port => self.going.knows(|to| to.port.is_some()).then_some(Used::Port),
            Field::Method => self.going.knows(|to| to.method.is_some()).then_some(Used::Method),
            Field::UrlPath => self.going.knows(|to| to.path.is_some()).then_some(Used::UrlPath),
            Field::UrlBytes => self.going.knows(|to| to.url_bytes.is_some()).then_some(Used::UrlBytes),
            Field::Repo => self.git.knows(field).then_some(Used::Repo),
            Field::Ref => self.git.knows(field).then_some(Used::Ref),
            Field::Force => self.git.knows(field).then_some(Used::Force),
            Field::Changed => self.git.knows(field).then_some(Used::Changed),
            Field::Clock => self.now.map(Used::Clock),
            Field::Weekday => self.now.map(Used::Weekday),
            Field::LabelConf => self.conf.map(Used::LabelConf),
            Field::LabelIntegrity => self.integrity.map(Used::LabelIntegrity),
            Field::Mode => self.mode.map(Used::Mode),
            Field::Seen => self.seen.map(Used::Seen),
            Field::Speaks => self.speaks.map(Used::Speaks),
            Field::Tier => self.tier.map(|_| Used::Tier),
            Field::Program => self.programs.as_ref().map(|_| Used::Program),
            Field::Subcommand => self.commands.as_ref().map(|_| Used::Subcommand),
            Field::Source => self.sources.map(Used::Source),
            Field::Provenance => self.provenance.cloned().map(Used::Provenance),
            Field::Audience => self.audience.clone().map(Used::Audience),
            Field::Reversible => self.reversible.map(Used::Reversible),
        };
        used.unwrap_or(Used::Missing(field))
    }

    /// `None` where it cannot be told.
    fn meets(&self, field: Field, test: &Test, doubt: Doubt) -> Option<bool> {
        match field {
            Field::Agent => self.agent.map(|name| test.holds(name)),
            Field::Principal => self.principal.map(|name| test.holds(name)),
            Field::Role => self.role.map(|role| test.holds(role.word())),
            Field::Channel => self.channel.map(|name| test.holds(name)),
            Field::Tool => self.tool.map(|name| test.holds(name)),
            Field::Class => self.class.map(|class| test.holds(class.word())),
            Field::Reversible => self.reversible.map(|reversible| test.holds(flag(reversible))),
            Field::LabelConf => self.conf.map(|conf| test.holds(conf.word())),
            Field::LabelIntegrity => self.integrity.map(|integrity| test.holds(integrity.word())),
            Field::Mode => self.mode.map(|mode| test.holds(mode.word())),
            Field::Seen => self.seen.map(|seen| seen.is_some_and(|seen| test.holds(seen.word()))),
            Field::Speaks => self.speaks.map(|speaks| test.holds(speaks.word())),
            Field::Tier => self.tier.map(|tier| tier.is_some_and(|tier| test.holds(tier.word()))),
            Field::Program => self.programs.as_ref().map(|all| meet(all, test, doubt)),
            Field::Subcommand => self.commands.as_ref().map(|all| meet(all, test, doubt)),
            Field::Source => self.sources.map(|all| meet_words(all.iter().map(Source::word), test, doubt)),
            Field::Provenance => self.provenance.map(|all| meet_words(all.iter().map(|one| one.word()), test, doubt)),
            Field::Audience => {
                self.audience.as_ref().map(|all| meet_words(all.iter().map(|one| one.word()), test, doubt))
            }
            Field::Path => self.paths.as_ref().map(|paths| meet(paths, test, doubt)),
            Field::BytesOut => self.bytes_out.and_then(|bytes| within(test, bytes)),
            Field::Recipient => self.texts(Kind::Email).map(|all| meet(&all, test, doubt)),
            Field::Account => self.texts(Kind::Account).map(|all| meet(&all, test, doubt)),
            Field::Amount => self.amounts().and_then(|all| of_several(all.iter().map(|one| costs(test, one)), doubt)),
            Field::Host => self.going.meets(doubt, |to| to.host, |host| test.holds(host)),
            Field::Port => self.going.meets(doubt, |to| within(test, u64::from(to.port?)), |holds| holds),
            Field::Method => self.going.meets(doubt, |to| to.method, |method| test.holds(method.word())),
            Field::UrlPath => self.going.meets(doubt, |to| to.path, |path| test.holds(path)),
            Field::UrlBytes => self.going.meets(doubt, |to| within(test, to.url_bytes?), |holds| holds),
            Field::Repo | Field::Ref | Field::Force | Field::Changed => self.git.meets(field, test, doubt),
            Field::Clock => {
                let Test::Clock(hours) = test else { return None };
                Some(hours.hold(hours.zone.local(self.now?)?.minute))
            }
            Field::Weekday => {
                let Test::Weekday(days) = test else { return None };
                Some(days.days.contains(&days.zone.local(self.now?)?.weekday))
            }
        }
    }
}

impl<'a> Subject<'a> {
    /// All values of a kind; `None` where there may be others: whoever is told something, or paid, by an id or at a URL
    /// may be anybody.
    pub(crate) fn texts(&self, kind: Kind) -> Option<Vec<&'a str>> {
        let values = self.values?;
        let hides = |Atom(of, _): &Atom| matches!(of, Kind::Url | Kind::Host | Kind::Id | Kind::QuotedString);
        let stays = matches!(self.class, Some(EffectClass::Read | EffectClass::Write));
        if !stays && values.iter().any(hides) {
            return None;
        }
        Some(values.iter().filter(|Atom(of, _)| *of == kind).map(|Atom(_, text)| text.as_str()).collect())
    }

    /// Numbers too: which of them is a price the tool alone knows.
    pub(crate) fn amounts(&self) -> Option<Vec<Money>> {
        self.values?.iter().filter(|Atom(of, _)| matches!(of, Kind::Money | Kind::Number)).map(Money::of).collect()
    }
}

/// Of what runs elsewhere, or was recorded before there were tiers, nobody knows it.
fn tier(facts: &Facts) -> Option<Option<Tier>> {
    (facts.tier.is_some() || !facts.runs()).then_some(facts.tier)
}

/// What it starts, and that with its subcommands: nothing where it runs nothing.
fn started(facts: &Facts) -> (Option<Vec<&str>>, Option<Vec<&str>>) {
    let commands = || facts.programs.iter().map(String::as_str);
    let programs = || Some(commands().map(program_of).collect());
    match facts.starts {
        Starts::Unknown if facts.runs() => (None, None),
        Starts::Programs => (programs(), None),
        Starts::Unknown | Starts::Commands => (programs(), Some(commands().collect())),
    }
}

/// What is known of whom a call reaches and of what it costs: of a tool that is declared what its manifest says, of
/// what stays in the home that there is nothing to know, and of all else nothing.
fn values(facts: &Facts) -> Option<&[Atom]> {
    let stays = match facts.class {
        EffectClass::Read | EffectClass::Write => facts.destination.is_none(),
        EffectClass::Execute | EffectClass::Send | EffectClass::Spend => false,
    };
    match &facts.addressed {
        Some(addressed) => (!addressed.more).then_some(&addressed.values),
        None => (facts.declared.is_some() || stays).then_some(&[]),
    }
}

/// `None`: another currency, or what is asked is about no amount.
fn costs(test: &Test, value: &Money) -> Option<bool> {
    let Test::Amount(bounds) = test else { return None };
    let of_one = bounds.iter().all(|(_, bound)| bound.currency == value.currency);
    of_one.then(|| bounds.iter().all(|(order, bound)| order.holds(value.hundredths, bound.hundredths)))
}

/// `None`: what is asked is about no number.
fn within(test: &Test, value: u64) -> Option<bool> {
    let Test::Number(bounds) = test else { return None };
    Some(bounds.iter().all(|(order, bound)| order.holds(value, *bound)))
}

/// One path is enough to stop a call; all must fit to let it pass. Nothing holds of the paths of a
/// call that touches none.
fn meet(paths: &[&str], test: &Test, doubt: Doubt) -> bool {
    meet_words(paths.iter().copied(), test, doubt)
}

fn meet_words<'t>(words: impl Iterator<Item = &'t str>, test: &Test, doubt: Doubt) -> bool {
    let one = match test {
        Test::Intersects(_) => true,
        Test::SubsetOf(_) => false,
        Test::Equal(_)
        | Test::AnyOf(_)
        | Test::NotIn(_)
        | Test::Glob(_)
        | Test::Under(_)
        | Test::SubdomainOf(_)
        | Test::Number(_)
        | Test::Amount(_)
        | Test::Clock(_)
        | Test::Weekday(_) => doubt == Doubt::Holds,
    };
    let mut words = words.peekable();
    if one { words.any(|word| test.holds(word)) } else { words.peek().is_some() && words.all(|word| test.holds(word)) }
}
