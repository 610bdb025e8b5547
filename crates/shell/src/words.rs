//! From text to tokens that cover it, and from a token to the word it stands for. The tokenizer's word is
//! not taken for granted: whatever it passed over (a comment, a joined line) makes the command opaque, so
//! that nothing can hide between two tokens.
use std::panic::{AssertUnwindSafe, catch_unwind};

use brush_parser::{Token, TokenizerOptions, uncached_tokenize_str};

use crate::limits::{COMMANDS_MAX, OPENINGS_MAX, WORDS_MAX};
use crate::{Opaque, Refused, Stop, Word};

/// What may stand between words. Everything else is no part of a plain command, and is never parsed: the
/// parser recurses into what nests.
const OPERATORS: &[&str] = &["|", "&&", "||", ";", "\n", "<", ">", ">>", ">&"];
const SEPARATORS: &[&str] = &["|", "&&", "||", ";", "\n", "&", "|&", ";;"];
/// Words that open or close a construct where a command's name is expected.
const RESERVED: &[&str] = &[
    "!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if",
    "in", "select", "then", "time", "until", "while",
];

pub const TOKENIZER: TokenizerOptions =
    TokenizerOptions { enable_extended_globbing: false, posix_mode: false, sh_mode: false };

pub fn tokens(text: &str) -> Result<Vec<Token>, Stop> {
    if text.as_bytes().windows(2).filter(|pair| matches!(pair, [b'$', b'(' | b'{' | b'['])).count() > OPENINGS_MAX {
        return Err(Opaque::Grammar.into());
    }
    let read = catch_unwind(AssertUnwindSafe(|| uncached_tokenize_str(text, &TOKENIZER)));
    let tokens = read.ok().and_then(Result::ok).ok_or(Opaque::Grammar)?;
    check_counts(&tokens)?;
    check_cover(text, &tokens)?;
    check_kinds(&tokens)?;
    Ok(tokens)
}

fn check_counts(tokens: &[Token]) -> Result<(), Refused> {
    let (mut words, mut commands, mut any) = (0, 0, false);
    for token in tokens {
        match token {
            Token::Operator(operator, _) if SEPARATORS.contains(&operator.as_str()) => words = 0,
            Token::Operator(..) => {}
            Token::Word(..) => {
                commands += usize::from(words == 0);
                words += 1;
                any = true;
            }
        }
        if words > WORDS_MAX {
            return Err(Refused::TooManyWords);
        }
        if commands > COMMANDS_MAX {
            return Err(Refused::TooManyCommands);
        }
    }
    if any { Ok(()) } else { Err(Refused::Empty) }
}

/// Every character of the text lies in a token that says the same, or is a blank.
fn check_cover(text: &str, tokens: &[Token]) -> Result<(), Opaque> {
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    for token in tokens {
        let span = token.location();
        let (start, end) = (span.start.index, span.end.index);
        let gap = characters.get(at..start).ok_or(Opaque::Grammar)?;
        check_blank(gap)?;
        let covered = characters.get(start..end).ok_or(Opaque::Grammar)?;
        if !covered.iter().copied().eq(token.to_str().chars()) {
            return Err(Opaque::Construct(token.to_str().to_owned()));
        }
        at = end;
    }
    check_blank(characters.get(at..).unwrap_or_default())
}

fn check_blank(gap: &[char]) -> Result<(), Opaque> {
    if gap.iter().all(|c| matches!(c, ' ' | '\t')) {
        return Ok(());
    }
    Err(Opaque::Construct(gap.iter().collect::<String>().trim().to_owned()))
}

fn check_kinds(tokens: &[Token]) -> Result<(), Opaque> {
    let mut is_first = true;
    for (at, token) in tokens.iter().enumerate() {
        let text = token.to_str();
        match token {
            Token::Operator(..) if !OPERATORS.contains(&text) => return Err(Opaque::Construct(text.to_owned())),
            Token::Operator(..) => is_first |= SEPARATORS.contains(&text),
            Token::Word(..) => {
                let before_redirect = tokens.get(at + 1).is_some_and(|next| {
                    next.to_str().starts_with(['<', '>']) && next.location().start.index == token.location().end.index
                });
                // The parser counts on a descriptor's number to be a small one.
                let is_long_number = text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit());
                if before_redirect && is_long_number {
                    return Err(Opaque::Redirection(text.to_owned()));
                }
                if is_first && RESERVED.contains(&text) {
                    return Err(Opaque::Construct(text.to_owned()));
                }
                is_first = false;
            }
        }
    }
    Ok(())
}

/// The word that `raw` stands for in bash, where it stands for itself: no expansion of any kind but a glob.
pub fn literal(raw: &str) -> Result<Word, Opaque> {
    let mut reader = Reader { raw, text: String::new(), is_glob: false, is_quoted: false };
    reader.read().map(|()| Word { text: reader.text, is_glob: reader.is_glob })
}

struct Reader<'a> {
    raw: &'a str,
    text: String,
    is_glob: bool,
    is_quoted: bool,
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Opaque> {
        let mut rest = self.raw.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\'' => self.single(&mut rest)?,
                '"' => self.double(&mut rest)?,
                '\\' => self.escape(&mut rest)?,
                '*' | '?' | '[' | ']' => {
                    self.is_glob = true;
                    self.text.push(c);
                }
                _ => self.bare(c, &mut rest)?,
            }
        }
        // Which part of such a word is the pattern would be lost with its quotes.
        if self.is_glob && self.is_quoted { Err(self.no()) } else { Ok(()) }
    }

    fn no(&self) -> Opaque {
        Opaque::Expansion(self.raw.to_owned())
    }

    fn single(&mut self, rest: &mut Characters) -> Result<(), Opaque> {
        self.is_quoted = true;
        loop {
            match rest.next().ok_or_else(|| self.no())? {
                '\'' => return Ok(()),
                c => self.text.push(c),
            }
        }
    }

    fn double(&mut self, rest: &mut Characters) -> Result<(), Opaque> {
        self.is_quoted = true;
        loop {
            match rest.next().ok_or_else(|| self.no())? {
                '"' => return Ok(()),
                '`' => return Err(self.no()),
                // A dollar that nothing can follow up on stands for itself: the end of a pattern.
                '$' if !matches!(rest.peek(), Some('"' | ' ' | '|' | ')' | '/')) => return Err(self.no()),
                '!' if is_history(rest.peek()) => return Err(self.no()),
                '\\' => match rest.next() {
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.text.push(c),
                    Some('\n') | None => return Err(self.no()),
                    Some('!') => return Err(self.no()),
                    Some(c) => self.text.extend(['\\', c]),
                },
                c => self.text.push(c),
            }
        }
    }

    /// A backslash before a letter is never needed, and hides a name from whoever reads along.
    fn escape(&mut self, rest: &mut Characters) -> Result<(), Opaque> {
        self.is_quoted = true;
        match rest.next() {
            Some(c) if c.is_ascii_punctuation() || c == ' ' => self.text.push(c),
            _ => return Err(self.no()),
        }
        Ok(())
    }

    fn bare(&mut self, c: char, rest: &mut Characters) -> Result<(), Opaque> {
        let is_start = self.text.is_empty() && !self.is_quoted;
        let is_literal = match c {
            '$' | '`' | '(' | ')' | '<' | '>' | '|' | '&' | ';' | '\n' | ' ' | '\t' => false,
            '#' => !is_start,
            // Where a home directory would stand: at the start of a word, or of a value in it.
            '~' => !is_start && !self.text.ends_with(['=', ':']),
            '!' => !is_history(rest.peek()),
            '{' => return self.at_braces(rest),
            '}' => false,
            _ => true,
        };
        if !is_literal {
            return Err(self.no());
        }
        self.text.push(c);
        Ok(())
    }

    /// `stash@{0}` and `@{u}`: braces around one name expand to nothing.
    fn at_braces(&mut self, rest: &mut Characters) -> Result<(), Opaque> {
        if !self.text.ends_with('@') {
            return Err(self.no());
        }
        self.text.push('{');
        loop {
            match rest.next() {
                Some(c) if c.is_ascii_alphanumeric() => self.text.push(c),
                Some('}') if !self.text.ends_with('{') => {
                    self.text.push('}');
                    return Ok(());
                }
                _ => return Err(self.no()),
            }
        }
    }
}

/// `!name` and `!!` are earlier commands where a person types them.
fn is_history(next: Option<&char>) -> bool {
    next.is_some_and(|c| !matches!(c, ' ' | '\t' | '\n' | '=' | '(' | '"' | '\''))
}
