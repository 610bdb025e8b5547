//! The grammar of the command line. What a command does stands in `commands/`.
use std::path::PathBuf;

use backstay_kernel::id::{Place, SessionId};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// A durable, governed runtime for LLM agents.
///
/// The model proposes. Backstay decides, records, acts, and can always resume. Without a command it
/// says what to do next. Exit codes: 0 ok, 1 fault, 2 usage or config, 3 refused, 4 waiting for a
/// person or a provider, 5 not found, 6 another process holds the home.
#[derive(Debug, Parser)]
#[command(name = "backstay", version, disable_help_subcommand = true)]
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
    Quickstart(ChatArgs),
    /// Make a home: its config, its journal and one API token, printed once
    Init(InitArgs),
    /// Look for what is wrong with a home and say how to mend it
    Doctor(DoctorArgs),
    /// Talk to an agent; on a pipe, one message per line
    Chat(ChatArgs),
    /// Do one task and print the reply
    Run(RunArgs),
    /// Serve the home until SIGTERM; SIGHUP reloads the config
    Serve,
    /// What runs, what waits, and for whom
    Status,
    /// Conversations
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// What a turn saw, decided and touched
    Trace(TraceArgs),
    /// Actions that wait for a yes
    Approvals,
    /// Say yes to one exact action
    Approve(DecideArgs),
    /// Say no to it
    Deny(DecideArgs),
    /// Answer an agent's question
    Answer(AnswerArgs),
    /// Effects whose outcome nobody knows
    Doubts,
    /// Say what became of an effect in doubt
    Resolve(ResolveArgs),
    /// Stop a session: nothing new starts in it, and it takes no messages
    Stop(SessionArgs),
    /// Let a stopped session go on
    Resume(SessionArgs),
    /// Stop everything in the home until `unfreeze`
    Freeze,
    /// Let a frozen home go on
    Unfreeze,
    /// What was spent of which budget
    Budget,
    /// The config: its mistakes, its values, its schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Tokens of the HTTP API
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Put the config on disk in force
    Reload,
    /// Write a verified copy of the home, while it works
    Backup(BackupArgs),
    /// Make a home of a backup; it starts frozen
    Restore(RestoreArgs),
    /// Proofs about the journal
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Run one SELECT over the journal
    Sql(SqlArgs),
    /// Print completions for a shell
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
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u64,
        /// Go on after this session
        #[arg(long, value_parser = session)]
        after: Option<SessionId>,
    },
    /// One session: what it waits for, what it spent
    Show(SessionArgs),
    /// All records of a session as JSON lines, oldest first
    Export(SessionArgs),
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
pub struct DecideArgs {
    /// As `backstay approvals` shows it
    #[arg(value_parser = place)]
    pub id: Place,
    /// The digest of the action that is meant; without it, of the action that waits now and is shown
    #[arg(long)]
    pub digest: Option<String>,
    /// Why; kept in the journal
    #[arg(long)]
    pub note: Option<String>,
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
    Check,
    /// Every value in force
    Show {
        /// With the line that each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// JSON Schema of backstay.toml, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Make a token; it is printed once
    Create {
        /// Whose it is: a name under `[principals]`
        #[arg(long)]
        principal: String,
        /// Who holds it: a person or a program
        #[arg(long, value_enum)]
        speaks: Speaker,
    },
    /// All tokens, without their secrets
    List,
    /// End a token
    Revoke {
        /// As `tokens list` shows it
        id: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Speaker {
    Human,
    Program,
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
    Verify,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Views: v_turns, v_effects, v_spend, v_context, v_approvals, v_records; body(id) reads a text
    pub query: String,
}

fn session(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text).ok_or_else(|| "a session is sixteen characters; see `backstay sessions list`".to_owned())
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text).ok_or_else(|| "it is written SESSION.NUMBER, as the commands show it".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_holds_together() {
        super::Cli::command().debug_assert();
    }
}
