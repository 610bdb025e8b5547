//! What a call is: the facts for the gate, and with them the open handles that the call would use,
//! so that what is judged and what is done are the same thing.
use std::fs::File;
use std::os::fd::OwnedFd;

use backstay_kernel::effect::Probed;
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact, Probe};
use backstay_kernel::id::Digest;
use backstay_kernel::tool::EffectClass;
use regex::bytes::Regex;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::arguments::{Call, EditFile, ReadOutput, WriteFile};
use crate::command::{self, Run};
use crate::fetch::{self, Sent};
use crate::git::{self, Fetch, Push};
use crate::open::{self, contents, regular};
use crate::place::{Place, child};
use crate::read::Page;
use crate::roots::Roots;
use crate::serve::ServerCall;
use crate::text::{cut, plain};
use crate::{limits, write};

/// Why a call is no call: the model is told `detail`, and nothing else happens.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    pub why: Invalid,
    pub detail: String,
}

impl Refused {
    pub(crate) fn new(why: Invalid, detail: impl AsRef<str>) -> Self {
        Self { why, detail: cut(detail.as_ref(), limits::DETAIL_BYTES_MAX).to_owned() }
    }
}

/// Says what a call is; reads, and changes nothing.
///
/// # Errors
/// Why it is no call.
pub fn inspect(roots: &Roots, tool: &str, arguments: &str) -> Result<Facts, Refused> {
    prepare(roots, tool, arguments).map(|prepared| prepared.facts)
}

/// Tells whether a write that was started, and whose process died, happened. Where that cannot be
/// seen the answer is `Neither`, and a person decides.
#[must_use]
pub fn probe(roots: &Roots, tool: &str, arguments: &str, facts: &Facts) -> Probed {
    let (Ok(call), Some(probe)) = (Call::parse(tool, arguments), facts.probe) else {
        return Probed::Neither;
    };
    let path = match &call {
        Call::WriteFile(call) => &call.path,
        Call::EditFile(call) => &call.path,
        Call::ReadFile(_)
        | Call::ListDir(_)
        | Call::SearchFiles { .. }
        | Call::Remember(_)
        | Call::Recall(_)
        | Call::RunCommand(_)
        | Call::ReadOutput(_)
        | Call::HttpRequest(_)
        | Call::WebFetch(_)
        | Call::GitFetch(_)
        | Call::GitPush(_)
        | Call::AskHuman => return Probed::Neither,
    };
    let Ok(place) = roots.place(path) else { return Probed::Neither };
    let judged = |fact: &PathFact| fact.access == Access::Write && fact.real == place.real;
    if !facts.paths.iter().any(judged) {
        return Probed::Neither;
    }
    let Ok(existing) = Existing::at(roots, &place, path) else { return Probed::Neither };
    let now = existing.map(|existing| digest(&existing.bytes));
    if now == Some(probe.after) {
        Probed::Done
    } else if now == probe.before {
        Probed::NotDone
    } else {
        Probed::Neither
    }
}

/// A call that could be made now.
#[derive(Debug)]
pub struct Prepared {
    pub facts: Facts,
    pub action: Action,
}

/// What the call would do, with what it would do it to.
#[derive(Debug)]
pub enum Action {
    Read { file: File, page: Page },
    Write(Box<Write>),
    List { dir: OwnedFd },
    Search { start: Start, real: String, pattern: Regex },
    Remember { text: String },
    Recall { query: String },
    AskHuman,
    Run(Box<Run>),
    ReadOutput(ReadOutput),
    Send(Box<Sent>),
    Fetch(Box<Fetch>),
    Push(Box<Push>),
    Serve(Box<ServerCall>),
}

#[derive(Debug)]
pub struct Write {
    /// As the model named it.
    pub path: String,
    pub place: Place,
    pub existing: Option<Existing>,
    pub content: Vec<u8>,
}

/// Where a search begins.
#[derive(Debug)]
pub enum Start {
    File(File),
    Directory(OwnedFd),
}

/// The file that a write replaces.
#[derive(Debug)]
pub struct Existing {
    pub bytes: Vec<u8>,
    pub stat: Stat,
}

impl Existing {
    /// # Errors
    /// Why what is there cannot be replaced.
    pub fn at(roots: &Roots, place: &Place, path: &str) -> Result<Option<Self>, Refused> {
        if !place.missing.is_empty() {
            return Ok(None);
        }
        let fd = match child(&place.dir, &place.name, OFlags::NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let detail = format!("`{}` is a symbolic link; write to the file itself", plain(path));
                return Err(Refused::new(Invalid::WrongKind, detail));
            }
            other => other.map_err(|e| open::refused(e, path))?,
        };
        roots.own()?.refuse(&fd, path)?;
        let (mut file, stat) = regular(fd, path)?;
        Ok(Some(Self { bytes: contents(&mut file, path)?, stat }))
    }
}

/// Opens everything that a call needs, and derives its facts from what was opened.
pub fn prepare(roots: &Roots, tool: &str, arguments: &str) -> Result<Prepared, Refused> {
    if let Some(declared) = roots.declared(tool) {
        return declared.prepare(roots, arguments);
    }
    match Call::parse(tool, arguments)? {
        Call::ReadFile(call) => {
            let (fd, real) = roots.open_read(&call.path, OFlags::empty())?;
            let (file, _) = regular(fd, &call.path)?;
            let page = Page { offset: call.offset, limit: call.limit };
            Ok(reading(real, Action::Read { file, page }))
        }
        Call::ListDir(call) => {
            let (dir, real) = roots.open_read(&call.path, OFlags::DIRECTORY)?;
            Ok(reading(real, Action::List { dir }))
        }
        Call::SearchFiles { pattern, path } => {
            let (fd, real) = roots.open_read(&path, OFlags::empty())?;
            let start = if open::kind(&open::stat(&fd, &path)?) == FileType::Directory {
                Start::Directory(fd)
            } else {
                Start::File(regular(fd, &path)?.0)
            };
            Ok(reading(real.clone(), Action::Search { start, real, pattern }))
        }
        Call::WriteFile(call) => prepare_write(roots, call),
        Call::EditFile(call) => prepare_edit(roots, &call),
        Call::Remember(call) => {
            let facts = Facts { bytes_out: bytes(&call.text), ..Facts::new(EffectClass::Write, Vec::new()) };
            Ok(Prepared { facts, action: Action::Remember { text: call.text } })
        }
        Call::Recall(call) => Ok(looking(Action::Recall { query: call.query })),
        Call::AskHuman => Ok(looking(Action::AskHuman)),
        Call::ReadOutput(call) => Ok(looking(Action::ReadOutput(call))),
        Call::RunCommand(call) => command::prepare(roots, &call),
        Call::HttpRequest(call) => fetch::request(roots, call),
        Call::WebFetch(call) => fetch::page(roots, &call.url),
        Call::GitFetch(call) => git::prepare_fetch(roots, &call),
        Call::GitPush(call) => git::prepare_push(roots, call),
    }
}

fn prepare_write(roots: &Roots, call: WriteFile) -> Result<Prepared, Refused> {
    let place = roots.place(&call.path)?;
    let existing = writable(roots, &place, &call.path)?;
    let content = call.content.into_bytes();
    let paths = vec![PathFact::new(Access::Write, place.real.clone())];
    // Whether what it replaces is kept anywhere nobody knows.
    Ok(writing(paths, None, Write { path: call.path, place, existing, content }))
}

fn prepare_edit(roots: &Roots, call: &EditFile) -> Result<Prepared, Refused> {
    let place = roots.place(&call.path)?;
    // Whether the old text is there tells something of the content: an edit reads, too.
    roots.check_under(Access::Read, &call.path, &place.real)?;
    let existing = writable(roots, &place, &call.path)?;
    let Some(was) = &existing else { return Err(open::refused(Errno::NOENT, &call.path)) };
    let content = write::edited(&was.bytes, call)?.into_bytes();
    let paths = [Access::Read, Access::Write].map(|access| PathFact::new(access, place.real.clone())).to_vec();
    // Both texts stand in the call.
    Ok(writing(paths, Some(true), Write { path: call.path.clone(), place, existing, content }))
}

/// What is there; a file that its owner may not write is not to be replaced by a rename either.
fn writable(roots: &Roots, place: &Place, path: &str) -> Result<Option<Existing>, Refused> {
    let existing = Existing::at(roots, place, path)?;
    if existing.as_ref().is_some_and(|existing| existing.stat.st_mode & 0o200 == 0) {
        return Err(Refused::new(Invalid::Unreadable, format!("`{}` is read-only", plain(path))));
    }
    Ok(existing)
}

fn reading(real: String, action: Action) -> Prepared {
    let paths = vec![PathFact::new(Access::Read, real)];
    Prepared { facts: Facts::new(EffectClass::Read, paths), action }
}

/// At no file.
fn looking(action: Action) -> Prepared {
    Prepared { facts: Facts::new(EffectClass::Read, Vec::new()), action }
}

fn writing(paths: Vec<PathFact>, reversible: Option<bool>, write: Write) -> Prepared {
    let before = write.existing.as_ref().map(|existing| digest(&existing.bytes));
    let probe = Some(Probe { before, after: digest(&write.content) });
    let paths = paths.into_iter().map(told).collect();
    let bytes_out = bytes(&write.content);
    let facts = Facts { probe, reversible, bytes_out, ..Facts::new(EffectClass::Write, paths) };
    Prepared { facts, action: Action::Write(Box::new(write)) }
}

/// A path that a call names, with whether it would write there though other programs act by it.
pub fn told(path: PathFact) -> PathFact {
    let protected = path.access == Access::Write && backstay_sandbox::is_acted_by(&path.real);
    PathFact { protected, ..path }
}

/// What a write leaves behind, in bytes.
fn bytes(content: impl AsRef<[u8]>) -> Option<u64> {
    u64::try_from(content.as_ref().len()).ok()
}

/// SHA-256 of a file's bytes, as `sha256sum` prints it.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
