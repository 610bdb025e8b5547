//! The way out: a session as it is at this moment, some lines at a time.
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

use backstay_kernel::id::{BodyRef, Seq, SessionId};
use backstay_kernel::record::{Entry, Record};
use backstay_store::{Entry as Row, Store, salt_text};
use serde_json::value::RawValue;

use super::{Header, Line, Stored, Text, VERSION, pieces};
use crate::error::EngineError;
use crate::limits::{EXPORT_CHUNK_BYTES, RECORDS_PAGE};
use crate::read::Reader;

/// A session that is being written out.
pub struct Export {
    store: Store,
    header: Header,
    /// The last entry that was read.
    at: Seq,
    rows: VecDeque<Row>,
    /// Bodies that are out already: shared ones and repeated ones go once.
    sent: HashSet<u64>,
    begun: bool,
}

impl Reader {
    /// A session up to its latest entry.
    ///
    /// # Errors
    /// There is no such session, or the journal cannot be read.
    pub fn export(&self, session: SessionId) -> Result<Export, EngineError> {
        let head = self.store().head(session).map_err(|error| unreadable(&error))?.ok_or(EngineError::NoSession)?;
        let header = Header { v: VERSION, session, seq: head.seq, hash: head.hash };
        let (rows, sent) = (VecDeque::new(), HashSet::new());
        Ok(Export { store: self.store().clone(), header, at: Seq(0), rows, sent, begun: false })
    }
}

impl Export {
    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// The journal cannot be read, or does not hold what was written.
    pub fn next_lines(&mut self) -> Result<Option<String>, EngineError> {
        let mut out = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            write(&mut out, &Line::Session(self.header))?;
        }
        while out.len() < EXPORT_CHUNK_BYTES
            && let Some(row) = self.next_row()?
        {
            self.entry(&mut out, &row)?;
        }
        Ok(Some(out).filter(|out| !out.is_empty()))
    }

    fn next_row(&mut self) -> Result<Option<Row>, EngineError> {
        if self.rows.is_empty() && self.at < self.header.seq {
            let rows = self.store.entries_after(self.header.session, self.at, RECORDS_PAGE);
            self.rows = rows.map_err(|error| unreadable(&error))?.into();
        }
        let row = self.rows.pop_front().filter(|row| row.seq <= self.header.seq);
        self.at = row.as_ref().map_or(self.header.seq, |row| row.seq);
        Ok(row)
    }

    fn entry(&mut self, out: &mut String, row: &Row) -> Result<(), EngineError> {
        let entry: Entry<Record> = serde_json::from_str(&row.body).map_err(|error| unreadable(&error))?;
        for record in &entry.records {
            for text in record.texts() {
                self.body(out, text)?;
            }
            if let Some(rope) = record.rope()
                && let Some(bytes) = self.body(out, rope)?
            {
                for text in pieces(&bytes).map_err(|error| unreadable(&error))? {
                    self.body(out, text)?;
                }
            }
        }
        let stored: &RawValue = serde_json::from_str(&row.body).map_err(|error| unreadable(&error))?;
        write(out, &Line::Entry(Stored { seq: row.seq, lineage: row.lineage, hash: row.hash, stored }))
    }

    /// Its bytes, where it was not out already.
    fn body(&mut self, out: &mut String, of: BodyRef) -> Result<Option<Vec<u8>>, EngineError> {
        if !self.sent.insert(of.id) {
            return Ok(None);
        }
        let sealed = self.store.sealed(&of).map_err(|error| unreadable(&error))?;
        let (salt, bytes) = sealed.content().unzip();
        let salt = salt.map(salt_text);
        let text = bytes.map(std::str::from_utf8).transpose().map_err(|error| unreadable(&error))?;
        write(out, &Line::Body(Text { of, salt, text: text.map(Cow::Borrowed) }))?;
        Ok(bytes.map(<[u8]>::to_vec))
    }
}

fn write(out: &mut String, line: &Line<'_>) -> Result<(), EngineError> {
    out.push_str(&serde_json::to_string(line).map_err(|error| EngineError::Internal(error.to_string()))?);
    out.push('\n');
    Ok(())
}

fn unreadable(error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Unreadable(error.to_string())
}
