//! What a loss of power leaves of a file: what was flushed, and of the rest what a seed says.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// The unit that a disk writes whole, bytes.
const SECTOR: usize = 512;

/// A file as its last flush left it, and what was done to it since.
pub struct Image {
    /// `None`: nothing of it was ever flushed.
    flushed: Option<Vec<u8>>,
    since: Vec<Change>,
}

enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
    Delete,
}

impl Image {
    /// What lies there before anything is done counts as flushed.
    pub fn of(path: &Path) -> Self {
        Self { flushed: fs::read(path).ok(), since: Vec::new() }
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.since.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn truncate(&mut self, length: u64) {
        self.since.push(Change::Truncate(length));
    }

    pub fn delete(&mut self) {
        self.since.push(Change::Delete);
    }

    pub fn flush(&mut self) {
        // A directory keeps the order of its changes: what follows a removal is a new file.
        let removed = self.since.iter().rposition(|change| matches!(change, Change::Delete));
        if removed.is_some() {
            self.flushed = None;
        }
        let mut bytes = self.flushed.take().unwrap_or_default();
        for change in self.since.drain(..).skip(removed.map_or(0, |place| place + 1)) {
            apply(&mut bytes, &change, &mut |_| true);
        }
        self.flushed = Some(bytes);
    }

    /// What is found when the power is back.
    fn survivor(&mut self, dice: &mut Dice) -> Option<Vec<u8>> {
        let all_is_lost = dice.one_in(4);
        let mut bytes = self.flushed.clone();
        for change in self.since.drain(..) {
            if all_is_lost || dice.one_in(3) {
                continue;
            }
            if matches!(change, Change::Delete) {
                bytes = None;
                continue;
            }
            let torn = dice.one_in(3);
            apply(bytes.get_or_insert_default(), &change, &mut |_| !torn || dice.one_in(2));
        }
        self.flushed.clone_from(&bytes);
        bytes
    }
}

/// `reached` says of each sector of a write whether it got to the disk.
fn apply(file: &mut Vec<u8>, change: &Change, reached: &mut dyn FnMut(usize) -> bool) {
    match change {
        Change::Write { offset, bytes } => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                if reached(number) {
                    let from = start + number * SECTOR;
                    let to = from + sector.len();
                    if file.len() < to {
                        file.resize(to, 0);
                    }
                    file[from..to].copy_from_slice(sector);
                }
            }
        }
        Change::Truncate(length) => file.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0),
        Change::Delete => file.clear(),
    }
}

/// Rewrites the files; no handle of them may be open.
pub fn play_out(images: &mut BTreeMap<PathBuf, Image>, seed: u64) {
    let mut dice = Dice::new(seed);
    for (path, image) in images.iter_mut().filter(|(_, image)| !image.since.is_empty()) {
        match image.survivor(&mut dice) {
            Some(bytes) => fs::write(path, bytes).expect("the file of a dead process can be written"),
            None => drop(fs::remove_file(path)),
        }
    }
}
