//! `search_files`: lines that match, found by a bounded walk that goes over no link.
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Instant;

use regex::bytes::Regex;
use rustix::fs::{AtFlags, FileType, OFlags, statat};

use crate::limits;
use crate::list::entries;
use crate::open::{self, kind};
use crate::own::Own;
use crate::place::child;
use crate::prepare::Start;
use crate::roots::Roots;
use crate::run::Ran;
use crate::text::{self, cut};

/// Searches one file, or everything below a directory, `real` being its real path.
pub fn search(roots: &Roots, start: Start, real: String, pattern: &Regex) -> Ran {
    let own = match roots.own() {
        Ok(own) => own,
        Err(refused) => return Ran::failed(refused.detail),
    };
    let mut walk = Walk {
        roots,
        own,
        pattern,
        began: Instant::now(),
        hits: Vec::new(),
        files: 0,
        bytes: 0,
        skipped: 0,
        stopped: None,
    };
    match start {
        Start::File(file) => walk.file(file, &real),
        Start::Directory(dir) => walk.tree(dir, real),
    }
    walk.stop_where_it_is_enough();
    walk.result()
}

struct Walk<'a> {
    roots: &'a Roots,
    own: Own,
    pattern: &'a Regex,
    began: Instant,
    hits: Vec<String>,
    files: usize,
    bytes: usize,
    /// Files and directories that were not looked into.
    skipped: usize,
    /// The limit that ended the walk.
    stopped: Option<&'static str>,
}

/// A directory that is being walked.
struct Level {
    dir: OwnedFd,
    real: String,
    names: std::vec::IntoIter<Vec<u8>>,
}

/// What a name in a directory leads to.
enum Step {
    Skip,
    Enter(Level),
    Read(File, String),
}

impl Walk<'_> {
    fn tree(&mut self, dir: OwnedFd, real: String) {
        let mut levels: Vec<Level> = self.level(dir, real).into_iter().collect();
        while let Some(level) = levels.last_mut() {
            self.stop_where_it_is_enough();
            if self.stopped.is_some() {
                return;
            }
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            match self.step(&level.dir, &level.real, &name) {
                Step::Skip => {}
                Step::Enter(_) if levels.len() >= limits::SEARCH_DEPTH_MAX => self.skip(),
                Step::Enter(inner) => levels.push(inner),
                Step::Read(file, real) => self.file(file, &real),
            }
        }
    }

    fn level(&mut self, dir: OwnedFd, real: String) -> Option<Level> {
        let Ok(mut found) = entries(&dir) else {
            self.skip();
            return None;
        };
        self.skipped = self.skipped.saturating_add(found.more);
        found.names.sort();
        Some(Level { dir, real, names: found.names.into_iter() })
    }

    fn step(&mut self, dir: &OwnedFd, parent: &str, name: &[u8]) -> Step {
        let Ok(name) = std::str::from_utf8(name) else {
            self.skip();
            return Step::Skip;
        };
        let real = format!("{}/{name}", parent.trim_end_matches('/'));
        if self.roots.hides(&real) {
            return Step::Skip;
        }
        // Looked at before it is opened: opening a device or a FIFO is an act of its own.
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return Step::Skip };
        let is_directory = kind(&stat) == FileType::Directory;
        if !is_directory && kind(&stat) != FileType::RegularFile {
            return Step::Skip;
        }
        let flags = if is_directory { OFlags::DIRECTORY } else { OFlags::NOFOLLOW };
        let Ok(fd) = child(dir, name, flags) else {
            self.skip();
            return Step::Skip;
        };
        if self.own.refuse(&fd, name).is_err() {
            return Step::Skip;
        }
        if is_directory {
            return self.level(fd, real).map_or(Step::Skip, Step::Enter);
        }
        match open::regular(fd, name) {
            Ok((file, _)) => Step::Read(file, real),
            Err(_) => {
                self.skip();
                Step::Skip
            }
        }
    }

    fn file(&mut self, mut file: File, real: &str) {
        self.files = self.files.saturating_add(1);
        let Ok(bytes) = open::contents(&mut file, real) else { return self.skip() };
        self.bytes = self.bytes.saturating_add(bytes.len());
        if bytes.iter().take(limits::BINARY_LOOK_BYTES).any(|byte| *byte == 0) {
            return self.skip();
        }
        let shown = self.roots.shown(real);
        let (mut number, mut counted, mut from) = (1usize, 0usize, 0usize);
        while from < bytes.len()
            && self.hits.len() < limits::HITS_MAX
            && let Some(found) = self.pattern.find_at(&bytes, from)
        {
            let (before, after) = bytes.split_at_checked(found.start()).unwrap_or_default();
            if after.is_empty() {
                // Behind the last line end there is no line.
                break;
            }
            let newlines = before.get(counted..).unwrap_or_default().iter().filter(|b| **b == b'\n');
            number = number.saturating_add(newlines.count());
            counted = before.len();
            let begin = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at.saturating_add(1));
            let end = after.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| found.start().saturating_add(at));
            let line = String::from_utf8_lossy(bytes.get(begin..end).unwrap_or_default());
            let line = text::plain(cut(&line, limits::HIT_BYTES_MAX));
            self.hits.push(format!("{shown}:{number}: {line}"));
            from = end.saturating_add(1);
        }
    }

    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    fn stop_where_it_is_enough(&mut self) {
        self.stopped = if self.hits.len() >= limits::HITS_MAX {
            Some("so many lines")
        } else if self.files >= limits::SEARCH_FILES_MAX {
            Some("so many files")
        } else if self.bytes >= limits::SEARCH_BYTES_MAX {
            Some("so many bytes")
        } else if self.began.elapsed() >= limits::SEARCH_TIME_MAX {
            Some("so much time")
        } else {
            None
        };
    }

    fn result(self) -> Ran {
        let text::Lines { mut text, spill } = text::lines(&self.hits, limits::HITS_SHOWN_MAX, 0);
        if self.hits.is_empty() {
            text = format!("[no line matches in {} files]\n", self.files);
        }
        if self.skipped > 0 {
            let skipped = self.skipped;
            text.push_str(&format!("[{skipped} not looked into: no text, too large or too deep]\n"));
        }
        if let Some(what) = self.stopped {
            text.push_str(&format!("[stopped after {what}: search a narrower path]\n"));
        }
        Ran::Done { text, spill }
    }
}
