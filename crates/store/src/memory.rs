//! What was remembered for a principal, found by its words. Never across principals.
use backstay_kernel::id::{Millis, Seq, SessionId};
use rusqlite::{OptionalExtension as _, params};

use crate::error::StoreError;
use crate::limits::RECALL_WORDS_MAX;
use crate::store::Store;

/// A remembered text and the place that it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memory {
    pub id: u64,
    pub session: SessionId,
    pub seq: Seq,
    pub at: Millis,
    pub text: String,
}

impl Store {
    /// Memories of `principal` that share words with `query`, the best match first.
    ///
    /// # Errors
    /// Those of a read.
    pub fn recall(&self, principal: &str, query: &str, limit: usize) -> Result<Vec<Memory>, StoreError> {
        // The name narrows the search by its words; the comparison decides. It weighs nothing.
        const SQL: &str = "SELECT m.id, h.session, m.seq, m.at, m.text
            FROM memories_fts f JOIN memories m ON m.id = f.rowid JOIN heads h ON h.id = m.session
            WHERE memories_fts MATCH ?1 AND m.principal = ?2
            ORDER BY bm25(memories_fts, 0.0, 1.0), m.id DESC LIMIT ?3";
        let Some(pattern) = pattern(principal, query) else { return Ok(Vec::new()) };
        self.read(|db| {
            let mut statement = db.prepare_cached(SQL)?;
            let rows = statement.query_map(params![pattern, principal, limit], |row| {
                Ok(Memory {
                    id: row.get(0)?,
                    session: SessionId(row.get(1)?),
                    seq: Seq(row.get(2)?),
                    at: row.get(3)?,
                    text: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Erases a memory of `principal`, its words in the index and the log included. False where
    /// that principal has none with this id.
    ///
    /// # Errors
    /// Those of a write.
    pub fn forget(&self, principal: &str, id: u64) -> Result<bool, StoreError> {
        const UNINDEX: &str =
            "INSERT INTO memories_fts(memories_fts, rowid, principal, text) VALUES('delete', ?1, ?2, ?3)";
        let principal = principal.to_owned();
        self.erase(move |db| {
            let work = db.transaction()?;
            let sql = "DELETE FROM memories WHERE id = ?1 AND principal = ?2 RETURNING text";
            let text = work.query_row(sql, params![id, principal], |row| row.get::<_, String>(0)).optional()?;
            let Some(text) = text else { return Ok(0) };
            work.execute(UNINDEX, params![id, principal, text])?;
            work.commit()?;
            Ok(1)
        })
    }
}

/// Words only, each in quotes: nothing that a user writes is an operator of the search.
fn pattern(principal: &str, query: &str) -> Option<String> {
    let words = query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(RECALL_WORDS_MAX).map(|word| format!("\"{word}\"")).collect();
    if words.is_empty() {
        return None;
    }
    let found = format!("text : ({})", words.join(" OR "));
    // A name without a letter or digit has no word to narrow by.
    let name: String = principal.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    if name.trim().is_empty() {
        return Some(found);
    }
    Some(format!("principal : \"{name}\" AND {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_query_is_looked_for_by_its_first_words() {
        let words: Vec<String> = (0..100).map(|n| format!("word{n}")).collect();
        let found = pattern("ann", &words.join(" ")).unwrap();
        assert_eq!(found.matches("word").count(), RECALL_WORDS_MAX);
    }
}
