//! `watch`: what waits for somebody, as it begins to and as it ends, until Ctrl-C. It follows the running process: where
//! none serves the home nothing begins to wait, and nobody is told.
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::conversation::text;
use crate::cause::Cause;
use crate::client::Client;
use crate::events::Event;
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::print::{Out, Tone, visible_line};
use crate::time;

const WAITS: &str = "/api/waits";

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    home::require(home)?;
    let Some(client) = Client::running(home).await? else {
        let message = format!("no process serves {}, so nothing goes on there", home.display());
        return Err(Failure::new(Cause::NotRunning, message, "backstay serve; backstay status"));
    };
    let mut events = client.stream(WAITS).await?;
    if out.talks_to_terminal && !out.json {
        out.talk(Tone::Dim, "(following what waits; Ctrl-C ends)");
    }
    let mut waits = BTreeMap::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            pressed = tokio::signal::ctrl_c() => match pressed {
                Ok(()) => return Ok(Exit::Ok),
                Err(error) => return Err(Failure::fault(format!("Ctrl-C cannot be heard: {error}"))),
            },
        };
        match event {
            Some(event) if event.name != "end" => show(&event, &mut waits, out),
            Some(Event { data, .. }) => return Err(gone(text(&data, "message"))),
            None => return Err(gone("")),
        }
        if out.is_gone() {
            return Ok(Exit::Ok);
        }
    }
}

fn gone(why: &str) -> Failure {
    let message = format!("the process that serves the home went away: {why}");
    Failure::new(Cause::Gone, message.trim_end_matches([':', ' ']), "backstay serve; what waits is kept")
}

/// `waits`: the words for what waits, by its id.
fn show(event: &Event, waits: &mut BTreeMap<String, String>, out: &Out) {
    let id = text(&event.data, "id").to_owned();
    if out.json {
        let mut line = json!({ "event": event.name });
        if let (Some(fields), Some(more)) = (line.as_object_mut(), event.data.as_object()) {
            fields.extend(more.clone());
        }
        out.value(&line);
    } else if event.name == "ended" {
        let what = waits.remove(&id).unwrap_or_else(|| text(&event.data, "kind").to_owned());
        out.line(&format!("ended  {what}: {}", text(&event.data, "how")));
    } else {
        let what = words(&event.data);
        let since = event.data.get("since").and_then(Value::as_u64).map(time::stamp).unwrap_or_default();
        let until = event.data.get("expires_at").and_then(Value::as_u64);
        let until = until.map(|at| format!(", until {}", time::stamp(at))).unwrap_or_default();
        let next = home::hint(text(&event.data, "see"), &out.command);
        out.toned(Tone::Warning, &format!("waits  {what}   since {since}{until}   next: {next}"));
        waits.insert(id, what);
    }
}

/// `approval write_file (write) of main in SESSION`.
fn words(notice: &Value) -> String {
    let class = match text(notice, "class") {
        "" => String::new(),
        class => format!("({class})"),
    };
    let agent = match text(notice, "agent") {
        "" => String::new(),
        agent => format!("of {agent} in {}", text(notice, "session")),
    };
    let parts = [text(notice, "kind"), text(notice, "tool"), &class, &agent];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    visible_line(&parts.join(" "))
}
