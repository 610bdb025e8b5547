//! Sessions that move from one home to another.
use backstay_engine::{Command, EngineError, ImportError, Imported, Reader, Submitted};
use backstay_kernel::budget::{Ceiling, Used, windows};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, Seq, SessionId};
use backstay_kernel::record::{Entry, Record};
use backstay_kernel::refusal::Code;
use backstay_sim::setting::BEGINNING;
use backstay_store::{Options, entry_hash};
use serde_json::{Value, json};

use crate::stage::{Line, Play, asked, call, decide, owner, policy};

fn exported(play: &Play, session: SessionId) -> String {
    let mut export = Reader::new(play.store.clone()).export(session).unwrap();
    std::iter::from_fn(|| export.next_lines().unwrap()).collect()
}

/// A session of one turn that used a tool, and the home that it is in.
async fn played(home: &std::path::Path) -> (Play, Submitted) {
    let play = Play::begin(home, policy(), vec![call("send", r#"{"to": "bob"}"#), Line::Say("sent, \"really\"")]).await;
    let said = play.say(None, "send it, söld\u{1}").await;
    play.ended(said).await;
    (play, said)
}

async fn resume(play: &Play, session: SessionId) {
    play.engine
        .command(&owner(), session, Command::Resume { by: "owner".into(), speaks: Speaks::Human }, None)
        .await
        .unwrap();
}

fn stored(play: &Play, session: SessionId) -> Vec<(u64, Digest, String)> {
    let rows = play.store.entries_after(session, Default::default(), usize::MAX).unwrap();
    rows.into_iter().map(|row| (row.lineage, row.hash, row.body)).collect()
}

/// Nothing at all was stored by `import`.
fn refused(play: &Play, file: &str) -> ImportError {
    let before = (play.store.stats().unwrap(), play.store.verify().unwrap());
    let error = play.engine.import(file, "owner").unwrap_err();
    let after = (play.store.stats().unwrap(), play.store.verify().unwrap());
    assert_eq!((before.0.sessions, before.0.entries, before.1), (after.0.sessions, after.0.entries, after.1));
    error
}

#[tokio::test]
async fn a_session_comes_in_as_it_was_stopped_and_goes_on_when_it_is_resumed() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let to = Play::begin(there.path(), policy(), vec![Line::Say("still here")]).await;
    let file = exported(&from, said.session);
    let records = from.store.head(said.session).unwrap().unwrap().seq.0;
    let imported = to.engine.import(&file, "owner").unwrap();
    assert_eq!(imported, Imported { session: said.session, records, doubts: 0 });
    let (was, is) = (stored(&from, said.session), stored(&to, said.session));
    assert_eq!(is[..was.len()], was[..]);
    assert_eq!(is.len(), was.len() + 1);
    assert_eq!(to.wait(said), "stopped");
    assert!(to.store.verify().unwrap().is_sound());
    let told = to.engine.submit(&owner(), crate::stage::message(Some(said.session), "and?")).await.unwrap_err();
    assert!(matches!(&told, EngineError::Refused(no) if no.code == Code::SessionStopped), "{told:?}");
    resume(&to, said.session).await;
    let next = to.say(Some(said.session), "and?").await;
    assert_eq!(to.text(to.ended(next).await.reply), "still here");
    let sent = to.stage.sent.lock().unwrap().clone();
    assert!(sent[0].contains("send it, söld") && sent[0].contains("sent, "), "{}", sent[0]);
    assert_eq!(to.stage.acts_of("send"), 0);
    // And on to a third home, with what both of the first wrote.
    let last = tempfile::tempdir().unwrap();
    let third = Play::begin(last.path(), policy(), vec![Line::Say("and here")]).await;
    assert_eq!(third.engine.import(&exported(&to, said.session), "owner").unwrap().doubts, 0);
    resume(&third, said.session).await;
    let next = third.say(Some(said.session), "and now?").await;
    assert_eq!(third.text(third.ended(next).await.reply), "and here");
    assert!(third.store.verify().unwrap().is_sound());
}

#[tokio::test]
async fn a_file_that_was_changed_in_any_byte_is_refused() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let to = Play::begin(there.path(), policy(), vec![]).await;
    let file = exported(&from, said.session);
    for at in 0..file.len() {
        let mut bytes = file.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(changed) = String::from_utf8(bytes) {
            let told = to.engine.import(&changed, "owner");
            // The line break before the end of the file is none that anything hangs on.
            assert!(matches!(told, Err(ImportError::NotAnExport(_))), "byte {at}: {told:?} {changed:.300}");
        }
    }
    let lines: Vec<&str> = file.lines().collect();
    for skipped in 0..lines.len() {
        let rest: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != skipped).map(|(_, line)| *line).collect();
        refused(&to, &rest.join("\n"));
        refused(&to, &lines[..skipped].join("\n"));
    }
    let twice = [lines.as_slice(), &lines[lines.len() - 1..]].concat();
    refused(&to, &twice.join("\n"));
    assert!(to.engine.import(&file, "owner").is_ok());
    assert_eq!(refused(&to, &file), ImportError::Exists(said.session));
}

#[tokio::test]
async fn what_was_on_its_way_is_in_doubt_and_its_turn_has_ended() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = Play::begin(here.path(), policy(), vec![call("guarded", "{}"), Line::Say("done")]).await;
    let said = from.say(None, "do it").await;
    let view = from.until(said, |view| asked(view).is_some()).await;
    let file = exported(&from, said.session);
    let to = Play::begin(there.path(), policy(), vec![Line::Say("I do not know")]).await;
    assert_eq!(to.engine.import(&file, "owner").unwrap().doubts, 1);
    let yes = decide(asked(&view).unwrap(), true);
    assert!(to.engine.command(&owner(), said.session, yes.clone(), None).await.is_err());
    resume(&to, said.session).await;
    let next = to.say(Some(said.session), "was it done?").await;
    to.ended(next).await;
    assert_eq!(to.stage.acts_of("guarded"), 0);
    from.engine.command(&owner(), said.session, yes, None).await.unwrap();
    from.ended(said).await;
    assert_eq!(from.stage.acts_of("guarded"), 1);
}

#[tokio::test]
async fn what_a_session_has_cost_counts_where_it_comes_in() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut dear = policy();
    dear.agents.get_mut("main").unwrap().budget.day = Ceiling { tokens: Some(1_000_000), micro_usd: None };
    let from = Play::begin(here.path(), dear.clone(), vec![Line::Say("it has its price"), Line::Hang]).await;
    let said = from.say(None, "well?").await;
    from.ended(said).await;
    // And one whose bill may still come, for all that the other home will ever know.
    let hanging = from.say(Some(said.session), "again?").await;
    from.stage.hung.notified().await;
    let to = Play::begin(there.path(), dear.clone(), vec![]).await;
    to.engine.import(&exported(&from, hanging.session), "owner").unwrap();
    let keys: Vec<String> = windows(&dear, "main", "owner", "test", BEGINNING).into_iter().map(|w| w.key).collect();
    let (was, is) = (from.store.ledger(&keys).unwrap(), to.store.ledger(&keys).unwrap());
    assert!(was.iter().all(|used| used.settled.tokens > 0 && used.reserved.tokens > 0), "{was:?}");
    let sums = |all: &[Used]| all.iter().map(|used| used.sum()).collect::<Vec<_>>();
    assert_eq!(sums(&was), sums(&is));
    assert!(is.iter().all(|used| used.reserved.tokens == 0), "{is:?}");
}

#[tokio::test]
async fn a_session_without_its_agent_or_principal_is_refused_by_their_names() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let file = exported(&from, said.session);
    let mut lacking = policy();
    let agent = lacking.agents.remove("main").unwrap();
    let to = Play::begin(there.path(), lacking.clone(), vec![]).await;
    let no = refused(&to, &file);
    assert!(
        matches!(&no, ImportError::Refused(no) if no.code == Code::UnknownAgent && no.next.contains("[agents.main]"))
    );
    lacking.agents.insert("main".into(), agent);
    lacking.principals.remove("owner");
    to.engine.reload(lacking, "another", "owner", None, crate::stage::LIMITS).await.unwrap();
    let no = refused(&to, &file);
    assert!(matches!(&no, ImportError::Refused(no) if no.code == Code::UnknownPrincipal), "{no:?}");
}

/// The file with its entries changed and a chain that is right again, as only somebody can make it who
/// means to; `write` makes the text of an entry.
fn forged_as(file: &str, change: impl Fn(&mut Value), write: impl Fn(&Entry<Record>) -> String) -> String {
    let (mut hash, mut seq) = (Digest::default(), 0);
    let mut lines: Vec<String> = Vec::new();
    let mut header: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    let session = SessionId::parse(header["session"]["session"].as_str().unwrap()).unwrap();
    for line in file.lines().skip(1) {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let Some(entry) = value.get_mut("entry") else {
            lines.push(line.to_owned());
            continue;
        };
        change(entry);
        let records: Entry<Record> = serde_json::from_value(entry["stored"].clone()).unwrap();
        seq += records.records.len() as u64;
        let (lineage, stored) = (entry["lineage"].as_u64().unwrap(), write(&records));
        hash = entry_hash(lineage, session, Seq(seq), &hash, &stored);
        lines.push(format!(r#"{{"entry":{{"seq":{seq},"lineage":{lineage},"hash":"{hash}","stored":{stored}}}}}"#));
    }
    header["session"]["seq"] = json!(seq);
    header["session"]["hash"] = json!(hash);
    lines.insert(0, header.to_string());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn forged(file: &str, change: impl Fn(&mut Value)) -> String {
    forged_as(file, change, |entry| serde_json::to_string(entry).unwrap())
}

/// Every record of the kind in a stored entry.
fn each(entry: &mut Value, kind: &str, change: impl Fn(&mut Value)) {
    let records = entry["stored"]["records"].as_array_mut().unwrap();
    records.iter_mut().filter_map(|record| record.get_mut(kind)).for_each(change);
}

/// Adds a record to the entry in which the model called its tool.
fn with(file: &str, record: &Value) -> String {
    forged(file, |entry| {
        let records = entry["stored"]["records"].as_array_mut().unwrap();
        if records.iter().any(|record| !record["planned"]["tool"].is_null()) {
            records.push(record.clone());
        }
    })
}

#[tokio::test]
async fn a_forged_file_gets_no_other_text_of_the_home_and_starts_nothing() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let file = exported(&from, said.session);
    let to = Play::begin(there.path(), policy(), vec![Line::Say("hm"), Line::Say("hm")]).await;
    let secret = to.say(None, "a secret").await;
    let view = to.ended(secret).await;
    assert!(matches!(&view.records[0].record, Record::Admitted(_)));
    let Record::Admitted(admitted) = &view.records[0].record else { return };
    let message = json!({ "admitted": {
        "principal": "owner", "channel": "api", "mode": "queue", "body": admitted.body,
        "label": admitted.label,
    } });
    let no = refused(&to, &with(&file, &message));
    assert!(no.to_string().contains("is missing"), "{no}");
    let elsewhere = forged(&file, |entry| entry["lineage"] = json!(7));
    assert!(refused(&to, &elsewhere).to_string().contains("the chain breaks"));
    let opened = json!({ "opened": {
        "agent": "main", "principal": "owner", "channel": "api", "title": null, "lineage": to.store.lineage(),
    } });
    assert!(refused(&to, &with(&file, &opened)).to_string().contains("and once"));
    // A call for a turn that has not begun, which would ride along with it.
    let mut planned = Value::Null;
    for line in file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for record in line["entry"]["stored"]["records"].as_array().into_iter().flatten() {
            if !record["planned"]["tool"].is_null() {
                planned = record.clone();
            }
        }
    }
    planned["planned"]["tool"]["turn"] = json!(99);
    assert!(refused(&to, &with(&file, &planned)).to_string().contains("come to an end"));
    // One that is right in itself comes in: the owner's file is the owner's word, and no permission.
    let otherwise = forged(&file, |entry| entry["stored"]["at"] = json!(5));
    assert_eq!(to.engine.import(&otherwise, "owner").unwrap().doubts, 0);
    assert_eq!(to.stage.acts_of("send"), 0);
}

#[tokio::test]
async fn what_a_forged_file_has_cost_must_add_up() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut dear = policy();
    dear.agents.get_mut("main").unwrap().budget.day = Ceiling { tokens: Some(1_000_000), micro_usd: None };
    let script = vec![call("send", "{}"), Line::Say("done")];
    let from = Play::begin(here.path(), dear.clone(), script).await;
    let said = from.say(None, "well?").await;
    from.ended(said).await;
    let file = exported(&from, said.session);
    let to = Play::begin(there.path(), dear, vec![]).await;
    // More than any ledger holds.
    let most = json!({ "tokens": 1u64 << 53, "micro_usd": 0 });
    let rich = forged(&file, |entry| {
        each(entry, "ended", |ended| {
            if !ended["end"]["replied"].is_null() {
                ended["spent"] = most.clone();
            }
        });
    });
    assert!(refused(&to, &rich).to_string().contains("does not add up"));
    // Money that a tool holds, and gives back to nobody.
    let money = std::sync::Mutex::new(Value::Null);
    let held = forged(&file, |entry| {
        each(entry, "started", |started| {
            let mut money = money.lock().unwrap();
            if started["reservation"].is_null() {
                started["reservation"] = money.clone();
                started["effect"] = json!(1);
            } else {
                *money = started["reservation"].clone();
            }
        });
    });
    assert!(refused(&to, &held).to_string().contains("does not add up"));
    // The ledger would miss what is written otherwise.
    let loose = forged_as(
        &file,
        |_| {},
        |entry| serde_json::to_string(entry).unwrap().replace("{\"started\"", "{ \"started\""),
    );
    assert!(refused(&to, &loose).to_string().contains("as a home writes them"));
    to.engine.import(&file, "owner").unwrap();
    assert!(to.store.verify().unwrap().is_sound());
}

#[tokio::test]
async fn a_number_that_no_file_holds_is_refused_and_halts_nothing() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let to = Play::begin(there.path(), policy(), vec![]).await;
    let far = forged(&exported(&from, said.session), |entry| {
        entry["lineage"] = json!(u64::MAX);
        each(entry, "opened", |opened| opened["lineage"] = json!(u64::MAX));
    });
    assert!(matches!(refused(&to, &far), ImportError::NotAnExport(_)));
    assert_eq!(to.store.writable(), Ok(()));
}

#[tokio::test]
async fn without_room_nothing_comes_in() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let first = Play::begin(there.path(), policy(), vec![]).await;
    first.store.close().unwrap();
    let no_room = Options { ballast_bytes: 0, free_bytes_min: u64::MAX };
    let to = Play::begin_with(there.path(), no_room, policy(), vec![]).await;
    assert!(matches!(refused(&to, &exported(&from, said.session)), ImportError::Halted(_)));
}

#[tokio::test]
async fn a_file_of_a_home_that_was_copied_by_hand_is_refused_and_the_home_goes_on() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (play, _) = played(here.path()).await;
    play.store.close().unwrap();
    for file in std::fs::read_dir(here.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), there.path().join(file.file_name())).unwrap();
    }
    let copy = Play::begin(there.path(), policy(), vec![Line::Say("in the copy")]).await;
    let said = copy.say(None, "hello").await;
    copy.ended(said).await;
    let first = Play::begin(here.path(), policy(), vec![Line::Say("in the first")]).await;
    let no = refused(&first, &exported(&copy, said.session));
    assert!(no.to_string().contains("copy made by hand"), "{no}");
    let said = first.say(None, "and here?").await;
    assert_eq!(first.text(first.ended(said).await.reply), "in the first");
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_told_by_its_own_number() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, said) = played(here.path()).await;
    let to = Play::begin(there.path(), policy(), vec![]).await;
    let file = exported(&from, said.session);
    let cut = file.lines().next().unwrap().len() + "\n{\"body\":".len();
    let told = refused(&to, &file[..cut]).to_string();
    assert!(told.ends_with("line 2, column 8: EOF while parsing a value"), "{told}");
}
