//! What a person typed: which parts of it are their own words, and which exact values they named.
//!
//! Both are pure functions of the text. A part that somebody else may have written gives no value,
//! and a value that can be read in two ways is none.
mod atom;
mod extract;
mod forms;
mod name;
mod numbers;
mod parts;
mod stray;
mod typed;

pub use atom::{Atom, Kind, passes};
pub use extract::extract;
pub use forms::is_hidden;
pub(crate) use forms::label as host_label;
pub use name::{Manner, Mentions, Sign, glance, is_named};
pub use parts::{Span, own_parts, quotes};
pub use stray::is_clear;
pub use typed::Typed;
