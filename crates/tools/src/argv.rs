//! The words of a declared command, with places for arguments. A place fills a word or a part of one: no value
//! makes two words of one, and none begins an option that the template does not.
use serde_json::{Map, Value};

use backstay_kernel::facts::Invalid;

use crate::prepare::Refused;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argv {
    program: String,
    words: Vec<Word>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Word {
    parts: Vec<Part>,
    /// After `--`, where programs take no options.
    is_operand: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Argument(String),
}

impl Argv {
    /// # Errors
    /// The word, counted from 0, and what is wrong with it.
    pub fn read(words: &[String]) -> Result<Self, (usize, String)> {
        let Some((program, rest)) = words.split_first() else { return Err((0, "it names no program".to_owned())) };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if program.is_empty() || program.starts_with(['.', '-']) || !program.chars().all(allowed) {
            return Err((0, "the first word must be the plain name of a program, such as `git`".to_owned()));
        }
        let mut read = Vec::new();
        let mut is_operand = false;
        for (word, at) in rest.iter().zip(1..) {
            let parts = parts(word).map_err(|why| (at, why))?;
            read.push(Word { parts, is_operand });
            is_operand |= word == "--";
        }
        Ok(Self { program: program.clone(), words: read })
    }

    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The arguments that have a place, each as often as it has one.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.words.iter().flat_map(|word| &word.parts).filter_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The words as the program gets them.
    pub fn filled(&self, values: &Map<String, Value>) -> Result<Vec<String>, Refused> {
        let bad = |why: String| Err(Refused::new(Invalid::BadArguments, why));
        let mut argv = vec![self.program.clone()];
        for word in &self.words {
            let mut filled = String::new();
            for part in &word.parts {
                match part {
                    Part::Text(text) => filled.push_str(text),
                    Part::Argument(name) => match values.get(name).and_then(text) {
                        Some(value) if value.contains('\0') => return bad(format!("`{name}` holds a NUL")),
                        Some(value) => filled.push_str(&value),
                        None => return bad(format!("`{name}` is missing, or no text, number or flag")),
                    },
                }
            }
            let begins_option = matches!(word.parts.first(), Some(Part::Text(text)) if text.starts_with('-'));
            if let (true, false, false, Some(name)) =
                (filled.starts_with('-'), begins_option, word.is_operand, word.first_argument())
            {
                return bad(format!("`{name}` begins with `-`, which the program would take for an option"));
            }
            argv.push(filled);
        }
        Ok(argv)
    }
}

impl Word {
    fn first_argument(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `{name}` is a place; `{{` and `}}` are the characters themselves.
fn parts(word: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = word.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\0' => return Err("it holds a NUL".to_owned()),
            '{' | '}' if rest.peek() == Some(&character) => {
                rest.next();
                text.push(character);
            }
            '}' => return Err("`}` ends nothing; write `}}` for the character".to_owned()),
            '{' => {
                let mut name = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err("`{` begins a place that does not end; write `{{` for the character".to_owned());
                        }
                        Some(other) => name.push(other),
                    }
                }
                if name.is_empty() {
                    return Err("`{}` names no argument".to_owned());
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Argument(name));
            }
            other => text.push(other),
        }
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}
