//! What `policy` is given.
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Speaker, moment};

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// All mistakes of a config, or its rules in the order of the file
    #[command(after_help = "Example:\n  backstay policy check new.toml")]
    Check {
        /// Instead of backstay.toml
        file: Option<PathBuf>,
    },
    /// The verdict on one call, with its rule and the facts that it rests on; nothing is done. The exit
    /// code is 0 for allow, 4 for ask, 3 for deny and for what is no call
    #[command(after_help = "Example:\n  backstay policy explain write_file '{\"path\":\"a.md\",\"content\":\"x\"}'")]
    Explain(ExplainArgs),
    /// What the whole policy makes of every example of its rules
    #[command(after_help = "Example:\n  backstay policy test")]
    Test {
        /// Instead of backstay.toml
        file: Option<PathBuf>,
    },
    /// Examples and journaled calls of which another config says something else than backstay.toml
    #[command(after_help = "Example:\n  backstay policy diff new.toml")]
    Diff {
        /// The other config
        file: PathBuf,
    },
    /// Journaled calls of which a config says something else than was said when they were made
    #[command(after_help = "Example:\n  backstay policy backtest new.toml --json")]
    Backtest {
        /// Instead of backstay.toml
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The tool's name
    pub tool: String,
    /// Its arguments, a JSON object as the model would write it
    #[arg(default_value = "{}")]
    pub arguments: String,
    /// Whose call; needed only where a home has several agents and none is `main`
    #[arg(long)]
    pub agent: Option<String>,
    /// Who speaks
    #[arg(long, default_value = "owner")]
    pub principal: String,
    /// Whether a person or a program speaks
    #[arg(long, value_enum, default_value_t = Speaker::Human)]
    pub speaks: Speaker,
    /// The door that the message came in by
    #[arg(long, default_value = "cli")]
    pub channel: String,
    /// What the message says: a person names values by it; without it, none
    #[arg(long, value_name = "TEXT")]
    pub says: Option<String>,
    /// When, such as 2026-11-21T09:30:00+01:00; without it, now
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub at: Option<u64>,
}
