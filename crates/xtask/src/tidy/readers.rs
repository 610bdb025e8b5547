//! Rules about two files at a time: what an operator can set, something must read. By name, not by type: a
//! field of the same name elsewhere can hide one that nobody reads, so each control has a test that it bites
//! as well.
use std::collections::BTreeSet;

use super::Source;
use super::table::{CONTROLS, KEY_DECLARATIONS, KEY_READERS, KEYS, NOT_READERS};
use crate::code::code_only;

/// Every declared config key is asked for by name outside its declaration.
pub fn config_keys(sources: &[Source]) -> Vec<String> {
    let declaring: Vec<&Source> = sources.iter().filter(|source| source.path.starts_with(KEYS)).collect();
    if declaring.is_empty() {
        return vec![format!("{KEYS}: not found, so no config key was looked for")];
    }
    let declared = declaring.iter().flat_map(|source| KEY_DECLARATIONS.iter().map(|word| (source.product(), word)));
    let keys: BTreeSet<&str> = declared.flat_map(|(text, word)| literals_after(text, word)).collect();
    let readers: Vec<&str> = sources
        .iter()
        .filter(|source| source.is_rust() && !source.path.starts_with(KEYS))
        .filter(|source| KEY_READERS.iter().any(|at| source.path.starts_with(at)))
        .map(Source::product)
        .collect();
    let is_read = |key: &str| readers.iter().any(|text| text.contains(&format!("\"{key}\"")));
    let unread = keys.iter().filter(|key| !is_read(key));
    let mut findings: Vec<String> = unread.map(|key| format!("{KEYS}: nothing reads the key `{key}`")).collect();
    if keys.is_empty() {
        findings.push(format!("{KEYS}: declares no key in a form that tidy knows"));
    }
    findings
}

/// The string literal behind each `word`.
fn literals_after<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let behind = text.split(word).skip(1);
    behind.filter_map(|tail| tail.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

/// Every public field of a control is read, as `x.field`, by code of the product.
pub fn controls(sources: &[Source]) -> Vec<String> {
    let readers: Vec<String> = sources
        .iter()
        .filter(|source| source.is_rust() && !NOT_READERS.iter().any(|path| source.path.starts_with(path)))
        .map(|source| code_only(source.product()))
        .collect();
    let read: BTreeSet<&str> = readers.iter().flat_map(|code| fields_read(code)).collect();
    let mut findings = Vec::new();
    for path in CONTROLS {
        let Some(source) = sources.iter().find(|source| source.path == *path) else {
            findings.push(format!("{path}: not found, so no control was looked for"));
            continue;
        };
        let code = code_only(source.product());
        for field in code.lines().filter_map(field_declared).filter(|field| !read.contains(field)) {
            findings.push(format!("{path}: nothing reads the control `{field}`"));
        }
    }
    findings
}

/// `    pub name: Type,`
fn field_declared(line: &str) -> Option<&str> {
    let (name, after) = line.trim().strip_prefix("pub ")?.split_once(':')?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && !after.starts_with(':')).then_some(name)
}

/// Names behind a dot that are neither called nor assigned to: `x.limit = 1` fills it in.
fn fields_read(code: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let behind_dots = code.split('.').skip(1).filter_map(|tail| {
        let (name, after) = tail.split_at_checked(tail.find(|c| !is_name(c)).unwrap_or(tail.len()))?;
        let is_assigned = after.trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with(['=', '>']));
        (!after.starts_with('(') && !is_assigned).then_some(name)
    });
    behind_dots.collect()
}
