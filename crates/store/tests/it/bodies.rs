//! Bodies are what was sealed, are stored once where they are shared, and can be erased.
use backstay_kernel::id::BodyRef;
use backstay_store::{Append, Body, NewMemory, Shared, StoreError};

use crate::harness::{TestHome, tamper};

fn store(home: &TestHome, n: u8, body: Body) -> BodyRef {
    let reference = body.reference();
    home.commit(Append { bodies: vec![body], ..home.first(n) }).unwrap();
    reference
}

fn files_contain(home: &TestHome, needle: &[u8]) -> bool {
    std::fs::read_dir(home.path()).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn a_body_reads_back_and_equal_texts_have_different_digests() {
    let mut home = TestHome::new();
    let (a, b) = (home.store.seal(b"hello".to_vec()).unwrap(), home.store.seal(b"hello".to_vec()).unwrap());
    assert_ne!(a.reference().digest, b.reference().digest);
    assert_ne!(a.reference().id, b.reference().id);
    let (a, b) = (store(&home, 1, a), store(&home, 2, b));
    home.reopen();
    for reference in [a, b] {
        assert_eq!(home.store.body(&reference).unwrap().unwrap(), b"hello");
        assert_eq!(reference.bytes, 5);
    }
    let next = home.store.seal(Vec::new()).unwrap().reference();
    assert!(next.id > b.id, "ids go on after a reopening");
    assert!(matches!(home.store.body(&next), Err(StoreError::Corrupt(_))));
    assert!(!format!("{:?}", home.store.seal(b"hello".to_vec()).unwrap()).contains("104, 101"));
}

#[test]
fn shared_bodies_are_stored_once_and_found_after_a_reopening() {
    let mut home = TestHome::new();
    let text = b"You are careful.".to_vec();
    let (first, twin) = (home.store.seal_shared(text.clone()).unwrap(), home.store.seal_shared(text.clone()).unwrap());
    let (Shared::New(first), Shared::New(twin)) = (first, twin) else { panic!("nothing is stored yet") };
    let first = store(&home, 1, first);
    // Sealed before the first was on disk: it is stored a second time and both can be read.
    let twin = store(&home, 2, twin);
    assert_eq!(home.store.body(&twin).unwrap().unwrap(), text);
    for _ in 0..2 {
        match home.store.seal_shared(text.clone()).unwrap() {
            Shared::Stored(reference) => assert_eq!(home.store.body(&reference).unwrap().unwrap(), text),
            Shared::New(_) => panic!("it is stored"),
        }
        home.reopen();
    }
    let found = home.store.seal_shared(text).unwrap().reference();
    assert_eq!(found, first);
    assert!(matches!(home.store.seal_shared(b"other".to_vec()).unwrap(), Shared::New(_)));
}

#[test]
fn an_erased_body_is_gone_from_every_file_and_the_chain_still_holds() {
    let home = TestHome::new();
    let secret = "PURPLE-ELEPHANT-".repeat(700);
    let kept = store(&home, 1, home.store.seal(b"kept".to_vec()).unwrap());
    let gone = store(&home, 2, home.store.seal(secret.clone().into_bytes()).unwrap());
    assert!(files_contain(&home, b"PURPLE-ELEPHANT-"));
    assert!(home.store.erase_body(&gone).unwrap());
    assert!(!home.store.erase_body(&gone).unwrap());
    assert_eq!(home.store.body(&gone).unwrap(), None);
    assert_eq!(home.store.body(&kept).unwrap().unwrap(), b"kept");
    assert!(!files_contain(&home, b"PURPLE-ELEPHANT-"));
    let report = home.store.verify().unwrap();
    assert!(report.is_sound());
    assert_eq!((report.bodies, report.erased), (2, 1));
}

#[test]
fn an_erased_shared_body_is_sealed_anew() {
    let home = TestHome::new();
    let Shared::New(body) = home.store.seal_shared(b"policy".to_vec()).unwrap() else { panic!("new") };
    let reference = store(&home, 1, body);
    home.store.erase_body(&reference).unwrap();
    assert!(matches!(home.store.seal_shared(b"policy".to_vec()).unwrap(), Shared::New(_)));
}

#[test]
fn a_changed_body_is_refused_and_reported() {
    let mut home = TestHome::new();
    let reference = store(&home, 1, home.store.seal(b"pay 10".to_vec()).unwrap());
    home.store.close().unwrap();
    tamper(&home.path(), "UPDATE bodies SET bytes = CAST('pay 99' AS BLOB)");
    home.reopen();
    assert!(matches!(home.store.body(&reference), Err(StoreError::Corrupt(_))));
    assert_eq!(home.store.verify().unwrap().fault_count, 1);
}

#[test]
fn compression_changes_the_size_and_nothing_else() {
    let home = TestHome::new();
    let long = store(&home, 1, home.store.seal(b"again and again ".repeat(1000)).unwrap());
    let short = store(&home, 2, home.store.seal(vec![b'x'; 4095]).unwrap());
    assert_eq!(home.store.compress_some(10).unwrap(), 1);
    assert_eq!(home.store.compress_some(10).unwrap(), 0);
    assert!(home.count("SELECT length(bytes) FROM bodies WHERE enc > 0") < 1000);
    assert_eq!(home.store.body(&long).unwrap().unwrap(), b"again and again ".repeat(1000));
    assert_eq!(home.store.body(&short).unwrap().unwrap().len(), 4095);
    assert!(home.store.verify().unwrap().is_sound());
    assert!(home.store.erase_body(&long).unwrap());
    assert_eq!(home.store.body(&long).unwrap(), None);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let home = TestHome::new();
    assert!(matches!(home.store.seal(vec![0; (64 << 20) + 1]), Err(StoreError::Invalid(_))));
}

#[test]
fn memories_are_found_by_their_words_and_only_by_their_principal() {
    let home = TestHome::new();
    let remember = |n, principal: &str, text: &str| {
        let memories = vec![NewMemory { principal: principal.into(), text: text.into() }];
        home.commit(Append { memories, ..home.first(n) }).unwrap();
    };
    remember(1, "chat:ann", "The Müller invoice is due in March");
    remember(2, "chat:ann", "Ann likes short answers");
    remember(3, "chat:bob", "Bob's invoice is a secret");
    remember(4, "x chat ann", "An invoice of somebody with a similar name");
    let found = home.store.recall("chat:ann", "which INVOICE, muller?", 5).unwrap();
    assert_eq!(found.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["The Müller invoice is due in March"]);
    assert_eq!(home.store.recall("chat:ann", "short OR \"answers* NEAR( text:", 5).unwrap().len(), 1);
    assert_eq!(home.store.recall("chat:ann", "...", 5).unwrap(), []);
    assert!(!home.store.forget("chat:bob", found[0].id).unwrap());
    assert!(home.store.forget("chat:ann", found[0].id).unwrap());
    assert_eq!(home.store.recall("chat:ann", "invoice", 5).unwrap(), []);
    // The index leaves a letter out where neighbours share it.
    assert!(!files_contain(&home, "Müller".as_bytes()) && !files_contain(&home, b"uller"));
    assert_eq!(home.store.recall("chat:bob", "invoice", 5).unwrap().len(), 1);
}
