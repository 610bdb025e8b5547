//! Secrets in the config: what a binding may be, who may be granted one, where the key may lie.
use super::{GOOD, Home, good_but};

#[test]
fn a_binding_that_could_leak_is_a_mistake_at_its_key() {
    let home = Home::new();
    for (from, to, column) in [
        ("host = \"api.example.com\"", "host = \"https://api.example.com\"", 17),
        ("host = \"api.example.com\"", "host = \"10.0.0.1\"", 17),
        ("port = 8080", "port = 80", 43),
        ("method = [\"GET\"]", "method = [\"get\"]", 58),
        ("path_prefix = \"/v1\", header", "path_prefix = \"/v1/../x\", header", 81),
        ("path_prefix = \"/v1\", header", "path_prefix = \"/v1\", query = [\"%61\"], header", 96),
        ("path_prefix = \"/v1\", header", "path_prefix = \"/v1\", tools = [], header", 96),
        ("header = \"Authorization\"", "header = \"Connection\"", 97),
        ("scheme = \"Bearer\"", "scheme = \"a b\"", 123),
    ] {
        let text = good_but(from, to);
        let line = text.lines().position(|line| line.contains(to)).unwrap() + 1;
        assert_eq!(home.mistakes(&text), [format!("{line}:{column} bad_value")], "{to}");
    }
    assert_eq!(home.mistakes(&good_but("host = \"api.example.com\", ", ""))[0].split(' ').nth(1), Some("missing_key"));
}

#[test]
fn a_binding_says_whose_requests_carry_it_and_by_which_keys() {
    let home = Home::new();
    let with = |more: &str| good_but("header = \"Authorization\"", &format!("{more}header = \"Authorization\""));
    let bound = |more: &str| home.check(&with(more)).unwrap().bindings["crm"].clone();
    let plain = bound("");
    assert!(plain.query.is_empty(), "a request without a query alone");
    assert_eq!(plain.tools, ["http_request", "web_fetch"]);
    assert_eq!(bound("query = \"page\", tools = \"git_push\", ").query, ["page"]);
    assert_eq!(bound("tools = \"git_push\", ").tools, ["git_push"]);
    let refused = |text: &str| home.mistakes(text)[0].split(' ').nth(1).unwrap().to_owned();
    for tool in ["read_file", "run_command", "mcp.files", "mcp.none", "files__Read_file", "*"] {
        assert_eq!(refused(&with(&format!("tools = [\"{tool}\"], "))), "unknown_name", "{tool}");
    }
    let far = with("tools = \"mcp.far\", ") + "\n[mcp.far]\nurl = \"https://example.org/mcp\"\n";
    assert_eq!(home.check(&far).unwrap().bindings["crm"].tools, ["mcp.far"]);
}

/// An error that says why, and what to do.
#[test]
fn no_secret_is_bound_to_where_one_post_makes_many_calls() {
    let home = Home::new();
    let of = |method: &str, path: &str| {
        let text = good_but(
            "method = [\"GET\"], path_prefix = \"/v1\", header",
            &format!("method = [\"{method}\"], path_prefix = \"{path}\", header"),
        );
        home.check(&text).map(|_| ()).map_err(|mistakes| mistakes.to_string())
    };
    for path in ["/graphql", "/batch", "/v1/$batch"] {
        let said = of("POST", path).unwrap_err();
        assert!(
            said.contains("one POST makes many calls") && said.contains("bind the paths of single calls"),
            "{said}"
        );
        assert_eq!(of("GET", path), Ok(()));
    }
    assert_eq!(of("POST", "/v1"), Ok(()));
}

#[test]
fn a_grant_names_a_secret_that_is_bound_and_a_providers_key_is_not() {
    let home = Home::new();
    let granted =
        |name: &str| good_but("read = [\"workspace\"]\n", &format!("read = [\"workspace\"]\nsecrets = [\"{name}\"]\n"));
    assert_eq!(home.check(&granted("crm")).unwrap().policy.agents["main"].grants.secrets, ["crm"]);
    assert_eq!(home.mistakes(&granted("crn")).len(), 1);
    let keyed = |name: &str| {
        good_but("kind = \"anthropic\"\n", &format!("kind = \"anthropic\"\napi_key_secret = \"{name}\"\n"))
    };
    let checked = home.check(&keyed("model-key")).unwrap();
    assert_eq!(checked.providers["cloud"].api_key_secret.as_deref(), Some("model-key"));
    assert_eq!(home.mistakes(&keyed("crm")).len(), 1, "what an agent may send is no provider's key");
    let both = keyed("model-key").replace("api_key_secret", "api_key_env = \"KEY\"\napi_key_secret");
    assert_eq!(home.mistakes(&both).len(), 1);
}

#[test]
fn the_key_lies_outside_of_the_home_and_no_agent_reaches_it() {
    let home = Home::new();
    let with = |path: &str| format!("[home]\nsecrets_key = \"{path}\"\n{GOOD}");
    std::fs::write(home.path().join("workspace/key"), "").unwrap();
    std::fs::write(home.path().join("key"), "").unwrap();
    std::os::unix::fs::symlink(home.path().join("key"), home.path().join("../link")).unwrap();
    for inside in ["key", "workspace/key", "../link"] {
        assert_eq!(home.mistakes(&with(inside))[0], "2:15 own_files", "{inside}");
    }
    assert_eq!(home.mistakes(&with("../none")), ["2:15 bad_path"]);
    assert!(home.check(&with("../key.pem")).unwrap().secrets_key.is_some());
    std::fs::create_dir(home.path().join("../keys")).unwrap();
    std::fs::write(home.path().join("../keys/key"), "").unwrap();
    let granted = with("../keys/key").replace("read = [\"workspace\"]", "read = [\"../keys\"]");
    assert!(home.mistakes(&granted)[0].ends_with("own_files"));
}

#[test]
fn checkpoints_go_to_a_place_outside_by_a_key_outside() {
    let home = Home::new();
    let with = |sink: &str, key: &str| format!("{GOOD}\n[audit]\nsink = \"{sink}\"\nkey = \"{key}\"\n");
    for sink in ["../checkpoints.jsonl", "stdout", "https://collector.test/x", "http://127.0.0.1:1/x"] {
        assert!(home.check(&with(sink, "../key.pem")).unwrap().audit.is_some(), "{sink}");
    }
    for sink in
        ["checkpoints.jsonl", "workspace/x", "http://collector.test/x", "https://a:b@collector.test/x", "ftp://a/x"]
    {
        assert_eq!(home.mistakes(&with(sink, "../key.pem")).len(), 1, "{sink}");
    }
    std::fs::write(home.path().join("key"), "").unwrap();
    assert!(home.mistakes(&with("stdout", "key"))[0].ends_with("own_files"));
    assert_eq!(
        home.mistakes(&format!("{GOOD}\n[audit]\nsink = \"stdout\"\n")).len(),
        1,
        "a key without a place, or none"
    );
}

#[test]
fn notices_go_out_by_tls_and_signed_by_a_key_that_no_agent_has() {
    let home = Home::new();
    let with = |url: &str, rest: &str| format!("{GOOD}\n[notify]\nurl = \"{url}\"\n{rest}\n");
    let good = "https://alerts.test/x?team=1";
    for url in [good, "http://127.0.0.1:1/x", "http://[::1]:1/x"] {
        let checked = home.check(&with(url, "key_env = \"KEY\"")).unwrap();
        assert_eq!(checked.notify.unwrap().url, url);
    }
    for url in
        ["http://alerts.test/x", "http://localhost/x", "https://a:b@alerts.test/x", "ftp://a/x", "", "alerts.test"]
    {
        let text = with(url, "key_env = \"KEY\"");
        assert!(home.mistakes(&text)[0].ends_with("bad_value"), "{url}");
        assert!(!home.check(&text).unwrap_err().to_string().contains("a:b"), "what is wrong may be a password");
    }
    let codes = |rest: &str| -> Vec<String> {
        home.mistakes(&with(good, rest)).iter().map(|mistake| mistake.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(codes("key_secret = \"hook\""), [""; 0]);
    assert_eq!(codes(""), ["missing_key"]);
    assert_eq!(codes("key_secret = \"crm\""), ["bad_value"], "what an agent may send signs nothing of the home's");
    assert_eq!(codes("key_env = \"KEY\"\nkey_secret = \"hook\""), ["not_used"]);
    assert_eq!(codes("key = \"whsec_x\""), ["unknown_key"]);
    assert_eq!(
        home.mistakes(&format!("{GOOD}\n[notify]\nkey_env = \"KEY\"\n"))[0].split(' ').nth(1),
        Some("missing_key")
    );
}
