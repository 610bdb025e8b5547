//! Signatures under what is told to an address, as Standard Webhooks has them: HMAC-SHA-256 over the message's
//! id, the time of the try and the body, so that a receiver can tell who speaks, and what was said before.
use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::limits::{WEBHOOK_KEY_BYTES_MAX, WEBHOOK_KEY_BYTES_MIN};

/// A key's form, after which its bytes stand in base64.
const PREFIX: &str = "whsec_";

/// Signs what is told to one receiver.
pub struct Webhook(hmac::Key);

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook")
    }
}

impl Webhook {
    /// `None` where the value is no `whsec_` with 24 to 64 bytes in base64.
    #[must_use]
    pub fn new(value: &SecretString) -> Option<Self> {
        let text = value.expose_secret().trim().strip_prefix(PREFIX)?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).ok()?);
        let is_sound = (WEBHOOK_KEY_BYTES_MIN..=WEBHOOK_KEY_BYTES_MAX).contains(&bytes.len());
        is_sound.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of `webhook-signature` for these values of `webhook-id` and `webhook-timestamp`.
    #[must_use]
    pub fn sign(&self, id: &str, at_s: u64, body: &str) -> String {
        let signature = hmac::sign(&self.0, format!("{id}.{at_s}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(value: &str) -> Option<Webhook> {
        Webhook::new(&SecretString::from(value))
    }

    /// The example of the specification's own libraries.
    #[test]
    fn a_message_is_signed_as_others_sign_it() {
        let webhook = webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = webhook.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let bytes = |count: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![7; count]));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64", &bytes(23), &bytes(65)] {
            assert!(webhook(bad).is_none(), "{bad}");
        }
        for good in [bytes(24), bytes(64), format!("{}\n", bytes(32))] {
            assert!(webhook(&good).is_some(), "{good}");
        }
    }
}
