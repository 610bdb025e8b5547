//! `chat`: a person and an agent in turns. On a terminal words are shown as they come, and actions
//! that wait are asked about where the work happens; on a pipe every line is a message or one of the
//! chat's own commands, and every reply goes to stdout.
use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use serde_json::Value;
use tokio::sync::mpsc;

use super::approvals;
use super::conversation::{Conversation, Seen, list, text};
use super::{trace, turn};
use crate::cli::ChatArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::limits;
use crate::print::{Out, Tone};

const HELP: &str = "\
Type a message and Enter; a line that ends in \\ goes on in the next.
  /trace   what the last turn saw, decided and touched
  /new     begin another session
  /approve ID, /deny ID [reason]   answer the action that waits (on a terminal: yes, or no [reason])
  /quit    leave (so does Ctrl-D)
Ctrl-C ends the turn that runs; twice leaves. Other lines that begin with / go to the model.";

/// What the chat waits for.
#[derive(Debug)]
enum Mode {
    /// The person's turn.
    Idle,
    /// The agent's turn.
    Busy,
    /// A yes or no to this action.
    Asked(Value),
    /// Any text.
    Question,
}

struct Chat<'a> {
    talk: Conversation<'a>,
    client: &'a Client,
    out: &'a Out,
    /// Whom `/new` talks to.
    agent: Option<String>,
    /// A person sits at both ends.
    live: bool,
    mode: Mode,
    /// Typed and not said yet.
    backlog: VecDeque<String>,
    /// The beginning of a message that goes on in the next line.
    begun: String,
    /// Nothing more will be typed.
    over: bool,
    /// Ctrl-C was pressed and nothing has happened since.
    pressed: bool,
    /// A wait was announced in this turn.
    may_wait: bool,
    /// Text stands in the current line.
    midline: bool,
    exit: Exit,
}

pub async fn run(home: &Path, args: &ChatArgs, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let ended = chat(&client, args, out).await;
    client.close().await;
    ended
}

async fn chat(client: &Client, args: &ChatArgs, out: &Out) -> Outcome<Exit> {
    let live = std::io::stdin().is_terminal() && out.terminal && !out.json;
    let mut lines = typed()?;
    let mut chat = Chat {
        talk: Conversation::start(client, args, None).await?,
        client,
        out,
        agent: args.agent.clone(),
        live,
        mode: Mode::Idle,
        backlog: VecDeque::new(),
        begun: String::new(),
        over: false,
        pressed: false,
        may_wait: false,
        midline: false,
        exit: Exit::Ok,
    };
    if live {
        out.talk(Tone::Dim, &format!("Session {}. /help says what there is.", chat.talk.session));
    }
    chat.begin().await?;
    loop {
        if matches!(chat.mode, Mode::Idle) {
            match chat.backlog.pop_front() {
                Some(line) => chat.say(&line).await?,
                None if chat.over => return Ok(chat.exit),
                None => {}
            }
        }
        let goes_on = tokio::select! {
            line = lines.recv(), if chat.listens() => chat.line(line).await?,
            seen = chat.talk.next() => chat.seen(seen?).await?,
            pressed = tokio::signal::ctrl_c() => {
                pressed.map_err(|error| Failure::fault(error.to_string()))?;
                chat.interrupted().await
            }
        };
        if !goes_on {
            return Ok(chat.exit);
        }
    }
}

/// Lines of stdin, read by a thread that may block as long as it likes.
fn typed() -> Outcome<mpsc::Receiver<String>> {
    let (sender, lines) = mpsc::channel(limits::TYPED_LINES_MAX);
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    thread.map_err(|error| Failure::fault(error.to_string()))?;
    Ok(lines)
}

impl Chat<'_> {
    /// A person may type at any time; a pipe is read one message at a time.
    fn listens(&self) -> bool {
        !self.over && (self.live || !matches!(self.mode, Mode::Busy))
    }

    /// A session that is gone on with may be in the middle of a turn, and that turn may wait for
    /// somebody: whoever comes back sees it.
    async fn begin(&mut self) -> Outcome<()> {
        let Some(turn) = &self.talk.turn else {
            self.prompt();
            return Ok(());
        };
        if self.live {
            self.out.talk(Tone::Dim, &format!("(the turn {turn} is still open)"));
        }
        self.mode = Mode::Busy;
        self.may_wait = true;
        self.look().await.map(drop)
    }

    fn prompt(&mut self) {
        if !self.live {
            return;
        }
        self.end_line();
        match &self.mode {
            Mode::Idle if self.begun.is_empty() => self.out.ask("> "),
            Mode::Idle => self.out.ask("… "),
            Mode::Asked(_) => self.out.ask("Allow this? yes / no [reason]: "),
            Mode::Question => self.out.ask("Your answer: "),
            Mode::Busy => {}
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.midline) {
            self.out.piece("\n");
        }
    }

    /// False where the chat is over.
    async fn line(&mut self, line: Option<String>) -> Outcome<bool> {
        self.pressed = false;
        let Some(line) = line else {
            self.over = true;
            return match self.mode {
                Mode::Busy => Ok(true),
                Mode::Idle => Ok(!self.backlog.is_empty()),
                Mode::Asked(_) | Mode::Question => {
                    self.end_line();
                    self.leave(&self.talk.standing().await?);
                    Ok(false)
                }
            };
        };
        match &self.mode {
            Mode::Busy => {
                self.backlog.push_back(line);
                self.out.talk(Tone::Dim, "(said when this turn ends; Ctrl-C ends it now)");
            }
            Mode::Asked(item) => {
                let item = item.clone();
                return self.decide(&item, line.trim()).await;
            }
            Mode::Question if line.trim().is_empty() => self.prompt(),
            Mode::Question => {
                self.say(&line).await?;
            }
            Mode::Idle => return self.message(line).await,
        }
        Ok(true)
    }

    async fn message(&mut self, line: String) -> Outcome<bool> {
        if let Some(part) = line.strip_suffix('\\').filter(|_| self.live) {
            self.begun.push_str(part);
            self.begun.push('\n');
            self.prompt();
            return Ok(true);
        }
        let message = std::mem::take(&mut self.begun) + &line;
        match message.trim() {
            "" => self.prompt(),
            "/quit" | "/exit" => return Ok(false),
            "/help" => {
                self.out.talk(Tone::Plain, HELP);
                self.prompt();
            }
            "/new" => {
                let args = ChatArgs { agent: self.agent.clone(), session: None };
                self.talk = Conversation::start(self.client, &args, None).await?;
                self.out.talk(Tone::Dim, &format!("Session {}.", self.talk.session));
                self.prompt();
            }
            "/trace" => {
                match &self.talk.turn {
                    Some(turn) => trace::show(self.client, turn, self.out).await?,
                    None => self.out.talk(Tone::Dim, "nothing was said yet"),
                }
                self.prompt();
            }
            _ => self.say(&message).await?,
        }
        Ok(true)
    }

    /// A no of the API to one message is told, and the chat goes on.
    async fn say(&mut self, message: &str) -> Outcome<()> {
        match self.talk.say(message, None).await {
            Ok(()) => {
                self.mode = Mode::Busy;
                self.may_wait = false;
            }
            Err(failure) if failure.exit == Exit::Fault => return Err(failure),
            Err(failure) => {
                self.out.failure(&failure);
                self.exit = failure.exit;
                self.mode = Mode::Idle;
                self.prompt();
            }
        }
        Ok(())
    }

    /// A yes or no to the action that is shown. On a pipe it names the action, since the line may
    /// have been written before anybody has seen that. False where the chat is over.
    async fn decide(&mut self, item: &Value, answer: &str) -> Outcome<bool> {
        let (word, rest) = answer.split_once(char::is_whitespace).unwrap_or((answer, ""));
        let (id, reason) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
        let (approve, reason) = match word.to_ascii_lowercase().as_str() {
            "yes" if self.live => (true, rest),
            "no" if self.live => (false, rest),
            "/approve" if id == text(item, "id") => (true, reason),
            "/deny" if id == text(item, "id") => (false, reason),
            _ if self.live => {
                self.prompt();
                return Ok(true);
            }
            _ => {
                self.leave(&self.talk.standing().await?);
                return Ok(false);
            }
        };
        let note = Some(reason.trim()).filter(|reason| !reason.is_empty());
        let decided = approvals::decide(self.client, item, approve, note).await;
        self.mode = Mode::Busy;
        // It may have expired, or somebody else was quicker.
        if let Err(failure) = decided {
            self.out.failure(&failure);
        }
        Ok(true)
    }

    /// Ctrl-C. False where the chat is over.
    async fn interrupted(&mut self) -> bool {
        self.end_line();
        if std::mem::replace(&mut self.pressed, true) {
            return false;
        }
        match self.mode {
            Mode::Idle if !self.live => return false,
            Mode::Idle => {
                self.begun.clear();
                self.out.talk(Tone::Dim, "(Ctrl-C again, Ctrl-D or /quit leaves)");
                self.prompt();
            }
            Mode::Busy | Mode::Asked(_) | Mode::Question => {
                self.backlog.clear();
                self.mode = Mode::Busy;
                match self.talk.cancel().await {
                    Ok(()) => self.out.talk(Tone::Dim, "(ending this turn; Ctrl-C again leaves)"),
                    Err(failure) => self.out.failure(&failure),
                }
            }
        }
        true
    }

    async fn seen(&mut self, seen: Seen) -> Outcome<bool> {
        if matches!(self.mode, Mode::Idle) {
            return Ok(true);
        }
        match &seen {
            Seen::Ended => return self.ended().await,
            Seen::MayWait => self.may_wait = true,
            Seen::Retried(retry) => self.may_wait |= retry.is_long,
            Seen::Settled(effect) => self.settled(*effect),
            Seen::Text(_)
            | Seen::Withdrawn
            | Seen::Said
            | Seen::Called { .. }
            | Seen::Became { .. }
            | Seen::Held(_)
            | Seen::Nothing => {}
        }
        self.show(&seen);
        let may_have_come_to_rest = match &seen {
            Seen::MayWait | Seen::Became { .. } | Seen::Settled(_) => true,
            Seen::Retried(retry) => retry.is_long,
            Seen::Text(_)
            | Seen::Withdrawn
            | Seen::Said
            | Seen::Called { .. }
            | Seen::Held(_)
            | Seen::Ended
            | Seen::Nothing => false,
        };
        if self.may_wait && may_have_come_to_rest && matches!(self.mode, Mode::Busy) {
            return self.look().await;
        }
        Ok(true)
    }

    /// Somebody else answered what is asked here.
    fn settled(&mut self, effect: u64) {
        let asked = matches!(&self.mode, Mode::Asked(item) if text(item, "id").ends_with(&format!(".{effect}")));
        if asked {
            self.end_line();
            self.out.talk(Tone::Dim, "(answered elsewhere)");
            self.mode = Mode::Busy;
        }
    }

    fn show(&mut self, seen: &Seen) {
        let quiet = !self.live;
        match seen {
            Seen::Text(_) | Seen::Withdrawn | Seen::Said if quiet => {}
            Seen::Text(piece) => {
                self.out.piece(piece);
                self.midline = !piece.ends_with('\n');
            }
            Seen::Said => self.end_line(),
            Seen::Withdrawn => {
                self.end_line();
                self.out.talk(Tone::Dim, "(cut off; the model starts again)");
            }
            Seen::Called { .. } | Seen::Became { .. } | Seen::Retried(_) | Seen::Held(_) => {
                self.end_line();
                turn::progress(self.client, seen, self.out);
            }
            Seen::MayWait | Seen::Settled(_) | Seen::Ended | Seen::Nothing => {}
        }
    }

    /// Whether the turn waits now, and for what. False where a pipe can do nothing about it.
    async fn look(&mut self) -> Outcome<bool> {
        let standing = self.talk.standing().await?;
        if text(&standing, "state") != "waiting" {
            return Ok(true);
        }
        let id = text(&standing, "id");
        match text(&standing, "wait") {
            "approval" => {
                let Some(item) = approvals::find(self.client, id).await? else { return Ok(true) };
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
                self.mode = Mode::Question;
                self.prompt();
                return self.still_listens(&standing);
            }
            // The line of progress has said it; the turn goes on by itself when the API answers.
            "provider" if self.live => {}
            _ => {
                self.end_line();
                self.leave(&standing);
                return Ok(self.live);
            }
        }
        Ok(true)
    }

    /// False where all lines were read before the question came: nobody will answer it here.
    fn still_listens(&mut self, standing: &Value) -> Outcome<bool> {
        if self.over {
            self.leave(standing);
        }
        Ok(!self.over)
    }

    /// Says what the turn waits for, since nobody here answers.
    fn leave(&mut self, standing: &Value) {
        turn::tell_wait(standing, self.talk.retry.as_ref(), self.out);
        self.exit = Exit::Waiting;
    }

    async fn ended(&mut self) -> Outcome<bool> {
        let standing = self.talk.standing().await?;
        self.end_line();
        let reply = text(&standing, "reply");
        if self.out.json {
            self.out.value(&standing);
        } else if !reply.is_empty() && (!self.live || reply != self.talk.said) {
            self.out.line(reply);
        }
        let exit = turn::tell_end(self.client, &standing, self.out).await;
        // Who sat here has seen how it ended; leaving is no failure of anything.
        self.exit = if self.live { Exit::Ok } else { exit };
        self.mode = Mode::Idle;
        (self.may_wait, self.pressed) = (false, false);
        if self.backlog.is_empty() {
            self.prompt();
        }
        Ok(true)
    }
}
