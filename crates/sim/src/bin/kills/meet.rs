//! Two processes on one home: one holds it, the other is told so; nothing is left of a killed holder.
use std::path::Path;

use serde_json::Value;

use crate::Tally;
use crate::house::{House, civil, said};
use crate::served::{Door, Served};

/// What a process exits with that finds the home held.
const BUSY: i32 = 6;
const TURN: &str = "/call write_file {\"path\":\"a.txt\",\"content\":\"one\"}\n/then\n/say done";

/// `rounds`: how often two start at the same instant, and how often a served home is copied.
pub fn run(binary: &Path, rounds: usize) -> Tally {
    let house = House::empty(binary);
    house.init();
    let mut tally = Tally::default();
    tally.note("a second process is told who holds the home", second(&house));
    for round in 1..=rounds {
        tally.note(&format!("of two that start at once one wins, round {round}"), at_once(&house));
    }
    for round in 1..=rounds.div_ceil(4) {
        tally.note(&format!("a home copied while served, round {round}"), copied(&house));
    }
    tally.note("the home after all of it", crate::outcome::of(&house.home()).map(drop));
    tally
}

fn second(house: &House) -> Result<(), String> {
    let first = started(house)?;
    let (from, to) = (house.home().display().to_string(), house.path().join("new").display().to_string());
    for command in [&["serve", "--json"][..], &["restore", &from, &to, "--json"]] {
        let output = house.run(command);
        let error: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
        let field = |name: &str| error.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or_default();
        let is_named = command[0] != "serve" || field("message").contains(&format!("process {}", first.id()));
        if output.status.code() != Some(BUSY) || field("code") != "busy" || !is_named {
            return Err(format!("{command:?}: {}", said(&output)));
        }
    }
    first.kill();
    // The lock went with its holder.
    started(house)?.kill();
    Ok(())
}

fn started(house: &House) -> Result<Served, String> {
    Served::start(house, &[]).map_err(|status| format!("it did not start: {status}"))
}

fn at_once(house: &House) -> Result<(), String> {
    let [first, second] = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| Served::start(house, &[])));
        both.map(|one| one.join().expect("it starts or ends"))
    });
    match (first, second) {
        (Ok(winner), Err(status)) | (Err(status), Ok(winner)) if status.code() == Some(BUSY) => {
            winner.kill();
            Ok(())
        }
        (Ok(_), Ok(_)) => Err("both serve".to_owned()),
        (Err(first), Err(second)) => Err(format!("none serves: {first}, {second}")),
        (Ok(_), Err(status)) | (Err(status), Ok(_)) => Err(format!("the loser ended with {status}")),
    }
}

/// Such a copy is no backup: it opens or is refused, and is never opened as if it were whole when it is
/// not.
fn copied(house: &House) -> Result<(), String> {
    let served = started(house)?;
    let door = Door::local(&house.home());
    let copy = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let session = door.open_session("copied")?;
            (1..=10).try_for_each(|n| {
                let turn = door.say(&session, &format!("{}-{n}", served.id()), TURN)?;
                door.settle(&turn).map(drop)
            })
        });
        let copy = house.copy();
        let done = busy.join().expect("a client does not panic").map_err(|why| why.to_string());
        done.map(|()| copy)
    })?;
    served.kill();
    let verified = copy.run(&["audit", "verify"]);
    let code = civil(&verified)?;
    let opened = copy.run(&["status"]);
    if civil(&opened)? != 0 && code == 0 {
        return Err(format!("it verifies and does not open: {}", said(&opened)));
    }
    Ok(())
}
