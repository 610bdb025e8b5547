//! What one attempt ends in: a whole reply, or a classified failure. Nothing in between.

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::{FailureClass, Finish};
use backstay_kernel::id::Millis;

use crate::calls::Call;
use crate::limits::DETAIL_BYTES_MAX;

/// A piece of a reply that is still being written. It may yet come to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delta {
    Text(String),
    Reasoning(String),
}

/// A complete reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Empty where the model said nothing.
    pub text: String,
    /// Complete calls with ids that differ. Empty after a refusal.
    pub calls: Vec<Call>,
    pub finish: Finish,
    /// Absent where the server did not say.
    pub usage: Option<Usage>,
}

/// Why there is no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    pub class: FailureClass,
    /// The vendor's own delay, as a point in time; never before the `now` of the call.
    pub retry_at: Option<Millis>,
    /// What the vendor or the network said: at most [`DETAIL_BYTES_MAX`] bytes, without the key.
    pub detail: String,
    /// False where certainly no bill can come of it.
    pub billed: bool,
}

impl Failed {
    /// The same request may well succeed later. `billed` unless it never arrived.
    pub(crate) fn same_again(detail: impl Into<String>, billed: bool) -> Self {
        Self { class: FailureClass::RetrySame, retry_at: None, detail: detail.into(), billed }
    }

    /// An answer that is none: empty, cut, HTML, not what the API promises.
    pub(crate) fn nonsense(detail: impl Into<String>) -> Self {
        Self::same_again(detail, true)
    }

    /// The request cannot be sent as it is.
    pub(crate) fn unsendable(class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, retry_at: None, detail: detail.into(), billed: false }
    }

    /// Takes the key out of the detail, then bounds it: the other way round could leave half a key.
    pub(crate) fn cleaned(mut self, key: Option<&str>) -> Self {
        if let Some(key) = key.filter(|k| !k.is_empty()) {
            self.detail = without(&self.detail, key);
        }
        self.detail = self.detail.replace(|c: char| c.is_control(), " ");
        self.detail.truncate(self.detail.floor_char_boundary(DETAIL_BYTES_MAX));
        self
    }
}

/// The text without the key, in whatever case it stands: codes are shown in lower case.
fn without(text: &str, key: &str) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (at, found) in text.to_ascii_lowercase().match_indices(&key.to_ascii_lowercase()) {
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str("[key]");
        from = at + found.len();
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_bounded_and_holds_no_key() {
        let detail = format!("{}sk-secret\nrest", "ä".repeat(DETAIL_BYTES_MAX / 2 - 2));
        let failed = Failed::nonsense(detail).cleaned(Some("sk-secret"));
        assert!(failed.detail.len() <= DETAIL_BYTES_MAX);
        assert!(failed.detail.ends_with("[key"), "{}", failed.detail);
        let echoed = Failed::nonsense("ä sk-ABc, sk-abc: SK-ABCD").cleaned(Some("sk-ABc"));
        assert_eq!(echoed.detail, "ä [key], [key]: [key]D");
    }
}
