//! `init --base-url`: asks the server which models it has, so that a wrong address or name is seen
//! now and not in the first message.
use backstay_kernel::effect::FailureClass;
use backstay_kernel::label::Confidentiality;
use backstay_providers::Kind;

use crate::config::{Choice, ProviderConfig};
use crate::exit::{Failure, Outcome};
use crate::print::{Out, Tone, short};
use crate::probe;
use crate::secrets;

/// Models that a message names; a gateway has hundreds.
const NAMED_MAX: usize = 12;
/// Characters of what the server said.
const SAID_CHARS_MAX: usize = 200;

/// The model that is meant at this server.
///
/// # Errors
/// No model is named and the server does not settle which; an address that is none.
pub async fn choose(
    base_url: String,
    model: Option<String>,
    api_key_env: Option<String>,
    out: &Out,
) -> Outcome<Choice> {
    let provider = ProviderConfig {
        kind: Kind::OpenAi,
        base_url: Some(base_url.clone()),
        api_key_env: api_key_env.clone(),
        api_key_secret: None,
        clearance: Confidentiality::Secret,
    };
    let chosen = |model| Choice::BaseUrl { base_url: base_url.clone(), model, api_key_env };
    let key = secrets::provider_key("new", &provider, None);
    let known = match probe::models(&provider, key).await {
        Ok(known) => known,
        Err(failed) => {
            let detail = format!("{base_url}: {}", short(&failed.detail, SAID_CHARS_MAX));
            let next = match failed.class {
                FailureClass::Auth => "give --api-key-env VARIABLE, and export a valid key in it",
                FailureClass::Invalid => "give another --base-url, such as http://127.0.0.1:8080/v1",
                FailureClass::RetrySame
                | FailureClass::Wait
                | FailureClass::Shrink
                | FailureClass::Quota
                | FailureClass::Policy => {
                    "start the server, or give its --base-url as its API has it, often with /v1; or name a model with --model"
                }
            };
            // A server that is not up yet is no mistake, as long as it is known what to ask it for.
            let Some(model) = model.filter(|_| failed.class != FailureClass::Invalid) else {
                return Err(Failure::usage(detail, next));
            };
            out.talk(
                Tone::Warning,
                &format!("{detail}\n  the home is made all the same; later: backstay doctor --providers"),
            );
            return Ok(chosen(model));
        }
    };
    match (model, known.as_slice()) {
        (Some(model), _) => {
            if !known.contains(&model) {
                let warning = format!("{base_url} answers, and does not list {model}; it lists {}", names(&known));
                out.talk(Tone::Warning, &warning);
            }
            Ok(chosen(model))
        }
        (None, [one]) => Ok(chosen(one.clone())),
        (None, []) => {
            Err(Failure::usage(format!("{base_url} lists no model"), "load one there, or name one with --model"))
        }
        (None, _) => Err(Failure::usage(
            format!("{base_url} has {} models: {}", known.len(), names(&known)),
            "name one with --model",
        )),
    }
}

fn names(known: &[String]) -> String {
    let mut names: Vec<String> = known.iter().take(NAMED_MAX).map(|name| short(name, SAID_CHARS_MAX)).collect();
    if known.len() > NAMED_MAX {
        names.push("…".to_owned());
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
