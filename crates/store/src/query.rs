//! An operator's own SELECT: what `backstay query` runs. It can only read, whatever it says.
use std::sync::Mutex;
use std::time::{Duration, Instant};

use backstay_kernel::id::SessionId;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode};

use crate::body;
use crate::connect;
use crate::error::StoreError;
use crate::limits::{QUERY_MS_MAX, QUERY_ROWS_MAX, QUERY_STEPS};
use crate::store::{Store, lock};

#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    /// There were more rows than one query returns.
    pub cut: bool,
}

impl Store {
    /// Runs one SELECT over tables and views. Adds `body(id)`, the text of a body (null once
    /// erased), and `session_name(x)`, the name of a session given as stored or in hexadecimal.
    ///
    /// # Errors
    /// [`StoreError::Query`] where it is no SELECT, is wrong, or takes too long.
    pub fn query(&self, sql: &str) -> Result<Answer, StoreError> {
        // Keeps the home open until the answer is read.
        self.read(|_| Ok(()))?;
        let path = self.inner.common.home.state();
        let mut db = connect::reader(&path)?;
        add_functions(&db, connect::reader(&path)?)?;
        let end = Instant::now() + Duration::from_millis(QUERY_MS_MAX);
        ask(&mut db, sql, end)
    }
}

fn ask(db: &mut Connection, sql: &str, end: Instant) -> Result<Answer, StoreError> {
    db.progress_handler(QUERY_STEPS, Some(move || Instant::now() >= end))?;
    db.authorizer(Some(authorize))?;
    select(db, sql).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::QuerySlow(QUERY_MS_MAX),
        Some(_) | None => StoreError::Query(error.to_string()),
    })
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    let is_read = matches!(
        context.action,
        AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Recursive
            | AuthAction::Function { .. }
            // The search index asks whether it has changed.
            | AuthAction::Pragma { pragma_name: "data_version", pragma_value: None }
    );
    if is_read { Authorization::Allow } else { Authorization::Deny }
}

fn select(db: &Connection, sql: &str) -> rusqlite::Result<Answer> {
    let mut statement = db.prepare(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = Answer { columns, rows: Vec::new(), cut: false };
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        if answer.rows.len() >= QUERY_ROWS_MAX {
            answer.cut = true;
            break;
        }
        let cells = (0..answer.columns.len()).map(|column| row.get_ref(column).map(cell));
        answer.rows.push(cells.collect::<rusqlite::Result<_>>()?);
    }
    Ok(answer)
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}

/// `bodies` is a second connection: a function may not use the one that calls it.
fn add_functions(db: &Connection, bodies: Connection) -> rusqlite::Result<()> {
    let bodies = Mutex::new(bodies);
    db.create_scalar_function("body", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        let Some(id) = context.get::<Option<u64>>(0)? else { return Ok(Value::Null) };
        let found = body::read(&lock(&bodies), id);
        let found = found.map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
        let bytes = found.and_then(|body| body.bytes);
        Ok(bytes.map_or(Value::Null, |bytes| match String::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(error) => Value::Blob(error.into_bytes()),
        }))
    })?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("session_name", 1, flags, |context| {
        let id = match context.get_raw(0) {
            ValueRef::Blob(bytes) => <[u8; 10]>::try_from(bytes).ok(),
            ValueRef::Text(text) => from_hex(text),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
        };
        Ok(id.map(|id| SessionId(id).to_string()))
    })
}

fn from_hex(text: &[u8]) -> Option<[u8; 10]> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 20 && text.is_ascii())?;
    let mut id = [0; 10];
    for (byte, at) in id.iter_mut().zip((0..20).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_takes_too_long_is_stopped() {
        let mut db = Connection::open_in_memory().unwrap();
        let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        let stopped = ask(&mut db, endless, Instant::now());
        assert_eq!(stopped, Err(StoreError::QuerySlow(QUERY_MS_MAX)));
    }
}
