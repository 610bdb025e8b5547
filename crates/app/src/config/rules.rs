//! Rules as the kernel reads them.
use std::collections::BTreeSet;

use backstay_kernel::flow::folded;
use backstay_kernel::home::Speaks;
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::policy::Role;
use backstay_kernel::rule::{AT_HOME, Approvers, Conditions, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::words::{Atom, Kind};

use super::check::{Checker, role};
use super::examples::{Example, call_of, try_example};
use super::keys::{
    AUDIENCES, CLASSES, CONFIDENTIALITY, INTEGRITY, METHODS, MODES, PROVENANCES, ROLES, SEEN, SOURCES, SPEAKERS, TIERS,
};
use super::mistake::{Code, Place, quoted};
use super::raw::View;
use super::value::Spot;

/// Whose the rules of the home are, where an agent's name would stand.
pub const EVERY_AGENT: &str = "*";

/// The rules of the home, which every agent has before its own: what is further down only narrows.
pub fn of_home(checker: &mut Checker<'_>) -> Vec<Rule> {
    let rows = checker.root.rows("rules");
    for row in &rows {
        if let Some(verdict) = row.text("verdict").filter(|spot| verdict(spot.value) == Some(RuleVerdict::Allow)) {
            let message = "a rule of the home asks or denies: an `allow` here would widen what every agent may do";
            let next = "write it for the agents that it is meant for: [[agents.NAME.rules]]";
            checker.mistakes.suggest(verdict.place, Code::BadValue, message, next);
        }
    }
    rules(checker, EVERY_AGENT, rows, &[])
}

/// The rules of one agent, in the order of the file, behind those of the home.
pub fn of_agent<'a>(checker: &mut Checker<'a>, agent: &str, table: View<'a>, home: &[Rule]) -> Vec<Rule> {
    let own = rules(checker, agent, table.rows("rules"), home);
    home.iter().cloned().chain(own).collect()
}

fn rules<'a>(checker: &mut Checker<'a>, agent: &str, rows: Vec<View<'a>>, before: &[Rule]) -> Vec<Rule> {
    let mut names: BTreeSet<&str> = before.iter().map(|rule| rule.name.as_str()).collect();
    let mut out = Vec::new();
    for row in rows {
        if let Some(name) = row.text("name")
            && !names.insert(name.value)
        {
            let message = format!("a second rule with the name {}", quoted(name.value));
            checker.mistakes.add(name.place, Code::Duplicate, message);
        }
        out.extend(rule(checker, agent, row));
    }
    out
}

/// `None` where a part is mistaken; its examples would only repeat that.
fn rule<'a>(checker: &mut Checker<'a>, agent: &str, row: View<'a>) -> Option<Rule> {
    let verdict = row.text("verdict").and_then(|spot| verdict(spot.value));
    let when = row.table("match").and_then(|table| conditions(checker, table));
    let limits = limits(checker, row, verdict);
    let asks = verdict == Some(RuleVerdict::Ask) || limits.iter().flatten().any(|limit| limit.over == Over::Ask);
    let (approvers, expires_ms) = asked(checker, row, verdict.map(|_| asks));
    // The one word that the table of keys lets through.
    let speaks = row.table("ask").and_then(|ask| ask.text("speaks")).map(|_| Speaks::Human);
    let unless = row.table("unless").map(|table| exception(checker, table));
    let rule = Rule {
        line: u32::try_from(row.place.line).unwrap_or(u32::MAX),
        unless: unless.unwrap_or_else(|| Some(Conditions::new()))?,
        until: row.integer("until").map(|spot| spot.value),
        reason: row.text("reason").map(|spot| spot.value.to_owned()),
        approvers,
        speaks,
        expires_ms,
        limits: limits?,
        ..Rule::new(row.text("name")?.value, verdict?, when?)
    };
    for (key, expected) in [("matches", true), ("does_not_match", false)] {
        for example in row.rows(key) {
            // One that says of no agent is tried as the first one's call.
            let first = || checker.root.named("agents").first().map(|(name, _)| (*name).to_owned());
            let of = if agent == EVERY_AGENT { first().unwrap_or_default() } else { agent.to_owned() };
            let Some(call) = call_of(checker, &of, example) else { continue };
            try_example(checker, &rule, example.place, &call, expected);
            let line = example.place.line;
            checker.examples.push(Example {
                line,
                agent: agent.to_owned(),
                rule: rule.name.clone(),
                matches: expected,
                call,
            });
        }
    }
    Some(rule)
}

fn verdict(word: &str) -> Option<RuleVerdict> {
    match word {
        "allow" => Some(RuleVerdict::Allow),
        "ask" => Some(RuleVerdict::Ask),
        "deny" => Some(RuleVerdict::Deny),
        _ => None,
    }
}

/// Who answers, and for how long. A rule that does not ask has the defaults, which nothing reads.
/// `asks`: unless that is mistaken.
fn asked(checker: &mut Checker<'_>, row: View<'_>, asks: Option<bool>) -> (Approvers, u64) {
    let (asks, is_known) = (asks == Some(true), asks.is_some());
    let owner = || Approvers::owners();
    let Some(ask) = row.table("ask") else {
        if asks {
            answerable(checker, row.place, &owner());
        }
        return (owner(), backstay_kernel::limits::ASK_EXPIRES_MS);
    };
    if is_known && !asks {
        checker.mistakes.add(ask.place, Code::NotUsed, "`ask` has no use in a rule that never asks");
    }
    let expires_ms = ask.integer("expires").map_or(backstay_kernel::limits::ASK_EXPIRES_MS, |spot| spot.value);
    let (roles, principals) = (ask.texts("role"), ask.texts("principal"));
    if let (Some(_), Some(second)) = (&roles, &principals) {
        checker.mistakes.add(second.place, Code::BadValue, "`ask` must name either `role` or `principal`, not both");
    }
    let place = roles.as_ref().or(principals.as_ref()).map_or(ask.place, |spot| spot.place);
    let who = match (roles, principals) {
        (_, Some(names)) => {
            let mut all_known = true;
            for Spot { place, value } in names.value {
                all_known &= checker.known("principal", "principals", &Spot { place: *place, value: value.as_str() });
            }
            if !all_known {
                return (owner(), expires_ms);
            }
            Who::Principals(names.value.iter().map(|spot| spot.value.clone()).collect())
        }
        (Some(roles), None) => Who::Roles(roles.value.iter().filter_map(|spot| role(&spot.value)).collect()),
        (None, None) => owner().who,
    };
    let named = |key| ask.texts(key).map(|spot| spot.value).unwrap_or_default().iter().map(|spot| spot.value.clone());
    let approvers = Approvers {
        who,
        quorum: ask.integer("quorum").map_or(1, |spot| u32::try_from(spot.value).unwrap_or(u32::MAX)),
        but_requester: named("distinct_from").len() > 0,
        channels: named("channels").collect(),
    };
    if asks && ask.is_sound() {
        answerable(checker, place, &approvers);
    }
    (approvers, expires_ms)
}

/// `None` where one is mistaken.
fn limits(checker: &mut Checker<'_>, row: View<'_>, verdict: Option<RuleVerdict>) -> Option<Vec<Limit>> {
    let mut out: Vec<Limit> = Vec::new();
    let mut good = true;
    for table in row.rows("limit") {
        if verdict == Some(RuleVerdict::Deny) {
            checker.mistakes.add(table.place, Code::NotUsed, "`limit` has no use in a rule whose verdict is \"deny\"");
        }
        let Some(limit) = limit(checker, table) else {
            good = false;
            continue;
        };
        let same = |other: &Limit| {
            (other.measure, &other.per, other.of_home, other.window_ms)
                == (limit.measure, &limit.per, limit.of_home, limit.window_ms)
        };
        if out.iter().any(same) {
            let message = "a second limit of the same measure, `per` and `window`";
            checker.mistakes.add(table.place, Code::Duplicate, message);
        }
        out.push(limit);
    }
    good.then_some(out)
}

fn limit(checker: &mut Checker<'_>, table: View<'_>) -> Option<Limit> {
    if !table.is_sound() {
        return None;
    }
    let measure = match (table.flag("count"), table.text("sum").map(|spot| spot.value)) {
        (true, None) => Measure::Count,
        (false, Some("url_bytes")) => Measure::UrlBytes,
        (false, Some("amount")) => Measure::Amount,
        (false, Some(_)) => Measure::BytesOut,
        _ => {
            let message = "a limit has either `count = true` or `sum`";
            checker.mistakes.add(table.place, Code::BadValue, message);
            return None;
        }
    };
    let named = table.texts("per").map(|spot| spot.value).unwrap_or_default();
    let of_word = |field: &Field| named.iter().any(|spot| spot.value == field.word());
    let over = match table.text("over")?.value {
        "ask" => Over::Ask,
        _ => Over::Deny,
    };
    let (max, currency) = match (measure, table.integer("max"), table.amount("max")) {
        (Measure::Amount, None, Some(spot)) => (spot.value.hundredths, spot.value.currency.clone()),
        (Measure::Count | Measure::BytesOut | Measure::UrlBytes, Some(spot), None) => (spot.value, None),
        _ => {
            let message = "`max` is an amount such as \"50.00 EUR\" where `sum` is \"amount\", and else a number";
            checker.mistakes.add(table.place, Code::BadValue, message);
            return None;
        }
    };
    Some(Limit {
        measure,
        per: Field::ALL.into_iter().filter(of_word).collect(),
        of_home: named.iter().any(|spot| spot.value == "home"),
        window_ms: table.integer("window")?.value,
        max,
        currency,
        over,
    })
}

/// An ask that too few may answer is a deny in disguise.
fn answerable(checker: &mut Checker<'_>, place: Place, approvers: &Approvers) {
    const NEXT: &str = "name a role or principals that the file holds";
    let who = checker.principals.iter().filter(|(_, role)| **role != Role::Metrics);
    let comes = |name: &String, channel: &&str| {
        let doors = checker.doors.get(name);
        approvers.hear(channel) && doors.is_none_or(|doors| doors.iter().any(|door| door == channel))
    };
    let may = |(name, role): &(&String, &Role)| {
        approvers.include(name, **role) && ["cli", "api"].iter().any(|channel| comes(name, channel))
    };
    let (can, cannot): (Vec<_>, Vec<_>) = who.partition(may);
    // Where all who may ask may also answer, whoever asks is one of them.
    let out = usize::from(approvers.but_requester && cannot.is_empty());
    let (left, quorum) = (can.len().saturating_sub(out), approvers.quorum);
    if quorum > 1 && !approvers.hear(AT_HOME) {
        let message = "a quorum of two and more is said at this machine: `channels` leaves no door for it";
        checker.mistakes.suggest(place, Code::NoApprover, message, "add \"cli\" to `channels`");
    } else if left == 0 {
        checker.mistakes.suggest(place, Code::NoApprover, "nobody in `principals` could answer this ask", NEXT);
    } else if left < usize::try_from(quorum).unwrap_or(usize::MAX) {
        let message = format!("of `principals` {left} could say yes to this ask, and it wants {quorum}");
        checker.mistakes.suggest(place, Code::NoApprover, message, NEXT);
    }
}

/// Without a condition it would hold of every call, and the rule of none.
fn exception<'a>(checker: &mut Checker<'a>, table: View<'a>) -> Option<Conditions> {
    let unless = conditions(checker, table)?;
    if unless.is_empty() {
        let message = "`unless` without a condition would take the rule away";
        checker.mistakes.add(table.place, Code::BadValue, message);
        return None;
    }
    Some(unless)
}

fn conditions<'a>(checker: &mut Checker<'a>, table: View<'a>) -> Option<Conditions> {
    let mut out = Conditions::new();
    let inner = |field| table.table(table_of(field)?.0);
    let mut good = table.is_sound() && Field::ALL.into_iter().filter_map(inner).all(View::is_sound);
    for field in Field::ALL {
        let written = match table_of(field) {
            Some((_, key)) => inner(field).and_then(|table| table.condition(key)),
            None => table.condition(field.word()),
        };
        let Some(Spot { place, value }) = written else { continue };
        let read = match field {
            Field::Path => paths(checker, *place, value),
            Field::Host => checker.hosts_of_rule(*place, value),
            Field::UrlPath => checker.url_paths_of_rule(*place, value),
            Field::Recipient => values(checker, Kind::Email, field, *place, value),
            Field::Account => values(checker, Kind::Account, field, *place, value),
            Field::Program | Field::Subcommand => programs(checker, field, *place, value),
            Field::Repo | Field::Ref | Field::Changed => checker.repositories_of_rule(field, *place, value),
            Field::BytesOut
            | Field::Amount
            | Field::Port
            | Field::UrlBytes
            | Field::Force
            | Field::Reversible
            | Field::Clock
            | Field::Weekday => Some(value.clone()),
            Field::Agent
            | Field::Principal
            | Field::Role
            | Field::Channel
            | Field::Tool
            | Field::Class
            | Field::LabelConf
            | Field::Seen
            | Field::LabelIntegrity
            | Field::Mode
            | Field::Speaks
            | Field::Tier
            | Field::Source
            | Field::Provenance
            | Field::Audience
            | Field::Method => words(checker, field, *place, value),
        };
        match read {
            Some(test) => drop(out.insert(field, test)),
            None => good = false,
        }
    }
    let zone = if let Some(Test::Clock(hours)) = out.get(&Field::Clock) { Some(hours.zone.clone()) } else { None };
    if let (Some(zone), Some(Test::Weekday(days))) = (zone, out.get_mut(&Field::Weekday)) {
        days.zone = zone;
    }
    good.then_some(out)
}

/// Of what stands in a table of its own, that and the key.
fn table_of(field: Field) -> Option<(&'static str, &'static str)> {
    match field {
        Field::LabelConf => Some(("label", "conf")),
        Field::LabelIntegrity => Some(("label", "integrity")),
        Field::Seen => Some(("destination", "seen")),
        Field::Mode
        | Field::Speaks
        | Field::Tier
        | Field::Program
        | Field::Subcommand
        | Field::Source
        | Field::Provenance
        | Field::Audience
        | Field::Agent
        | Field::Principal
        | Field::Role
        | Field::Channel
        | Field::Tool
        | Field::Class
        | Field::Path
        | Field::BytesOut
        | Field::Recipient
        | Field::Account
        | Field::Amount
        | Field::Clock
        | Field::Host
        | Field::Port
        | Field::Method
        | Field::UrlPath
        | Field::UrlBytes
        | Field::Repo
        | Field::Ref
        | Field::Force
        | Field::Changed
        | Field::Reversible
        | Field::Weekday => None,
    }
}

fn paths(checker: &mut Checker<'_>, place: Place, test: &Test) -> Option<Test> {
    let real = |path: &String| checker.ground.real(path).map(|real| real.path);
    let glob = |pattern: &String| checker.ground.real_glob(pattern);
    let read = test.map(real, glob);
    if let Err(problem) = &read {
        checker.mistakes.add(place, Code::BadPath, format!("`path`: this path {problem}"));
    }
    read.ok()
}

/// In the form in which the values of a call are: written otherwise it would look right and never fire.
fn values(checker: &mut Checker<'_>, kind: Kind, field: Field, place: Place, test: &Test) -> Option<Test> {
    let one = |text: &String| Atom::of(kind, text).map(folded).map(|Atom(_, text)| text).ok_or(());
    let read = test.map(one, |glob| pattern_of(kind, glob).ok_or(())).ok();
    if read.is_none() {
        checker.mistakes.add(place, Code::BadValue, format!("a text of {} is none", quoted(field.word())));
    }
    read
}

/// In the form in which a call names them: written otherwise it would look right and never fire.
pub fn programs(checker: &mut Checker<'_>, field: Field, place: Place, test: &Test) -> Option<Test> {
    let is_name = |word: &str| !word.is_empty() && !word.contains('/');
    let is_glob = |text: &String| text.split(' ').all(is_name);
    let is_word = |word: &str| is_name(word) && !word.starts_with('-') && !word.contains(char::is_whitespace);
    let is_subcommand = field == Field::Subcommand;
    let is_text = |text: &String| match text.contains(' ') {
        true => is_subcommand && text.split(' ').all(is_word),
        // A program that has subcommands is by itself but what stands without one.
        false => is_word(text) && (!is_subcommand || backstay_tools::stands_alone(text)),
    };
    let kept = |is_good: bool, text: &String| if is_good { Ok(text.clone()) } else { Err(()) };
    let good = test.map(|text| kept(is_text(text), text), |glob| kept(is_glob(glob), glob)).is_ok();
    if !good {
        let message = if is_subcommand {
            "a subcommand is written with its program, such as \"git push\" (all of them: a glob, \"git *\"), and is no option and no path"
        } else {
            "a program is written by its name alone, such as \"git\""
        };
        checker.mistakes.add(place, Code::BadValue, message);
    }
    good.then(|| test.clone())
}

/// In the letters in which such values are; `None` where it could fit none. A `/` means nothing in them.
fn pattern_of(kind: Kind, pattern: &str) -> Option<String> {
    let is_account = kind == Kind::Account;
    let pattern = if is_account { pattern.replace(' ', "").to_ascii_uppercase() } else { pattern.to_ascii_lowercase() };
    let stars = pattern.split('*').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("**");
    let (first, last) = (pattern.starts_with('*'), pattern.ends_with('*'));
    let whole =
        format!("{}{stars}{}", if first { "**" } else { "" }, if last && !stars.is_empty() { "**" } else { "" });
    (whole.is_ascii() && !whole.contains(char::is_whitespace)).then_some(whole)
}

/// Names must exist: a rule with a misspelt tool would look right and never fire.
pub fn words(checker: &mut Checker<'_>, field: Field, place: Place, test: &Test) -> Option<Test> {
    let key = field.word();
    let known: Vec<String> = match field {
        Field::Agent => checker.root.named("agents").iter().map(|(name, _)| (*name).to_owned()).collect(),
        Field::Principal => checker.root.named("principals").iter().map(|(name, _)| (*name).to_owned()).collect(),
        Field::Role => ROLES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Tool => checker.tools.keys().cloned().collect(),
        Field::Class => CLASSES.iter().map(|word| (*word).to_owned()).collect(),
        Field::LabelConf => CONFIDENTIALITY.iter().map(|word| (*word).to_owned()).collect(),
        Field::LabelIntegrity => INTEGRITY.iter().map(|word| (*word).to_owned()).collect(),
        Field::Seen => SEEN.iter().map(|word| (*word).to_owned()).collect(),
        Field::Mode => MODES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Speaks => SPEAKERS.iter().map(|word| (*word).to_owned()).collect(),
        Field::Tier => TIERS.iter().map(|word| (*word).to_owned()).collect(),
        Field::Source => SOURCES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Provenance => PROVENANCES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Audience => AUDIENCES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Method => METHODS.iter().map(|word| (*word).to_owned()).collect(),
        // Doors name themselves; the configuration does not know them.
        Field::Channel
        | Field::Program
        | Field::Subcommand
        | Field::Path
        | Field::BytesOut
        | Field::Recipient
        | Field::Account
        | Field::Amount
        | Field::Host
        | Field::Port
        | Field::UrlPath
        | Field::UrlBytes
        | Field::Repo
        | Field::Ref
        | Field::Force
        | Field::Changed
        | Field::Reversible
        | Field::Clock
        | Field::Weekday => return Some(test.clone()),
    };
    let (named, globs) = match test {
        Test::Equal(word) => (std::slice::from_ref(word), &[][..]),
        Test::AnyOf(words) | Test::NotIn(words) => (words.as_slice(), &[][..]),
        Test::Glob(glob) => (&[][..], std::slice::from_ref(glob)),
        Test::Intersects(globs) | Test::SubsetOf(globs) => (&[][..], globs.as_slice()),
        // The table of keys lets none of these stand here.
        Test::Under(_)
        | Test::SubdomainOf(_)
        | Test::Number(_)
        | Test::Amount(_)
        | Test::Clock(_)
        | Test::Weekday(_) => return None,
    };
    let mut good = true;
    for word in named {
        good &= is_known(checker, place, key, word, &known);
    }
    for glob in globs {
        let test = Test::Glob(glob.clone());
        if !known.iter().any(|name| test.holds(name)) {
            let message = format!("the glob {} fits no known {key}", quoted(glob));
            checker.mistakes.add(place, Code::UnknownName, message);
            good = false;
        }
    }
    good.then(|| test.clone())
}

fn is_known(checker: &mut Checker<'_>, place: Place, key: &str, word: &str, known: &[String]) -> bool {
    let good = known.iter().any(|name| name == word);
    if !good {
        checker.mistakes.unknown(place, Code::UnknownName, key, word, known.iter().map(String::as_str));
    }
    good
}

#[must_use]
pub fn class(word: &str) -> Option<EffectClass> {
    let all = [EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send, EffectClass::Spend];
    all.into_iter().find(|class| class.word() == word)
}
