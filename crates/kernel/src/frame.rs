//! All that a decision may see besides the session.
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::budget::WindowState;
use crate::id::{Boot, Millis};
use crate::mode::WorkMode;
use crate::policy::Policy;
use crate::reached::Places;
use crate::standing::Standing;

/// The home's switches as they stand now, read at every decision and at the last look; never copied
/// into a session or a permit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Switches {
    /// Nothing starts.
    pub frozen: bool,
    /// The process is going away: nothing starts, nothing is lost.
    pub draining: bool,
    /// The strictest that holds for the session.
    pub mode: WorkMode,
}

impl Switches {
    #[must_use]
    pub fn hold(self) -> bool {
        self.frozen || self.draining
    }
}

/// How many effects more may start now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    pub model: u32,
    pub tool: u32,
}

#[derive(Clone, Debug)]
pub struct Frame<'a> {
    pub now: Millis,
    pub boot: Boot,
    pub policy: &'a Policy,
    pub switches: Switches,
    pub slots: Slots,
    /// Every ledger window that this session's calls must fit in, as of now.
    pub allowance: Vec<WindowState>,
    /// What people have said yes to for longer than once, of this session's agent.
    pub standing: Vec<Standing>,
    /// Where the calls of this session's agent have been.
    pub reached: Arc<Places>,
}
