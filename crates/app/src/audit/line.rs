//! One checkpoint as a line of JSON, signed as it stands there, each with the hash of the line before.
use std::collections::BTreeMap;

use backstay_kernel::id::{Digest, Seq, SessionId};
use backstay_secrets::{Signer, is_signed};
use backstay_store::{Reached, Span};
use serde::{Deserialize, Serialize};

const DOMAIN: &str = "backstay checkpoint v1";
const SIGNATURE: &str = ",\"signature\":\"";

/// What is signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub v: u32,
    /// From 1, without a gap.
    pub n: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The home's, which every restore changes.
    pub lineage: u64,
    /// Of the line before; of nothing for the first.
    pub previous: String,
    /// The last entry that is covered.
    pub entry: u64,
    pub records: u64,
    /// Session, seq and hash of its last entry: of the sessions that have moved on.
    pub ends: Vec<(String, u64, String)>,
    /// The signer's public key.
    pub by: String,
}

/// Where a chain of lines has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tip {
    pub n: u64,
    pub entry: u64,
    pub lineage: u64,
    pub hash: String,
}

impl Tip {
    /// Of no line at all.
    #[must_use]
    pub fn none(lineage: u64) -> Self {
        Self { n: 0, entry: 0, lineage, hash: hash(b"") }
    }
}

fn hash(line: &[u8]) -> String {
    Digest::of(DOMAIN, &[line]).to_string()
}

/// The next line of a chain, without a line break, and the tip that it makes.
#[must_use]
pub fn next(tip: &Tip, reached: &Reached, at: u64, signer: &Signer) -> (String, Tip) {
    let end = |(session, (seq, hash)): (&SessionId, &(Seq, Digest))| (session.to_string(), seq.0, hash.to_string());
    let checkpoint = Checkpoint {
        v: 1,
        n: tip.n + 1,
        at,
        lineage: tip.lineage,
        previous: tip.hash.clone(),
        entry: reached.entry,
        records: reached.records,
        ends: reached.ends.iter().map(end).collect(),
        by: signer.public(),
    };
    let text = serde_json::to_string(&checkpoint).unwrap_or_default();
    let signature = signer.sign(text.as_bytes());
    let line = format!("{}{SIGNATURE}{signature}\"}}", text.strip_suffix('}').unwrap_or_default());
    let tip = Tip { n: checkpoint.n, entry: checkpoint.entry, lineage: tip.lineage, hash: hash(line.as_bytes()) };
    (line, tip)
}

/// What a line says, and the tip that it makes; `None` where it is none of that signer's.
#[must_use]
pub fn read(line: &str, public: &str) -> Option<(Checkpoint, Tip)> {
    let (text, checkpoint, signature) = unsigned(line)?;
    if checkpoint.v != 1 || checkpoint.by != public || !is_signed(public, text.as_bytes(), signature) {
        return None;
    }
    let Checkpoint { n, entry, lineage, .. } = checkpoint;
    Some((checkpoint, Tip { n, entry, lineage, hash: hash(line.as_bytes()) }))
}

/// The text that is signed, what it says, and a signature that nobody has looked at.
fn unsigned(line: &str) -> Option<(String, Checkpoint, &str)> {
    let (before, after) = line.rsplit_once(SIGNATURE)?;
    let text = format!("{before}}}");
    let checkpoint = serde_json::from_str(&text).ok()?;
    Some((text, checkpoint, after.strip_suffix("\"}")?))
}

/// Whether a line of JSON is meant to be a checkpoint: within a text these characters would be escaped.
#[must_use]
pub fn is_meant(line: &str) -> bool {
    line.contains(SIGNATURE)
}

/// Who has signed a line, as it says itself.
#[must_use]
pub fn signer(line: &str) -> Option<String> {
    unsigned(line).map(|(_, checkpoint, _)| checkpoint.by)
}

/// Of a file of checkpoints those that speak of entries of a span alone, each with the first entry that it covers. After a
/// restore a home signs all of its journal anew, so that its present lineage is enough.
#[must_use]
pub fn within(text: &str, lineage: u64, span: Span) -> Vec<(u64, &str)> {
    let (mut before, mut found) = ((0, 0), Vec::new());
    for line in text.lines() {
        let Some((_, now, _)) = unsigned(line).filter(|(_, now, _)| now.lineage == lineage) else { continue };
        // Of one that came twice, or without the one before it, nobody can tell where it begins.
        let follows = before.0 + 1 == now.n;
        let begins = before.1 + 1;
        before = (now.n, now.entry);
        if follows && span.first <= begins && now.entry <= span.last {
            found.push((begins, line));
        }
    }
    found
}

/// What a file of checkpoints says of a journal.
#[derive(Debug, Default)]
pub struct Chain {
    pub checkpoints: u64,
    pub ends: BTreeMap<(SessionId, Seq), Digest>,
    /// Of the last line.
    pub entry: u64,
    /// Lineages that ended in a restore: the journal may lack what they had after the backup.
    pub left: Vec<u64>,
    /// Which lineage said it.
    pub lineages: BTreeMap<(SessionId, Seq), u64>,
    pub faults: Vec<String>,
}

/// Reads a file of them: each line signed, each following the one before.
#[must_use]
pub fn chain(text: &str, public: &str) -> Chain {
    let mut chain = Chain::default();
    let mut tip: Option<Tip> = None;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let Some((checkpoint, now)) = read(line, public) else {
            chain.faults.push(format!("line {number} is no checkpoint that this key has signed"));
            continue;
        };
        // The same line twice is one that was delivered twice.
        if tip.as_ref() == Some(&now) {
            continue;
        }
        let begins = now.n == 1 && checkpoint.previous == Tip::none(0).hash;
        match &tip {
            None if begins => {}
            None => chain.faults.push(format!("line {number}: what came before checkpoint {} is missing", now.n)),
            Some(before) if begins && before.lineage != now.lineage => chain.left.push(before.lineage),
            Some(before) if checkpoint.previous == before.hash && now.n == before.n + 1 => {}
            Some(before) => {
                chain.faults.push(format!("line {number}: checkpoint {} does not follow {}", now.n, before.n));
            }
        }
        chain.checkpoints += 1;
        chain.entry = now.entry;
        for (session, seq, hash) in &checkpoint.ends {
            match (SessionId::parse(session), Digest::parse(hash)) {
                (Some(session), Some(hash)) => {
                    chain.ends.insert((session, Seq(*seq)), hash);
                    chain.lineages.insert((session, Seq(*seq)), now.lineage);
                }
                _ => chain.faults.push(format!("line {number} names what is no session")),
            }
        }
        tip = Some(now);
    }
    if chain.checkpoints == 0 && chain.faults.is_empty() {
        chain.faults.push("there is no checkpoint in it".to_owned());
    }
    chain
}
