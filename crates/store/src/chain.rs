//! The chain of a session: each entry's hash covers the one before, so that no stored byte can
//! change, go or move without the head's hash telling.
use backstay_kernel::id::{Digest, Seq, SessionId};

/// Hash that the first entry of a session follows.
pub const FIRST: Digest = Digest([0; 32]);

/// `seq` is that of the entry's last record, `lineage` the one in force there.
#[must_use]
pub fn entry_hash(lineage: u64, session: SessionId, seq: Seq, prev: &Digest, stored: &str) -> Digest {
    let (lineage, seq) = (lineage.to_be_bytes(), seq.0.to_be_bytes());
    Digest::of("backstay entry v1", &[&lineage, &session.0, &seq, &prev.0, stored.as_bytes()])
}
