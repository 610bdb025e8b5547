//! What is said of a command's changes that are not in place.
use std::collections::BTreeMap;
use std::path::Path;

/// What of a command's changes is not in place, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotKept {
    pub why: String,
    pub paths: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    Protected,
    ReadOnly,
    Hidden,
    Kind,
    Beside,
    Changed,
    Carried,
    NotDeleted,
    NotEmpty,
    Gone,
    TooLong,
}

impl Why {
    pub fn words(self) -> &'static str {
        match self {
            Self::Protected => "other programs act on these names, or on what is below them: they stay as they were",
            Self::ReadOnly => "these are granted for reading alone: they stay as they were",
            Self::Hidden => "a rule keeps this agent from these paths: nothing was written there",
            Self::Kind => "only the command's own files, directories and links are kept: these are none",
            Self::Beside => {
                "something else lies in these places, and stays as it is: what this command wrote lies beside it, here"
            }
            Self::Changed => {
                "something else lies in these places by now, and stays as it is: what this command wrote is gone"
            }
            Self::Carried => "what lay here was moved to where it is not kept: it was not deleted, and lies here still",
            Self::NotDeleted => "somebody else changed these meanwhile: they were not deleted",
            Self::NotEmpty => "these hold what this command was not shown, or may not delete: they were not deleted",
            Self::Gone => "somebody else took away the directories of these: what this command did there is gone",
            Self::TooLong => "these paths are too long for this machine: what this command did there is not kept",
        }
    }
}

/// What is told of paths.
#[derive(Default)]
pub struct Told {
    pub quarantined: Vec<String>,
    pub paths: BTreeMap<Why, Vec<String>>,
}

impl Told {
    pub fn note(&mut self, why: Why, path: String) {
        self.paths.entry(why).or_default().push(path);
    }
}

/// As rules and the model know it.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
