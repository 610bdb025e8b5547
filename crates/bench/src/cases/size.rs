//! How large the binary is.
use crate::Outcome;
use crate::homes::Homes;
use crate::report::{Expected, Report, Row, Target};

/// Bytes of the stripped release build that are accepted today: 8.1 MB, and what a feature brings.
const BYTES_MAX: u64 = 8_200_000;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let bytes = std::fs::metadata(&homes.binary)?.len();
    report.row(Row::new("binary", "MB", f64::from(u32::try_from(bytes)?) / 1e6).target(Target::AtMost(6.0)));
    report.count("binary, bytes", bytes, Expected::AtMost(BYTES_MAX));
    Ok(())
}
