//! What a command says: data to stdout, talk to stderr, colour only on a terminal.
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use backstay_kernel::words::is_hidden;
use serde_json::Value;

use crate::cause::Cause;
use crate::exit::Failure;
use crate::home;

/// Where a command's words go.
#[derive(Debug)]
pub struct Out {
    /// Data is JSON.
    pub json: bool,
    /// A person reads stdout, and what models and tools wrote must not command the terminal.
    pub terminal: bool,
    /// How a command for this home begins; see [`home::command`].
    pub command: String,
    colour: bool,
    /// A person reads stderr.
    pub talks_to_terminal: bool,
    talk_colour: bool,
    /// Stands in the last line of stderr and makes room for whatever comes next.
    passing: Cell<bool>,
    /// The reader of stdout has left: the command goes on and says no more.
    gone: Cell<bool>,
    /// Why stdout took no more, where nobody has left.
    lost: RefCell<Option<String>>,
}

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Tone {
    Plain,
    Dim,
    Strong,
    Warning,
}

impl Out {
    #[must_use]
    pub fn new(json: bool, command: String) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = std::io::stdout().is_terminal();
        let talks_to_terminal = std::io::stderr().is_terminal();
        Self {
            json,
            terminal,
            command,
            colour: wanted && terminal && !json,
            talks_to_terminal,
            talk_colour: wanted && talks_to_terminal,
            passing: Cell::new(false),
            gone: Cell::new(false),
            lost: RefCell::new(None),
        }
    }

    /// Data as it is, for programs.
    pub fn value(&self, value: &Value) {
        self.write(format!("{value}\n").as_bytes());
    }

    /// Data as it is, however it is read.
    pub fn bytes(&self, bytes: &[u8]) {
        self.write(bytes);
    }

    /// Whether nobody reads stdout any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// What was to be said and could not be: a full disk, a device that failed. A reader that left
    /// has seen enough, and is no failure.
    #[must_use]
    pub fn lost(&self) -> Option<Failure> {
        let why = self.lost.borrow().clone()?;
        let next = "see what stdout leads to; what the command did is done";
        Some(Failure::new(Cause::Stdout, format!("stdout cannot be written: {why}"), next))
    }

    /// One line of data for a person.
    pub fn line(&self, text: &str) {
        self.write(format!("{}\n", self.shown(text)).as_bytes());
    }

    pub fn toned(&self, tone: Tone, text: &str) {
        self.write(format!("{}\n", tinted(self.colour, tone, &self.shown(text))).as_bytes());
    }

    /// A piece of a text that is still coming.
    pub fn piece(&self, text: &str) {
        self.write(self.shown(text).as_bytes());
    }

    /// Progress, hints and questions: never data.
    pub fn talk(&self, tone: Tone, text: &str) {
        self.clear_passing();
        // Whoever closed stderr does not want to hear it.
        let _ = writeln!(std::io::stderr(), "{}", tinted(self.talk_colour, tone, &visible(text)));
    }

    /// Progress that the next progress of its kind replaces: on a terminal one line for all of it,
    /// elsewhere only the first, so that nobody's log is flooded by a wait.
    pub fn pass(&self, is_first: bool, text: &str) {
        if !self.talks_to_terminal {
            if is_first {
                self.talk(Tone::Dim, text);
            }
            return;
        }
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        // A line that the terminal breaks could not be taken back; the last column is the cursor's.
        let shown = if columns == 0 { visible_line(text) } else { short(text, columns.saturating_sub(1)) };
        self.clear_passing();
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "{}", tinted(self.talk_colour, Tone::Dim, &shown));
        let _ = stderr.flush();
        self.passing.set(true);
    }

    fn clear_passing(&self) {
        if self.passing.take() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
        }
    }

    /// A question before an answer on the same line.
    pub fn ask(&self, text: &str) {
        self.clear_passing();
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "{}", tinted(self.talk_colour, Tone::Strong, &visible(text)));
        let _ = stderr.flush();
    }

    /// Says why a command failed: an object where JSON is wanted. The way on names this home.
    pub fn failure(&self, failure: &Failure) {
        let failure = Failure { next: home::hint(&failure.next, &self.command), ..failure.clone() };
        if self.json {
            let _ = writeln!(std::io::stderr(), "{}", failure.to_json());
        } else {
            self.talk(Tone::Plain, &format!("backstay: {failure}"));
        }
    }

    /// Rows under their heads, in columns as wide as they must be.
    pub fn table(&self, heads: &[&str], rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
        let width = |column: usize, head: &str| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = heads.iter().enumerate().map(|(column, head)| width(column, head)).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.toned(Tone::Dim, &line(&mut heads.iter().copied()));
        for row in &rows {
            self.write(format!("{}\n", line(&mut row.iter().map(String::as_str))).as_bytes());
        }
    }

    fn shown(&self, text: &str) -> String {
        if self.terminal { visible(text) } else { text.to_owned() }
    }

    fn write(&self, bytes: &[u8]) {
        if self.gone.get() {
            return;
        }
        self.clear_passing();
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.gone.set(true);
            if error.kind() != ErrorKind::BrokenPipe {
                self.lost.replace(Some(error.to_string()));
            }
        }
    }
}

fn tinted(colour: bool, tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Dim => "2",
        Tone::Strong => "1",
        Tone::Warning => "33",
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Text without anything that a terminal would obey, that nobody sees or that would show it in another order than it is
/// read: such characters are written out.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(character),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The same for one line: line breaks are written out too, so that nothing can look like a line
/// of ours.
#[must_use]
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// At most `max` characters of a text, on one line.
#[must_use]
pub fn short(text: &str, max: usize) -> String {
    let line = visible_line(text);
    if line.chars().count() <= max {
        return line;
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(visible("a\u{1b}[2J\u{7}b\r\u{9b}"), "a\\u{1b}[2J\\u{7}b\\u{d}\\u{9b}");
        for hidden in "\u{202e}\u{200b}\u{2060}\u{ad}\u{fe0f}\u{2028}\u{2800}\u{3164}\u{e0041}\u{200d}".chars() {
            assert_eq!(visible(&format!("x{hidden}y")), format!("x{}y", hidden.escape_unicode()));
        }
        assert_eq!(visible("ä\n\t漢"), "ä\n\t漢");
        assert_eq!(visible_line("a\nb"), "a\\nb");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abc", 4), "abc");
    }
}
