//! What is known of a command before it runs: the argv that is run as it stands, the programs that it starts,
//! and, of one that only reads and writes, the real paths that it names.
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact};
use backstay_kernel::rule::is_under;
use backstay_kernel::tool::EffectClass;
use backstay_sandbox::Reach;
use backstay_shell::{Plain, Word};
use rustix::fs::{AtFlags, FileType, OFlags, statat};

use crate::open::kind;
use crate::prepare::Refused;
use crate::roots::Roots;
use crate::text::plain;

pub struct Known {
    pub argv: Vec<String>,
    /// Programs that are started to run it; what these start is held by what the sandbox holds.
    pub programs: Vec<String>,
    /// As it names them, with the class of it all; absent where it executes.
    named: Option<Named>,
}

struct Named {
    class: EffectClass,
    paths: Vec<(Access, String)>,
}

impl Known {
    /// Nothing is known: a shell reads it.
    pub fn shell(text: &str) -> Self {
        let sh = "sh".to_owned();
        Self { argv: vec![sh.clone(), "-c".to_owned(), text.to_owned()], programs: vec![sh], named: None }
    }

    /// One simple command with all its words, whose programs are all granted. Joined ones, redirections and globs
    /// still need a shell.
    pub fn of(plain: Plain, granted: &[String]) -> Option<Self> {
        let [simple] = <[_; 1]>::try_from(plain.commands).ok()?;
        if !simple.redirects.is_empty() || simple.argv.iter().any(|word| word.is_glob) {
            return None;
        }
        let facts = simple.facts;
        let programs: Vec<String> = facts.wrapper.into_iter().chain([facts.program]).collect();
        let is_granted = |program: &String| granted.iter().any(|name| name == program || name == "*");
        if !programs.iter().all(is_granted) {
            return None;
        }
        let of = |access, words: Vec<Word>| words.into_iter().map(move |word| (access, word.text));
        let named = (facts.class < EffectClass::Execute).then(|| Named {
            class: facts.class,
            paths: of(Access::Read, facts.reads).chain(of(Access::Write, facts.writes)).collect(),
        });
        Some(Self { argv: simple.argv.into_iter().map(|word| word.text).collect(), programs, named })
    }

    /// What the gate is told, and what the sandbox leaves open: a command that only reads finds nothing that can
    /// be written, whatever it is. `None` where it executes, or where one of its paths has no real one: then it
    /// may touch anything.
    pub fn facts(&self, roots: &Roots, cwd: &str) -> Option<(Facts, Reach)> {
        let named = self.named.as_ref()?;
        let (mut paths, mut more_paths) = (Vec::new(), false);
        for (access, path) in &named.paths {
            let path = if path.starts_with('/') { path.clone() } else { format!("{cwd}/{path}") };
            let real = match access {
                Access::Read => roots.open_read(&path, OFlags::empty()).ok()?.1,
                Access::Write => {
                    let (real, is_directory) = written(roots, &path).ok()?;
                    // What the sandbox undoes is not what the words say.
                    if backstay_sandbox::is_protected(&real) {
                        return None;
                    }
                    more_paths |= is_directory;
                    real
                }
            };
            paths.push(PathFact { access: *access, real });
        }
        let mut reach = roots.reach();
        reach.write.retain(|root| paths.iter().any(|fact| fact.access == Access::Write && is_under(&fact.real, root)));
        if paths.is_empty() {
            paths.push(PathFact { access: Access::Read, real: cwd.to_owned() });
        }
        Some((Facts { more_paths, ..Facts::new(named.class, paths) }, reach))
    }
}

/// The real path, and whether a directory is there already, which stands for what is in it. (What lies in a
/// directory that is read, and is protected by a rule, is hidden from every command.) A link in the last place is
/// followed by some programs and replaced by others: nobody can tell which file it means.
pub fn written(roots: &Roots, path: &str) -> Result<(String, bool), Refused> {
    let place = roots.place(path)?;
    if !place.missing.is_empty() {
        return Ok((place.real, false));
    }
    match statat(&place.dir, place.name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if kind(&stat) == FileType::Symlink => {
            let detail = format!("`{}` is a symbolic link; name the file itself", plain(path));
            Err(Refused::new(Invalid::WrongKind, detail))
        }
        Ok(stat) => Ok((place.real, kind(&stat) == FileType::Directory)),
        Err(_) => Ok((place.real, false)),
    }
}
