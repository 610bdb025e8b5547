//! Which shapes of a command are known: every node of the parser's tree is named here, and all but a few
//! are opaque. A node that a later version of the parser brings along does not compile.
use std::panic::{AssertUnwindSafe, catch_unwind};

use brush_parser::ast::{
    AndOr, AndOrList, AssignmentValue, Command, CommandPrefixOrSuffixItem as Item, IoFileRedirectKind as Kind,
    IoFileRedirectTarget as Target, IoRedirect, Pipeline, Program, SeparatorOperator, SimpleCommand,
};
use brush_parser::{ParserOptions, Token, parse_tokens};

use crate::words::{TOKENIZER, literal};
use crate::{Joint, Opaque, Redirect, Stream, Variable, Word, spec};

/// A simple command whose words are literal; nothing is known about its program yet.
pub struct Parsed {
    pub joint: Joint,
    pub variables: Vec<Variable>,
    pub argv: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

pub fn simples(tokens: &[Token]) -> Result<Vec<Parsed>, Opaque> {
    let program = parse(tokens).ok_or(Opaque::Grammar)?;
    let mut found = Vec::new();
    for item in program.complete_commands.iter().flat_map(|list| &list.0) {
        match item.1 {
            SeparatorOperator::Sequence => and_or(&item.0, &mut found)?,
            SeparatorOperator::Async => return Err(Opaque::Construct("&".to_owned())),
        }
    }
    Ok(found)
}

fn parse(tokens: &[Token]) -> Option<Program> {
    let options = ParserOptions {
        enable_extended_globbing: TOKENIZER.enable_extended_globbing,
        posix_mode: TOKENIZER.posix_mode,
        sh_mode: TOKENIZER.sh_mode,
        ..ParserOptions::default()
    };
    catch_unwind(AssertUnwindSafe(|| parse_tokens(tokens, &options))).ok()?.ok()
}

fn and_or(list: &AndOrList, found: &mut Vec<Parsed>) -> Result<(), Opaque> {
    let joint = if found.is_empty() { Joint::First } else { Joint::Then };
    pipeline(&list.first, joint, found)?;
    for next in &list.additional {
        match next {
            AndOr::And(next) => pipeline(next, Joint::And, found)?,
            AndOr::Or(next) => pipeline(next, Joint::Or, found)?,
        }
    }
    Ok(())
}

fn pipeline(pipeline: &Pipeline, joint: Joint, found: &mut Vec<Parsed>) -> Result<(), Opaque> {
    if pipeline.timed.is_some() {
        return Err(Opaque::Construct("time".to_owned()));
    }
    if pipeline.bang {
        return Err(Opaque::Construct("!".to_owned()));
    }
    let mut joint = joint;
    for command in &pipeline.seq {
        match command {
            Command::Simple(command) => found.push(simple(command, joint)?),
            Command::Compound(..) | Command::Function(_) | Command::ExtendedTest(..) => {
                return Err(Opaque::Construct(command.to_string()));
            }
        }
        joint = Joint::Pipe;
    }
    Ok(())
}

fn simple(command: &SimpleCommand, joint: Joint) -> Result<Parsed, Opaque> {
    let mut variables: Vec<Variable> = Vec::new();
    for item in command.prefix.iter().flat_map(|prefix| &prefix.0) {
        let no = || Opaque::Construct(item.to_string());
        let set = variable(item).ok_or_else(no)?;
        if variables.iter().any(|other| other.name == set.name) {
            return Err(no());
        }
        variables.push(set);
    }
    let name = command.word_or_name.as_ref().ok_or(Opaque::Grammar)?;
    let mut parsed = Parsed { joint, variables, argv: vec![bare_name(&name.value)?], redirects: Vec::new() };
    for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            Item::Word(word) => parsed.argv.push(literal(&word.value)?),
            Item::AssignmentWord(assignment, word) => match assignment.value {
                AssignmentValue::Scalar(_) => parsed.argv.push(literal(&word.value)?),
                AssignmentValue::Array(_) => return Err(Opaque::Expansion(word.value.clone())),
            },
            Item::IoRedirect(redirect) => parsed.redirects.push(redirection(redirect)?),
            Item::ProcessSubstitution(..) => return Err(Opaque::Construct(item.to_string())),
        }
    }
    Ok(parsed)
}

/// As it is written, and in no quotes: what the parser makes of it counts for nothing.
fn variable(item: &Item) -> Option<Variable> {
    match item {
        Item::AssignmentWord(_, word) => spec::variable(&word.value),
        Item::Word(_) | Item::IoRedirect(_) | Item::ProcessSubstitution(..) => None,
    }
}

/// A program is found by us, in our own directories: it is named, without a path, and without a disguise.
fn bare_name(raw: &str) -> Result<Word, Opaque> {
    let is_bare = raw.starts_with(|c: char| c.is_ascii_alphanumeric())
        && raw.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'));
    if is_bare { Ok(Word { text: raw.to_owned(), is_glob: false }) } else { Err(Opaque::Name(raw.to_owned())) }
}

fn redirection(redirect: &IoRedirect) -> Result<Redirect, Opaque> {
    let no = || Opaque::Redirection(redirect.to_string());
    match redirect {
        IoRedirect::File(number, kind, Target::Filename(word)) => {
            let path = literal(&word.value)?;
            if path.is_glob || path.text.is_empty() || is_door(&path.text) {
                return Err(no());
            }
            file(*number, kind, path.text).ok_or_else(no)
        }
        IoRedirect::File(Some(2), Kind::DuplicateOutput, Target::Duplicate(word)) if word.value == "1" => {
            Ok(Redirect::ErrorsToOutput)
        }
        IoRedirect::File(_, _, Target::Fd(_) | Target::ProcessSubstitution(..) | Target::Duplicate(_))
        | IoRedirect::HereDocument(..)
        | IoRedirect::HereString(..)
        | IoRedirect::OutputAndError(..) => Err(no()),
    }
}

fn file(number: Option<i32>, kind: &Kind, path: String) -> Option<Redirect> {
    let is_append = match kind {
        Kind::Read => return matches!(number, None | Some(0)).then_some(Redirect::Input(path)),
        Kind::Write => false,
        Kind::Append => true,
        Kind::ReadAndWrite | Kind::Clobber | Kind::DuplicateInput | Kind::DuplicateOutput => return None,
    };
    let stream = match number {
        None | Some(1) => Stream::Output,
        Some(2) => Stream::Errors,
        Some(_) => return None,
    };
    Some(Redirect::Output { stream, is_append, path })
}

/// Paths that bash opens as sockets and as its own descriptors.
fn is_door(path: &str) -> bool {
    path.starts_with("/dev/") && path != "/dev/null"
}
