//! Whether each provider answers, takes the key, and knows the models that the config names.
use std::path::Path;

use backstay_kernel::effect::FailureClass;

use super::{Finding, bad, good, notice};
use crate::config::Checked;
use crate::opening::Keys;
use crate::print::short;
use crate::probe;
use crate::secrets;

/// Characters of what a provider said.
const SAID_CHARS_MAX: usize = 200;

pub async fn ask(home: &Path, checked: &Checked) -> Vec<Finding> {
    let vault = match secrets::open(home, checked, Keys::IfThere) {
        Ok(vault) => vault,
        Err(error) => return vec![bad("provider", error.to_string(), "backstay doctor")],
    };
    let mut findings = Vec::new();
    for (name, provider) in &checked.providers {
        let models = checked.policy.models.values().filter(|model| &model.provider == name);
        let wanted: Vec<&str> = models.map(|model| model.name.as_str()).collect();
        findings.push(match probe::models(provider, secrets::provider_key(name, provider, Some(&vault))).await {
            Ok(known) => compared(name, &wanted, &known),
            Err(failed) => {
                let next = if failed.class == FailureClass::Auth {
                    "put a valid key into the provider's `api_key_env` variable, or rotate its `api_key_secret`"
                } else {
                    "check [providers] base_url, and the network between here and there"
                };
                bad("provider", format!("{name}: {}", short(&failed.detail, SAID_CHARS_MAX)), next)
            }
        });
    }
    findings
}

fn compared(name: &str, wanted: &[&str], known: &[String]) -> Finding {
    let unknown: Vec<&str> = wanted.iter().filter(|model| !known.iter().any(|name| name == *model)).copied().collect();
    if unknown.is_empty() {
        return good("provider", format!("{name}: answers, and knows {}", wanted.join(", ")));
    }
    // Some servers take any name, and gateways do not list all that they know.
    let detail = format!("{name}: answers, and does not list {}", unknown.join(", "));
    notice("provider", detail, "check [models] name, unless this server takes names that it does not list")
}
