//! `reference`: pages of docs/reference/ that are written from the code itself, so that they cannot
//! say anything else.
use std::fmt::Write as _;

use clap::CommandFactory as _;

use crate::cli::{Cli, Page};
use crate::config;
use crate::exit::Exit;

#[must_use]
pub fn markdown(page: Page) -> String {
    match page {
        Page::Cli => cli(),
        Page::Config => config::reference_markdown(),
    }
}

fn cli() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# The command line\n\nGenerated from the grammar by `backstay reference cli`; a test compares the two.\n\n",
    );
    if let Some(about) = root.get_long_about() {
        let _ = writeln!(text, "{about}\n");
    }
    text.push_str(
        "stdout is data, stderr is talk. `--home DIR` (or `$BACKSTAY_HOME`) and `--json` go with every command.\n",
    );
    text.push_str("A command that fails says why on stderr, with the command or config line that helps; with `--json` as\n`{\"error\":{\"code\",\"message\",\"next\"}}`. Every code has a page in `docs/errors/`.\n");
    text.push_str("\n## Exit codes\n\n| code | means |\n|---|---|\n");
    for exit in Exit::ALL {
        let _ = writeln!(text, "| {} | {} |", exit.code(), exit.meaning());
    }
    describe(&root, &mut text);
    text
}

fn describe(command: &clap::Command, text: &mut String) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        if inner.get_subcommands().next().is_some() {
            describe(inner, text);
            continue;
        }
        let name = inner.get_bin_name().unwrap_or_else(|| inner.get_name());
        let _ = writeln!(text, "\n## `{name}`\n");
        let about = inner.get_long_about().or_else(|| inner.get_about());
        let _ = writeln!(text, "{}.\n", about.map(ToString::to_string).unwrap_or_default().trim_end_matches('.'));
        let example = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = example.trim_start_matches("Example:").trim();
        let usage = inner.clone().render_usage().to_string();
        let _ = writeln!(text, "```sh\n{}\n\n# for example\n{example}\n```", usage.trim_start_matches("Usage: "));
        let own = inner.get_arguments().filter(|argument| !is_everywhere(argument));
        for (number, argument) in own.enumerate() {
            if number == 0 {
                text.push('\n');
            }
            let _ = writeln!(text, "- `{}`: {}", written(argument), help(argument));
        }
    }
}

fn is_everywhere(argument: &clap::Arg) -> bool {
    argument.is_hide_set() || ["help", "version", "home", "json"].contains(&argument.get_id().as_str())
}

fn written(argument: &clap::Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map_or_else(|| argument.get_id().to_string().to_uppercase(), ToString::to_string);
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn help(argument: &clap::Arg) -> String {
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let possible = argument.get_possible_values();
    let shown = argument.get_action().takes_values();
    if shown && !possible.is_empty() {
        let names: Vec<String> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(help, "{}{}", if help.is_empty() { "" } else { ": " }, names.join(", "));
    }
    if let Some(default) = argument.get_default_values().first().filter(|_| shown) {
        let _ = write!(help, " (default {})", default.to_string_lossy());
    }
    help
}
