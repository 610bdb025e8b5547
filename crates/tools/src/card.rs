//! What a call would start, as a text that a person can check: made of the words that would run, never of the text that
//! a model wrote.
use backstay_sandbox::{Joint, Redirect, Simple};
use backstay_shell::quoted;

use crate::prepare::{Action, prepare};
use crate::roots::Roots;

/// The one built-in tool that starts what it is told.
const RUN_COMMAND: &str = "run_command";

/// `None` where the call starts no program, or cannot be made now.
#[must_use]
pub fn command_line(roots: &Roots, tool: &str, arguments: &str) -> Option<String> {
    // Looking at what starts none may take long.
    if tool != RUN_COMMAND && roots.declared(tool).is_none() {
        return None;
    }
    match prepare(roots, tool, arguments).ok()?.action {
        Action::Run(run) => Some(line(&run.commands)),
        Action::Read { .. }
        | Action::Write(_)
        | Action::List { .. }
        | Action::Search { .. }
        | Action::Remember { .. }
        | Action::Recall { .. }
        | Action::AskHuman
        | Action::ReadOutput(_)
        | Action::Send(_)
        | Action::Fetch(_)
        | Action::Push(_)
        | Action::Serve(_) => None,
    }
}

pub(crate) fn line(commands: &[Simple]) -> String {
    let mut out = String::new();
    for (place, Simple { joint, variables, argv, redirects }) in commands.iter().enumerate() {
        out.push_str(match joint {
            _ if place == 0 => "",
            Joint::Then => "; ",
            Joint::And => " && ",
            Joint::Or => " || ",
            Joint::Pipe => " | ",
        });
        let variables = variables.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words: Vec<String> = variables.chain(argv.iter().map(|word| quoted(word))).collect();
        out.push_str(&words.join(" "));
        redirects.iter().for_each(|redirect| out.push_str(&target(redirect)));
    }
    out
}

fn target(redirect: &Redirect) -> String {
    match redirect {
        Redirect::Input(path) => format!(" < {}", quoted(path)),
        Redirect::Output { path, is_append: false } => format!(" > {}", quoted(path)),
        Redirect::Output { path, is_append: true } => format!(" >> {}", quoted(path)),
        Redirect::Errors { path, is_append: false } => format!(" 2> {}", quoted(path)),
        Redirect::Errors { path, is_append: true } => format!(" 2>> {}", quoted(path)),
        Redirect::ErrorsToOutput => " 2>&1".to_owned(),
    }
}
