//! The limits of tidy and its one table of exceptions.

/// Lines of a source file without its tests: what can be read in one sitting.
pub const FILE_LINES_MAX: usize = 600;

/// Lines of a test module inside the file that it tests; longer ones get a file of their own.
pub const INLINE_TEST_LINES_MAX: usize = 150;

pub struct Exception {
    pub path: &'static str,
    /// Exactly as long as the file is: a file that shrinks takes its row along, and none grows.
    pub lines: usize,
    pub reason: &'static str,
}

pub const EXCEPTIONS: &[Exception] = &[];

/// The only places where `unsafe` may stand: the sandbox, one call of the allocator, the wiping of variables,
/// and, for development only, the failing disk beneath SQLite, whose interface is C.
pub const UNSAFE: &[&str] = &[
    "crates/sandbox/src/raw.rs",
    "crates/app/src/heap.rs",
    "crates/secrets/src/environment.rs",
    "crates/sim/src/disk/vfs.rs",
];

/// Where the product may open a connection to another machine by itself: the client of tools, which checks the
/// address, and the attempt that a sandbox must refuse. Model APIs have a client that is held by the crates.
pub const WAYS_OUT: &[&str] = &["crates/egress/", "crates/sandbox/src/probe.rs"];
/// Trees that are not the product.
pub const NOT_PRODUCT: &[&str] = &["crates/bench/", "crates/sim/", "crates/xtask/"];

/// What no file says, because it is true on one machine or on one day only: paths of a machine, hosts that
/// packages were fetched from, and how the work was shared out. Written in two parts, so that this table
/// passes its own rule.
pub const UNSAID: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    ("/fa", "rm/"),
    ("/ro", "ot/."),
    ("/tmp/bash", "_jobs"),
    ("../sha", "red/"),
    ("sha", "red/spec"),
    ("sha", "red/DESIGN"),
    ("registry.npm", "js.org"),
    ("files.python", "hosted.org"),
    ("the work", "place"),
    ("the integ", "rator"),
    ("another engi", "neer"),
];

/// Pages that say by which test something holds.
pub const PROOFS: &[&str] = &["docs/corpora.md", "docs/promises.md"];

/// Where refusals, answers and commands have their codes, in the match arms of `word`; each code has a page.
pub const CODES: &[&str] = &["crates/kernel/src/refusal.rs", "crates/channels/src/error.rs", "crates/app/src/cause.rs"];
/// Where an error is put into words for programs: elsewhere its code could be one that none of `CODES` has.
pub const ANSWERS: &[&str] = &["crates/channels/src/error.rs", "crates/app/src/exit.rs"];
/// Where one could be.
pub const ANSWERING: &[&str] = &["crates/channels/src/", "crates/app/src/"];

/// How the files begin in which config keys are declared, by name; they are read in other files of the same crate, and what
/// rules look at is named in the kernel.
pub const KEYS: &str = "crates/app/src/config/keys";
pub const KEY_READERS: &[&str] = &["crates/app/src/", "crates/kernel/src/rule.rs"];
/// The functions that declare one.
pub const KEY_DECLARATIONS: &[&str] = &["value(", "table(", "named(", "rows(", "name:"];

/// Where controls are declared: the public fields of these files are switches, limits, budgets, grants and
/// rules, and each needs code that reads it.
pub const CONTROLS: &[&str] = &[
    "crates/kernel/src/budget.rs",
    "crates/kernel/src/frame.rs",
    "crates/kernel/src/policy.rs",
    "crates/kernel/src/rule.rs",
    "crates/kernel/src/tool.rs",
];
/// Filling a control in from the config, or measuring it, is not reading it.
pub const NOT_READERS: &[&str] = &["crates/app/src/config", "crates/sim/", "crates/xtask/"];
