//! Who waits for whom among the readers.
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::home::Options;

#[test]
fn reads_of_single_rows_wait_for_no_long_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path(), Options { ballast_bytes: 0, free_bytes_min: 1 }).unwrap();
    let rows = store.clone();
    store
        .read(|_| {
            let (done, told) = channel();
            std::thread::spawn(move || {
                let gone = BodyRef { id: 1, digest: Default::default(), bytes: 1 };
                assert!(matches!(rows.body(&gone), Err(StoreError::Corrupt(_))));
                assert_eq!(rows.ledger(&["day".into()]).unwrap(), [Used::default()]);
                assert_eq!(rows.find_inbox(&[1; 32]).unwrap(), None);
                rows.seal_shared(b"be careful".to_vec()).unwrap();
                done.send(()).unwrap();
            });
            told.recv_timeout(Duration::from_secs(20)).expect("the rows wait for the long read");
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_reader_only_reads_and_keeps_few_pages() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path(), Options { ballast_bytes: 0, free_bytes_min: 1 }).unwrap();
    let setting = |name: &str| store.read(|db| Ok(db.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?));
    assert_eq!((setting("cache_size"), setting("query_only")), (Ok(-256), Ok(1)));
}
