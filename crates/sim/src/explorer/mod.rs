//! Exhaustive small-scope search over the pure kernel.
//!
//! A [`node::Node`] is all that matters of one session and the world around it: what is durable,
//! what is appended and not durable yet, the session in memory, what runs, and how often each
//! effect took place. From every node every move is made (`moves`), each result is checked against
//! the invariants (`checks`), and nodes seen before are dropped by their hash. Planted mutants
//! (`mutants`) show that the checks bite.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a check or a mutant is about a few records; the kernel's own matches name them all"
)]

pub mod checks;
pub mod hash;
pub mod moves;
pub mod mutants;
pub mod node;
mod people;
pub mod scope;
pub mod search;
mod unasked;
mod words;

use std::fmt;

/// What a broken transition breaks; the numbers are those of the design.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Invariant {
    /// Nothing but a pure effect starts before its intent is durable.
    I1Durable,
    /// Only what the policy, a person and the switches allow at that moment is started.
    I2Gate,
    /// No unsafe effect twice, nothing completed lost, nothing said of an effect that is not so.
    I3Once,
    /// Every call of every reply has one result, in order.
    I4Paired,
    /// Settled + reserved stay below every cap.
    I5Money,
    /// The fold of the records is the session.
    I6Fold,
    /// A label never rises in trust or falls in confidentiality, and what enters a context is in it.
    I7Label,
    /// Every session ends its turn or waits for something that has a name.
    I10NamedWait,
    /// A message is admitted once and none is lost.
    I11Message,
    /// A reply goes where its message came from.
    I12Route,
    /// A turn ends once.
    OneEnd,
    /// The completion list holds every call of the turn once.
    Completion,
    /// The outcome of another start changes nothing.
    Stale,
    /// What the person's own words want is planned once, and nothing beyond it, or beyond its task, goes unasked.
    Scope,
    /// One message is worth one mail that nobody was asked about, in whatever form.
    Warrant,
    /// What a name stands for is looked up once for a call, which waits for it.
    Lookup,
    /// A yes for longer than once is to one call, and over at its end or when it is taken back.
    Standing,
    /// People are asked one thing at a time, not too often, not again, and not for ever.
    Asks,
    /// Advance falls silent.
    Bound,
}

/// A broken invariant, and the way there.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub detail: String,
    pub path: Vec<String>,
}

impl Violation {
    #[must_use]
    pub fn new(invariant: Invariant, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into(), path: Vec::new() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.invariant, self.detail)?;
        self.path.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}
