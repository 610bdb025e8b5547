//! Values that nobody may see: where they lie (sealed in a file of the home, and in this process's
//! memory), what they may be sent to, and how the process keeps them to itself.
//!
//! Whatever needs a value asks the [`Vault`]. For a request to the outside a [`Credentials`] of one
//! agent gives the one header that the operator has bound to exactly that place, or nothing.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod binding;
mod detect;
pub mod environment;
mod error;
mod forms;
mod key;
mod limits;
mod process;
mod redactor;
mod rules;
mod sealed;
mod sign;
mod vault;
mod webhook;

pub use binding::{BadBinding, Binding, Credentials, Header, NotGiven, Request};
pub use detect::detect;
pub use error::SecretError;
pub use key::{CREDENTIAL, ENVIRONMENT_KEY, Key, KeySource};
pub use process::keep_memory_private;
pub use redactor::{Redactor, Stream, Taken};
pub use secrecy::{ExposeSecret, SecretString};
pub use sign::{Signer, is_signed, sha256};
pub use vault::{FILE, Kept, Teller, Vault};
pub use webhook::Webhook;
