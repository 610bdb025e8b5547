//! Whether somebody is told of what waits: the key is there, and the receiver takes what it is told.
use backstay_secrets::environment;
use serde_json::Value;

use super::super::conversation::{list, number, text};
use super::{Finding, bad, good, notice};
use crate::config::{Checked, KeyName};

/// `secrets` is what the desk says of them, `status` what the API says of the home.
pub fn finding(checked: &Checked, secrets: &Value, status: &Value) -> Option<Finding> {
    let notify = checked.notify.as_ref()?;
    if let Some(telling) = status.get("notify").filter(|telling| telling.is_object()) {
        let (sent, untold) = (number(telling, "sent"), number(telling, "untold"));
        return Some(match telling.get("last_error").and_then(Value::as_str) {
            Some(why) => {
                let detail = format!("{untold} not told yet: {why}");
                bad("notify", detail, "mend what answers at [notify] url; it is tried again by itself")
            }
            None => good("notify", format!("the receiver takes what it is told, {sent} since the start")),
        });
    }
    let is_kept = |name: &str| {
        list(secrets, "secrets").iter().any(|kept| text(kept, "name") == name && text(kept, "state") == "kept")
    };
    Some(match &notify.key {
        KeyName::Variable(name) if !environment::has(name) => {
            let next = format!("export {name}=whsec_… before `backstay serve`");
            notice("notify", format!("{name} is not set here"), next)
        }
        KeyName::Secret(name) if !is_kept(name) => {
            bad("notify", format!("its key {name} is not set"), format!("backstay secrets set {name}"))
        }
        KeyName::Variable(_) | KeyName::Secret(_) => {
            good("notify", "has its key; the address is tried by a process that serves the home")
        }
    })
}
