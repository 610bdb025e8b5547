//! The files that programs' names mean. Each is looked at through a handle before its command is judged, and opened
//! again when the new root stands; what runs then is that handle, and only if it is the same file in the same state.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::helper::{Step, step};
use crate::init::{NOT_FOUND, NOT_STARTED};
use crate::limits::{INTERPRETER_BYTES_MAX, PROGRAMS_KNOWN_MAX, SETTLED_S};
use crate::mark::Mark;
use crate::profile::path;
use crate::raw;

/// One file, as it was when it was looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Where it is found, here and in the new root.
    at: String,
    /// Where that leads on this machine.
    pub real: String,
    pub sha256: [u8; 32],
    mark: Mark,
    /// Nothing else gets its number while it is open here.
    #[serde(skip)]
    _held: Option<Arc<File>>,
}

/// What a name means.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    name: String,
    file: Seen,
    /// Of a text that begins with `#!`: who reads it, and the words that its line gives them.
    interpreter: Option<(Seen, Vec<String>)>,
}

/// What a file says of itself.
#[derive(Clone, Debug)]
struct Contents {
    sha256: [u8; 32],
    /// Behind `#!`.
    line: Option<String>,
}

impl Program {
    /// Looks for a name where programs are. `None`: there is no such file.
    ///
    /// # Errors
    /// What was found cannot be a program that is known, in words.
    pub fn find(name: &str, tool_dirs: &[String]) -> Result<Option<Self>, String> {
        let places = path(tool_dirs).map(|directory| format!("{directory}/{name}"));
        let Some(at) = places.into_iter().find(|at| Path::new(at).is_file()) else { return Ok(None) };
        let (file, line) = Seen::at(at)?;
        let interpreter = line.map(|line| interpreter(&file.at, &line)).transpose()?;
        Ok(Some(Self { name: name.to_owned(), file, interpreter }))
    }

    /// All files of it that were looked at.
    pub fn files(&self) -> impl Iterator<Item = &Seen> {
        std::iter::once(&self.file).chain(self.interpreter.as_ref().map(|(file, _)| file))
    }

    /// The words for the file that is run. A text is named to its interpreter by its path: no command can change what
    /// stands there.
    fn argv(&self, argv: &[String]) -> Vec<String> {
        let Some((interpreter, words)) = &self.interpreter else { return argv.to_vec() };
        let before = std::iter::once(&interpreter.at).chain(words).chain([&self.file.at]);
        before.chain(argv.iter().skip(1)).cloned().collect()
    }
}

impl Seen {
    fn at(at: String) -> Result<(Self, Option<String>), String> {
        let looked = (|| {
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            let flags = i32::try_from(flags.bits()).unwrap_or(0);
            let mut file = File::options().read(true).custom_flags(flags).open(&at)?;
            let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            let real = real.into_os_string().into_string().map_err(|_| Error::other("its path is not UTF-8"))?;
            let stat = file.metadata()?;
            if !stat.is_file() || stat.mode() & 0o002 != 0 {
                return Err(Error::other("it is no file that only its owner changes"));
            }
            let mark = Mark::of(&stat);
            let contents = contents(&mut file, mark)?;
            Ok((real, contents, mark, file))
        })();
        let (real, contents, mark, file) =
            looked.map_err(|error| format!("the program {at} cannot be run: {error}"))?;
        Ok((Self { at, real, sha256: contents.sha256, mark, _held: Some(Arc::new(file)) }, contents.line))
    }

    /// The same file again, where it is now.
    fn again(&self) -> Step<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = open(&self.at, flags, Mode::empty()).map_err(|errno| {
            let is_hidden = errno == Errno::NOENT;
            let why = if is_hidden { "leads out of what a command is shown".to_owned() } else { errno.to_string() };
            format!("{} ({}): {why}", self.at, self.real)
        })?;
        let found = File::from(found);
        let stat = found.metadata().map_err(|error| format!("{}: {error}", self.at))?;
        if Mark::of(&stat) != self.mark {
            return Err(format!("{} is another file than the one that was judged", self.at).into());
        }
        Ok(found.into())
    }
}

/// Read again where anything about it has changed.
fn contents(file: &mut File, mark: Mark) -> std::io::Result<Contents> {
    static KNOWN: Mutex<BTreeMap<Mark, Contents>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(contents) = known().get(&mark) {
        return Ok(contents.clone());
    }
    let mut head = Vec::new();
    file.by_ref().take(INTERPRETER_BYTES_MAX).read_to_end(&mut head)?;
    let line = head.strip_prefix(b"#!").map(|rest| rest.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let line = line.map(|line| String::from_utf8(line.to_vec()).map_err(Error::other)).transpose()?;
    file.rewind()?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0u8; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(buffer.get(..length).unwrap_or_default()),
        }
    }
    let contents = Contents { sha256: hash.finalize().into(), line };
    let stat = file.metadata()?;
    if Mark::of(&stat) != mark {
        return Err(Error::other("it was changed while it was read"));
    }
    // A later change within one tick of the clock would bear the same mark.
    if now_s().saturating_sub(stat.ctime()) < SETTLED_S {
        return Ok(contents);
    }
    let mut known = known();
    if known.len() >= PROGRAMS_KNOWN_MAX {
        known.clear();
    }
    known.insert(mark, contents.clone());
    Ok(contents)
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// As the operating system reads such a line: a path, and all that follows it as one word.
fn interpreter(at: &str, line: &str) -> Result<(Seen, Vec<String>), String> {
    let line = line.trim_matches([' ', '\t']);
    let (path, word) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if !path.starts_with('/') {
        return Err(format!("the program {at} names no interpreter by its full path"));
    }
    let (interpreter, line) = Seen::at(path.to_owned())?;
    if line.is_some() {
        return Err(format!("the interpreter of {at} has an interpreter of its own"));
    }
    let word = word.trim_start_matches([' ', '\t']);
    Ok((interpreter, if word.is_empty() { Vec::new() } else { vec![word.to_owned()] }))
}

/// The handles of a command's programs, in the new root.
pub struct Programs(BTreeMap<String, (Program, OwnedFd)>);

impl Programs {
    /// Opens what is found now, which must be what was judged.
    pub fn open(programs: &[Program]) -> Step<Self> {
        let mut opened = BTreeMap::new();
        for program in programs {
            let file = program.file.again()?;
            let runs = program.interpreter.as_ref().map_or(Ok(file), |(interpreter, _)| interpreter.again())?;
            opened.insert(program.name.clone(), (program.clone(), runs));
        }
        Ok(Self(opened))
    }

    /// Closes every descriptor from `first` on, but for the programs.
    pub fn keep_only(&self, first: u32) -> Step<()> {
        let mut kept: Vec<u32> =
            self.0.values().filter_map(|(_, handle)| u32::try_from(handle.as_raw_fd()).ok()).collect();
        kept.sort_unstable();
        raw::close_but(first, &kept).map_err(step("closing what it was given"))
    }

    /// Becomes the program that the first word names, or says on stderr why not, and the code to end with.
    pub fn become_one(&self, argv: &[String], environment: &BTreeMap<String, String>) -> i32 {
        let name = argv.first().map(String::as_str).unwrap_or_default();
        let Some((program, handle)) = self.0.get(name) else {
            eprintln!("{name}: there is no such program");
            return NOT_FOUND;
        };
        eprintln!("{name}: {}", raw::exec(handle, &program.argv(argv), environment));
        NOT_STARTED
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, read_to_string, rename, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ROUNDS: usize = 10_000;

    fn executable(at: &Path, mode: u32, text: &str) {
        write(at, text).unwrap();
        set_permissions(at, Permissions::from_mode(mode)).unwrap();
    }

    /// It is replaced by one of the same size: not at all, once, or twice, so that its number could come again.
    #[test]
    fn what_was_looked_at_is_what_runs_whatever_takes_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let tool_dirs = [dir.path().to_str().unwrap().to_owned()];
        let put = |text: &str| {
            executable(&dir.path().join("new"), 0o755, text);
            rename(dir.path().join("new"), dir.path().join("swapped-tool")).unwrap();
        };
        let (mut ran, mut refused) = (0, 0);
        for round in 0..ROUNDS {
            let judged = format!("judged {round:08}");
            put(&judged);
            let program = Program::find("swapped-tool", &tool_dirs).unwrap().unwrap();
            assert_eq!(program.file.sha256, <[u8; 32]>::from(Sha256::digest(&judged)));
            (0..round % 3).for_each(|_| put(&format!("evil!! {round:08}")));
            let opened = Programs::open(&[program]);
            put(&format!("later! {round:08}"));
            match opened {
                Ok(programs) => {
                    let (_, handle) = &programs.0["swapped-tool"];
                    assert_eq!(read_to_string(format!("/proc/self/fd/{}", handle.as_raw_fd())).unwrap(), judged);
                    ran += 1;
                }
                Err(why) => {
                    assert!(why.why.contains("another file than the one that was judged"), "{why}");
                    refused += 1;
                }
            }
        }
        assert_eq!((ran, refused), (ROUNDS.div_ceil(3), ROUNDS - ROUNDS.div_ceil(3)));
    }

    #[test]
    fn a_text_is_run_by_the_interpreter_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let tool_dirs = [dir.path().to_str().unwrap().to_owned()];
        let at = |name: &str| dir.path().join(name);
        let find = |name: &str| Program::find(name, &tool_dirs);
        executable(&at("own-script"), 0o755, "#! /bin/sh  -e -u \nexit\n");
        let script = find("own-script").unwrap().unwrap();
        let words = ["own-script", "a", "b"].map(str::to_owned);
        let path = at("own-script").to_str().unwrap().to_owned();
        assert_eq!(script.argv(&words), ["/bin/sh", "-e -u", &path, "a", "b"]);
        let real = std::fs::canonicalize("/bin/sh").unwrap();
        assert_eq!(script.files().map(|file| file.real.as_str()).collect::<Vec<_>>(), [&path, real.to_str().unwrap()]);
        executable(&at("own-two"), 0o755, &format!("#!{path}\n"));
        executable(&at("own-env"), 0o755, "#!sh\n");
        executable(&at("own-open"), 0o757, "");
        for (name, why) in [("own-two", "of its own"), ("own-env", "full path"), ("own-open", "only its owner")] {
            let said = find(name).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(find("own-missing").unwrap().is_none());
    }
}
