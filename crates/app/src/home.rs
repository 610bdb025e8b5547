//! Which directory is the home, and what stands in it.
use backstay_channels::Why;
use std::path::{Path, PathBuf};

use crate::cause::Cause;
use crate::config;
use crate::exit::{Failure, Outcome};
use crate::serve;

pub const STATE: &str = "state.db";
/// The config of a new home until it is whole.
pub const CONFIG_PARTIAL: &str = "backstay.toml.new";

/// What a directory is to Backstay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Nothing,
    /// No journal yet: an `init` was cut off, or the journal was taken away.
    Part,
    /// A journal whose config was taken away: `init` writes that first, so no `init` left it so.
    Unconfigured,
    Home,
}

/// `--home` or `$BACKSTAY_HOME` as `given`, else the place for users' data.
///
/// # Errors
/// No place for users' data is known, or its path is no text: grants and rules are texts that
/// hold it.
pub fn resolve(given: Option<&Path>) -> Outcome<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = match given.filter(|path| !path.as_os_str().is_empty()) {
        Some(given) => std::path::absolute(given).map_err(|error| Failure::io(given, &error))?,
        None => {
            let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
            let none = || Failure::usage("neither $HOME nor $XDG_DATA_HOME is set", "give --home DIR");
            data.ok_or_else(none)?.join("backstay")
        }
    };
    if home.to_str().is_none() {
        let message = format!("the path {} is not UTF-8", home.display());
        return Err(Failure::usage(message, "give --home DIR with a path that is"));
    }
    Ok(home)
}

#[must_use]
pub fn look(home: &Path) -> Found {
    match (home.join(config::FILE).exists(), home.join(STATE).exists()) {
        (true, true) => Found::Home,
        (false, false) => Found::Nothing,
        (true, false) => Found::Part,
        (false, true) => Found::Unconfigured,
    }
}

/// # Errors
/// There is no home, or it is not for this user.
pub fn require(home: &Path) -> Outcome<()> {
    match look(home) {
        Found::Home => refuse_anothers(home),
        Found::Nothing => Err(nothing(home)),
        Found::Part => {
            let mut failure = Failure::no_home(home);
            failure.message = format!("{} is not a whole home: {STATE} is missing", home.display());
            Err(failure)
        }
        Found::Unconfigured => Err(Failure::unconfigured(home)),
    }
}

/// Why nothing is seen there, and the way on: a home of another user's looks like none.
fn nothing(home: &Path) -> Failure {
    let mut failure = Failure::no_home(home);
    match std::fs::read_dir(home) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Failure::io(home, &error),
        _ if refuse_foreign(home).is_err() => {
            "give the home with --home DIR; a new one: backstay init DIR".clone_into(&mut failure.next);
        }
        _ => {}
    }
    failure
}

/// Root may go into anybody's home, and what it writes there its user cannot change, nor serve any more.
///
/// # Errors
/// This is root, and the directory is another user's.
pub fn refuse_anothers(home: &Path) -> Outcome<()> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(home).map_or(0, |found| found.uid());
    if owner == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(owner)).then_some(name)
    });
    let (who, next) = match name {
        Some(name) => (format!("the user {name}"), format!("runuser -u {name} -- {}", command(home))),
        None => {
            let become_them = format!("setpriv --reuid={owner} --regid={owner} --clear-groups --");
            (format!("the user {owner}"), format!("{become_them} {}", command(home)))
        }
    };
    let message = format!("{} belongs to {who}, who could not change what root would leave there", home.display());
    Err(Failure::new(Cause::AnothersHome, message, next))
}

/// A directory in which anything else lies is not ours to lock and to make private.
///
/// # Errors
/// There is such a thing, or the directory cannot be read.
pub fn refuse_foreign(home: &Path) -> Outcome<()> {
    let ours = |name: &str| {
        let known = [config::FILE, CONFIG_PARTIAL, config::WORKSPACE, serve::SOCKET, backstay_secrets::FILE];
        known.contains(&name) || name.starts_with("state.")
    };
    let entries = match std::fs::read_dir(home) {
        Ok(entries) => entries,
        Err(_) if home.is_symlink() && !home.exists() => {
            let message = format!("{} is a link that leads nowhere", home.display());
            return Err(Failure::new(Why::NotEmpty, message, "mend the link, or give another directory"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io(home, &error)),
    };
    for entry in entries {
        let name = entry.map_err(|error| Failure::io(home, &error))?.file_name();
        if !name.to_str().is_some_and(ours) && look(home) != Found::Home {
            let message = format!("{} is not empty: {} lies there", home.display(), name.to_string_lossy());
            return Err(Failure::new(Why::NotEmpty, message, "give a new directory, or an empty one"));
        }
    }
    Ok(())
}

/// How a command for this home begins: with `--home` unless it is found without.
#[must_use]
pub fn command(home: &Path) -> String {
    let found = std::env::var_os("BACKSTAY_HOME").map(PathBuf::from);
    if resolve(found.as_deref()).is_ok_and(|default| default == home) {
        return "backstay".to_owned();
    }
    format!("backstay --home {}", quoted(home))
}

/// A hint that was written for any home, for the one that `command` names: whoever copies it must
/// not come upon another home.
#[must_use]
pub fn hint(text: &str, command: &str) -> String {
    const PLAIN: &str = "backstay ";
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(PLAIN) {
        out.push_str(before);
        let begins_a_word = !out.ends_with(|c: char| c.is_alphanumeric() || "/._-".contains(c));
        let names_a_command = after.starts_with(|c: char| c.is_ascii_lowercase());
        if begins_a_word && names_a_command {
            out.push_str(command);
            out.push(' ');
        } else {
            out.push_str(PLAIN);
        }
        rest = after;
    }
    out + rest
}

/// A path as a shell reads it back.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
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
    fn a_hint_is_for_the_home_that_is_meant() {
        let command = "backstay --home /h";
        for (text, hint_of) in [
            ("backstay status", "backstay --home /h status"),
            ("see `backstay status`; backstay reload", "see `backstay --home /h status`; backstay --home /h reload"),
            ("backstay --home /x chat", "backstay --home /x chat"),
            ("use the newer backstay", "use the newer backstay"),
            ("/opt/backstay serve", "/opt/backstay serve"),
        ] {
            assert_eq!(hint(text, command), hint_of);
        }
        assert_eq!(hint("backstay status", "backstay"), "backstay status");
    }

    #[test]
    fn quoting_survives_a_shell() {
        for (text, shell) in [("/a/b", "/a/b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'")] {
            assert_eq!(quoted(Path::new(text)), shell);
        }
    }
}
