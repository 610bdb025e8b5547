//! What a push would send, made and then looked at by the names of its objects. Whoever works in the workspace can let
//! its store say anything of an object, and its indexes anything of what belongs to a commit; a pack that is read again
//! where nothing of the workspace is can only say what is in it.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use backstay_kernel::git::is_id;
use backstay_sandbox::{Joint, Program, Simple};

use super::local::Local;
use super::work::{Undone, Work};
use crate::limits::{GIT_CHANGED_MAX, GIT_LISTED_BYTES_MAX, GIT_PACK_BYTES_MAX, GIT_REFS_BYTES_MAX};
use crate::roots::Roots;

/// Files of a place.
const REVISIONS: &str = "revisions";
const NEW: &str = "new";
const KNOWN: &str = "known";
const COMMITS: &str = "commits";
const SENT: &str = "sent";
const PARENTS: &str = "parents";
const BELONG: &str = "belong";
const CHANGED: &str = "changed";

/// A pack, and what is in it.
#[derive(Debug)]
pub struct Packed {
    /// As it is sent.
    pub pack: Vec<u8>,
    /// The commit that was known is one of the new one's ancestors.
    pub follows: bool,
    /// `None` where it cannot be told, or are too many.
    pub changed: Option<Vec<String>>,
    /// Of the contents of all its objects.
    pub bytes: u64,
}

/// Of what `new` is and `known` is not, which the other side has; all of it where nothing is known.
pub fn packed(
    roots: &Roots,
    local: &Local,
    found: Vec<Program>,
    new: &str,
    known: Option<&str>,
) -> Result<Packed, String> {
    let made = made(roots, local, found.clone(), new, known)?;
    let work = Work::new(roots, found)?;
    let ours = work.repository("ours").map_err(io)?;
    for (name, bytes) in [(NEW, &made.new), (KNOWN, &made.known), (COMMITS, &made.commits)] {
        std::fs::write(work.path(name), bytes).map_err(io)?;
    }
    let ran = work.run(roots, looks(&work, &ours, new, known), &[], None, &AtomicBool::new(false));
    ran.map_err(|undone| undone.to_string())?;
    let listed = |name| -> Result<String, String> {
        let bytes = work.read(name, GIT_LISTED_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| "it would send more objects than can be looked at".to_owned())?;
        String::from_utf8(bytes).map_err(|_| "git lists something else than objects".to_owned())
    };
    let parents = listed(PARENTS)?;
    let ancestors = ancestors(&parents);
    if ancestors.is_empty() {
        return Err(format!("{new} is no commit"));
    }
    let bytes = contents(&listed(SENT)?, &listed(BELONG)?).filter(|_| all_of(&made.commits, &ancestors));
    let bytes = bytes.ok_or_else(|| {
        "what git would send here is not what belongs to this commit: the repository's objects or their indexes say something else than what is in them, see `git fsck`".to_owned()
    })?;
    let changed = work.read(CHANGED, GIT_REFS_BYTES_MAX)?.and_then(|bytes| paths(&bytes));
    let follows = known.is_some_and(|known| ancestors.contains(known));
    Ok(Packed { pack: made.new, follows, changed, bytes })
}

fn io(error: std::io::Error) -> String {
    format!("a pack cannot be made: {error}")
}

/// What the store of the workspace gave, of which nothing is believed.
struct Made {
    /// What is sent.
    new: Vec<u8>,
    /// What it is compared with: the trees of both commits.
    known: Vec<u8>,
    /// That are sent, a line each.
    commits: Vec<u8>,
}

fn made(roots: &Roots, local: &Local, found: Vec<Program>, new: &str, known: Option<&str>) -> Result<Made, String> {
    let work = Work::new(roots, found)?;
    let without = known.map(|known| format!("^{known}\n")).unwrap_or_default();
    std::fs::write(work.path(REVISIONS), format!("{new}\n{without}")).map_err(io)?;
    let theirs = work.repository("theirs").map_err(io)?;
    std::fs::write(work.path("theirs/objects/info/alternates"), format!("{}\n", local.objects)).map_err(io)?;
    let trees = [&theirs, "rev-list", "--objects", "--no-walk", "--filter=blob:none"];
    let trees: Vec<&str> = trees.into_iter().chain(known).chain([new]).collect();
    let piped = |simple: Simple| Simple { joint: Joint::Pipe, ..simple };
    let list = vec![
        work.writing(work.git(&[&theirs, "pack-objects", "-q", "--revs", "--stdout"], Some(REVISIONS)), NEW),
        and(work.git(&trees, None)),
        piped(work.writing(work.git(&[&theirs, "pack-objects", "-q", "--stdout"], None), KNOWN)),
        and(work.writing(work.git(&[&theirs, "rev-list", "--stdin"], Some(REVISIONS)), COMMITS)),
    ];
    let ran = work.run(roots, list, &[&local.objects], None, &AtomicBool::new(false));
    ran.map_err(|undone| match undone {
        Undone::Failed(why) => match known {
            Some(known) => format!("{why} (git_fetch brings {known}, if it is not here)"),
            None => why,
        },
        Undone::Lost => undone.to_string(),
    })?;
    let taken = |name, bytes_max| {
        let bytes = work.read(name, bytes_max)?;
        bytes.ok_or_else(|| format!("it would send, or is compared with, more than {bytes_max} bytes"))
    };
    let commits = taken(COMMITS, GIT_LISTED_BYTES_MAX)?;
    // They are words for git to come.
    if !String::from_utf8_lossy(&commits).lines().all(is_id) {
        return Err("git lists something else than commits".to_owned());
    }
    Ok(Made { new: taken(NEW, GIT_PACK_BYTES_MAX)?, known: taken(KNOWN, GIT_PACK_BYTES_MAX)?, commits })
}

fn and(simple: Simple) -> Simple {
    Simple { joint: Joint::And, ..simple }
}

/// Both packs go into a store of ours, which names each object by what is in it, and all the rest is asked of that
/// store: what is in the first pack, what belongs to its commits, whose children these are, and which paths differ.
fn looks(work: &Work, ours: &str, new: &str, known: Option<&str>) -> Vec<Simple> {
    let names: Vec<&str> = match known {
        Some(known) => vec![ours, "diff-tree", "-r", "--name-only", "-z", "--no-renames", known, new],
        None => vec![ours, "ls-tree", "-r", "--name-only", "-z", new],
    };
    let all = [ours, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objectsize)"];
    let walk = [ours, "rev-list", "--no-walk=unsorted", new, "--stdin"];
    let parents = [&walk[..], &["--parents"]].concat();
    // Of a commit's trees the other side has some, and they are not here.
    let belong = [&walk[..], &["--objects", "--no-object-names", "--missing=allow-any"]].concat();
    let to = |words: &[&str], input, name| and(work.writing(work.git(words, input), name));
    vec![
        work.git(&[ours, "index-pack", "--stdin"], Some(NEW)),
        to(&all, None, SENT),
        and(work.git(&[ours, "index-pack", "--stdin"], Some(KNOWN))),
        to(&parents, Some(COMMITS), PARENTS),
        to(&belong, Some(COMMITS), BELONG),
        to(&names, None, CHANGED),
    ]
}

/// Where the way over parents leads from the first commit; a line for each commit, with its parents.
fn ancestors(parents: &str) -> BTreeSet<&str> {
    let words = || parents.lines().map(|line| line.split(' '));
    let of: BTreeMap<&str, Vec<&str>> =
        words().filter_map(|mut words| Some((words.next()?, words.collect()))).collect();
    let mut next: Vec<&str> = words().next().and_then(|mut words| words.next()).into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(commit) = next.pop() {
        if seen.insert(commit) {
            next.extend(of.get(commit).into_iter().flatten());
        }
    }
    seen
}

fn all_of(commits: &[u8], ancestors: &BTreeSet<&str>) -> bool {
    String::from_utf8_lossy(commits).lines().all(|commit| ancestors.contains(commit))
}

/// The bytes of what is sent, with a line for each object and its size, where all of it belongs to what is sent.
fn contents(sent: &str, belong: &str) -> Option<u64> {
    let belong: BTreeSet<&str> = belong.lines().collect();
    let size = |line: &str| {
        let (id, size) = line.split_once(' ')?;
        belong.contains(id).then(|| size.parse::<u64>().ok()).flatten()
    };
    sent.lines().map(size).try_fold(0u64, |sum, size| sum.checked_add(size?))
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
        let of = |parents| ancestors(parents).into_iter().collect::<Vec<_>>();
        assert_eq!(of("d c b\nx y\nc a\nb a\n"), ["a", "b", "c", "d"]);
        assert_eq!(of("c a\nd c b\n"), ["a", "c"]);
        assert_eq!(of("a b\nb a\n"), ["a", "b"], "and a circle has an end");
        assert_eq!(of(""), [""; 0]);
        assert!(all_of(b"c\nd\n", &ancestors("d c\n")) && !all_of(b"x\n", &ancestors("d c\nx d\n")));
    }

    #[test]
    fn what_is_sent_belongs_to_it_to_the_last_object() {
        assert_eq!(contents("a 3\nb 4\n", "b\nc\na\n"), Some(7));
        assert_eq!(contents("", "a\n"), Some(0));
        for sent in ["a 3\nx 1\n", "a\n", "a 3 4\n", "a missing\n"] {
            assert_eq!(contents(sent, "a\nb\n"), None, "{sent}");
        }
        assert_eq!(contents(&format!("a {}\nb 1\n", u64::MAX), "a\nb\n"), None);
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
