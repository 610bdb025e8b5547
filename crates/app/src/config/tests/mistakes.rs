//! What is refused: all at once, at its place, with a way out, and without repeating a secret.
use proptest::prelude::*;

use super::{GOOD, Home, good_but};
use crate::config::Code;

const TEN: &str = r#"
[server]
listen = "0.0.0.0:7717"
[limits]
messages_per_minut = 60
[principals.Owner]
role = "owner"
[providers.local]
kind = "opnai"
[models.default]
provider = "locl"
name = "m"
[agents.main]
model = 5
[agents.main.grants]
toolz = []
tools = ["read_fil"]
write = [".."]
"#;

/// Of the server of the good config.
const COMMAND: &str = "command = [\"python3\", \"/usr/lib/server.py\"]";

#[test]
fn ten_mistakes_are_reported_at_once_each_at_its_place() {
    let expected = [
        "3:10 insecure_listen",
        "5:1 unknown_key",
        "6:13 bad_name",
        "9:8 bad_value",
        "10:9 missing_key",
        "11:12 unknown_name",
        "14:9 wrong_type",
        "16:1 unknown_key",
        "17:10 unknown_name",
        "18:10 own_files",
    ];
    // `opnai` is one mistake; that `local` is a provider all the same is not another.
    assert_eq!(Home::new().mistakes(TEN), expected);
}

#[test]
fn the_text_form_has_one_line_each_and_a_count() {
    let text = good_but("tools = [\"read_file\", \"write_file\"]", "toolz = []");
    let mistakes = Home::new().check(&text).unwrap_err();
    assert_eq!(mistakes.to_string(), "backstay.toml:39:1: unknown key `toolz`; did you mean `tools`?\n1 mistake");
    let json = mistakes.to_json();
    assert_eq!(json["count"], 1);
    assert_eq!(json["mistakes"][0]["code"], "unknown_key");
    assert_eq!(json["mistakes"][0]["line"], 39);
    assert_eq!(json["mistakes"][0]["suggestion"], "did you mean `tools`?");
}

/// One change to the good file, and the one mistake that it is.
#[test]
fn each_mistake_is_found() {
    for (from, to, code) in [
        ("\"127.0.0.1:7000\"", "\"localhost:7000\"", Code::BadValue),
        ("\"127.0.0.1:7000\"", "\"[::]:7000\"", Code::InsecureListen),
        ("messages_per_minute = 30", "messages_per_minute = 0", Code::BadValue),
        ("messages_per_minute = 30", "messages_per_minute = -1", Code::BadValue),
        ("messages_per_minute = 30", "messages_per_minute = \"30\"", Code::WrongType),
        ("[limits]", "[limit]", Code::UnknownKey),
        ("role = \"user\"", "role = \"usr\"", Code::BadValue),
        ("role = \"user\"", "", Code::MissingKey),
        ("[principals.app]", "[principals.\"a b\"]", Code::BadName),
        ("\"http://127.0.0.1:8080/v1\"", "\"127.0.0.1:8080\"", Code::BadValue),
        ("kind = \"anthropic\"", "kind = \"rehearsal\"\napi_key_env = \"X\"", Code::NotUsed),
        ("kind = \"anthropic\"", "kind = \"rehearsal\"\nbase_url = \"http://x/\"", Code::BadValue),
        ("provider = \"local\"", "provider = \"nowhere\"", Code::UnknownName),
        ("max_output_tokens = 512", "max_output_tokens = 16384", Code::BadValue),
        ("price_usd_per_mtok = \"free\"", "", Code::MissingKey),
        ("price_usd_per_mtok = \"free\"", "price_usd_per_mtok = \"cheap\"", Code::WrongType),
        ("input = 1.0,", "input = 1.0000001,", Code::BadValue),
        ("input = 1.0,", "input = -1.0,", Code::BadValue),
        ("input = 1.0,", "", Code::MissingKey),
        ("model = \"strong\"", "model = \"weak\"", Code::UnknownName),
        ("role = \"user\"", "rolle = \"user\"", Code::UnknownKey),
        ("in_doubt = \"assume_not_done\"", "in_doubt = \"hope\"", Code::BadValue),
        ("\"read_file\", ", "\"read_files\", ", Code::UnknownName),
        ("read = [\"workspace\"]", "read = [\"workspace/../..\"]", Code::OwnFiles),
        ("read = [\"workspace\"]", "read = [\"missing/../x\"]", Code::BadPath),
        ("read = [\"workspace\"]", "read = [\"\"]", Code::BadValue),
        ("read = [\"workspace\"]", "read = \"workspace\"", Code::WrongType),
        ("read = [\"workspace\"]", "read = [\"workspace\"]\nprograms = [\"../sh\"]", Code::BadValue),
        ("read = [\"workspace\"]", "read = [\"workspace\"]\nprograms = [\"g*\"]", Code::BadValue),
        ("[limits]", "[sandbox]\nuid = 0\n[limits]", Code::BadValue),
        ("audience = \"home\"", "audience = \"home\"\nmode = \"tunnel\"", Code::BadValue),
        ("audience = \"home\"", "audience = \"home\"\nmode = \"open\"", Code::BadValue),
        ("\"https://Git.Example.com/team.git\"", "\"Git.Example.com/team.git\"", Code::BadValue),
        ("\"https://Git.Example.com/team.git\"", "\"https://git.example.com/team?x\"", Code::BadValue),
        ("team.git\"\naudience = \"named\"", "team.git\"\nsecrets = true", Code::BadValue),
        ("team.git\"\naudience", "team.git\"\npush = [\"main\"]\naudience", Code::BadValue),
        ("[limits]", "[sandbox]\nallow_unsandboxed = true\n[limits]", Code::UnknownKey),
        ("verdict = \"ask\"", "verdict = \"maybe\"", Code::BadValue),
        ("verdict = \"ask\"", "verdict = \"deny\"", Code::NotUsed),
        ("match = { tool = \"write_file\", path", "match = { tool = \"writ_file\", path", Code::UnknownName),
        ("match = { tool = \"write_file\", path", "match = { tool = { glob = \"svn_*\" }, path", Code::UnknownName),
        ("match = { tool = \"write_file\", path", "match = { class = \"writes\", path", Code::UnknownName),
        ("match = { tool = \"write_file\", path", "match = { tool = [], path", Code::BadValue),
        ("{ glob = \"workspace/out/reports/**\" }", "{ globs = \"workspace/out/reports/**\" }", Code::UnknownKey),
        ("{ glob = \"workspace/out/reports/**\" }", "{ glob = \"workspace/*/../x\" }", Code::BadPath),
        ("role = [\"owner\"],", "role = [\"metrics\"],", Code::BadValue),
        ("role = [\"owner\"],", "role = [\"approver\"],", Code::NoApprover),
        ("role = [\"owner\"],", "role = [],", Code::NoApprover),
        ("role = [\"owner\"],", "principal = [\"nobody\"],", Code::UnknownName),
        ("role = [\"owner\"],", "role = [\"owner\"], principal = [\"owner\"],", Code::BadValue),
        ("path = { glob", "pth = { glob", Code::UnknownKey),
        (
            "tool = \"write_file\", path = \"workspace/out/summary",
            "tol = \"write_file\", path = \"workspace/out/summary",
            Code::UnknownKey,
        ),
        ("\"5m\"", "\"5 minutes\"", Code::BadValue),
        ("\"workspace/out/reports/q3.md\"", "\"workspace/out/q3.md\"", Code::Example),
        ("\"workspace/out/summary.md\"", "\"workspace/out/reports/a/b.md\"", Code::Example),
        (", path = \"workspace/out/reports/q3.md\"", "", Code::Example),
        ("steps = 10", "steps = 10.5", Code::WrongType),
        ("steps = 10", "steps = 99999999999999999999", Code::BadValue),
        ("[agents.other]", "[agents.other]\n[agents.other]", Code::Syntax),
        ("steps = 10", "steps = 10\nsteps = 11", Code::Syntax),
    ] {
        is_found(from, to, code);
    }
}

#[test]
fn a_host_that_could_be_read_in_two_ways_is_not_granted() {
    for (from, to, code) in [
        ("\"*.Example.ORG.:8443\"", "\"example.org\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "\"https://example.org:443\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "\"*:443\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "\"*.10.0.0.1:443\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "\"a.*.org:443\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "\"2130706433:443\"", Code::BadValue),
        ("\"*.Example.ORG.:8443\"", "443", Code::WrongType),
        ("host = \"api.example.com:443\"", "", Code::MissingKey),
        ("[\"DELETE\"]", "[\"delete\"]", Code::BadValue),
        ("[\"DELETE\"]", "[]", Code::BadValue),
        ("path_prefix = \"/v1\"", "path_prefix = \"v1\"", Code::BadValue),
        ("path_prefix = \"/v1\"", "path_prefix = \"/v1/%2e%2e\"", Code::BadValue),
    ] {
        is_found(from, to, code);
    }
}

#[test]
fn each_mistake_in_a_declared_tool_is_found() {
    for (from, to, code) in [
        ("[limits]", "[sandbox]\ntool_dirs = [\"workspace/out\"]\n[limits]", Code::BadPath),
        ("[limits]", "[sandbox]\ntool_dirs = [\"..\"]\n[limits]", Code::OwnFiles),
        ("[limits]", "[sandbox]\ntool_dirs = [\"/no/such/place\"]\n[limits]", Code::BadPath),
        ("[limits]", "[sandbox]\ncaches = \"caches\"\n[limits]", Code::BadPath),
        ("[limits]", "[sandbox]\ncaches = \"workspace\"\n[limits]", Code::BadPath),
        ("[limits]", "[sandbox]\ncaches = \".\"\n[limits]", Code::BadPath),
        ("[limits]", "[sandbox]\ntool_dirs = [\"/proc/sys\"]\n[limits]", Code::BadPath),
        ("[tools.history]", "[tools.read_file]", Code::Duplicate),
        ("[tools.history]", "[tools.History]", Code::BadName),
        ("description = \"What changed.\"", "", Code::MissingKey),
        ("\"git\", \"show\"", "\"/usr/bin/git\", \"show\"", Code::BadValue),
        ("\"git\", \"show\"", "\"{path}\", \"show\"", Code::BadValue),
        ("--format={format}\"", "--format={format\"", Code::BadValue),
        ("--format={format}\"", "--format={}\"", Code::BadValue),
        ("--format={format}\"", "--format={format}}\"", Code::BadValue),
        ("--format={format}\"", "--format={format}{fmt}\"", Code::BadValue),
        ("--format={format}\"", "--format=x\"", Code::BadValue),
        ("[\"path\", \"format\"]", "[\"path\"]", Code::BadValue),
        ("\"path\": {\"type\": \"string\"}", "\"path\": {\"type\": \"array\"}", Code::BadValue),
        ("\"path\": {\"type\": \"string\"}", "\"path\": {}", Code::BadValue),
        ("\"path\": {\"type\": \"string\"}", "\"path\": {\"type\": \"strin\"}", Code::BadValue),
        ("\"path\": {\"type\"", "\"path\" {\"type\"", Code::BadValue),
        ("{\"type\": \"object\"", "{\"type\": \"array\"", Code::BadValue),
        ("\"maxLength\": 20", "\"pattern\": \"(a)\\\\1\"", Code::BadValue),
        ("\"maxLength\": 20", "\"$ref\": \"http://127.0.0.1/x\"", Code::BadValue),
        ("class = \"execute\"\ntimeout = \"1m\"", "class = \"execute\"\ntimeout = \"11m\"", Code::BadValue),
        ("class = \"execute\"", "class = \"external\"", Code::BadValue),
        ("class = \"execute\"", "class = \"execute\"\nidempotency = \"pure\"", Code::BadValue),
        ("class = \"execute\"", "class = \"execute\"\nidempotency = \"keyed\"", Code::BadValue),
        ("arguments.path.role = \"read_path\"", "arguments.pth.role = \"read_path\"", Code::UnknownName),
        ("arguments.path.role = \"read_path\"", "arguments.path.role = \"path\"", Code::BadValue),
        ("arguments.path.role = \"read_path\"", "arguments.path = { role = \"money\", up_to = 5 }", Code::BadValue),
        ("[tools.history]", "[tools.his__tory]", Code::BadName),
        ("[\"python3\", ", "[\"npx\", ", Code::BadValue),
        ("[\"python3\", ", "[\"/usr/bin/python3\", ", Code::BadValue),
        ("[\"python3\", \"/usr/lib/server.py\"]", "[]", Code::BadValue),
        ("[mcp.files]", "[mcp.files]\nenvironment = [\"A\"]", Code::BadValue),
        ("[mcp.files]", "[mcp.files]\nenvironment = [\"A B=c\"]", Code::BadValue),
        ("[mcp.files]", "[mcp.files]\nlabel = \"trusted\"", Code::BadValue),
        ("[mcp.files]", "[mcp.files]\nurl = \"https://example.org/mcp\"", Code::BadValue),
        ("[mcp.files]", "[mcp.files]\nallow_private = [\"10.0.0.5\"]", Code::NotUsed),
        (COMMAND, "", Code::MissingKey),
        (COMMAND, "url = \"http://example.org/mcp\"", Code::BadValue),
        (COMMAND, "url = \"http://example.org/mcp\"\nallow_private = [\"10.0.0.5\"]", Code::BadValue),
        (COMMAND, "url = \"http://10.0.0.6/mcp\"\nallow_private = [\"10.0.0.5\"]", Code::BadValue),
        (
            "command = [\"python3\", \"/usr/lib/server.py\"]",
            "url = \"https://example.org/mcp\"\n[mcp.files.tools.more]\nclass = \"read\"\nidempotency = \"pure\"",
            Code::BadValue,
        ),
        (COMMAND, "url = \"https://user@example.org/mcp\"", Code::BadValue),
        (COMMAND, "url = \"https://example.org/mcp\"\nenvironment = [\"A=b\"]", Code::NotUsed),
        ("\"read_file\", ", "\"files__a b\", ", Code::BadName),
        ("\"read_file\", ", "\"file__read\", ", Code::UnknownName),
        (
            "command = [\"python3\", \"/usr/lib/server.py\"]",
            "url = \"https://example.org/mcp\"\n[mcp.files.tools.more]\nclass = \"write\"\narguments.a.role = \"write_path\"",
            Code::BadValue,
        ),
        (
            "class = \"write\"\ntimeout = \"2m\"\narguments.Path.role = \"authority\"",
            "class = \"read\"\narguments.Path.role = \"write_path\"",
            Code::BadValue,
        ),
        ("arguments.path.role = \"read_path\"", "arguments.path.rol = \"read_path\"", Code::UnknownKey),
    ] {
        is_found(from, to, code);
    }
}

#[test]
fn each_mistake_in_who_is_logged_in_and_where_is_found() {
    let is_said =
        |written: &str, code| is_found(COMMAND, &format!("url = \"https://example.org/mcp\"\n{written}"), code);
    // This machine is named by its own name, and must be allowed by an address.
    is_found(COMMAND, "url = \"http://localhost/mcp\"\nallow_private = [\"10.0.0.5\"]", Code::BadValue);
    is_found(COMMAND, "url = \"http://localhost.test/mcp\"\nallow_private = [\"127.0.0.1\"]", Code::BadValue);
    is_found("[mcp.files]", "[mcp.files]\noauth = { client_id = \"a\" }", Code::NotUsed);
    is_said("oauth = { client_secret = \"a\" }", Code::NotUsed);
    is_said("oauth = { client_id = \"a\", client_document = \"https://a.test/b\" }", Code::NotUsed);
    is_said("oauth = { client_document = \"http://a.test/b\" }", Code::BadValue);
    is_said("oauth = { client_document = \"https://a.test\" }", Code::BadValue);
    is_said("oauth = { redirect = \"http://a.test:1/b\" }", Code::BadValue);
    is_said("oauth = { redirect = \"https://127.0.0.1/b\" }", Code::BadValue);
    // A login is nobody's key.
    is_said("oauth = { client_id = \"a\", client_secret = \"mcp.far\" }", Code::BadName);
}

#[test]
fn what_reads_leaves_nothing_to_take_back_and_what_is_paid_is_paid() {
    for (said, code) in [
        ("class = \"read\"\nreversible = false", Code::BadValue),
        ("class = \"spend\"\nreversible = true", Code::BadValue),
        ("class = \"execute\"\nreversible = \"no\"", Code::WrongType),
    ] {
        is_found("class = \"execute\"", said, code);
    }
}

#[test]
fn each_mistake_in_what_a_value_is_known_by_is_found() {
    // Words without a value, a role that takes none, a list by a tool that makes none, a pointer that is none.
    for argument in [
        r#"role = "id", names = ["read"]"#,
        r#"role = "id", names = ["=r"]"#,
        r#"role = "payload", names = ["read=r"]"#,
        r#"role = "url", names = ["read=r"]"#,
        r#"role = "id", listing = { tool = "Make" }"#,
        r#"role = "id", listing = { tool = "Nobody" }"#,
        r#"role = "id", listing = { tool = "People", name = "label" }"#,
        r#"role = "id", listing = { tool = "People", arguments = "[]" }"#,
        r#"role = "id", created_by = ["People"]"#,
    ] {
        is_found("arguments.Path.role = \"authority\"", &format!("arguments.Path = {{ {argument} }}"), Code::BadValue);
    }
    is_found("creates = \"/made\"", "creates = \"made\"", Code::BadValue);
    // A command has no server that could be asked.
    let of_server = "arguments.format = { role = \"payload\", listing = { tool = \"x\" } }";
    is_found("arguments.format.role = \"payload\"", of_server, Code::UnknownKey);
}

#[test]
fn what_has_no_end_of_its_own_has_an_upper_bound() {
    for (from, to) in [
        ("messages_per_minute = 30", "messages_per_minute = 1_000_001"),
        ("messages_per_minute = 30", "connections_per_principal = 769"),
        ("max_output_tokens = 512", "max_output_tokens = 100_000_001"),
        ("input = 1.0,", "input = 1_000_000_000.000001,"),
        ("\"5m\"", "\"367d\""),
        ("steps = 10", "steps = 1_000_001"),
    ] {
        is_found(from, to, Code::BadValue);
    }
    is_found("[principals.app]", &format!("[principals.{}]", "a".repeat(65)), Code::BadName);
}

fn is_found(from: &str, to: &str, code: Code) {
    let mistakes = Home::new().check(&good_but(from, to)).expect_err(to);
    let codes: Vec<Code> = mistakes.all().iter().map(|mistake| mistake.code).collect();
    assert_eq!(codes, [code], "{to}\n{mistakes}");
}

#[test]
fn two_rules_of_one_name_are_one_too_many() {
    let again =
        "[[agents.main.rules]]\nname = \"reports need a yes\"\nverdict = \"deny\"\nmatch = {}\n\n[agents.main.caps]";
    assert_eq!(Home::new().mistakes(&good_but("[agents.main.caps]", again)), ["53:8 duplicate"]);
}

#[test]
fn an_empty_file_needs_an_agent() {
    assert_eq!(Home::new().mistakes(""), ["1:1 missing_key"]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        Home::new().mistakes(&format!("{GOOD}\nowners = {{ behaviour = \"äöü😀\", surprise = \"x\" }}\n")),
        ["101:32 unknown_key"]
    );
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    for (from, to) in [
        ("kind = \"anthropic\"", "kind = \"anthropic\"\napi_key_env = \"sk-SECRET\""),
        ("kind = \"anthropic\"", "kind = \"anthropic\"\napi_key = \"sk-SECRET\""),
        ("\"http://127.0.0.1:8080/v1\"", "\"http://me:sk-SECRET@127.0.0.1:8080/v1\""),
        ("\"http://127.0.0.1:8080/v1\"", "\"http://127.0.0.1:8080/v1?key=sk-SECRET\""),
    ] {
        let mistakes = Home::new().check(&good_but(from, to)).unwrap_err();
        assert!(!mistakes.to_string().contains("SECRET"), "{mistakes}");
        assert!(!mistakes.to_json().to_string().contains("SECRET"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Home::new().check(&String::from_utf8_lossy(&bytes));
    }

    /// Bytes put over a good file reach deeper than bytes alone; no place lies outside of the text.
    #[test]
    fn no_damage_makes_it_panic(at in 0..GOOD.len(), cut in 0usize..40, text in "[\\[\\]{}=\"'.,*#0-9a-z\n é-]{0,12}") {
        let end = (at + cut).min(GOOD.len());
        let damaged = format!("{}{text}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(mistakes) = Home::new().check(&damaged) {
            let lines = damaged.split('\n').count();
            prop_assert!(mistakes.all().iter().all(|m| (1..=lines).contains(&m.place.line)));
            prop_assert!(!mistakes.all().is_empty());
        }
    }
}
