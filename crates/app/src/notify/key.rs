//! The key of `[notify]`: from the environment, or from the sealed store, where another one is used at once.
use backstay_secrets::{SecretString, Vault, Webhook, environment};

use crate::config::{KeyName, NotifyConfig};

pub enum KeyFrom {
    Variable { name: String, value: Option<SecretString> },
    Stored { name: String, vault: Vault },
}

impl KeyFrom {
    pub fn new(notify: &NotifyConfig, vault: &Vault) -> Self {
        match &notify.key {
            KeyName::Variable(name) => {
                let value = environment::take(name);
                if let Some(value) = &value {
                    vault.watch("notify.key", value);
                }
                Self::Variable { name: name.clone(), value }
            }
            KeyName::Secret(name) => Self::Stored { name: name.clone(), vault: vault.clone() },
        }
    }

    /// # Errors
    /// It is not there, or is none; and what would bring it.
    pub fn signer(&self) -> Result<Webhook, String> {
        let (value, missing) = match self {
            Self::Variable { name, value } => {
                (value.clone(), format!("the environment has no `{name}`; export it and start again"))
            }
            Self::Stored { name, vault } => {
                (vault.value(name), format!("there is no secret `{name}`: backstay secrets set {name}"))
            }
        };
        let value = value.ok_or_else(|| format!("notify: {missing}"))?;
        Webhook::new(&value).ok_or_else(|| {
            "notify: the key has to be `whsec_` and 24 to 64 bytes in base64, as `head -c 32 /dev/urandom | base64` makes them"
                .to_owned()
        })
    }
}
