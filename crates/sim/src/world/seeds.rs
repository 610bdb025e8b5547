//! Runs that a seed draws: who says what and when, what fails, where the process dies, in what
//! order things happen. One number is the whole run.
use backstay_kernel::record::Mode;

use super::house::Change;
use super::outside::{EffectCut, Mood, Side};
use super::play::Plan;
use super::scenario::{Do, Scenario, Step, Wanted, When};
use crate::dice::Dice;
use crate::disk::{Fault, Moment, Phase, Trouble};

const STEPS_MAX: u64 = 8;
/// Flushes and effects of a drawn run, about: a fault beyond its last one does not come about.
const FLUSHES: u64 = 50;
const EFFECTS: u64 = 16;
const HOUR_MS: i64 = 3_600_000;
const TOOLS: &[&str] = &["look", "set", "put", "file", "send", "guarded", "fails", "ask", "nothing"];

#[must_use]
pub fn draw(seed: u64) -> (Scenario, Plan) {
    let mut dice = Dice::new(seed);
    let mut steps: Vec<Step> = (0..2 + dice.below(STEPS_MAX)).map(|number| draw_step(&mut dice, number)).collect();
    // Nobody leaves a home frozen.
    steps.push(Step { when: When::Now, act: Do::Freeze(false) });
    let budget = dice.one_in(8).then(|| Change::DayTokens(1_000 + dice.below(3_000)));
    let limit = dice.one_in(8).then(|| Change::Limit("put", 1 + dice.below(3)));
    let scenario = Scenario {
        name: "drawn",
        changes: budget.into_iter().chain(limit).collect(),
        moods: (0..dice.below(8)).map(|_| draw_mood(&mut dice)).collect(),
        steps,
        wanted: Wanted::Such(|_| Ok(())),
    };
    let faults = (0..dice.below(4)).map(|_| draw_fault(&mut dice)).collect();
    let cuts = (0..dice.below(3))
        .map(|_| EffectCut { effect: 1 + dice.below(EFFECTS), side: Side::ALL[dice.place(Side::ALL.len())] });
    let cuts = cuts.collect();
    let power = dice.one_in(3).then(|| dice.draw());
    (scenario, Plan { faults, cuts, power, dice: Some(dice.draw()) })
}

fn draw_step(dice: &mut Dice, number: u64) -> Step {
    let who = dice.place(2);
    let (when, act) = match dice.below(16) {
        0 => (When::Held("send"), Do::Cancel { who }),
        1 | 2 => (When::Asked(who), Do::Decide { who, approve: !dice.one_in(3) }),
        3 => (When::Question(who), Do::Answer { who, text: format!("answer {number}") }),
        4 => (draw_moment(dice), Do::Restart { clean: dice.one_in(2), change: draw_change(dice) }),
        5 => (draw_moment(dice), Do::Reload(draw_change(dice).unwrap_or(Change::AssumeDone))),
        6 => (draw_moment(dice), Do::Freeze(true)),
        7 => (When::Now, Do::Freeze(false)),
        8 => (draw_moment(dice), Do::Pass(dice.below(100_000))),
        9 => (draw_moment(dice), Do::Jump(i64::try_from(dice.below(6)).unwrap_or(0) * HOUR_MS - 3 * HOUR_MS)),
        _ => {
            let mode = [Mode::Queue, Mode::Queue, Mode::Steer, Mode::Interrupt][dice.place(4)];
            (draw_moment(dice), Do::Say { who, mode, text: draw_script(dice, number) })
        }
    };
    Step { when, act }
}

fn draw_moment(dice: &mut Dice) -> When {
    [When::Now, When::Quiet, When::Quiet, When::Held("model"), When::Held("send"), When::Held("file")][dice.place(6)]
}

fn draw_change(dice: &mut Dice) -> Option<Change> {
    let changes = [Change::Ungrant("put"), Change::Deny("send"), Change::Ungrant("guarded")];
    dice.one_in(2).then(|| changes[dice.place(changes.len())])
}

/// No two calls of a run have the same arguments.
fn draw_script(dice: &mut Dice, number: u64) -> String {
    let mut script = String::new();
    for line in 0..dice.below(4) {
        let calls =
            (0..1 + dice.below(4)).map(|call| format!("{} {number}-{line}-{call}", TOOLS[dice.place(TOOLS.len())]));
        let calls: Vec<String> = calls.collect();
        script.push_str(&format!("call {} | ", calls.join(", ")));
    }
    script + &format!("say {number}")
}

fn draw_mood(dice: &mut Dice) -> Mood {
    match dice.below(10) {
        0 => Mood::Busy { told: false },
        1 => Mood::Busy { told: true },
        2 => Mood::Fault,
        3 => Mood::CutStream,
        4 => Mood::Hang,
        _ => Mood::Answers,
    }
}

fn draw_fault(dice: &mut Dice) -> Fault {
    let at = Moment { flush: 1 + dice.below(FLUSHES), phase: Phase::ALL[dice.place(Phase::ALL.len())] };
    let writes = 1 + u32::try_from(dice.below(12)).unwrap_or(0);
    let trouble = match dice.below(8) {
        0 | 1 => Trouble::Kill,
        2 | 3 => Trouble::PowerLoss { seed: dice.draw() },
        4 => Trouble::Full { writes },
        5 => Trouble::Broken { writes },
        6 => Trouble::LostAnswer,
        _ => Trouble::Stall,
    };
    Fault { at, trouble }
}
