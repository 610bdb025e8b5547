//! What comes from another home, and what it meets here.
use backstay_kernel::id::{BodyRef, Digest};
use backstay_store::{AdoptError, Append, Sealed};

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
