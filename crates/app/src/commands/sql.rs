//! `sql QUERY`: one SELECT over the journal's tables and views.
use std::path::Path;

use serde_json::{Value, json};

use super::conversation::list;
use crate::client::{Client, Intent};
use crate::desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};

pub async fn run(home: &Path, query: &str, out: &Out) -> Outcome<Exit> {
    if query.trim().is_empty() {
        return Err(Failure::usage("the query is empty", "backstay sql \"SELECT * FROM v_turns\""));
    }
    let client = Client::connect(home, Intent::Read).await?;
    let answer = client.post(desk::SQL, &json!({ "query": query })).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
        return Ok(Exit::Ok);
    }
    let heads: Vec<&str> = list(&answer, "columns").iter().filter_map(Value::as_str).collect();
    let row = |row: &Value| row.as_array().into_iter().flatten().map(cell).collect();
    let rows: Vec<Vec<String>> = list(&answer, "rows").iter().map(row).collect();
    out.table(&heads, &rows);
    if answer.get("cut").and_then(Value::as_bool).unwrap_or_default() {
        out.talk(Tone::Warning, "There are more rows; add LIMIT and OFFSET.");
    }
    Ok(Exit::Ok)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Object(blob) => {
            blob.get("hex").and_then(Value::as_str).map(|hex| format!("x'{hex}'")).unwrap_or_default()
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}
