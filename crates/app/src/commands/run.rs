//! `run "TASK"`: one message, its turn, the reply on stdout. A turn that comes to wait for a
//! person is not lost: the command says how to go on, and ends with the code for waiting.
use std::io::Read as _;
use std::path::Path;

use backstay_channels::Why;
use serde_json::Value;

use super::conversation::Conversation;
use super::turn;
use crate::cause::Cause;
use crate::cli::RunArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::limits::TASK_BYTES_MAX;
use crate::print::{Out, Tone};

pub async fn run(home: &Path, args: &RunArgs, out: &Out) -> Outcome<Exit> {
    let task = task(&args.task)?;
    if args.key.as_deref().is_some_and(|key| key.trim().is_empty()) {
        return Err(Failure::usage("--key is empty", "name the task with it, such as --key sails-1, or leave it out"));
    }
    let client = Client::connect(home, Intent::Act).await?;
    let ended = one(&client, &task, args, out).await;
    client.close().await;
    ended.map_err(|failure| in_words(failure, args))
}

/// A key that stands for something else, as who typed it knows it.
fn in_words(failure: Failure, args: &RunArgs) -> Failure {
    let Some(key) = args.key.as_ref().filter(|_| failure.is(Why::KeyReused)) else { return failure };
    let message = format!("--key {key} stands for another task, agent or session already");
    Failure {
        message,
        next: "give this task a --key of its own; the same command attaches to its task".into(),
        ..failure
    }
}

fn task(given: &str) -> Outcome<String> {
    let mut task = given.to_owned();
    if given == "-" {
        task.clear();
        let read = std::io::stdin().lock().take(TASK_BYTES_MAX).read_to_string(&mut task);
        read.map_err(|error| Failure::usage(format!("stdin: {error}"), "write the task as text"))?;
    }
    if task.trim().is_empty() {
        return Err(Failure::usage("the task is empty", "backstay run \"what to do\""));
    }
    Ok(task)
}

async fn one(client: &Client, task: &str, args: &RunArgs, out: &Out) -> Outcome<Exit> {
    let mut talk = Conversation::start(client, &args.chat, args.key.as_deref()).await?;
    talk.say(task, args.key.as_deref()).await?;
    let followed = tokio::select! {
        standing = turn::follow(client, &mut talk, out) => Some(standing?),
        () = pressed() => None,
    };
    let standing = match followed {
        Some(standing) => standing,
        None => end(client, &mut talk, out).await?,
    };
    if out.json {
        out.value(&standing);
    }
    Ok(turn::finish(client, &standing, out).await)
}

/// Ends the turn, and waits for that unless the person is tired of waiting.
async fn end(client: &Client, talk: &mut Conversation<'_>, out: &Out) -> Outcome<Value> {
    out.talk(Tone::Dim, "(ending the turn; Ctrl-C again leaves)");
    talk.cancel().await?;
    let turn = talk.turn.clone().unwrap_or_default();
    tokio::select! {
        standing = turn::follow(client, talk, out) => standing,
        () = pressed() => {
            let message = format!("left before the turn {turn} had ended");
            Err(Failure::new(Cause::Left, message, format!("backstay trace {turn}")))
        }
    }
}

/// Ctrl-C. Where it cannot be listened to it never comes, and the signal ends the process.
async fn pressed() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
