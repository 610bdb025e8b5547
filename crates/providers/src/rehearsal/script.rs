//! Script lines: a message whose first line begins with `/` says what the model does, step by step.
//!
//! ```text
//! /call TOOL {json}   call a tool; several in a row are called in one reply
//! /say TEXT           say something; several in a row are lines of one text
//! /big N              say N bytes
//! /fail CLASS [MS]    fail: retry_same, wait, shrink, auth, quota, policy, invalid
//! /then               the next line belongs to the next step
//! /plan {json}        the plan of the task's scope, where one is made; no step of its own
//! ```
//! A text before a call is said in the same reply; a text after a call, and a failure, are steps of
//! their own. The arguments are passed on as they stand, well-formed or not. A failure is played on
//! every attempt: only a reply moves the script on. After the last step the model says "done".

use backstay_kernel::effect::FailureClass;
use backstay_kernel::id::Millis;

use super::Step;
use crate::limits::REHEARSAL_BIG_BYTES_MAX;

const PLAN: &str = "/plan ";

/// Step `number` of the message's script; none if it is no script.
pub(super) fn step(message: &str, number: usize) -> Option<Step> {
    if !message.trim_start().starts_with('/') {
        return None;
    }
    let mut steps = vec![Step::default()];
    let mut begun = false;
    for line in message.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(PLAN)) {
        if line == "/then" {
            if std::mem::take(&mut begun) {
                steps.push(Step::default());
            }
            continue;
        }
        let part = parse(line);
        let Some(last) = steps.last_mut() else { continue };
        if begun && !joins(last, &part) {
            steps.push(part);
        } else {
            join(last, part);
        }
        begun = true;
    }
    if !begun {
        steps.pop();
    }
    Some(steps.into_iter().nth(number).unwrap_or_else(|| Step::say("done")))
}

/// What the message's script has it plan: without a line for it, nothing.
pub(super) fn plan(message: &str) -> Step {
    let mut plans = message.lines().filter_map(|line| line.trim().strip_prefix(PLAN));
    Step::say(plans.next_back().unwrap_or("{\"tools\":[]}").trim())
}

fn joins(step: &Step, part: &Step) -> bool {
    step.fail.is_none() && part.fail.is_none() && (step.calls.is_empty() || part.text.is_empty())
}

fn join(step: &mut Step, part: Step) {
    if !step.text.is_empty() && !part.text.is_empty() {
        step.text.push('\n');
    }
    step.text.push_str(&part.text);
    step.calls.extend(part.calls);
    step.fail = part.fail;
}

fn parse(line: &str) -> Step {
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let step = match command {
        "/call" => {
            let (tool, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
            let call = (tool.to_owned(), arguments.trim().to_owned());
            (!tool.is_empty()).then(|| Step { calls: vec![call], ..Step::default() })
        }
        "/say" => Some(Step::say(rest)),
        "/big" => rest.parse().ok().filter(|n| *n <= REHEARSAL_BIG_BYTES_MAX).map(|n| Step::say("x".repeat(n))),
        "/fail" => fail(rest),
        _ => None,
    };
    step.unwrap_or_else(|| Step::say(format!("The rehearsal script does not understand this line: `{line}`")))
}

fn fail(rest: &str) -> Option<Step> {
    let mut words = rest.split_whitespace();
    let wanted = words.next()?;
    let class = CLASSES.into_iter().find(|class| word(*class) == wanted)?;
    let delay_ms: Option<Millis> = match words.next() {
        Some(ms) => Some(ms.parse().ok()?),
        None => None,
    };
    Some(Step { fail: Some((class, delay_ms)), ..Step::default() })
}

const CLASSES: [FailureClass; 7] = [
    FailureClass::RetrySame,
    FailureClass::Wait,
    FailureClass::Shrink,
    FailureClass::Auth,
    FailureClass::Quota,
    FailureClass::Policy,
    FailureClass::Invalid,
];

pub(super) fn word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::RetrySame => "retry_same",
        FailureClass::Wait => "wait",
        FailureClass::Shrink => "shrink",
        FailureClass::Auth => "auth",
        FailureClass::Quota => "quota",
        FailureClass::Policy => "policy",
        FailureClass::Invalid => "invalid",
    }
}
