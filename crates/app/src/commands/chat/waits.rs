//! What a chat's turn waits for, and a person's answer to it where the work happens.
use backstay_channels::Why;
use backstay_kernel::id::Place;
use backstay_kernel::refusal::Code;
use serde_json::Value;

use super::super::approvals::{self, Said};
use super::super::conversation::{list, text};
use super::super::turn;
use super::{Chat, Mode, typed};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::Tone;

impl Chat<'_> {
    /// A line where a yes or no is asked for. On a pipe it is none, since the line may have been
    /// written before anybody has seen the action. False where the chat is over.
    pub(super) async fn answer(&mut self, number: u64, line: &str) -> Outcome<bool> {
        if !self.live {
            let what = format!("Line {number} is no answer: on a pipe an answer names its action, as shown.");
            self.out.talk(Tone::Warning, &what);
            return self.leave().await.map(|()| false);
        }
        if let Some((approve, reason)) = typed::answer(line) {
            return self.decide(approve, reason).await;
        }
        if !line.trim().is_empty() {
            let what = "(no answer: y or yes allows exactly this, n or no [reason] refuses it, Ctrl-C ends the turn)";
            self.out.talk(Tone::Dim, what);
        }
        self.prompt();
        Ok(true)
    }

    /// `/approve` or `/deny`, with the id of the action, which a person who sees it may leave out.
    /// False where the chat is over.
    pub(super) async fn named(&mut self, approve: bool, rest: &str) -> Outcome<bool> {
        let (id, reason) = typed::split(rest);
        let Mode::Asked(item) = &self.mode else {
            let message = "no action of this session waits for a yes";
            self.out.failure(&Failure::new(Why::Refused(Code::NoSuchAsk), message, "backstay approvals"));
            self.ends(Exit::NotFound);
            self.prompt();
            return Ok(true);
        };
        let asked = text(item, "id");
        if id == asked {
            return self.decide(approve, reason).await;
        }
        if self.live && Place::parse(id).is_none() {
            return self.decide(approve, rest).await;
        }
        self.out.talk(Tone::Warning, &format!("That is not the action that waits here; it is {asked}."));
        if !self.live {
            return self.leave().await.map(|()| false);
        }
        self.prompt();
        Ok(true)
    }

    /// Yes or no to the action that is shown. False where the chat is over.
    pub(super) async fn decide(&mut self, approve: bool, reason: &str) -> Outcome<bool> {
        let Mode::Asked(item) = std::mem::replace(&mut self.mode, Mode::Busy) else { return Ok(true) };
        let word = if approve { Said::Yes { always_ms: None } } else { Said::No };
        let note = Some(reason.trim()).filter(|reason| !reason.is_empty());
        if let Err(failure) = approvals::decide(self.client, None, &item, word, note).await {
            // It may have expired, somebody else was quicker, or this speaker may not: it still waits then.
            self.out.failure(&failure);
            self.ends(failure.exit);
            return self.look().await;
        }
        Ok(true)
    }

    /// Somebody else answered what is asked here, or nobody in time.
    pub(super) fn settled(&mut self, effect: u64, expired: bool) {
        let asked = match &self.mode {
            Mode::Asked(item) => text(item, "id").ends_with(&format!(".{effect}")),
            Mode::Question(id) => id.ends_with(&format!(".{effect}")),
            Mode::Idle | Mode::Busy => false,
        };
        if asked {
            self.end_line();
            let how = if expired { "(expired, which is a no)" } else { "(answered elsewhere)" };
            self.out.talk(Tone::Dim, how);
            self.mode = Mode::Busy;
        }
    }

    /// Whether the turn waits now, and for what. False where a pipe can do nothing about it.
    pub(super) async fn look(&mut self) -> Outcome<bool> {
        let standing = self.talk.standing().await?;
        if text(&standing, "state") != "waiting" {
            return Ok(true);
        }
        let id = text(&standing, "id");
        match text(&standing, "wait") {
            "approval" => {
                let Some(item) = approvals::find(self.client, None, id).await? else { return Ok(true) };
                self.end_line();
                approvals::describe(&item, self.out);
                if !self.live {
                    self.out.talk(Tone::Strong, &format!("Answer with: /approve {id}   or: /deny {id} [reason]"));
                }
                self.mode = Mode::Asked(item);
                self.prompt();
                return self.still_listens(&standing);
            }
            "question" => {
                let questions = self.client.get("/api/questions").await?;
                let item = list(&questions, "questions").iter().find(|item| text(item, "id") == id);
                let question = item.map(|item| text(item, "text")).unwrap_or_default();
                self.end_line();
                self.out.talk(Tone::Strong, &format!("The agent asks: {question}"));
                self.mode = Mode::Question(id.to_owned());
                self.prompt();
                return self.still_listens(&standing);
            }
            // The line of progress has said it; the turn goes on by itself when the API answers.
            "provider" | "parked" if self.live => {}
            _ => {
                self.end_line();
                self.waits(&standing);
                return Ok(self.live);
            }
        }
        Ok(true)
    }

    /// False where all lines were read before the question came: nobody will answer it here.
    pub(super) fn still_listens(&mut self, standing: &Value) -> Outcome<bool> {
        if self.over {
            self.waits(standing);
        }
        Ok(!self.over)
    }

    /// Says what the turn waits for, since nobody here answers.
    pub(super) fn waits(&mut self, standing: &Value) {
        turn::tell_wait(standing, self.out);
        self.ends(Exit::Waiting);
    }
}
