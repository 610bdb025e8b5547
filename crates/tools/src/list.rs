//! `list_dir`: names, kinds and sizes, in order.
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use crate::limits;
use crate::open::{kind, word};
use crate::run::Ran;
use crate::text::{self, plain};

pub fn list(dir: &OwnedFd) -> Ran {
    let Entries { mut names, more } = match entries(dir) {
        Ok(entries) => entries,
        Err(errno) => return Ran::failed(format!("the directory cannot be read: {errno}")),
    };
    if names.is_empty() {
        return Ran::Done { text: "[the directory is empty]".to_owned(), spill: None };
    }
    names.sort();
    let lines: Vec<String> = names.iter().map(|name| line(dir, name)).collect();
    let text::Lines { text, spill } = text::lines(&lines, limits::ENTRIES_SHOWN_MAX, more);
    Ran::Done { text, spill }
}

/// The names in a directory, raw: a name need not be UTF-8.
#[derive(Debug)]
pub struct Entries {
    pub names: Vec<Vec<u8>>,
    /// How many there are beyond those.
    pub more: usize,
}

pub fn entries(dir: &OwnedFd) -> Result<Entries, Errno> {
    let mut found = Entries { names: Vec::new(), more: 0 };
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if found.names.len() < limits::ENTRIES_MAX {
            found.names.push(name.to_vec());
        } else {
            found.more = found.more.saturating_add(1);
        }
    }
    Ok(found)
}

fn line(dir: &OwnedFd, name: &[u8]) -> String {
    let shown = plain(&String::from_utf8_lossy(name));
    // Gone, or not to be looked at: the name is still true.
    let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return shown };
    let kind = kind(&stat);
    if kind == FileType::Directory {
        format!("{shown}/")
    } else if kind == FileType::RegularFile {
        format!("{shown} ({} bytes)", stat.st_size)
    } else {
        format!("{shown} ({})", word(kind))
    }
}
