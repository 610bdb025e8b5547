//! What `approvals`, `approve` and `deny` are given.
use std::path::PathBuf;

use backstay_kernel::id::{Digest, Place};
use clap::{Args, Subcommand};

use super::{digest, place};
use crate::config::duration_ms;

#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    pub decide: DecideArgs,
    /// To the very same call also later, until the end that `--until` says
    #[arg(long, requires = "until")]
    pub always: bool,
    /// For how long, 30 days at most: `12h`, `7d`
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "always")]
    pub until: Option<u64>,
}

#[derive(Subcommand, Debug)]
pub enum ApprovalsCommand {
    /// Calls that somebody said yes to for longer than once
    #[command(after_help = "Example:\n  backstay approvals standing")]
    Standing,
    /// Give the call that waits other arguments. It is judged anew, and asked about anew where it is allowed no further:
    /// editing is no yes
    #[command(
        after_help = "Example:\n  backstay approvals edit 67yjtg9xww0nx5es.7 --arguments '{\"path\":\"notes.md\",\"content\":\"later\"}'"
    )]
    Edit {
        #[command(flatten)]
        decide: DecideArgs,
        /// All of them, as a JSON object; `@FILE` is what stands in a file, `@-` stdin
        #[arg(long, value_name = "JSON")]
        arguments: String,
    },
    /// Ask about such a call again, from now on
    #[command(after_help = "Example:\n  backstay approvals revoke 67yjtg9xww0nx5es.7")]
    Revoke {
        /// As `approvals standing` shows it
        #[arg(value_parser = place)]
        id: Place,
    },
}

#[derive(Args, Debug)]
pub struct DecideArgs {
    /// As `backstay approvals` shows it
    #[arg(value_parser = place)]
    pub id: Place,
    /// The digest of the action that is meant; without it, of the action that waits now and is shown
    #[arg(long, value_parser = digest)]
    pub digest: Option<Digest>,
    /// Why; kept in the journal
    #[arg(long)]
    pub note: Option<String>,
    /// As the principal of the token in this file, not as the owner; `-` is stdin. Its scope must be `approve`
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
}

pub fn duration(text: &str) -> Result<u64, String> {
    duration_ms(text).ok_or_else(|| "a duration is a number and s, m, h or d, such as `7d`".to_owned())
}
