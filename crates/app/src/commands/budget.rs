//! `budget`: every ledger window with what was used of it.
use std::path::Path;

use serde_json::Value;

use super::conversation::{list, number, text};
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::Out;

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let found = client.get("/api/budget").await;
    client.close().await;
    let found = found?;
    if out.json {
        out.value(&found);
        return Ok(Exit::Ok);
    }
    let row = |item: &Value| {
        let (used, limit) = (item.get("used").unwrap_or(&Value::Null), item.get("limit").unwrap_or(&Value::Null));
        let most = |field: &str, show: fn(u64) -> String| {
            limit.get(field).and_then(Value::as_u64).map_or("-".to_owned(), show)
        };
        vec![
            text(item, "window").to_owned(),
            usd(number(used, "micro_usd")),
            most("micro_usd", usd),
            number(used, "tokens").to_string(),
            most("tokens", |tokens| tokens.to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = list(&found, "windows").iter().map(row).collect();
    out.table(&["WINDOW", "USED", "OF", "TOKENS", "OF"], &rows);
    Ok(Exit::Ok)
}

/// Micro-USD as USD, with as many places as it needs, at least two.
#[must_use]
pub fn usd(micro: u64) -> String {
    let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    let short = text.trim_end_matches('0');
    let places = short.split_once('.').map_or(0, |(_, places)| places.len());
    format!("{short}{} USD", "0".repeat(2usize.saturating_sub(places)))
}

#[cfg(test)]
mod tests {
    use super::usd;

    #[test]
    fn money_is_exact() {
        for (micro, shown) in [(0, "0.00 USD"), (5_000_000, "5.00 USD"), (1_250_000, "1.25 USD"), (42, "0.000042 USD")]
        {
            assert_eq!(usd(micro), shown);
        }
    }
}
