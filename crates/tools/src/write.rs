//! `write_file` and `edit_file`: the new content lies beside the file, safely on the disk, before
//! one rename puts it in place; so a crash leaves the file before or the file after.
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use backstay_kernel::facts::Invalid;
use backstay_kernel::id::Digest;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Stat, fchmod, fsync, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::arguments::EditFile;
use crate::open::real_path;
use crate::place::{Place, child_directory};
use crate::prepare::{Existing, Refused, Write};
use crate::run::{Acting, Ran};
use crate::text::plain;

/// The content after the edit.
pub fn edited(before: &[u8], call: &EditFile) -> Result<String, Refused> {
    let path = plain(&call.path);
    let Ok(before) = std::str::from_utf8(before) else {
        let detail = format!("`{path}` is not UTF-8 text; edit_file works on text");
        return Err(Refused::new(Invalid::WrongKind, detail));
    };
    let no_match = |what| Err(Refused::new(Invalid::NoMatch, format!("`{path}`: {what}")));
    let Some(at) = before.find(&call.old) else {
        return no_match("`old` is not there; read the file again and copy the text exactly");
    };
    let (head, tail) = before.split_at_checked(at).unwrap_or_default();
    // From the next character on: overlapping places are two places, too.
    let step = call.old.chars().next().map_or(1, char::len_utf8);
    if tail.get(step..).is_some_and(|rest| rest.contains(&call.old)) {
        return no_match("`old` is there more than once; give more of the text around it");
    }
    let rest = tail.get(call.old.len()..).unwrap_or_default();
    let bytes = [head.len(), call.new.len(), rest.len()].iter().sum::<usize>();
    if bytes > crate::limits::FILE_BYTES_MAX {
        let detail = format!("`{path}` would have {bytes} bytes");
        return Err(Refused::new(Invalid::TooLarge, detail));
    }
    Ok([head, &call.new, rest].concat())
}

/// Puts the content in place; until the rename nothing is done.
pub fn write(_: &Acting, key: &Digest, write: &Write) -> Ran {
    let path = plain(&write.path);
    let failed = |e: Errno| Ran::failed(format!("`{path}` was not written: {e}"));
    let made = match directory(&write.place) {
        Ok(made) => made,
        Err(errno) => return failed(errno),
    };
    let dir = made.as_ref().unwrap_or(&write.place.dir);
    // Somebody who moved the directory, or put another in its place, moved it out of the facts.
    if real_path(dir).ok().map(|real| format!("{}/{}", real.trim_end_matches('/'), write.place.name))
        != Some(write.place.real.clone())
    {
        return Ran::failed(format!("`{path}` leads elsewhere now; nothing was done"));
    }
    let staged = match Staged::new(key, dir, write) {
        Ok(staged) => staged,
        Err(errno) => return failed(errno),
    };
    match staged.publish(dir, write) {
        Published::Yes => {}
        Published::No(errno) => return failed(errno),
        Published::Stale => {
            return Ran::failed(format!("stale: `{path}` changed meanwhile; nothing was done"));
        }
        Published::Unknown => return Ran::Unknown,
    }
    let verb = if write.existing.is_some() { "replaced" } else { "created" };
    let text = format!("{verb} `{path}`: {} bytes", write.content.len());
    Ran::Done { text, spill: None }
}

/// Makes the directories that are missing, one by one and never through a link.
fn directory(place: &Place) -> Result<Option<OwnedFd>, Errno> {
    let mut made: Option<OwnedFd> = None;
    for name in &place.missing {
        made = Some(child_directory(made.as_ref().unwrap_or(&place.dir), name)?);
    }
    Ok(made)
}

/// The new content on the disk, under a name that only this effect uses.
#[derive(Debug)]
pub struct Staged {
    name: String,
}

#[derive(Debug)]
enum Published {
    Yes,
    /// Certainly not.
    No(Errno),
    /// Another has written the file in the meantime.
    Stale,
    Unknown,
}

impl Staged {
    pub fn new(key: &Digest, dir: &OwnedFd, write: &Write) -> Result<Self, Errno> {
        let staged = Self { name: format!(".backstay-{key}.tmp") };
        // What an earlier attempt of this same effect left behind.
        staged.remove(dir);
        let stored = staged.store(dir, write);
        if stored.is_err() {
            staged.remove(dir);
        }
        stored.map(|()| staged)
    }

    fn store(&self, dir: &OwnedFd, write: &Write) -> Result<(), Errno> {
        // Never more open than the file that it becomes; a new file obeys the umask.
        let mode = if write.existing.is_some() { 0o600 } else { 0o666 };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = openat(dir, self.name.as_str(), flags, Mode::from_raw_mode(mode))?;
        let mut file = File::from(fd);
        file.write_all(&write.content).map_err(errno)?;
        if let Some(existing) = &write.existing {
            fchmod(&file, Mode::from_raw_mode(existing.stat.st_mode & 0o777))?;
        }
        fsync(&file)
    }

    fn publish(&self, dir: &OwnedFd, write: &Write) -> Published {
        let name = write.place.name.as_str();
        let renamed = match &write.existing {
            None => match renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
                // File systems that do not know the flag.
                Err(Errno::INVAL | Errno::NOSYS) if is_absent(dir, name) => renameat(dir, &self.name, dir, name),
                other => other,
            },
            Some(existing) if is_same(dir, name, existing) => renameat(dir, &self.name, dir, name),
            Some(_) => Err(Errno::EXIST),
        };
        match renamed {
            Ok(()) => match fsync(dir) {
                Ok(()) => Published::Yes,
                // The file reads as written; whether it survives a power cut is not known.
                Err(_) => Published::Unknown,
            },
            Err(Errno::IO) => Published::Unknown,
            Err(errno) => {
                self.remove(dir);
                if errno == Errno::EXIST { Published::Stale } else { Published::No(errno) }
            }
        }
    }

    /// Best effort: a leftover is replaced by the next attempt, and harms nobody.
    fn remove(&self, dir: &OwnedFd) {
        let _ = unlinkat(dir, self.name.as_str(), AtFlags::empty());
    }
}

fn is_absent(dir: &OwnedFd, name: &str) -> bool {
    matches!(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// Whether the name still stands for the very file that was judged, unwritten since.
fn is_same(dir: impl AsFd, name: &str, existing: &Existing) -> bool {
    let identity = |s: &Stat| (s.st_dev, s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec);
    statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|now| identity(&now) == identity(&existing.stat))
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
