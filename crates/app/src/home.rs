//! Which directory is the home, and what stands in it.
use std::path::{Path, PathBuf};

use crate::config;
use crate::exit::{Failure, Outcome};

pub const STATE: &str = "state.db";

/// What a directory is to Backstay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Nothing,
    /// An `init` was cut off, or a part of the home was taken away.
    Part,
    Home,
}

/// `--home` or `$BACKSTAY_HOME` as `given`, else the place for users' data.
///
/// # Errors
/// No place for users' data is known.
pub fn resolve(given: Option<&Path>) -> Outcome<PathBuf> {
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| Failure::io(&path, &error));
    if let Some(given) = given.filter(|path| !path.as_os_str().is_empty()) {
        return absolute(given.to_owned());
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    let data = data.ok_or_else(|| Failure::usage("neither $HOME nor $XDG_DATA_HOME is set", "give --home DIR"))?;
    Ok(data.join("backstay"))
}

#[must_use]
pub fn look(home: &Path) -> Found {
    match (home.join(config::FILE).exists(), home.join(STATE).exists()) {
        (true, true) => Found::Home,
        (false, false) => Found::Nothing,
        (true, false) | (false, true) => Found::Part,
    }
}

/// # Errors
/// There is no home.
pub fn require(home: &Path) -> Outcome<()> {
    match look(home) {
        Found::Home => Ok(()),
        Found::Nothing => Err(Failure::no_home(home)),
        Found::Part => {
            let mut failure = Failure::no_home(home);
            let lacks = if home.join(STATE).exists() { config::FILE } else { STATE };
            failure.message = format!("{} is not a whole home: {lacks} is missing", home.display());
            Err(failure)
        }
    }
}

/// How a command for this home begins: with `--home` unless it is found without.
#[must_use]
pub fn command(home: &Path) -> String {
    let found = std::env::var_os("BACKSTAY_HOME").map(PathBuf::from);
    if resolve(found.as_deref()).is_ok_and(|default| default == home) {
        return "backstay".to_owned();
    }
    format!("backstay --home {}", quoted(&home.display().to_string()))
}

/// As a shell reads it back.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_home_is_made_absolute_and_an_empty_one_is_none() {
        assert!(resolve(Some(Path::new("x"))).unwrap().ends_with("x"));
        assert!(resolve(Some(Path::new("x"))).unwrap().is_absolute());
        assert!(resolve(Some(Path::new(""))).unwrap().ends_with("backstay"));
    }

    #[test]
    fn quoting_survives_a_shell() {
        for (text, shell) in [("/a/b", "/a/b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'")] {
            assert_eq!(quoted(text), shell);
        }
    }
}
