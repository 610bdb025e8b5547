//! What the person's own words want done in a task.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::id::{BodyRef, EffectId};

/// What was kept of the plan that a model made, which was shown nothing but tools and the person's words; written with
/// its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoped {
    pub effect: EffectId,
    pub entries: Vec<InScope>,
    /// The same with the values of their arguments: an array of [`crate::flow::Wish`].
    pub body: BodyRef,
    /// What the model said. It is nobody's reply, so it does not stand in its end.
    pub said: Option<BodyRef>,
}

/// Calls of a tool that the person wants.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InScope {
    pub tool: String,
    pub count: u32,
}
