//! A kill in mid-turn: from the next exec to the model's next request, for one turn alone and for
//! a hundred at once. The request must be the same bytes, and come once.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use crate::Outcome;
use crate::client::{STATUS, Server, ask};
use crate::homes::{Home, Homes};
use crate::process::Process;
use crate::report::{Expected, Report, Row, Target, middle, ms, quantile};
use crate::upstream::{Call, Upstream};

/// Turns that are resumed at once.
const MANY: usize = 100;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let (alone, lost) = resume(homes, 1)?;
    let (among, lost_among) = resume(homes, MANY)?;
    let time = middle(alone).unwrap_or_default();
    report.row(Row::new("exec to the next request, one turn", "ms", time).target(Target::AtMost(8.0)));
    let p99 = quantile(among.clone(), 99).unwrap_or_default();
    report.row(Row::new("exec to the next request, 100 turns, p50", "ms", middle(among).unwrap_or_default()));
    let row = Row::new("exec to the next request, 100 turns, p99", "ms", p99);
    report.row(row.target(Target::AtMost(100.0)));
    report.count("resumed requests lost, repeated or changed", lost + lost_among, Expected::Exactly(0));
    Ok(())
}

/// Times of all resumed requests over several kills, and how many were not as they should be.
fn resume(homes: &Homes, count: usize) -> Outcome<(Vec<f64>, u64)> {
    let upstream = Upstream::start()?;
    let home = homes.fresh("resumed")?;
    home.configure(Some(upstream.address))?;
    let process = home.serve()?;
    let first = tally(&leave_open(&home, &process, &upstream, count)?);
    process.kill()?;
    let (mut times, mut wrong) = (Vec::new(), 0);
    for _ in 0..homes.scale.starts {
        let process = home.serve()?;
        let calls = upstream.take(count)?;
        times.extend(calls.iter().map(|call| ms(call.at.duration_since(process.began))));
        // One more answered call says that nothing else was on its way before it.
        ask(&home.server(&process, "upstream"), "GET", STATUS, None)?;
        wrong += u64::from(tally(&calls) != first) + u64::try_from(upstream.surplus())?;
        process.kill()?;
    }
    Ok((times, wrong))
}

/// Begins turns whose model never answers, and waits until all have asked it.
pub fn leave_open(home: &Home, process: &Process, upstream: &Upstream, count: usize) -> Outcome<Vec<Call>> {
    let server = home.server(process, "upstream");
    for number in 0..count {
        say(&server, &format!("message {number}"))?;
    }
    upstream.take(count)
}

fn say(server: &Server, text: &str) -> Outcome<()> {
    let opened = ask(server, "POST", "/api/sessions", Some(&json!({ "agent": "upstream" })))?;
    let session = opened.get("session").and_then(serde_json::Value::as_str).unwrap_or_default();
    ask(server, "POST", &format!("/api/sessions/{session}/messages"), Some(&json!({ "text": text })))?;
    Ok(())
}

fn tally(calls: &[Call]) -> BTreeMap<Bytes, usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally.entry(call.body.clone()).or_default() += 1;
    }
    tally
}
