//! Merges in this process: what others do meanwhile, and where it ends early, at a given moment.
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::sync::atomic::Ordering;

use rustix::fs::{CWD, mknodat};

use super::*;
use crate::beneath::directory;
use crate::profile::Reach;

/// Somebody else where that can be.
fn uid() -> u32 {
    let own = rustix::process::getuid();
    if own.is_root() { 20_931 } else { own.as_raw() }
}

fn is_secret(path: &str) -> bool {
    path.ends_with("secret/config")
}

struct Merging {
    directory: tempfile::TempDir,
    granted: PathBuf,
    stage: Stage,
}

impl Merging {
    fn new() -> Self {
        Self::of(&["f"], &[])
    }

    /// Each file says what its name is.
    fn of(files: &[&str], read: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let granted = directory.path().canonicalize().unwrap().join("above/granted");
        for file in files {
            let path = granted.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let read = read.iter().map(|path| shown(&granted.join(path))).collect();
        let reach = Reach { read, write: vec![shown(&granted)] };
        let stage = Stage::make(&reach, "/", uid(), &is_secret).unwrap();
        Self { directory, granted, stage }
    }

    fn make(&self, name: &str) {
        fs::create_dir(self.copy(name)).unwrap();
        chown(self.copy(name), Some(uid()), None).unwrap();
    }

    fn moves(&self, moves: &[(&str, &str)]) {
        for (from, to) in moves {
            fs::rename(self.copy(from), self.copy(to)).unwrap();
        }
    }

    fn told(&self, why: Why, paths: &[&str]) -> NotKept {
        let paths = paths.iter().map(|path| shown(&self.granted.join(path))).collect();
        NotKept { why: why.words().to_owned(), paths }
    }

    /// What is in every file, sorted.
    fn texts(&self) -> Vec<(String, String)> {
        let (mut found, mut left) = (Vec::new(), vec![self.granted.clone()]);
        while let Some(directory) = left.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    left.push(path);
                } else {
                    let below = shown(path.strip_prefix(&self.granted).unwrap());
                    found.push((below, fs::read_to_string(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.granted.join(name)).unwrap_or_else(|error| error.to_string())
    }

    fn copy(&self, name: &str) -> PathBuf {
        Path::new(&self.stage.place(&shown(&self.granted))).join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.copy(name), "new").unwrap();
        chown(self.copy(name), Some(uid()), None).unwrap();
    }

    fn merge(&mut self, halt: bool) -> Merged {
        merge(&mut self.stage, 0, &|_| false, &AtomicBool::new(halt))
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(&self.granted).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

#[test]
fn what_is_not_the_commands_own_is_not_taken() {
    let mut merging = Merging::new();
    merging.write("new");
    if rustix::process::getuid().is_root() {
        let secret = merging.directory.path().join("secret");
        fs::write(&secret, "canary").unwrap();
        fs::hard_link(&secret, merging.copy("linked")).unwrap();
        fs::remove_file(merging.copy("f")).unwrap();
        fs::hard_link(&secret, merging.copy("f")).unwrap();
        mknodat(CWD, merging.copy("null"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3)).unwrap();
        chown(merging.copy("null"), Some(uid()), None).unwrap();
        fs::create_dir(merging.copy("of-root")).unwrap();
        let merged = merging.merge(false);
        let named = ["f", "linked", "null", "of-root"].map(|name| shown(&merging.granted.join(name)));
        assert_eq!(merged.not_kept, [NotKept { why: Why::Kind.words().to_owned(), paths: named.to_vec() }]);
    } else {
        assert_eq!(merging.merge(false), Merged::default());
    }
    assert_eq!(merging.names(), ["f", "new"]);
    assert_eq!(fs::read_to_string(merging.granted.join("f")).unwrap(), "f");
}

#[test]
fn a_directory_that_is_another_now_takes_nothing() {
    let refused = |merging: &mut Merging, kept: &Path| {
        merging.write("new");
        let merged = merging.merge(false);
        assert!(merged.not_kept[0].why.starts_with("nothing of what this command wrote is kept"), "{merged:?}");
        assert_eq!(fs::read_dir(kept).unwrap().count(), 1);
    };
    let mut replaced = Merging::new();
    let moved = replaced.granted.with_file_name("moved");
    fs::rename(&replaced.granted, &moved).unwrap();
    fs::create_dir(&replaced.granted).unwrap();
    refused(&mut replaced, &moved);
    assert!(replaced.names().is_empty());
    let mut linked = Merging::new();
    let above = linked.granted.parent().unwrap().to_owned();
    fs::rename(&above, above.with_file_name("moved")).unwrap();
    symlink("moved", &above).unwrap();
    let granted = linked.granted.clone();
    refused(&mut linked, &granted);
    // The copy, by a command that may write above it.
    let mut led_away = Merging::new();
    let (above, elsewhere) = (led_away.copy("").join(".."), led_away.directory.path().join("elsewhere"));
    let above = above.canonicalize().unwrap();
    fs::create_dir_all(elsewhere.join("granted")).unwrap();
    chown(elsewhere.join("granted"), Some(uid()), None).unwrap();
    fs::rename(&above, above.with_file_name("away")).unwrap();
    symlink(&elsewhere, &above).unwrap();
    let granted = led_away.granted.clone();
    refused(&mut led_away, &granted);
}

#[test]
fn what_was_moved_to_where_nothing_is_kept_stays_where_it_was() {
    let files = ["p1", "p2", "p3", "p4", "d/in/x", "kept", "over", "both", ".git/config", ".git/hooks/x", "ro/f"];
    let mut merging = Merging::of(&files, &["ro"]);
    merging.make("hid");
    merging.make("n");
    merging.moves(&[("p1", ".git/config"), ("p2", "hid/p2"), ("p3", "ro/p3"), ("p4", ".git/hooks/p4")]);
    merging.moves(&[("d", ".git/hooks/d"), ("kept", "n/kept"), ("n", "hid/n"), ("over", "hid/over")]);
    merging.write("over");
    fs::remove_file(merging.copy("both")).unwrap();
    let hides = |path: &str| path.contains("/hid");
    let merged = merge(&mut merging.stage, 0, &hides, &AtomicBool::new(false));
    let told = [
        merging.told(Why::Protected, &[".git/config", ".git/hooks/d", ".git/hooks/p4"]),
        merging.told(Why::ReadOnly, &["ro/p3"]),
        merging.told(Why::Hidden, &["hid"]),
        merging.told(Why::Beside, &["over.conflict-0"]),
        merging.told(Why::Carried, &["p4", "p3", "p2", "p1", "kept", "d/in/x", "d/in", "d"]),
    ];
    assert_eq!(merged, Merged { quarantined: Vec::new(), not_kept: told.to_vec() });
    for file in files.into_iter().filter(|file| *file != "both") {
        assert_eq!(merging.text(file), file);
    }
    assert_eq!((merging.text("over.conflict-0"), merging.granted.join("both").exists()), ("new".to_owned(), false));
}

/// As a file system does that gives the numbers of what was deleted to what is made next.
#[test]
fn what_was_deleted_is_not_taken_for_moved_by_its_number() {
    let files: Vec<String> = (0..50).map(|number| format!("f{number}")).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut merging = Merging::of(&names, &[]);
    merging.make("hid");
    let tick = merging.directory.path().join("tick");
    // Not every file system says when, and the clock that does has to go on, as it does while a helper starts.
    let made = |name: &&str| fs::metadata(merging.copy(name)).unwrap().created().ok();
    let Some(last) = names.iter().filter_map(made).max() else { return };
    while !fs::metadata(&tick).is_ok_and(|stat| stat.created().unwrap() > last) {
        let _ = fs::remove_file(&tick);
        fs::write(&tick, "").unwrap();
    }
    for name in names {
        fs::remove_file(merging.copy(name)).unwrap();
        merging.write(&format!("hid/{name}"));
    }
    let merged = merge(&mut merging.stage, 0, &|path: &str| path.contains("/hid"), &AtomicBool::new(false));
    assert_eq!(merged.not_kept, [merging.told(Why::Hidden, &["hid"])]);
    assert!(merging.names().is_empty());
}

#[test]
fn what_others_took_away_while_it_was_moved_there_stays_where_it_was() {
    let mut merging = Merging::of(&["p", "w", "z/x"], &[]);
    merging.moves(&[("p", "z/p"), ("w", "z/w")]);
    merging.write("w");
    fs::rename(merging.granted.join("z"), merging.granted.join("theirs")).unwrap();
    let told = [
        merging.told(Why::Beside, &["w.conflict-0"]),
        merging.told(Why::Carried, &["p"]),
        merging.told(Why::Gone, &["z/p", "z/w"]),
    ];
    assert_eq!(merging.merge(false).not_kept, told);
    assert_eq!(["p", "w", "w.conflict-0"].map(|name| merging.text(name)), ["p", "w", "new"]);
}

/// Two files for each other, a file for a directory that holds it, a directory for the file in it, a new file for
/// one that has another name now.
#[test]
fn nothing_is_deleted_or_replaced_before_what_came_of_it_is_written() {
    let files = ["a", "b", "t", "e/only", "g", "later/x"];
    let began = || {
        let merging = Merging::of(&files, &[]);
        merging.moves(&[("a", "x"), ("b", "a"), ("x", "b"), ("t", "x")]);
        merging.make("t");
        merging.moves(&[("x", "t/in"), ("e/only", "x")]);
        fs::remove_dir(merging.copy("e")).unwrap();
        merging.moves(&[("x", "e"), ("g", "g~")]);
        merging.write("g");
        merging
    };
    let mut merging = began();
    assert_eq!(merging.merge(false), Merged::default());
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let all =
        [("a", "b"), ("b", "a"), ("e", "e/only"), ("g", "new"), ("g~", "g"), ("later/x", "later/x"), ("t/in", "t")];
    assert_eq!(merging.texts(), all.map(|(name, is)| text(name, is)));
    for stops in 1..=5 {
        let (mut merging, halt, asked) = (began(), AtomicBool::new(false), Cell::new(0));
        let hides = |path: &str| {
            asked.set(asked.get() + u32::from(path.contains(".conflict")));
            halt.store(asked.get() == stops, Ordering::Release);
            false
        };
        let merged = merge(&mut merging.stage, 0, &hides, &halt);
        assert!(merged.not_kept[0].why.contains("a person stopped it"), "{merged:?}");
        let texts = merging.texts();
        for file in files {
            assert!(texts.iter().any(|(_, text)| text == file), "{stops} {file}: {texts:?}");
        }
        let beside = merged.not_kept.iter().find(|told| told.why == Why::Beside.words()).unwrap();
        assert_eq!(beside.paths.len(), usize::try_from(stops).unwrap(), "{beside:?}");
    }
}

/// Stopped where somebody else's file is met: before, within and behind a directory that becomes a repository.
#[test]
fn a_merge_that_ends_early_makes_no_repository_of_what_was_none() {
    for stops in [None, Some("a"), Some("x/i"), Some("x/refs/i"), Some("z")] {
        let files = ["a", "z", "x/HEAD", "x/config", "x/hooks/h", "x/i"];
        let mut merging = Merging::of(&files, &[]);
        merging.make("x/objects");
        merging.make("x/refs");
        if let Some(name) = stops {
            merging.write(name);
            let theirs = merging.granted.join(name);
            fs::create_dir_all(theirs.parent().unwrap()).unwrap();
            fs::write(theirs, "theirs").unwrap();
        }
        let halt = AtomicBool::new(false);
        let hides = |path: &str| {
            halt.fetch_or(path.contains(".conflict"), Ordering::AcqRel);
            false
        };
        let merged = merge(&mut merging.stage, 0, &hides, &halt);
        let is_there = |name: &str| merging.granted.join(name).exists();
        let is_repository = is_there("x/HEAD") && is_there("x/objects") && is_there("x/refs");
        assert!(!is_repository || !(is_there("x/config") || is_there("x/hooks")), "{stops:?} {merged:?}");
        for path in &merged.quarantined {
            assert!(Path::new(&format!("{path}.quarantine-0")).exists(), "{stops:?} {merged:?}");
        }
        let is_whole = is_repository && merged.not_kept.is_empty() && merged.quarantined.len() == 2;
        assert_eq!(is_whole, stops.is_none(), "{merged:?}");
    }
}

/// What they and the command write makes a repository only together.
#[test]
fn what_others_wrote_meanwhile_counts_for_what_is_acted_on() {
    let files = ["late/HEAD", "late/refs", "linked/f", "mine/HEAD", "old/HEAD", "old/hooks/x", "secret/HEAD"];
    let mut merging = Merging::of(&[&files[..], &["secret/config", "theirs/f", "late/objects"]].concat(), &[]);
    fs::remove_file(merging.copy("late/objects")).unwrap();
    fs::remove_file(merging.copy("late/refs")).unwrap();
    for made in ["late", "mine", "secret"] {
        merging.make(&format!("{made}/objects"));
        merging.make(&format!("{made}/refs"));
        merging.write(&format!("{made}/refs/r"));
    }
    for made in [".claude", ".claude/hooks", ".claude/objects", ".claude/refs", "theirs/hooks"] {
        merging.make(made);
    }
    for made in [".claude/HEAD", ".claude/hooks/h", "theirs/hooks/h", "theirs/config", "linked/commondir"] {
        merging.write(made);
    }
    merging.write("old/hooks/new");
    fs::remove_file(merging.copy("old/hooks/x")).unwrap();
    let theirs = |directories: &[&str], files: &[&str]| {
        directories.iter().for_each(|name| fs::create_dir(merging.granted.join(name)).unwrap());
        files.iter().for_each(|name| fs::write(merging.granted.join(name), "theirs").unwrap());
    };
    theirs(&["theirs/objects", "theirs/refs", "theirs/hooks"], &["theirs/HEAD", "theirs/hooks/t"]);
    theirs(&["old/objects", "old/refs"], &["late/config", "mine/config", "linked/HEAD"]);
    let merged = merge(&mut merging.stage, 0, &is_secret, &AtomicBool::new(false));
    let mut quarantined = merged.quarantined.clone();
    quarantined.sort();
    let named =
        [".claude", "late/refs", "linked/commondir", "mine/refs", "secret/refs", "theirs/config", "theirs/hooks"];
    assert_eq!(quarantined, named.map(|name| shown(&merging.granted.join(name))), "{merged:?}");
    let stayed = merging.told(Why::Protected, &["old/hooks/new", "old/hooks/x"]);
    assert_eq!(merged.not_kept, [stayed]);
    let new = |name: &str| (name.to_owned(), "new".to_owned());
    let texts = merging.texts();
    for name in [
        ".claude.quarantine-0/HEAD",
        ".claude.quarantine-0/hooks/h",
        "late/refs.quarantine-0/r",
        "linked/commondir.quarantine-0",
        "mine/refs.quarantine-0/r",
        "secret/refs.quarantine-0/r",
        "theirs/config.quarantine-0",
        "theirs/hooks.quarantine-0/h",
    ] {
        assert!(texts.contains(&new(name)), "{name}: {texts:?}");
    }
    assert_eq!(texts.iter().filter(|(_, text)| text == "new").count(), 8, "{texts:?}");
    assert!(merging.granted.join("mine/objects").exists() && !merging.granted.join("mine/refs").exists());
    assert_eq!(merging.text("old/hooks/x"), "old/hooks/x");
}

#[test]
fn a_path_that_is_too_long_ends_no_merge() {
    let mut merging = Merging::of(&["d/f", "x/HEAD", "x/config"], &[]);
    let long = "n".repeat(250);
    let mut deep = directory(CWD, merging.copy("d").as_os_str()).unwrap();
    let mut path = PathBuf::from("d");
    let own = Some(rustix::fs::Uid::from_raw(uid()));
    for _ in 0..16 {
        rustix::fs::mkdirat(&deep, &long, Mode::RWXU).unwrap();
        deep = directory(&deep, long.as_ref()).unwrap();
        rustix::fs::fchown(&deep, own, None).unwrap();
        path.push(&long);
    }
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let file = rustix::fs::openat(&deep, &long, flags, Mode::RWXU).unwrap();
    rustix::fs::fchown(&file, own, None).unwrap();
    merging.make("x/objects");
    merging.make("x/refs");
    let told = [merging.told(Why::TooLong, &[&shown(&path.join(&long))])];
    assert!(path.as_os_str().len() < 4_096 && told[0].paths[0].len() > 4_096);
    assert_eq!(
        merging.merge(false),
        Merged { quarantined: vec![shown(&merging.granted.join("x/config"))], not_kept: told.to_vec() }
    );
    assert!(merging.granted.join("x/refs").exists() && !merging.granted.join("x/config").exists());
}

#[test]
fn a_stop_ends_a_merge() {
    let mut merging = Merging::new();
    merging.write("new");
    let merged = merging.merge(true);
    assert!(merged.not_kept[0].why.contains("0 of 1 changes are kept, and no more: a person"), "{merged:?}");
    assert_eq!(merging.names(), ["f"]);
    let mut merging = Merging::new();
    assert_eq!(merging.merge(true), Merged::default(), "there was nothing to do");
}
