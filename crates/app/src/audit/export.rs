//! The journal, or a span of it, as lines of JSON that are verified by what stands in them, without a home: its entries, and before
//! those that it covers each checkpoint that covers nothing else. A file that was cut short still begins with what was promised.
use std::collections::BTreeMap;
use std::io::{self, BufRead};

use backstay_kernel::id::{BodyRef, Digest, Seq, SessionId};
use backstay_store::{Sealed, entry_hash, salt_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::line::{self, Checkpoint, Tip};

/// Faults that are told one by one.
const FAULTS_MAX: usize = 100;

/// One entry with all that its hash covers, and, where they were asked for, the texts that it refers to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    pub session: SessionId,
    pub seq: Seq,
    pub lineage: u64,
    /// Of the entry before it in its session, which the export of a span may not have.
    pub previous: Digest,
    pub hash: Digest,
    pub stored: String,
    /// By their numbers; null where one was erased.
    pub bodies: Option<BTreeMap<u64, Option<Text>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub salt: String,
    pub text: String,
}

/// What an entry refers to, each once: whatever has the form of a reference to a body is one.
#[must_use]
pub fn references(stored: &Value) -> Vec<BodyRef> {
    let mut found = BTreeMap::new();
    collect(stored, &mut found);
    found.into_values().collect()
}

fn collect(value: &Value, found: &mut BTreeMap<u64, BodyRef>) {
    match value {
        Value::Object(fields) => {
            if let Ok(reference) = serde_json::from_value::<BodyRef>(value.clone()) {
                found.insert(reference.id, reference);
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What an export holds, and what in it is not as it was written.
#[derive(Default, Debug, Serialize)]
pub struct Report {
    pub sound: bool,
    /// Whose signatures were looked for.
    pub key: Option<String>,
    pub sessions: usize,
    pub entries: u64,
    pub bodies: u64,
    pub erased: u64,
    pub checkpoints: u64,
    /// Entries that no checkpoint covers.
    pub unsigned: u64,
    pub fault_count: usize,
    pub faults: Vec<String>,
}

/// Without a key those signatures count that the first checkpoint names.
///
/// # Errors
/// The lines cannot be read.
pub fn verify(lines: impl BufRead, key: Option<&str>) -> io::Result<Report> {
    let report = Report { key: key.map(str::to_owned), ..Report::default() };
    let mut file = File { report, ..File::default() };
    for (number, line) in (1..).zip(lines.split(b'\n')) {
        file.line(number, line?);
    }
    Ok(file.conclude())
}

/// The entries that one checkpoint covers: those that follow its line, by their count of records.
struct Section {
    /// The line of the checkpoint.
    line: usize,
    checkpoint: Checkpoint,
    /// Records that are still to come.
    left: u64,
    ends: BTreeMap<SessionId, (Seq, Digest)>,
}

#[derive(Default)]
struct File {
    /// Where each session has come to.
    tips: BTreeMap<SessionId, (Seq, Digest)>,
    signed: Option<Tip>,
    section: Option<Section>,
    /// Entries since the last section ended.
    beside: u64,
    report: Report,
}

impl File {
    fn fault(&mut self, text: String) {
        self.report.fault_count += 1;
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(text);
        }
    }

    fn line(&mut self, number: usize, line: Vec<u8>) {
        let Ok(line) = String::from_utf8(line) else {
            return self.fault(format!("line {number} is no text: its bytes were changed"));
        };
        if line::is_meant(&line) {
            return self.checkpoint(number, &line);
        }
        match serde_json::from_str(&line) {
            Ok(entry) => self.entry(number, entry),
            Err(_) => self.fault(format!(
                "line {number} is neither an entry nor a checkpoint: it was changed, or the file breaks off in it"
            )),
        }
    }

    fn checkpoint(&mut self, number: usize, line: &str) {
        self.close();
        let key = self.report.key.get_or_insert_with(|| line::signer(line).unwrap_or_default());
        let Some((checkpoint, tip)) = line::read(line, key) else {
            let what = "it was changed, or is of another home";
            return self.fault(format!("line {number} is no checkpoint that this key has signed: {what}"));
        };
        let n = checkpoint.n;
        let beside = std::mem::take(&mut self.beside);
        let before = self.signed.replace(tip);
        // Checkpoints leave nothing out between them, and nothing comes before the first.
        if beside > 0 && (n == 1 || before.is_some()) {
            let what = "they were put in or moved";
            self.fault(format!("line {number}: of the entries before it {beside} are of no checkpoint: {what}"));
        }
        if let Some(before) = before.filter(|before| before.hash != checkpoint.previous) {
            let what = "what stood between them is missing, or lines were moved";
            self.fault(format!("line {number}: checkpoint {n} does not follow {}: {what}", before.n));
        }
        self.report.checkpoints += 1;
        self.section = Some(Section { line: number, left: checkpoint.records, checkpoint, ends: BTreeMap::new() });
    }

    fn entry(&mut self, number: usize, entry: Exported) {
        let Exported { session, seq, lineage, previous, hash, stored, bodies } = entry;
        if entry_hash(lineage, session, seq, &previous, &stored) != hash {
            let what = "its hash is not of these bytes: one of them was changed";
            self.fault(format!("line {number}: the entry of {session} at {}: {what}", seq.0));
        }
        if let Some((before, tip)) = self.tips.insert(session, (seq, hash))
            && tip != previous
        {
            let what = "what stood between them is missing, or lines were moved";
            let follows = format!("does not follow the one at {}", before.0);
            self.fault(format!("line {number}: the entry of {session} at {} {follows}: {what}", seq.0));
        }
        self.report.entries += 1;
        let stored: Value = serde_json::from_str(&stored).unwrap_or_default();
        let records = stored.get("records").and_then(Value::as_array).map_or(0, Vec::len);
        match &mut self.section {
            Some(section) => {
                section.ends.insert(session, (seq, hash));
                section.left = section.left.saturating_sub(u64::try_from(records).unwrap_or(u64::MAX));
                if section.left == 0 {
                    self.close();
                }
            }
            None => {
                self.beside += 1;
                self.report.unsigned += 1;
            }
        }
        if let Some(texts) = bodies {
            self.texts(number, &stored, texts);
        }
    }

    fn texts(&mut self, number: usize, stored: &Value, mut texts: BTreeMap<u64, Option<Text>>) {
        for reference in references(stored) {
            let id = reference.id;
            self.report.bodies += 1;
            match texts.remove(&id) {
                Some(None) => self.report.erased += 1,
                Some(Some(Text { salt, text })) => {
                    let sealed =
                        salt_of(&salt).and_then(|salt| Sealed::new(reference, Some((salt, text.into_bytes()))));
                    if sealed.is_none() {
                        self.fault(format!("line {number}: the text {id} is not of its digest: it was changed"));
                    }
                }
                None => {
                    self.fault(format!("line {number}: the text {id} was taken out: where one is erased stands null"))
                }
            }
        }
        for id in texts.into_keys() {
            self.fault(format!("line {number}: the text {id} was put in: the entry refers to none of that number"));
        }
    }

    /// Whatever a checkpoint covers has come, or will not come any more.
    fn close(&mut self) {
        let Some(Section { line, checkpoint, left, ends }) = self.section.take() else { return };
        let signed: BTreeMap<String, (Seq, String)> =
            checkpoint.ends.into_iter().map(|(session, seq, hash)| (session, (Seq(seq), hash))).collect();
        let found: BTreeMap<String, (Seq, String)> =
            ends.into_iter().map(|(session, (seq, hash))| (session.to_string(), (seq, hash.to_string()))).collect();
        if left == 0 && signed == found {
            return;
        }
        let n = checkpoint.n;
        if left > 0 {
            let what = "lines were taken out, or the file was cut short";
            self.fault(format!("line {line}: of what checkpoint {n} has signed {left} records are not here: {what}"));
        }
        for (session, end) in &signed {
            match found.get(session) {
                Some(here) if here == end => {}
                Some(here) if here.0 == end.0 => self.fault(format!(
                    "line {line}: checkpoint {n} has signed another entry of {session} at {} than the one that stands here: \
                     it was written anew, or the checkpoint is of another home",
                    end.0.0
                )),
                Some(_) | None => self.fault(format!(
                    "line {line}: checkpoint {n} has signed that {session} had come to {}, and here it has not: \
                     lines were taken out or moved, or the file was cut short",
                    end.0.0
                )),
            }
        }
        for session in found.keys().filter(|session| !signed.contains_key(*session)) {
            self.fault(format!(
                "line {line}: checkpoint {n} has signed nothing of {session}: lines were put in or moved"
            ));
        }
    }

    fn conclude(mut self) -> Report {
        self.close();
        if self.report.entries == 0 {
            self.fault("there is no entry in it".to_owned());
        }
        if self.report.key.is_some() && self.report.checkpoints == 0 {
            self.fault(
                "there is no checkpoint in it that this key has signed: of nothing it is proved who wrote it"
                    .to_owned(),
            );
        }
        let mut report = self.report;
        report.sessions = self.tips.len();
        report.sound = report.fault_count == 0;
        report
    }
}
