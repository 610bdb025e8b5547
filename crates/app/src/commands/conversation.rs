//! One session as a person or a script follows it: what is said into it, and what its stream of
//! events means. `chat` and `run` show the same happenings, each in its own way.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cause::Cause;
use crate::cli::ChatArgs;
use crate::client::Client;
use crate::config::FILE;
use crate::events::{Event, Events};
use crate::exit::{Failure, Outcome};

/// The agent that is meant where none is named and there are several.
const MAIN: &str = "main";
/// Times that a stream which ended is opened again without an event in between.
const REOPENED_MAX: u32 = 3;

/// Paths that a push changes, shown where nobody is asked about it.
pub const PATHS_SHOWN_MAX: usize = 40;

/// Something that a follower shows.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// More of the text that the model is saying.
    Text(String),
    /// The model starts again; what was shown of this reply is withdrawn.
    Withdrawn,
    /// A reply of the model is whole.
    Said,
    Called {
        tool: String,
        args: String,
    },
    /// What became of a call, in words.
    Became {
        tool: String,
        how: String,
        text: String,
    },
    /// A model call has failed and is tried again later.
    Retried(Retry),
    /// Something takes its time, and goes on by itself.
    Held(String),
    /// Something may wait for a person or a provider now.
    MayWait,
    /// What a person was asked about this effect is settled: answered, or expired.
    Settled {
        effect: u64,
        expired: bool,
    },
    Ended,
    /// Nothing that is shown.
    Nothing,
}

/// A model call between two attempts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retry {
    /// As the config names it; empty where the call began before this follower came.
    pub model: String,
    /// How many attempts have failed; 0 where that is not known.
    pub failed: u64,
    pub why: String,
    pub not_before: u64,
    /// The tries are used up: this is the long wait, which other followers need not sit out.
    pub is_long: bool,
}

pub struct Conversation<'a> {
    client: &'a Client,
    pub session: String,
    /// `SESSION.SEQ` of the turn that is followed.
    pub turn: Option<String>,
    events: Events,
    seq: u64,
    reopened: u32,
    /// What was shown of each reply, by its effect.
    shown: BTreeMap<u64, String>,
    /// The latest whole reply of the model.
    pub said: String,
    /// Tools by the effect of their call.
    calls: BTreeMap<u64, String>,
    /// Models by the effect of their call, with the attempt that was started last.
    models: BTreeMap<u64, (String, u64)>,
}

impl<'a> Conversation<'a> {
    /// Goes on with the session that is named, from its latest record, or opens one.
    ///
    /// # Errors
    /// The API's no.
    pub async fn start(client: &'a Client, args: &ChatArgs, key: Option<&str>) -> Outcome<Self> {
        let session = match args.session {
            Some(session) => session.to_string(),
            None => {
                let agent = agent(client, args.agent.as_deref()).await?;
                let key = key.map(|key| format!("{key}/session"));
                let opened = client.post_keyed("/api/sessions", &json!({ "agent": agent }), key.as_deref()).await?;
                text(&opened, "session").to_owned()
            }
        };
        Self::follow(client, session, None).await
    }

    /// Listens to a session from its latest record on; without a turn that is meant, to the one
    /// that is open.
    ///
    /// # Errors
    /// The API's no.
    pub async fn follow(client: &'a Client, session: String, turn: Option<String>) -> Outcome<Self> {
        let item = client.get(&format!("/api/sessions/{session}")).await?;
        let seq = number(&item, "seq");
        let open = Some(text(&item, "turn").to_owned()).filter(|turn| !turn.is_empty());
        let events = client.stream(&format!("/api/sessions/{session}/events?after={seq}")).await?;
        Ok(Self {
            client,
            session,
            turn: turn.or(open),
            events,
            seq,
            reopened: 0,
            shown: BTreeMap::new(),
            said: String::new(),
            calls: BTreeMap::new(),
            models: BTreeMap::new(),
        })
    }

    /// Says something; the turn that it begins or belongs to is followed from here on.
    ///
    /// # Errors
    /// The API's no.
    pub async fn say(&mut self, text: &str, key: Option<&str>) -> Outcome<()> {
        let path = format!("/api/sessions/{}/messages", self.session);
        let said = self.client.post_keyed(&path, &json!({ "text": text }), key).await?;
        self.turn = Some(place(&self.session, said.get("turn")));
        Ok(())
    }

    /// Asks for the end of the turn that is followed.
    ///
    /// # Errors
    /// The API's no.
    pub async fn cancel(&self) -> Outcome<()> {
        let Some(turn) = &self.turn else { return Ok(()) };
        self.client.post(&format!("/api/turns/{turn}/cancel"), &json!({})).await.map(drop)
    }

    /// How the turn that is followed stands, as the API says it.
    ///
    /// # Errors
    /// The API's no.
    pub async fn standing(&self) -> Outcome<Value> {
        let turn = self.turn.as_deref().unwrap_or_default();
        self.client.get(&format!("/api/turns/{turn}")).await
    }

    /// Where the session's journal is now.
    ///
    /// # Errors
    /// The API's no.
    pub async fn latest(&self) -> Outcome<u64> {
        Ok(number(&self.client.get(&format!("/api/sessions/{}", self.session)).await?, "seq"))
    }

    /// Whether the stream has brought this record, or had begun after it.
    #[must_use]
    pub fn has_seen(&self, seq: u64) -> bool {
        self.seq >= seq
    }

    /// The next happening. May be dropped and called again.
    ///
    /// # Errors
    /// The stream is gone and does not come back.
    pub async fn next(&mut self) -> Outcome<Seen> {
        loop {
            if let Some(event) = self.events.next().await? {
                self.reopened = 0;
                return Ok(self.read(&event));
            }
            // It ends when the process goes away, and when its reader was too slow.
            self.reopened = self.reopened.saturating_add(1);
            if self.reopened > REOPENED_MAX {
                let next = format!("backstay chat --session {}", self.session);
                return Err(Failure::new(Cause::Gone, "the stream of events ended", next));
            }
            let path = format!("/api/sessions/{}/events?after={}", self.session, self.seq);
            self.events = self.client.stream(&path).await?;
        }
    }

    fn read(&mut self, event: &Event) -> Seen {
        let data = &event.data;
        self.seq = self.seq.max(number(data, "seq"));
        match event.name.as_str() {
            "delta" => self.delta(data),
            "reset" => match self.shown.remove(&number(data, "effect")) {
                Some(_) => Seen::Withdrawn,
                None => Seen::Nothing,
            },
            kind => self.record(kind, data),
        }
    }

    fn delta(&mut self, data: &Value) -> Seen {
        let piece = text(data, "text");
        if piece.is_empty() || text(data, "kind") == "reasoning" {
            return Seen::Nothing;
        }
        self.shown.entry(number(data, "effect")).or_default().push_str(piece);
        Seen::Text(piece.to_owned())
    }

    fn record(&mut self, kind: &str, data: &Value) -> Seen {
        let body = data.get("body").unwrap_or(&Value::Null);
        let effect = number(body, "effect");
        match kind {
            "planned" => self.planned(data, body),
            "judged" => self.judged(data, body, effect),
            "started" => {
                if let Some((_, attempt)) = self.models.get_mut(&effect) {
                    *attempt = number(body, "attempt");
                }
                Seen::Nothing
            }
            "retried" => self.retried(data, body, effect),
            "unfunded" => Seen::Held("the budget is taken up by calls in flight; waiting for one to end".to_owned()),
            "overdue" => {
                let tool = self.calls.get(&effect).map_or("a call", String::as_str);
                Seen::Held(format!("{tool} takes longer than its limit; waiting for it"))
            }
            "doubted" => Seen::MayWait,
            "decided" | "answered" | "resolved" => {
                Seen::Settled { effect, expired: text(body, "decision") == "expire" }
            }
            "ended" => self.ended(data, body, effect),
            "turn_ended" if self.is_ours(body) => Seen::Ended,
            _ => Seen::Nothing,
        }
    }

    fn is_ours(&self, body: &Value) -> bool {
        self.turn.as_deref() == Some(&format!("{}.{}", self.session, number(body, "turn")))
    }

    fn planned(&mut self, data: &Value, body: &Value) -> Seen {
        let Some(call) = body.pointer("/tool/call") else {
            let model = body.pointer("/model/model").or_else(|| body.pointer("/scope/model"));
            let model = model.and_then(Value::as_str).unwrap_or_default();
            self.models.insert(number(data, "seq"), (model.to_owned(), 0));
            return Seen::Nothing;
        };
        let calls: Value = serde_json::from_str(&words(data, call.get("calls"))).unwrap_or_default();
        let index = usize::try_from(number(call, "index")).unwrap_or(usize::MAX);
        let function = calls.get(index).and_then(|call| call.get("function")).unwrap_or(&Value::Null);
        let tool = match text(function, "name") {
            "" => text(call, "tool"),
            name => name,
        };
        self.calls.insert(number(data, "seq"), tool.to_owned());
        Seen::Called { tool: tool.to_owned(), args: text(function, "arguments").to_owned() }
    }

    fn retried(&mut self, data: &Value, body: &Value, effect: u64) -> Seen {
        let (model, failed) = self.models.get(&effect).cloned().unwrap_or_default();
        let retry = Retry {
            model,
            failed,
            why: words(data, body.get("detail")),
            not_before: number(body, "not_before"),
            is_long: body.get("provider_wait").and_then(Value::as_bool).unwrap_or_default(),
        };
        Seen::Retried(retry)
    }

    fn judged(&mut self, data: &Value, body: &Value, effect: u64) -> Seen {
        let human = text(body, "answerer") == "human";
        let verdict = body.get("verdict").unwrap_or(&Value::Null);
        let kind = verdict.as_str().or_else(|| Some(verdict.as_object()?.keys().next()?.as_str())).unwrap_or_default();
        let how = match kind {
            "ask" => return Seen::MayWait,
            "allow" if human => return Seen::MayWait,
            "allow" => return Seen::Nothing,
            "deny" => format!("denied by {}", reason(verdict.pointer("/deny/by"), body.get("grounds"))),
            "invalid" => {
                let why = verdict.pointer("/invalid/why").and_then(Value::as_str).unwrap_or_default();
                format!("is no call, {}", why.replace('_', " "))
            }
            "parked" => "waits to be asked about: one question at a time, and so many in an hour".to_owned(),
            "blocked" => "stopped: the same call gave the same result too often".to_owned(),
            other => other.replace('_', " "),
        };
        let text = words(data, verdict.pointer("/invalid/detail"));
        Seen::Became { tool: self.calls.get(&effect).cloned().unwrap_or_default(), how, text }
    }

    fn ended(&mut self, data: &Value, body: &Value, effect: u64) -> Seen {
        self.models.remove(&effect);
        let end = body.get("end").unwrap_or(&Value::Null);
        if let Some(replied) = end.get("replied") {
            return self.replied(&words(data, replied.get("text")), effect);
        }
        let Some(tool) = self.calls.remove(&effect) else { return Seen::Nothing };
        let kind = end.as_str().or_else(|| Some(end.as_object()?.keys().next()?.as_str())).unwrap_or_default();
        let how = match kind {
            "done" => "done",
            "failed" => "failed",
            "concluded" => "concluded",
            "not_started" => "not started",
            _ => "outcome unknown",
        };
        let text = words(data, end.pointer(&format!("/{kind}/result")));
        Seen::Became { tool, how: how.to_owned(), text }
    }

    /// What was not shown of it yet; after a stream that came back late, all of it.
    fn replied(&mut self, whole: &str, effect: u64) -> Seen {
        let shown = self.shown.remove(&effect).unwrap_or_default();
        whole.clone_into(&mut self.said);
        match whole.strip_prefix(shown.as_str()) {
            Some("") if whole.is_empty() => Seen::Nothing,
            Some("") => Seen::Said,
            Some(rest) => Seen::Text(format!("{rest}\n")),
            None => Seen::Text(format!("\n{whole}\n")),
        }
    }
}

async fn agent(client: &Client, named: Option<&str>) -> Outcome<String> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let models = client.get("/v1/models").await?;
    let names: Vec<&str> = list(&models, "data").iter().map(|model| text(model, "id")).collect();
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        several if several.contains(&MAIN) => Ok(MAIN.to_owned()),
        several => {
            Err(Failure::usage("this home has several agents", format!("give --agent, one of {}", several.join(", "))))
        }
    }
}

/// A turn or effect as the command line names it, whether the API gave it whole or as a number.
#[must_use]
pub fn place(session: &str, seq: Option<&Value>) -> String {
    match seq {
        Some(Value::String(place)) => place.clone(),
        Some(number) => format!("{session}.{number}"),
        None => String::new(),
    }
}

#[must_use]
pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// How trusted a text is, how far it may go, and where it came from.
pub fn label(label: Option<&Value>) -> String {
    let Some(label) = label.filter(|label| label.is_object()) else { return String::new() };
    let sources = match label.get("source") {
        Some(Value::String(one)) => one.clone(),
        many => many
            .and_then(Value::as_array)
            .map_or(String::new(), |many| many.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("+")),
    };
    format!("{}, {}, of {sources}", text(label, "conf"), text(label, "integrity"))
}

#[must_use]
pub fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

#[must_use]
pub fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text that a record refers to, from those that came with it.
fn words(data: &Value, body: Option<&Value>) -> String {
    let id = body.map(|body| number(body, "id")).unwrap_or_default();
    data.pointer(&format!("/texts/{id}")).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Why information flow asks, in words.
pub fn flow(why: &str) -> String {
    let what = match why {
        "unnamed_path" => {
            "the session has seen untrusted words, and it writes outside of the workspace, at a path that no person named"
        }
        "above_clearance" => "the place it goes to is not cleared for what the session has seen",
        "secret_leaves" => "the session has seen a secret and untrusted words, and it leaves this machine",
        "open_network" => {
            "its command may reach the network, and what it sends there may be composed by untrusted words"
        }
        "edited" => {
            return "whoever was asked about it gave it other arguments, and no rule asks about these".to_owned();
        }
        "unnamed_package" => {
            "the session has seen untrusted words, and its command asks for a package that no message names between quotation marks"
        }
        "protected_path" => return "protected path: other programs act by what it writes".to_owned(),
        "acts_elsewhere" => "it pushes names by which other programs act, or nobody can tell which",
        "stray_payload" => {
            "the session has seen untrusted words, and it holds a link, an address, a number or a name that no person gave"
        }
        "outside_scope" => {
            "the session has seen untrusted words, and this call is outside of the task's scope: the person's own words, as they were planned, want none such, or no more of them"
        }
        "url_bytes" => "untrusted words may have composed its URL, and such URLs have taken up their bytes for today",
        "unnamed_target" => {
            "the session, or the directory that it pushes from, has seen untrusted words, and no message names all that it sends to, spends or changes"
        }
        other => other,
    };
    format!("information flow: {what}")
}

/// Which values of a call a person named, in words.
pub fn origins(facts: Option<&Value>, grounds: Option<&Value>) -> String {
    let (Some(facts), Some(grounds)) = (facts, grounds) else { return String::new() };
    let paths = list(facts, "paths");
    let origin = |origin: &Value| {
        let path = paths.get(usize::try_from(number(origin, "path")).ok()?)?;
        Some(format!(", {} is named in message {}", text(path, "real"), number(origin, "from")))
    };
    let entry = grounds.get("entry").and_then(Value::as_u64);
    let entry = entry.map(|entry| format!(", inside entry {entry} of the task's scope"));
    let warrant = grounds.get("warrant").map(|warrant| number(warrant, "from"));
    let warrant = warrant.map(|from| format!(", all that it chooses is named in message {from}"));
    let packages = grounds.get("packages").and_then(Value::as_u64);
    let packages = packages.map(|from| format!(", all packages that it asks for are named in message {from}"));
    let from = provenance(grounds).map(|from| format!(", its values come from {from}"));
    let origins = list(grounds, "origins").iter().filter_map(origin);
    origins.chain(warrant).chain(packages).chain(entry).chain(from).collect()
}

/// Where the values come from by which a call chooses, in words; nothing, where it chooses none or nobody looked.
pub fn provenance(of: &Value) -> Option<String> {
    let words: Vec<&str> = list(of, "provenance").iter().filter_map(Value::as_str).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What a command may reach on the network, a line each, as it was judged.
pub fn reachable(facts: &Value) -> Vec<String> {
    let line = |place: &Value| {
        let methods: Vec<&str> = list(place, "methods").iter().filter_map(Value::as_str).collect();
        let (host, port) = (text(place, "host"), number(place, "port"));
        match place.get("tunnel").and_then(Value::as_bool) {
            Some(true) => format!("unrestricted send to {host}:{port}"),
            Some(false) | None => format!("{} {host}:{port}", methods.join(" ")),
        }
    };
    list(facts, "network").iter().map(line).collect()
}

/// What a command asks for there, as far as its words say.
pub fn packages(facts: &Value) -> Option<String> {
    list(facts, "network").first()?;
    let named: Vec<&str> = list(facts, "packages").iter().filter_map(Value::as_str).collect();
    let unknown = || text(facts, "starts").is_empty().then(|| "nobody knows what it asks for there".to_owned());
    if named.is_empty() { unknown() } else { Some(format!("asks for packages: {}", named.join(" "))) }
}

/// What follows where nothing takes back what a call does.
pub fn stays_done(facts: &Value) -> Option<&'static str> {
    let is_declared = facts.get("reversible") == Some(&Value::Bool(false));
    (is_declared || text(facts, "class") == "spend")
        .then_some("CANNOT BE TAKEN BACK: a yes is said at this machine alone, for once")
}

/// The paths that it would write though other programs act by them, a line each.
pub fn protected(facts: &Value) -> Vec<String> {
    let paths = list(facts, "paths").iter().filter(|path| path.get("protected") == Some(&Value::Bool(true)));
    paths.map(|path| format!("changes what other programs act by: {}", text(path, "real"))).collect()
}

/// What a call does with a repository there, a line each, as it was judged; of the paths that a push changes so many.
pub fn repository(facts: &Value, paths_max: usize) -> Vec<String> {
    let Some(git) = facts.get("git") else { return Vec::new() };
    let (repo, refs) = (text(git, "repo"), list(git, "refs"));
    let refs = refs.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let Some(push) = git.get("push") else { return vec![format!("fetches {refs} of {repo}")] };
    let old = push.get("old").and_then(Value::as_str).unwrap_or("nothing, as it is not there yet,");
    let mut lines = vec![format!("moves {refs} of {repo} from {old} to {}", text(push, "new"))];
    if let Some(bytes) = facts.get("bytes_out").and_then(Value::as_u64) {
        lines.push(format!("sends {bytes} bytes there, before they are packed"));
    }
    if push.get("force") == Some(&Value::Bool(true)) {
        lines.push("takes commits away that are there (force)".to_owned());
    }
    let Some(changed) = push.get("changed").and_then(Value::as_array) else {
        lines.push("changes more paths there than are counted, or some that no text can name".to_owned());
        return lines;
    };
    let shown: Vec<String> = changed.iter().take(paths_max).map(Value::to_string).collect();
    let rest = changed.len().saturating_sub(shown.len());
    let rest = if rest > 0 { format!(" and {rest} more (`--json` shows them)") } else { String::new() };
    lines.push(format!("changes {} paths there: {}{rest}", changed.len(), shown.join(" ")));
    lines
}

/// Where a call goes on the network, as it was judged; the host by its A-labels, which no letter passes for another in.
pub fn destination(facts: &Value) -> Option<String> {
    let to = facts.get("destination")?;
    let said = format!(
        "{} {}://{}:{}{}, {} bytes of URL and headers",
        text(to, "method"),
        text(to, "scheme"),
        text(to, "host"),
        number(to, "port"),
        text(to, "path"),
        number(to, "url_bytes")
    );
    let of_body = facts.get("bytes_out").filter(|_| facts.get("git").is_none());
    Some(match of_body.and_then(Value::as_u64) {
        Some(bytes) if bytes > 0 => format!("{said}, {bytes} bytes of body"),
        _ => said,
    })
}

/// What a call reached, in words.
pub fn connections(body: &Value) -> String {
    let one = |made: &Value| {
        let secret = made.get("secret").and_then(Value::as_str);
        let secret = secret.map(|secret| format!(" with the secret {secret}")).unwrap_or_default();
        let (host, port, address) = (text(made, "host"), number(made, "port"), text(made, "address"));
        format!(
            "{host}:{port} at {address}{secret}, {} bytes out, {} in",
            number(made, "sent"),
            number(made, "received")
        )
    };
    list(body, "connections").iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What a verdict rests on, in words; where it is a rule, where it stood then.
#[must_use]
pub fn reason(by: Option<&Value>, grounds: Option<&Value>) -> String {
    let line = grounds.and_then(|grounds| grounds.get("line")?.as_u64());
    let at = line.map(|line| format!(" ({FILE}:{line})")).unwrap_or_default();
    match by {
        Some(Value::String(word)) if word == "refused" => "a person's no to the same call before".to_owned(),
        Some(Value::String(word)) => word.replace('_', " "),
        Some(other) if let Some(both) = other.get("both") => {
            format!("{}; and {}", reason(both.get("by"), grounds), flow(text(both, "flow")))
        }
        Some(other) if other.get("flow").is_some() => flow(text(other, "flow")),
        Some(other) if other.get("mode").is_some() => {
            format!("mode {}: nothing but reading", text(other.get("mode").unwrap_or(&Value::Null), "mode"))
        }
        Some(other) if other.get("standing").is_some() => format!("the standing yes to {}", text(other, "standing")),
        Some(other) if other.get("limit").is_some() => format!("limit of rule `{}`{at}", text(other, "limit")),
        Some(other) => {
            other.get("rule").and_then(Value::as_str).map(|rule| format!("rule `{rule}`{at}")).unwrap_or_default()
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_push_each_path_is_shown_to_whoever_is_asked_and_some_to_others() {
        let changed: Vec<String> = (0..1_000).map(|number| format!("a/{number}\n")).collect();
        let push = json!({ "old": null, "new": "1", "changed": changed });
        let mut facts =
            json!({ "bytes_out": 7, "git": { "repo": "git.test/a", "refs": ["refs/heads/x"], "push": push } });
        let last = |facts: &Value, most| repository(facts, most).pop().unwrap_or_default();
        assert!(repository(&facts, 1).contains(&"sends 7 bytes there, before they are packed".to_owned()));
        let (all, some) = (last(&facts, usize::MAX), last(&facts, PATHS_SHOWN_MAX));
        assert!(all.starts_with("changes 1000 paths there: \"a/0\\n\"") && all.ends_with(" \"a/999\\n\""), "{all}");
        assert!(some.ends_with(" \"a/39\\n\" and 960 more (`--json` shows them)"), "{some}");
        facts["git"]["push"]["changed"] = Value::Null;
        assert!(last(&facts, usize::MAX).starts_with("changes more paths there than are counted"));
        facts["destination"] = json!({ "method": "POST", "url_bytes": 1 });
        assert!(!destination(&facts).unwrap_or_default().contains("of body"), "they are counted once");
    }
}
