//! What each built-in tool declares of itself; the texts are short because every request pays them.
use backstay_kernel::destination::Audience;
use backstay_kernel::label::{Confidentiality, Label, Source};
use backstay_kernel::tool::{Answerer, ArgumentRole, EffectClass, Idempotency, Manifest};
use backstay_kernel::words::Kind;

use crate::limits::{COMMAND_EXTRA_MS, GIT_REQUEST_MS, GIT_WORK_S, READ_MS_MAX, REQUEST_EXTRA_MS, WRITE_MS_MAX};

/// The built-in tools, in the order in which a model is told of them.
#[must_use]
pub fn manifests() -> Vec<Manifest> {
    let mut all = files();
    all.extend([command(), output()]);
    all.extend(network());
    all.extend(repositories());
    all.extend(runtime());
    all
}

/// Tools that work on files.
fn files() -> Vec<Manifest> {
    use ArgumentRole::{Payload, Selector};
    let path = ArgumentRole::Authority(Kind::Path);
    vec![
        read(
            "read_file",
            "Read a text file: limit lines from line offset (first is 1).",
            &[("path", Selector), ("offset", Payload), ("limit", Payload)],
            r#"{"type":"object","properties":{"path":{"type":"string"},"offset":{"type":"integer"},"limit":{"type":"integer"}},"required":["path"]}"#,
        ),
        write(
            "write_file",
            "Create or replace a file.",
            &[("path", path), ("content", Payload)],
            r#"{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"}},"required":["path","content"]}"#,
        ),
        // What it replaces stands in the call.
        Manifest {
            reversible: Some(true),
            ..write(
                "edit_file",
                "In a file, replace old, which must occur exactly once, by new.",
                &[("path", path), ("old", Payload), ("new", Payload)],
                r#"{"type":"object","properties":{"path":{"type":"string"},"old":{"type":"string"},"new":{"type":"string"}},"required":["path","old","new"]}"#,
            )
        },
        read(
            "list_dir",
            "List a directory.",
            &[("path", Selector)],
            r#"{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}"#,
        ),
        read(
            "search_files",
            "Find lines that match a regex, in a file or below a directory.",
            &[("pattern", Payload), ("path", Selector)],
            r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string"}},"required":["pattern"]}"#,
        ),
    ]
}

/// A command, whatever it says: nothing of it is understood, and it is held by the sandbox alone.
fn command() -> Manifest {
    Manifest {
        class: EffectClass::Execute,
        idempotency: Idempotency::Unsafe,
        timeout_ms: backstay_sandbox::TIMEOUT_MS_MAX.saturating_add(COMMAND_EXTRA_MS),
        ..read(
            "run_command",
            "Run a shell command in a sandbox. network: host:port it may reach.",
            &[
                ("command", ArgumentRole::Payload),
                ("cwd", ArgumentRole::Selector),
                ("timeout_s", ArgumentRole::Payload),
                ("network", ArgumentRole::Selector),
            ],
            r#"{"type":"object","properties":{"command":{"type":"string"},"cwd":{"type":"string"},"timeout_s":{"type":"integer"},"network":{"type":"array","items":{"type":"string"}}},"required":["command"]}"#,
        )
    }
}

/// What did not fit into an earlier result.
fn output() -> Manifest {
    read(
        "read_output",
        "Read limit bytes from offset of a kept output.",
        &[("id", ArgumentRole::Selector), ("offset", ArgumentRole::Payload), ("limit", ArgumentRole::Payload)],
        r#"{"type":"object","properties":{"id":{"type":"integer"},"offset":{"type":"integer"},"limit":{"type":"integer"}},"required":["id"]}"#,
    )
}

/// Tools that make a request. One that only asks is of the class read, with where it goes as a fact: what its URL
/// tells the host is that fact's to bound. Any other is sent, and never silently sent again.
fn network() -> [Manifest; 2] {
    let url = ArgumentRole::Authority(Kind::Url);
    let timeout_ms = backstay_egress::WHOLE_MS.saturating_add(REQUEST_EXTRA_MS);
    let request = Manifest {
        class: EffectClass::Send,
        idempotency: Idempotency::Unsafe,
        timeout_ms,
        ..read(
            "http_request",
            "Send an HTTP request. Redirects are not followed.",
            &[
                ("method", ArgumentRole::Payload),
                ("url", url),
                ("headers", ArgumentRole::Payload),
                ("body", ArgumentRole::Payload),
            ],
            r#"{"type":"object","properties":{"method":{"type":"string"},"url":{"type":"string"},"headers":{"type":"object"},"body":{"type":"string"}},"required":["method","url"]}"#,
        )
    };
    // What anybody may read there was written by anybody.
    let fetch = Manifest {
        idempotency: Idempotency::Idempotent,
        result: Label { conf: Confidentiality::Public, ..Label::of(Source::Tool) },
        timeout_ms,
        ..read(
            "web_fetch",
            "Get a web page as text.",
            &[("url", ArgumentRole::Selector)],
            r#"{"type":"object","properties":{"url":{"type":"string"}},"required":["url"]}"#,
        )
    };
    [request, fetch]
}

/// What comes into a repository of the workspace from one elsewhere, and what goes there. Nobody can look into commits,
/// so a push is judged by where it goes, and by what it changes there.
fn repositories() -> [Manifest; 2] {
    let requests_ms = GIT_REQUEST_MS.saturating_mul(3);
    // A push is made in one sandbox and looked at in another.
    let work_ms = GIT_WORK_S.saturating_mul(2_000);
    let timeout_ms = requests_ms.saturating_add(work_ms).saturating_add(COMMAND_EXTRA_MS);
    let (program, url) = (Some("git".to_owned()), ArgumentRole::Authority(Kind::Url));
    let name = ArgumentRole::Authority(Kind::QuotedString);
    let fetch = Manifest {
        class: EffectClass::Write,
        idempotency: Idempotency::Idempotent,
        program: program.clone(),
        timeout_ms,
        ..read(
            "git_fetch",
            "Fetch refs of a remote repository into repo's .git.",
            &[("url", ArgumentRole::Selector), ("refs", ArgumentRole::Selector), ("repo", ArgumentRole::Selector)],
            r#"{"type":"object","properties":{"url":{"type":"string"},"refs":{"type":"array","items":{"type":"string"}},"repo":{"type":"string"}},"required":["url"]}"#,
        )
    };
    let push = Manifest {
        class: EffectClass::Send,
        idempotency: Idempotency::Unsafe,
        program,
        timeout_ms,
        ..read(
            "git_push",
            "Push from (branch or commit of repo) to a remote ref. old: id it has there, none if new. base: id of a remote ref that a new one began at.",
            &[
                ("url", url),
                ("ref", name),
                ("from", ArgumentRole::Payload),
                ("old", ArgumentRole::Payload),
                ("base", ArgumentRole::Payload),
                ("force", ArgumentRole::Selector),
                ("repo", ArgumentRole::Payload),
            ],
            r#"{"type":"object","properties":{"url":{"type":"string"},"ref":{"type":"string"},"from":{"type":"string"},"old":{"type":"string"},"base":{"type":"string"},"force":{"type":"boolean"},"repo":{"type":"string"}},"required":["url","ref"]}"#,
        )
    };
    [fetch, push]
}

/// Tools that the runtime itself, or a person, answers.
fn runtime() -> Vec<Manifest> {
    let mut remember = write(
        "remember",
        "Keep a text beyond this conversation.",
        &[("text", ArgumentRole::Payload)],
        r#"{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}"#,
    );
    remember.idempotency = Idempotency::Keyed;
    let mut recall = read(
        "recall",
        "Search what was remembered.",
        &[("query", ArgumentRole::Payload)],
        r#"{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}"#,
    );
    recall.result = Label::of(Source::Memory);
    let mut ask = read(
        "ask_human",
        "Ask the user and wait for the answer.",
        &[("question", ArgumentRole::Payload)],
        r#"{"type":"object","properties":{"question":{"type":"string"}},"required":["question"]}"#,
    );
    // The question is part of the session; asking it again after a crash asks it once.
    ask.idempotency = Idempotency::Idempotent;
    ask.answerer = Answerer::Human;
    vec![remember, recall, ask]
}

type Arguments<'a> = &'a [(&'a str, ArgumentRole)];

/// Whether it is a built-in tool whose calls reach no other machine and start no program.
#[must_use]
pub fn stays(tool: &str) -> bool {
    let files = ["read_file", "write_file", "edit_file", "list_dir", "search_files", "read_output"];
    files.contains(&tool) || ["remember", "recall", "ask_human"].contains(&tool)
}

/// Whether it is a built-in tool whose calls start no program.
#[must_use]
pub fn runs_nothing(tool: &str) -> bool {
    stays(tool) || ["http_request", "web_fetch"].contains(&tool)
}

fn read(name: &str, description: &str, arguments: Arguments<'_>, schema: &str) -> Manifest {
    Manifest {
        name: name.to_owned(),
        description: description.to_owned(),
        class: EffectClass::Read,
        idempotency: Idempotency::Pure,
        reversible: None,
        answerer: Answerer::Tool,
        arguments: arguments.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
        program: None,
        remote: false,
        result: Label::of(Source::Tool),
        audience: Audience::Public,
        known: Vec::new(),
        creates: None,
        schema: schema.to_owned(),
        timeout_ms: READ_MS_MAX,
    }
}

fn write(name: &str, description: &str, arguments: Arguments<'_>, schema: &str) -> Manifest {
    Manifest {
        class: EffectClass::Write,
        idempotency: Idempotency::Probed,
        timeout_ms: WRITE_MS_MAX,
        ..read(name, description, arguments, schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Call;
    use serde_json::{Value, json};

    #[test]
    fn all_tools_together_cost_a_request_less_than_3000_bytes() {
        let bytes: usize =
            manifests().iter().map(|tool| tool.name.len() + tool.description.len() + tool.schema.len()).sum();
        assert!(bytes < 3_000, "{bytes} bytes");
    }

    /// The schema is a text beside typed code: each must name the same arguments, and need the same.
    #[test]
    fn schemas_roles_and_types_agree() {
        for tool in manifests() {
            let schema: Value = serde_json::from_str(&tool.schema).unwrap();
            let properties = schema["properties"].as_object().unwrap();
            let mut names: Vec<_> = tool.arguments.iter().map(|(name, _)| name.clone()).collect();
            names.sort();
            let mut declared: Vec<_> = properties.keys().cloned().collect();
            declared.sort();
            assert_eq!(names, declared, "{}", tool.name);
            let sample = |name: &str| match properties[name]["type"].as_str() {
                Some("integer") => json!(1),
                Some("boolean") => json!(true),
                Some("object") => json!({ "accept": "text/plain" }),
                Some("array") => json!([format!("some {name}")]),
                _ => json!(format!("some {name}")),
            };
            let required: Vec<_> = schema["required"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
            let full = |names: &mut dyn Iterator<Item = &str>| {
                let object: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), sample(name))).collect();
                Value::Object(object).to_string()
            };
            let everything = full(&mut declared.iter().map(String::as_str));
            Call::parse(&tool.name, &everything).unwrap();
            Call::parse(&tool.name, &full(&mut required.iter().copied())).unwrap();
            for missing in &required {
                let short = full(&mut required.iter().copied().filter(|name| name != missing));
                let refused = Call::parse(&tool.name, &short).unwrap_err();
                assert!(refused.detail.contains(missing), "{}", refused.detail);
            }
        }
    }

    #[test]
    fn what_a_tool_may_take_is_declared_and_leaves_a_search_the_time_to_say_that_it_stopped() {
        for tool in manifests() {
            let may_take = match tool.class {
                _ if tool.name.starts_with("git_") => 630_000,
                EffectClass::Write => 30_000,
                EffectClass::Execute => 630_000,
                _ if tool.name == "http_request" || tool.name == "web_fetch" => 90_000,
                EffectClass::Read | EffectClass::Send | EffectClass::Spend => 10_000,
            };
            assert_eq!(tool.timeout_ms, may_take, "{}", tool.name);
        }
        assert!(crate::limits::SEARCH_TIME_MAX.as_millis() <= 5_000);
    }

    #[test]
    fn what_a_tool_returns_is_never_trusted_and_only_the_path_of_a_write_is_authority() {
        let authority = ArgumentRole::Authority(Kind::Path);
        for tool in manifests() {
            let source = if tool.name == "recall" { Source::Memory } else { Source::Tool };
            let is_public = tool.name == "web_fetch";
            let conf = if is_public { Confidentiality::Public } else { Confidentiality::Internal };
            assert_eq!(tool.result, Label { conf, ..Label::of(source) }, "{}", tool.name);
            let named: Vec<_> = tool.arguments.iter().filter(|(_, role)| *role == authority).collect();
            let writes_file = matches!(tool.name.as_str(), "write_file" | "edit_file");
            assert_eq!(named.len(), usize::from(writes_file), "{}", tool.name);
        }
    }

    #[test]
    fn a_tool_stays_that_is_given_no_place_elsewhere_and_no_command() {
        let leaves = ["run_command", "http_request", "web_fetch", "git_fetch", "git_push"];
        for tool in manifests() {
            assert_eq!(stays(&tool.name), !leaves.contains(&tool.name.as_str()), "{}", tool.name);
            let runs = ["run_command", "git_fetch", "git_push"];
            assert_eq!(runs_nothing(&tool.name), !runs.contains(&tool.name.as_str()), "{}", tool.name);
        }
        assert!(!stays("crm__read_file") && !runs_nothing("declared"));
    }

    #[test]
    fn what_a_tool_may_do_after_a_crash_is_declared() {
        let class: Vec<_> = manifests().into_iter().map(|t| (t.name, t.class, t.idempotency, t.answerer)).collect();
        let expected = [
            ("read_file", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
            ("write_file", EffectClass::Write, Idempotency::Probed, Answerer::Tool),
            ("edit_file", EffectClass::Write, Idempotency::Probed, Answerer::Tool),
            ("list_dir", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
            ("search_files", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
            ("run_command", EffectClass::Execute, Idempotency::Unsafe, Answerer::Tool),
            ("read_output", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
            ("http_request", EffectClass::Send, Idempotency::Unsafe, Answerer::Tool),
            ("web_fetch", EffectClass::Read, Idempotency::Idempotent, Answerer::Tool),
            ("git_fetch", EffectClass::Write, Idempotency::Idempotent, Answerer::Tool),
            ("git_push", EffectClass::Send, Idempotency::Unsafe, Answerer::Tool),
            ("remember", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
            ("recall", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
            ("ask_human", EffectClass::Read, Idempotency::Idempotent, Answerer::Human),
        ]
        .map(|(name, class, idempotency, answerer)| (name.to_owned(), class, idempotency, answerer));
        assert_eq!(class, expected);
    }
}
