//! Keys about what nobody may see or change: secrets, and the proof of the journal.
use super::Need::{Default, Optional, Required};
use super::{Key, Kind, Presence, Shape, count, value};

pub static AUDIT: &[Key] = &[
    value(
        "sink",
        Kind::Name,
        Optional("none is made"),
        "\"/var/log/backstay/checkpoints.jsonl\"",
        "Where signed checkpoints of the journal go: a file outside of the home that they are appended to, `stdout`, or a collector that takes each by POST (`https://…`). It must be a place that whoever can write the home cannot change.",
    ),
    value(
        "key",
        Kind::Path,
        Optional("none is made"),
        "\"/etc/backstay/audit.key\"",
        "The file with the key that signs them, as for `home.secrets_key`: at least 32 bytes, outside of the home, its owner's alone. `backstay audit key` shows the public half.",
    ),
];

pub static NOTIFY: &[Key] = &[
    value(
        "url",
        Kind::Url,
        Required,
        "\"https://alerts.example.com/backstay\"",
        "Takes each notice by POST, signed as Standard Webhooks has it. `https`, or `http` to 127.0.0.1 or [::1]; a redirect is not followed.",
    ),
    value(
        "key_env",
        Kind::Variable,
        Optional("see `key_secret`"),
        "\"NOTIFY_KEY\"",
        "The environment variable that holds the key of the signatures: `whsec_` and 24 to 64 bytes in base64. It is wiped from the environment once it was read.",
    ),
    value(
        "key_secret",
        Kind::Name,
        Optional("see `key_env`"),
        "\"notify-key\"",
        "The secret that holds the key, in place of `key_env`. One of the two is needed; no agent can be granted it.",
    ),
];

pub static SECRET: &[Key] = &[Key {
    name: "bind",
    shape: Shape::Table { keys: BIND, presence: Presence::Required },
    doc: "The only requests that carry the value, always over TLS; everything is compared exactly.",
}];

static BIND: &[Key] = &[
    value("host", Kind::Name, Required, "\"crm.example.com\"", "A name, in lower case; no address and no wildcard."),
    value("port", count(65535), Default("443"), "8443", "Not 80, which is for requests without TLS."),
    value("method", Kind::OneOrNames, Required, "[\"POST\"]", "Methods, in capitals."),
    value(
        "path_prefix",
        Kind::Name,
        Required,
        "\"/v2\"",
        "Whole segments that the path begins with. A path that servers read in more than one way (`..`, `//`, `;`, `%2f`) is none. Where one POST makes many calls (a segment `graphql`, `batch` or `$batch`) no secret is sent by POST, whatever prefix covers it.",
    ),
    value(
        "query",
        Kind::OneOrNames,
        Default("[]"),
        "[\"page\", \"per_page\"]",
        "The keys that the query of such a request may have; absent, it has no query. Keys are compared as they stand in the URL, each may be there once, and a query that servers read in more than one way (a key with `%` or `+`, one twice or in another case, `;`) goes with no secret: the request is not sent, and the answer says what to do.",
    ),
    value(
        "tools",
        Kind::OneOrNames,
        Default("[\"http_request\", \"web_fetch\"]"),
        "[\"git_fetch\", \"git_push\"]",
        "What may make such a request: `http_request`, `web_fetch`, `git_fetch`, `git_push`, and `mcp.NAME` for the server `[mcp.NAME]` behind a URL. A request of any other to that place is not sent.",
    ),
    value(
        "header",
        Kind::Name,
        Required,
        "\"X-Api-Key\"",
        "The header that holds the value; whatever else wrote there is dropped.",
    ),
    value(
        "scheme",
        Kind::Name,
        Optional("the value stands alone"),
        "\"Token\"",
        "What stands before the value: `Bearer` makes `Bearer VALUE`.",
    ),
];
