//! What people do in a run, and when: scenarios.
use backstay_kernel::record::Mode;

use super::checks::Ending;
use super::house::Change;
use super::outside::Mood;

/// The moment of a step; a step whose moment never comes is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    Now,
    /// An effect of this name is on its way out.
    Held(&'static str),
    /// An approval, or a question, waits in this conversation.
    Asked(usize),
    Question(usize),
    /// Nothing runs.
    Quiet,
}

/// Conversations are numbered; the first word in one opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Do {
    Say {
        who: usize,
        mode: Mode,
        text: String,
    },
    Decide {
        who: usize,
        approve: bool,
    },
    /// Yes, and for as long to the very same call of any conversation, milliseconds.
    Always {
        who: usize,
        ms: u64,
    },
    /// Every such yes is taken back.
    Revoke,
    Answer {
        who: usize,
        text: String,
    },
    Cancel {
        who: usize,
    },
    /// The process ends, by a signal or by `drain`, and begins again under a changed config.
    Restart {
        clean: bool,
        change: Option<Change>,
    },
    Reload(Change),
    Freeze(bool),
    Backup,
    /// The home is lost, and goes on from its backup.
    Restore,
    /// Time passes, milliseconds.
    Pass(u64),
    /// The wall clock is set, milliseconds.
    Jump(i64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub when: When,
    pub act: Do,
}

/// What the end of a cut run is held against, besides the invariants.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// The end of the run that was not cut.
    TheSame,
    Such(fn(&Ending) -> Result<(), String>),
}

#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub changes: Vec<Change>,
    pub moods: Vec<Mood>,
    pub steps: Vec<Step>,
    pub wanted: Wanted,
}
