//! The secrets of a home: opened with it, and the keys that providers take from it.
use std::collections::BTreeMap;
use std::path::Path;

use backstay_channels::{Problem, Why};
use backstay_secrets::{ExposeSecret as _, Key, SecretError, Vault, environment};

use crate::config::{Checked, ProviderConfig};
use crate::opening::{Keys, OpenError};

/// # Errors
/// What is sealed does not open, and calls may be made that need it.
pub fn open(home: &Path, config: &Checked, keys: Keys) -> Result<Vault, OpenError> {
    let opened = Key::find(config.secrets_key.as_deref()).and_then(|key| Vault::open(home, key));
    match (opened, keys) {
        (Ok(vault), _) => Ok(vault),
        (Err(why), Keys::IfThere) => Ok(Vault::shut(home, &why)),
        (Err(why), Keys::Needed | Keys::Served) => Err(OpenError::Setup(format!("the secrets of this home: {why}"))),
    }
}

/// The key of a provider, from wherever the config says; `None` where it takes none. Before there is a
/// home there is no vault.
///
/// # Errors
/// It is not there, and what would bring it.
pub fn provider_key(
    name: &str,
    provider: &ProviderConfig,
    vault: Option<&Vault>,
) -> Result<Option<backstay_providers::Secret>, String> {
    let (value, missing) = match (&provider.api_key_env, &provider.api_key_secret) {
        (Some(variable), _) => {
            let missing = format!("the environment has no `{variable}`; export it and start again");
            (environment::take(variable), missing)
        }
        (None, Some(secret)) => (
            vault.and_then(|vault| vault.value(secret)),
            format!("there is no secret `{secret}`: backstay secrets set {secret}"),
        ),
        (None, None) => return Ok(None),
    };
    if let (Some(value), Some(vault)) = (&value, vault) {
        vault.watch(&format!("provider.{name}"), value);
    }
    match value {
        Some(value) => Ok(Some(backstay_providers::Secret::new(value.expose_secret()))),
        None => Err(format!("providers.{name}: {missing}")),
    }
}

/// By model: the secret that holds its provider's key, so that a key that was rotated is used at once.
pub fn keys_by_model(config: &Checked) -> BTreeMap<String, String> {
    let secret_of = |provider: &String| config.providers.get(provider)?.api_key_secret.clone();
    let models = config.policy.models.iter();
    models.filter_map(|(name, model)| Some((name.clone(), secret_of(&model.provider)?))).collect()
}

/// As an answer: what waits for a person to mend it, and what has failed.
pub fn problem(error: SecretError) -> Problem {
    let why = match error {
        SecretError::Io { .. } | SecretError::NoRandom => Why::SecretsFailed,
        SecretError::Open { .. }
        | SecretError::Foreign { .. }
        | SecretError::BadKey { .. }
        | SecretError::NotSealed { .. }
        | SecretError::WrongKey { .. }
        | SecretError::NoKey
        | SecretError::Shut(_)
        | SecretError::BadValue
        | SecretError::TooMany => Why::Secrets,
    };
    Problem::new(why, error.to_string(), next(&error))
}

/// What to do about it.
#[must_use]
pub fn next(error: &SecretError) -> &'static str {
    match error {
        SecretError::NoKey | SecretError::BadKey { .. } | SecretError::Shut(_) => {
            "head -c 32 /dev/urandom | base64 > KEYFILE, chmod 600 KEYFILE, [home] secrets_key = \"KEYFILE\", and restart"
        }
        SecretError::Open { .. } | SecretError::Foreign { .. } => "make the file its owner's alone",
        SecretError::WrongKey { .. } | SecretError::NotSealed { .. } => "give the key back that it was sealed with",
        SecretError::BadValue => "give the value alone, on stdin",
        SecretError::TooMany => "backstay secrets list; backstay secrets rm NAME",
        SecretError::Io { .. } | SecretError::NoRandom => "backstay doctor",
    }
}
