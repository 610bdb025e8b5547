//! Bodies: free texts and outside identifiers, apart from the records so that they can be erased.
//!
//! A random salt keeps a digest that stays behind from telling what was erased. Only what the
//! operator wrote (instructions, tool schemas, policies) is stored once for all; the rest is never
//! compared, so that one person's text says nothing about another's.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use backstay_kernel::id::{BodyRef, Digest};
use hmac::{Hmac, Mac as _};
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::limits::{BODY_BYTES_MAX, SHARED_BODIES_MAX};

pub(crate) type Salt = [u8; 16];
pub(crate) type Mark = [u8; 32];

/// A sealed body, to be stored by the append whose records refer to it.
#[derive(Clone)]
pub struct Body {
    reference: BodyRef,
    pub(crate) salt: Salt,
    pub(crate) dedupe: Option<Mark>,
    pub(crate) bytes: Vec<u8>,
}

impl Body {
    pub(crate) fn seal(id: u64, bytes: Vec<u8>, dedupe: Option<Mark>) -> Result<Self, StoreError> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= BODY_BYTES_MAX);
        let Some(length) = length else {
            return Err(StoreError::Invalid(format!("a body of {} bytes", bytes.len())));
        };
        let mut salt = [0; 16];
        draw(&mut salt)?;
        let reference = BodyRef { id, digest: digest(&salt, &bytes), bytes: length };
        Ok(Self { reference, salt, dedupe, bytes })
    }

    /// What a record says of it.
    #[must_use]
    pub fn reference(&self) -> BodyRef {
        self.reference
    }
}

/// The text itself stays out of logs.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.reference).finish()
    }
}

/// A body that many sessions refer to.
#[derive(Debug)]
pub enum Shared {
    /// On disk already.
    Stored(BodyRef),
    /// To be stored by the append whose records refer to it.
    New(Body),
}

impl Shared {
    #[must_use]
    pub fn reference(&self) -> BodyRef {
        match self {
            Self::Stored(reference) => *reference,
            Self::New(body) => body.reference(),
        }
    }
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn draw(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::Io(format!("random numbers: {error}")))
}

/// SHA-256(salt ‖ bytes).
pub(crate) fn digest(salt: &[u8], bytes: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update(salt).chain_update(bytes).finalize().into())
}

/// Equal for equal bytes, to the holder of the home's key alone.
pub(crate) fn mark(key: &[u8; 32], bytes: &[u8]) -> Result<Mark, StoreError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|e| StoreError::Invalid(e.to_string()))?;
    mac.update(bytes);
    Ok(mac.finalize().into_bytes().into())
}

/// The shared bodies seen lately; only what is on disk enters.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<Mark, BodyRef>);

impl Known {
    pub fn get(&self, mark: &Mark) -> Option<BodyRef> {
        self.0.get(mark).copied()
    }

    pub fn insert(&mut self, mark: Mark, reference: BodyRef) {
        if self.0.len() >= SHARED_BODIES_MAX {
            self.0.clear();
        }
        self.0.insert(mark, reference);
    }

    pub fn forget(&mut self, id: u64) {
        self.0.retain(|_, reference| reference.id != id);
    }
}

/// A row of `bodies`, read where it lies.
pub(crate) struct Row<'a> {
    pub digest: Digest,
    salt: Option<Salt>,
    /// 0 as it is, else zstd of that many bytes.
    enc: u32,
    bytes: Option<&'a [u8]>,
}

impl<'a> Row<'a> {
    /// Of a statement that selects digest, salt, enc and bytes first.
    pub fn of(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let bytes = row.get_ref(3)?.as_blob_or_null()?;
        Ok(Self { digest: Digest(row.get(0)?), salt: row.get(1)?, enc: row.get(2)?, bytes })
    }

    /// The plain bytes, `None` once erased.
    pub fn open(&self) -> Result<Option<Cow<'a, [u8]>>, String> {
        let (Some(salt), Some(bytes)) = (self.salt, self.bytes) else { return Ok(None) };
        let plain = match usize::try_from(self.enc) {
            Ok(0) => Cow::Borrowed(bytes),
            Ok(length) if length <= BODY_BYTES_MAX => {
                zstd::bulk::decompress(bytes, length).map_err(|e| format!("does not decompress: {e}"))?.into()
            }
            Ok(_) | Err(_) => return Err("has an impossible length".to_owned()),
        };
        if digest(&salt, &plain) != self.digest {
            return Err("differs from its digest".to_owned());
        }
        Ok(Some(plain))
    }
}

/// A body as it was sealed.
pub(crate) struct Plain {
    pub digest: Digest,
    /// `None` once erased.
    pub salt: Option<Salt>,
    pub bytes: Option<Vec<u8>>,
}

/// Reads and verifies a body.
pub(crate) fn read(db: &Connection, id: u64) -> Result<Option<Plain>, StoreError> {
    let mut statement = db.prepare_cached("SELECT digest, salt, enc, bytes FROM bodies WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let row = Row::of(row)?;
    let bytes = row.open().map_err(|why| StoreError::Corrupt(format!("body {id} {why}")))?;
    Ok(Some(Plain { digest: row.digest, salt: row.salt, bytes: bytes.map(Cow::into_owned) }))
}

/// The stored body with this mark.
pub(crate) fn find(db: &Connection, mark: &Mark) -> Result<Option<BodyRef>, StoreError> {
    const SQL: &str = "SELECT id, digest, iif(enc = 0, length(bytes), enc) FROM bodies WHERE dedupe = ?1";
    let found = db
        .prepare_cached(SQL)?
        .query_row([mark], |row| Ok(BodyRef { id: row.get(0)?, digest: Digest(row.get(1)?), bytes: row.get(2)? }));
    Ok(found.optional()?)
}
