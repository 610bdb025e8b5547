//! What git itself does with objects: in a sandbox without a network, with a configuration of ours in a directory of
//! ours, on the objects of one repository.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backstay_kernel::facts::{Invalid, ProgramFile};
use backstay_sandbox::{Ask, Ended, Fault, Program, Programs, Reach, Redirect, Simple, Stop, Workplace};
use rustix::fs::OFlags;

use crate::command::{self, harmless};
use crate::limits::{GIT_SAID_BYTES_MAX, GIT_WORK_S};
use crate::open::regular;
use crate::place::child;
use crate::prepare::Refused;
use crate::roots::Roots;
use crate::text::cut;

/// The one program.
const GIT: &str = "git";
/// Of each directory of ours: nothing that lies beside the objects, and could say something else of them, is believed.
/// Nor is any of it needed to be safe: what is sent is read again where it is not.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tbare = true
\tcommitGraph = false
\tmultiPackIndex = false
\tuseReplaceRefs = false
[pack]
\tuseBitmaps = false
\tallowPackReuse = false
\treadReverseIndex = false
";

/// The file that is git, as it is now.
pub fn found(roots: &Roots) -> Result<(Vec<Program>, Box<[ProgramFile]>), Refused> {
    let no = |why: &str| Refused::new(Invalid::NoSandbox, why);
    let commands = roots.commands().ok_or_else(|| no("this agent has no sandbox"))?;
    commands.sandbox.holds_in_full().map_err(|why| no(&why))?;
    let found = command::found(roots, &commands.sandbox, &[GIT.to_owned()])?;
    if found.0.is_empty() {
        return Err(no("git is not installed on this machine, and its tools need it"));
    }
    Ok(found)
}

/// Hexadecimal digits from which on git takes and shows them as the beginning of an id.
const ID_BEGINS: usize = 7;

/// Why git did not do it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undone {
    #[error("{0}")]
    Failed(String),
    /// It may have written objects, which nothing refers to.
    #[error("the sandbox was lost")]
    Lost,
}

#[derive(Debug)]
pub struct Work {
    found: Vec<Program>,
    place: Workplace,
}

impl Work {
    pub fn new(roots: &Roots, found: Vec<Program>) -> Result<Self, String> {
        let commands = roots.commands().ok_or("this agent has no sandbox")?;
        Ok(Self { found, place: commands.sandbox.workplace()? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// An empty repository of ours, by the option that names it to git.
    pub fn repository(&self, name: &str) -> io::Result<String> {
        for below in ["refs", "objects/info", "objects/pack"] {
            self.place.directory(&format!("{name}/{below}"))?;
        }
        let dir = self.path(name);
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(dir.join("config"), CONFIG)?;
        Ok(format!("--git-dir={}", dir.display()))
    }

    /// One git, whose words are these; `input` is a file of the place.
    pub fn git(&self, words: &[&str], input: Option<&str>) -> Simple {
        let argv = [GIT].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let simple = Simple::alone(argv);
        let redirects = input.map(|name| Redirect::Input(text(&self.path(name)))).into_iter().collect();
        Simple { redirects, ..simple }
    }

    /// The same, whose output goes to a file of the place.
    pub fn writing(&self, simple: Simple, name: &str) -> Simple {
        let output = Redirect::Output { path: text(&self.path(name)), is_append: false };
        Simple { redirects: simple.redirects.into_iter().chain([output]).collect(), ..simple }
    }

    /// A file that a command has written, if it is no longer than this.
    pub fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("what git has written cannot be read: {error}");
        // No link is followed: what stands there is a command's.
        let place = fs::File::open(self.place.path()).map_err(|error| failed(&error))?;
        let opened = child(&place.into(), name, OFlags::NOFOLLOW).map_err(|errno| failed(&errno))?;
        let (file, _) = regular(opened, name).map_err(|refused| failed(&refused.detail))?;
        let (mut bytes, most) = (Vec::new(), u64::try_from(bytes_max).unwrap_or(u64::MAX));
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        Ok((bytes.len() <= bytes_max).then_some(bytes))
    }

    /// Runs them in this order, as long as they do well. `writes`: the objects of the workspace that are added to.
    pub fn run(
        &self,
        roots: &Roots,
        commands: Vec<Simple>,
        reads: &[&str],
        writes: Option<&str>,
        halt: &AtomicBool,
    ) -> Result<(), Undone> {
        let failed = |why: &str| Undone::Failed(why.to_owned());
        let sandbox = roots.commands().ok_or_else(|| failed("this agent has no sandbox"))?;
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let place = text(self.place.path());
        let reach = Reach { read: owned(reads), write: [vec![place], owned(writes.as_slice())].concat() };
        let of_objects = writes.map(|objects| ("GIT_OBJECT_DIRECTORY".to_owned(), objects.to_owned()));
        let ask = Ask {
            commands,
            found: self.found.clone(),
            cwd: "/tmp".to_owned(),
            environment: BTreeMap::from_iter(of_objects),
            programs: Programs::Only(vec![GIT.to_owned()]),
            reach,
            caches: None,
        };
        let timeout = Duration::from_secs(GIT_WORK_S);
        let ran = sandbox.sandbox.run(&ask, timeout, &|real| roots.hides(real), halt, None);
        let ran = ran.map_err(|fault| match fault {
            Fault::NotRun(why) | Fault::NoNamespaces(why) => Undone::Failed(why),
            Fault::Lost => Undone::Lost,
        })?;
        match ran.ended {
            Ended::Exited(0) => Ok(()),
            Ended::Exited(code) => {
                Err(Undone::Failed(format!("git says: {} (it ended with {code})", said(&ran.stderr.text()))))
            }
            Ended::Signalled(signal) => Err(Undone::Failed(format!("git was ended by signal {signal}"))),
            Ended::Stopped(stop) => Err(Undone::Failed(match stop {
                Stop::Time => format!("git takes longer than {GIT_WORK_S} s"),
                Stop::Memory => "git takes more memory than `[sandbox] memory_mib`".to_owned(),
                Stop::Disk => "less is left free on the disk than `[sandbox] free_disk_mib`".to_owned(),
                Stop::Halt => "a person stopped it".to_owned(),
            })),
        }
    }
}

/// Its first line, without ids: they may be those of files that the model may not read.
fn said(stderr: &str) -> String {
    let line = stderr.trim().lines().next().unwrap_or_default();
    let words = line.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    let shown: String = words
        .map(|word| {
            let rest = word.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            if word.len().saturating_sub(rest.len()) < ID_BEGINS { word.to_owned() } else { format!("…{rest}") }
        })
        .collect();
    cut(&shown.chars().map(harmless).collect::<String>(), GIT_SAID_BYTES_MAX).to_owned()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn what_git_says_is_told_without_ids() {
        let id = "c0ffee11".repeat(5);
        assert_eq!(said(&format!("fatal: bad object {id}\nfatal: {id}")), "fatal: bad object …");
        assert_eq!(said(&format!("error: {id}: {}, 0123456-abcdef", &id[..7])), "error: …: …, …-abcdef");
        assert_eq!(
            said("fatal: pack exceeds maximum allowed size (64.00 MiB)"),
            "fatal: pack exceeds maximum allowed size (64.00 MiB)"
        );
        assert_eq!(said(""), "");
    }
}
