//! `backstay` alone: what to do next in the state that it finds, each step as a command that can be
//! copied, and no command that would be refused. It only looks; nothing of the home is set going.
use std::path::Path;

use backstay_channels::Why;
use serde_json::{Value, json};

use super::conversation::{list, text};
use super::turn;
use crate::cause::Cause;
use crate::client::{Client, Intent};
use crate::config;
use crate::exit::{Exit, Failure, Outcome};
use crate::home::{self, Found};
use crate::print::{Out, Tone, short, visible_line};

/// Of each kind of wait, the newest are named; lists have the rest.
const NAMED_MAX: usize = 3;
/// Characters of what a question is about.
const ABOUT_CHARS_MAX: usize = 60;

/// What was found.
#[derive(Debug, Default)]
struct Guide {
    /// One word, for programs.
    state: &'static str,
    frozen: bool,
    /// Why the home cannot be used now.
    trouble: String,
    /// Commands and what each is for.
    next: Vec<(String, String)>,
}

impl Guide {
    fn new(state: &'static str) -> Self {
        Self { state, ..Self::default() }
    }

    /// Adds a command of this home's.
    fn step(mut self, rest: impl AsRef<str>, why: impl Into<String>) -> Self {
        self.next.push((format!("backstay {}", rest.as_ref()), why.into()));
        self
    }

    fn words(&self) -> &'static str {
        match self.state {
            "none" => "there is no home there yet",
            "part" => "this is not a whole home",
            "config" => "the config has mistakes",
            "busy" => "in use",
            "blocked" => "does not open",
            "running" => "running",
            "draining" => "shutting down",
            _ => "not running",
        }
    }
}

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    let mut guide = look(home).await;
    for (command, _) in &mut guide.next {
        *command = home::hint(command, &out.command);
    }
    if out.json {
        let step = |(command, why): &(String, String)| json!({ "command": command, "why": why });
        out.value(&json!({
            "home": home,
            "state": guide.state,
            "frozen": guide.frozen,
            "trouble": guide.trouble,
            "next": guide.next.iter().map(step).collect::<Vec<_>>(),
        }));
        return Ok(Exit::Ok);
    }
    let frozen = if guide.frozen { ", frozen: nothing starts in it" } else { "" };
    out.line(&format!("{}: {}{frozen}", home.display(), guide.words()));
    if !guide.trouble.is_empty() {
        out.toned(Tone::Warning, &format!("  {}", guide.trouble));
    }
    let width = guide.next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    guide.next.iter().for_each(|(command, why)| out.line(&format!("  {command:width$}  {why}")));
    out.toned(Tone::Dim, "All commands: backstay --help");
    Ok(Exit::Ok)
}

async fn look(home: &Path) -> Guide {
    match home::look(home) {
        Found::Nothing => {
            if let Err(failure) = home::refuse_foreign(home) {
                let state = if failure.is(Cause::Io) { "blocked" } else { "none" };
                let mut guide = Guide::new(state).step("init DIR", "make a home elsewhere");
                guide.trouble = format!("{}; {}", failure.message, failure.next);
                return guide;
            }
            return Guide::new("none")
                .step("quickstart", "make a home there, with the model you have a key for or a rehearsal, and talk")
                .step("init", "only make the home; `init DIR` makes one elsewhere");
        }
        Found::Part => {
            return Guide::new("part")
                .step("doctor", "see what is missing")
                .step("init", "go on with an `init` that was cut off");
        }
        Found::Unconfigured => {
            let failure = Failure::unconfigured(home);
            let mut guide = Guide::new("part").step("restore BACKUP NEW_HOME", "make a home of a backup");
            guide.trouble = format!("{}; {}", failure.message, "put that file back, from a backup for example");
            return guide;
        }
        Found::Home => {}
    }
    let running = matches!(Client::running(home).await, Ok(Some(_)));
    // A process that runs has a good config in force, whatever lies on the disk by now.
    if let (false, Err(mistakes)) = (running, config::load(home, backstay_tools::manifests())) {
        let mut guide =
            Guide::new("config").step("config check", "see all mistakes, each with its place and a way out");
        guide.trouble = mistakes.first_of_all();
        return guide;
    }
    let found = match Client::connect(home, Intent::Check).await {
        Ok(client) => {
            let found = open(&client).await;
            client.close().await;
            found
        }
        Err(failure) => Err(failure),
    };
    found.unwrap_or_else(|failure| {
        let busy = failure.exit == Exit::Busy;
        let is_lost = failure.is(Cause::Damaged) || failure.is(Cause::Foreign) || failure.is(Why::Unreadable);
        let mut guide = Guide::new(if busy { "busy" } else { "blocked" });
        guide.trouble = failure.message;
        if is_lost {
            guide = guide.step("restore BACKUP NEW_HOME", "make a home of a backup");
        }
        if busy { guide.step("status", "ask again") } else { guide.step("doctor", "look for what is wrong") }
    })
}

/// What keeps the home from working comes first, then what waits for a person.
async fn open(client: &Client) -> Outcome<Guide> {
    let status = client.get("/api/status").await?;
    let flag = |field: &str| status.get(field).and_then(Value::as_bool).unwrap_or_default();
    let mut guide = Guide::new(match (client.is_running(), flag("draining")) {
        (true, true) => "draining",
        (true, false) => "running",
        (false, _) => "stopped",
    });
    guide.frozen = flag("frozen");
    if guide.frozen {
        guide = guide.step("unfreeze", "let it go on");
    }
    for (kind, all) in [("approvals", "approvals"), ("questions", "status"), ("doubts", "doubts")] {
        let found = client.get(&format!("/api/{kind}")).await?;
        let items = list(&found, kind);
        for item in items.iter().rev().take(NAMED_MAX) {
            let (rest, why) = answer_to(kind, item, client.home());
            guide = guide.step(rest, why);
        }
        if items.len() > NAMED_MAX {
            guide = guide.step(all, format!("all {} {kind}", items.len()));
        }
    }
    let takes_messages = !guide.frozen && guide.state != "draining";
    if takes_messages {
        guide = providers(client, guide).await?.step("chat", "talk to the agent");
    }
    if client.is_running() {
        return Ok(guide.step("status", "see what runs and what waits"));
    }
    guide = guide.step("serve", "open the HTTP API and keep working");
    if takes_messages {
        guide = guide.step("run \"TASK\"", "do one task");
    }
    Ok(guide.step("doctor", "look for what is wrong"))
}

/// Turns whose model is asked again later; of a frozen home none is.
async fn providers(client: &Client, mut guide: Guide) -> Outcome<Guide> {
    let goes_on =
        if client.is_running() { "then it is asked again" } else { "`serve` and this command ask it again then" };
    for wait in ["provider", "backoff"] {
        let found = client.get(&format!("/api/sessions?wait={wait}&limit={}", NAMED_MAX.saturating_add(1))).await?;
        let items = list(&found, "sessions");
        for item in items.iter().take(NAMED_MAX) {
            let why =
                format!("the turn {} waits for its model's API{}: {goes_on}", text(item, "turn"), turn::until(item));
            guide = guide.step(format!("chat --session {}", text(item, "session")), why);
        }
        if items.len() > NAMED_MAX {
            guide = guide.step("sessions list", "more turns wait for their model's API");
        }
    }
    Ok(guide)
}

/// The command that answers what waits, and what it is about.
fn answer_to(kind: &str, item: &Value, home: &Path) -> (String, String) {
    let id = text(item, "id");
    match kind {
        "approvals" => (format!("approve {id}"), format!("yes to {} (no: deny {id})", action(item, home))),
        "questions" => (format!("answer {id} \"TEXT\""), short(text(item, "text"), ABOUT_CHARS_MAX)),
        _ => (
            format!("resolve {id} done --note \"…\""),
            format!("say what became of {}: done or not-done", action(item, home)),
        ),
    }
}

/// A tool and the files that it touches, by their whole names: two that differ look different.
fn action(item: &Value, home: &Path) -> String {
    let paths = item.get("facts").map_or(&[][..], |facts| list(facts, "paths"));
    let named = paths.iter().map(|path| {
        let real = text(path, "real");
        Path::new(real).strip_prefix(home).ok().and_then(Path::to_str).unwrap_or(real)
    });
    let words: Vec<&str> = std::iter::once(text(item, "tool")).chain(named).collect();
    visible_line(&words.join(" "))
}
