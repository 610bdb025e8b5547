//! Laws for any bytes and any words.
use proptest::prelude::*;

use super::argv;
use crate::grammar;
use crate::{EffectClass, Facts, Joint, Plain, Reading, Redirect, Simple, Stream, Word, display, read, words};

/// A plain command around these words, whose program the table need not know.
fn around(groups: Vec<Vec<String>>, redirects: &[Redirect]) -> Plain {
    let joints = [Joint::First, Joint::Pipe, Joint::And, Joint::Or, Joint::Then];
    let simple = |(at, group): (usize, Vec<String>)| {
        let words = std::iter::once("program".to_owned()).chain(group);
        Simple {
            joint: joints[at],
            variables: Vec::new(),
            argv: words.map(|text| Word { text, is_glob: false }).collect(),
            redirects: redirects.to_vec(),
            facts: Facts {
                wrapper: None,
                program: String::new(),
                subcommand: None,
                class: EffectClass::Read,
                reads: Vec::new(),
                writes: Vec::new(),
                packages: Vec::new(),
            },
        }
    };
    Plain { commands: groups.into_iter().enumerate().map(simple).collect() }
}

/// Any word that passes the first look.
fn any_word() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~\\n\\t]{0,12}", "[a-z0-9'\"$`*?~{}!#=&|;<>() -]{0,12}", "[a-zé日🎉 '=:.]{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_bytes_end_the_process(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_text_of_a_shell_ends_the_process(text in "[a-z0-9 \\n'\"$`*?~{}!#=&|;<>()\\[\\]\\\\-]{0,120}") {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn canonical_text_reads_as_the_same_words(groups in proptest::collection::vec(proptest::collection::vec(any_word(), 0..6), 1..5)) {
        let redirects = [
            Redirect::Output { stream: Stream::Output, is_append: false, path: "2".to_owned() },
            Redirect::ErrorsToOutput,
        ];
        let before = around(groups, &redirects);
        let text = display::of(&before);
        let tokens = words::tokens(&text).ok().expect("the canonical text has words");
        let after = grammar::simples(&tokens).expect("the canonical text is simple");
        let texts = |words: &[Word]| words.iter().map(|word| (word.text.clone(), word.is_glob)).collect::<Vec<_>>();
        prop_assert_eq!(after.len(), before.commands.len());
        for (before, after) in before.commands.iter().zip(&after) {
            prop_assert_eq!((before.joint, texts(&before.argv)), (after.joint, texts(&after.argv)));
            prop_assert_eq!(&before.redirects, &after.redirects);
        }
    }

    /// A word more may make a command opaque; it never makes it milder.
    #[test]
    fn what_comes_after_never_lowers_the_class(word in any_word()) {
        let text = format!("cp a b; echo '{}'", word.replace('\'', ""));
        if let Reading::Plain(plain) = read(text.as_bytes()) {
            prop_assert_eq!(plain.class(), EffectClass::Write);
        }
    }
}

#[test]
fn the_display_of_every_plain_row_reads_as_itself() {
    for row in super::rows::benign().into_iter().chain(super::rows::attacks()) {
        if let Reading::Plain(plain) = read(row.command.as_bytes()) {
            let again = super::plain(&plain.display());
            assert_eq!(again.display(), plain.display());
            assert_eq!(argv(&again), argv(&plain), "{}", row.command);
            assert_eq!(again.class(), plain.class(), "{}", row.command);
        }
    }
}
