//! Every limit of the shell's reader, with its unit and its reason.

/// A command, bytes: longer ones are scripts, and belong in a file that somebody can read.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;
/// Words of one simple command: what a person takes in at a glance when asked for a yes.
pub const WORDS_MAX: usize = 64;
/// Simple commands of one command. A longer chain is refused, not asked about: padding a chain until the
/// check gives up is a known attack.
pub const COMMANDS_MAX: usize = 16;
/// Openings of an expansion (`$(`, `${`, `$[`) in one command: the tokenizer recurses into each one that nests,
/// some 20 KB deep without optimisation, and a stack that overflows ends the process, which no check could undo.
pub const OPENINGS_MAX: usize = 16;
