//! Every key bites: taken from the table of keys, so that a key without a reader fails here.
use super::{GOOD, Home};
use crate::config::keys::{Key, ROOT, Shape};
use crate::config::{Checked, Mistakes};

/// Every key that holds a value, by its path, with an example of it.
pub fn leaves() -> Vec<(String, &'static str)> {
    fn walk(path: &str, keys: &'static [Key], out: &mut Vec<(String, &'static str)>) {
        for key in keys {
            let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match &key.shape {
                Shape::Value { example, .. } => out.push((path, example)),
                Shape::Table { keys, .. } | Shape::FreeOr { keys } => walk(&path, keys, out),
                Shape::Named { keys, .. } => walk(&format!("{path}.*"), keys, out),
                // Those of the home are read as an agent's.
                Shape::Rows { .. } if path == "rules" => {}
                Shape::Rows { keys, .. } => walk(&format!("{path}[]"), keys, out),
            }
        }
    }
    let mut out = Vec::new();
    walk("", ROOT, &mut out);
    out
}

/// What the rest of the program is told, without the record of how it was written.
fn told(result: &Result<Checked, Mistakes>) -> String {
    match result {
        Ok(c) => {
            let declared: Vec<_> = c.declared.iter().map(|tool| tool.digest()).collect();
            let (sandbox, owners) = ((c.sandbox, (&c.tool_dirs, &c.caches), declared, &c.mcp), &c.owners);
            let secrets = (&c.secrets_key, &c.bindings, &c.authorities, &c.audit, &c.notify);
            format!("{:?}{:?}{:?}{sandbox:?}{:?}{owners:?}{secrets:?}", c.policy, c.server, c.limits, c.providers)
        }
        Err(mistakes) => format!("{mistakes}"),
    }
}

fn name_in(section: &str) -> &'static str {
    match section {
        "principals" => "app",
        "providers" => "local",
        "models" => "default",
        "tools" => "history",
        "arguments" => "format",
        "secrets" => "crm",
        "mcp" => "files",
        _ => "main",
    }
}

/// Names of tools and of arguments are those of what they belong to.
fn name_at(above: &[&str], section: &str) -> &'static str {
    match (above.first(), section) {
        (Some(&"mcp"), "tools") => "Read_file",
        (Some(&"mcp"), "arguments") => "Path",
        (_, "arguments") => "format",
        (_, section) => name_in(section),
    }
}

/// Sets `path` in `document` to `value`, in the first row where a list is passed through.
fn set(document: &mut toml::Value, path: &str, value: toml::Value) {
    let mut here = document;
    let mut section = "";
    let parts: Vec<&str> = path.split('.').collect();
    for (at, part) in parts.iter().enumerate() {
        let name = if *part == "*" { name_at(&parts[..at], section) } else { part.trim_end_matches("[]") };
        section = part;
        let table = here.as_table_mut().unwrap();
        if at + 1 == parts.len() {
            table.insert(name.to_owned(), value);
            return;
        }
        here = table.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if part.ends_with("[]") {
            here = &mut here.as_array_mut().unwrap()[0];
        }
    }
}

/// Conditions that no example of the table of keys meets: the key of an example, that of a
/// condition, and what it is.
const MATCHED: [(&str, &str, &str); 33] = [
    ("agent", "agent", "\"main\""),
    ("principal", "principal", "\"owner\""),
    ("role", "role", "\"owner\""),
    ("speaks", "speaks", "\"human\""),
    ("channel", "channel", "\"chat\""),
    ("tool", "tool", "\"read_file\""),
    ("class", "class", "\"read\""),
    ("reversible", "reversible", "true"),
    ("tier", "tier", "\"full\""),
    ("program", "program", "\"cargo\""),
    ("subcommand", "subcommand", "{ glob = \"git s*\" }"),
    ("audience", "audience", "\"home\""),
    ("source", "source", "{ subset_of = [\"config\", \"memory\"] }"),
    ("provenance", "provenance", "{ subset_of = [\"listed\"] }"),
    ("path", "path", "\"workspace/elsewhere\""),
    ("bytes_out", "bytes_out", "{ gt = 100000 }"),
    ("label.conf", "label", "{ conf = \"public\" }"),
    ("label.integrity", "label", "{ integrity = \"trusted\" }"),
    ("recipient", "recipient", "\"eve@example.org\""),
    ("account", "account", "\"DE89370400440532013000\""),
    ("amount", "amount", "{ gt = \"1000 EUR\" }"),
    ("host", "host", "{ subdomain_of = \"example.org\" }"),
    ("port", "port", "80"),
    ("method", "method", "\"GET\""),
    ("url_path", "url_path", "{ under = \"/v9\" }"),
    ("url_bytes", "url_bytes", "{ gt = 100000 }"),
    ("mode", "mode", "\"read_only\""),
    ("destination.seen", "destination", "{ seen = \"allowed\" }"),
    ("repo", "repo", "\"git.example.com/other\""),
    ("ref", "ref", "{ under = \"refs/tags\" }"),
    ("force", "force", "false"),
    ("changed", "changed", "{ intersects = [\"docs/**\"] }"),
    ("at", "clock", "{ between = [\"22:00\", \"06:00\"] }"),
];

fn value_of(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {text}")).unwrap()["v"].clone()
}

/// What an argument's other keys go with.
fn with_role(base: &mut toml::Value, path: &str) {
    let table = |text: &str| toml::Value::Table(toml::from_str(text).unwrap());
    if let Some((of, _)) = path.split_once("listing.") {
        let tools = base["mcp"]["files"]["tools"].as_table_mut().unwrap();
        tools.insert("Names".into(), table("class = \"read\"\nidempotency = \"idempotent\""));
        set(base, &format!("{of}listing"), table("tool = \"Names\""));
    }
    if path.ends_with(".arguments.*.names") {
        set(base, &path.replace("names", "role"), "authority".into());
    }
    if path.ends_with(".arguments.*.up_to") {
        set(base, &path.replace("up_to", "role"), "number".into());
    }
}

/// What is set for a key, beside which `base` is given whatever it needs.
fn another(path: &str, example: &str, base: &mut toml::Value) -> toml::Value {
    // `tls` is whole or not there, and its files must be; the other half stays the same.
    if path.starts_with("server.tls.") {
        set(base, "server.tls.cert", "../cert.pem".into());
        set(base, "server.tls.key", "../cert.pem".into());
        "../key.pem".into()
    } else if path.starts_with("audit.") {
        set(base, "audit.sink", "../checkpoints".into());
        set(base, "audit.key", "../cert.pem".into());
        if path == "audit.key" { "../key.pem".into() } else { "../elsewhere".into() }
    } else if matches!(path, "mcp.*.url" | "mcp.*.allow_private") || path.starts_with("mcp.*.oauth.") {
        // A server is a program, or it is elsewhere.
        let server = base["mcp"]["files"].as_table_mut().unwrap();
        server.remove("command");
        server.insert("url".to_owned(), "https://mcp.example.org/mcp".into());
        if path == "mcp.*.oauth.client_secret" {
            set(base, "mcp.*.oauth.client_id", "somebody".into());
        }
        value_of(example)
    } else if path == "home.secrets_key" {
        "../key.pem".into()
    } else if path == "network.ca" {
        "../cert.pem".into()
    } else {
        value_of(example)
    }
}

#[test]
fn changing_a_key_changes_what_the_program_is_told() {
    let home = Home::new();
    let before = toml::Value::Table(toml::from_str(GOOD).unwrap());
    let good = home.check(&toml::to_string(&before).unwrap());
    assert!(good.is_ok(), "{}", told(&good));
    let mut silent = Vec::new();
    for (path, example) in leaves() {
        let mut base = before.clone();
        let value = another(&path, example, &mut base);
        if path.starts_with("notify.") {
            // An address and one key.
            set(&mut base, "notify.url", "https://other.test".into());
            let is_secret = path == "notify.key_secret";
            let (key, other) = if is_secret { (path.as_str(), "other") } else { ("notify.key_env", "OTHER") };
            set(&mut base, key, other.into());
        }
        if path.ends_with(".ask.principal") {
            set(&mut base, "agents.*.rules[].ask", toml::Value::Table(toml::Table::new()));
        }
        if path == "agents.*.grants.hosts[].mode" {
            // What nobody reads is for hosts that may be told everything.
            set(&mut base, "agents.*.grants.hosts[].secrets", true.into());
        }
        if path == "sandbox.caches" {
            set(&mut base, "agents.*.grants.write", vec!["workspace"].into());
        }
        with_role(&mut base, &path);
        if path.ends_with(".limit[].sum") {
            base["agents"]["main"]["rules"][0]["limit"][0].as_table_mut().unwrap().remove("sum");
            set(&mut base, "agents.*.rules[].limit[].count", true.into());
        }
        if path.ends_with(".verdict") {
            // `ask` is of no use to the other verdicts, and is refused there.
            let rule = &mut base["agents"]["main"]["rules"][0];
            let rule = rule.as_table_mut().unwrap();
            rule.remove("ask");
            rule.remove("limit");
        }
        let example_of = path.split_once("match[].").or(path.split_once("matches[]."));
        if let Some((_, field)) = example_of {
            // A rule that looks at this field alone, and an example that says nothing of it.
            let (_, looked_at, matched) = *MATCHED.iter().find(|(name, ..)| *name == field).unwrap();
            let rule = base["agents"]["main"]["rules"][0].as_table_mut().unwrap();
            rule.retain(|key, _| !key.contains("match"));
            rule.insert("match".into(), toml::Table::from_iter([(looked_at.to_owned(), value_of(matched))]).into());
            let list = path.split('.').nth(3).unwrap().trim_end_matches("[]");
            rule.insert(list.into(), vec![toml::Table::new()].into());
        }
        let mut changed = base.clone();
        set(&mut changed, &path, value);
        let (base, changed) =
            (home.check(&toml::to_string(&base).unwrap()), home.check(&toml::to_string(&changed).unwrap()));
        // An example's facts change no policy: they bite by what is said of their rule. A changed
        // condition, or a further exception, may fail an example; a quorum finds too few people.
        assert!(base.is_ok() || example_of.is_some(), "{path}: {}", told(&base));
        let may_fail = ["match", ".unless.", "ask.quorum", "limit[].count", "limit[].sum", "limit[].max"]
            .iter()
            .any(|part| path.contains(part));
        assert!(changed.is_ok() || may_fail, "{path}: {}", told(&changed));
        if told(&base) == told(&changed) {
            silent.push(path);
        }
    }
    assert!(silent.is_empty(), "without a reader: {silent:?}");
}
