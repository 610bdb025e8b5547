//! Commands in a kernel sandbox: what a command may see, touch and use is decided here and held by the
//! operating system's kernel, whatever the command is.
//!
//! [`Sandbox::run`] starts this same binary again as its hidden helper ([`helper`]), which makes the namespaces,
//! the new root and the filters in one fixed order and then becomes the command. Nothing here
//! understands a command; nothing outside of the helper is trusted to hold one.

mod apply;
mod beneath;
mod clip;
mod confine;
mod control;
mod ends;
mod exit;
mod guard;
mod helper;
mod hold;
mod init;
mod limits;
mod list;
mod mark;
mod merge;
mod noted;
mod probe;
mod profile;
mod program;
mod raw;
mod root;
mod run;
mod sandbox;
mod seccomp;
mod spawner;
mod stage;
mod test;
mod told;
mod tree;
mod turns;
mod underway;
mod usage;
mod user;
mod workplace;

pub use clip::Clip;
pub use exit::Exit;
pub use guard::{is_acted_by, is_protected};
pub use helper::{ARGUMENT, main as helper};
pub use hold::{Held, Started};
pub use limits::TIMEOUT_MS_MAX;
pub use list::{Joint, Redirect, Simple};
pub use profile::{Ask, Programs, Reach};
pub use program::Program;
pub use run::{Bounds, Ended, Fault, Ran, Stop};
pub use sandbox::Sandbox;
pub use test::{Tier, Tried};
pub use told::NotKept;
pub use workplace::Workplace;
