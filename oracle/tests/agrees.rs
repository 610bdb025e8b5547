//! On complete facts our engine and Cedar give the same answers to the same rules.
use std::collections::BTreeSet;
use std::sync::LazyLock;

use backstay_kernel::clock::{Days, Hours, Weekday, Zone};
use backstay_kernel::destination::{Audience, Method};
use backstay_kernel::facts::Tier;
use backstay_kernel::flow::Provenance;
use backstay_kernel::home::Speaks;
use backstay_kernel::label::{Confidentiality, Integrity, Source};
use backstay_kernel::mode::WorkMode;
use backstay_kernel::money::Money;
use backstay_kernel::policy::Role;
use backstay_kernel::reached::Seen;
use backstay_kernel::rule::{Field, Order, Rule, RuleVerdict, Test};
use backstay_kernel::subject::{Going, Subject, To, With, ruling};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::words::{Atom, Kind};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression};
use oracle::{
    ACCOUNTS, AMOUNTS, AUDIENCES, CHANGED, COMMANDS, PATHS, PROGRAMS, PROVENANCES, Question, RECIPIENTS, REFS, REPOS,
    SOURCES, policies, weekday,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const DAY_MS: u64 = 86_400_000;
/// A Monday, 00:00 UTC.
const MONDAY: u64 = 1_795_392_000_000;
const HOSTS: [&str; 4] = ["test", "a.test", "b.a.test", "ba.test"];
const URL_PATHS: [&str; 4] = ["/", "/v1", "/v1/a", "/v10"];
const WEEK: [Weekday; 7] = Weekday::ALL;

fn any_condition() -> impl Strategy<Value = (Field, Test)> {
    fn texts(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        subsequence(of, 1..=of.len()).prop_map(|list| list.into_iter().map(str::to_owned).collect())
    }
    fn word(field: Field, of: &'static [&'static str]) -> impl Strategy<Value = (Field, Test)> {
        let equal = select(of).prop_map(|word: &str| Test::Equal(word.to_owned()));
        prop_oneof![equal, texts(of).prop_map(Test::AnyOf), texts(of).prop_map(Test::NotIn)]
            .prop_map(move |test| (field, test))
    }
    const GLOBS: &[&str] = &["/w/*", "/x/**", "/w", "/w**", "**/a", "/*"];
    let path = prop_oneof![
        select(&PATHS[..]).prop_map(|path| Test::Under(path.to_owned())),
        select(&PATHS[..]).prop_map(|path| Test::Equal(path.to_owned())),
        texts(&PATHS).prop_map(Test::NotIn),
        texts(&PATHS).prop_map(Test::AnyOf),
        texts(GLOBS).prop_map(Test::Intersects),
        texts(GLOBS).prop_map(Test::SubsetOf),
        select(GLOBS).prop_map(|glob| Test::Glob(glob.to_owned())),
    ];
    let order = select(vec![Order::Equal, Order::Lt, Order::Lte, Order::Gt, Order::Gte]);
    let amount =
        (order.clone(), 0u64..7).prop_map(|(order, halves)| (order, Money { hundredths: halves * 50, currency: None }));
    let amount = prop::collection::vec(amount, 1..3);
    let measured = select(vec![Field::BytesOut, Field::Port, Field::UrlBytes]);
    let number = (measured, prop::collection::vec((order, 0u64..4), 1..3))
        .prop_map(|(field, bounds)| (field, Test::Number(bounds)));
    let going = prop_oneof![
        word(Field::Host, &HOSTS),
        select(vec!["a.test", "test"]).prop_map(|name: &str| (Field::Host, Test::SubdomainOf(name.to_owned()))),
        word(Field::Method, &["GET", "POST"]),
        word(Field::UrlPath, &URL_PATHS),
        select(vec!["/v1", "/v1/a"]).prop_map(|path: &str| (Field::UrlPath, Test::Under(path.to_owned()))),
    ];
    const REF_GLOBS: &[&str] = &["refs/heads/agent/*", "refs/heads/**", "refs/**"];
    const CHANGED_GLOBS: &[&str] = &["**/build.rs", "src/*", ".github/**", "**"];
    let pushed = prop_oneof![
        word(Field::Repo, &REPOS),
        word(Field::Force, &["true", "false"]),
        word(Field::Ref, &REFS),
        select(REF_GLOBS).prop_map(|glob| (Field::Ref, Test::Glob(glob.to_owned()))),
        texts(REF_GLOBS).prop_map(|globs| (Field::Ref, Test::SubsetOf(globs))),
        word(Field::Changed, &CHANGED),
        texts(CHANGED_GLOBS).prop_map(|globs| (Field::Changed, Test::Intersects(globs))),
        texts(CHANGED_GLOBS).prop_map(|globs| (Field::Changed, Test::SubsetOf(globs))),
        select(vec!["src", "src/b"]).prop_map(|at: &str| (Field::Changed, Test::Under(at.to_owned()))),
    ];
    let clock = (0u16..1_440, 0u16..=1_440)
        .prop_map(|(from, until)| (Field::Clock, Test::Clock(Hours { from, until, zone: Zone::utc() })));
    let days = subsequence(WEEK.to_vec(), 1..7)
        .prop_map(|days| (Field::Weekday, Test::Weekday(Days { days, zone: Zone::utc() })));
    // Paths are where one and all differ.
    prop_oneof![
        1 => word(Field::Agent, &["main", "other"]),
        1 => word(Field::Principal, &["ann", "bob"]),
        1 => word(Field::Role, &["owner", "user"]),
        1 => word(Field::Channel, &["api", "chat"]),
        1 => word(Field::Tool, &["read", "write", "mail"]),
        1 => word(Field::Class, &["read", "write", "execute", "send"]),
        1 => word(Field::Reversible, &["true", "false"]),
        1 => word(Field::LabelConf, &["public", "internal", "secret"]),
        1 => word(Field::LabelIntegrity, &["untrusted", "trusted"]),
        1 => word(Field::Seen, &["never", "allowed", "approved"]),
        1 => word(Field::Mode, &["normal", "dry_run", "read_only"]),
        1 => word(Field::Speaks, &["human", "program"]),
        1 => word(Field::Tier, &["full", "copy"]),
        1 => word(Field::Source, &SOURCES),
        1 => texts(&["m*", "tool"]).prop_map(|globs| (Field::Source, Test::Intersects(globs))),
        1 => word(Field::Audience, &AUDIENCES),
        2 => word(Field::Provenance, &PROVENANCES),
        1 => texts(&["person", "list*"]).prop_map(|globs| (Field::Provenance, Test::SubsetOf(globs))),
        1 => texts(&["unknown", "c*"]).prop_map(|globs| (Field::Provenance, Test::Intersects(globs))),
        2 => word(Field::Program, &PROGRAMS),
        1 => word(Field::Subcommand, &COMMANDS),
        1 => texts(&["git *", "ls"]).prop_map(|globs| (Field::Subcommand, Test::SubsetOf(globs))),
        1 => texts(&["git *", "ls"]).prop_map(|globs| (Field::Subcommand, Test::Intersects(globs))),
        3 => word(Field::Recipient, &RECIPIENTS),
        1 => select(vec!["*@x.test", "*"]).prop_map(|glob: &str| (Field::Recipient, Test::Glob(glob.to_owned()))),
        2 => word(Field::Account, &ACCOUNTS),
        1 => select(vec!["DE*", "*"]).prop_map(|glob: &str| (Field::Account, Test::Glob(glob.to_owned()))),
        3 => pushed,
        2 => amount.prop_map(|bounds| (Field::Amount, Test::Amount(bounds))),
        6 => path.prop_map(|test| (Field::Path, test)),
        1 => number,
        2 => going,
        1 => clock,
        1 => days,
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = select(vec![RuleVerdict::Allow, RuleVerdict::Ask, RuleVerdict::Deny]);
    let some = || prop::collection::vec(any_condition(), 0..3).prop_map(|list| list.into_iter().collect());
    let until = prop::option::weighted(0.2, MONDAY..MONDAY + 7 * DAY_MS);
    (verdict, some(), some(), until).prop_map(|(verdict, when, unless, until)| Rule {
        unless,
        until,
        ..Rule::new("any", verdict, when)
    })
}

static VALUES: LazyLock<Vec<Atom>> = LazyLock::new(|| {
    let people = RECIPIENTS.iter().map(|one| Atom::of(Kind::Email, one).unwrap());
    let people = people.chain(ACCOUNTS.iter().map(|one| Atom::of(Kind::Account, one).unwrap()));
    people.chain(AMOUNTS.iter().map(|one| Atom::of(Kind::Number, one).unwrap())).collect()
});

/// Each set of what the values of a call may come from.
static CHOSEN: LazyLock<Vec<BTreeSet<Provenance>>> = LazyLock::new(|| {
    let all = [Provenance::Person, Provenance::Listed, Provenance::Created, Provenance::Unknown];
    let of = |bits: usize| {
        all.into_iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, one)| one).collect()
    };
    (0..1 << all.len()).map(of).collect()
});

fn any_call() -> impl Strategy<Value = Subject<'static>> {
    let names = (select(vec!["main", "other"]), select(vec!["ann", "bob"]), select(vec!["api", "chat"]));
    let what = (
        select(vec!["read", "write", "mail"]),
        select(vec![EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send]),
        any::<bool>(),
    );
    let role = select(vec![Role::Owner, Role::User]);
    let paths = subsequence(PATHS.to_vec(), 0..4);
    let values = subsequence((0..VALUES.len()).collect::<Vec<_>>(), 0..4).prop_map(|places| {
        let values: Vec<Atom> = places.into_iter().map(|place| VALUES[place].clone()).collect();
        // A few thousand calls: they need not be given back.
        &*values.leak()
    });
    let conf = select(vec![Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret]);
    let switches = (select(WorkMode::ALL.to_vec()), select(Seen::ALL.to_vec()), select(Speaks::ALL.to_vec()));
    let started = subsequence(COMMANDS.to_vec(), 0..4);
    let sources = subsequence(vec![Source::Config, Source::Principal, Source::Tool, Source::Memory], 0..4);
    let audience = subsequence(Audience::ALL.to_vec(), 0..3);
    let chosen = (0..CHOSEN.len()).prop_map(|place| &CHOSEN[place]);
    let tier = select(vec![None, Some(Tier::Full), Some(Tier::Copy)]);
    let tier = ((tier, started, (sources, chosen), audience), switches);
    let label = (conf, select(vec![Integrity::Untrusted, Integrity::Trusted]), tier);
    let to =
        (select(HOSTS.to_vec()), 0u16..4, select(vec![Method::Get, Method::Post]), select(URL_PATHS.to_vec()), 0u64..4);
    let to = to.prop_map(|(host, port, method, path, url_bytes)| {
        let (host, port, method) = (Some(host), Some(port), Some(method));
        Going::To(To { host, port, method, path: Some(path), url_bytes: Some(url_bytes) })
    });
    let going = prop_oneof![1 => Just(Going::Nowhere), 3 => to];
    // As they are written, which rules do not look at.
    let repo = select(vec!["a.test/a", "A.test/a.git", "a.test/b", "test/A"]);
    let pushes = (repo, subsequence(REFS.to_vec(), 0..3), any::<bool>(), subsequence(CHANGED.to_vec(), 0..4));
    let pushes = pushes.prop_map(|(repo, refs, force, changed)| With::Repository {
        repo: Some(repo),
        refs: Some(refs),
        force: Some(force),
        changed: Some(changed),
    });
    let with = prop_oneof![1 => Just(With::None), 3 => pushes];
    (names, what, role, (paths, values, with), (0u64..4, going), MONDAY..MONDAY + 7 * DAY_MS, label).prop_map(
        |(
            (agent, principal, channel),
            (tool, class, reversible),
            role,
            (paths, values, git),
            (bytes_out, going),
            now,
            (conf, integrity, ((tier, commands, (sources, chosen), audience), (mode, seen, speaks))),
        )| Subject {
            agent: Some(agent),
            principal: Some(principal),
            role: Some(role),
            speaks: Some(speaks),
            channel: Some(channel),
            tool: Some(tool),
            class: Some(class),
            reversible: Some(reversible),
            paths: Some(paths),
            bytes_out: Some(bytes_out),
            values: Some(values),
            going,
            git,
            now: Some(now),
            conf: Some(conf),
            integrity: Some(integrity),
            mode: Some(mode),
            seen: Some((going != Going::Nowhere).then_some(seen)),
            tier: Some(tier),
            programs: Some(commands.iter().filter_map(|command| command.split(' ').next()).collect()),
            commands: Some(commands),
            sources: Some(sources.into_iter().collect()),
            provenance: Some(chosen),
            audience: Some(audience),
        },
    )
}

fn entity(kind: &str, name: Option<&str>) -> EntityUid {
    format!("{kind}::{:?}", name.unwrap()).parse().unwrap()
}

fn of_kind(call: &Subject<'_>, kind: Kind) -> RestrictedExpression {
    let values = call.values.unwrap().iter().filter(|atom| atom.0 == kind);
    RestrictedExpression::new_set(values.map(|atom| RestrictedExpression::new_string(atom.1.clone())))
}

fn request(call: &Subject<'_>) -> Request {
    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    let texts = |all: Option<&Vec<&str>>| RestrictedExpression::new_set(all.into_iter().flatten().map(|one| text(one)));
    let long = |value: u64| RestrictedExpression::new_long(i64::try_from(value).unwrap());
    let now = call.now.unwrap();
    let (repo, refs, force, changed) = match &call.git {
        With::Repository { repo, refs, force, changed } => (*repo, refs.as_ref(), *force, changed.as_ref()),
        With::None => (None, None, None, None),
        With::Unknown | With::Perhaps(_) => unreachable!("facts are complete here"),
    };
    let repo = repo.unwrap_or_default().to_lowercase();
    let to = if let Going::To(to) = call.going { to } else { To::default() };
    let day = WEEK[usize::try_from((now - MONDAY) / DAY_MS).unwrap()];
    let context = [
        ("role".to_owned(), text(call.role.unwrap().word())),
        ("channel".to_owned(), text(call.channel.unwrap())),
        ("class".to_owned(), text(call.class.unwrap().word())),
        ("reversible".to_owned(), text(&call.reversible.unwrap().to_string())),
        ("paths".to_owned(), texts(call.paths.as_ref())),
        ("programs".to_owned(), texts(call.programs.as_ref())),
        ("commands".to_owned(), texts(call.commands.as_ref())),
        ("sources".to_owned(), texts(Some(&call.sources.unwrap().iter().map(Source::word).collect()))),
        ("provenance".to_owned(), texts(Some(&call.provenance.unwrap().iter().map(|one| one.word()).collect()))),
        ("audience".to_owned(), texts(Some(&call.audience.iter().flatten().map(|one| one.word()).collect()))),
        ("recipients".to_owned(), of_kind(call, Kind::Email)),
        ("amounts".to_owned(), of_kind(call, Kind::Number)),
        ("accounts".to_owned(), of_kind(call, Kind::Account)),
        ("with".to_owned(), RestrictedExpression::new_bool(call.git != With::None)),
        ("repo".to_owned(), text(repo.trim_end_matches(".git"))),
        ("force".to_owned(), text(if force == Some(true) { "true" } else { "false" })),
        ("refs".to_owned(), texts(refs)),
        ("changed".to_owned(), texts(changed)),
        ("bytes_out".to_owned(), long(call.bytes_out.unwrap())),
        ("goes".to_owned(), RestrictedExpression::new_bool(call.going != Going::Nowhere)),
        ("host".to_owned(), text(to.host.unwrap_or_default())),
        ("port".to_owned(), long(u64::from(to.port.unwrap_or_default()))),
        ("method".to_owned(), text(to.method.map_or("", Method::word))),
        ("url_path".to_owned(), text(to.path.unwrap_or_default())),
        ("url_bytes".to_owned(), long(to.url_bytes.unwrap_or_default())),
        ("conf".to_owned(), text(call.conf.unwrap().word())),
        ("integrity".to_owned(), text(call.integrity.unwrap().word())),
        ("mode".to_owned(), text(call.mode.unwrap().word())),
        ("speaks".to_owned(), text(call.speaks.unwrap().word())),
        ("seen".to_owned(), text(call.seen.flatten().map_or("", Seen::word))),
        ("now".to_owned(), long(now)),
        ("minute".to_owned(), long(now % DAY_MS / 60_000)),
        ("weekday".to_owned(), text(weekday(day))),
    ];
    let tier = call.tier.flatten().map(|tier| ("tier".to_owned(), text(tier.word())));
    let context = Context::from_pairs(context.into_iter().chain(tier));
    let (who, tool, agent) = (entity("Who", call.principal), entity("Action", call.tool), entity("Agent", call.agent));
    Request::new(who, tool, agent, context.unwrap(), None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_answer_alike(rules in prop::collection::vec(any_rule(), 0..4), call in any_call()) {
        let ours = ruling(&rules, &call).verdict;
        for (question, yes) in [
            (Question::MayRun, ours == RuleVerdict::Allow),
            (Question::MayRunWithAYes, ours != RuleVerdict::Deny),
        ] {
            let text = policies(&rules, question);
            let policies: PolicySet = text.parse().unwrap();
            let answer = Authorizer::new().is_authorized(&request(&call), &policies, &Entities::empty());
            // Cedar skips a policy that it cannot evaluate; here that would be a mistake of the translation.
            prop_assert_eq!(answer.diagnostics().errors().count(), 0, "{}", text);
            prop_assert_eq!(answer.decision() == Decision::Allow, yes, "{:?}\n{}", question, text);
        }
    }
}
