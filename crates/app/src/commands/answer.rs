//! `answer ID TEXT`: a person's words for an agent that asked.
use std::path::Path;

use serde_json::json;

use super::conversation::text;
use super::turn;
use crate::cli::AnswerArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::Out;

pub async fn run(home: &Path, args: &AnswerArgs, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let ended = answer(&client, args, out).await;
    client.close().await;
    ended
}

async fn answer(client: &Client, args: &AnswerArgs, out: &Out) -> Outcome<Exit> {
    let answered = client.post(&format!("/api/questions/{}", args.id), &json!({ "text": args.text })).await?;
    if out.json {
        out.value(&answered);
    } else {
        out.line("answered");
    }
    turn::go_on(client, text(&answered, "turn"), out).await
}
