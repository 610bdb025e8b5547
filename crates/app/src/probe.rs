//! Asks a model API which models it has, once, without sending any text: for `doctor` and `init`,
//! which say what they found.
use std::time::Duration;

use backstay_kernel::effect::FailureClass;
use backstay_providers::{Client, Endpoint, Failed, Secret, Timeouts};

use crate::config::ProviderConfig;
use crate::limits::PROBE;

/// The names that the provider knows.
///
/// # Errors
/// Why it did not say, classified.
pub async fn models(provider: &ProviderConfig) -> Result<Vec<String>, Failed> {
    let failed = |class, detail: String| Failed { class, retry_at: None, detail, billed: false };
    let key = match &provider.api_key_env {
        Some(variable) => {
            let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
            let missing = || failed(FailureClass::Auth, format!("the environment has no `{variable}`"));
            Some(Secret::new(&value.ok_or_else(missing)?))
        }
        None => None,
    };
    let timeouts = Timeouts { first_byte: PROBE, idle: PROBE, whole: PROBE.saturating_add(Duration::from_secs(1)) };
    let endpoint = Endpoint::new(provider.kind, provider.base_url.as_deref(), key, timeouts);
    let endpoint = endpoint.map_err(|error| failed(FailureClass::Invalid, error.to_string()))?;
    let client = Client::new().map_err(|error| failed(FailureClass::Invalid, error.to_string()))?;
    client.models(&endpoint, 0).await
}
