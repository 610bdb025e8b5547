//! What lay in the directories of a command before it ran, kept until it was looked at afterwards: a runtime that was killed
//! between the two looks when it starts again, for a command that came next would take it all for what was there.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Seen};
use crate::mark::Mark;
use crate::profile::Reach;
use crate::workplace::MADE;

/// Gone when it is dropped: then somebody has looked.
#[derive(Debug)]
pub struct Noted(PathBuf);

/// Paths are bytes, as the kernel has them.
#[derive(Serialize, Deserialize)]
struct Note {
    read: Vec<String>,
    write: Vec<String>,
    caches: Option<String>,
    marks: Vec<(Vec<u8>, Mark)>,
    closed: Vec<Vec<u8>>,
}

impl Noted {
    pub fn new(scratch: &Path, guard: &Guard<'_>, before: &Seen) -> io::Result<Self> {
        let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        let note = Note {
            read: guard.reach.read.clone(),
            write: guard.reach.write.clone(),
            caches: guard.caches.map(str::to_owned),
            marks: before.marks.iter().map(|(path, mark)| (bytes(path), *mark)).collect(),
            closed: before.closed.iter().map(bytes).collect(),
        };
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        *made = made.saturating_add(1);
        let directory = notes(scratch);
        let (noted, text) = (Self(directory.join(made.to_string())), serde_json::to_vec(&note)?);
        match fs::write(&noted.0, &text) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&directory)?;
                fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
                fs::write(&noted.0, text)?;
            }
            written => written?,
        }
        Ok(noted)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The directory stays for the next one, since making it takes longer than the note; nobody comes any more.
pub fn close(scratch: &Path) {
    let _made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    for empty in [notes(scratch).as_path(), scratch] {
        let _ = fs::remove_dir(empty);
    }
}

fn notes(scratch: &Path) -> PathBuf {
    scratch.join("notes")
}

/// Places that this process has begun with: what lies there now is its own.
static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes what an earlier process left, and takes out of use what its commands made that were cut off with it; its
/// paths. A reload is no beginning: commands run on.
pub fn begin(scratch: &Path) -> Vec<String> {
    if !BEGUN.lock().unwrap_or_else(PoisonError::into_inner).insert(scratch.to_owned()) {
        return Vec::new();
    }
    let renamed = look_again(scratch);
    let _ = fs::remove_dir_all(scratch);
    renamed
}

fn look_again(scratch: &Path) -> Vec<String> {
    let notes = fs::read_dir(notes(scratch)).into_iter().flatten().flatten();
    let notes: Vec<Note> = notes.filter_map(|note| serde_json::from_slice(&fs::read(note.path()).ok()?).ok()).collect();
    notes.into_iter().flat_map(Note::look).collect()
}

impl Note {
    fn look(self) -> Vec<String> {
        let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
        let reach = Reach { read: self.read, write: self.write };
        let marks = self.marks.into_iter().map(|(bytes, mark)| (path(bytes), mark)).collect();
        let before = Seen { marks, closed: self.closed.into_iter().map(path).collect() };
        let guard = Guard { reach: &reach, hides: &|_| false, caches: self.caches.as_deref() };
        guard.quarantine(&before).unwrap_or_default()
    }
}
