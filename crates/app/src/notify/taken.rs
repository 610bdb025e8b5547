//! What a receiver has taken of what waits, and what it is told next.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::limits::NOTICES_KEPT;

/// By the ids of notices.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    told: BTreeSet<String>,
    /// Tries of what was not taken.
    #[serde(skip)]
    tries: BTreeMap<String, u32>,
}

impl Taken {
    /// Nothing where there is no file.
    ///
    /// # Errors
    /// It cannot be read, or is none of ours.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// As [`Taken::read`] reads it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Of what waits what was not taken, the least tried first: one that is always refused keeps no other from being
    /// told.
    pub fn untold<'a>(&mut self, waits: &[&'a str]) -> Vec<&'a str> {
        self.tries.retain(|id, _| waits.contains(&id.as_str()));
        let mut untold: Vec<&str> = waits.iter().copied().filter(|id| !self.told.contains(*id)).collect();
        untold.sort_by_key(|id| self.tries.get(*id).copied().unwrap_or_default());
        untold
    }

    pub fn refused(&mut self, id: String) {
        *self.tries.entry(id).or_default() += 1;
    }

    /// What has ended is remembered for a while: what waits again a moment later, a provider that was tried, is the same.
    pub fn take(&mut self, id: &str, waits: &[&str]) {
        self.told.insert(id.to_owned());
        if self.told.len() > waits.len().saturating_add(NOTICES_KEPT) {
            self.told.retain(|id| waits.contains(&id.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_waits_behind_what_was_not_tried() {
        let mut taken = Taken::default();
        assert_eq!(taken.untold(&["a", "b", "c"]), ["a", "b", "c"]);
        taken.refused("a".into());
        assert_eq!(taken.untold(&["a", "b", "c"]), ["b", "c", "a"]);
        taken.take("b", &["a", "b", "c"]);
        assert_eq!(taken.untold(&["a", "b", "c"]), ["c", "a"]);
        // What has ended is no longer counted.
        taken.untold(&["c"]);
        assert_eq!(taken.untold(&["a", "c"]), ["a", "c"]);
    }

    #[test]
    fn what_has_ended_is_remembered_for_a_while_and_not_for_ever() {
        let mut taken = Taken::default();
        for n in 0..=NOTICES_KEPT {
            taken.take(&n.to_string(), &["0"]);
            assert_eq!(taken.told.len(), n + 1);
        }
        taken.take("last", &["last"]);
        assert_eq!(taken.told, BTreeSet::from(["last".to_owned()]));
    }
}
