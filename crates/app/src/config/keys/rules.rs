//! Keys of rules: what they match, ask, limit, and the calls that try them.
use super::Need::{Default, Optional, Required};
use super::On::{Amount, Clock, Flag, Hosts, Number, Paths, Segments, Values, Weekday, Words};
use super::{
    APPROVING_ROLES, CLASSES, CONFIDENTIALITY, INTEGRITY, Key, Kind, LIMIT_FIELDS, METHODS, MODES, OVERS, Presence,
    ROLES, SEEN, SPEAKERS, SUMS, Shape, TIERS, VERDICTS, limits, optional_table, rows, value,
};

pub static RULE: &[Key] = &[
    value(
        "name",
        Kind::Name,
        Required,
        "\"summaries need a yes\"",
        "What refusals, approvals and traces call it; one of a kind in its agent.",
    ),
    value("verdict", Kind::Choice(VERDICTS), Required, "\"deny\"", "What becomes of a call that the rule matches."),
    Key {
        name: "match",
        shape: Shape::Table { keys: MATCH, presence: Presence::Required },
        doc: "All of its conditions must hold. `{}` matches every call. A fact of the call that nobody can tell makes a deny or an ask match and an allow not match; in `unless` it is the other way round.",
    },
    optional_table(
        "unless",
        MATCH,
        "Where all of these conditions hold, the rule says nothing. Takes the same keys as `match`.",
    ),
    value(
        "until",
        Kind::Moment,
        Optional("for good"),
        "2027-01-31T18:00:00+01:00",
        "From this moment on the rule is as if it were not there.",
    ),
    value(
        "reason",
        Kind::Name,
        Optional("none is given"),
        "\"reports go to customers\"",
        "Told to whoever decides an ask of this rule, and by `backstay policy explain`.",
    ),
    optional_table(
        "ask",
        ASK,
        "For the verdict `ask`, and for a `limit` whose `over` is `ask`: who may answer, and how long the question stands.",
    ),
    rows(
        "limit",
        LIMIT,
        "How much of what the rule matches may happen. A call counts when it starts, and in the same commit, so that sessions which run at once cannot pass a limit together; one that certainly had no effect is given back. It counts in the limits of every rule that matches it, or might: a missing fact makes a limit match. For the verdicts `allow` and `ask`.",
    ),
    rows("matches", EXAMPLE, "Calls that the rule must match; tried when the file is loaded."),
    rows("does_not_match", EXAMPLE, "Calls that the rule must not match; tried when the file is loaded."),
];

static LIMIT: &[Key] = &[
    value("count", Kind::Flag, Optional("see `sum`"), "true", "Count calls. A limit has this or `sum`."),
    value(
        "sum",
        Kind::Choice(SUMS),
        Optional("see `count`"),
        "\"bytes_out\"",
        "Add up this number of the calls. One of which it is not known passes the limit.",
    ),
    value(
        "per",
        Kind::Choices(LIMIT_FIELDS),
        Default("[]"),
        "[\"principal\"]",
        "Calls that differ in one of these are counted apart.",
    ),
    value(
        "window",
        Kind::Duration,
        Required,
        "\"1h\"",
        "Windows follow each other without a gap, from 1970-01-01 in UTC: of `1h` one begins with each full hour, of `24h` at midnight. Each takes `max`, so two that touch take twice that.",
    ),
    value(
        "max",
        Kind::Most { max: limits::INTEGER_MAX },
        Required,
        "20",
        "The most that one window takes: a number, and of `sum = \"amount\"` an amount such as `\"200.00 EUR\"`. An amount in another currency, or in none where this names one, passes the limit.",
    ),
    value(
        "over",
        Kind::Choice(OVERS),
        Required,
        "\"deny\"",
        "What becomes of a call that would pass it. With a yes an `ask` lets it pass, and it counts.",
    ),
];

static MATCH: &[Key] = &[
    value("agent", Kind::Condition(Words), Optional("any"), "\"other\"", "The agent's name."),
    value("principal", Kind::Condition(Words), Optional("any"), "[\"app\", \"owner\"]", "Who spoke."),
    value("role", Kind::Condition(Words), Optional("any"), "\"user\"", "The role of who spoke."),
    value(
        "speaks",
        Kind::Condition(Words),
        Optional("any"),
        "\"program\"",
        "Who said what the turn answers: `human`, where all of it came from a terminal at this machine or with a token made by `--speaks human`, and `program` once a message or an answer in it came otherwise.",
    ),
    value(
        "channel",
        Kind::Condition(Words),
        Optional("any"),
        "{ not_in = [\"openai\"] }",
        "The door that the message came in by: `cli` (this machine), `api` (HTTP below `/api`) or `openai` (HTTP below `/v1`). To speak of all HTTP, name both.",
    ),
    value("tool", Kind::Condition(Words), Optional("any"), "[\"write_file\", \"edit_file\"]", "The tool's name."),
    value(
        "class",
        Kind::Condition(Words),
        Optional("any"),
        "\"write\"",
        "What the call does: `read`, `write`, `execute`, `send` or `spend`.",
    ),
    value(
        "tier",
        Kind::Condition(Words),
        Optional("any"),
        "\"copy\"",
        "How well that is held which the call runs here: `full`, in namespaces of its own, or `copy`, as another user on copies, where the machine gives none. Of a call that runs nothing it holds in no case.",
    ),
    value(
        "path",
        Kind::Condition(Paths),
        Optional("any"),
        "{ under = \"workspace/out\" }",
        "The real paths that the call touches, absolute or relative to the home. One that fits is enough for a deny or an ask; for an allow all must fit. `intersects` wants one that matches one of its globs, `subset_of` wants each to match one of them, whatever the verdict. `*` never crosses `/`, `**` does. A call that touches no path is matched by none of these. Symbolic links are followed before paths are compared. A hard link is a second name of the same file and cannot be told from the first: a rule about one name says nothing of the other, so let nobody but the agent write where it may.",
    ),
    value(
        "bytes_out",
        Kind::Condition(Number),
        Optional("any"),
        "{ gt = 65536 }",
        "Bytes that the call writes: the size of the file that it leaves behind, or of the text that is remembered; 0 where it only reads.",
    ),
    value(
        "recipient",
        Kind::Condition(Values),
        Optional("any"),
        "{ glob = \"*@example.com\" }",
        "The e-mail addresses that the call names: its arguments with the role `email`, in their normal form and in lower case, of a domain its ASCII form. `*` and `**` are any text. As of paths, one that fits is enough for a deny or an ask, and for an allow all must fit. Of a call that reads or writes there are none; of a command, a request and a tool with an argument of the role `authority` or of none nobody knows them.",
    ),
    value(
        "account",
        Kind::Condition(Values),
        Optional("any"),
        "[\"CH9300762011623852957\"]",
        "The accounts that the call names: its arguments with the role `account`, without spaces; one that begins with 0 may be another to the program, and is a fact that is missing. The rest as for `recipient`.",
    ),
    value(
        "amount",
        Kind::Condition(Amount),
        Optional("any"),
        "{ gt = \"50.00 EUR\" }",
        "What the call pays: each of its arguments with the role `money`, or `number`, whose currency the tool alone knows. An amount in another currency than the rule's is one that nobody can compare, and so a fact that is missing; so is one with a comma, or finer than a hundredth, which programs read in two ways. The rest as for `recipient`.",
    ),
    value(
        "host",
        Kind::Condition(Hosts),
        Optional("any"),
        "{ subdomain_of = \"example.com\" }",
        "The host that a request goes to, in any spelling. `subdomain_of` is the name itself and every name below it. A call that goes nowhere is matched by this and by the four below in no case.",
    ),
    value("port", Kind::Condition(Number), Optional("any"), "443", "The port there."),
    value(
        "method",
        Kind::Condition(Words),
        Optional("any"),
        "[\"POST\", \"PUT\"]",
        "What the request does: `GET`, `HEAD`, `POST`, `PUT`, `PATCH` or `DELETE`.",
    ),
    value(
        "url_path",
        Kind::Condition(Segments),
        Optional("any"),
        "{ under = \"/v1/orders\" }",
        "The path of the URL, decoded and without the query. `*` never crosses `/`, `**` does.",
    ),
    value(
        "url_bytes",
        Kind::Condition(Number),
        Optional("any"),
        "{ gt = 2048 }",
        "Bytes of the URL with its query, and of the headers that the call sets: what it can tell the host without a body.",
    ),
    value(
        "repo",
        Kind::Condition(Segments),
        Optional("any"),
        "\"git.example.com/team/app\"",
        "The repository elsewhere that a call speaks with: its host, the port where it is not 443, and its path. It is compared in lower case and without any closing `.git`, in whatever spelling a call or the rule names it; grants are exact. A call that speaks with none is matched by this and by the three below in no case.",
    ),
    value(
        "ref",
        Kind::Condition(Segments),
        Optional("any"),
        "{ glob = \"refs/heads/agent/*\" }",
        "The refs that are fetched or moved there, in full; `HEAD` is the default branch. One that fits is enough for a deny or an ask; for an allow all must fit.",
    ),
    value(
        "force",
        Kind::Condition(Flag),
        Optional("any"),
        "false",
        "Whether a ref would lose commits that it holds there.",
    ),
    value(
        "changed",
        Kind::Condition(Paths),
        Optional("any"),
        "{ intersects = [\".github/**\", \"**/build.rs\"] }",
        "The paths in the repository that differ between what a ref holds there and what it would hold. As for `path`; none where nothing is pushed.",
    ),
    value(
        "clock",
        Kind::Condition(Clock),
        Optional("any"),
        "{ between = [\"08:00\", \"18:00\"], tz = \"Europe/Zurich\" }",
        "The time of day, from the first minute to before the last, past midnight where the last is the earlier one. The zone is one of this machine's (tzdata), and UTC where none is named.",
    ),
    value(
        "weekday",
        Kind::Condition(Weekday),
        Optional("any"),
        "[\"sat\", \"sun\"]",
        "The day of the week, in the zone of the `clock` beside it, and in UTC where there is none.",
    ),
    value("mode", Kind::Condition(Words), Optional("any"), "\"dry_run\"", "The strictest that `backstay mode` set."),
    optional_table("destination", DESTINATION_MATCH, "Where the call leads."),
    optional_table("label", LABEL_MATCH, "The label of the session when the call is judged."),
];

static DESTINATION_MATCH: &[Key] = &[value(
    "seen",
    Kind::Condition(Words),
    Optional("any"),
    "\"never\"",
    "Whether a call of this agent that was made has led there before: `never`, `allowed`, or `approved` where a person has said yes to one. Hosts with their ports, e-mail addresses and accounts are places; of several the least known counts. A tool that sends where its arguments do not say is one place. Of a call that leads nowhere it holds in no case. 4,096 places are kept for each agent.",
)];

static DESTINATION_EXAMPLE: &[Key] =
    &[value("seen", Kind::Choice(SEEN), Optional("not said"), "\"never\"", "Whether a call has led there before.")];

static LABEL_MATCH: &[Key] = &[
    value(
        "conf",
        Kind::Condition(Words),
        Optional("any"),
        "\"secret\"",
        "How far what the session has seen may travel: `public`, `internal` or `secret`.",
    ),
    value(
        "integrity",
        Kind::Condition(Words),
        Optional("any"),
        "\"untrusted\"",
        "`untrusted` once anything has entered the session that nobody vouches for, else `trusted`.",
    ),
];

static LABEL_EXAMPLE: &[Key] = &[
    value("conf", Kind::Choice(CONFIDENTIALITY), Optional("not said"), "\"secret\"", "Of the session."),
    value("integrity", Kind::Choice(INTEGRITY), Optional("not said"), "\"untrusted\"", "Of the session."),
];

static ASK: &[Key] = &[
    value(
        "role",
        Kind::Choices(APPROVING_ROLES),
        Optional("`[\"owner\"]`, unless `principal` is given"),
        "[\"operator\"]",
        "Roles that may answer.",
    ),
    value(
        "principal",
        Kind::Names,
        Optional("see `role`"),
        "[\"owner\"]",
        "Principals that may answer, in place of `role`.",
    ),
    value(
        "quorum",
        Kind::Count { min: 1, max: limits::QUORUM_MAX },
        Default("1"),
        "2",
        "How many different principals must say yes, to the same action. More than one say it at this machine alone: `backstay approve ID --token FILE`.",
    ),
    value(
        "distinct_from",
        Kind::Choices(&["requester"]),
        Optional("nobody is left out"),
        "[\"requester\"]",
        "Whose yes does not count: `requester` is the principal whose message began the turn.",
    ),
    value(
        "channels",
        Kind::Choices(super::DOORS),
        Optional("every door, as far as `quorum` and the action's class leave it"),
        "[\"cli\"]",
        "Doors at which a yes counts: `cli` is the command line at this machine, `api` HTTP. A no counts at every door.",
    ),
    value(
        "speaks",
        Kind::Choice(&["human"]),
        Optional("anybody whom `role` or `principal` names"),
        "\"human\"",
        "Take a yes only from a token made with `--speaks human`, or from a terminal at this machine. A program may still say no.",
    ),
    value(
        "expires",
        Kind::Duration,
        Default("\"10m\""),
        "\"30m\"",
        "An ask that nobody answers for this long is a no.",
    ),
];

static EXAMPLE: &[Key] = &[
    value("agent", Kind::Name, Optional("the rule's agent"), "\"other\"", "The agent's name."),
    value("principal", Kind::Name, Optional("not said"), "\"app\"", "Who spoke."),
    value("role", Kind::Choice(ROLES), Optional("the principal's"), "\"user\"", "The role of who spoke."),
    value("speaks", Kind::Choice(SPEAKERS), Optional("not said"), "\"program\"", "Who said what the turn answers."),
    value("channel", Kind::Name, Optional("not said"), "\"api\"", "The door that the message came in by."),
    value("tool", Kind::Name, Optional("not said"), "\"write_file\"", "The tool's name."),
    value("class", Kind::Choice(CLASSES), Optional("the tool's"), "\"write\"", "What the call does."),
    value(
        "tier",
        Kind::Choice(TIERS),
        Optional("not said; none where the tool runs nothing"),
        "\"copy\"",
        "How that is held which it runs.",
    ),
    value("path", Kind::Path, Optional("not said"), "\"workspace/out/notes.md\"", "A path that the call touches."),
    value(
        "bytes_out",
        Kind::Count { min: 0, max: limits::INTEGER_MAX },
        Optional("not said; 0 where the call only reads"),
        "1024",
        "Bytes that the call writes.",
    ),
    value("recipient", Kind::Names, Optional("not said"), "[\"ann@example.com\"]", "E-mail addresses that it names."),
    value("account", Kind::Names, Optional("not said"), "[\"CH9300762011623852957\"]", "Accounts that it names."),
    value("amount", Kind::Names, Optional("not said"), "[\"12.50 EUR\"]", "What it pays."),
    value(
        "host",
        Kind::Name,
        Optional("not said; none where the tool goes nowhere"),
        "\"api.example.com\"",
        "The host that the call goes to.",
    ),
    value("port", Kind::Count { min: 1, max: limits::PORT_MAX }, Optional("not said"), "443", "The port there."),
    value("method", Kind::Choice(METHODS), Optional("not said"), "\"POST\"", "What the request does."),
    value("url_path", Kind::Name, Optional("not said"), "\"/v1/orders\"", "The path of the URL."),
    value(
        "url_bytes",
        Kind::Count { min: 1, max: limits::INTEGER_MAX },
        Optional("not said"),
        "80",
        "Bytes of the URL, and of the headers that the call sets.",
    ),
    value(
        "repo",
        Kind::Name,
        Optional("not said; none where the tool speaks with none"),
        "\"git.example.com/team/app\"",
        "The repository that the call speaks with.",
    ),
    value("ref", Kind::Name, Optional("not said"), "\"refs/heads/main\"", "A ref that the call fetches or moves."),
    value("force", Kind::Condition(Flag), Optional("not said"), "true", "Whether it would lose commits."),
    value("changed", Kind::Name, Optional("not said"), "\"src/main.rs\"", "A path that differs."),
    value(
        "at",
        Kind::Moment,
        Optional("not said"),
        "2026-11-21T09:30:00+01:00",
        "When it is, for `clock` and `weekday`.",
    ),
    value("mode", Kind::Choice(MODES), Optional("not said"), "\"dry_run\"", "What the agent is switched to."),
    optional_table("destination", DESTINATION_EXAMPLE, "Where it leads."),
    optional_table("label", LABEL_EXAMPLE, "The label of the session."),
];
