//! Who is in memory, and how to reach them. The same lock guards the handing out of an address and
//! the leaving of memory, so that nobody writes to a session that has left, and none is there twice.
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay_kernel::id::SessionId;
use tokio::sync::{mpsc, watch};

use crate::error::EngineError;
use crate::limits::MAILBOX_MAX;
use crate::live::Letter;

pub type Address = mpsc::Sender<Letter>;
pub type Mailbox = mpsc::Receiver<Letter>;

#[derive(Default)]
pub struct Addresses {
    live: Mutex<HashMap<SessionId, Address>>,
    departures: watch::Sender<u64>,
}

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Address>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a session; one that is not in memory is started by `begin`, where fewer than
    /// `most` are.
    ///
    /// # Errors
    /// Too many sessions are live, or that of `begin`.
    pub fn of(
        &self,
        session: SessionId,
        most: usize,
        begin: impl FnOnce(&Address, Mailbox) -> Result<(), EngineError>,
    ) -> Result<Address, EngineError> {
        let mut live = self.lock();
        if let Some(address) = live.get(&session).filter(|address| !address.is_closed()) {
            return Ok(address.clone());
        }
        if live.len() >= most {
            return Err(EngineError::Full);
        }
        let (address, mailbox) = mpsc::channel(MAILBOX_MAX);
        begin(&address, mailbox)?;
        live.insert(session, address.clone());
        Ok(address)
    }

    /// Takes a session out of memory, unless somebody has written to it or is about to.
    pub fn leave(&self, session: SessionId, mailbox: &Mailbox) -> bool {
        let mut live = self.lock();
        let alone = mailbox.is_empty() && mailbox.sender_strong_count() == 1;
        if alone {
            live.remove(&session);
            self.departures.send_modify(|departed| *departed += 1);
        }
        alone
    }

    /// Makes every live session look at its work again.
    pub fn look(&self) {
        for address in self.lock().values() {
            // A full mailbox is looked into anyway.
            let _ = address.try_send(Letter::Look);
        }
    }

    pub fn has(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// How many have left memory so far.
    pub fn departures(&self) -> watch::Receiver<u64> {
        self.departures.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIVE_MAX;

    const ID: SessionId = SessionId([1; 10]);

    fn begin(addresses: &Addresses) -> (Address, Mailbox) {
        let mut kept = None;
        let begin = |_: &Address, mailbox| {
            kept = Some(mailbox);
            Ok(())
        };
        let address = addresses.of(ID, LIVE_MAX, begin).unwrap();
        (address, kept.unwrap())
    }

    #[test]
    fn a_session_that_somebody_is_about_to_write_to_stays() {
        let addresses = Addresses::default();
        let departures = addresses.departures();
        let (address, mut mailbox) = begin(&addresses);
        assert!(!addresses.leave(ID, &mailbox), "its address is in somebody's hand");
        address.try_send(Letter::Look).unwrap();
        drop(address);
        assert!(!addresses.leave(ID, &mailbox), "a letter lies in its mailbox");
        assert_eq!((addresses.count(), *departures.borrow()), (1, 0));
        mailbox.try_recv().unwrap();
        assert!(addresses.leave(ID, &mailbox));
        assert_eq!((addresses.count(), *departures.borrow()), (0, 1));
        let (next, _mailbox) = begin(&addresses);
        next.try_send(Letter::Look).unwrap();
        assert!(mailbox.is_empty(), "whoever comes next wakes another");
    }

    #[test]
    fn a_live_session_is_not_started_twice() {
        let addresses = Addresses::default();
        let (address, _mailbox) = begin(&addresses);
        let again = addresses.of(ID, LIVE_MAX, |_, _| panic!("started twice")).unwrap();
        assert!(again.same_channel(&address));
    }
}
