//! Simple commands, one after the other or joined by pipes, started without a shell: what runs are the words that
//! were judged, and the files that were named.
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fcntl_setfl, fstat, openat2};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};

use crate::init::NOT_STARTED;
use crate::program::Programs;
use crate::raw;

/// One program with its words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Simple {
    pub joint: Joint,
    /// Of its environment beside those of the whole command, before which they go.
    pub variables: BTreeMap<String, String>,
    pub argv: Vec<String>,
    /// In the order in which they are made.
    pub redirects: Vec<Redirect>,
}

impl Simple {
    /// A command of one program, whose streams lead where the command's do.
    #[must_use]
    pub fn alone(argv: Vec<String>) -> Self {
        Self { joint: Joint::Then, variables: BTreeMap::new(), argv, redirects: Vec::new() }
    }
}

/// How it hangs on the one before it; the first one's is `Then`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joint {
    /// Runs in any case.
    Then,
    /// Runs where what ran last ended well.
    And,
    /// Runs where it did not.
    Or,
    /// Runs at the same time, and reads what the one before it writes.
    Pipe,
}

/// Where a stream leads that does not lead where the whole command's does. No link on a path is followed: who judged
/// it gave the real one, and what has come to stand there since was not judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirect {
    Input(String),
    Output { path: String, is_append: bool },
    Errors { path: String, is_append: bool },
    ErrorsToOutput,
}

/// What a shell says of a redirection that cannot be made, and the base of what it says of a signal.
const NOT_REDIRECTED: i32 = 1;
const SIGNALLED: i32 = 128;
/// The one target that is no file.
pub const NOWHERE: &str = "/dev/null";

/// Runs them all, and ends as the last one that ran.
pub fn run(list: &[Simple], programs: &Programs, environment: &BTreeMap<String, String>) -> i32 {
    let (mut code, mut rest) = (0, list);
    while let Some(first) = rest.first() {
        let joined = rest.iter().skip(1).take_while(|simple| simple.joint == Joint::Pipe).count();
        let (piped, after) = rest.split_at_checked(joined.saturating_add(1)).unwrap_or((rest, &[]));
        rest = after;
        let is_due = match first.joint {
            Joint::Then | Joint::Pipe => true,
            Joint::And => code == 0,
            Joint::Or => code != 0,
        };
        if is_due {
            code = pipeline(piped, programs, environment);
        }
    }
    code
}

/// All of them at once; it has ended when all have, and as the last one did.
fn pipeline(piped: &[Simple], programs: &Programs, environment: &BTreeMap<String, String>) -> i32 {
    let pipes: std::io::Result<Vec<_>> = piped.iter().skip(1).map(|_| std::io::pipe()).collect();
    let pipes = match pipes {
        Ok(pipes) => pipes.into_iter(),
        Err(error) => {
            eprintln!("a pipe: {error}");
            return NOT_STARTED;
        }
    };
    let (readers, writers): (Vec<_>, Vec<_>) = pipes.map(|(read, write)| (Some(read), Some(write))).unzip();
    let inputs = std::iter::once(None).chain(readers);
    let outputs = writers.into_iter().chain(std::iter::once(None));
    let ends = inputs.zip(outputs);
    // No end of a pipe is left here when the last one has started: a reader sees its writers' end, and they its.
    let started: Vec<_> = piped
        .iter()
        .zip(ends)
        .map(|(simple, (input, output))| start(simple, input, output, programs, environment))
        .collect();
    let mut code = NOT_STARTED;
    for one in started {
        code = one.map_or_else(|code| code, ended);
    }
    code
}

fn ended(child: Pid) -> i32 {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let signalled = || status.terminating_signal().map(|signal| signal.saturating_add(SIGNALLED));
                return status.exit_status().or_else(signalled).unwrap_or(NOT_STARTED);
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return NOT_STARTED,
        }
    }
}

fn start(
    simple: &Simple,
    input: Option<PipeReader>,
    output: Option<PipeWriter>,
    programs: &Programs,
    environment: &BTreeMap<String, String>,
) -> Result<Pid, i32> {
    let mut streams = Streams { input: input.map(OwnedFd::from), output: output.map(OwnedFd::from), errors: None };
    for redirect in &simple.redirects {
        streams.redirect(redirect).map_err(|why| {
            eprintln!("{why}");
            NOT_REDIRECTED
        })?;
    }
    let no = |errno: Errno| {
        eprintln!("a process: {errno}");
        NOT_STARTED
    };
    if let Some(child) = raw::fork().map_err(no)? {
        return Ok(child);
    }
    let taken = streams.take().map_err(no);
    let mut environment = environment.clone();
    environment.extend(simple.variables.clone());
    std::process::exit(taken.map_or_else(|code| code, |()| programs.become_one(&simple.argv, &environment)))
}

/// Those that lead elsewhere than this process's own.
struct Streams {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
}

impl Streams {
    /// Makes them this process's own; the rest ends where it becomes a program.
    fn take(&self) -> Result<(), Errno> {
        self.input.as_ref().map_or(Ok(()), dup2_stdin)?;
        self.output.as_ref().map_or(Ok(()), dup2_stdout)?;
        self.errors.as_ref().map_or(Ok(()), dup2_stderr)
    }

    fn redirect(&mut self, redirect: &Redirect) -> Result<(), String> {
        match redirect {
            Redirect::Input(path) => self.input = Some(file(path, OFlags::RDONLY)?),
            Redirect::Output { path, is_append } => self.output = Some(written(path, *is_append)?),
            Redirect::Errors { path, is_append } => self.errors = Some(written(path, *is_append)?),
            Redirect::ErrorsToOutput => {
                let same = match &self.output {
                    Some(output) => output.try_clone(),
                    None => std::io::stdout().as_fd().try_clone_to_owned(),
                };
                self.errors = Some(same.map_err(|error| format!("2>&1: {error}"))?);
            }
        }
        Ok(())
    }
}

fn written(path: &str, is_append: bool) -> Result<OwnedFd, String> {
    let how = if is_append { OFlags::APPEND } else { OFlags::TRUNC };
    file(path, OFlags::WRONLY | OFlags::CREATE | how)
}

/// Opening blocks nobody, makes no terminal, and has no effect on what is no regular file.
fn file(path: &str, flags: OFlags) -> Result<OwnedFd, String> {
    let no = |errno: Errno| format!("{path}: {errno}");
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    let still = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat2(CWD, path, flags | still, mode, ResolveFlags::NO_SYMLINKS).map_err(no)?;
    let found = fstat(&opened).map_err(no)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile && path != NOWHERE {
        return Err(format!("{path}: not a regular file"));
    }
    // How it was opened is its reader's and its writer's too.
    fcntl_setfl(&opened, flags.intersection(OFlags::APPEND)).map_err(no)?;
    Ok(opened)
}
