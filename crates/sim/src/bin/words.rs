//! `target/debug/words [MINUTES] [SEED] [WHAT] [BINARY]`: makes up texts for whoever reads them, and holds the readers to
//! their laws. WHAT: `words` (values in a message), `heads` (of requests), `commands` (of a shell), `urls`, or
//! `configs` (rules of an operator, read by the BINARY). A text of a new shape is kept in `crates/sim/tests/data`,
//! which the tests read again; one that breaks a law is printed, kept too, and ends the run.
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use backstay_sim::dice::Dice;
use backstay_sim::{commands, configs, heads, urls, words};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// More than these say nothing new to whoever reads them again with every change.
const KEPT_MAX: usize = 300;

fn main() -> std::io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().unwrap_or(1));
    let (minutes, seed) = (arguments.next().unwrap_or(10), arguments.next().unwrap_or(1));
    let more: Vec<String> = std::env::args().skip(3).collect();
    let made_of =
        |pieces: &'static [&'static str]| move |dice: &mut Dice, kept: &[String]| words::made_of(pieces, dice, kept);
    match more.first().map_or("words", String::as_str) {
        "words" => run("words.jsonl", minutes, seed, words::check, made_of(&words::PIECES)),
        "heads" => run("heads.jsonl", minutes, seed, heads::check, made_of(&heads::PIECES)),
        "commands" => run("commands.jsonl", minutes, seed, commands::check, made_of(&commands::PIECES)),
        "urls" => run("urls.jsonl", minutes, seed, urls::check, made_of(&urls::PIECES)),
        "configs" => {
            let reader = configs::Reader::new(Path::new(more.get(1).map_or("target/debug/backstay", String::as_str)))?;
            run("configs.jsonl", minutes, seed, |text| reader.check(text), made_of(&configs::PIECES))
        }
        other => {
            eprintln!("words: nobody reads {other:?}");
            Ok(ExitCode::from(2))
        }
    }
}

fn run<Shape: Ord + Copy>(
    file: &str,
    minutes: u64,
    seed: u64,
    check: impl Fn(&str) -> Result<Shape, String>,
    made_up: impl Fn(&mut Dice, &[String]) -> String,
) -> std::io::Result<ExitCode> {
    let path = format!("{KEPT}/{file}");
    let mut kept: Vec<String> = Vec::new();
    let mut shapes = BTreeSet::new();
    for line in std::fs::read_to_string(&path)?.lines() {
        let text: String = serde_json::from_str(line)?;
        shapes.extend(check(&text).ok());
        kept.push(text);
    }
    let mut file = std::fs::OpenOptions::new().append(true).open(&path)?;
    let (mut dice, until) = (Dice::new(seed), Instant::now() + Duration::from_secs(60 * minutes));
    let mut texts = 0u64;
    while Instant::now() < until {
        let text = made_up(&mut dice, &kept);
        texts += 1;
        let broken = match check(&text) {
            Ok(shape) if kept.len() >= KEPT_MAX || !shapes.insert(shape) => continue,
            Ok(_) => None,
            Err(law) => Some(law),
        };
        writeln!(file, "{}", serde_json::to_string(&text)?)?;
        if let Some(law) = broken {
            println!("seed {seed}, text {texts}: {law}\n{text:?}");
            return Ok(ExitCode::FAILURE);
        }
        kept.push(text);
    }
    println!("{texts} texts, {} kept, no law broken", kept.len());
    Ok(ExitCode::SUCCESS)
}
