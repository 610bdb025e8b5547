//! The grammar of the command line. What a command does stands in `commands/`.
use std::path::PathBuf;

use backstay_kernel::id::{Digest, Place, SessionId};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod approvals;
mod mcp;
mod policy;

pub use approvals::{ApprovalsCommand, ApproveArgs, DecideArgs};
pub use mcp::{LoginArgs, McpCommand, ServerArgs};
pub use policy::{ExplainArgs, PolicyCommand};

/// A durable, governed runtime for LLM agents.
///
/// The model proposes. Backstay decides, records, acts, and can always resume. Without a command it
/// says what to do next. Exit codes: 0 ok, 1 fault, 2 usage or config, 3 refused, 4 waiting for a
/// person or a provider, 5 not found, 6 another process holds the home.
#[derive(Debug, Parser)]
#[command(name = "backstay", version)]
pub struct Cli {
    /// The directory of the home. Without it: the user's data directory.
    #[arg(long, global = true, env = "BACKSTAY_HOME", value_name = "DIR", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Print JSON: the API's own, in a stable form. Errors are JSON on stderr.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a home if there is none, and open a chat in it
    #[command(after_help = "Example:\n  backstay quickstart")]
    Quickstart(ChatArgs),
    /// Make a home: its config, its journal and one API token, printed once
    #[command(after_help = "Example:\n  backstay init ~/agent --base-url http://127.0.0.1:8080/v1")]
    Init(InitArgs),
    /// Look for what is wrong with a home and say how to mend it
    #[command(after_help = "Example:\n  backstay doctor --providers")]
    Doctor(DoctorArgs),
    /// Talk to an agent; on a pipe, one message per line
    #[command(after_help = "Example:\n  printf 'hello\\n/trace\\n' | backstay chat")]
    Chat(ChatArgs),
    /// Do one task and print the reply
    #[command(after_help = "Example:\n  backstay run \"write a note: mend the sails\" --key sails-1")]
    Run(RunArgs),
    /// Serve the home until SIGTERM; SIGHUP reloads the config
    #[command(after_help = "Example:\n  backstay serve 2>>serve.log")]
    Serve,
    /// What runs, what waits, and for whom
    #[command(after_help = "Example:\n  backstay status --json")]
    Status,
    /// Follow what waits for somebody: a line when something begins to wait, and when it ended and how
    #[command(after_help = "Example:\n  backstay watch --json")]
    Watch,
    /// Conversations
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// What a turn saw, decided and touched
    #[command(after_help = "Example:\n  backstay trace")]
    Trace(TraceArgs),
    /// Actions that wait for a yes, and yeses for longer than once
    #[command(after_help = "Examples:\n  backstay approvals\n  backstay approvals standing")]
    Approvals {
        #[command(subcommand)]
        command: Option<ApprovalsCommand>,
    },
    /// Say yes to one exact action
    #[command(after_help = "Example:\n  backstay approve 67yjtg9xww0nx5es.7 --always --until 7d")]
    Approve(ApproveArgs),
    /// Say no to it
    #[command(after_help = "Example:\n  backstay deny 67yjtg9xww0nx5es.7 --note \"not today\"")]
    Deny(DecideArgs),
    /// Answer an agent's question
    #[command(after_help = "Example:\n  backstay answer 67yjtg9xww0nx5es.7 \"Bergen\"")]
    Answer(AnswerArgs),
    /// Effects whose outcome nobody knows
    #[command(after_help = "Example:\n  backstay doubts")]
    Doubts,
    /// Say what became of an effect in doubt
    #[command(after_help = "Example:\n  backstay resolve 67yjtg9xww0nx5es.7 done --note \"the invoice is there\"")]
    Resolve(ResolveArgs),
    /// Stop a session, or each of an agent, a door or all in which something goes on or waits: its turn and its commands
    /// end, nothing new starts in it, and it takes no messages
    #[command(after_help = "Example:\n  backstay stop --agent main")]
    Stop(StopArgs),
    /// Let a stopped session go on
    #[command(after_help = "Example:\n  backstay resume 67yjtg9xww0nx5es")]
    Resume(SessionArgs),
    /// Stop everything in the home until `unfreeze`
    #[command(after_help = "Example:\n  backstay freeze")]
    Freeze,
    /// Let a frozen home go on
    #[command(after_help = "Example:\n  backstay unfreeze")]
    Unfreeze,
    /// How much an agent, a door or the home does: everything, a dry run, or reading alone
    #[command(after_help = "Example:\n  backstay mode read-only --agent main")]
    Mode(ModeArgs),
    /// What was spent of which budget
    #[command(after_help = "Example:\n  backstay budget")]
    Budget,
    /// The config: its mistakes, its values, its schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What the rules say: of one call, of their examples, of all calls in the journal
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Directories that agents work in, and the labels of what lies there
    #[command(subcommand)]
    Roots(RootsCommand),
    /// Servers of tools: what they offer, which of them were let in, and logins there
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Tokens of the HTTP API
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Values that agents may use and nobody may see
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Put the config on disk in force
    #[command(after_help = "Example:\n  backstay config check && backstay reload")]
    Reload,
    /// Write a verified copy of the home, while it works
    #[command(after_help = "Example:\n  backstay backup /mnt/backup/home --workspace")]
    Backup(BackupArgs),
    /// Make a home of a backup; it starts frozen
    #[command(after_help = "Example:\n  backstay restore /mnt/backup/home ~/restored")]
    Restore(RestoreArgs),
    /// Proofs about the journal
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What an inquiry needs
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Run one SELECT over the journal
    #[command(after_help = "Example:\n  backstay sql \"SELECT day, sum(micro_usd) FROM v_spend GROUP BY day\"")]
    Sql(SqlArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  backstay completions bash > ~/.local/share/bash-completion/completions/backstay"
    )]
    Completions {
        /// Whose syntax
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a page of the reference as Markdown
    #[command(hide = true)]
    Reference {
        #[arg(value_enum)]
        page: Page,
    },
}

/// Pages that are written from the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Page {
    /// docs/reference/cli.md
    Cli,
    /// docs/reference/config.md
    Config,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; without it the home that `--home` names
    pub dir: Option<PathBuf>,
    /// Let the agent run commands, in the sandbox: every program of the machine, without a network
    #[arg(long)]
    pub commands: bool,
    /// Talk to this server, which speaks the format of OpenAI's Chat Completions; it is asked which
    /// models it has
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// The model's name at that server; needed only where it has several
    #[arg(long, requires = "base_url", value_name = "NAME")]
    pub model: Option<String>,
    /// The environment variable that holds the key for that server
    #[arg(long, requires = "base_url", value_name = "VARIABLE")]
    pub api_key_env: Option<String>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Ask for what a home needs before real users come
    #[arg(long)]
    pub production: bool,
    /// Ask every provider whether it answers, takes the key and knows the models; costs nothing
    #[arg(long)]
    pub providers: bool,
}

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The agent; needed only where a home has several and none is `main`
    #[arg(long, conflicts_with = "session")]
    pub agent: Option<String>,
    /// Go on with this session
    #[arg(long, value_parser = session)]
    pub session: Option<SessionId>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to do; `-` reads it from stdin
    pub task: String,
    /// Do it once: the same command with the same key attaches to what was begun, also after a crash
    #[arg(long)]
    pub key: Option<String>,
    #[command(flatten)]
    pub chat: ChatArgs,
}

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// The newest first
    #[command(after_help = "Example:\n  backstay sessions list --limit 5")]
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u64,
        /// Go on after this session
        #[arg(long, value_parser = session)]
        after: Option<SessionId>,
    },
    /// One session: what it waits for, what it spent
    #[command(after_help = "Example:\n  backstay sessions show 67yjtg9xww0nx5es")]
    Show(SessionArgs),
    /// A whole session as JSON lines, with its texts: for another home, or for the record
    #[command(after_help = "Example:\n  backstay sessions export 67yjtg9xww0nx5es > session.jsonl")]
    Export(SessionArgs),
    /// Take in a session that another home has exported: every byte is verified, and it comes in stopped
    #[command(after_help = "Example:\n  backstay sessions import session.jsonl")]
    Import {
        /// The file; `-` is stdin
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct SessionArgs {
    /// As `backstay sessions list` shows it
    #[arg(value_parser = session)]
    pub session: SessionId,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// SESSION.SEQ of the message that began the turn; without it, the latest turn of the home
    #[arg(value_parser = place)]
    pub turn: Option<Place>,
    /// Print the request of the turn's Nth model call (from 1), byte for byte as it was sent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub as_sent: Option<u32>,
}

#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// As `backstay status` shows it
    #[arg(value_parser = place)]
    pub id: Place,
    /// What the agent is told
    pub text: String,
}

#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// As `backstay doubts` shows it
    #[arg(value_parser = place)]
    pub effect: Place,
    /// What became of it
    #[arg(value_enum)]
    pub outcome: Resolved,
    /// How it is known; kept in the journal
    #[arg(long)]
    pub note: String,
}

/// What a person found out about an effect in doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Resolved {
    /// It happened
    Done,
    /// It did not happen
    NotDone,
    /// It did not happen, and is to be tried again
    Retry,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// All mistakes of backstay.toml, each with its place
    #[command(after_help = "Example:\n  backstay config check")]
    Check,
    /// Every value in force
    #[command(after_help = "Example:\n  backstay config show --origin")]
    Show {
        /// With the line that each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// JSON Schema of backstay.toml, for editors
    #[command(after_help = "Example:\n  backstay config schema > backstay.schema.json")]
    Schema,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct StopArgs {
    /// As `backstay sessions list` shows it
    #[arg(value_parser = session)]
    pub session: Option<SessionId>,
    /// What goes on of this agent
    #[arg(long)]
    pub agent: Option<String>,
    /// What goes on of whatever came in by this door: `cli` (this machine), `api` (HTTP below /api) or `openai` (HTTP below /v1)
    #[arg(long)]
    pub channel: Option<String>,
    /// All that goes on; what begins later is not stopped, as it is by `freeze`
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Debug, Args)]
pub struct ModeArgs {
    /// `dry-run`: what does more than read is checked and not made; `read-only`: it is refused
    #[arg(value_enum)]
    pub mode: ModeName,
    /// Of this agent, not of the whole home
    #[arg(long, conflicts_with = "channel")]
    pub agent: Option<String>,
    /// Of whatever comes in by this door, not of the whole home: `cli` (this machine), `api` (HTTP below /api) or
    /// `openai` (HTTP below /v1)
    #[arg(long)]
    pub channel: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ModeName {
    Normal,
    DryRun,
    ReadOnly,
}

#[derive(Debug, Subcommand)]
pub enum RootsCommand {
    /// Every directory that is granted, with the label of what lies in it
    #[command(after_help = "Example:\n  backstay roots list")]
    List,
    /// Vouch for what lies in a directory: sessions that saw secrets have left none there
    #[command(after_help = "Example:\n  backstay roots reset /srv/reports")]
    Reset {
        /// As `roots list` shows it
        root: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Make a token; it is printed once
    #[command(after_help = "Example:\n  backstay tokens create --principal owner --speaks program --scope chat")]
    Create {
        /// Whose it is: a name under `[principals]`
        #[arg(long)]
        principal: String,
        /// Who holds it: a person or a program
        #[arg(long, value_enum)]
        speaks: Speaker,
        /// What it is for
        #[arg(long, value_enum)]
        scope: ScopeName,
    },
    /// All tokens, without their secrets
    #[command(after_help = "Example:\n  backstay tokens list")]
    List,
    /// End a token
    #[command(after_help = "Example:\n  backstay tokens revoke bks_426a32fc")]
    Revoke {
        /// As `tokens list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Keep a value: from stdin, or typed at a terminal, where it is not shown
    #[command(after_help = "Example:\n  backstay secrets set crm < token.txt")]
    Set {
        /// a-z, 0-9, `_` and `-`, as under `[secrets]` in the config
        name: String,
        // Taken here so that no message repeats it.
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<std::ffi::OsString>,
    },
    /// All names, without their values
    #[command(after_help = "Example:\n  backstay secrets list")]
    List,
    /// Forget a secret
    #[command(after_help = "Example:\n  backstay secrets rm crm")]
    Rm {
        /// As `secrets list` shows it
        name: String,
    },
    /// Keep another value in place of the one that is there; the next request carries it
    #[command(after_help = "Example:\n  backstay secrets rotate crm < token.txt")]
    Rotate {
        /// As `secrets list` shows it
        name: String,
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<std::ffi::OsString>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Speaker {
    Human,
    Program,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ScopeName {
    /// To talk to agents
    Chat,
    /// To see, and change nothing
    Observe,
    /// To see what waits for a yes, and to answer it
    Approve,
    /// To stop, let go on, settle and set
    Operate,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Must not hold a backup yet
    pub dir: PathBuf,
    /// Copy the workspace too
    #[arg(long)]
    pub workspace: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A directory that `backup` wrote, or a copy of a stopped home
    pub from: PathBuf,
    /// The new home; must not be one yet
    pub to: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Read every page, chain, snapshot and body, and say what is not as it was written
    #[command(after_help = "Example:\n  backstay audit verify --checkpoints /var/log/backstay/checkpoints.jsonl")]
    Verify(VerifyArgs),
    /// The public half of the key that signs this home's checkpoints
    #[command(after_help = "Example:\n  backstay audit key")]
    Key,
    /// One call: who, what, by which rule, with whose yes, and what came of it
    #[command(after_help = "Example:\n  backstay audit show 67yjtg9xww0nx5es.7")]
    Show {
        /// As `backstay trace` shows it
        #[arg(value_parser = place)]
        call: Place,
    },
    /// The journal as JSON lines, each with what its hash covers, after the checkpoints that speak of them
    #[command(after_help = "Example:\n  backstay audit export --from 2026-11-01T00:00:00Z > november.jsonl")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Compare with what was signed of it before: finds a journal that was cut short or written anew
    #[arg(long, value_name = "FILE", group = "file")]
    pub checkpoints: Option<PathBuf>,
    /// Look at what `audit export` wrote instead, by what stands in it; no home is needed
    #[arg(long, value_name = "FILE", group = "file")]
    pub export: Option<PathBuf>,
    /// Who must have signed, as `audit key` showed it there; without it, this home's own key, or the one that an export names
    #[arg(long, value_name = "HEX", requires = "file")]
    pub key: Option<String>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// From the first entry of this moment or later on
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub from: Option<u64>,
    /// Up to before the next entry of this moment or later
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub to: Option<u64>,
    /// With the texts: what people, models and tools said
    #[arg(long)]
    pub bodies: bool,
    /// Where the checkpoints were collected; without it, the file that `[audit] sink` names
    #[arg(long, value_name = "FILE")]
    pub checkpoints: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// One signed archive: the journal without texts, configs, checkpoints, versions, what `doctor` finds
    #[command(
        after_help = "Example:\n  backstay incident bundle /mnt/evidence/2026-11-21.tar --from 2026-11-20T00:00:00Z"
    )]
    Bundle(BundleArgs),
}

#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The archive; must not be there yet
    pub out: PathBuf,
    /// The journal from this moment on
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub from: Option<u64>,
    /// The journal up to before this moment
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub to: Option<u64>,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Views: v_turns, v_effects, v_spend, v_context, v_approvals, v_records; body(id) reads a text,
    /// session_name(session) is the session as other commands take it
    pub query: String,
}

fn session(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text).ok_or_else(|| "a session is sixteen characters; see `backstay sessions list`".to_owned())
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text).ok_or_else(|| "it is written SESSION.NUMBER, as the commands show it".to_owned())
}

fn moment(text: &str) -> Result<u64, String> {
    let at = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    at.ok_or_else(|| "it is written with its offset from UTC, such as 2026-11-21T09:30:00Z".to_owned())
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::parse(text).ok_or_else(|| "it has 64 hexadecimal digits; `backstay approvals` shows it".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_grammar_holds_together() {
        super::Cli::command().debug_assert();
    }

    /// Every command shows one use of itself, and the grammar takes it.
    #[test]
    fn every_example_is_a_command_line() {
        let (mut waiting, mut tried) = (vec![super::Cli::command()], 0);
        while let Some(command) = waiting.pop() {
            let inner: Vec<_> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned().collect();
            if !inner.is_empty() {
                waiting.extend(inner);
                continue;
            }
            let after = command.get_after_help().unwrap_or_else(|| panic!("{} has no example", command.get_name()));
            let line = after.to_string();
            let line = line.strip_prefix("Example:\n  ").unwrap();
            // Of several each, without what the shell does around it.
            let parts = line.split(['|', '&']).map(|part| part.split('>').next().unwrap().trim().trim_end_matches('2'));
            let parts: Vec<_> =
                parts.map(words).filter(|words| words.first().is_some_and(|first| first == "backstay")).collect();
            assert!(parts.iter().flatten().any(|word| word == command.get_name()), "{line}");
            for words in parts {
                super::Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
    }

    /// Split as a shell would: spaces outside of double quotes.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for character in line.chars() {
            match character {
                '"' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                other => words.last_mut().unwrap().push(other),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
