//! Conditions as they are written: what each form says, where it may stand, and what examples prove.
use backstay_kernel::clock::{Local, Weekday};
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::policy::Role;
use backstay_kernel::rule::{Approvers, Field, Order, Rule, RuleVerdict, Test, Who};

use super::{Home, good_but};
use crate::config::Code;
use crate::config::zone::zone;

/// The good file with this as the first agent's one rule.
fn with(rule: &str) -> String {
    let good = super::GOOD;
    let (from, to) = (good.find("name = \"reports").unwrap(), good.find("[agents.main.caps]").unwrap());
    format!("{}name = \"r\"\n{rule}\n{}", &good[..from], &good[to..])
}

#[track_caller]
fn checked(rule: &str) -> Rule {
    match Home::new().check(&with(rule)) {
        Ok(checked) => checked.policy.agents["main"].rules[0].clone(),
        Err(mistakes) => panic!("{rule}\n{mistakes}"),
    }
}

#[track_caller]
fn refused(rule: &str, code: Code) {
    let mistakes = Home::new().check(&with(rule)).expect_err(rule);
    let codes: Vec<Code> = mistakes.all().iter().map(|mistake| mistake.code).collect();
    assert_eq!(codes, [code], "{rule}\n{mistakes}");
}

#[test]
fn each_operator_is_read_where_it_belongs() {
    let of = |condition: &str, field: Field| {
        checked(&format!("verdict = \"deny\"\nmatch = {{ {condition} }}")).when[&field].clone()
    };
    assert_eq!(of("channel = { not_in = [\"api\"] }", Field::Channel), Test::NotIn(vec!["api".into()]));
    assert_eq!(of("bytes_out = 7", Field::BytesOut), Test::Number(vec![(Order::Equal, 7)]));
    let between = of("bytes_out = { gt = 1, lte = 9 }", Field::BytesOut);
    assert_eq!(between, Test::Number(vec![(Order::Gt, 1), (Order::Lte, 9)]));
    for (word, shape) in [("intersects", Test::Intersects as fn(_) -> _), ("subset_of", Test::SubsetOf)] {
        let (Test::Intersects(globs) | Test::SubsetOf(globs)) =
            of(&format!("path = {{ {word} = [\"workspace/**\"] }}"), Field::Path)
        else {
            panic!("{word}")
        };
        assert!(globs[0].ends_with("/home/workspace/**"), "{globs:?}");
        assert_eq!(of(&format!("path = {{ {word} = [\"/w/**\"] }}"), Field::Path), shape(vec!["/w/**".into()]));
    }
    let Test::Clock(hours) = of("clock = { between = [\"22:00\", \"06:30\"] }", Field::Clock) else { panic!() };
    assert_eq!((hours.from, hours.until, hours.zone.name.as_str()), (1_320, 390, "UTC"));
}

#[test]
fn a_weekday_is_one_of_the_clock_beside_it() {
    let rule = checked(
        "verdict = \"allow\"\nmatch = { weekday = [\"mon\", \"fri\"], clock = { between = [\"08:00\", \"24:00\"], tz = \"Europe/Zurich\" } }",
    );
    let Test::Weekday(days) = &rule.when[&Field::Weekday] else { panic!() };
    assert_eq!((days.days.as_slice(), days.zone.name.as_str()), (&[Weekday::Mon, Weekday::Fri][..], "Europe/Zurich"));
    let alone = checked("verdict = \"allow\"\nmatch = { weekday = \"sun\" }");
    let Test::Weekday(days) = &alone.when[&Field::Weekday] else { panic!() };
    assert_eq!((days.days.as_slice(), days.zone.name.as_str()), (&[Weekday::Sun][..], "UTC"));
}

#[test]
fn zones_are_the_machines_with_their_summer() {
    let zurich = zone("Europe/Zurich").unwrap();
    let noon = |minute| Some(Local { minute, weekday: Weekday::Wed });
    assert_eq!(zurich.local(1_768_392_000_000), noon(13 * 60), "2026-01-14 12:00 UTC");
    assert_eq!(zurich.local(1_784_116_800_000), noon(14 * 60), "2026-07-15 12:00 UTC");
    assert_eq!(zurich.local(4_102_444_800_000), None, "2100");
    assert_eq!(zone("Europe/Nowhere"), None);
}

#[test]
fn an_end_and_a_reason_are_the_rules() {
    let rule = checked("verdict = \"ask\"\nmatch = {}\nuntil = 2026-11-21T10:00:00+01:00\nreason = \"so\"");
    assert_eq!((rule.until, rule.reason.as_deref()), (Some(1_795_251_600_000), Some("so")));
}

#[test]
fn what_can_mean_nothing_is_refused() {
    for (condition, code) in [
        ("tool = { under = \"read_file\" }", Code::UnknownKey),
        ("tool = { not_in = [\"read_fil\"] }", Code::UnknownName),
        ("tool = 5", Code::WrongType),
        ("speaks = \"robot\"", Code::UnknownName),
        ("speaks = { under = \"human\" }", Code::UnknownKey),
        ("tier = \"thin\"", Code::UnknownName),
        ("program = \"/usr/bin/git\"", Code::BadValue),
        ("program = [\"git\", \"git push\"]", Code::BadValue),
        ("program = { glob = \"*/git\" }", Code::BadValue),
        ("program = \"\"", Code::BadValue),
        ("source = \"mail\"", Code::UnknownName),
        ("source = { intersects = [\"tool\", \"t?l\"] }", Code::UnknownName),
        ("source = { subset_of = [\"x*\"] }", Code::UnknownName),
        ("audience = [\"home\", \"world\"]", Code::UnknownName),
        ("audience = { under = \"home\" }", Code::UnknownKey),
        ("program = { under = \"git\" }", Code::UnknownKey),
        ("subcommand = \"push\"", Code::BadValue),
        ("subcommand = \"git\"", Code::BadValue),
        ("subcommand = { not_in = [\"git  push\"] }", Code::BadValue),
        ("subcommand = [\"git --force\"]", Code::BadValue),
        ("subcommand = { subset_of = [\"git */x\"] }", Code::BadValue),
        ("tier = { intersects = [\"full\"] }", Code::UnknownKey),
        ("path = { lt = 5 }", Code::UnknownKey),
        ("path = { glob = \"/a\", under = \"/a\" }", Code::BadValue),
        ("path = { subset_of = [] }", Code::BadValue),
        ("path = { intersects = [\"workspace/*/../x\"] }", Code::BadPath),
        ("bytes_out = \"5\"", Code::WrongType),
        ("bytes_out = { gt = 1.5 }", Code::WrongType),
        ("bytes_out = { gt = -1 }", Code::BadValue),
        ("bytes_out = {}", Code::BadValue),
        ("bytes_out = { gt = 1, gte = 1, lt = 5 }", Code::BadValue),
        ("host = \"0x7f.1\"", Code::BadValue),
        ("host = { subdomain_of = \"10.0.0.1\" }", Code::BadValue),
        ("host = { glob = \"*.test\" }", Code::UnknownKey),
        ("port = \"443\"", Code::WrongType),
        ("method = \"CONNECT\"", Code::UnknownName),
        ("url_path = { under = \"/a/../b\" }", Code::BadValue),
        ("url_path = { intersects = [\"/a\"] }", Code::UnknownKey),
        ("url_bytes = { glob = \"1\" }", Code::UnknownKey),
        ("repo = \"https://git.test/a\"", Code::BadValue),
        ("repo = { intersects = [\"git.test/a\"] }", Code::UnknownKey),
        ("ref = \"main\"", Code::BadValue),
        ("ref = { not_in = [\"main\"] }", Code::BadValue),
        ("force = \"no\"", Code::WrongType),
        ("reversible = \"no\"", Code::WrongType),
        ("force = { not_in = [\"true\"] }", Code::WrongType),
        ("changed = \"/src/a.rs\"", Code::BadValue),
        ("clock = \"08:00\"", Code::WrongType),
        ("clock = { tz = \"UTC\" }", Code::MissingKey),
        ("clock = { between = [\"08:00\"] }", Code::BadValue),
        ("clock = { between = [\"8:00\", \"9:00\"] }", Code::BadValue),
        ("clock = { between = [\"08:00\", \"24:01\"] }", Code::BadValue),
        ("clock = { between = [\"08:60\", \"09:00\"] }", Code::BadValue),
        ("clock = { between = [\"08:00\", \"08:00\"] }", Code::BadValue),
        ("clock = { between = [\"08:00\", \"09:00\"], tz = \"Europe/Nowhere\" }", Code::UnknownName),
        ("weekday = \"monday\"", Code::BadValue),
        ("weekday = [\"mon\", \"lundi\"]", Code::BadValue),
        ("weekday = []", Code::BadValue),
        ("weekday = { not_in = [\"mon\"] }", Code::WrongType),
    ] {
        refused(&format!("verdict = \"deny\"\nmatch = {{ {condition} }}"), code);
    }
    refused("verdict = \"deny\"\nmatch = {}\nunless = {}", Code::BadValue);
    refused("verdict = \"deny\"\nmatch = {}\nuntil = 2026-11-21", Code::BadValue);
    refused("verdict = \"deny\"\nmatch = {}\nuntil = \"2026-11-21T10:00:00Z\"", Code::WrongType);
}

#[test]
fn repositories_are_read_into_the_form_in_which_calls_name_them() {
    let rule = checked(
        "verdict = \"deny\"\nmatch = { repo = [\"Git.TEST:443/a/b.git\"], ref = { glob = \"refs/heads/*\" }, force = true }\n\
         unless = { changed = { subset_of = [\"docs/**\"] } }\n\
         matches = [{ repo = \"git.test/a/b\", ref = \"refs/heads/x\", force = true, changed = \"src/a\" }]\n\
         does_not_match = [{ repo = \"git.test/a/b\", force = false }, { tool = \"read_file\" }, \
         { repo = \"git.test/a/b\", ref = \"refs/heads/x\", force = true, changed = \"docs/a/b\" }]",
    );
    assert_eq!(rule.when[&Field::Repo], Test::AnyOf(vec!["git.test/a/b".into()]));
    let any = checked(
        "verdict = \"deny\"\nmatch = { repo = { glob = \"*/A/b.Git\" } }\nmatches = [{ repo = \"git.test/a/B.GIT\" }]",
    );
    assert_eq!(any.when[&Field::Repo], Test::Glob("*/a/b".into()));
    assert_eq!(rule.when[&Field::Force], Test::Equal("true".into()));
}

/// Written in any spelling, compared in one.
#[test]
fn hosts_and_their_paths_are_read_into_the_form_that_is_dialled() {
    let rule = checked(
        "verdict = \"deny\"\nmatch = { host = { subdomain_of = \"BÜCHER.example.\" }, url_path = { under = \"/%61\" } }\n\
         matches = [{ host = \"a.Bücher.example\", url_path = \"/a/b\" }]\n\
         does_not_match = [{ host = \"b.example\", url_path = \"/a\" }, { tool = \"read_file\" }]",
    );
    assert_eq!(rule.when[&Field::Host], Test::SubdomainOf("xn--bcher-kva.example".into()));
    assert_eq!(rule.when[&Field::UrlPath], Test::Under("/a".into()));
    let looks = "verdict = \"allow\"\nmatch = { host = \"a.test\" }\nmatches = [{ tool = \"run_command\" }]";
    refused(looks, Code::Example);
}

/// An example is tried with the exception too, and must say all that could change the answer.
#[test]
fn examples_prove_what_a_rule_does() {
    let base = "match = { path = { under = \"workspace\" } }\nunless = { path = { under = \"workspace/tmp\" }, bytes_out = { lt = 10 } }";
    for verdict in ["allow", "ask", "deny"] {
        let matches = |key: &str, example: &str| format!("verdict = \"{verdict}\"\n{base}\n{key} = [{{ {example} }}]");
        let (kept, small) = ("path = \"workspace/a\"", "path = \"workspace/tmp/a\", bytes_out = 3");
        checked(&matches("matches", kept));
        checked(&matches("does_not_match", small));
        checked(&matches("does_not_match", "path = \"/etc/passwd\""));
        refused(&matches("does_not_match", kept), Code::Example);
        refused(&matches("matches", small), Code::Example);
        refused(&matches("matches", "path = \"workspace/tmp/a\""), Code::Example);
        // What only reads puts out nothing.
        checked(&matches("does_not_match", "path = \"workspace/tmp/a\", tool = \"read_file\""));
    }
    let hours = |at: &str| {
        format!(
            "verdict = \"allow\"\nmatch = {{ clock = {{ between = [\"08:00\", \"18:00\"], tz = \"Europe/Zurich\" }} }}\nmatches = [{{ {at} }}]"
        )
    };
    checked(&hours("at = 2026-07-15T06:00:00Z"));
    refused(&hours("at = 2026-07-15T16:00:00Z"), Code::Example);
    refused(&hours("tool = \"read_file\""), Code::Example);
}

/// Nothing that it runs is held where it runs nothing; of others an example says how.
#[test]
fn an_example_says_how_it_would_be_held_where_its_tool_runs_something() {
    let of = |verdict: &str, example: &str| {
        format!(
            "verdict = \"{verdict}\"\nmatch = {{ tier = {{ not_in = [\"full\"] }} }}\ndoes_not_match = [{{ {example} }}]"
        )
    };
    for verdict in ["allow", "deny"] {
        for tool in ["read_file", "web_fetch", "http_request"] {
            checked(&of(verdict, &format!("tool = \"{tool}\"")));
        }
        checked(&of(verdict, "tool = \"run_command\", tier = \"full\""));
        refused(&of(verdict, "tool = \"run_command\", tier = \"copy\""), Code::Example);
        for tool in ["run_command", "git_push", "git_fetch"] {
            refused(&of(verdict, &format!("tool = \"{tool}\"")), Code::Example);
        }
    }
}

/// What a tool's call may reach or start, its example does not say by being of that tool.
#[test]
fn no_example_says_of_a_tool_what_its_calls_do_not_keep_to() {
    let of = |condition: &str, tool: &str| {
        format!("verdict = \"deny\"\nmatch = {{ {condition} }}\ndoes_not_match = [{{ tool = \"{tool}\" }}]")
    };
    let all = [
        ("recipient = \"eve@x.test\"", &["git_fetch", "web_fetch", "http_request"][..]),
        ("host = \"a.test\"", &["git_fetch", "web_fetch", "git_push"]),
        ("audience = \"public\"", &["git_fetch", "web_fetch"]),
        ("repo = \"a.test/x\"", &["git_fetch", "http_request", "run_command"]),
        ("program = \"git\"", &["git_fetch", "git_push"]),
    ];
    for (condition, tools) in all {
        checked(&of(condition, "read_file"));
        for tool in tools {
            refused(&of(condition, tool), Code::Example);
        }
    }
}

/// A class that tells it, or a built-in tool; a declared one alone where no argument could make its calls more.
#[test]
fn examples_say_whether_a_call_can_be_taken_back() {
    let of = |verdict: &str, word: &str, key: &str, example: &str| {
        format!("verdict = \"{verdict}\"\nmatch = {{ reversible = {word} }}\n{key} = [{{ {example} }}]")
    };
    for verdict in ["allow", "deny"] {
        for (word, other) in [("true", "false"), ("false", "true")] {
            checked(&of(verdict, word, "matches", &format!("reversible = {word}")));
            checked(&of(verdict, word, "does_not_match", &format!("reversible = {other}")));
        }
        for example in ["tool = \"read_file\"", "tool = \"edit_file\"", "tool = \"web_fetch\"", "class = \"read\""] {
            checked(&of(verdict, "true", "matches", example));
        }
        checked(&of(verdict, "false", "matches", "class = \"spend\""));
        for unsaid in ["write_file", "http_request", "git_push", "run_command", "history", "files__Read_file"] {
            refused(&of(verdict, "true", "matches", &format!("tool = \"{unsaid}\"")), Code::Example);
        }
        let declared = |said: &str, word: &str| {
            with(&of(verdict, word, "matches", "tool = \"history\"")).replace("class = \"execute\"", said)
        };
        let code = |text: &str| Home::new().check(text).err().map(|mistakes| mistakes.all()[0].code);
        assert_eq!(code(&declared("class = \"execute\"\nreversible = false", "false")), None);
        assert_eq!(code(&declared("class = \"execute\"\nreversible = true", "true")), Some(Code::Example));
    }
}

/// A subcommand says its program; a tool that starts nothing starts no program.
#[test]
fn examples_say_what_a_call_starts() {
    let of = |condition: &str, key: &str, example: &str| {
        format!("verdict = \"deny\"\nmatch = {{ {condition} }}\n{key} = [{{ {example} }}]")
    };
    let program = "program = [\"git\", \"hg\"]";
    checked(&of(program, "matches", "program = [\"git\", \"ls\"]"));
    checked(&of(program, "matches", "subcommand = [\"git push\"]"));
    checked(&of(program, "does_not_match", "subcommand = [\"ls\"]"));
    checked(&of(program, "does_not_match", "tool = \"read_file\""));
    refused(&of(program, "does_not_match", "tool = \"run_command\""), Code::Example);
    // For an allow all must fit, as when it is judged.
    let allow = |key, example| of(program, key, example).replace("deny", "allow");
    checked(&allow("does_not_match", "program = [\"git\", \"ls\"]"));
    checked(&allow("matches", "program = [\"git\", \"hg\"]"));
    refused(&allow("matches", "program = [\"git\", \"ls\"]"), Code::Example);
    let subcommand = "subcommand = { glob = \"git *\" }";
    checked(&of(subcommand, "matches", "subcommand = [\"ls\", \"git push\"]"));
    checked(&of(subcommand, "does_not_match", "tool = \"web_fetch\""));
    refused(&of(subcommand, "matches", "program = [\"git\"]"), Code::Example);
    refused(&of(subcommand, "matches", "subcommand = [\"push\"]"), Code::BadValue);
}

#[test]
fn examples_say_what_has_entered_and_who_gets_to_know() {
    let of = |verdict: &str, condition: &str, key: &str, example: &str| {
        format!("verdict = \"{verdict}\"\nmatch = {{ {condition} }}\n{key} = [{{ {example} }}]")
    };
    let source = "source = { subset_of = [\"config\", \"principal\", \"model\"] }";
    for verdict in ["allow", "deny"] {
        checked(&of(verdict, source, "matches", "source = [\"config\", \"model\"]"));
        checked(&of(verdict, source, "does_not_match", "source = [\"config\", \"tool\"]"));
        refused(&of(verdict, source, "matches", "tool = \"read_file\""), Code::Example);
        let audience = "audience = \"public\"";
        checked(&of(verdict, audience, "matches", "audience = [\"public\"]"));
        checked(&of(verdict, audience, "does_not_match", "audience = [\"home\", \"named\"]"));
        checked(&of(verdict, audience, "does_not_match", "tool = \"read_file\""));
        refused(&of(verdict, audience, "does_not_match", "tool = \"http_request\""), Code::Example);
    }
}

#[test]
fn a_mistaken_exception_is_one_mistake() {
    let text = good_but("verdict = \"ask\"", "verdict = \"ask\"\nunless = { tool = \"writ_file\" }");
    assert_eq!(Home::new().mistakes(&text), ["46:19 unknown_name"]);
}

#[test]
fn a_rule_without_more_has_neither_exception_nor_end() {
    let rule = checked("verdict = \"deny\"\nmatch = {}");
    assert_eq!(rule, Rule { line: 43, ..Rule::new("r", RuleVerdict::Deny, rule.when.clone()) });
}

#[test]
fn a_policy_is_told_by_its_digest() {
    let home = Home::new();
    let digest = |text: &str| home.check(text).unwrap().policy.digest;
    let good = digest(super::GOOD);
    assert_eq!(digest(&format!("{}# a remark\n", super::GOOD)), good);
    assert_ne!(digest(&good_but("verdict = \"ask\"\nmatch", "verdict = \"ask\"\nreason = \"so\"\nmatch")), good);
    assert_ne!(digest(&good_but("steps = 10", "steps = 11")), good);
}

#[test]
fn an_ask_that_too_few_could_answer_is_found_when_the_config_is_read() {
    let asks = |ask: &str| format!("verdict = \"ask\"\nmatch = {{}}\nask = {{ {ask} }}");
    let rule = checked(&asks("role = [\"owner\", \"user\"], quorum = 2, distinct_from = [], channels = [\"cli\"]"));
    let who = Who::Roles(vec![Role::Owner, Role::User]);
    assert_eq!(rule.approvers, Approvers { quorum: 2, channels: vec!["cli".into()], ..who.into() });
    let rule = checked(&asks("distinct_from = [\"requester\"]"));
    assert_eq!(rule.approvers, Approvers { but_requester: true, ..Approvers::owners() });
    for ask in [
        "quorum = 2",
        "role = [\"owner\", \"user\"], quorum = 3",
        "role = [\"owner\", \"user\", \"operator\"], quorum = 3, distinct_from = [\"requester\"]",
        "role = [\"owner\", \"user\"], quorum = 2, channels = [\"api\"]",
    ] {
        refused(&asks(ask), Code::NoApprover);
    }
    refused(&asks("quorum = 0"), Code::BadValue);
    refused(&asks("channels = [\"mail\"]"), Code::BadValue);
}

#[test]
fn limits_are_read_and_what_can_mean_nothing_in_one_is_refused() {
    let rule = checked(
        "verdict = \"allow\"\nmatch = {}\nask = { principal = [\"owner\"] }\nlimit = [{ count = true, per = [\"tool\", \"home\", \"principal\"], window = \"1h\", max = 3, over = \"ask\" }, { sum = \"bytes_out\", window = \"24h\", max = 0, over = \"deny\" }, { sum = \"amount\", per = [\"account\"], window = \"24h\", max = \"€200.00\", over = \"deny\" }]",
    );
    let hour = Limit {
        measure: Measure::Count,
        per: vec![Field::Principal, Field::Tool],
        of_home: true,
        window_ms: 3_600_000,
        max: 3,
        currency: None,
        over: Over::Ask,
    };
    let day = Limit {
        measure: Measure::BytesOut,
        per: vec![],
        of_home: false,
        window_ms: 86_400_000,
        max: 0,
        currency: None,
        over: Over::Deny,
    };
    let paid = Limit {
        measure: Measure::Amount,
        per: vec![Field::Account],
        max: 20_000,
        currency: Some("EUR".into()),
        ..day.clone()
    };
    assert_eq!(rule.limits, [hour, day, paid]);
    assert_eq!(rule.approvers, Approvers::from(Who::Principals(vec!["owner".into()])));
    let limit = "count = true, window = \"1h\", max = 3, over = \"deny\"";
    for (verdict, limits, code) in [
        ("deny", format!("{{ {limit} }}"), Code::NotUsed),
        ("allow", "{ window = \"1h\", max = 3, over = \"deny\" }".to_owned(), Code::BadValue),
        ("allow", format!("{{ {limit}, sum = \"bytes_out\" }}"), Code::BadValue),
        ("allow", format!("{{ {limit}, per = [\"path\"] }}"), Code::BadValue),
        ("allow", format!("{{ {limit} }}, {{ {limit} }}"), Code::Duplicate),
        ("allow", "{ count = true, window = \"1h\", max = 3 }".to_owned(), Code::MissingKey),
        ("allow", "{ count = true, window = \"1h\", max = \"3 EUR\", over = \"deny\" }".to_owned(), Code::BadValue),
        ("allow", "{ sum = \"amount\", window = \"1h\", max = 3, over = \"deny\" }".to_owned(), Code::BadValue),
        ("allow", "{ sum = \"amount\", window = \"1h\", max = \"much\", over = \"deny\" }".to_owned(), Code::BadValue),
    ] {
        refused(&format!("verdict = \"{verdict}\"\nmatch = {{}}\nlimit = [{limits}]"), code);
    }
    refused(&format!("verdict = \"allow\"\nmatch = {{}}\nask = {{}}\nlimit = [{{ {limit} }}]"), Code::NotUsed);
}

#[test]
fn rules_of_the_home_stand_before_those_of_every_agent_and_never_allow() {
    let with = |rule: &str| format!("{}\n[[rules]]\nname = \"r\"\n{rule}\n", super::GOOD);
    let refused = |rule: &str| -> Vec<Code> {
        let mistakes = Home::new().check(&with(rule)).expect_err(rule);
        mistakes.all().iter().map(|mistake| mistake.code).collect()
    };
    let example =
        "matches = [{ tool = \"write_file\" }]\ndoes_not_match = [{ tool = \"read_file\", agent = \"other\" }]";
    let rule = "verdict = \"deny\"\nmatch = { tool = \"write_file\" }";
    let checked = Home::new().check(&with(&format!("{rule}\n{example}"))).unwrap();
    let names = |agent: &str| checked.policy.agents[agent].rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>();
    assert_eq!((names("main"), names("other")), (vec!["r", "reports need a yes"], vec!["r"]));
    assert_eq!((checked.home_rules(), checked.examples.iter().filter(|example| example.agent == "*").count()), (1, 2));
    assert!(checked.policy.agents["other"].rules[0].line > 1);
    assert_eq!(refused("verdict = \"allow\"\nmatch = {}"), [Code::BadValue]);
    assert_eq!(refused(&format!("{rule}\nmatches = [{{ tool = \"read_file\" }}]")), [Code::Example], "tried once");
    assert_eq!(refused(&format!("{rule}\n[[rules]]\nname = \"reports need a yes\"\n{rule}")), [Code::Duplicate]);
    assert_eq!(refused(&format!("{rule}\n[[rules]]\nname = \"r\"\n{rule}")), [Code::Duplicate]);
}

#[test]
fn a_text_stands_for_a_list_of_it_alone() {
    let of = |quote: fn(&str) -> String| {
        let (role, door, per) = (quote("owner"), quote("cli"), quote("tool"));
        let ask = format!("ask = {{ role = {role}, channels = {door} }}");
        let limit = format!("limit = [{{ count = true, per = {per}, window = \"1h\", max = 3, over = \"ask\" }}]");
        checked(&format!("verdict = \"ask\"\nmatch = {{}}\n{ask}\n{limit}"))
    };
    assert_eq!(of(|word| format!("\"{word}\"")), of(|word| format!("[\"{word}\"]")));
    let person = checked("verdict = \"ask\"\nmatch = {}\nask = { principal = \"owner\" }");
    assert_eq!(person.approvers, Approvers::from(Who::Principals(vec!["owner".into()])));
    refused("verdict = \"ask\"\nmatch = {}\nask = { role = \"ownr\" }", Code::BadValue);
    refused("verdict = \"ask\"\nmatch = {}\nask = { principal = \"\" }", Code::BadValue);
}
