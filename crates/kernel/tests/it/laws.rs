//! Laws that hold for every input.
use backstay_kernel::audit::{Change, Replay};
use backstay_kernel::budget::{Amount, Ceiling, LedgerEntry, Price, Usage, Used, Window, WindowState};
use backstay_kernel::effect::{CallRef, FailureClass, Outcome, Probed};
use backstay_kernel::facts::{Access, Facts, PathFact};
use backstay_kernel::flow::Named;
use backstay_kernel::home::Speaks;
use backstay_kernel::id::Seq;
use backstay_kernel::judge::judge;
use backstay_kernel::ledger::entries;
use backstay_kernel::record::{Entry, Mode, Record, Resolution, VERSION, Verdict};
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::session::{State, Work};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::{Input, Session, apply};
use proptest::prelude::*;

use crate::harness::{TOOLS, TestSession, body, repeat, rule};

/// One thing that may happen; what does not fit the state is passed over.
fn happen(t: &mut TestSession, what: u8, choice: u8) {
    let effect = t.session.effects.keys().nth(usize::from(choice) % t.session.effects.len().max(1)).copied();
    let state = effect.map(|effect| t.effect(effect).state.clone());
    let is_model = effect.is_some_and(|effect| matches!(t.effect(effect).work, Work::Model { .. }));
    match (what % 14, effect, state) {
        (0, ..) => drop(t.input(Input::Message(t.message(u64::from(choice), Mode::Queue)))),
        (1, ..) => drop(t.input(Input::Message(t.message(u64::from(choice), Mode::Steer)))),
        (2, ..) => drop(t.input(Input::Message(t.message(u64::from(choice), Mode::Interrupt)))),
        (3, ..) => drop(t.crash()),
        (4, ..) => t.now += 100_000 * u64::from(choice),
        (5, ..) => t.switches.frozen = choice < 80,
        (6, ..) if choice < 40 => drop(t.input(Input::Cancel { turn: None, by: String::new() })),
        (7, ..) if choice < 20 => drop(t.tell(Input::Stop { by: String::new() })),
        (7, ..) => drop(t.tell(Input::Resume { by: String::new(), speaks: Speaks::Human })),
        (8, ..) if choice < 8 => drop(t.tell(Input::Lineage { old: t.session.lineage, new: t.session.lineage + 1 })),
        (_, Some(effect), Some(State::Asked { .. })) => drop(t.decide(effect, choice < 128)),
        (_, Some(effect), Some(State::Doubt)) => {
            let all = [Resolution::Done, Resolution::NotDone, Resolution::Retry];
            drop(t.resolve(effect, all[usize::from(choice) % 3]));
        }
        (_, Some(effect), Some(State::Probing)) => {
            let all = [Probed::Done, Probed::NotDone, Probed::Neither];
            t.probed(effect, all[usize::from(choice) % 3]);
        }
        (9, Some(_), Some(State::Started { .. })) if is_model => drop(t.fails(FailureClass::RetrySame, None, 999)),
        (10, Some(effect), Some(State::Started { .. })) if is_model => drop(t.outcome(effect, Outcome::Unknown)),
        (11, Some(effect), Some(State::Started { .. })) if is_model => drop(t.outcome(effect, Outcome::NotStarted)),
        (_, Some(_), Some(State::Started { .. })) if is_model => {
            let tools: Vec<_> = (0..choice % 4).map(|n| (TOOLS[usize::from(choice / 4 + n) % 6].0, n)).collect();
            t.reply(&tools);
        }
        (10, Some(effect), Some(State::Started { .. })) => drop(t.outcome(effect, Outcome::Unknown)),
        (11, Some(effect), Some(State::Started { .. })) => drop(t.failed(effect)),
        (_, Some(effect), Some(State::Started { .. })) => drop(t.done(effect, choice)),
        _ => {}
    }
    t.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// I6, and I4 along the way.
    #[test]
    fn a_snapshot_and_its_tail_fold_to_the_same_session(
        script in prop::collection::vec((any::<u8>(), any::<u8>()), 1..80), split in any::<prop::sample::Index>(),
    ) {
        let mut t = TestSession::new();
        for (what, choice) in script {
            happen(&mut t, what, choice);
            if t.session.turn.is_none() {
                t.assert_paired();
            }
        }
        let split = split.index(t.records.len() + 1);
        let mut folded = Session::new(t.session.id);
        t.records[..split].iter().for_each(|record| apply(&mut folded, record));
        let text = serde_json::to_string(&folded).unwrap();
        let mut folded: Session = serde_json::from_str(&text).unwrap();
        for record in &t.records[split..] {
            let text = serde_json::to_string(record).unwrap();
            apply(&mut folded, &serde_json::from_str::<Record>(&text).unwrap());
        }
        prop_assert_eq!(&folded, &t.session);
        // I7: no record makes a session more trusted or less confidential.
        let mut step = Session::new(t.session.id);
        for record in &t.records {
            let before = step.label;
            apply(&mut step, record);
            prop_assert!(step.label.covers(before), "{:?}", record);
        }
        prop_assert_eq!(folded.seq, Seq(t.records.len() as u64));
    }

    /// A ledger can be compared with the journal alone.
    #[test]
    fn what_is_booked_can_be_read_off_the_stored_entries(
        script in prop::collection::vec((any::<u8>(), any::<u8>()), 1..80),
    ) {
        let mut t = TestSession::new();
        let window = |key: &str| Window { key: key.into(), ceiling: Ceiling::default() };
        let open = |key| WindowState { window: window(key), used: Used::default() };
        t.allowance = vec![open("home/day"), open("agent:\"main\"/day")];
        for (what, choice) in script {
            happen(&mut t, what, choice);
        }
        let (mut folded, mut replay) = (Session::new(t.session.id), Replay::default());
        for record in &t.records {
            let entry = Entry { v: VERSION, at: 1, records: vec![record.clone()] };
            let text = serde_json::to_string(&entry).unwrap();
            let booked = entries(&folded, record, &t.allowance);
            let mut read = Vec::new();
            replay.read(folded.id, &text, |key, change| read.push(match change {
                Change::Reserve(amount) => LedgerEntry::Reserve { key: key.into(), amount, ceiling: Ceiling::default() },
                Change::Settle { reserved, spent } => LedgerEntry::Settle { key: key.into(), reserved, spent },
            })).unwrap();
            prop_assert_eq!(read, booked);
            apply(&mut folded, record);
        }
    }

    /// I9.
    #[test]
    fn a_deny_rule_more_or_a_grant_less_never_allows_more(
        rules in prop::collection::vec(any_rule(), 0..5), deny in any_rule(), facts in any_facts(), tool in 0usize..6,
        drop_tool in any::<bool>(), drop_read in any::<bool>(), drop_write in any::<bool>(),
    ) {
        let mut t = TestSession::new();
        t.say(1);
        t.agent().rules = rules.into();
        t.agent().grants.read = vec!["/w".into(), "/r".into()];
        t.agent().grants.write = vec!["/w".into()];
        let call = CallRef { calls: body(1), index: 0, tool: Some(TOOLS[tool].0.into()), repeat: repeat("x", 1) };
        let before = rank(&judge(&t.session, Seq(9), &call, &facts, &Named::default(), &t.frame()).verdict);
        let mut narrowed = vec![];
        t.agent().rules.push(Rule { verdict: RuleVerdict::Deny, ..deny });
        narrowed.push(rank(&judge(&t.session, Seq(9), &call, &facts, &Named::default(), &t.frame()).verdict));
        t.agent().rules.pop();
        if drop_tool { t.agent().grants.tools.retain(|name| name != TOOLS[tool].0); }
        if drop_read { t.agent().grants.read.pop(); }
        if drop_write { t.agent().grants.write.clear(); }
        narrowed.push(rank(&judge(&t.session, Seq(9), &call, &facts, &Named::default(), &t.frame()).verdict));
        prop_assert!(narrowed.into_iter().all(|after| after <= before));
    }

    #[test]
    fn deny_wins_over_every_other_rule(
        rules in prop::collection::vec(any_rule(), 0..5), place in any::<prop::sample::Index>(), facts in any_facts(),
    ) {
        let mut t = TestSession::new();
        t.say(1);
        t.agent().grants.read = vec!["/".into()];
        t.agent().grants.write = vec!["/".into()];
        let place = place.index(rules.len() + 1);
        t.agent().rules = rules.into();
        t.agent().rules.insert(place, rule("never", RuleVerdict::Deny, &[]));
        let call = CallRef { calls: body(1), index: 0, tool: Some("read".into()), repeat: repeat("x", 1) };
        prop_assert_eq!(rank(&judge(&t.session, Seq(9), &call, &facts, &Named::default(), &t.frame()).verdict), 0);
    }

    /// L3 and L2: whatever the model does, its steps are counted, never forgotten, and end.
    #[test]
    fn no_model_passes_its_caps(script in prop::collection::vec((0u8..6, 0u8..4), 60), steps in 1u32..12) {
        let mut t = TestSession::new();
        t.agent().caps.steps = steps;
        t.say(1);
        let mut latest = 0;
        for (tool, arguments) in script {
            let Some(turn) = &t.session.turn else { break };
            prop_assert!(turn.steps >= latest && turn.steps <= steps);
            latest = turn.steps;
            if t.head().wait == backstay_kernel::Wait::Running {
                t.reply(&[(TOOLS[usize::from(tool)].0, arguments), ("read", arguments)]);
            }
            for effect in t.session.effects.keys().copied().collect::<Vec<_>>() {
                match t.session.effects.get(&effect).map(|open| (open.state.clone(), &open.work)) {
                    Some((State::Asked { .. }, _)) => drop(t.decide(effect, false)),
                    Some((State::Question, _)) => drop(t.say(2)),
                    Some((State::Started { .. }, Work::Tool { .. })) => drop(t.done(effect, arguments)),
                    _ => {}
                }
            }
            t.settle();
            t.crash();
        }
        prop_assert_eq!(&t.session.turn, &None);
    }

    /// I8.
    #[test]
    fn what_the_policy_does_not_know_is_denied(facts in any_facts(), missing in 0u8..4) {
        let mut t = TestSession::new();
        t.say(1);
        t.agent().rules = vec![rule("all", RuleVerdict::Allow, &[])].into();
        let mut call = CallRef { calls: body(1), index: 0, tool: Some("read".into()), repeat: repeat("x", 1) };
        match missing {
            0 => call.tool = None,
            1 => drop(t.policy.tools.remove("read")),
            2 => t.policy.principals.clear(),
            _ => t.policy.agents.clear(),
        }
        prop_assert_eq!(rank(&judge(&t.session, Seq(9), &call, &facts, &Named::default(), &t.frame()).verdict), 0);
    }

    #[test]
    fn a_bill_within_its_bounds_never_passes_the_most(
        price in any_price(), usage in any_usage(), more_input in 0u64..1000, more_output in 0u64..1000,
    ) {
        let most = price.most(usage.input() + more_input, usage.output + more_output);
        let bill = price.bill(&usage);
        prop_assert!(bill.tokens <= most.tokens && bill.micro_usd <= most.micro_usd);
        let ceiling = Ceiling { tokens: Some(most.tokens), micro_usd: Some(most.micro_usd) };
        prop_assert!(ceiling.holds(bill));
    }

    #[test]
    fn amounts_add_up_and_never_wrap(a in any_amount(), b in any_amount()) {
        prop_assert_eq!(a.plus(b), b.plus(a));
        let sum = a.plus(b);
        prop_assert!(sum.tokens >= a.tokens && sum.micro_usd >= b.micro_usd);
        if sum.tokens < u64::MAX && sum.micro_usd < u64::MAX {
            prop_assert_eq!(sum.minus(b), a);
        }
        prop_assert_eq!(Amount::ZERO.minus(a), Amount::ZERO);
    }

    #[test]
    fn a_glob_matches_as_its_naive_reading(pattern in "[ab/*?]{0,9}", text in "[ab/]{0,9}") {
        let naive = naive_glob(pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(Test::Glob(pattern.clone()).holds(&text), naive, "{} {}", pattern, text);
    }
}

/// The definition: `**` is any text, `*` any text without `/`, `?` one character but `/`.
fn naive_glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|eaten| naive_glob(rest, &text[eaten..])),
        [b'*', rest @ ..] => {
            let most = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=most).any(|eaten| naive_glob(rest, &text[eaten..]))
        }
        [b'?', rest @ ..] => text.first().is_some_and(|c| *c != b'/') && naive_glob(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && naive_glob(rest, &text[1..]),
    }
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow { .. } => 2,
        Verdict::Ask { .. } | Verdict::Parked { .. } => 1,
        Verdict::Deny { .. } | Verdict::Invalid { .. } | Verdict::Blocked { .. } | Verdict::TooMany => 0,
    }
}

fn any_path() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["/w/a", "/w/b/c", "/r/a", "/r", "/etc/passwd", "/wide"]).prop_map(str::to_owned)
}

fn any_test() -> impl Strategy<Value = (Field, Test)> {
    prop_oneof![
        prop::sample::select(vec!["read", "shell", "mail"]).prop_map(|tool| (Field::Tool, Test::Equal(tool.into()))),
        prop::sample::select(vec!["read", "write", "send"]).prop_map(|class| (Field::Class, Test::Equal(class.into()))),
        prop::sample::select(vec!["/w", "/r", "/"]).prop_map(|path| (Field::Path, Test::Under(path.into()))),
        Just((Field::Path, Test::Glob("/w/**".into()))),
        prop::sample::select(vec!["owner", "user"]).prop_map(|role| (Field::Role, Test::Equal(role.into()))),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = prop::sample::select(vec![RuleVerdict::Allow, RuleVerdict::Ask, RuleVerdict::Deny]);
    (verdict, prop::collection::vec(any_test(), 0..3)).prop_map(|(verdict, when)| rule("any", verdict, &when))
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let classes = [EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send, EffectClass::Spend];
    let access = prop::sample::select(vec![Access::Read, Access::Write]);
    let path = (access, any_path()).prop_map(|(access, real)| PathFact::new(access, real));
    (prop::sample::select(classes.to_vec()), prop::collection::vec(path, 0..3))
        .prop_map(|(class, paths)| Facts::new(class, paths))
}

fn any_price() -> impl Strategy<Value = Price> {
    (0u64..100_000_000, 0u64..100_000_000, 0u64..100_000_000, 0u64..100_000_000)
        .prop_map(|(input, cached_input, cache_write, output)| Price { input, cached_input, cache_write, output })
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (0u64..5_000_000, 0u64..5_000_000, 0u64..5_000_000, 0u64..5_000_000).prop_map(
        |(uncached, cache_read, cache_write, output)| Usage { uncached, cache_read, cache_write, output, reasoning: 0 },
    )
}

fn any_amount() -> impl Strategy<Value = Amount> {
    (any::<u64>(), any::<u64>()).prop_map(|(tokens, micro_usd)| Amount { tokens, micro_usd })
}
