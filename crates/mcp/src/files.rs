//! What a pin covers of a server's files: its program, and every file that its command names; of one that lies in
//! a directory for programs, all that lies there, since a server is mostly what it loads.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use backstay_sandbox::Sandbox;
use sha2::{Digest as _, Sha256};

use crate::limits::{FILES_BYTES_MAX, FILES_MAX};
use crate::servers::Means;

/// The digest of each, in hexadecimal, by its path. Of a server that runs elsewhere none is known.
///
/// # Errors
/// What cannot be read, in words.
pub fn of(sandbox: &Sandbox, means: &Means) -> Result<BTreeMap<String, String>, String> {
    match means {
        Means::Program { command, .. } => digests(sandbox, command),
        Means::Url(_) => Ok(BTreeMap::new()),
    }
}

fn digests(sandbox: &Sandbox, command: &[String]) -> Result<BTreeMap<String, String>, String> {
    let Some((program, words)) = command.split_first() else { return Err("its command is empty".to_owned()) };
    let found = sandbox.program(program).ok_or_else(|| format!("there is no program `{program}`"))?;
    let mut all = BTreeMap::new();
    let named = words.iter().map(PathBuf::from).filter(|path| path.is_absolute() && path.is_file());
    for path in std::iter::once(found).chain(named) {
        let real = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        let whole = sandbox.tool_dirs().iter().find(|directory| real.starts_with(directory));
        let covered = whole.map_or(real.as_path(), Path::new);
        let name = covered.display().to_string();
        if let Entry::Vacant(entry) = all.entry(name) {
            let digest = tree(covered).map_err(|error| format!("{}: {error}", entry.key()))?;
            entry.insert(digest);
        }
    }
    Ok(all)
}

/// Of a file, or of all that lies in a directory, names and links included.
fn tree(top: &Path) -> io::Result<String> {
    let mut left = vec![top.to_owned()];
    let mut lines = Vec::new();
    let mut bytes = 0u64;
    while let Some(path) = left.pop() {
        if lines.len() >= FILES_MAX || bytes > FILES_BYTES_MAX {
            return Err(io::Error::other("there is more in it than a pin covers"));
        }
        let stat = fs::symlink_metadata(&path)?;
        let what = if stat.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
            "directory".to_owned()
        } else if stat.is_symlink() {
            format!("link to {}", fs::read_link(&path)?.display())
        } else if stat.is_file() {
            bytes = bytes.saturating_add(stat.len());
            file(&path, &stat)?
        } else {
            return Err(io::Error::other(format!("{} is no file", path.display())));
        };
        let below = path.strip_prefix(top).unwrap_or(&path);
        lines.push(format!("{}\0{what}\n", below.display()));
    }
    lines.sort();
    let mut hash = Sha256::new();
    lines.iter().for_each(|line| hash.update(line));
    Ok(hexadecimal(&hash.finalize()))
}

/// Device, inode, size, and both times to the nanosecond: the change time is the system's own.
type Mark = (u64, u64, u64, i64, i64, i64, i64);

/// A file's digest, read again where anything about it has changed.
fn file(path: &Path, stat: &Metadata) -> io::Result<String> {
    static KNOWN: Mutex<BTreeMap<Mark, String>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mark = (stat.dev(), stat.ino(), stat.size(), stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
    if let Some(digest) = known().get(&mark) {
        return Ok(digest.clone());
    }
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0u8; 64 << 10]);
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
    let digest = hexadecimal(&hash.finalize());
    let mut known = known();
    if known.len() >= FILES_MAX {
        known.clear();
    }
    known.insert(mark, digest.clone());
    Ok(digest)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn everything_below_a_directory_counts_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("lib")).unwrap();
        fs::write(at("lib/a.js"), "a").unwrap();
        let first = tree(dir.path()).unwrap();
        assert_eq!(tree(dir.path()).unwrap(), first);
        let mut seen = vec![first.clone()];
        let mut changed = |what: &str| {
            let now = tree(dir.path()).unwrap();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::write(at("lib/a.js"), "b").unwrap();
        changed("a byte");
        fs::rename(at("lib/a.js"), at("lib/b.js")).unwrap();
        changed("a name");
        fs::write(at("more"), "").unwrap();
        changed("an empty file");
        fs::create_dir(at("empty")).unwrap();
        changed("an empty directory");
        symlink("lib", at("link")).unwrap();
        changed("a link");
        fs::remove_file(at("link")).unwrap();
        symlink("empty", at("link")).unwrap();
        changed("where a link leads");
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert!(tree(dir.path()).unwrap_err().to_string().contains("is no file"));
    }
}
