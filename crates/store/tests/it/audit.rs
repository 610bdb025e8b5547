//! Rows beside the chain are compared with the records that they were committed with.
use backstay_kernel::budget::{Amount, Ceiling, LedgerEntry};
use backstay_kernel::id::{BodyRef, Boot, Digest, RepeatKey, Seq};
use backstay_kernel::label::{Label, Source};
use backstay_kernel::record::{
    Admitted, End, Ended, Entry, Mode, Opened, Record, Reservation, Started, TurnStarted, VERSION,
};
use backstay_store::{Append, InboxRow, NewMemory, NewSession, Store, restore};

use crate::harness::{OPTIONS, TestHome, tamper};

const KEY: &str = "home/day/2026-11-21";
const MOST: Amount = Amount { tokens: 60, micro_usd: 7 };
const BILL: Amount = Amount { tokens: 20, micro_usd: 2 };

fn body(id: u64) -> BodyRef {
    BodyRef { id, digest: Digest::default(), bytes: 1 }
}

fn with(append: Append, records: Vec<Record>) -> Append {
    let count = u32::try_from(records.len()).unwrap();
    let entry = Entry { v: VERSION, at: append.at, records };
    Append { records: count, entry: serde_json::to_string(&entry).unwrap(), ..append }
}

fn ended(effect: u64, end: End, spent: Option<Amount>) -> Record {
    Record::Ended(Ended { effect: Seq(effect), at: 1, started: None, end, spent })
}

/// A message and a model call of session `n`, in flight.
fn call(home: &TestHome, n: u8) {
    let (agent, principal, channel) = ("main".to_owned(), "ann".to_owned(), "api".to_owned());
    let (mode, label) = (Mode::Queue, Label::of(Source::Principal));
    let reservation = Some(Reservation { amount: MOST, windows: vec![KEY.into()] });
    let append = Append {
        create: Some(NewSession {
            agent: agent.clone(),
            principal: principal.clone(),
            channel: channel.clone(),
            title: None,
        }),
        inbox: Some(InboxRow {
            key: [n; 32],
            seq: Seq(2),
            turn: Some(Seq(2)),
            body: Digest::default(),
            expires_at: 9_000,
        }),
        ledger: vec![LedgerEntry::Reserve { key: KEY.into(), amount: MOST, ceiling: Ceiling::default() }],
        ..home.next(n, 0)
    };
    let records = vec![
        Record::Opened(Opened {
            agent,
            principal: principal.clone(),
            channel: channel.clone(),
            title: None,
            lineage: 1,
        }),
        Record::Admitted(Admitted { principal, channel, mode, body: body(1), label, typed: None }),
        Record::TurnStarted(TurnStarted { messages: vec![Seq(2)], label: None }),
        Record::Started(Started {
            effect: Seq(9),
            at: 1,
            boot: Boot(1),
            epoch: 1,
            attempt: 1,
            request: None,
            reservation,
            counted: Vec::new(),
        }),
    ];
    home.commit(with(append, records)).unwrap();
}

/// Its bill, and a call that left a memory.
fn reply(home: &TestHome, n: u8) {
    let append = Append {
        ledger: vec![LedgerEntry::Settle { key: KEY.into(), reserved: MOST, spent: BILL }],
        memories: vec![NewMemory { principal: "ann".into(), text: "kept".into() }],
        ..home.next(n, 4)
    };
    let done = End::Done {
        result: body(2),
        repeat: RepeatKey([1; 8]),
        label: Label::of(Source::Tool),
        warned: false,
        spill: None,
    };
    home.commit(with(append, vec![ended(9, End::Unknown, Some(BILL)), ended(10, done, None)])).unwrap();
}

#[test]
fn a_working_home_and_its_copies_are_as_their_records_book_them() {
    let home = TestHome::new();
    call(&home, 1);
    reply(&home, 1);
    call(&home, 2);
    let report = home.store.verify().unwrap();
    assert_eq!((&report.faults[..], report.windows, report.keys, report.memories), (&[][..], 1, 2, 1));
    let (copy, back) = (home.beside("copy"), home.beside("back"));
    assert!(home.store.backup(&copy, || Ok(())).unwrap().0.is_sound());
    assert!(restore(&copy, &back).unwrap().is_sound());
    reply(&home, 2);
    assert!(home.store.verify().unwrap().is_sound());
}

#[test]
fn a_row_that_was_changed_taken_or_added_beside_the_chain_is_named() {
    let tampered = [
        (
            "UPDATE ledger SET tokens_settled = 0",
            "the ledger row home/day/2026-11-21 says 0 tokens and 2 micro-USD settled, 60 and 7 reserved, the records book 20 tokens and 2 micro-USD settled, 60 and 7 reserved",
        ),
        ("UPDATE ledger SET usd_reserved = -1", "60 and -1 reserved"),
        ("DELETE FROM ledger", "the ledger has no row home/day/2026-11-21"),
        ("INSERT INTO ledger VALUES('agent:x/day/2026-11-21', 0, 0, 0, 1)", "no record books anything there"),
        ("UPDATE memories SET seq = 4", "the memory 1 is of no call that ended done"),
        ("UPDATE memories SET seq = 7", "the memory 1 names a record that is not there"),
        (
            "INSERT INTO memories SELECT 2, 'bob', session, seq, at, 'planted' FROM memories",
            "the memory 2 is of no call",
        ),
        ("UPDATE inbox SET seq = 50 WHERE session = 1", "names a record that is not there"),
        ("UPDATE inbox SET session = 77 WHERE session = 1", "names a record that is not there"),
        ("UPDATE inbox SET turn = 3 WHERE session = 1", "an inbox row names 3 as a turn"),
        ("UPDATE heads SET principal = 'bob' WHERE id = 2", "another agent, principal, channel or title"),
    ];
    for (sql, expected) in tampered {
        let home = TestHome::new();
        call(&home, 1);
        reply(&home, 1);
        call(&home, 2);
        home.store.close().unwrap();
        tamper(&home.path(), sql);
        let faults = Store::open(&home.path(), OPTIONS).unwrap().verify().unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{sql}: {faults:?}");
        assert!(restore(&home.path(), &home.beside("back")).is_err(), "{sql}");
    }
}
