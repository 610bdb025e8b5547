//! The one table of keys: from it come the reader, the defaults, the JSON Schema and the reference
//! page, so that a key cannot be documented and unread, or read and undocumented.
mod guarded;
mod rules;

use super::limits;
pub use super::shape::{Key, Kind, Names, Need, On, Presence, Shape};
use super::shape::{count, foreign, named, optional_table, rows, table, value};

pub mod tools;

pub const FREE: &str = "free";
pub const ROLES: &[&str] = &["owner", "operator", "approver", "user", "metrics"];
/// A metrics token reads numbers and answers nothing.
pub const APPROVING_ROLES: &[&str] = &["owner", "operator", "approver", "user"];
pub const PROVIDER_KINDS: &[&str] = &["openai", "anthropic", "rehearsal"];
pub const VERDICTS: &[&str] = &["allow", "ask", "deny"];
pub const SUMS: &[&str] = &["bytes_out", "url_bytes", "amount"];
pub const OVERS: &[&str] = &["ask", "deny"];
/// Fields that can be one word, and what leaves out the agent.
pub const LIMIT_FIELDS: &[&str] = &[
    "home",
    "agent",
    "principal",
    "role",
    "channel",
    "tool",
    "class",
    "label.conf",
    "label.integrity",
    "mode",
    "host",
    "port",
    "method",
    "url_path",
    "repo",
    "ref",
    "program",
    "subcommand",
    "audience",
    "recipient",
    "account",
    "speaks",
    "tier",
];
pub const CLASSES: &[&str] = &["read", "write", "execute", "send", "spend"];
pub const CONFIDENTIALITY: &[&str] = &["public", "internal", "secret"];
pub const INTEGRITY: &[&str] = &["untrusted", "trusted"];
pub const SEEN: &[&str] = &["never", "allowed", "approved"];
pub const SPEAKERS: &[&str] = &["human", "program"];
pub const TIERS: &[&str] = &["full", "copy"];
pub const SOURCES: &[&str] = &["config", "principal", "quoted", "model", "tool", "memory", "runtime", "elsewhere"];
pub const PROVENANCES: &[&str] = &["person", "config", "listed", "plan", "created", "unknown"];
pub const AUDIENCES: &[&str] = &["self", "home", "named", "public"];
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
pub const MODES: &[&str] = &["normal", "dry_run", "read_only"];
pub const HOST_MODES: &[&str] = &["terminate", "tunnel"];
pub const WEEKDAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
pub const IN_DOUBT: &[&str] = &["ask", "assume_done", "assume_not_done"];

use guarded::{AUDIT, NOTIFY, SECRET};
use rules::RULE;

use Need::{Default, Optional, Required};

pub static ROOT: &[Key] = &[
    table("server", SERVER, "The HTTP door."),
    table("limits", LIMITS, "How much may come in."),
    table(
        "sandbox",
        tools::SANDBOX,
        "What commands run in. It is tried before the first one; where it does not hold, no command runs.",
    ),
    table("network", NETWORK, "How the requests of tools get out. Model APIs have a client of their own."),
    table(
        "audit",
        AUDIT,
        "Signed checkpoints of the journal: whoever holds the home can rewrite it, but not what was signed and given away before. Both keys or none.",
    ),
    optional_table(
        "notify",
        NOTIFY,
        "Tell an address what waits for a person: approvals, questions, doubts, used-up budgets, a provider that stays away, a disk that is full. Read at start.",
    ),
    named("principals", PRINCIPAL, false, "Who speaks or approves. A token belongs to one of these names."),
    named(
        "secrets",
        SECRET,
        false,
        "To what the secrets may be sent that agents are granted. Their values never stand in this file: `backstay secrets set NAME`. A secret without a table here is sent by no agent.",
    ),
    named("providers", PROVIDER, false, "Where models are called. Keys never stand in this file."),
    named("models", MODEL, false, "Models that agents may use, with their price."),
    named(
        "tools",
        tools::TOOL,
        false,
        "Commands of the machine as tools: one program with fixed words and places for arguments, run in the sandbox without a shell. An agent is offered one where its `grants.tools` names it.",
    ),
    named(
        "mcp",
        tools::MCP,
        false,
        "Servers of tools that speak the Model Context Protocol, over stdin and stdout or behind a URL. A tool of one is granted by `NAME__TOOL`, and offered once an operator has pinned the server: `backstay mcp pin NAME`.",
    ),
    named("agents", AGENT, true, "The agents of this home; at least one."),
    rows(
        "rules",
        RULE,
        "Rules for every agent of the home, before its own: the strictest of both counts. They ask or deny; an `allow` here is a mistake, since what stands below may narrow and never widen. Their names are theirs alone.",
    ),
    table("home", HOME, "The home as a whole."),
    table("budget", BUDGET, "Budgets that hold for each principal and each channel."),
];

static HOME: &[Key] = &[
    value(
        "secrets_key",
        Kind::Path,
        Optional("systemd's credential `backstay-secrets-key`, else $BACKSTAY_SECRETS_KEY, else nothing can be kept"),
        "\"/etc/backstay/secrets.key\"",
        "The file with the key that seals the secrets: at least 32 bytes, such as `head -c 32 /dev/urandom | base64` makes. It lies outside of the home, and nobody but its owner may read it. Not used where systemd hands the key over.",
    ),
    table("budget", HOME_BUDGET, "All agents of this home together. Windows are calendar windows in UTC."),
];

static SERVER: &[Key] = &[
    value(
        "listen",
        Kind::Address,
        Default("\"127.0.0.1:7717\""),
        "\"127.0.0.1:8080\"",
        "IP address and port. An address that is not loopback needs `tls` or `insecure_listen`.",
    ),
    optional_table("tls", TLS, "Serve HTTPS. Absent: plain HTTP."),
    value(
        "insecure_listen",
        Kind::Flag,
        Default("false"),
        "true",
        "Allow a listen address that is not loopback without `tls`: tokens then cross the network in clear text, unless a proxy in front of this door adds TLS.",
    ),
    value(
        "trusted_proxies",
        Kind::IpAddresses,
        Default("[]"),
        "[\"10.0.0.1\"]",
        "Proxies whose `X-Forwarded-For` is believed, and whose connections are not counted by address or principal. Empty: no such header is believed.",
    ),
];

static TLS: &[Key] = &[
    value(
        "cert",
        Kind::Path,
        Required,
        "\"tls/cert.pem\"",
        "PEM file with the certificate chain, absolute or relative to the home. `reload` and SIGHUP read it and the key again.",
    ),
    value(
        "key",
        Kind::Path,
        Required,
        "\"tls/key.pem\"",
        "PEM file with the private key, absolute or relative to the home.",
    ),
];

static LIMITS: &[Key] = &[
    value(
        "messages_per_minute",
        count(limits::MESSAGES_PER_MINUTE_MAX),
        Default("60"),
        "120",
        "Messages of one principal, with a burst of the same size; more are refused with 429 and Retry-After. One a second is more than a person types.",
    ),
    value(
        "connections_per_principal",
        count(limits::CONNECTIONS_PER_PRINCIPAL_MAX),
        Default("128"),
        "256",
        "Connections of one principal to the HTTP door at the same time, all its tokens together; through a trusted proxy, its calls under way. Three quarters may be event streams. More are refused with 429. A front end that serves many people under one token needs one for each who waits for a reply.",
    ),
];

static NETWORK: &[Key] = &[value(
    "ca",
    Kind::Path,
    Optional("the public authorities alone"),
    "\"tls/ca.pem\"",
    "PEM file with certificates of further authorities that the requests of tools trust, absolute or relative to the home.",
)];

static PRINCIPAL: &[Key] = &[
    value(
        "role",
        Kind::Choice(ROLES),
        Required,
        "\"operator\"",
        "`owner` may do everything, `operator` runs the home, `approver` answers approvals, `user` talks to agents in sessions of its own, `metrics` reads /metrics.",
    ),
    value(
        "channels",
        Kind::Choices(DOORS),
        Optional("every door"),
        "[\"cli\"]",
        "Doors at which its tokens are worth this role: `cli` is the local socket (`backstay approve --token FILE`), `api` HTTP. Elsewhere they are no tokens. The home's own user is the owner at `cli` whatever stands here.",
    ),
];

/// The words of doors.
const DOORS: &[&str] = &["cli", "api"];

static PROVIDER: &[Key] = &[
    value(
        "kind",
        Kind::Choice(PROVIDER_KINDS),
        Required,
        "\"anthropic\"",
        "The wire format. `rehearsal` is a scripted model inside this binary that needs no network and no key.",
    ),
    value(
        "base_url",
        Kind::Url,
        Optional("the vendor's own"),
        "\"http://127.0.0.1:8081/v1\"",
        "Where the API lies; any server that speaks the format.",
    ),
    value(
        "api_key_env",
        Kind::Variable,
        Optional("no key is sent"),
        "\"MODEL_KEY\"",
        "The environment variable that holds the key. It is wiped from the environment once it was read.",
    ),
    value(
        "api_key_secret",
        Kind::Name,
        Optional("see `api_key_env`"),
        "\"model-key\"",
        "The secret that holds the key, in place of `api_key_env`. No agent can be granted it.",
    ),
    value(
        "clearance",
        Kind::Choice(CONFIDENTIALITY),
        Default("\"secret\""),
        "\"internal\"",
        "How confidential a conversation may be that is sent there. A turn of a session that has seen more ends, with the reason `clearance`; nothing is sent. Any conversation is at least internal.",
    ),
];

static MODEL: &[Key] = &[
    value("provider", Kind::Name, Required, "\"cloud\"", "A name in `providers`."),
    value("name", Kind::Name, Required, "\"another-model\"", "The name that the provider knows."),
    value(
        "context_tokens",
        count(limits::MODEL_TOKENS_MAX),
        Default("32768"),
        "200000",
        "The window that may be used, output included.",
    ),
    value(
        "max_output_tokens",
        count(limits::MODEL_TOKENS_MAX),
        Default("1024"),
        "4096",
        "The most that one reply may hold; reserved in the ledger before each call.",
    ),
    Key {
        name: "price_usd_per_mtok",
        shape: Shape::FreeOr { keys: PRICE },
        doc: "USD per million tokens, or \"free\" for a local model. Without a price nothing can be budgeted, so there is no default.",
    },
];

static PRICE: &[Key] = &[
    value("input", Kind::Usd, Required, "3.0", "Input tokens that no cache served."),
    value("cached_input", Kind::Usd, Optional("as `input`"), "0.3", "Input tokens read from the provider's cache."),
    value("cache_write", Kind::Usd, Optional("as `input`"), "3.75", "Input tokens written to the provider's cache."),
    value("output", Kind::Usd, Required, "15.0", "Output tokens, reasoning included."),
];

static AGENT: &[Key] = &[
    value("model", Kind::Name, Required, "\"strong\"", "A name in `models`."),
    value(
        "instructions",
        Kind::Text,
        Default("\"You are a careful assistant.\""),
        "\"You answer in one sentence.\"",
        "The operator's words, which the model is shown first.",
    ),
    table("owners", OWNERS, "Who answers for this agent; `doctor --production` asks for all four."),
    value(
        "in_doubt",
        Kind::Choice(IN_DOUBT),
        Default("\"ask\""),
        "\"assume_done\"",
        "What becomes of an unsafe effect that was started and whose outcome nobody knows.",
    ),
    value(
        "scope",
        Kind::Flag,
        Default("false"),
        "true",
        "Once a session has seen untrusted words, ask about every call that sends, spends or chooses and that the person's own words do not want. The agent's model plans from these words and the tools alone which calls they want: one more call of it for each message of such a task.",
    ),
    table(
        "grants",
        GRANTS,
        "What the agent may ever reach. What is not granted is not possible, whatever a rule says.",
    ),
    rows(
        "rules",
        RULE,
        "Under which conditions granted calls are allowed, asked about or denied: deny wins over ask, ask over allow.",
    ),
    table("budget", AGENT_BUDGET, "This agent. Windows are calendar windows in UTC."),
    table("caps", CAPS, "What one turn may take, and how often people are asked."),
];

static OWNERS: &[Key] = &[
    value("behaviour", Kind::Name, Optional("nobody"), "\"carol\"", "Answers for what the model says."),
    value("permissions", Kind::Name, Optional("nobody"), "\"carol\"", "Answers for grants and rules."),
    value("workflow", Kind::Name, Optional("nobody"), "\"carol\"", "Answers for what the agent is used for."),
    value("incidents", Kind::Name, Optional("nobody"), "\"carol\"", "Is called when something goes wrong."),
];

static GRANTS: &[Key] = &[
    value(
        "tools",
        Kind::Names,
        Default("[]"),
        "[\"read_file\", \"list_dir\"]",
        "Tools that the agent is offered: built-in ones, those of `tools`, and those of servers as `NAME__TOOL`.",
    ),
    value(
        "read",
        Kind::Paths,
        Default("[]"),
        "[\"workspace/in\"]",
        "Directories that it may read, absolute or relative to the home; made at start where they are missing. Never the home's own files: what lies directly in the home is told by device and inode, so a hard link or a bind mount elsewhere leads nowhere either; of what lies deeper in it (a key in `tls/`) only the path is told. Nothing in procfs or sysfs.",
    ),
    value("write", Kind::Paths, Default("[]"), "[\"workspace/out\"]", "Directories that it may write."),
    value(
        "programs",
        Kind::Names,
        Default("[]"),
        "[\"sh\", \"git\"]",
        "Programs of the machine that commands may start, by their names in /usr/local/bin, /usr/bin, /bin and the sbin beside them, or `[\"*\"]` for all. A command that is more than one known program with known words needs `sh`. With a list no other program is there, but for what programs keep for themselves in /usr/lib and /usr/libexec, and no file that a command wrote can be executed; with `*` everything in /usr is, and may be.",
    ),
    Key {
        name: "hosts",
        shape: Shape::Rows { keys: HOST, bare: Some("host") },
        doc: "Where requests may go. A text is a table with its `host` alone: `hosts = [\"api.example.com:443\"]`. An empty list is none.",
    },
    Key {
        name: "git",
        shape: Shape::Rows { keys: GIT, bare: Some("url") },
        doc: "Repositories that `git_fetch` and `git_push` speak with. A text is a table with its `url` alone: `git = [\"https://git.example.com/team\"]`. What `hosts` names is nothing to them, and the other way round.",
    },
    value(
        "secrets",
        Kind::Names,
        Default("[]"),
        "[\"crm\"]",
        "Names in `secrets`: requests of this agent that the gate lets out carry their values where they are bound to. The agent never sees one.",
    ),
];

static HOST: &[Key] = &[
    value(
        "host",
        Kind::Name,
        Required,
        "\"crm.example.com:443\"",
        "A name or an IP address, and its port. `*.example.com:443` is every name below `example.com`. Clear text (`http://`) is sent to port 80, and where `allow_private` names addresses.",
    ),
    value(
        "methods",
        Kind::Choices(METHODS),
        Default("[\"GET\", \"HEAD\"]"),
        "[\"GET\", \"POST\"]",
        "What requests may do there. All but `GET` and `HEAD` may carry a body, and are of the class `send`.",
    ),
    value(
        "path_prefix",
        Kind::Name,
        Default("\"/\""),
        "\"/v2/customers\"",
        "Where the path of a URL must begin, by whole segments: `/v1` covers `/v1` and `/v1/a`, not `/v10`. Written decoded or with %XX.",
    ),
    value(
        "allow_private",
        Kind::IpAddresses,
        Default("[]"),
        "[\"10.0.0.5\"]",
        "Addresses that are not public (private, loopback, link-local and the like) and that the host may lead to all the same. Without it a host that leads to such an address, be it one of many, is not called. Where one is named, clear text passes on any port.",
    ),
    value(
        "audience",
        Kind::Choice(AUDIENCES),
        Default("\"public\""),
        "\"named\"",
        "Who gets to know what is sent there: the agent's owner alone (`self`), those whose home this is (`home`), people and firms known by name (`named`), or anybody (`public`). To what is public nothing is sent without a person's yes, since a conversation is internal.",
    ),
    value(
        "secrets",
        Kind::Flag,
        Default("false"),
        "true",
        "Whether a session that has seen a secret may send there. Where it has seen untrusted words too, it asks in any case.",
    ),
    value(
        "mode",
        Kind::Choice(HOST_MODES),
        Default("\"terminate\""),
        "\"tunnel\"",
        "How commands that name this host in `network` reach it: `terminate`, each request is read and held to `methods` and `path_prefix`; or `tunnel`, an unrestricted send to this host that nobody reads, for programs that do not trust the certificates that they are given. A tunnel needs `secrets = true`.",
    ),
];

static GIT: &[Key] = &[
    value(
        "url",
        Kind::Name,
        Required,
        "\"https://git.example.com/team/app\"",
        "A repository, or what stands above several, by whole segments; with or without `.git`.",
    ),
    value(
        "push",
        Kind::Names,
        Default("[]"),
        "[\"refs/heads/agent/*\"]",
        "Globs of refs, in full, that `git_push` may move there. `*` never crosses `/`, `**` does. None: it is fetched from alone.",
    ),
    value(
        "allow_private",
        Kind::IpAddresses,
        Default("[]"),
        "[\"10.0.0.7\"]",
        "As for `hosts`: addresses that are not public, and may be what its host leads to all the same.",
    ),
    value(
        "audience",
        Kind::Choice(AUDIENCES),
        Default("\"public\""),
        "\"home\"",
        "As for `hosts`: who gets to know what is sent there.",
    ),
    value(
        "secrets",
        Kind::Flag,
        Default("false"),
        "true",
        "As for `hosts`: whether a session that has seen a secret may send there. Needs an `audience`.",
    ),
];

static CAPS: &[Key] = &[
    value("steps", count(limits::TURN_COUNT_MAX), Default("100"), "20", "Model calls."),
    value("tool_calls", count(limits::TURN_COUNT_MAX), Default("500"), "50", "Tool calls."),
    value("wall", Kind::Duration, Default("\"2h\""), "\"30m\"", "Working time; named waits do not count."),
    value(
        "asks_per_hour",
        count(limits::ASKS_PER_HOUR_MAX),
        Default("5"),
        "3",
        "Asks that one session may open within an hour, each for a yes of somebody. The next one is parked until there is room.",
    ),
];

const OPEN: Need = Optional("not limited");

/// The ten ceilings of one budget. What has a default stays finite when nothing is written.
const fn budget(usd: [Need; 5], tokens: [Need; 5]) -> [Key; 10] {
    const TOKENS: Kind = Kind::Count { min: 0, max: limits::INTEGER_MAX };
    let [ut, us, uh, ud, um] = usd;
    let [tt, ts, th, td, tm] = tokens;
    [
        value("usd_per_turn", Kind::Usd, ut, "0.125", "USD of one turn."),
        value("usd_per_session", Kind::Usd, us, "0.25", "USD of one session."),
        value("usd_per_hour", Kind::Usd, uh, "0.5", "USD in one hour."),
        value("usd_per_day", Kind::Usd, ud, "0.75", "USD in one day."),
        value("usd_per_month", Kind::Usd, um, "1.5", "USD in one month."),
        value("tokens_per_turn", TOKENS, tt, "10000", "Tokens of one turn."),
        value("tokens_per_session", TOKENS, ts, "20000", "Tokens of one session."),
        value("tokens_per_hour", TOKENS, th, "30000", "Tokens in one hour."),
        value("tokens_per_day", TOKENS, td, "40000", "Tokens in one day."),
        value("tokens_per_month", TOKENS, tm, "50000", "Tokens in one month."),
    ]
}

static HOME_BUDGET: &[Key] = &budget(
    [OPEN, OPEN, OPEN, Default("20.0"), Default("200.0")],
    [OPEN, OPEN, OPEN, Default("50000000"), Default("500000000")],
);
static AGENT_BUDGET: &[Key] = &budget(
    [Default("2.0"), OPEN, OPEN, Default("5.0"), Default("100.0")],
    [Default("2000000"), OPEN, OPEN, Default("20000000"), Default("200000000")],
);
static SHARED_BUDGET: &[Key] = &budget(
    [OPEN, OPEN, OPEN, Default("10.0"), Default("100.0")],
    [OPEN, OPEN, OPEN, Default("20000000"), Default("200000000")],
);
static BUDGET: &[Key] = &[
    table("per_principal", SHARED_BUDGET, "Each principal by itself. Windows are calendar windows in UTC."),
    table("per_channel", SHARED_BUDGET, "Each channel by itself. Windows are calendar windows in UTC."),
];
