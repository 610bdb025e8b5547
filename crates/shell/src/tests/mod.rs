//! The reader against its tables, its corpora, bash, and what is generated from all three.
mod corpus;
mod dress;
mod help;
mod laws;
mod mutations;
mod oracle;
mod rows;
mod specs;
mod words;

use crate::{EffectClass, Plain, Reading};

fn plain(command: &str) -> Plain {
    let reading = crate::read(command.as_bytes());
    let Reading::Plain(plain) = reading else { panic!("`{command}` is not plain: {reading:?}") };
    plain
}

/// Would run without a question: plain, and no more than reading and writing.
fn is_auto(reading: &Reading) -> bool {
    matches!(reading, Reading::Plain(plain) if plain.class() <= EffectClass::Write)
}

fn argv(plain: &Plain) -> Vec<Vec<String>> {
    let words = |command: &crate::Simple| command.argv.iter().map(|word| word.text.clone()).collect();
    plain.commands.iter().map(words).collect()
}
