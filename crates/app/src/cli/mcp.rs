//! What `mcp` is given.
use clap::{Args, Subcommand};

use super::approvals::duration;

#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// The servers of the config, which of their tools are offered to agents, and where somebody is logged in
    #[command(after_help = "Example:\n  backstay mcp list")]
    List,
    /// Start a server, show what it is and offers, and how that differs from its pin
    #[command(after_help = "Example:\n  backstay mcp test files")]
    Test(ServerArgs),
    /// Let a server in as it is now: its files, its words, its tools
    #[command(after_help = "Example:\n  backstay mcp test files && backstay mcp pin files")]
    Pin(ServerArgs),
    /// Log in at a server behind a URL (OAuth): shows an address to open, and keeps what comes of it sealed
    #[command(after_help = "Example:\n  backstay mcp login tickets")]
    Login(LoginArgs),
    /// Give back what a login brought, and forget it
    #[command(after_help = "Example:\n  backstay mcp logout tickets")]
    Logout {
        /// A name under `[mcp]`
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// A name under `[mcp]`
    pub name: String,
    /// In whose directories it runs; without it, those of the first agent that is granted a tool of it
    #[arg(long)]
    pub agent: Option<String>,
}

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// A name under `[mcp]`
    pub name: String,
    /// What is asked for, between spaces, in place of what the server names
    #[arg(long, value_name = "SCOPES")]
    pub scope: Option<String>,
    /// Which authorization server, where the server names several
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Agree to the hosts that are named, without a question
    #[arg(long)]
    pub yes: bool,
    /// Read from stdin the address that the browser ended at: for a browser on another machine
    #[arg(long)]
    pub paste: bool,
    /// How long the browser is waited for
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    pub wait: u64,
}
