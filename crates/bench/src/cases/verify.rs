//! How fast the whole used home is verified.
use std::time::Instant;

use serde_json::Value;

use crate::Outcome;
use crate::client::number;
use crate::homes::Homes;
use crate::report::{Expected, Report, Row, Target};

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let home = homes.used()?;
    let began = Instant::now();
    let verified = home.command().args(["audit", "verify"]).output()?;
    let took = began.elapsed();
    let said: Value = serde_json::from_slice(&verified.stdout)?;
    let records = number(&said, "records")?;
    report.count("records of the used home, faulty", u64::from(!verified.status.success()), Expected::Exactly(0));
    let rate = f64::from(u32::try_from(records)?) / took.as_secs_f64();
    report.row(Row::new(format!("audit verify, {records} records"), "/s", rate).target(Target::AtLeast(2_500_000.0)));
    Ok(())
}
