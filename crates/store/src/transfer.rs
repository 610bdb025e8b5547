//! Sessions on their way from one home to another: bodies with what seals them, and a whole session
//! taken in by one commit.
use std::ops::RangeInclusive;

use backstay_kernel::id::{BodyRef, Digest};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::append::Append;
use crate::body;
use crate::error::{AppendError, StoreError};
use crate::limits::{BODY_BYTES_MAX, EXACT_MAX};
use crate::lineage;
use crate::place::place;
use crate::store::Store;

/// What keeps a digest that stays behind from telling what was erased.
pub type Salt = body::Salt;

/// In hexadecimal, as exports have it.
#[must_use]
pub fn salt_text(salt: &Salt) -> String {
    format!("{:032x}", u128::from_be_bytes(*salt))
}

/// The salt that [`salt_text`] has written.
#[must_use]
pub fn salt_of(text: &str) -> Option<Salt> {
    let is_plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_plain.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    number.map(u128::to_be_bytes)
}

/// A body as it can be sealed again elsewhere: the same number, the same digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    reference: BodyRef,
    /// `None` once erased.
    content: Option<(Salt, Vec<u8>)>,
}

impl Sealed {
    /// `None` where the content is not what the reference says, or no body is so large or has such a
    /// number.
    #[must_use]
    pub fn new(reference: BodyRef, content: Option<(Salt, Vec<u8>)>) -> Option<Self> {
        let is_whole = content.as_ref().is_none_or(|(salt, bytes)| {
            bytes.len() <= BODY_BYTES_MAX
                && u32::try_from(bytes.len()) == Ok(reference.bytes)
                && body::digest(salt, bytes) == reference.digest
        });
        (is_whole && (1..=EXACT_MAX).contains(&reference.id)).then_some(Self { reference, content })
    }

    #[must_use]
    pub fn reference(&self) -> BodyRef {
        self.reference
    }

    #[must_use]
    pub fn content(&self) -> Option<(&Salt, &[u8])> {
        self.content.as_ref().map(|(salt, bytes)| (salt, bytes.as_slice()))
    }
}

/// The text itself stays out of logs.
impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sealed").field(&self.reference).finish()
    }
}

impl Store {
    /// A body with its salt.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is not what was sealed.
    pub fn sealed(&self, reference: &BodyRef) -> Result<Sealed, StoreError> {
        let id = reference.id;
        // One of many: whoever needs a single row does not wait for it.
        let found = self.read(|db| body::read(db, id))?;
        let found = found.ok_or_else(|| StoreError::Corrupt(format!("body {id} is gone")))?;
        let sealed = Sealed::new(*reference, found.salt.zip(found.bytes));
        sealed.ok_or_else(|| StoreError::Corrupt(format!("body {id} is another one")))
    }

    /// Takes in a session that this home does not have: all of its appends, the first of which creates
    /// it, and the bodies that they refer to, in one commit.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub fn adopt(&self, appends: Vec<Append>, bodies: Vec<Sealed>) -> Result<(), AdoptError> {
        let own = lineage::bodies(self.lineage());
        self.write(move |db| {
            let work = db.transaction()?;
            for body in &bodies {
                if !put(&work, body, &own)? {
                    return Ok(Err(AdoptError::Taken(body.reference.id)));
                }
            }
            for append in &appends {
                match place(&work, append) {
                    Ok(_) => {}
                    Err(AppendError::Store(error)) => return Err(error),
                    Err(AppendError::Stale { .. }) => return Ok(Err(AdoptError::Exists)),
                    Err(refused) => return Err(StoreError::Invalid(refused.to_string())),
                }
            }
            work.commit()?;
            Ok(Ok(()))
        })?
    }
}

/// Why a session was not taken in; nothing of it is stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdoptError {
    #[error("this home has the session")]
    Exists,
    #[error(
        "the number {0} stands for another text in this home, or will: the file is of a copy made by hand, or changed"
    )]
    Taken(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One that is here already stays as it is: what was erased here does not come back, and whoever does
/// not have a text gets none by its number. False where its number is another's, or one that this home
/// will give.
fn put(db: &Connection, body: &Sealed, own: &RangeInclusive<u64>) -> Result<bool, StoreError> {
    const FIND: &str = "SELECT digest, bytes IS NULL FROM bodies WHERE id = ?1";
    const PUT: &str = "INSERT INTO bodies(id, digest, salt, dedupe, enc, bytes) VALUES(?1, ?2, ?3, NULL, 0, ?4)";
    let reference = body.reference;
    let found = |row: &Row<'_>| Ok((Digest(row.get(0)?), row.get::<_, bool>(1)?));
    if let Some((digest, is_erased)) = db.prepare_cached(FIND)?.query_row([reference.id], found).optional()? {
        return Ok(digest == reference.digest && (is_erased || body.content.is_some()));
    }
    if own.contains(&reference.id) {
        return Ok(false);
    }
    let (salt, bytes) = body.content().unzip();
    db.prepare_cached(PUT)?.execute(params![reference.id, reference.digest.0, salt, bytes])?;
    Ok(true)
}
