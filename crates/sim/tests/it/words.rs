//! Texts that the loop of `words` has kept.
use backstay_sim::dice::Dice;
use backstay_sim::words::{check, made_up};

#[test]
fn no_kept_text_and_none_made_of_them_breaks_a_law_of_words() {
    let kept = include_str!("../data/words.jsonl").lines().map(|line| serde_json::from_str(line).unwrap());
    let kept: Vec<String> = kept.collect();
    let mut dice = Dice::new(7);
    let made = (0..2_000).map(|_| made_up(&mut dice, &kept));
    for text in kept.iter().cloned().chain(made.collect::<Vec<_>>()) {
        check(&text).unwrap_or_else(|law| panic!("{law}: {text:?}"));
    }
}
