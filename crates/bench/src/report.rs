//! What was measured, as a table for people and as JSON for programs. Times stand beside the
//! floor's and are never judged; counts are expected to be exact or below a bound.
use std::fmt;
use std::time::Duration;

use serde::Serialize;

#[derive(Serialize, Default)]
pub struct Report {
    rows: Vec<Row>,
    counts: Vec<Count>,
}

#[derive(Serialize)]
pub struct Row {
    what: String,
    unit: &'static str,
    product: f64,
    floor: Option<f64>,
    /// Product to floor; the median over pairs where they ran in turn.
    ratio: Option<f64>,
    /// The promise, for a quiet machine: in the row's unit, or a ratio where it says so.
    target: Option<Target>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    RatioAtMost(f64),
}

#[derive(Serialize)]
struct Count {
    what: String,
    found: u64,
    expected: Expected,
    holds: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Exactly(u64),
    AtMost(u64),
}

impl Row {
    pub fn new(what: impl Into<String>, unit: &'static str, product: f64) -> Self {
        Self { what: what.into(), unit, product, floor: None, ratio: None, target: None }
    }

    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self.ratio = (floor > 0.0).then(|| self.product / floor);
        self
    }

    /// Runs in turn: the middle of each, and the middle of their ratios.
    pub fn pairs(what: impl Into<String>, unit: &'static str, pairs: &[(f64, f64)]) -> Self {
        let middle = |values: Vec<f64>| middle(values).unwrap_or_default();
        let product = middle(pairs.iter().map(|(product, _)| *product).collect());
        let floor = middle(pairs.iter().map(|(_, floor)| *floor).collect());
        let ratio = middle(pairs.iter().map(|(product, floor)| product / floor).collect());
        Self { what: what.into(), unit, product, floor: Some(floor), ratio: Some(ratio), target: None }
    }

    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }
}

impl Report {
    pub fn row(&mut self, row: Row) {
        eprintln!("  {}", cells(&row).join("  "));
        self.rows.push(row);
    }

    pub fn count(&mut self, what: impl Into<String>, found: u64, expected: Expected) {
        let holds = match expected {
            Expected::Exactly(count) => found == count,
            Expected::AtMost(most) => found <= most,
        };
        self.counts.push(Count { what: what.into(), found, expected, holds });
    }

    pub fn counts_hold(&self) -> bool {
        self.counts.iter().all(|count| count.holds)
    }
}

const HEAD: [&str; 6] = ["", "backstay", "floor", "ratio", "target", ""];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, HEAD, self.rows.iter().map(cells).collect())?;
        let counts = self.counts.iter().map(|count| {
            let expected = match count.expected {
                Expected::Exactly(count) => format!("{count}"),
                Expected::AtMost(most) => format!("≤ {most}"),
            };
            let verdict = if count.holds { "ok" } else { "WRONG" };
            [count.what.clone(), count.found.to_string(), String::new(), String::new(), expected, verdict.to_owned()]
        });
        writeln!(f)?;
        write_table(f, ["", "counted", "", "", "expected", ""], counts.collect())
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, head: [&str; 6], lines: Vec<[String; 6]>) -> fmt::Result {
    for line in std::iter::once(head.map(str::to_owned)).chain(lines) {
        let [what, product, floor, ratio, target, verdict] = line;
        let text = format!("{what:<50} {product:>13} {floor:>12} {ratio:>7} {target:>12}  {verdict}");
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

fn cells(row: &Row) -> [String; 6] {
    let (target, met) = match row.target {
        Some(Target::AtMost(most)) => (format!("≤ {}", short(most)), Some(row.product <= most)),
        Some(Target::AtLeast(least)) => (format!("≥ {}", short(least)), Some(row.product >= least)),
        Some(Target::RatioAtMost(most)) => (format!("≤ {most:.2} ×"), row.ratio.map(|ratio| ratio <= most)),
        None => (String::new(), None),
    };
    [
        row.what.clone(),
        format!("{} {}", short(row.product), row.unit),
        row.floor.map(short).unwrap_or_default(),
        row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        target,
        met.map(|met| if met { "met" } else { "not met" }).unwrap_or_default().to_owned(),
    ]
}

/// Three digits that say something.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn middle(values: Vec<f64>) -> Option<f64> {
    quantile(values, 50)
}

/// The value below which so many hundredths lie.
pub fn quantile(mut values: Vec<f64>, hundredths: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = (values.len() * hundredths / 100).min(values.len().saturating_sub(1));
    values.get(place).copied()
}
