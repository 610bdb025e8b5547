//! Secrets that came in by the environment. The system shows what a process was started with to
//! whoever may look at it (`/proc/PID/environ`), so a value is wiped there once it is read. All `unsafe`
//! of this crate is in this file.
#![allow(unsafe_code)]
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use secrecy::SecretString;

/// What was wiped and may be asked for again.
static TAKEN: Mutex<BTreeMap<String, SecretString>> = Mutex::new(BTreeMap::new());

/// The value of a variable, which is gone from the environment from here on and can be had from this
/// function alone. `None` where it is not set, or empty.
#[must_use]
pub fn take(name: &str) -> Option<SecretString> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
        taken.insert(name.to_owned(), SecretString::from(value));
        wipe(name);
    }
    taken.get(name).cloned()
}

/// Whether [`take`] would find something.
#[must_use]
pub fn has(name: &str) -> bool {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    taken.contains_key(name) || std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn wipe(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: the string behind the pointer is this process's own and ends at the NUL that is kept, and
    // nothing here sets or moves a variable. A thread that copies the environment at this very moment
    // may see a part of the value; the only one that could is one that starts a program, and programs
    // are started with an environment that was made for them.
    unsafe {
        let mut at = libc::getenv(name.as_ptr());
        while !at.is_null() && *at != 0 {
            at.write_volatile(0);
            at = at.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// The only variable that is sure to be there and not to be missed.
    #[test]
    fn what_was_taken_is_gone_from_the_environment_and_still_to_be_had() {
        let name = "CARGO_PKG_DESCRIPTION";
        if !has(name) {
            assert!(take(name).is_none());
        }
        let name = "CARGO_PKG_NAME";
        let before = std::env::var(name).unwrap();
        assert!(has(name));
        assert_eq!(take(name).unwrap().expose_secret(), before);
        assert_eq!(std::env::var(name).unwrap(), "");
        let shown = std::fs::read("/proc/self/environ").unwrap();
        let of = |text: &str| shown.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(of(&format!("{name}=")) && !of(&format!("{name}={before}")));
        assert!(has(name));
        assert_eq!(take(name).unwrap().expose_secret(), before);
    }
}
