//! Every limit of the secret store, with its unit and its reason.

/// Bytes of a value: a shorter one would be found by chance in ordinary texts, and guessed.
pub const VALUE_BYTES_MIN: usize = 8;
/// Bytes of a value: a private key of 4096 bits in PEM has 3,300. Texts are searched for every form
/// of every value.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Secrets of one home.
pub const SECRETS_MAX: usize = 256;
/// Values of one name that are looked for where others take their place: two tokens each hour are those of some hours.
pub const LAST_MAX: usize = 16;
/// Bytes of a sealed file: all secrets at their longest, and what stands beside each.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a key: 256 bits. A password is no key, and is not stretched to one.
pub const KEY_BYTES_MIN: usize = 32;
/// Bytes of a key file; a larger one is another file.
pub const KEY_BYTES_MAX: u64 = 4096;
/// Bytes of a webhook's key, as Standard Webhooks has them.
pub const WEBHOOK_KEY_BYTES_MIN: usize = 24;
pub const WEBHOOK_KEY_BYTES_MAX: usize = 64;
