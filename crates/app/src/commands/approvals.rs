//! `approvals`, `approve`, `deny`, `approvals edit`: actions that wait for a person, shown exactly, and the answer
//! to one of them, bound to its digest.
use std::path::Path;

use backstay_channels::Why;
use backstay_kernel::refusal::Code;
use serde_json::{Map, Value, json};

use super::conversation::{
    destination, flow, list, number, packages, protected, provenance, reachable, repository, stays_done, text,
};
use super::turn;
use crate::cli::DecideArgs;
use crate::client::{Client, Intent};
use crate::config::FILE;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone, visible_line};
use crate::time;

pub async fn list_all(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let found = client.get("/api/approvals").await;
    client.close().await;
    let found = found?;
    if out.json {
        out.value(&found);
        return Ok(Exit::Ok);
    }
    let items = list(&found, "approvals");
    let parked = list(&found, "parked");
    if items.is_empty() && parked.is_empty() && list(&found, "unreadable").is_empty() {
        out.talk(Tone::Dim, "Nothing waits for a yes.");
    }
    let command = &out.command;
    for item in items {
        lines(item).iter().for_each(|line| out.line(line));
        let id = text(item, "id");
        out.line(&format!("  next: {command} approve {id}   (or: {command} deny {id})"));
    }
    for item in parked {
        out.line(&visible_line(&waits_to_ask(item)));
    }
    tell_unreadable(&found, out);
    Ok(Exit::Ok)
}

/// Names the sessions that a list of what waits is without.
pub fn tell_unreadable(found: &Value, out: &Out) {
    for session in list(found, "unreadable").iter().filter_map(Value::as_str) {
        let command = &out.command;
        let what = format!("What waits in session {session} cannot all be read now: see `{command} doctor`");
        out.talk(Tone::Warning, &what);
    }
}

/// A call that nobody is asked about yet.
fn waits_to_ask(item: &Value) -> String {
    let what =
        format!("{}: {} is to ask about a call of {}", text(item, "id"), text(item, "agent"), text(item, "tool"));
    match item.get("until").and_then(Value::as_u64) {
        Some(until) => format!("{what}, parked until {}: its session has asked enough for now", time::stamp(until)),
        None => format!("{what}, parked behind the open ask of its session"),
    }
}

/// A person's word on one action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// And to the same call for so long, milliseconds.
    Yes {
        always_ms: Option<u64>,
    },
    No,
}

pub async fn answer(home: &Path, args: &DecideArgs, word: &Said, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let ended = answer_with(&client, args, *word, out).await;
    client.close().await;
    ended
}

async fn answer_with(client: &Client, args: &DecideArgs, word: Said, out: &Out) -> Outcome<Exit> {
    let (token, item) = waiting(client, args, out).await?;
    let decided = decide(client, token.as_deref(), &item, word, args.note.as_deref()).await?;
    if out.json {
        out.value(&decided);
    } else {
        out.line(&said(&item, word));
        if let Some(until) = decided.get("until").and_then(Value::as_u64) {
            out.line(&format!("the same call needs no further yes until {}", time::stamp(until)));
        }
    }
    if word != Said::No && missing(&item) > 0 {
        return Ok(Exit::Waiting);
    }
    turn::go_on(client, text(&decided, "turn"), out).await
}

pub async fn edit(home: &Path, args: &DecideArgs, arguments: &str, out: &Out) -> Outcome<Exit> {
    let arguments = read_arguments(arguments)?;
    let client = Client::connect(home, Intent::Act).await?;
    let ended = edit_with(&client, args, &arguments, out).await;
    client.close().await;
    ended
}

/// What it was, what it is then, and what comes next.
async fn edit_with(client: &Client, args: &DecideArgs, arguments: &Value, out: &Out) -> Outcome<Exit> {
    let (token, item) = waiting(client, args, out).await?;
    let token = token.as_deref();
    let mut body = json!({ "digest": text(&item, "digest"), "arguments": arguments });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(args.note.iter().map(|note| ("note".to_owned(), json!(note))));
    }
    let edited = client.post_as(token, &format!("/api/approvals/{}/edit", args.id), &body).await?;
    if !out.json {
        out.line("edited, and judged anew");
    }
    let ended = turn::go_on(client, text(&edited, "turn"), out).await?;
    let now = find(client, token, &args.id.to_string()).await?;
    if out.json {
        out.value(&json!({ "edited": edited, "approval": now }));
        return Ok(ended);
    }
    let Some(now) = now else { return Ok(ended) };
    lines(&now).iter().for_each(|line| out.line(line));
    let (command, id) = (&out.command, &args.id);
    out.line(&format!("  next: {command} approve {id}   (or: {command} deny {id})"));
    Ok(Exit::Waiting)
}

/// Long ones lie in a file, and what others must not see on stdin.
fn read_arguments(text: &str) -> Outcome<Value> {
    let text = match text.strip_prefix('@') {
        Some(file) => read(Path::new(file))?,
        None => text.to_owned(),
    };
    let read: Result<Map<String, Value>, _> = serde_json::from_str(&text);
    read.map(Value::Object).map_err(|error| {
        Failure::usage(format!("--arguments is no JSON object: {error}"), "give all arguments: '{\"path\":\"a.md\"}'")
    })
}

/// The action that is meant, shown, and as whom it is answered.
async fn waiting(client: &Client, args: &DecideArgs, out: &Out) -> Outcome<(Option<String>, Value)> {
    let id = args.id.to_string();
    let token = args.token.as_deref().map(read_token).transpose()?;
    let Some(mut item) = find(client, token.as_deref(), &id).await? else {
        let message = format!("no action with the id {id} waits; it is answered, expired or withdrawn");
        return Err(Failure::new(Why::Refused(Code::NoSuchAsk), message, "backstay approvals"));
    };
    describe(&item, out);
    if let (Some(digest), Some(fields)) = (&args.digest, item.as_object_mut()) {
        fields.insert("digest".to_owned(), json!(digest));
    }
    Ok((token, item))
}

/// A token is no argument: whoever lists the processes would read it.
fn read_token(file: &Path) -> Outcome<String> {
    Ok(read(file)?.trim().to_owned())
}

fn read(file: &Path) -> Outcome<String> {
    let read =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    read.map_err(|error| Failure::io(file, &error))
}

/// Yeses that it takes besides this one.
fn missing(item: &Value) -> u64 {
    let quorum = item.pointer("/approvers/quorum").and_then(Value::as_u64).unwrap_or(1);
    quorum.saturating_sub(list(item, "yes").len() as u64 + 1)
}

/// What has become of it, as far as this answer says.
fn said(item: &Value, word: Said) -> String {
    match (word, missing(item)) {
        (Said::No, _) => "denied".to_owned(),
        (Said::Yes { .. }, 0) => "approved".to_owned(),
        (Said::Yes { .. }, missing) => format!("said yes; it takes {missing} more"),
    }
}

/// The item of this id, if it still waits.
///
/// # Errors
/// The API's no.
pub async fn find(client: &Client, token: Option<&str>, id: &str) -> Outcome<Option<Value>> {
    match client.get_as(token, &format!("/api/approvals/{id}")).await {
        Ok(item) => Ok(Some(item)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Says yes or no to exactly the action that `item` shows.
///
/// # Errors
/// It does not wait any more, is another action by now, or this person may not answer.
pub async fn decide(
    client: &Client,
    token: Option<&str>,
    item: &Value,
    word: Said,
    note: Option<&str>,
) -> Outcome<Value> {
    let (decision, always_ms) = match word {
        Said::Yes { always_ms } => ("approve", always_ms),
        Said::No => ("deny", None),
    };
    let mut body = json!({ "decision": decision, "digest": text(item, "digest") });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(note.map(|note| ("note".to_owned(), json!(note))));
        fields.extend(always_ms.map(|ms| ("always_ms".to_owned(), json!(ms))));
    }
    client.post_as(token, &format!("/api/approvals/{}", text(item, "id")), &body).await
}

/// The exact action, on stderr, before it is answered.
pub fn describe(item: &Value, out: &Out) {
    for (number, line) in lines(item).iter().enumerate() {
        out.talk(if number == 0 { Tone::Strong } else { Tone::Plain }, line);
    }
}

/// Nothing of it is cut, and nothing in it can look like a line of ours.
fn lines(item: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} wants to call {}",
        text(item, "id"),
        text(item, "agent"),
        visible_line(text(item, "tool"))
    )];
    match item.get("args") {
        Some(Value::Object(fields)) => {
            lines.extend(
                fields.iter().map(|(name, value)| visible_line(&format!("  argument {}: {value}", json!(name)))),
            );
        }
        Some(other) => lines.push(visible_line(&format!("  arguments: {other}"))),
        None => {}
    }
    lines.extend(edited(item).map(|line| visible_line(&line)));
    let facts = item.get("facts").unwrap_or(&Value::Null);
    for path in list(facts, "paths") {
        lines.push(visible_line(&format!("  {}s {}", text(path, "access"), text(path, "real"))));
    }
    lines.extend(protected(facts).iter().map(|line| visible_line(&format!("  {line}"))));
    lines.extend(item.get("command_line").and_then(Value::as_str).map(|line| visible_line(&format!("  runs: {line}"))));
    lines.extend(destination(facts).map(|to| visible_line(&format!("  goes to {to}"))));
    lines.extend(repository(facts, usize::MAX).iter().map(|line| visible_line(&format!("  {line}"))));
    let unicode = item.get("host_unicode").and_then(Value::as_str);
    let written = |host| format!("  whose letters may look like others, as its owner writes it: {}", json!(host));
    lines.extend(unicode.map(|host| visible_line(&written(host))));
    lines.extend(reachable(facts).iter().map(|place| visible_line(&format!("  may reach {place}"))));
    lines.extend(packages(facts).map(|line| visible_line(&format!("  {line}"))));
    lines.extend(chosen(item).iter().map(|line| visible_line(line)));
    lines.extend(provenance(item).map(|from| format!("  as rules see it, its values come from: {from}")));
    lines.extend(last(item).map(|line| visible_line(&line)));
    let line = item.get("line").and_then(Value::as_u64).map(|line| format!(" ({FILE}:{line})")).unwrap_or_default();
    let (class, rule, principal) = (text(facts, "class"), text(item, "rule"), text(item, "principal"));
    let tier = facts.get("tier").and_then(Value::as_str).map(|tier| format!(", sandbox: {tier}")).unwrap_or_default();
    lines.push(format!("  class: {class}{tier}, rule: {rule}{line}, asked by {principal}"));
    lines.extend(stays_done(facts).map(|line| format!("  {line}")));
    lines.extend(item.get("flow").and_then(Value::as_str).map(|why| format!("  {}", flow(why))));
    if let Some(reason) = item.get("reason").and_then(Value::as_str) {
        lines.push(visible_line(&format!("  reason: {reason}")));
    }
    lines.extend(first_time(item).map(|line| visible_line(&line)));
    lines.extend(wanted(item).map(|line| visible_line(&line)));
    lines.push("  denied, it is not made; the agent is told so, and goes on without it".to_owned());
    lines.push(format!("  expires {}, digest {}", time::stamp(number(item, "expires_at")), text(item, "digest")));
    lines
}

/// Whose words its arguments are, where they are not the model's.
fn edited(item: &Value) -> Option<String> {
    let edited = item.get("edited").filter(|edited| !edited.is_null())?;
    let before = edited.get("args_before").unwrap_or(&Value::Null);
    Some(format!("  EDITED by {} ({}); the model wrote: {before}", text(edited, "by"), text(edited, "speaks")))
}

/// Who chose the values by which the call chooses: that first, and the value last and quoted, so that it cannot say it.
fn chosen(item: &Value) -> Vec<String> {
    let Some(chooses) = item.get("chooses").and_then(Value::as_array) else {
        return vec!["  who chose its values cannot be told now: trust none of them".to_owned()];
    };
    let label = item.get("label").unwrap_or(&Value::Null);
    let from = if text(label, "integrity") == "trusted" {
        "the model's own, no message of this task names it".to_owned()
    } else {
        let sources = label.get("source").map(sources).unwrap_or_default();
        format!("untrusted, no message of this task names it, and the session has taken in words of {sources}")
    };
    let one = |choice: &Value| {
        let what =
            choice.get("argument").filter(|name| name.is_string()).map_or("the path".to_owned(), Value::to_string);
        let times = Some(number(choice, "times")).filter(|times| *times > 1);
        let times = times.map(|times| format!(" ({times} times)")).unwrap_or_default();
        let who = choice.get("said").filter(|said| !said.is_null()).map_or(from.clone(), |said| {
            let line = said.get("line").filter(|line| line.is_string());
            let line = line.map(|line| format!(" ({line})")).unwrap_or_default();
            let is_by_name = said.get("by_name").and_then(Value::as_bool) == Some(true);
            let line = if is_by_name { ", by a name that stands for it or as made here" } else { line.as_str() };
            format!("named in message {}{line}", number(said, "seq"))
        });
        format!("  {who}: {what}{times} = {}", json!(text(choice, "value")))
    };
    let left_out = item.get("left_out").unwrap_or(&Value::Null);
    let (unnamed, named) = (number(left_out, "unnamed"), number(left_out, "named"));
    let more = (unnamed + named > 0).then(|| {
        format!("  NOT SHOWN HERE: {unnamed} more values that no message of this task names, and {named} that one does")
    });
    chooses.iter().map(one).chain(more).collect()
}

/// Those that may be anybody's, of one word or a list of them.
fn sources(source: &Value) -> String {
    let words = source.as_array().map_or_else(|| vec![source], |all| all.iter().collect());
    let words = words.into_iter().filter_map(Value::as_str).filter(|word| !matches!(*word, "config" | "runtime"));
    words.collect::<Vec<_>>().join(", ")
}

fn last(item: &Value) -> Option<String> {
    let last = item.get("last").filter(|last| !last.is_null())?;
    let differs: Vec<String> = list(last, "differs").iter().map(Value::to_string).collect();
    let how =
        if differs.is_empty() { "the same arguments".to_owned() } else { format!("another {}", differs.join(", ")) };
    Some(format!("  beside the last that was allowed here, {}: {how}", text(last, "id")))
}

/// Where no call of the agent has been.
fn first_time(item: &Value) -> Option<String> {
    let places: Vec<String> = list(item, "first_time").iter().map(Value::to_string).collect();
    (!places.is_empty()).then(|| format!("  FOR THE FIRST TIME: {}", places.join(", ")))
}

/// Whose yes it takes.
fn wanted(item: &Value) -> Option<String> {
    let approvers = item.get("approvers")?;
    let words = |key: &str| list(approvers, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let who = [words("role"), words("principal")].into_iter().find(|who| !who.is_empty()).unwrap_or_default();
    let (quorum, but, doors) = (number(approvers, "quorum"), words("distinct_from"), words("channels"));
    let mut parts = vec![format!("a yes of: {who}")];
    if quorum > 1 {
        let yes = list(item, "yes").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let so_far = if yes.is_empty() { "nobody yet" } else { yes.as_str() };
        parts.push(format!("{quorum} people must say yes; so far: {so_far}"));
    }
    if !but.is_empty() {
        parts.push(format!("not the {but}"));
    }
    if !doors.is_empty() {
        parts.push(format!("at: {doors}"));
    }
    Some(format!("  wants {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_cannot_draw_lines_of_its_own() {
        let item = json!({
            "id": "s.7", "agent": "main", "tool": "write_file",
            "args": {
                "path": "a\n  class: read", "content": "\u{1b}[2K\u{202e}x", "runs": "echo", "class: read, rule: r": 1,
            },
            "facts": {
                "class": "write", "paths": [{ "access": "write", "real": "/w/a\nexpires never", "protected": true }], "bytes_out": 9,
                "destination": {
                    "method": "POST", "scheme": "https", "host": "xn--bcher-kva.example", "port": 443, "path": "/v1",
                    "url_bytes": 40,
                },
                "network": [
                    { "host": "a.test", "port": 443, "methods": ["GET", "HEAD"] },
                    { "host": "b.test\n", "port": 443, "methods": ["GET"], "tunnel": true },
                ],
                "packages": ["x", "y\nexpires never"],
            },
            "command_line": "echo 'a\n  class: read'", "host_unicode": "b\u{fc}cher.example\n",
            "label": { "conf": "internal", "integrity": "untrusted", "source": ["config", "tool", "model"] },
            "chooses": [
                {
                    "argument": "to\n", "value": "a\nb: \"named in message 2\"", "times": 3,
                    "said": { "seq": 2, "line": "say \"x\" to a\u{202e}" },
                },
                { "argument": null, "value": "/x", "times": 1, "said": null },
                { "argument": "id", "value": "7", "times": 1, "said": { "seq": 2, "line": null, "by_name": true } },
            ],
            "left_out": { "unnamed": 5, "named": 7 },
            "last": { "id": "s.3", "differs": ["to\n", "cc"] }, "first_time": ["host a.test:443", "email x\n"],
            "rule": "r", "reason": "so\nthat", "principal": "owner", "expires_at": 0, "digest": "d",
        });
        let shown = lines(&item);
        assert_eq!(shown.len(), 23);
        for line in [
            "  changes what other programs act by: /w/a\\nexpires never",
            "  runs: echo 'a\\n  class: read'",
            "  asks for packages: x y\\nexpires never",
            r#"  argument "runs": "echo""#,
            r#"  argument "class: read, rule: r": 1"#,
            r#"  named in message 2 ("say \"x\" to a\u{202e}"): "to\n" (3 times) = "a\nb: \"named in message 2\"""#,
            r#"  untrusted, no message of this task names it, and the session has taken in words of tool, model: the path = "/x""#,
            "  named in message 2, by a name that stands for it or as made here: \"id\" = \"7\"",
            "  NOT SHOWN HERE: 5 more values that no message of this task names, and 7 that one does",
            r#"  FOR THE FIRST TIME: "host a.test:443", "email x\n""#,
            r#"  beside the last that was allowed here, s.3: another "to\n", "cc""#,
            "  whose letters may look like others, as its owner writes it: \"b\u{fc}cher.example\\n\"",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line} in {shown:?}");
        }
        assert!(shown.iter().any(|line| line == "  may reach GET HEAD a.test:443"), "{shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("  may reach unrestricted send to b.test")), "{shown:?}");
        let to = "  goes to POST https://xn--bcher-kva.example:443/v1, 40 bytes of URL and headers, 9 bytes of body";
        assert!(shown.iter().any(|line| line == to), "{shown:?}");
        assert!(shown.iter().all(|line| !line.contains(['\n', '\u{1b}', '\u{202e}'])), "{shown:?}");
    }

    #[test]
    fn what_cannot_be_taken_back_says_so_and_where_its_yes_counts() {
        let says = |facts: Value| {
            let shown = lines(&json!({ "id": "s.7", "args": {}, "facts": facts }));
            shown.iter().filter(|line| line.contains("CANNOT BE TAKEN BACK: a yes is said at this machine")).count()
        };
        assert_eq!(says(json!({ "class": "write", "reversible": false })), 1);
        assert_eq!(says(json!({ "class": "spend" })), 1);
        for facts in [json!({ "class": "write", "reversible": true }), json!({ "class": "send" }), Value::Null] {
            assert_eq!(says(facts.clone()), 0, "{facts}");
        }
    }

    /// In a session that has taken in nothing untrusted a value that nobody named is the model's, and not "untrusted".
    #[test]
    fn a_value_that_nobody_named_is_said_to_be_whose_it_can_be() {
        let chooses = json!([{ "argument": "remote", "value": "origin", "times": 1, "said": null }]);
        let label = json!({ "conf": "internal", "integrity": "trusted", "source": ["config", "principal"] });
        let said = |label: Value| chosen(&json!({ "label": label, "chooses": chooses }));
        assert_eq!(said(label), ["  the model's own, no message of this task names it: \"remote\" = \"origin\""]);
        for (label, sources) in [
            (json!({ "integrity": "untrusted", "source": "tool" }), "tool"),
            // What is not known is nobody's word that it is clean.
            (json!({}), ""),
            (Value::Null, ""),
        ] {
            let untrusted = format!(
                "  untrusted, no message of this task names it, and the session has taken in words of {sources}: \
                 \"remote\" = \"origin\""
            );
            assert_eq!(said(label), [untrusted]);
        }
    }

    #[test]
    fn a_card_that_could_not_be_made_says_so() {
        let shown = lines(&json!({ "id": "s.7", "args": {}, "approvers": { "role": ["owner"] } }));
        assert!(shown.iter().any(|line| line.contains("who chose its values cannot be told now")), "{shown:?}");
        let shown = lines(
            &json!({ "id": "s.7", "args": {}, "chooses": [{ "value": "x", "said": { "seq": 2, "line": null } }] }),
        );
        assert!(shown.iter().any(|line| line == "  named in message 2: the path = \"x\""), "{shown:?}");
    }
}
