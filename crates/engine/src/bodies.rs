//! Bodies of a session at work: sealed here, read from memory until they are stored, then from the
//! store.
use std::collections::HashMap;
use std::sync::Arc;

use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{BodyRef, Digest, RepeatKey, SessionId};
use backstay_store::{Body, Shared, Store, StoreError};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::world::Bytes;

pub struct Bodies {
    store: Store,
    /// The session's key for repeat keys.
    key: [u8; 32],
    recent: HashMap<u64, Bytes>,
    /// Sealed and to be appended with the next entry.
    sealed: Vec<Body>,
    /// Why a body could not be sealed; nothing that refers to it may be appended.
    fault: Option<StoreError>,
}

/// A place to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    sealed: usize,
    faulty: bool,
}

impl Bodies {
    /// # Errors
    /// The home's key cannot be used.
    pub fn new(store: Store, session: SessionId) -> Result<Self, StoreError> {
        let key = store.session_key(session)?;
        Ok(Self { store, key, recent: HashMap::new(), sealed: Vec::new(), fault: None })
    }

    pub fn seal(&mut self, bytes: Vec<u8>) -> BodyRef {
        let shared: Bytes = Arc::from(bytes.as_slice());
        match self.store.seal(bytes) {
            Ok(body) => {
                let reference = body.reference();
                self.recent.insert(reference.id, shared);
                self.sealed.push(body);
                reference
            }
            Err(error) => self.failed(error),
        }
    }

    /// Stores a text that many sessions share (instructions, schemas) once.
    pub fn seal_shared(&mut self, bytes: &[u8]) -> BodyRef {
        match self.store.seal_shared(bytes.to_vec()) {
            Ok(shared) => {
                let reference = shared.reference();
                self.recent.insert(reference.id, Arc::from(bytes));
                if let Shared::New(body) = shared {
                    self.sealed.push(body);
                }
                reference
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: StoreError) -> BodyRef {
        self.fault = Some(error);
        BodyRef { id: 0, digest: Digest::default(), bytes: 0 }
    }

    /// How much is sealed.
    pub fn mark(&self) -> Mark {
        Mark { sealed: self.sealed.len(), faulty: self.fault.is_some() }
    }

    /// Drops what was sealed after the mark, and the fault of what could not be: nothing refers to it.
    pub fn back_to(&mut self, mark: Mark) {
        for body in self.sealed.drain(mark.sealed.min(self.sealed.len())..) {
            self.recent.remove(&body.reference().id);
        }
        self.fault = self.fault.take().filter(|_| mark.faulty);
    }

    /// Drops what is not appended, and the fault with it.
    pub fn reset(&mut self) {
        self.sealed = Vec::new();
        self.fault = None;
    }

    /// `None` once erased.
    ///
    /// # Errors
    /// Those of a read: what it holds is not known now.
    pub fn get(&self, body: &BodyRef) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.recent.get(&body.id) {
            return Ok(Some(Arc::clone(bytes)));
        }
        Ok(self.store.body(body)?.map(Arc::from))
    }

    /// Name and arguments of a stored call; `None` once erased.
    ///
    /// # Errors
    /// Those of [`Bodies::get`].
    pub fn call(&self, call: &CallRef) -> Result<Option<(String, String)>, StoreError> {
        Ok(self.get(&call.calls)?.and_then(|calls| named(&calls, call.index)))
    }

    /// What the append must bring.
    ///
    /// # Errors
    /// The fault of a body that the records refer to.
    pub fn take_sealed(&mut self) -> Result<Vec<Body>, StoreError> {
        let sealed = std::mem::take(&mut self.sealed);
        self.fault.take().map_or(Ok(sealed), Err)
    }

    /// Between turns nothing in memory is worth its place.
    pub fn forget(&mut self) {
        self.recent = HashMap::new();
    }

    /// Equal for equal calls, whatever the order of the arguments.
    pub fn call_key(&self, name: &str, arguments: &str) -> RepeatKey {
        let canonical = serde_json::from_str::<serde_json::Value>(arguments)
            .map_or_else(|_| arguments.to_owned(), |value| value.to_string());
        self.repeat_key(&[name.as_bytes(), b"\0", canonical.as_bytes()])
    }

    pub fn result_key(&self, text: &str) -> RepeatKey {
        self.repeat_key(&[text.as_bytes()])
    }

    fn repeat_key(&self, parts: &[&[u8]]) -> RepeatKey {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return RepeatKey([0; 8]);
        };
        parts.iter().for_each(|part| mac.update(part));
        let mut key = [0u8; 8];
        key.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        RepeatKey(key)
    }
}

fn named(calls: &[u8], index: u32) -> Option<(String, String)> {
    let calls: serde_json::Value = serde_json::from_slice(calls).ok()?;
    let function = calls.get(usize::try_from(index).ok()?)?.get("function")?;
    let text = |field: &str| Some(function.get(field)?.as_str()?.to_owned());
    Some((text("name")?, text("arguments")?))
}

#[cfg(test)]
mod tests {
    use backstay_store::Options;

    use super::*;

    #[test]
    fn what_nothing_refers_to_is_kept_nowhere_and_faults_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::create(home.path(), Options::default()).unwrap();
        let mut bodies = Bodies::new(store, SessionId([1; 10])).unwrap();
        let kept = bodies.seal(b"accepted".to_vec());
        let mark = bodies.mark();
        bodies.seal(b"refused".to_vec());
        let too_large = bodies.seal(vec![0; (64 << 20) + 1]);
        assert_eq!(too_large.id, 0);
        bodies.back_to(mark);
        assert_eq!(bodies.recent.keys().collect::<Vec<_>>(), [&kept.id]);
        let sealed = bodies.take_sealed().unwrap();
        assert_eq!(sealed.iter().map(Body::reference).collect::<Vec<_>>(), [kept]);
    }
}
