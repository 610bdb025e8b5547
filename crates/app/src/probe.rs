//! Asks a model API which models it has, once, without sending any text: for `doctor` and `init`,
//! which say what they found.
use std::time::Duration;

use backstay_kernel::effect::FailureClass;
use backstay_providers::{Client, Endpoint, Failed, Secret, Timeouts};

use crate::config::ProviderConfig;
use crate::limits::PROBE;

/// The names that the provider knows, with the key that was found for it.
///
/// # Errors
/// Why it did not say, classified.
pub async fn models(provider: &ProviderConfig, key: Result<Option<Secret>, String>) -> Result<Vec<String>, Failed> {
    let failed = |class, detail: String| Failed { class, retry_at: None, detail, billed: false };
    let key = key.map_err(|missing| failed(FailureClass::Auth, missing))?;
    let timeouts = Timeouts { first_byte: PROBE, idle: PROBE, whole: PROBE.saturating_add(Duration::from_secs(1)) };
    let endpoint = Endpoint::new(provider.kind, provider.base_url.as_deref(), key, timeouts);
    let endpoint = endpoint.map_err(|error| failed(FailureClass::Invalid, error.to_string()))?;
    let client = Client::new().map_err(|error| failed(FailureClass::Invalid, error.to_string()))?;
    client.models(&endpoint, 0).await
}
