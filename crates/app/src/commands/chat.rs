//! `chat`: a person and an agent in turns. On a terminal words are shown as they come, and actions
//! that wait are asked about where the work happens; on a pipe every line is a message or one of the
//! chat's own commands, and every reply goes to stdout.
mod shown;
mod typed;
mod waits;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::Path;

use backstay_channels::Why;
use backstay_kernel::refusal::Code;
use serde_json::Value;

use super::conversation::Conversation;
use super::trace;
use crate::cli::ChatArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::limits::UNREAD_CHARS_MAX;
use crate::print::{Out, Tone, short};
use typed::{Line, Own, Typed, Unread};

const HELP: &str = "\
Type a message and Enter; a line that ends in \\ goes on in the next.
  /trace   what the last turn saw, decided and touched
  /new     begin another session
  /approve [ID] [reason], /deny [ID] [reason]   answer the action that waits
  /quit    leave (so does Ctrl-D)
Where an action waits, y or yes allows exactly what is shown, and n or no [reason] refuses it; nothing else
is an answer. On a pipe the action is named: /approve ID.
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
    /// Any text, for the question of this id.
    Question(String),
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
    let mut typed = Typed::listen()?;
    let ended = converse(client, args, &mut typed, out).await;
    if !std::io::stdin().is_terminal() {
        tell_unread(&typed.unread(), out);
    }
    ended
}

async fn converse(client: &Client, args: &ChatArgs, typed: &mut Typed, out: &Out) -> Outcome<Exit> {
    let live = std::io::stdin().is_terminal() && out.terminal && !out.json;
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
    let mut goes_on = chat.begin().await?;
    while goes_on {
        goes_on = chat.goes_on(typed).await?;
    }
    Ok(chat.exit)
}

/// A pipe may hold more than its chat came to.
fn tell_unread(unread: &Unread, out: &Out) {
    let Some((number, text)) = &unread.first else { return };
    let more = if unread.is_cut { "more than " } else { "" };
    let lines = if unread.count == 1 { "line" } else { "lines" };
    let from = format!("from line {number} on: {}", short(text.trim(), UNREAD_CHARS_MAX));
    out.talk(Tone::Warning, &format!("({more}{} {lines} of stdin not read, {from})", unread.count));
}

impl Chat<'_> {
    /// A person may type at any time; a pipe is read one message at a time.
    fn listens(&self) -> bool {
        !self.over && (self.live || !matches!(self.mode, Mode::Busy))
    }

    /// One happening. False where the chat is over.
    async fn goes_on(&mut self, typed: &mut Typed) -> Outcome<bool> {
        while matches!(self.mode, Mode::Idle) {
            match self.backlog.pop_front() {
                Some(line) => self.message(&line).await?,
                None if self.over => return self.leave().await.map(|()| false),
                None => break,
            }
        }
        tokio::select! {
            line = typed.next(), if self.listens() => match line {
                Some(line) => self.line(line).await,
                None => self.no_more().await,
            },
            seen = self.talk.next() => self.seen(seen?).await,
            pressed = tokio::signal::ctrl_c() => {
                pressed.map_err(|error| Failure::fault(error.to_string()))?;
                self.interrupted().await
            }
        }
    }

    /// A session that is gone on with may be in the middle of a turn, and that turn may wait for
    /// somebody: whoever comes back sees it. False where the chat is over.
    async fn begin(&mut self) -> Outcome<bool> {
        let Some(turn) = &self.talk.turn else {
            self.prompt();
            return Ok(true);
        };
        if self.live {
            self.out.talk(Tone::Dim, &format!("(the turn {turn} is still open)"));
        }
        self.mode = Mode::Busy;
        self.may_wait = true;
        self.look().await
    }

    fn prompt(&mut self) {
        if !self.live {
            return;
        }
        self.end_line();
        match &self.mode {
            Mode::Idle if self.begun.is_empty() => self.out.ask("> "),
            Mode::Idle => self.out.ask("… "),
            Mode::Asked(_) => self.out.ask("Allow this? y / n [reason]: "),
            Mode::Question(_) if !self.begun.is_empty() => self.out.ask("… "),
            Mode::Question(_) => self.out.ask("Your answer: "),
            Mode::Busy => {}
        }
    }

    /// What was typed last has no line break behind it.
    fn new_line(&mut self) {
        self.midline |= self.live;
        self.end_line();
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.midline) {
            self.out.piece("\n");
        }
    }

    /// The end of what is typed. False where the chat is over.
    async fn no_more(&mut self) -> Outcome<bool> {
        self.over = true;
        self.new_line();
        if !matches!(self.mode, Mode::Busy) {
            return self.leave().await.map(|()| false);
        }
        if self.live {
            self.out.talk(Tone::Dim, "(leaving when this turn ends; Ctrl-C ends it now)");
        }
        Ok(true)
    }

    /// False where the chat is over.
    async fn line(&mut self, line: Line) -> Outcome<bool> {
        self.pressed = false;
        let text = match line.text {
            Ok(text) => text,
            Err(failure) if self.live => {
                self.out.failure(&failure);
                self.prompt();
                return Ok(true);
            }
            Err(failure) => return Err(failure),
        };
        if let Some(own) = Own::of(&text).filter(|_| self.begun.is_empty()) {
            return self.own(own).await;
        }
        match &self.mode {
            Mode::Busy => {
                self.backlog.push_back(text);
                self.out.talk(Tone::Dim, "(said when this turn ends; Ctrl-C ends it now)");
            }
            Mode::Asked(_) => return self.answer(line.number, &text).await,
            Mode::Idle | Mode::Question(_) => self.message(&text).await?,
        }
        Ok(true)
    }

    /// One of the chat's own commands, at any prompt and beside a turn. False where the chat is over.
    async fn own(&mut self, own: Own<'_>) -> Outcome<bool> {
        match own {
            Own::Quit => return self.leave().await.map(|()| false),
            Own::Help => self.out.talk(Tone::Plain, HELP),
            Own::New => {
                self.leave().await?;
                let args = ChatArgs { agent: self.agent.clone(), session: None };
                self.talk = Conversation::start(self.client, &args, None).await?;
                self.out.talk(Tone::Dim, &format!("Session {}.", self.talk.session));
                self.mode = Mode::Idle;
            }
            Own::Trace => {
                self.end_line();
                match &self.talk.turn {
                    Some(turn) => trace::show(self.client, turn, self.out).await?,
                    None => self.out.talk(Tone::Dim, "nothing was said yet"),
                }
            }
            Own::Decide { approve, rest } => return self.named(approve, rest).await,
        }
        self.prompt();
        Ok(true)
    }

    /// A message, or a line of one.
    async fn message(&mut self, line: &str) -> Outcome<()> {
        if let Some(part) = line.strip_suffix('\\').filter(|_| self.live) {
            self.begun.push_str(part);
            self.begun.push('\n');
            self.prompt();
            return Ok(());
        }
        let message = std::mem::take(&mut self.begun) + line;
        if message.trim().is_empty() {
            self.prompt();
            return Ok(());
        }
        self.say(&message).await
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
                self.ends(failure.exit);
                self.mode = Mode::Idle;
                self.prompt();
            }
        }
        Ok(())
    }

    /// A pipe's exit code is that of the first line that did not come to a good end. Who sits here
    /// has seen it; leaving is no failure of anything.
    fn ends(&mut self, exit: Exit) {
        if !self.live && self.exit == Exit::Ok {
            self.exit = exit;
        }
    }

    /// Ctrl-C. It ends what runs, then the chat; a pipe has nobody who would say more. False where
    /// the chat is over.
    async fn interrupted(&mut self) -> Outcome<bool> {
        self.new_line();
        if std::mem::replace(&mut self.pressed, true) {
            return self.leave().await.map(|()| false);
        }
        self.over |= !self.live;
        self.drop_backlog();
        if !matches!(self.mode, Mode::Idle) {
            self.mode = Mode::Busy;
            match self.talk.cancel().await {
                Ok(()) => self.out.talk(Tone::Dim, "(ending this turn; Ctrl-C again leaves)"),
                // It has just ended, and says so next.
                Err(failure) if failure.is(Why::Refused(Code::NothingToStop)) => {}
                Err(failure) => self.out.failure(&failure),
            }
        } else if !self.live {
            self.ends(Exit::Refused);
        } else if self.begun.is_empty() {
            self.out.talk(Tone::Dim, "(Ctrl-C again, Ctrl-D or /quit leaves)");
            self.prompt();
        } else {
            self.begun.clear();
            self.pressed = false;
            self.prompt();
        }
        Ok(true)
    }

    fn drop_backlog(&mut self) {
        if let Some(line) = self.backlog.front() {
            let (count, first) = (self.backlog.len(), short(line, UNREAD_CHARS_MAX));
            self.out.talk(Tone::Warning, &format!("(not said, of {count} typed ahead: {first})"));
        }
        self.backlog.clear();
    }

    /// Says what is left behind, and the command that goes on with it.
    async fn leave(&mut self) -> Outcome<()> {
        self.drop_backlog();
        let Some(turn) = self.talk.turn.clone() else { return Ok(()) };
        let next = format!("{} chat --session {}", self.out.command, self.talk.session);
        match self.mode {
            Mode::Idle if self.live => self.out.talk(Tone::Dim, &format!("Go on with: {next}")),
            Mode::Idle => {}
            Mode::Busy => {
                self.end_line();
                let how = if self.client.is_running() { "goes on in the running process" } else { "is not over" };
                self.out.talk(Tone::Warning, &format!("The turn {turn} {how}.\n  next: {next}"));
                self.ends(Exit::Waiting);
            }
            Mode::Asked(_) | Mode::Question(_) => self.waits(&self.talk.standing().await?),
        }
        Ok(())
    }
}
