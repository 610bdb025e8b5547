//! `run "TASK"`: one message, its turn, the reply on stdout. A turn that comes to wait for a
//! person is not lost: the command says how to go on, and ends with the code for waiting.
use std::io::Read as _;
use std::path::Path;

use super::conversation::Conversation;
use super::turn;
use crate::cli::RunArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::limits::TASK_BYTES_MAX;
use crate::print::Out;

pub async fn run(home: &Path, args: &RunArgs, out: &Out) -> Outcome<Exit> {
    let task = task(&args.task)?;
    let client = Client::connect(home, Intent::Act).await?;
    let ended = one(&client, home, &task, args, out).await;
    client.close().await;
    ended
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

async fn one(client: &Client, home: &Path, task: &str, args: &RunArgs, out: &Out) -> Outcome<Exit> {
    let mut talk = Conversation::start(client, &args.chat, args.key.as_deref()).await?;
    talk.say(task, args.key.as_deref()).await?;
    let standing = tokio::select! {
        standing = turn::follow(&mut talk, out) => standing?,
        pressed = tokio::signal::ctrl_c() => {
            pressed.map_err(|error| Failure::fault(error.to_string()))?;
            talk.cancel().await?;
            turn::follow(&mut talk, out).await?
        }
    };
    if out.json {
        out.value(&standing);
    }
    Ok(turn::finish(&standing, &home::command(home), out))
}
