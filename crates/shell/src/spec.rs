//! What is known about programs: tables in `specs/`, read once. A table that cannot be read is an empty one,
//! and makes everything opaque; the tests hold that none is.
use std::collections::BTreeMap;
use std::sync::OnceLock;

use backstay_kernel::tool::EffectClass;
use regex::Regex;
use serde::Deserialize;

use crate::Variable;

pub const FILES: &[(&str, &str)] = &[
    ("forms", include_str!("../specs/forms.toml")),
    ("variables", include_str!("../specs/variables.toml")),
    ("files", include_str!("../specs/files.toml")),
    ("text", include_str!("../specs/text.toml")),
    ("search", include_str!("../specs/search.toml")),
    ("system", include_str!("../specs/system.toml")),
    ("git", include_str!("../specs/git.toml")),
    ("build", include_str!("../specs/build.toml")),
    ("packages", include_str!("../specs/packages.toml")),
];
/// A tool's name is at most this many words long: `git stash list`.
const NAME_WORDS_MAX: usize = 3;

/// One file of `specs/`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub form: Vec<RawForm>,
    pub variable: Vec<RawVariable>,
    pub tool: Vec<Tool>,
}

/// A form of words that are neither paths nor free text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawForm {
    pub name: String,
    /// A regular expression for the whole word.
    like: String,
    /// What must not stand in it anywhere.
    #[serde(default)]
    without: Vec<String>,
}

/// What may be set for a program, whichever it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVariable {
    pub name: String,
    /// The form of its value.
    pub value: String,
}

/// A program, or a program with its first words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    pub class: EffectClass,
    /// Options of one letter without a value; they may stand in a cluster.
    #[serde(default)]
    pub short: String,
    /// Whole words without a value.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Options with a value, `-x VALUE`, `-xVALUE`, `--long VALUE`, `--long=VALUE`, and its role.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Options whose value may be left out, `--long` and `--long=VALUE`.
    #[serde(default)]
    pub attached: BTreeMap<String, String>,
    /// Roles of the other words, in order: `role`, `role?`, `role*`, `role+`.
    #[serde(default)]
    pub words: Vec<String>,
    /// With one of these options, the first role is given by it and by no word.
    #[serde(default)]
    pub instead: Vec<String>,
    /// With one of these options, or always where it is `*`, no path means the directory it runs in.
    #[serde(default)]
    pub here: Vec<String>,
    /// `-20` is an option.
    #[serde(default)]
    pub takes_digits: bool,
    /// Long options begin with one dash, and letters do not cluster.
    #[serde(default)]
    pub is_single_dash: bool,
    /// A word that is no option is text, though it begins with a dash.
    #[serde(default)]
    pub is_verbatim: bool,
    /// After its own words comes another command, which it runs.
    #[serde(default)]
    pub wraps: bool,
    /// Examples, for the tests and for the reader.
    #[cfg(test)]
    pub plain: Vec<String>,
    #[cfg(test)]
    pub opaque: Vec<String>,
    #[cfg(not(test))]
    #[serde(default, rename = "plain")]
    _plain: serde::de::IgnoredAny,
    #[cfg(not(test))]
    #[serde(default, rename = "opaque")]
    _opaque: serde::de::IgnoredAny,
}

struct Form {
    like: Regex,
    without: Vec<String>,
}

#[derive(Default)]
struct Table {
    forms: BTreeMap<String, Form>,
    /// With the name of each one's form.
    variables: BTreeMap<String, String>,
    tools: BTreeMap<String, Tool>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| load().unwrap_or_default())
}

fn load() -> Option<Table> {
    let mut table = Table::default();
    for (_, text) in FILES {
        let file: File = toml::from_str(text).ok()?;
        for form in file.form {
            let like = Regex::new(&format!("^(?:{})$", form.like)).ok()?;
            table.forms.insert(form.name, Form { like, without: form.without });
        }
        table.variables.extend(file.variable.into_iter().map(|variable| (variable.name, variable.value)));
        table.tools.extend(file.tool.into_iter().map(|tool| (tool.name.clone(), tool)));
    }
    Some(table)
}

/// The tool with the longest name that these words begin with, and the number of words in its name.
pub fn find(words: &[&str]) -> Option<(&'static Tool, usize)> {
    let named = |count: usize| Some((table().tools.get(&words.get(..count)?.join(" "))?, count));
    (1..=NAME_WORDS_MAX).rev().find_map(named)
}

/// Whether it is known, and has no subcommands.
#[must_use]
pub fn stands_alone(program: &str) -> bool {
    let mut rows = table().tools.keys().filter(|name| name.split(' ').next() == Some(program)).peekable();
    rows.peek().is_some() && rows.all(|name| name == program)
}

/// What `NAME=value` sets, where the name is known and the value has its form.
pub fn variable(text: &str) -> Option<Variable> {
    let (name, value) = text.split_once('=')?;
    let form = table().variables.get(name)?;
    has_form(form, value).then(|| Variable { name: name.to_owned(), value: value.to_owned() })
}

/// Whether `text` has the form; a form that does not exist has no words.
pub fn has_form(form: &str, text: &str) -> bool {
    table()
        .forms
        .get(form)
        .is_some_and(|form| form.like.is_match(text) && !form.without.iter().any(|word| text.contains(word.as_str())))
}

#[cfg(test)]
pub fn variables() -> impl Iterator<Item = &'static str> {
    table().variables.keys().map(String::as_str)
}

#[cfg(test)]
pub fn has_form_named(form: &str) -> bool {
    table().forms.contains_key(form)
}
