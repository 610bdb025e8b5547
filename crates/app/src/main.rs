//! The binary `backstay`: reads the command line, runs one command, and ends with its exit code.

mod cli;
mod client;
mod commands;
mod config;
mod copy;
mod desk;
mod events;
mod exit;
mod home;
mod limits;
mod log;
mod print;
mod serve;
mod time;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::Failure;
use crate::print::Out;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let out = Out::new(cli.json);
    log::start(matches!(cli.command, Some(cli::Command::Serve)));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out.failure(&Failure::fault(format!("the process cannot start: {error}")));
            return ExitCode::from(exit::Exit::Fault.code());
        }
    };
    let ended = runtime.block_on(commands::run(cli, &out));
    // A tool or a line of stdin that still blocks must not hold the process.
    runtime.shutdown_background();
    let exit = ended.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}
