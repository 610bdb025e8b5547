//! The sandbox as the runtime holds it: tried before its first command, and closed where it does not hold.
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::hold::Held;
use crate::noted;
use crate::profile::{Ask, Reach, path};
use crate::program::Program;
use crate::run::{Bounds, Fault, Place, Ran, run, run_on_copies};
use crate::test::{Tier, Tried, test};
use crate::workplace::Workplace;

/// Of what only the first tier does.
const NO_NAMESPACES: &str = "this machine gives commands no namespaces (tier `copy`): they have no network, no \
    server of tools is started, and git fetches and pushes nothing";

#[derive(Debug)]
pub struct Sandbox {
    scratch: PathBuf,
    bounds: Bounds,
    tool_dirs: Vec<String>,
    caches: Option<String>,
    renamed: Mutex<Vec<String>>,
    /// As far as it is known.
    tried: Mutex<Option<Tried>>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        noted::close(&self.scratch);
    }
}

impl Sandbox {
    /// `scratch` is a path that nobody else uses; a test makes a directory there, and removes it.
    #[must_use]
    pub fn new(scratch: PathBuf, bounds: Bounds) -> Self {
        Self {
            scratch,
            bounds,
            tool_dirs: Vec::new(),
            caches: None,
            renamed: Mutex::default(),
            tried: Mutex::new(None),
        }
    }

    /// Real directories in which the operator keeps further programs, with what these need. They are there in
    /// every sandbox, and no command writes to them.
    #[must_use]
    pub fn with_tool_dirs(mut self, tool_dirs: Vec<String>) -> Self {
        self.tool_dirs = tool_dirs;
        self
    }

    /// A directory for [`Ask::caches`].
    #[must_use]
    pub fn with_caches(mut self, caches: Option<String>) -> Self {
        self.caches = caches;
        self
    }

    /// That directory, of a command that may write where it lies. Copies do not last: there is none for them.
    #[must_use]
    pub fn caches(&self, reach: &Reach) -> Option<String> {
        let caches = self.caches.as_ref()?;
        let is_reached = reach.write.iter().any(|root| Path::new(caches).starts_with(root));
        (is_reached && self.holds() == Ok(Tier::Full)).then(|| caches.clone())
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether every attempt to get out is refused on this machine; tried by whoever asks first, and again where that
    /// could not be told.
    ///
    /// # Errors
    /// Why no command is run, in words.
    pub fn holds(&self) -> Result<Tier, String> {
        match self.tried() {
            Tried::Full => Ok(Tier::Full),
            Tried::Copy(_) => Ok(Tier::Copy),
            Tried::Off(why) | Tried::Unknown(why) => Err(why),
        }
    }

    /// The same of what needs more than copies.
    ///
    /// # Errors
    /// Why it is not run, in words.
    pub fn holds_in_full(&self) -> Result<(), String> {
        match self.holds()? {
            Tier::Full => Ok(()),
            Tier::Copy => Err(NO_NAMESPACES.to_owned()),
        }
    }

    /// Protected names that were taken out of use when it was tried: of commands that were cut off with the runtime.
    #[must_use]
    pub fn renamed(&self) -> Vec<String> {
        self.renamed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn place(&self) -> Place<'_> {
        Place { bounds: self.bounds, tool_dirs: &self.tool_dirs, scratch: &self.scratch }
    }

    /// What was found, with why it is no more than that.
    #[must_use]
    pub fn tried(&self) -> Tried {
        let mut known = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tried) = known.as_ref() {
            return tried.clone();
        }
        let renamed = noted::begin(&self.scratch);
        self.renamed.lock().unwrap_or_else(PoisonError::into_inner).extend(renamed);
        let tried = test(&self.scratch.join("test"), self.bounds);
        noted::close(&self.scratch);
        if !matches!(tried, Tried::Unknown(_)) {
            *known = Some(tried.clone());
        }
        tried
    }

    /// Blocks until the command has ended, or was ended, and nothing of it is left. `hides` tells the
    /// real paths that the command must not see; `halt`, once true, ends it and all that it has started. Without an
    /// `exit` it has no network.
    ///
    /// # Errors
    /// The sandbox does not hold, could not be made, or was lost.
    pub fn run(
        &self,
        ask: &Ask,
        timeout: Duration,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
        exit: Option<&Exit<'_>>,
    ) -> Result<Ran, Fault> {
        match (self.holds().map_err(Fault::NotRun)?, exit) {
            (Tier::Full, _) => run(ask, self.place(), timeout, hides, halt, exit),
            (Tier::Copy, None) => run_on_copies(ask, self.bounds, &self.tool_dirs, timeout, hides, halt),
            (Tier::Copy, Some(_)) => Err(Fault::NotRun(NO_NAMESPACES.to_owned())),
        }
    }

    /// Starts a command that stays until it is dropped, and works at once; it waits at most until `until` for its
    /// directories.
    ///
    /// # Errors
    /// The sandbox does not hold, or could not be made.
    pub fn hold(
        &self,
        ask: &Ask,
        until: Instant,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
    ) -> Result<Held, Fault> {
        self.holds_in_full().map_err(Fault::NotRun)?;
        Held::start(ask, self.place(), until, hides, halt)
    }

    /// A directory of the runtime's own that one command may be given; it goes when it is dropped.
    ///
    /// # Errors
    /// The sandbox does not hold, or the directory cannot be made.
    pub fn workplace(&self) -> Result<Workplace, String> {
        // Whoever tries the sandbox begins by removing what an earlier process left here.
        self.holds()?;
        Workplace::new(&self.scratch).map_err(|error| format!("no place to work in can be made: {error}"))
    }

    /// What these names mean now. A name that means nothing is left out.
    ///
    /// # Errors
    /// A file that cannot be run as a known program, in words.
    pub fn find<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<Vec<Program>, String> {
        names.into_iter().filter_map(|name| Program::find(name, &self.tool_dirs).transpose()).collect()
    }

    /// The directories in which the operator keeps further programs.
    #[must_use]
    pub fn tool_dirs(&self) -> &[String] {
        &self.tool_dirs
    }

    /// The file that a program's name means.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        path(&self.tool_dirs).map(|directory| PathBuf::from(directory).join(name)).find(|path| path.is_file())
    }
}
