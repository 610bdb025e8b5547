//! The sandbox as the runtime holds it: tried before its first command, and closed where it does not hold.
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::profile::Ask;
use crate::run::{Bounds, Fault, Ran, run};
use crate::test::{Tier, test};

#[derive(Debug)]
pub struct Sandbox {
    scratch: PathBuf,
    bounds: Bounds,
    tool_dirs: Vec<String>,
    tier: OnceLock<Tier>,
}

impl Sandbox {
    /// `scratch` is a path that nobody else uses; a test makes a directory there, and removes it.
    #[must_use]
    pub fn new(scratch: PathBuf, bounds: Bounds) -> Self {
        Self { scratch, bounds, tool_dirs: Vec::new(), tier: OnceLock::new() }
    }

    /// Real directories in which the operator keeps further programs, with what these need. They are there in
    /// every sandbox, and no command writes to them.
    #[must_use]
    pub fn with_tool_dirs(mut self, tool_dirs: Vec<String>) -> Self {
        self.tool_dirs = tool_dirs;
        self
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether every attempt to get out is refused on this machine; tried once, by whoever asks first.
    ///
    /// # Errors
    /// Why no command is run, in words.
    pub fn holds(&self) -> Result<(), &str> {
        match self.tier.get_or_init(|| test(&self.scratch, self.bounds)) {
            Tier::Full => Ok(()),
            Tier::Off(why) => Err(why),
        }
    }

    /// Blocks until the command has ended, or was ended, and nothing of it is left. `hides` tells the
    /// real paths that the command must not see; `halt`, once true, ends it and all that it has started.
    ///
    /// # Errors
    /// The sandbox does not hold, could not be made, or was lost.
    pub fn run(
        &self,
        ask: &Ask,
        timeout: Duration,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
    ) -> Result<Ran, Fault> {
        self.holds().map_err(|why| Fault::NotRun(why.to_owned()))?;
        run(ask, self.bounds, &self.tool_dirs, timeout, hides, halt)
    }
}
