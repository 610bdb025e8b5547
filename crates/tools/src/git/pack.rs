//! What a push would send, made and then looked at by the names of its objects. Whoever works in the workspace can let
//! its store say anything of an object; a pack that is read again can only say what is in it.
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use backstay_sandbox::{Joint, Program, Simple};

use super::local::Local;
use super::work::{Undone, Work};
use crate::limits::{GIT_CHANGED_MAX, GIT_PACK_BYTES_MAX, GIT_REFS_BYTES_MAX};
use crate::roots::Roots;

/// Files of the place.
const REVISIONS: &str = "revisions";
const NEW: &str = "new";
const KNOWN: &str = "known";
const COMMITS: &str = "commits";
const PARENTS: &str = "parents";
const CHANGED: &str = "changed";

/// A pack, and what is in it.
#[derive(Debug)]
pub struct Packed {
    work: Work,
    /// The commit that was known is one of the new one's ancestors.
    pub follows: bool,
    /// `None` where it cannot be told, or are too many.
    pub changed: Option<Vec<String>>,
}

impl Packed {
    /// As it is sent.
    pub fn pack(&self) -> Result<Vec<u8>, String> {
        let pack = self.work.read(NEW, GIT_PACK_BYTES_MAX)?;
        pack.ok_or_else(|| format!("it would send more than {GIT_PACK_BYTES_MAX} bytes"))
    }
}

/// Of what `new` is and `known` is not, which the other side has; all of it where nothing is known.
pub fn packed(
    roots: &Roots,
    local: &Local,
    found: Vec<Program>,
    new: &str,
    known: Option<&str>,
) -> Result<Packed, String> {
    let work = Work::new(roots, found)?;
    let io = |error: std::io::Error| format!("a pack cannot be made: {error}");
    let without = known.map(|known| format!("^{known}\n")).unwrap_or_default();
    std::fs::write(work.path(REVISIONS), format!("{new}\n{without}")).map_err(io)?;
    let (theirs, ours) = (work.repository("theirs").map_err(io)?, work.repository("ours").map_err(io)?);
    std::fs::write(work.path("theirs/objects/info/alternates"), format!("{}\n", local.objects)).map_err(io)?;
    let list = commands(&work, &theirs, &ours, new, known);
    let ran = work.run(roots, list, &[&local.objects], None, &AtomicBool::new(false));
    ran.map_err(|undone| match undone {
        Undone::Failed(why) => match known {
            Some(known) => format!("{why} (git_fetch brings {known}, if it is not here)"),
            None => why,
        },
        Undone::Lost => undone.to_string(),
    })?;
    let parents = work.read(PARENTS, GIT_REFS_BYTES_MAX)?.unwrap_or_default();
    let follows = known.is_some_and(|known| reaches(&String::from_utf8_lossy(&parents), new, known));
    let changed = work.read(CHANGED, GIT_REFS_BYTES_MAX)?.and_then(|bytes| paths(&bytes));
    Ok(Packed { work, follows, changed })
}

/// Two packs: what is sent, and what it is compared with, which is the trees of both commits. They go into a store
/// of ours, which names each object by what is in it, and all the rest is asked of that store.
fn commands(work: &Work, theirs: &str, ours: &str, new: &str, known: Option<&str>) -> Vec<Simple> {
    let most = format!("--max-input-size={GIT_PACK_BYTES_MAX}");
    let both: Vec<&str> = known.into_iter().chain([new]).collect();
    let trees = [theirs, "rev-list", "--objects", "--no-walk", "--filter=blob:none"];
    let trees: Vec<&str> = trees.into_iter().chain(both).collect();
    let names: Vec<&str> = match known {
        Some(known) => vec![ours, "diff-tree", "-r", "--name-only", "-z", "--no-renames", known, new],
        None => vec![ours, "ls-tree", "-r", "--name-only", "-z", new],
    };
    let to = |simple: Simple, name| work.writing(simple, name);
    let and = |simple: Simple| Simple { joint: Joint::And, ..simple };
    let piped = |simple: Simple| Simple { joint: Joint::Pipe, ..simple };
    vec![
        to(work.git(&[theirs, "pack-objects", "-q", "--revs", "--stdout"], Some(REVISIONS)), NEW),
        and(work.git(&trees, None)),
        piped(to(work.git(&[theirs, "pack-objects", "-q", "--stdout"], None), KNOWN)),
        and(work.git(&[ours, "index-pack", "--stdin", &most], Some(NEW))),
        and(work.git(&[ours, "index-pack", "--stdin", &most], Some(KNOWN))),
        and(to(work.git(&[theirs, "rev-list", "--stdin"], Some(REVISIONS)), COMMITS)),
        and(to(
            work.git(&[ours, "rev-list", "--no-walk=unsorted", "--parents", new, "--stdin"], Some(COMMITS)),
            PARENTS,
        )),
        and(to(work.git(&names, None), CHANGED)),
    ]
}

/// Whether the way from one commit over parents comes by another; a line for each commit, with its parents.
fn reaches(parents: &str, from: &str, to: &str) -> bool {
    let words = parents.lines().map(|line| line.split(' '));
    let parents: BTreeMap<&str, Vec<&str>> =
        words.filter_map(|mut words| Some((words.next()?, words.collect()))).collect();
    let (mut seen, mut next) = (BTreeMap::new(), vec![from]);
    while let Some(commit) = next.pop() {
        if commit == to {
            return true;
        }
        if seen.insert(commit, ()).is_none() {
            next.extend(parents.get(commit).into_iter().flatten());
        }
    }
    false
}

/// Names that end with a NUL each; what is no text, and what is more than anybody reads, is not known.
fn paths(bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut all: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    all.sort();
    (all.len() <= GIT_CHANGED_MAX).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_reached_over_any_of_the_parents() {
        let parents = "d c b\nc a\nb a\nx y\n";
        for (from, to, reached) in [("d", "a", true), ("d", "d", true), ("c", "b", false), ("x", "a", false)] {
            assert_eq!(reaches(parents, from, to), reached, "{from} {to}");
        }
        assert!(!reaches("a b\nb a\n", "a", "c"), "and a circle has an end");
    }

    #[test]
    fn paths_are_known_where_all_of_them_are_texts_and_not_too_many() {
        assert_eq!(paths(b"b\0a\nc\0"), Some(vec!["a\nc".to_owned(), "b".to_owned()]));
        assert_eq!(paths(b""), Some(Vec::new()));
        assert_eq!(paths(b"a\xff\0"), None);
        assert!(paths("a\0".repeat(GIT_CHANGED_MAX).as_bytes()).is_some());
        assert_eq!(paths("a\0".repeat(GIT_CHANGED_MAX + 1).as_bytes()), None);
    }
}
