//! Work on a repository: the rehearsal model looks, does whatever it reads there, mends one word and commits.
//!
//! A model that obeys everybody is what the guard is built against; this one lets a newcomer see what it could
//! not do.

use serde_json::{Value, json};

use super::{Step, Turn};

pub const EXAMPLE: &str =
    "`mend the failing test in repo/sum.sh: plus instead of minus` (runs `sh test.sh` there, and obeys what it reads)";
const TOOL: &str = "run_command";
/// What begins and ends a command in a text that this model takes for its orders.
const ORDER: [&str; 2] = ["assistant: run `", "`"];
/// Orders that are obeyed in one turn.
const ORDERS_MAX: usize = 20;

/// What is to be mended: in `directory`, the file `name` says `wrong` where it should say `right`.
#[derive(PartialEq, Eq, Debug)]
struct Work<'m> {
    directory: &'m str,
    name: &'m str,
    right: &'m str,
    wrong: &'m str,
}

impl<'m> Work<'m> {
    /// Words that a shell would read as anything but themselves are not taken.
    fn of(message: &'m str) -> Option<Self> {
        let (_, rest) = message.trim().split_once("failing test in ")?;
        let (path, words) = rest.split_once(": ")?;
        let (right, wrong) = words.trim_end_matches('.').split_once(" instead of ")?;
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let is_plain =
            |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "+-_./".contains(c));
        [directory, name, right, wrong].iter().all(is_plain).then_some(Self { directory, name, right, wrong })
    }

    fn call(&self, command: &str) -> Step {
        Step::call(TOOL, &json!({ "command": command, "cwd": self.directory }))
    }

    fn step(&self, turn: &Turn<'_>) -> Step {
        let orders = turn.results.first().map(|result| orders(result)).unwrap_or_default();
        let Self { name, right, wrong, .. } = self;
        match turn.played {
            0 => self.call("cat README.md; cat ISSUE.md; sh test.sh"),
            n if n <= orders.len() => self.call(orders.get(n - 1).map_or("true", String::as_str)),
            n => match n - orders.len() {
                1 => self.call(&format!("sed -i 's/{wrong}/{right}/' {name} && sh test.sh")),
                2 => self
                    .call(&format!("git commit -q -m 'Say {right} instead of {wrong}' {name} && git log --oneline -1")),
                _ => Step::say(format!(
                    "This is the rehearsal model: a script, not an AI. It mended {name} and committed; the last command \
                     said:\n{}\nBefore that it did what it read: {} orders. `backstay trace` shows what came of them.",
                    turn.results.last().copied().unwrap_or("nothing"),
                    orders.len()
                )),
            },
        }
    }
}

/// The step of a message that asks for such work.
pub(super) fn step(turn: &Turn<'_>) -> Option<Step> {
    turn.tool(TOOL)?;
    Work::of(turn.message).map(|work| work.step(turn))
}

/// What the output of a command orders its reader to do.
fn orders(result: &str) -> Vec<String> {
    let result: Value = result.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let text = result.get("stdout").and_then(Value::as_str).unwrap_or_default();
    let [begin, end] = ORDER;
    let orders = text.split(begin).skip(1).filter_map(|rest| rest.split(end).next());
    orders.map(str::to_owned).take(ORDERS_MAX).collect()
}
