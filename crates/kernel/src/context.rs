//! What the model is shown: the items of a session's window, and the fixed texts of the runtime.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::facts::Invalid;
use crate::id::BodyRef;
use crate::label::Label;
use crate::mode::WorkMode;
use crate::rule::RuleVerdict;

/// One item of the context. A reply that calls tools is always followed by its `Results` (I4).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    User {
        body: BodyRef,
        label: Label,
    },
    Assistant {
        text: Option<BodyRef>,
        calls: Option<BodyRef>,
    },
    /// One answer for every call of the reply before it, in its order.
    Results {
        calls: BodyRef,
        answers: Vec<Answer>,
    },
    Notice(Notice),
}

impl Item {
    /// Bytes of the bodies that it brings to a request.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::User { body, .. } => u64::from(body.bytes),
            Self::Assistant { text, calls } => [text, calls].into_iter().flatten().map(|b| u64::from(b.bytes)).sum(),
            Self::Results { answers, .. } => answers.iter().map(Answer::bytes).sum(),
            Self::Notice(notice) => notice.text().len() as u64,
        }
    }
}

/// What a call is answered with.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// `warned`: the runtime adds that this call was made before with the same result.
    Body {
        body: BodyRef,
        warned: bool,
    },
    Note(Note),
    /// To the first of these calls, which somebody put in the place of the model's.
    Edited {
        calls: BodyRef,
        answer: Box<Answer>,
    },
}

impl Answer {
    fn bytes(&self) -> u64 {
        match self {
            Self::Edited { calls, answer } => {
                let told = EDITED_BEFORE.len() + EDITED_AFTER.len();
                u64::from(calls.bytes).saturating_add(told as u64).saturating_add(answer.bytes())
            }
            Self::Body { body, .. } => u64::from(body.bytes),
            Self::Note(note) => {
                let detail = if let Note::Invalid { detail: Some(detail), .. } = note { detail.bytes } else { 0 };
                (note.text().len() as u64).saturating_add(u64::from(detail))
            }
        }
    }
}

/// An answer that the runtime gives in place of the tool.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    NotGranted,
    /// By the rule of this name.
    Denied(String),
    /// By a limit of the rule of this name.
    Limited(String),
    /// By a switch; without it the call would have been made or asked about.
    HeldBack {
        mode: WorkMode,
        would: RuleVerdict,
    },
    /// A person said no.
    Refused,
    /// A person said no to the same call before, in this task.
    RefusedBefore,
    /// Nobody answered the ask in time.
    Expired,
    Invalid {
        why: Invalid,
        detail: Option<BodyRef>,
    },
    Repeated,
    TooMany,
    NotStarted,
    /// Cancelled or timed out after it had started.
    Unknown,
    ConcludedDone,
    ConcludedNotDone,
}

impl Note {
    /// Part of the stored format of requests: a changed text is a new variant.
    #[must_use]
    pub fn text(&self) -> String {
        let fixed = match self {
            Self::Denied(rule) => {
                return format!(
                    "Refused: the rule \"{rule}\" does not allow this call. Do not try it again in this form."
                );
            }
            Self::Limited(rule) => {
                return format!(
                    "Refused: the limit of the rule \"{rule}\" is used up for now. Go on without this call or say what is missing."
                );
            }
            Self::Invalid { why, .. } => match why {
                Invalid::UnknownTool => "Error: there is no tool of this name. Use only the tools that you were given.",
                Invalid::BadArguments => "Error: the arguments do not fit the tool's schema. Nothing was done.",
                Invalid::OutsideGrants => "Error: this path is outside of the directories that you may use.",
                Invalid::NotFound => "Error: there is no such file or directory.",
                Invalid::WrongKind => "Error: the path is not of the kind that this tool works on.",
                Invalid::NoMatch => "Error: the old text does not stand in the file exactly once. Nothing was changed.",
                Invalid::TooLarge => "Error: the file is larger than this tool's limit.",
                Invalid::NoSandbox => "Error: commands are not possible here.",
                Invalid::Unreadable => "Error: the operating system refused to open it.",
            },
            Self::HeldBack { mode: WorkMode::DryRun, would: RuleVerdict::Allow } => {
                "Dry run: nothing was done. The call was checked, and would have been made as it stands. Go on as if it had been, and say in your reply that this was a dry run."
            }
            Self::HeldBack { mode: WorkMode::DryRun, .. } => {
                "Dry run: nothing was done. The call was checked, and a person would have been asked before it. Go on as if it had been made, and say in your reply that this was a dry run."
            }
            Self::HeldBack { mode: WorkMode::ReadOnly | WorkMode::Normal, .. } => {
                "Refused: an operator has switched to read-only, so nothing was done. Go on with what reading can tell, or say what is missing."
            }
            Self::NotGranted => "Refused: this agent has no grant for this call.",
            Self::Refused => {
                "Refused: a person denied this call. Do not ask for it again; go on without it or say what is missing."
            }
            Self::RefusedBefore => {
                "Refused: a person has denied this very call before, and was not asked again. Go on without it or say what is missing."
            }
            Self::Expired => {
                "Refused: nobody approved this call in time. Do not ask for it again; go on without it or say what is missing."
            }
            Self::Repeated => {
                "Not run: the same call was made before, with the same result each time. Do something else, or finish."
            }
            Self::TooMany => "Not run: too many calls in one reply.",
            Self::NotStarted => "Not run: the turn ended before this call was started.",
            Self::Unknown => "Cancelled or cut off; whether it happened is unknown. Check before doing it again.",
            Self::ConcludedDone => "Done. Its output was lost in a restart.",
            Self::ConcludedNotDone => "Not done: it was cut off by a restart before it happened.",
        };
        String::from(fixed)
    }
}

/// What is added to an answer that the loop detector warns about.
pub const REPEAT_WARNING: &str =
    "\n[runtime: this is the third time that this exact call gave this exact result; a further repeat will not be run]";

/// What is said before the answer to a call that was edited, around the arguments that it has.
pub const EDITED_BEFORE: &str =
    "[runtime: whoever was asked about this call changed its arguments; what follows is the answer to the call with ";
pub const EDITED_AFTER: &str = "]\n";

/// A word of the runtime between the messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Older items fell out of the window.
    Windowed,
    /// The home was restored from a backup.
    Restored,
    /// Calls have failed or were refused, one after another, and their turn ends if that goes on.
    Failing,
    /// An effect whose outcome was unknown when its turn ended is now known.
    LaterTruth { done: bool },
}

impl Notice {
    /// Part of the stored format of requests: a changed text is a new variant.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::Windowed => "[runtime: earlier messages of this conversation are no longer shown]",
            Self::Restored => {
                "[runtime: this conversation was restored from a backup; whatever was done after that backup is not known here]"
            }
            Self::Failing => {
                "[runtime: the latest calls, ten or more in a row, all failed or were refused; after twenty the turn ends. Do something else, or finish and say what is missing]"
            }
            Self::LaterTruth { done: true } => "[runtime: a call reported as unknown before has turned out to be done]",
            Self::LaterTruth { done: false } => {
                "[runtime: a call reported as unknown before has turned out not to be done]"
            }
        }
    }
}
