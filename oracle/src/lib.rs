//! Our rules in Cedar's words: what they mean, said a second time and in another language.
//!
//! Who speaks is Cedar's principal, the tool its action, the agent its resource, and every other fact
//! stands in the context. Paths are a set of strings; what Cedar cannot say of a string (`**`, whole
//! components) is answered here for each path of a small world, by the definition.
use backstay_kernel::clock::Weekday;
use backstay_kernel::rule::{Conditions, Field, Order, Rule, RuleVerdict, Test};

/// Every path that a call of this world may touch.
pub const PATHS: [&str; 6] = ["/w", "/w/a", "/w/b", "/x", "/x/y/z", "/wide"];

/// Every program that a call of this world may start, and each with its subcommand.
pub const PROGRAMS: [&str; 3] = ["git", "ls", "timeout"];
pub const COMMANDS: [&str; 4] = ["git push", "git status", "ls", "timeout"];

/// Where what has entered may have come from, and who may get to know what a call tells.
pub const SOURCES: [&str; 4] = ["config", "principal", "tool", "memory"];
pub const AUDIENCES: [&str; 4] = ["self", "home", "named", "public"];

/// Where the values of a call may come from.
pub const PROVENANCES: [&str; 4] = ["person", "listed", "created", "unknown"];

/// Everybody whom a call of this world may reach.
pub const RECIPIENTS: [&str; 3] = ["a@x.test", "b@x.test", "c@y.test"];

/// Everything to which one may pay.
pub const ACCOUNTS: [&str; 3] = ["123456", "654321", "DE89370400440532013000"];

/// Every repository that a call may speak with, as rules compare them, and every ref and file that it may change there.
pub const REPOS: [&str; 3] = ["a.test/a", "a.test/b", "test/a"];
pub const REFS: [&str; 4] = ["refs/heads/main", "refs/heads/agent/a", "refs/heads/agent/a/b", "refs/tags/v1"];
pub const CHANGED: [&str; 4] = ["src/a.rs", "build.rs", ".github/workflows/ci.yml", "src/b/build.rs"];

/// Everything that one may pay.
pub const AMOUNTS: [&str; 4] = ["0", "1", "2.5", "3"];

/// What is asked of both engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    MayRun,
    /// Without a person, or with one's yes.
    MayRunWithAYes,
}

/// The rules of one agent as Cedar policies whose `Allow` answers the question.
#[must_use]
pub fn policies(rules: &[Rule], question: Question) -> String {
    let mut out = match question {
        Question::MayRun => String::from(
            "permit(principal, action, resource) when { [\"read\", \"write\"].contains(context.class) };\n\
             permit(principal, action, resource) when { context.class == \"execute\" && context has tier };\n",
        ),
        Question::MayRunWithAYes => String::from("permit(principal, action, resource);\n"),
    };
    for rule in rules {
        match (rule.verdict, question) {
            (RuleVerdict::Deny, _) | (RuleVerdict::Ask, Question::MayRun) => out.push_str(&policy("forbid", rule)),
            (RuleVerdict::Allow, Question::MayRun) => out.push_str(&policy("permit", rule)),
            (RuleVerdict::Ask | RuleVerdict::Allow, Question::MayRunWithAYes) => {}
        }
    }
    out
}

fn policy(effect: &str, rule: &Rule) -> String {
    // A rule that stops is met by one path and excepted by all; one that lets pass, the other way.
    let stops = rule.verdict != RuleVerdict::Allow;
    let until = rule.until.map(|until| format!(" && context.now < {until}")).unwrap_or_default();
    let unless = match rule.unless.is_empty() {
        true => String::new(),
        false => format!(" unless {{ {} }}", all(&rule.unless, !stops)),
    };
    format!("{effect}(principal, action, resource) when {{ {}{until} }}{unless};\n", all(&rule.when, stops))
}

fn all(conditions: &Conditions, one_path: bool) -> String {
    let said = conditions.iter().map(|(field, test)| format!("({})", condition(*field, test, one_path)));
    said.fold(String::from("true"), |all, one| format!("{all} && {one}"))
}

fn condition(field: Field, test: &Test, one_path: bool) -> String {
    let entity = |kind: &str, subject: &str| word(subject, test, |name| format!("{kind}::{name:?}"));
    let attribute = |name: &str| word(&format!("context.{name}"), test, |value| format!("{value:?}"));
    match field {
        Field::Principal => entity("Who", "principal"),
        Field::Tool => entity("Action", "action"),
        Field::Agent => entity("Agent", "resource"),
        Field::Role => attribute("role"),
        Field::Channel => attribute("channel"),
        Field::Class => attribute("class"),
        Field::Reversible => attribute("reversible"),
        Field::LabelConf => attribute("conf"),
        Field::LabelIntegrity => attribute("integrity"),
        Field::Mode => attribute("mode"),
        Field::Speaks => attribute("speaks"),
        // A tool that runs nothing has no tier, and meets none.
        Field::Tier => format!("context has tier && ({})", attribute("tier")),
        Field::Seen => going(&attribute("seen")),
        Field::Program => several("programs", &PROGRAMS, fits, test, one_path),
        Field::Subcommand => several("commands", &COMMANDS, fits, test, one_path),
        Field::Source => several("sources", &SOURCES, fits, test, one_path),
        Field::Provenance => several("provenance", &PROVENANCES, fits, test, one_path),
        Field::Audience => several("audience", &AUDIENCES, fits, test, one_path),
        Field::Path => several("paths", &PATHS, fits, test, one_path),
        Field::BytesOut | Field::Clock | Field::Weekday => measured("bytes_out", test),
        Field::Recipient => several("recipients", &RECIPIENTS, fits, test, one_path),
        Field::Account => several("accounts", &ACCOUNTS, fits, test, one_path),
        Field::Amount => several("amounts", &AMOUNTS, costs, test, one_path),
        Field::Port => going(&measured("port", test)),
        Field::UrlBytes => going(&measured("url_bytes", test)),
        Field::Method => going(&attribute("method")),
        Field::Repo => with(&attribute("repo")),
        Field::Force => with(&attribute("force")),
        Field::Ref => with(&several("refs", &REFS, fits, test, one_path)),
        Field::Changed => with(&several("changed", &CHANGED, fits, test, one_path)),
        Field::Host => going(&below("context.host", test, &attribute("host"))),
        Field::UrlPath => going(&below("context.url_path", test, &attribute("url_path"))),
    }
}

/// Of a call that goes nowhere none of it holds.
fn going(condition: &str) -> String {
    format!("context.goes && ({condition})")
}

/// Of a call that speaks with no repository none of it holds.
fn with(condition: &str) -> String {
    format!("context.with && ({condition})")
}

/// Names below a domain, paths below a directory.
fn below(subject: &str, test: &Test, word: &str) -> String {
    match test {
        Test::SubdomainOf(domain) => format!("{subject} == {domain:?} || {subject} like \"*.{domain}\""),
        Test::Under(directory) => format!("{subject} == {directory:?} || {subject} like \"{directory}/*\""),
        _ => word.to_owned(),
    }
}

fn word(subject: &str, test: &Test, said: impl Fn(&str) -> String) -> String {
    let list = |names: &[String]| names.iter().map(|name| said(name)).collect::<Vec<_>>().join(", ");
    match test {
        Test::Equal(name) => format!("{subject} == {}", said(name)),
        Test::AnyOf(names) => format!("[{}].contains({subject})", list(names)),
        Test::NotIn(names) => format!("![{}].contains({subject})", list(names)),
        // Said by whoever asks.
        Test::SubdomainOf(_) | Test::Under(_) => String::from("false"),
        other => unreachable!("no such test of a word: {other:?}"),
    }
}

/// Of facts of which a call has a set.
fn several(name: &str, world: &[&str], fits: fn(&str, &Test) -> bool, test: &Test, one_path: bool) -> String {
    let fits: Vec<String> = world.iter().filter(|one| fits(one, test)).map(|one| format!("{one:?}")).collect();
    let one = match test {
        Test::Intersects(_) => true,
        Test::SubsetOf(_) => false,
        _ => one_path,
    };
    let fits = fits.join(", ");
    if one {
        format!("context.{name}.containsAny([{fits}])")
    } else {
        format!("!context.{name}.isEmpty() && [{fits}].containsAll(context.{name})")
    }
}

fn fits(path: &str, test: &Test) -> bool {
    match test {
        Test::Equal(wanted) => path == wanted,
        Test::AnyOf(wanted) => wanted.iter().any(|wanted| wanted == path),
        Test::NotIn(others) => !others.iter().any(|other| other == path),
        Test::Under(directory) => parts(path).starts_with(&parts(directory)),
        Test::Glob(pattern) => glob(pattern.as_bytes(), path.as_bytes()),
        Test::Intersects(globs) | Test::SubsetOf(globs) => {
            globs.iter().any(|pattern| glob(pattern.as_bytes(), path.as_bytes()))
        }
        other => unreachable!("no such test of a path: {other:?}"),
    }
}

fn costs(amount: &str, test: &Test) -> bool {
    let Test::Amount(bounds) = test else { unreachable!("no such test of an amount: {test:?}") };
    let amount: f64 = amount.parse().unwrap();
    bounds.iter().all(|(order, bound)| {
        let bound = f64::from(u32::try_from(bound.hundredths).unwrap()) / 100.0;
        match order {
            Order::Equal => amount == bound,
            Order::Lt => amount < bound,
            Order::Lte => amount <= bound,
            Order::Gt => amount > bound,
            Order::Gte => amount >= bound,
        }
    })
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

/// `**` is any text, `*` any text without `/`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|eaten| glob(rest, &text[eaten..])),
        [b'*', rest @ ..] => {
            let most = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=most).any(|eaten| glob(rest, &text[eaten..]))
        }
        [c, rest @ ..] => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

/// Of numbers, and of times in UTC.
fn measured(name: &str, test: &Test) -> String {
    match test {
        Test::Number(bounds) => {
            let said = bounds.iter().map(|(order, bound)| {
                let order = match order {
                    Order::Equal => "==",
                    Order::Lt => "<",
                    Order::Lte => "<=",
                    Order::Gt => ">",
                    Order::Gte => ">=",
                };
                format!("context.{name} {order} {bound}")
            });
            said.collect::<Vec<_>>().join(" && ")
        }
        Test::Clock(hours) => {
            let between = if hours.from <= hours.until { "&&" } else { "||" };
            format!("context.minute >= {} {between} context.minute < {}", hours.from, hours.until)
        }
        Test::Weekday(days) => {
            let days: Vec<String> = days.days.iter().map(|day| format!("{:?}", weekday(*day))).collect();
            format!("[{}].contains(context.weekday)", days.join(", "))
        }
        other => unreachable!("no such test of a number: {other:?}"),
    }
}

/// As the context names it.
#[must_use]
pub fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "mon",
        Weekday::Tue => "tue",
        Weekday::Wed => "wed",
        Weekday::Thu => "thu",
        Weekday::Fri => "fri",
        Weekday::Sat => "sat",
        Weekday::Sun => "sun",
    }
}
