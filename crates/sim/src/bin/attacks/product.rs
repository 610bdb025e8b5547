//! The product: one home and one process that serves it, in a range; every command goes through `run_command`, as a
//! model's would, some of them in one turn.
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use crate::cases::{Case, Kind, Sample};
use crate::fixture;
use crate::range::{self, HOME, INNER_UID, PRODUCT_UID, Tier, WORKSPACE};
use crate::witness::Witness;

/// Commands of one turn: what one of them does is looked for once, and where something was hit each is run again.
const BATCH: usize = 12;
/// Bytes of one message's commands.
const BATCH_BYTES: usize = 32 << 10;
/// Where commands may read that name it; what they ask for is seen, and only asked for.
const GRANTED: &str = "ok.test:443";
/// Seconds that a command may take, and one that is meant never to end.
const TIMEOUT_S: u32 = 3;
const ENDLESS_S: u32 = 1;

/// How the reader is set: a development build takes every command for opaque where this variable is set.
pub const BLIND: &str = "BACKSTAY_READ_NO_COMMAND";

/// Runs them all in a range of its own, in another process; `tell` hears of each.
pub fn run(scratch: &Path, reader: &str, kinds: &[Kind], sample: Sample, tell: &Sender<(usize, Value)>) {
    let kinds = kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(",");
    let words = ["product", reader, &kinds, &sample.word()];
    let mut child = match sample.tier {
        Tier::Full => range::enter(scratch, PRODUCT_UID, &words).stdout(Stdio::piped()).spawn(),
        Tier::Copy => range::enter_container(scratch, &words),
    }
    .expect("a range can be entered");
    let out = child.stdout.take().expect("it is piped");
    let all = crate::cases::all(sample);
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        let Ok(told) = serde_json::from_str::<Value>(&line) else {
            println!("{line}");
            continue;
        };
        let at = all.iter().position(|case| Some(case.name().as_str()) == told["case"].as_str());
        if tell.send((at.expect("a case"), told)).is_err() {
            break;
        }
    }
    let _ = child.wait();
}

/// Runs inside of a range that this call builds; prints a line of JSON for each command.
pub fn inside(scratch: &Path, reader: &str, tier: Tier, cases: &[Case]) {
    range::build(scratch).expect("a range");
    let mut product = Product::start(reader == "blind", tier);
    let mut rest = cases;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(length(rest));
        rest = after;
        for told in product.run_all(batch) {
            println!("{told}");
        }
    }
    product.server.kill().expect("it serves");
    let _ = product.server.wait();
}

/// How many of them go into one turn. What takes away more than its own directory goes alone, and what reads
/// elsewhere: a question is the end of its turn.
fn length(cases: &[Case]) -> usize {
    let goes_alone = |case: &Case| {
        ["rm ", "mv ", "shred", "..", "truncate", "kill", "find"].iter().any(|word| case.command.contains(word))
            || case.command.len() > 1_000
            || case.reads_elsewhere()
    };
    let mut bytes = 0;
    let fits = |case: &&Case| {
        bytes += case.command.len();
        !goes_alone(case) && bytes < BATCH_BYTES
    };
    cases.iter().take(BATCH).take_while(fits).count().max(1)
}

struct Product {
    tier: Tier,
    server: Child,
    witness: Witness,
}

impl Product {
    fn start(is_blind: bool, tier: Tier) -> Self {
        let made = range::product(tier, &["init"]).output().expect("unshare runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let path = Path::new(HOME).join("backstay.toml");
        let config = fs::read_to_string(&path).expect("a config");
        let granted = format!("tools = [\"run_command\"]\nprograms = [\"*\"]\nhosts = [\"{GRANTED}\"]");
        let lines: Vec<&str> =
            config.lines().map(|line| if line.starts_with("tools = ") { &granted } else { line }).collect();
        let more = "\n[limits]\nmessages_per_minute = 100000\n[sandbox]\nfree_disk_mib = 0\nmemory_mib = 512\n";
        let config = lines.join("\n").replace("127.0.0.1:7717", "127.0.0.1:0") + more;
        let user = if tier == Tier::Copy { format!("uid = {INNER_UID}\n") } else { String::new() };
        fs::write(&path, config + &user).expect("the config is written");
        let mut serve = range::product(tier, &["serve", "--json"]);
        if is_blind {
            serve.env(BLIND, "1");
        }
        let mut server = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("unshare runs");
        let mut line = String::new();
        let out = server.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it serves");
        assert!(line.contains("\"listen\""), "it does not serve: {line}");
        let status = range::product(tier, &["status", "--json"]).output().expect("it answers");
        let status: Value = serde_json::from_slice(&status.stdout).expect("a status");
        assert_eq!(status["sandbox"]["tier"], tier.word(), "{status}");
        Self { tier, server, witness: Witness::new() }
    }

    fn run_all(&mut self, cases: &[Case]) -> Vec<Value> {
        let told = self.turn(cases);
        let is_clean = told.iter().all(|one| one["harm"].as_array().is_some_and(Vec::is_empty));
        if is_clean || cases.len() == 1 {
            return told;
        }
        // One of them hit something: alone, each answers for itself.
        cases.iter().flat_map(|case| self.turn(std::slice::from_ref(case))).collect()
    }

    fn turn(&mut self, cases: &[Case]) -> Vec<Value> {
        empty(Path::new(WORKSPACE));
        let directory = |index: usize| format!("r{index}");
        for index in 0..cases.len() {
            fixture::lay(&Path::new(WORKSPACE).join(directory(index))).expect("a workspace");
        }
        self.witness.begin();
        let call = |(index, case): (usize, &Case)| {
            let timeout_s = if case.group == "resources" { ENDLESS_S } else { TIMEOUT_S };
            let network: &[&str] = if case.reads_elsewhere() { &[GRANTED] } else { &[] };
            let call = json!({ "command": case.command, "cwd": directory(index), "timeout_s": timeout_s,
                "network": network });
            format!("/call run_command {call}")
        };
        let script: Vec<String> = cases.iter().enumerate().map(call).collect();
        let began = std::time::Instant::now();
        let ran = range::product(self.tier, &["run", "--json", &script.join("\n")]).output().expect("unshare runs");
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let calls = self.calls();
        let left = self.witness.left();
        let mut told = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let call = calls.iter().find(|call| call[0] == index);
            let said = call.and_then(|call| call[3].as_str()).unwrap_or_default();
            let mut harm = self.witness.harm(said);
            if !left.is_empty() {
                harm.push(format!("left processes behind: {left:?}"));
            }
            let call = call.cloned().unwrap_or_else(|| {
                let said = String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr].concat()).into_owned();
                vec![json!(index), json!("none"), Value::Null, json!(said)]
            });
            told.push(json!({ "case": case.name(), "harm": harm, "class": call[1], "verdict": call[2],
                "said": call[3], "turn_ms": took }));
        }
        told
    }

    /// Of the latest turn: index, class, verdict, and what was told of it.
    fn calls(&self) -> Vec<Vec<Value>> {
        const QUERY: &str = "WITH turn AS (SELECT session FROM v_records ORDER BY at DESC, seq DESC LIMIT 1), \
            r AS (SELECT seq, kind, data FROM v_records WHERE session = (SELECT session FROM turn)) \
            SELECT p.data ->> '$.tool.call.index', j.data ->> '$.facts.class', j.data -> '$.verdict', \
            CAST(body(CAST(COALESCE(e.data ->> '$.end.done.result.id', e.data ->> '$.end.failed.result.id', \
            j.data ->> '$.verdict.invalid.detail.id') AS INTEGER)) AS TEXT) FROM r p \
            JOIN r j ON j.kind = 'judged' AND j.data ->> '$.effect' = p.seq \
            LEFT JOIN r e ON e.kind = 'ended' AND e.data ->> '$.effect' = p.seq \
            WHERE p.kind = 'planned' AND p.data ->> '$.tool.call.index' IS NOT NULL";
        let out = range::product(self.tier, &["sql", QUERY, "--json"]).output().expect("unshare runs");
        let told: Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|_| panic!("sql: {}", String::from_utf8_lossy(&[out.stdout, out.stderr].concat())));
        let rows = told["rows"].as_array().cloned().unwrap_or_default();
        rows.into_iter().filter_map(|row| row.as_array().cloned()).collect()
    }
}

fn empty(directory: &Path) {
    let entries: Vec<PathBuf> = fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    for path in entries {
        // What a command has made unreadable is opened again first.
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwX"]).arg(&path).output();
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("the workspace is emptied");
    }
}
