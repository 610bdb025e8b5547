//! What a tool call *is*, computed by typed code outside the kernel from the handle that the call
//! would use. Facts decide; arguments as the model wrote them never do.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::destination::{Destination, Reachable};
use crate::git::Git;
use crate::id::Digest;
use crate::tool::EffectClass;
use crate::words::Atom;

/// Which grant a path must lie under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    Write,
}

/// A real path: what the kernel of the operating system calls the opened object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathFact {
    pub access: Access,
    pub real: String,
    /// The call would write there though other programs act by it, and no sandbox undoes that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub protected: bool,
}

impl PathFact {
    #[must_use]
    pub fn new(access: Access, real: String) -> Self {
        Self { access, real, protected: false }
    }
}

/// Digests of a file before and after a write, so that a later run can tell whether it happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `None`: there was no file.
    pub before: Option<Digest>,
    pub after: Digest,
}

/// A file that a program's name means: its real path, and what was in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFile {
    pub real: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// How well a command is held by the kernel of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Every attempt to get out of the sandbox was made on this machine, and refused.
    Full,
    /// The same where the machine gives no namespaces: another user, on copies, so that no file is changed.
    Copy,
}

impl Tier {
    pub const ALL: [Self; 2] = [Self::Full, Self::Copy];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Copy => "copy",
        }
    }
}

/// What is known of the programs that a call starts. What these start by themselves is no part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starts {
    /// There may be others: a shell reads the command, or a server runs.
    #[default]
    Unknown,
    /// There are no others.
    Programs,
    /// There are no others, and each stands with its subcommand where it has one: `ls`, `git status`.
    Commands,
}

impl Starts {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    pub class: EffectClass,
    /// Whether what it does can be taken back, where its class alone does not tell; `None`: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversible: Option<bool>,
    pub paths: Vec<PathFact>,
    pub probe: Option<Probe>,
    /// It may touch other paths besides, which nobody can name beforehand: rules then know of none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more_paths: bool,
    /// Bytes that it would write or send, where that is known; a call that only reads puts out none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Programs of the machine that the call starts by itself: their names, before their subcommands where these
    /// are known.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub programs: Box<[String]>,
    /// Of all of them.
    #[serde(default, skip_serializing_if = "Starts::is_unknown")]
    pub starts: Starts,
    /// Their files, as they were when the call was judged.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub files: Box<[ProgramFile]>,
    /// The sandbox that the call would run in; a call without one runs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Where it goes on the network; a call without one goes nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// Places that it may reach on the network while it runs; a command without any has no network.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub network: Box<[Reachable]>,
    /// Packages that its words ask for there, with versions and addresses as they are written. Files that it reads
    /// may name others.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub packages: Box<[String]>,
    /// What it does with the repository there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Box<Git>>,
    /// All that was declared of a tool that is not built in, so that no yes outlives a change of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Box<Digest>>,
    /// To whom it goes and how much it is, of a tool that is not built in and is told something of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressed: Option<Box<Addressed>>,
}

/// Whom a call reaches and what it pays.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addressed {
    /// Addresses, accounts, amounts, numbers, URLs and hosts; of what sends or pays also ids, and what picks one of
    /// several things, after the name of its argument.
    pub values: Vec<Atom>,
    /// There may be others besides, in a form that nobody can read: rules then know of none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The name of a program that may stand before its subcommand.
#[must_use]
pub fn program_of(command: &str) -> &str {
    command.split_once(' ').map_or(command, |(program, _)| program)
}

impl Facts {
    /// Of a call of this class that touches these paths and of which nothing more is known.
    #[must_use]
    pub fn new(class: EffectClass, paths: Vec<PathFact>) -> Self {
        Self {
            class,
            reversible: None,
            paths,
            probe: None,
            more_paths: false,
            bytes_out: None,
            programs: Box::default(),
            starts: Starts::Unknown,
            files: Box::default(),
            tier: None,
            destination: None,
            network: Box::default(),
            packages: Box::default(),
            git: None,
            declared: None,
            addressed: None,
        }
    }

    /// Whether a process of its own does what the call does.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.tier.is_some() || !self.programs.is_empty() || self.class == EffectClass::Execute
    }

    /// A shell reads what it does, so that nobody can tell which values are in it.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.runs() && self.starts == Starts::Unknown && self.declared.is_none()
    }

    /// Known to stay as it is once it was done: it deletes, pays or gives a permission, say.
    #[must_use]
    pub fn stays_done(&self) -> bool {
        self.class.reversible(self.reversible) == Some(false)
    }

    /// What stays the same of a call that is made again: not what was in the files that it touches or starts,
    /// which anybody may have changed in between.
    #[must_use]
    pub fn lasting(&self) -> Digest {
        Self { probe: None, files: Box::default(), ..self.clone() }.digest()
    }

    /// Binds verdicts, approvals and permits to exactly these facts.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_string(self).unwrap_or_default();
        Digest::of("backstay facts v1", &[text.as_bytes()])
    }
}

/// Why a call cannot be made at all; the model is told, nothing else happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// No such tool is offered to this agent.
    UnknownTool,
    /// The arguments are no JSON object, or do not fit the tool's schema.
    BadArguments,
    /// The path leaves every granted directory, or is no path.
    OutsideGrants,
    NotFound,
    /// The path is there and is not what the tool works on (a directory for `read_file`, say).
    WrongKind,
    /// The operating system offers no sandbox that holds, so no command is run.
    NoSandbox,
    /// `edit_file`: the old text is not there exactly once.
    NoMatch,
    /// The file is larger than the tool's limit.
    TooLarge,
    /// The operating system refused (permission, I/O error).
    Unreadable,
}
