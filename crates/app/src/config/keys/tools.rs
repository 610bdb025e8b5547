//! Keys of tools that are not built in, and of the sandbox that they run in.
use super::Need::{Default, Optional, Required};
use super::{AUDIENCES, CLASSES, Key, Kind, foreign, limits, value};

pub const IDEMPOTENCIES: &[&str] = &["pure", "idempotent", "unsafe"];
pub const ARGUMENT_ROLES: &[&str] = &backstay_tools::Role::WORDS;

pub static SANDBOX: &[Key] = &[
    value(
        "uid",
        Kind::Count { min: 1, max: limits::UID_MAX },
        Optional("none: a process of root runs no command"),
        "20000",
        "The user that commands become where Backstay runs as root, which it should not: one that nobody else is and that owns nothing but the directories that agents may write. Where there are no namespaces (tier `copy`) all of its processes are ended with each command. Its group has the same number. Not used where Backstay runs as another user, whose rights commands then have.",
    ),
    value(
        "memory_mib",
        Kind::Count { min: 16, max: limits::MEBIBYTES_MAX },
        Default("2048"),
        "512",
        "MiB of memory that all processes of one command may have resident together; a command that takes more is ended. No single process may ask for more either.",
    ),
    value(
        "free_disk_mib",
        Kind::Count { min: 0, max: limits::MEBIBYTES_MAX },
        Default("1024"),
        "256",
        "MiB that must stay free on every disk that a command may write to: none is started with less, and a running one is ended.",
    ),
    value(
        "tool_dirs",
        Kind::Paths,
        Default("[]"),
        "[\"/opt\"]",
        "Directories with further programs, which are looked for in each and in its `bin`, and with what these need. All that runs in the sandbox may read them; executed are the granted programs and what lies in `lib`, `lib64` and `libexec`. None may hold, or lie in, a directory that an agent may write.",
    ),
    value(
        "caches",
        Kind::Path,
        Optional("they are kept in memory until the command ends"),
        "\"workspace/.caches\"",
        "A directory below one of `grants.write`, made by whoever writes there first: in it cargo, npm, pip, go, gradle and what follows `XDG_CACHE_HOME` keep what they fetched, for the next command of every session that may write there. No name in it is protected. It has no limit of its own but `free_disk_mib`. Commands that run on copies have none.",
    ),
];

pub static TOOL: &[Key] = &[
    value("description", Kind::Name, Required, "\"The latest commits.\"", "What the model is told of the tool."),
    value(
        "argv",
        Kind::Texts,
        Required,
        "[\"git\", \"log\", \"--format={format}\", \"--\", \"{path}\"]",
        "The program, by its plain name, and its words. `{NAME}` is a place for an argument: it fills its word, or its part of one, and never makes two words of one; `{{` and `}}` are the characters. A value that begins with `-` at the beginning of a word is refused, unless a word `--` stands before. No shell reads any of it.",
    ),
    value(
        "schema",
        Kind::Name,
        Default(r#""{\"type\":\"object\"}""#),
        "'{\"type\":\"object\",\"properties\":{\"format\":{\"type\":\"string\"},\"path\":{\"type\":\"string\"}},\"required\":[\"format\",\"path\"]}'",
        "JSON Schema of the arguments, as a text: an object with `properties`, each of them text, number or flag, and required, and each with a place in `argv`. Other arguments are refused.",
    ),
    CLASS,
    AUDIENCE,
    IDEMPOTENCY,
    REVERSIBLE,
    value(
        "timeout",
        Kind::Duration,
        Default("\"2m\""),
        "\"30s\"",
        "A command that takes longer is ended; at most `\"10m\"`.",
    ),
    ARGUMENTS,
];

pub const CLASS: Key = value(
    "class",
    Kind::Choice(CLASSES),
    Default("\"send\""),
    "\"read\"",
    "What a call does. `read` finds nothing that can be written, `write` may write in the granted directories that its `write_path` arguments lie in, and the others in all that are granted. What is not declared is taken for `send`, which asks.",
);

pub const AUDIENCE: Key = value(
    "audience",
    Kind::Choice(AUDIENCES),
    Default("\"public\""),
    "\"named\"",
    "Who gets to know what its calls of class `send` and `spend` are told: the agent's owner alone (`self`), those whose home this is (`home`), people and firms known by name (`named`), or anybody (`public`). To what is public nothing is sent without a person's yes, since a conversation is internal; a secret is never sent without one.",
);

pub const IDEMPOTENCY: Key = value(
    "idempotency",
    Kind::Choice(IDEMPOTENCIES),
    Default("\"unsafe\""),
    "\"idempotent\"",
    "What becomes of a call that was started when the process died: `pure` and `idempotent` are run again, `unsafe` is in doubt. `pure` is for the class `read` alone, and may run before its records are on disk.",
);

pub const REVERSIBLE: Key = value(
    "reversible",
    Kind::Flag,
    Optional("nobody knows; of class `read` it is `true`, of `spend` it is `false`"),
    "false",
    "Whether what a call does can be taken back. `false`: it deletes, gives a permission, or cannot be undone otherwise; then a person's yes to a call is given at this machine alone and for once, and in a session that has seen untrusted words somebody must have named what it chooses. Say `true` only where each of its calls can be undone by whoever uses it. Not declared, a tool of whatever class is one of which nobody knows it: a rule that denies or asks by `reversible` matches it either way, and one that allows does not. What a server says of its tools counts for nothing here too.",
);

pub const ARGUMENTS: Key =
    foreign("arguments", ARGUMENT, "What each argument is, by its name. One that is not here is `authority`.");

static ARGUMENT: &[Key] = &[ROLE, UP_TO, ARGUMENT_CLASS, NAMES];

static MCP_ARGUMENT: &[Key] = &[ROLE, UP_TO, ARGUMENT_CLASS, NAMES, LISTING, CREATED_BY];

const ARGUMENT_CLASS: Key = value(
    "class",
    Kind::Choice(CLASSES),
    Optional("that of the tool"),
    "\"spend\"",
    "What a call that gives this argument does, where that is more than one without it: a calendar's event is written, and one with guests is sent.",
);

const NAMES: Key = value(
    "names",
    Kind::Names,
    Default("[]"),
    "[\"read=r\", \"edit=rw\"]",
    "Words that stand for a value of the argument, each as `WORDS=VALUE`: a person who says the words has named the value, as long as their message says no other words of this list.",
);

const LISTING: Key = super::optional_table(
    "listing",
    LISTED,
    "How the runtime finds out for which value a name stands. In a session that has seen untrusted words, and where the person did not give the value itself, it calls a reading tool of the same server. The value passes where the list has it once, by a name that the person's message says with the sign of the list, where the message holds nothing else of the list, in whatever form, and where no second name looks like that one. Otherwise it asks.",
);

const CREATED_BY: Key = value(
    "created_by",
    Kind::Names,
    Default("[]"),
    "[\"Make\"]",
    "Tools of the same server, each with `creates`: the id of what a call of them created in this session passes, but where a person had to say yes to that call for what the session had seen. A call that sends or spends passes by it only beside another value that a person named.",
);

static LISTED: &[Key] = &[
    value(
        "tool",
        Kind::Name,
        Required,
        "\"People\"",
        "The tool, of class `read` and `idempotent`. An agent that is not granted it, or whose rules do not allow its calls, has no list, and asks.",
    ),
    value(
        "arguments",
        Kind::Name,
        Default("\"{}\""),
        "'{\"all\":true}'",
        "Of its calls: a JSON object, as a text. It must list everything: a name that it leaves out cannot be told from another.",
    ),
    value(
        "list",
        Kind::Text,
        Default("\"\""),
        "\"/people\"",
        "Where the list stands in the tool's answer: a JSON Pointer. The answer is its `structuredContent`, or else a text in JSON.",
    ),
    value(
        "name",
        Kind::Text,
        Default("\"\""),
        "\"/label\"",
        "From an entry to its name: a JSON Pointer. Empty where the entry is the name itself.",
    ),
    value(
        "value",
        Kind::Text,
        Default("\"\""),
        "\"/key\"",
        "From an entry to the value that is put into the argument.",
    ),
    value(
        "sign",
        Kind::Choice(&["@", "#", "quoted"]),
        Default("\"@\""),
        "\"#\"",
        "What alone makes a word of a message a name of this list: `@` before it for people, `#` for channels. `quoted`, where a text in quotes is one, is for names that nobody gives himself, as those of your own files: people quote much that is no name, and whoever is called so would be chosen by it.",
    ),
    value(
        "unquoted",
        Kind::Flag,
        Default("false"),
        "true",
        "No stranger can put a name into this list, so that it may stand in a message with any sign, and as names do: within a sentence, in capitals or with a digit.",
    ),
];

const ROLE: Key = value(
    "role",
    Kind::Choice(ARGUMENT_ROLES),
    Required,
    "\"selector\"",
    "`read_path` and `write_path` are paths, or lists of them: each must lie where the agent may read or write, rules see the real one, and the tool is given it. `authority` says who, where, which or how much, and asks in a session that has seen untrusted words; `email`, `url`, `host`, `money`, `number`, `account` and `id` are the same with the kind of value that a person can name, where `authority` means a text in quotes. `selector` says which of the things that are there; `payload` is what is said, written or looked for.",
);

const UP_TO: Key = value(
    "up_to",
    Kind::Count { min: 0, max: limits::INTEGER_MAX },
    Optional("every number must have been named"),
    "100",
    "Of the role `number`: a number from nothing up to this asks nothing, where the other values of the call have been named. So a person who names a payee lets small amounts be worked out; `limit` of a rule bounds how many.",
);

pub const LABELS: &[&str] = &["public", "internal", "secret"];

pub static MCP: &[Key] = &[
    value(
        "command",
        Kind::Names,
        Optional("`url` says where it is"),
        "[\"node\", \"/opt/mcp/index.js\"]",
        "The program, by its plain name, and its words. It runs in the sandbox, without network, in the agent's directories; what it loads must lie in `/usr` or in `[sandbox] tool_dirs`. A program that fetches what it runs, such as `npx`, is refused: no pin could cover it.",
    ),
    value(
        "url",
        Kind::Url,
        Optional("`command` says what it is"),
        "\"https://mcp.example.com/mcp\"",
        "A server that runs elsewhere and speaks the protocol over HTTP (streamable HTTP, of both eras). Everything that its tools are called with goes there, and what it does there no pin covers: of it are pinned the URL and all that it says of itself. A token goes along where somebody has logged in (`backstay mcp login NAME`), or a secret that is bound to this URL for this server (`[secrets.NAME] bind`, with `tools = \"mcp.NAME\"`) and granted to the agent.",
    ),
    value(
        "allow_private",
        Kind::IpAddresses,
        Default("[]"),
        "[\"10.0.0.5\"]",
        "With `url`: addresses that are not public (private, loopback, link-local and the like) and that its name may lead to all the same. Where one is named, clear text (`http://`) passes to it, and to `localhost` where it is loopback.",
    ),
    super::optional_table(
        "oauth",
        OAUTH,
        "With `url`: who Backstay is to the authorization server where `backstay mcp login NAME` asks for a token. Absent: it is registered there at each login, where that server registers clients.",
    ),
    value(
        "environment",
        Kind::Names,
        Default("[]"),
        "[\"LOG_LEVEL=debug\"]",
        "Variables that it is given beside those of every sandbox, as `NAME=value`. Not for secrets: they would stand in this file.",
    ),
    value(
        "label",
        Kind::Choice(LABELS),
        Default("\"internal\""),
        "\"secret\"",
        "How far what it returns may go. None of it is ever trusted.",
    ),
    AUDIENCE,
    Key {
        name: "tools",
        shape: super::Shape::Named { keys: MCP_TOOL, required: false, names: super::Names::Foreign },
        doc: "What calls of its tools do, by their names. What is not declared here of a tool that an agent is granted is taken for `send`, with every argument authority, and unsafe to repeat; what a server says of its tools counts for nothing.",
    },
];

static OAUTH: &[Key] = &[
    value(
        "client_id",
        Kind::Name,
        Optional("see `client_document`"),
        "\"backstay-example\"",
        "A client that you have registered there yourself.",
    ),
    value(
        "client_secret",
        Kind::Name,
        Optional("the client proves nothing"),
        "\"tickets-client\"",
        "With `client_id`: the name of the secret that proves it (`backstay secrets set NAME`). No agent can be granted it.",
    ),
    value(
        "client_document",
        Kind::Url,
        Optional("it is registered at each login"),
        "\"https://example.com/backstay.json\"",
        "The URL of a document about this client that you publish (a Client ID Metadata Document, with `redirect` among its `redirect_uris`), for authorization servers that take one. Not used with `client_id`.",
    ),
    value(
        "redirect",
        Kind::Url,
        Optional("`/callback` at a free port of 127.0.0.1"),
        "\"http://127.0.0.1:8765/callback\"",
        "Where the browser is sent at the end, as it is registered there: on this machine, with its port.",
    ),
];

static MCP_TOOL: &[Key] = &[
    CLASS,
    IDEMPOTENCY,
    REVERSIBLE,
    value(
        "timeout",
        Kind::Duration,
        Default("\"1m\""),
        "\"30s\"",
        "A call that takes longer is given up, and the server is ended; at most `\"10m\"`.",
    ),
    value(
        "creates",
        Kind::Name,
        Optional("it creates nothing that later calls could name"),
        "\"/id\"",
        "Where in its answer the id of what a call created stands: a JSON Pointer into its `structuredContent`, or else into a text in JSON.",
    ),
    foreign("arguments", MCP_ARGUMENT, "What each argument is, by its name. One that is not here is `authority`."),
];
