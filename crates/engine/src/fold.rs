//! A session from the journal, and what it has to note before anything else.
use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::record::{Entry, Record};
use backstay_kernel::session::FOLD_VERSION;
use backstay_kernel::{Input, Session, apply};
use backstay_store::{Durable, Store};

/// A session as the journal has it.
pub struct Folded {
    pub state: Session,
    pub receipt: Option<Durable>,
    pub entries_since_snapshot: u64,
}

/// Reads and folds a session; one that is not there is empty.
///
/// # Errors
/// The journal cannot be read, in words.
pub fn fold(store: &Store, id: SessionId) -> Result<Folded, String> {
    let Some(loaded) = store.load(id, FOLD_VERSION).map_err(|error| error.to_string())? else {
        return Ok(Folded { state: Session::new(id), receipt: None, entries_since_snapshot: 0 });
    };
    let mut state = match &loaded.snapshot {
        Some(snapshot) => serde_json::from_str(&snapshot.body).map_err(|error| error.to_string())?,
        None => Session::new(id),
    };
    let entries = loaded.entries;
    let entries_since_snapshot = entries.len() as u64;
    for row in entries {
        let entry: Entry<Record> = serde_json::from_str(&row.body).map_err(|error| error.to_string())?;
        entry.records.iter().for_each(|record| apply(&mut state, record));
    }
    Ok(Folded { state, receipt: Some(loaded.durable), entries_since_snapshot })
}

/// What a session of a restored home has to note before anything else happens in it.
pub(crate) fn restore_of(state: &Session, lineage: u64) -> Option<Input> {
    let is_due = state.seq != Seq::default() && state.lineage != lineage;
    is_due.then_some(Input::Lineage { old: state.lineage, new: lineage })
}
