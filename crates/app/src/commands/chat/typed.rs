//! What is typed into a chat: the lines of stdin, each with its number, and which of them are the
//! chat's own commands.
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::exit::{Failure, Outcome};
use crate::limits::{LINE_BYTES_MAX, TYPED_LINES_MAX, UNREAD_LINES_MAX};

#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Or why it is none.
    pub text: Outcome<String>,
}

/// A line of the chat's own, which no model sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own<'t> {
    Help,
    New,
    Trace,
    Quit,
    /// What stands behind the word: an id, a reason, both or nothing.
    Decide {
        approve: bool,
        rest: &'t str,
    },
}

impl<'t> Own<'t> {
    #[must_use]
    pub fn of(line: &'t str) -> Option<Self> {
        let (word, rest) = split(line);
        match (word, rest) {
            ("/help", "") => Some(Self::Help),
            ("/new", "") => Some(Self::New),
            ("/trace", "") => Some(Self::Trace),
            ("/quit" | "/exit", "") => Some(Self::Quit),
            ("/approve", rest) => Some(Self::Decide { approve: true, rest }),
            ("/deny", rest) => Some(Self::Decide { approve: false, rest }),
            _ => None,
        }
    }
}

/// The first word and what stands behind it.
#[must_use]
pub fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// A yes stands alone: of `yes, but` nobody knows what it allows. Behind a no stands the reason.
#[must_use]
pub fn answer(text: &str) -> Option<(bool, &str)> {
    let (word, rest) = split(text);
    let word = word.trim_end_matches(['.', ',', ';', '!']).to_ascii_lowercase();
    match (word.as_str(), rest) {
        ("y" | "yes", "") => Some((true, "")),
        ("n" | "no", reason) => Some((false, reason)),
        _ => None,
    }
}

/// The lines of stdin, read by a thread that may block as long as it likes.
#[derive(Debug)]
pub struct Typed {
    lines: mpsc::Receiver<Line>,
    /// The thread waits for no more once this is gone.
    end: UnixStream,
    thread: JoinHandle<Unread>,
}

/// Lines that stood in stdin when the chat ended. Blank ones say nothing and do not count.
#[derive(Debug, Default)]
pub struct Unread {
    /// Its number and, where it is text, its words.
    pub first: Option<(u64, String)>,
    pub count: usize,
    /// There are more than were counted.
    pub is_cut: bool,
}

impl Unread {
    fn add(&mut self, line: Line) {
        let text = line.text.unwrap_or_else(|_| "…".to_owned());
        if !text.trim().is_empty() {
            self.count = self.count.saturating_add(1);
            self.first.get_or_insert((line.number, text));
        }
    }
}

impl Typed {
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub fn listen() -> Outcome<Self> {
        let fault = |error: std::io::Error| Failure::fault(error.to_string());
        let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(fault)?);
        let (sender, lines) = mpsc::channel(TYPED_LINES_MAX);
        let (end, ended) = UnixStream::pair().map_err(fault)?;
        let mut input = Input { stdin: BufReader::new(stdin), ended, number: 0, is_broken: false };
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || input.read(&sender));
        Ok(Self { lines, end, thread: thread.map_err(fault)? })
    }

    /// The next line; none at the end. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// Ends the reading, and says what stands there unread. It waits for nobody who would still
    /// write; what stands in a terminal is whoever's who reads there next.
    #[must_use]
    pub fn unread(self) -> Unread {
        let Self { mut lines, end, thread } = self;
        lines.close();
        let mut unread = Unread::default();
        while let Ok(line) = lines.try_recv() {
            unread.add(line);
        }
        drop((lines, end));
        let rest = thread.join().unwrap_or_default();
        let count = unread.count.saturating_add(rest.count);
        Unread { count, first: unread.first.or(rest.first), is_cut: rest.is_cut }
    }
}

struct Input {
    stdin: BufReader<File>,
    ended: UnixStream,
    /// Lines so far.
    number: u64,
    /// It cannot be read.
    is_broken: bool,
}

impl Input {
    fn read(&mut self, sender: &mpsc::Sender<Line>) -> Unread {
        let mut unread = Unread::default();
        while let Some(line) = self.line(true) {
            if let Err(refused) = sender.blocking_send(line) {
                unread.add(refused.0);
                break;
            }
        }
        if sender.is_closed() && !self.stdin.get_ref().is_terminal() {
            let rest = std::iter::from_fn(|| self.line(false)).take(UNREAD_LINES_MAX);
            unread.is_cut = rest.map(|line| unread.add(line)).count() == UNREAD_LINES_MAX;
        }
        unread
    }

    /// The next line; without `waits` only what is there already.
    fn line(&mut self, waits: bool) -> Option<Line> {
        let read = if self.is_broken { Ok(Vec::new()) } else { self.bytes(waits) };
        if matches!(&read, Ok(line) if line.is_empty()) {
            return None;
        }
        self.is_broken = read.is_err();
        self.number = self.number.saturating_add(1);
        let text = read.map_err(|error| {
            let next = "give the chat a terminal, a pipe or a file of text";
            Failure::usage(format!("stdin cannot be read: {error}"), next)
        });
        Some(Line { number: self.number, text: text.and_then(|line| self.text(line)) })
    }

    /// Up to the end of a line or of what there is; empty where there is nothing.
    fn bytes(&mut self, waits: bool) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.len() <= LINE_BYTES_MAX && (!self.stdin.buffer().is_empty() || self.has_more(waits)?) {
            let there = self.stdin.fill_buf()?;
            let end = there.iter().position(|byte| *byte == b'\n').map(|at| at.saturating_add(1));
            let taken = end.unwrap_or(there.len());
            line.extend(there.iter().take(taken));
            self.stdin.consume(taken);
            if taken == 0 || end.is_some() {
                break;
            }
        }
        Ok(line)
    }

    /// Whether a read would not wait. An end is more to read, too.
    fn has_more(&self, waits: bool) -> std::io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut both = [PollFd::new(self.stdin.get_ref(), PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
        while let Err(error) = poll(&mut both, (!waits).then_some(&at_once)) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let [stdin, ended] = both.map(|one| !one.revents().is_empty());
        Ok(stdin && !(waits && ended))
    }

    fn text(&self, mut line: Vec<u8>) -> Outcome<String> {
        let number = self.number;
        if line.len() > LINE_BYTES_MAX {
            let message = format!("line {number} of stdin has more than {LINE_BYTES_MAX} bytes");
            return Err(Failure::usage(message, "let the agent read a file, and name it"));
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        let wrong =
            |_| Failure::usage(format!("line {number} of stdin is not UTF-8"), "write it as UTF-8; see iconv(1)");
        String::from_utf8(line).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        for yes in ["y", "Y", " yes ", "Yes.", "YES!"] {
            assert_eq!(answer(yes), Some((true, "")), "{yes}");
        }
        for (no, reason) in [("n", ""), ("No", ""), ("no, not today", "not today"), ("n wrong file", "wrong file")] {
            assert_eq!(answer(no), Some((false, reason)), "{no}");
        }
        for neither in ["", "yes but only the first", "y n", "maybe", "yess", "ok", "/say y", "nope", "yes/no"] {
            assert_eq!(answer(neither), None, "{neither}");
        }
    }

    #[test]
    fn other_lines_that_begin_with_a_slash_are_the_models() {
        for line in ["/say one", "/trace it", "/approved", "quit", "/quitting", "// help", ""] {
            assert_eq!(Own::of(line), None, "{line}");
        }
        assert_eq!(Own::of(" /quit "), Some(Own::Quit));
        assert_eq!(Own::of("/deny 1.2  too late "), Some(Own::Decide { approve: false, rest: "1.2  too late" }));
    }
}
