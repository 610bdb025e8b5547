//! What comes from another home, and what it meets here.
use backstay_kernel::id::{BodyRef, Digest};
use backstay_store::{AdoptError, Append, Sealed, StoreError};
use sha2::{Digest as _, Sha256};

use crate::harness::{FOLD, TestHome, session};

fn adopted(home: &TestHome, n: u8, bodies: &[&Sealed]) -> Result<(), AdoptError> {
    home.store.adopt(vec![home.first(n), home.next(n, 2)], bodies.iter().map(|body| (*body).clone()).collect())
}

/// A text of another home.
fn elsewhere(text: &[u8]) -> (TestHome, Sealed) {
    let home = TestHome::new();
    let body = home.store.seal(text.to_vec()).unwrap();
    let reference = body.reference();
    home.commit(Append { bodies: vec![body], ..home.first(1) }).unwrap();
    let sealed = home.store.sealed(&reference).unwrap();
    (home, sealed)
}

#[test]
fn a_session_is_taken_in_whole_with_its_texts() {
    let (_other, sealed) = elsewhere(b"from elsewhere");
    let home = TestHome::new();
    adopted(&home, 1, &[&sealed]).unwrap();
    assert_eq!(home.store.load(session(1), FOLD).unwrap().unwrap().entries.len(), 2);
    assert_eq!(home.store.body(&sealed.reference()).unwrap().unwrap(), b"from elsewhere");
    assert_eq!(home.store.sealed(&sealed.reference()).unwrap(), sealed);
    assert!(home.store.verify().unwrap().is_sound());
    // Its own go on where they were.
    let own = home.store.seal(b"own".to_vec()).unwrap();
    assert_ne!(own.reference().id >> 32, sealed.reference().id >> 32);
}

#[test]
fn one_that_is_there_is_refused_and_leaves_nothing() {
    let (_other, sealed) = elsewhere(b"from elsewhere");
    let home = TestHome::new();
    home.session_of(1, 1);
    assert_eq!(adopted(&home, 1, &[&sealed]), Err(AdoptError::Exists));
    assert!(home.store.body(&sealed.reference()).is_err());
    let mut gap = vec![home.first(2), home.next(2, 6)];
    assert!(home.store.adopt(std::mem::take(&mut gap), vec![sealed.clone()]).is_err());
    assert!(home.store.body(&sealed.reference()).is_err());
    assert!(home.store.load(session(2), FOLD).unwrap().is_none());
}

#[test]
fn a_number_that_stands_for_another_text_is_refused() {
    let (_other, sealed) = elsewhere(b"one");
    let home = TestHome::new();
    adopted(&home, 1, &[&sealed]).unwrap();
    let digest = Digest([7; 32]);
    let other = Sealed::new(BodyRef { digest, ..sealed.reference() }, None).unwrap();
    assert_eq!(adopted(&home, 2, &[&other]), Err(AdoptError::Taken(sealed.reference().id)));
    assert!(home.store.load(session(2), FOLD).unwrap().is_none());
}

#[test]
fn what_was_erased_here_does_not_come_back() {
    let (_other, sealed) = elsewhere(b"to be forgotten");
    let home = TestHome::new();
    adopted(&home, 1, &[&sealed]).unwrap();
    assert!(home.store.erase_body(&sealed.reference()).unwrap());
    adopted(&home, 2, &[&sealed]).unwrap();
    assert_eq!(home.store.body(&sealed.reference()).unwrap(), None);
    // And what was erased there is not there.
    let erased = home.store.sealed(&sealed.reference()).unwrap();
    assert!(erased.content().is_none());
    let third = TestHome::new();
    adopted(&third, 1, &[&erased]).unwrap();
    assert_eq!(third.store.body(&sealed.reference()).unwrap(), None);
    assert_eq!(third.store.verify().unwrap().erased, 1);
}

#[test]
fn a_text_that_is_not_what_was_sealed_is_none() {
    let (_other, sealed) = elsewhere(b"text");
    let (salt, bytes) = sealed.content().unwrap();
    let reference = sealed.reference();
    let make = |reference, salt, bytes: &[u8]| Sealed::new(reference, Some((salt, bytes.to_vec())));
    assert!(make(reference, *salt, bytes).is_some());
    assert!(make(reference, *salt, b"next").is_none());
    assert!(make(reference, [0; 16], bytes).is_none());
    assert!(make(BodyRef { bytes: 5, ..reference }, *salt, bytes).is_none());
}

#[test]
fn a_number_that_this_home_will_give_is_refused() {
    let home = TestHome::new();
    let next = home.store.seal(b"not stored yet".to_vec()).unwrap();
    let (_other, sealed) = elsewhere(b"one");
    for ahead in [0, 1, 1_000] {
        let reference = BodyRef { id: next.reference().id + ahead, ..sealed.reference() };
        let (salt, bytes) = sealed.content().unwrap();
        let body = Sealed::new(reference, Some((*salt, bytes.to_vec()))).unwrap();
        assert_eq!(adopted(&home, 1, &[&body]), Err(AdoptError::Taken(reference.id)));
    }
    home.commit(Append { bodies: vec![next], ..home.first(1) }).unwrap();
}

#[test]
fn who_does_not_have_a_text_gets_none_by_its_number() {
    let home = TestHome::new();
    let body = home.store.seal(b"a secret".to_vec()).unwrap();
    let reference = body.reference();
    home.commit(Append { bodies: vec![body], ..home.first(1) }).unwrap();
    let claimed = Sealed::new(reference, None).unwrap();
    assert_eq!(adopted(&home, 2, &[&claimed]), Err(AdoptError::Taken(reference.id)));
    assert!(home.store.load(session(2), FOLD).unwrap().is_none());
}

#[test]
fn a_number_without_room_in_the_file_is_the_callers_fault_and_halts_nothing() {
    let home = TestHome::new();
    let far = Append { lineage: u64::MAX, ..home.first(1) };
    assert!(matches!(home.store.adopt(vec![far], Vec::new()), Err(AdoptError::Store(StoreError::Invalid(_)))));
    assert_eq!(home.store.writable(), Ok(()));
    let (_other, sealed) = elsewhere(b"one");
    for id in [0, (1 << 53) + 1] {
        assert!(Sealed::new(BodyRef { id, ..sealed.reference() }, None).is_none());
    }
}

#[test]
fn a_text_larger_than_a_body_may_be_is_none() {
    let bytes = vec![0; 64 * 1024 * 1024 + 1];
    let digest = Digest(Sha256::new().chain_update([0; 16]).chain_update(&bytes).finalize().into());
    let reference = BodyRef { id: 1, digest, bytes: 64 * 1024 * 1024 + 1 };
    assert!(Sealed::new(reference, Some(([0; 16], bytes))).is_none());
}
