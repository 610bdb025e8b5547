//! Configs that were in force: what each has changed, and the list of them.
use backstay_kernel::home::HomeRecord;
use backstay_kernel::id::{BodyRef, Millis, Seq, SessionId};
use backstay_kernel::record::Entry;
use similar::TextDiff;

use crate::error::EngineError;
use crate::limits::DIFF_BYTES_MAX;
use crate::read::Reader;

/// From when on, by whom, and the difference to the one before; the first has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    pub epoch: u64,
    pub at: Millis,
    pub by: String,
    pub diff: Option<BodyRef>,
}

impl Reader {
    /// Epochs before `before`, the latest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn epochs(&self, before: u64, limit: usize) -> Result<Vec<Epoch>, EngineError> {
        let unreadable = |why: String| EngineError::Unreadable(why);
        let rows = self.store().entries_after(SessionId::HOME, Seq(0), usize::MAX);
        let mut found = Vec::new();
        for row in rows.map_err(|error| unreadable(error.to_string()))?.into_iter().rev() {
            let entry: Entry<HomeRecord> =
                serde_json::from_str(&row.body).map_err(|error| unreadable(error.to_string()))?;
            for record in entry.records.into_iter().rev() {
                if let HomeRecord::Config { epoch, diff, by, .. } = record
                    && epoch < before
                {
                    found.push(Epoch { epoch, at: entry.at, by, diff });
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// What has changed, as a unified diff of bounded size.
#[must_use]
pub fn difference(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = diff.unified_diff().context_radius(2).to_string();
    if text.len() > DIFF_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DIFF_BYTES_MAX));
        text.push_str("\n… cut here: the rest is in the texts of the two configs\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_the_lines_that_changed_and_is_bounded() {
        let old = (0..50).map(|n| format!("line {n}\n")).collect::<String>();
        let text = difference(&old, &old.replace("line 20\n", "line twenty\n"));
        assert!(text.contains("-line 20\n+line twenty\n") && !text.contains("line 30"), "{text}");
        let long = difference("", &"ä line\n".repeat(DIFF_BYTES_MAX));
        assert!(long.len() < DIFF_BYTES_MAX + 100 && long.contains("… cut here"));
    }
}
