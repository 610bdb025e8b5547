//! Rules as the kernel reads them, and the examples that each must live up to.
use std::collections::{BTreeMap, BTreeSet};

use backstay_kernel::home::Speaks;
use backstay_kernel::policy::Role;
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::EffectClass;

use super::check::{Checker, role};
use super::keys::{CLASSES, ROLES};
use super::mistake::{Code, Place, list, quoted};
use super::raw::View;
use super::value::Spot;

const FIELDS: [(Field, &str); 7] = [
    (Field::Agent, "agent"),
    (Field::Principal, "principal"),
    (Field::Role, "role"),
    (Field::Channel, "channel"),
    (Field::Tool, "tool"),
    (Field::Class, "class"),
    (Field::Path, "path"),
];

/// The rules of one agent, in the order of the file.
pub fn rules<'a>(checker: &mut Checker<'a>, agent: &str, table: View<'a>) -> Vec<Rule> {
    let mut names = BTreeSet::new();
    let mut out = Vec::new();
    for row in table.rows("rules") {
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
    let (approvers, expires_ms) = asked(checker, row, verdict);
    // The one word that the table of keys lets through.
    let speaks = row.table("ask").and_then(|ask| ask.text("speaks")).map(|_| Speaks::Human);
    let name = row.text("name")?.value.to_owned();
    let rule = Rule { name, verdict: verdict?, when: when?, approvers, speaks, expires_ms };
    for (key, expected) in [("matches", true), ("does_not_match", false)] {
        for example in row.rows(key) {
            try_example(checker, agent, &rule, example, expected);
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
fn asked(checker: &mut Checker<'_>, row: View<'_>, verdict: Option<RuleVerdict>) -> (Approvers, u64) {
    let asks = verdict == Some(RuleVerdict::Ask);
    let owner = || Approvers::Roles(vec![Role::Owner]);
    let Some(ask) = row.table("ask") else {
        if asks {
            answerable(checker, row.place, &owner());
        }
        return (owner(), backstay_kernel::limits::ASK_EXPIRES_MS);
    };
    if verdict.is_some() && !asks {
        checker.mistakes.add(ask.place, Code::NotUsed, "`ask` has no use in a rule whose verdict is not \"ask\"");
    }
    let expires_ms = ask.integer("expires").map_or(backstay_kernel::limits::ASK_EXPIRES_MS, |spot| spot.value);
    let (roles, principals) = (ask.texts("role"), ask.texts("principal"));
    if let (Some(_), Some(second)) = (&roles, &principals) {
        checker.mistakes.add(second.place, Code::BadValue, "`ask` must name either `role` or `principal`, not both");
    }
    let place = roles.as_ref().or(principals.as_ref()).map_or(ask.place, |spot| spot.place);
    let approvers = match (roles, principals) {
        (_, Some(names)) => {
            let mut all_known = true;
            for Spot { place, value } in names.value {
                all_known &= checker.known("principal", "principals", &Spot { place: *place, value: value.as_str() });
            }
            if !all_known {
                return (owner(), expires_ms);
            }
            Approvers::Principals(names.value.iter().map(|spot| spot.value.clone()).collect())
        }
        (Some(roles), None) => Approvers::Roles(roles.value.iter().filter_map(|spot| role(&spot.value)).collect()),
        (None, None) => owner(),
    };
    if asks && ask.is_sound() {
        answerable(checker, place, &approvers);
    }
    (approvers, expires_ms)
}

/// An ask that nobody may answer is a deny in disguise.
fn answerable(checker: &mut Checker<'_>, place: Place, approvers: &Approvers) {
    let can = |(name, role): (&String, &Role)| *role != Role::Metrics && approvers.include(name, *role);
    if !checker.principals.iter().any(can) {
        let message = "nobody in `principals` could answer this ask";
        checker.mistakes.suggest(place, Code::NoApprover, message, "name a role or a principal that the file holds");
    }
}

fn conditions<'a>(checker: &mut Checker<'a>, table: View<'a>) -> Option<BTreeMap<Field, Test>> {
    let mut out = BTreeMap::new();
    let mut good = table.is_sound();
    for (field, key) in FIELDS {
        let Some(Spot { place, value }) = table.condition(key) else { continue };
        let read = if field == Field::Path {
            paths(checker, *place, value)
        } else {
            words(checker, field, key, *place, value)
        };
        match read {
            Some(test) => drop(out.insert(field, test)),
            None => good = false,
        }
    }
    good.then_some(out)
}

fn paths(checker: &mut Checker<'_>, place: Place, test: &Test) -> Option<Test> {
    let real = |path: &str| checker.ground.real(path).map(|real| real.path);
    let read = match test {
        Test::Equal(path) => real(path).map(Test::Equal),
        Test::AnyOf(paths) => paths.iter().map(|path| real(path)).collect::<Result<_, _>>().map(Test::AnyOf),
        Test::Glob(pattern) => checker.ground.real_glob(pattern).map(Test::Glob),
        Test::Under(path) => real(path).map(Test::Under),
    };
    if let Err(problem) = &read {
        checker.mistakes.add(place, Code::BadPath, format!("`path`: this path {problem}"));
    }
    read.ok()
}

/// Names must exist: a rule with a misspelt tool would look right and never fire.
fn words(checker: &mut Checker<'_>, field: Field, key: &str, place: Place, test: &Test) -> Option<Test> {
    let known: Vec<String> = match field {
        Field::Agent => checker.root.named("agents").iter().map(|(name, _)| (*name).to_owned()).collect(),
        Field::Principal => checker.root.named("principals").iter().map(|(name, _)| (*name).to_owned()).collect(),
        Field::Role => ROLES.iter().map(|word| (*word).to_owned()).collect(),
        Field::Tool => checker.tools.keys().cloned().collect(),
        Field::Class => CLASSES.iter().map(|word| (*word).to_owned()).collect(),
        // Doors name themselves; the configuration does not know them.
        Field::Channel | Field::Path => Vec::new(),
    };
    let mut good = true;
    match test {
        Test::Under(_) => {
            checker.mistakes.add(place, Code::BadValue, format!("`under` is for `path`, not for {}", quoted(key)));
            good = false;
        }
        Test::Glob(pattern) => {
            good = field == Field::Channel || known.iter().any(|name| test.holds(name));
            if !good {
                let message = format!("the glob {} fits no known {key}", quoted(pattern));
                checker.mistakes.add(place, Code::UnknownName, message);
            }
        }
        Test::Equal(_) | Test::AnyOf(_) if field == Field::Channel => {}
        Test::Equal(word) => good = is_known(checker, place, key, word, &known),
        Test::AnyOf(words) => {
            for word in words {
                good &= is_known(checker, place, key, word, &known);
            }
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

fn try_example<'a>(checker: &mut Checker<'a>, agent: &str, rule: &Rule, example: View<'a>, expected: bool) {
    let Some(call) = call_of(checker, agent, example) else { return };
    let silent: Vec<&str> = FIELDS
        .iter()
        .filter(|(field, _)| rule.when.contains_key(field) && !call.contains_key(field))
        .map(|(_, key)| *key)
        .collect();
    let fails = rule.when.iter().any(|(field, test)| call.get(field).is_some_and(|value| !test.holds(value)));
    let name = quoted(&rule.name);
    if fails && expected {
        checker.mistakes.add(
            example.place,
            Code::Example,
            format!("the rule {name} does not match this example of `matches`"),
        );
    } else if !fails && !silent.is_empty() {
        let message = format!("this example does not say {}, which the rule {name} looks at", list(&silent));
        checker.mistakes.add(example.place, Code::Example, message);
    } else if !fails && !expected {
        checker.mistakes.add(
            example.place,
            Code::Example,
            format!("the rule {name} matches this example of `does_not_match`"),
        );
    }
}

/// The facts of an example; `None` where one of them is mistaken.
fn call_of<'a>(checker: &mut Checker<'a>, agent: &str, example: View<'a>) -> Option<BTreeMap<Field, String>> {
    if !example.is_sound() {
        return None;
    }
    let mut call = BTreeMap::from([(Field::Agent, agent.to_owned())]);
    for (field, key) in FIELDS {
        let Some(spot) = example.text(key) else { continue };
        let value = if field == Field::Path {
            checker.real(key, &spot)?.path
        } else {
            let equal = Test::Equal(spot.value.to_owned());
            words(checker, field, key, spot.place, &equal)?;
            spot.value.to_owned()
        };
        call.insert(field, value);
    }
    if let Some(role) = call.get(&Field::Principal).and_then(|name| checker.principals.get(name)) {
        call.entry(Field::Role).or_insert_with(|| role.word().to_owned());
    }
    if let Some(tool) = call.get(&Field::Tool).and_then(|name| checker.tools.get(name)) {
        call.entry(Field::Class).or_insert_with(|| class_word(tool.class).to_owned());
    }
    Some(call)
}

fn class_word(class: EffectClass) -> &'static str {
    match class {
        EffectClass::Read => "read",
        EffectClass::Write => "write",
        EffectClass::Execute => "execute",
        EffectClass::Send => "send",
        EffectClass::Spend => "spend",
    }
}
