//! Texts, heads of requests, commands and URLs that the loop of `words` has kept.
use backstay_sim::dice::Dice;
use backstay_sim::{commands, heads, urls, words};

fn hold<Shape>(kept: &str, pieces: &[&str], check: impl Fn(&str) -> Result<Shape, String>) {
    let kept: Vec<String> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut dice = Dice::new(7);
    let made = (0..2_000).map(|_| words::made_of(pieces, &mut dice, &kept));
    for text in kept.iter().cloned().chain(made.collect::<Vec<_>>()) {
        check(&text).unwrap_or_else(|law| panic!("{law}: {text:?}"));
    }
}

#[test]
fn no_kept_text_and_none_made_of_them_breaks_a_law_of_words() {
    hold(include_str!("../data/words.jsonl"), &words::PIECES, words::check);
}

#[test]
fn no_kept_head_and_none_made_of_them_is_read_in_two_ways() {
    hold(include_str!("../data/heads.jsonl"), &heads::PIECES, heads::check);
}

#[test]
fn no_kept_command_and_none_made_of_them_is_more_than_it_was_read_as() {
    hold(include_str!("../data/commands.jsonl"), &commands::PIECES, commands::check);
}

#[test]
fn no_kept_url_and_none_made_of_them_leads_another_reader_elsewhere() {
    hold(include_str!("../data/urls.jsonl"), &urls::PIECES, urls::check);
}
