//! The binary `backstay`: reads the command line, runs one command, and ends with its exit code.

mod audit;
mod cause;
mod cli;
mod client;
mod commands;
mod config;
mod desk;
mod events;
mod exit;
mod guarded;
mod heap;
mod holder;
mod home;
mod kept;
mod limits;
mod log;
mod logins;
mod notify;
mod opening;
mod print;
mod probe;
mod secrets;
mod serve;
mod servers;
mod time;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::Failure;
use crate::print::Out;

fn main() -> ExitCode {
    // Before anything else is begun: the helper is one thread, and reads no command line.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == backstay_sandbox::ARGUMENT) {
        return backstay_sandbox::helper();
    }
    if let Err(error) = backstay_secrets::keep_memory_private() {
        let why = format!("the memory of this process cannot be kept private: {error}");
        Out::new(false, "backstay".to_owned()).failure(&Failure::fault(why));
        return ExitCode::from(exit::Exit::Fault.code());
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return without_command(&error),
    };
    let command = home::resolve(cli.home.as_deref()).map_or("backstay".to_owned(), |home| home::command(&home));
    let out = Out::new(cli.json, command);
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
    let exit = match (ended, out.lost()) {
        (Ok(_), Some(lost)) => Err(lost),
        (ended, _) => ended,
    };
    let exit = exit.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// Help and version are answers. All else is a mistake in the command line, said in the form that
/// it asks for as far as it can be read.
fn without_command(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let out = Out::new(false, "backstay".to_owned());
        out.bytes(error.render().to_string().as_bytes());
        let lost = out.lost();
        lost.iter().for_each(|lost| out.failure(lost));
        return ExitCode::from(lost.map_or(exit::Exit::Ok, |lost| lost.exit).code());
    }
    let wants_json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    if wants_json {
        Out::new(true, "backstay".to_owned()).failure(&Failure::of_usage(&error.render().to_string()));
    } else {
        let _ = error.print();
    }
    ExitCode::from(exit::Exit::Usage.code())
}
