//! The `backstay.toml` that `init` writes: small, commented, and good as it stands.

/// Which model the new home talks to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The scripted model inside this binary.
    Rehearsal,
    /// With the key in `ANTHROPIC_API_KEY`.
    Anthropic,
    /// With the key in `OPENAI_API_KEY`.
    OpenAi,
    /// Any server that speaks the Chat Completions format.
    BaseUrl { base_url: String, model: String, api_key_env: Option<String> },
}

/// A vendor's model and its list price. Data with a date, on which names and prices were compared
/// with the vendor's own SDK and with two public price lists: it grows old, `doctor --providers` asks
/// whether the vendor still knows the name, and the operator's file keeps what it was written with.
struct Offer {
    kind: &'static str,
    key: &'static str,
    model: &'static str,
    /// Below what the model takes, so that one call's reservation stays small.
    context_tokens: u32,
    max_output_tokens: u32,
    price: &'static str,
    as_of: &'static str,
}

const ANTHROPIC: Offer = Offer {
    kind: "anthropic",
    key: "ANTHROPIC_API_KEY",
    model: "claude-sonnet-5-5",
    context_tokens: 200_000,
    max_output_tokens: 8_192,
    price: "{ input = 2.0, cached_input = 0.2, cache_write = 2.5, output = 10.0 }",
    as_of: "2026-11-21",
};

const OPENAI: Offer = Offer {
    kind: "openai",
    key: "OPENAI_API_KEY",
    model: "gpt-6.1-terra",
    // From 272,000 input tokens on this model costs twice as much.
    context_tokens: 200_000,
    max_output_tokens: 8_192,
    price: "{ input = 1.0, cached_input = 0.05, cache_write = 1.25, output = 5.0 }",
    as_of: "2026-11-21",
};

impl Choice {
    /// In words, for whoever has just got a home.
    #[must_use]
    pub fn words(&self) -> String {
        let of = |offer: &Offer| format!("{}, with the key in {}", offer.model, offer.key);
        match self {
            Self::Rehearsal => {
                "rehearsal, a script inside this binary (set ANTHROPIC_API_KEY or OPENAI_API_KEY before \
                                `init` for a real one)"
                    .to_owned()
            }
            Self::Anthropic => of(&ANTHROPIC),
            Self::OpenAi => of(&OPENAI),
            Self::BaseUrl { base_url, model, .. } => format!("{model} at {base_url}"),
        }
    }
}

/// The text of the file; `commands`: the agent may run any.
#[must_use]
pub fn template(choice: &Choice, commands: bool) -> String {
    let model = match choice {
        Choice::Rehearsal => REHEARSAL.to_owned(),
        Choice::Anthropic => offered(&ANTHROPIC),
        Choice::OpenAi => offered(&OPENAI),
        Choice::BaseUrl { base_url, model, api_key_env } => compatible(base_url, model, api_key_env.as_deref()),
    };
    let agent = if commands { AGENT.replace(TOOLS_END, TOOLS_AND_COMMANDS) } else { AGENT.to_owned() };
    format!("{HEAD}{model}{agent}")
}

const TOOLS_END: &str = "\"ask_human\"]\n";
const TOOLS_AND_COMMANDS: &str = "\"ask_human\", \"run_command\"]\n\
    # Every program of the machine, without a network and with nothing else in sight (docs/operate/security.md).\n\
    programs = [\"*\"]\n";

const HEAD: &str = r#"# A Backstay home. `backstay config check` finds mistakes, `backstay config show --origin` prints
# every key with its default, `backstay config schema` describes them. Secrets never stand here.

[server]
listen = "127.0.0.1:7717"

[principals.owner]
role = "owner"

"#;

const REHEARSAL: &str = r#"# A scripted model inside this binary: no network, no key, no cost. For a real one, use
# kind = "anthropic" or "openai" with `api_key_env`, or "openai" with the `base_url` of your server.
[providers.rehearsal]
kind = "rehearsal"

[models.default]
provider = "rehearsal"
name = "rehearsal"
price_usd_per_mtok = "free"
"#;

fn offered(offer: &Offer) -> String {
    let Offer { kind, key, model, context_tokens, max_output_tokens, price, as_of } = offer;
    format!(
        "[providers.{kind}]\nkind = \"{kind}\"\napi_key_env = \"{key}\"\n\n\
         [models.default]\nprovider = \"{kind}\"\nname = \"{model}\"\n\
         context_tokens = {context_tokens}\nmax_output_tokens = {max_output_tokens}\n\
         # List price of {as_of}; budgets are counted with it.\nprice_usd_per_mtok = {price}\n"
    )
}

fn compatible(base_url: &str, model: &str, api_key_env: Option<&str>) -> String {
    let key = match api_key_env {
        Some(name) => format!("api_key_env = {}", text(name)),
        None => "# api_key_env = \"MODEL_KEY\"".to_owned(),
    };
    let (base_url, model) = (text(base_url), text(model));
    format!(
        "[providers.server]\nkind = \"openai\"\nbase_url = {base_url}\n{key}\n\n\
         [models.default]\nprovider = \"server\"\nname = {model}\n\
         context_tokens = 32768\nmax_output_tokens = 1024\n\
         # Where calls cost money, {{ input = …, output = … }} in USD: budgets are counted with it.\n\
         price_usd_per_mtok = \"free\"\n"
    )
}

/// A TOML text of any characters.
fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

const AGENT: &str = r#"
[agents.main]
model = "default"
instructions = "You are a careful assistant."

# What the agent may ever reach. What is not granted is not possible.
[agents.main.grants]
tools = ["read_file", "write_file", "edit_file", "list_dir", "search_files", "read_output", "remember", "recall", "ask_human"]
read = ["workspace"]
write = ["workspace"]

# Rules narrow that: a report waits for your yes (`backstay approvals`).
[[agents.main.rules]]
name = "reports need a yes"
verdict = "ask"
match = { tool = ["write_file", "edit_file"], path = { glob = "workspace/out/reports/**" } }
ask = { role = ["owner"], expires = "10m" }
matches = [{ tool = "write_file", path = "workspace/out/reports/q3.md" }]
does_not_match = [{ tool = "write_file", path = "workspace/out/notes.md" }]

[agents.main.budget]
usd_per_day = 5.0
"#;
