//! What a shell command is, before anything runs: from its bytes to the argv of each simple command and to
//! facts about it (program, effect class, paths), or to the reason why it cannot be known. Pure: no process,
//! no file, no environment, no clock.
//!
//! This decides who must be asked, never what is contained: containment is the sandbox's, which stands for
//! commands of every kind. What is not known by name here, down to each option, is opaque.
mod bytes;
mod display;
mod grammar;
mod limits;
mod options;
mod spec;
#[cfg(test)]
mod tests;
mod words;

pub use display::quoted;

pub use backstay_kernel::tool::EffectClass;
use thiserror::Error;

/// What a command turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Known to the last word; the argv can be run as it stands, without a shell.
    Plain(Plain),
    /// May be harmless; nothing is known about it. Only a shell in a sandbox can run it.
    Opaque(Opaque),
    /// Not to be run and not to be asked about.
    Refused(Refused),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// In order, at least one.
    pub commands: Vec<Simple>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    pub joint: Joint,
    /// Set for this program alone.
    pub variables: Vec<Variable>,
    /// At least the program.
    pub argv: Vec<Word>,
    /// In the order in which they are to be made.
    pub redirects: Vec<Redirect>,
    pub facts: Facts,
}

/// A variable of a program's environment whose name is known to do no harm, with a value of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: String,
}

/// How a simple command hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    First,
    /// `;` or a line's end: runs in any case.
    Then,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`: reads what the one before it writes.
    Pipe,
}

/// A word without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// `*`, `?` and `[…]` in it stand for names of files. Only whoever runs the command can tell which; a name
    /// that begins with `-` has to be given as `./-…` then, or it becomes an option.
    pub is_glob: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// `< PATH`
    Input(String),
    /// `> PATH`, `>> PATH`, `2> PATH`, `2>> PATH`
    Output { stream: Stream, is_append: bool, path: String },
    /// `2>&1`
    ErrorsToOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Errors,
}

/// What one simple command does, redirections included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The program that runs the other one: `timeout` in `timeout 5 ls`. Both need a grant.
    pub wrapper: Option<String>,
    pub program: String,
    pub subcommand: Option<String>,
    /// Read, write or execute.
    pub class: EffectClass,
    /// As written, relative to where the command runs; never empty words.
    pub reads: Vec<Word>,
    pub writes: Vec<Word>,
    /// Packages that it names, as written. Files that it reads may name others.
    pub packages: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Opaque {
    #[error("the shell's grammar does not take it")]
    Grammar,
    #[error("`{0}` is more than simple commands joined by `|`, `&&`, `||`, `;`")]
    Construct(String),
    #[error("`{0}` is not a word that stands for itself")]
    Expansion(String),
    #[error("`{0}` is a redirection other than `<`, `>`, `>>`, `2>`, `2>&1` with a path")]
    Redirection(String),
    #[error("`{0}` is not a bare name of a program")]
    Name(String),
    #[error("nothing is known about the program `{0}`")]
    Program(String),
    #[error("nothing is known about `{program} {word}`")]
    Word { program: String, word: String },
    #[error("`{program}` is not known with so few or so many words")]
    Count { program: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("the command is empty")]
    Empty,
    #[error(
        "the command has {bytes} bytes; at most {} are read: put it into a file and run that",
        limits::COMMAND_BYTES_MAX
    )]
    TooLong { bytes: usize },
    #[error("the command is not UTF-8")]
    NotUtf8,
    #[error("the command holds the character U+{code:04X}, which cannot be seen: write it without")]
    Character { code: u32 },
    #[error("a simple command has more than {} words: put it into a file and run that", limits::WORDS_MAX)]
    TooManyWords,
    #[error("the command joins more than {} simple commands: put it into a file and run that", limits::COMMANDS_MAX)]
    TooManyCommands,
}

/// Why a reading ended before a plain one.
enum Stop {
    Opaque(Opaque),
    Refused(Refused),
}

impl From<Opaque> for Stop {
    fn from(reason: Opaque) -> Self {
        Self::Opaque(reason)
    }
}

impl From<Refused> for Stop {
    fn from(reason: Refused) -> Self {
        Self::Refused(reason)
    }
}

impl Facts {
    /// Each program that it starts, with its subcommand where it has one: of `timeout 5 git log -p` these are
    /// `timeout` and `git log`.
    pub fn commands(&self) -> impl Iterator<Item = String> {
        let named = self.subcommand.iter().fold(self.program.clone(), |name, words| format!("{name} {words}"));
        self.wrapper.clone().into_iter().chain([named])
    }
}

/// The same of words that are run as they stand; `None` where they are not known to the last one.
#[must_use]
pub fn commands(argv: &[String]) -> Option<Vec<String>> {
    let words: Vec<Word> = argv.iter().map(|text| Word { text: text.clone(), is_glob: false }).collect();
    options::of_argv(&words).ok().map(|facts| facts.commands().collect())
}

/// Whether a program by its name alone is all that commands with it are named by.
#[must_use]
pub fn stands_alone(program: &str) -> bool {
    spec::stands_alone(program)
}

/// Reads a command; the first step that says no decides.
#[must_use]
pub fn read(command: &[u8]) -> Reading {
    match plain(command) {
        Ok(plain) => Reading::Plain(plain),
        Err(Stop::Opaque(reason)) => Reading::Opaque(reason),
        Err(Stop::Refused(reason)) => Reading::Refused(reason),
    }
}

fn plain(command: &[u8]) -> Result<Plain, Stop> {
    let text = bytes::check(command)?;
    let tokens = words::tokens(text)?;
    let simples = grammar::simples(&tokens)?;
    let known = simples.into_iter().map(|mut simple| {
        let facts = options::facts(&mut simple)?;
        let grammar::Parsed { joint, variables, argv, redirects } = simple;
        Ok(Simple { joint, variables, argv, redirects, facts })
    });
    Ok(Plain { commands: known.collect::<Result<_, Opaque>>()? })
}

impl Plain {
    /// The strictest class of all its commands.
    #[must_use]
    pub fn class(&self) -> EffectClass {
        self.commands.iter().map(|command| command.facts.class).max().unwrap_or(EffectClass::Execute)
    }

    pub fn reads(&self) -> impl Iterator<Item = &Word> {
        self.commands.iter().flat_map(|command| &command.facts.reads)
    }

    pub fn writes(&self) -> impl Iterator<Item = &Word> {
        self.commands.iter().flat_map(|command| &command.facts.writes)
    }

    /// A text made from the argv and its variables alone; read again, it gives the same ones.
    #[must_use]
    pub fn display(&self) -> String {
        display::of(self)
    }
}
