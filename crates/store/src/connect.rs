//! Connections: the one writer's and the readers', with the settings that make them safe.
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::limits::{
    BUSY_MS, CHECKPOINT_PAGES, PAGE_BYTES, READER_CACHE_KIB, SQLITE_VERSION_MIN, STATEMENTS, WAL_BYTES_MAX,
    WRITER_CACHE_KIB,
};
use crate::schema;

/// What a file is, before anything is asked of it.
#[derive(PartialEq, Eq, Debug)]
pub enum Kind {
    /// Empty, or an `init` that was cut off.
    Blank,
    Ours,
}

/// The only connection that writes, and the only one that checkpoints: a checkpoint from a second
/// connection is the pattern that corrupted older SQLites. Ask [`kind`] before [`arm`].
pub fn writer(path: &Path) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(StoreError::OldSqlite(rusqlite::version()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_millis(BUSY_MS))?;
    Ok(db)
}

/// The writer's settings, some of which write to the file: only for one that is ours or blank.
pub fn arm(db: &Connection) -> Result<(), StoreError> {
    settings(db, WRITER_CACHE_KIB)?;
    // Counts only for a new file.
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL may lose acknowledged commits at a power loss.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
    // What is erased is overwritten.
    db.pragma_update(None, "secure_delete", true)?;
    // A connection that is dropped because the disk failed must not write to it on its way out.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

pub fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_millis(BUSY_MS))?;
    settings(&db, READER_CACHE_KIB)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn settings(db: &Connection, cache_kib: u32) -> Result<(), StoreError> {
    // A negative size is in KiB.
    db.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    // The file's own schema may be tampered with: it calls no function with side effects, and
    // nothing writes to the tables below the search index.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Ours has no trigger; one that came in after the look at the schema does nothing.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Reads whose file it is and of which version, without changing it.
pub fn kind(db: &Connection, path: &Path) -> Result<Kind, StoreError> {
    let foreign = |why: String| StoreError::Foreign { path: path.to_owned(), why };
    let read = |name: &str| {
        db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|error| {
            let error = StoreError::from(error);
            if let StoreError::Corrupt(text) = error { foreign(text) } else { error }
        })
    };
    let application = read("application_id")?;
    let version = read("user_version")?;
    if application == 0 && version == 0 {
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        return if tables == 0 { Ok(Kind::Blank) } else { Err(foreign("another program's tables".to_owned())) };
    }
    if application != i64::from(schema::APPLICATION_ID) {
        return Err(foreign(format!("application id {application}")));
    }
    match u32::try_from(version) {
        Ok(found) if found > schema::VERSION => Err(StoreError::Newer { found, known: schema::VERSION }),
        Ok(found) if found == schema::VERSION => match schema::difference(db)? {
            None => Ok(Kind::Ours),
            Some(what) => Err(StoreError::Altered(what)),
        },
        Ok(_) | Err(_) => Err(foreign(format!("schema version {version}"))),
    }
}

/// Moves everything from the WAL into the file and empties it. False where a reader is in the way.
pub fn truncate_wal(db: &Connection) -> Result<bool, StoreError> {
    let blocked: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(blocked == 0)
}

/// Lets the last close remove the log and its shared memory.
pub fn leave_clean(db: &Connection) -> Result<(), StoreError> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}
