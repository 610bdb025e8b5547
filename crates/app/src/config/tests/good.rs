//! What a good file says, what stands in for what it does not say, and what is published.
use std::time::{Duration, Instant};

use backstay_kernel::budget::Price;
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::policy::InDoubt;
use backstay_kernel::rule::{Approvers, Field, Test};

use super::{GOOD, Home, good_but};
use crate::config::{Choice, FILE, load, reference_markdown, schema, template};

#[test]
fn a_good_file_says_what_it_says() {
    let home = Home::new();
    let checked = home.check(GOOD).unwrap();
    let policy = &checked.policy;
    assert_eq!(policy.epoch, 0);
    let model = &policy.models["default"];
    let price = Price { input: 1_000_000, cached_input: 100_000, cache_write: 1_250_000, output: 5_000_000 };
    assert_eq!((model.context_tokens, model.max_output_tokens, model.price), (16_384, 512, price));
    assert_eq!(policy.models["strong"].price, Price::default());
    let agent = &policy.agents["main"];
    let inside = |path: &str| home.path().join(path).to_str().unwrap().to_owned();
    assert_eq!(agent.grants.read, [inside("workspace")]);
    let host = |host: &str, port, methods: &[Method], path_prefix: &str, audience| HostGrant {
        host: host.to_owned(),
        port,
        methods: methods.to_vec(),
        path_prefix: path_prefix.to_owned(),
        allow_private: Vec::new(),
        audience,
        secrets: false,
        tunnel: false,
    };
    let (first, second) = (
        host("api.example.com", 443, &[Method::Delete], "/v1", Audience::Home),
        host("*.example.org", 8_443, &[Method::Get, Method::Head], "/", Audience::Public),
    );
    assert_eq!((&agent.grants.hosts[..], &policy.agents["other"].grants.hosts[..]), (&[first][..], &[second][..]));
    assert_eq!(agent.in_doubt, InDoubt::AssumeNotDone);
    assert_eq!((agent.caps.steps, agent.caps.tool_calls, agent.caps.wall_ms), (10, 20, 3_600_000));
    assert_eq!((agent.caps.asks_per_hour, policy.agents["other"].caps.asks_per_hour), (7, 5));
    let rule = &agent.rules[0];
    assert_eq!(rule.when[&Field::Path], Test::Glob(inside("workspace/out/reports/**")));
    assert_eq!(rule.approvers, Approvers::owners());
    assert_eq!(rule.expires_ms, 300_000);
    assert_eq!(checked.owners["main"].incidents.as_deref(), Some("oncall"));
    assert_eq!(checked.providers["cloud"].base_url.as_deref(), Some("https://api.anthropic.com"));
}

#[test]
fn absent_budgets_are_finite() {
    let checked = Home::new().check(GOOD).unwrap();
    let policy = &checked.policy;
    for budget in [policy.home_budget, policy.per_principal, policy.per_channel, policy.agents["other"].budget] {
        assert!(budget.day.tokens.is_some() && budget.day.micro_usd.is_some());
    }
}

#[test]
fn absent_cache_prices_are_the_price_of_input() {
    let text = good_but("cached_input = 0.1, cache_write = 1.25, ", "");
    let price = Home::new().check(&text).unwrap().policy.models["default"].price;
    assert_eq!((price.cached_input, price.cache_write), (1_000_000, 1_000_000));
}

#[test]
fn checking_makes_nothing_and_preparing_makes_what_was_missing() {
    let home = Home::new();
    let checked = home.check(GOOD).unwrap();
    let out = home.path().join("workspace/out/a");
    assert!(!out.exists());
    assert_eq!(checked.missing_directories, std::slice::from_ref(&out));
    checked.prepare().unwrap();
    assert!(out.is_dir());
    assert!(home.check(GOOD).unwrap().missing_directories.is_empty());
}

#[test]
fn a_directory_that_became_a_link_is_not_prepared() {
    let home = Home::new();
    let checked = home.check(GOOD).unwrap();
    std::fs::create_dir(home.path().join("secrets")).unwrap();
    std::os::unix::fs::symlink(home.path().join("secrets"), home.path().join("workspace/out")).unwrap();
    assert!(checked.prepare().is_err());
}

#[test]
fn every_template_is_good() {
    let home = Home::new();
    let odd = Choice::BaseUrl {
        base_url: "http://127.0.0.1:1/v1".into(),
        api_key_env: None,
        model: "a \"quoted\"\\name\n\u{1}".into(),
    };
    for choice in [Choice::Rehearsal, Choice::Anthropic, Choice::OpenAi, odd] {
        // Commands and hosts are for the operator to grant.
        let asked = [(false, &[][..], &["git_fetch", "git_push", "http_request", "run_command", "web_fetch"][..])];
        for (commands, programs, tools) in
            asked.into_iter().chain([(true, &["*"][..], &["git_fetch", "git_push", "http_request", "web_fetch"][..])])
        {
            match home.check(&template(&choice, commands)) {
                Ok(checked) => {
                    let granted = &checked.policy.agents["main"].grants;
                    let missing = checked.policy.tools.keys().filter(|tool| !granted.tools.contains(tool));
                    assert_eq!(missing.collect::<Vec<_>>(), tools);
                    assert_eq!(granted.programs, programs);
                }
                Err(mistakes) => panic!("{choice:?}\n{mistakes}"),
            }
        }
    }
}

#[test]
fn a_home_is_loaded_from_its_file() {
    let home = Home::new();
    std::fs::write(home.path().join(FILE), GOOD).unwrap();
    assert_eq!(load(&home.path(), backstay_tools::manifests()).unwrap().text, GOOD);
}

#[test]
fn a_file_that_cannot_be_text_is_a_mistake_and_never_a_wait() {
    let home = Home::new();
    let file = home.path().join(FILE);
    let code = || load(&home.path(), backstay_tools::manifests()).unwrap_err().all()[0].code;
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(code(), crate::config::Code::Unreadable);
    std::fs::write(&file, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert_eq!(code(), crate::config::Code::Unreadable);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code(), crate::config::Code::Unreadable);
    std::fs::create_dir(&file).unwrap();
    assert_eq!(code(), crate::config::Code::Unreadable);
}

#[test]
fn show_says_where_each_value_comes_from() {
    let checked = Home::new().check(GOOD).unwrap();
    let shown = checked.show(true);
    assert_eq!(shown["server"]["listen"]["value"], "127.0.0.1:7000");
    assert_eq!(shown["server"]["listen"]["origin"], "backstay.toml:3");
    assert_eq!(shown["home"]["budget"]["usd_per_day"]["origin"], "default");
    assert_eq!(checked.show(false)["agents"]["main"]["rules"][0]["ask"]["expires"], "5m");
    assert_eq!(checked.show(true).to_string(), shown.to_string());
}

#[test]
fn what_is_published_holds_every_key() {
    let schema = schema();
    let rule = &schema["properties"]["agents"]["additionalProperties"]["properties"]["rules"]["items"];
    assert_eq!(rule["required"], serde_json::json!(["name", "verdict", "match"]));
    assert_eq!(schema["additionalProperties"], false);
    let page = reference_markdown();
    for (path, _) in super::bite::leaves() {
        let (section, name) = path.rsplit_once('.').unwrap();
        let heading = format!("## {}\n", section.replace(".*", ".NAME"));
        assert!(page.contains(&heading), "{heading}");
        assert!(page.contains(&format!("| `{name}` |")), "{path}");
    }
}

#[test]
fn a_large_file_is_checked_in_no_time() {
    let agents: String = (0..2_000).map(|n| format!("[agents.a{n}]\nmodel = \"default\"\nsurprise = 1\n")).collect();
    let begun = Instant::now();
    assert_eq!(Home::new().mistakes(&format!("{GOOD}\n{agents}")).len(), 2_000);
    assert!(begun.elapsed() < Duration::from_secs(20));
}
