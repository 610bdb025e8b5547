//! What is known of a command before it runs: the words that are run as they stand, the programs that they start,
//! and, of one that only reads and writes, the real paths that it names.
use std::collections::BTreeMap;

use backstay_kernel::facts::{Access, Facts, Invalid, PathFact};
use backstay_kernel::rule::is_under;
use backstay_kernel::tool::EffectClass;
use backstay_sandbox::{Joint, Reach, Redirect, Simple};
use backstay_shell::{Plain, Stream, Word};
use rustix::fs::{AtFlags, FileType, OFlags, statat};

use crate::open::kind;
use crate::prepare::Refused;
use crate::roots::Roots;
use crate::text::plain;

pub struct Known {
    /// Run in this order, without a shell.
    pub list: Vec<Simple>,
    /// Programs that are started to run it; what these start is held by what the sandbox holds.
    pub programs: Vec<String>,
    /// Each with its subcommand where it has one; absent where a shell starts them.
    pub commands: Option<Vec<String>>,
    /// Packages that its words name.
    pub packages: Vec<String>,
    /// As it names them, with the class of it all; absent where it executes.
    named: Option<Named>,
}

struct Named {
    class: EffectClass,
    /// With the place of its command in the list.
    paths: Vec<(usize, Access, String)>,
}

/// Programs whose writing brings no link to where nothing was: what they write can be judged beforehand.
const MAKE_NO_LINKS: [&str; 7] = ["mkdir", "touch", "tee", "rm", "rmdir", "chmod", "truncate"];

impl Known {
    /// Nothing is known: a shell reads it.
    pub fn shell(text: &str) -> Self {
        let sh = "sh".to_owned();
        let argv = vec![sh.clone(), "-c".to_owned(), text.to_owned()];
        Self { list: vec![Simple::alone(argv)], programs: vec![sh], commands: None, packages: Vec::new(), named: None }
    }

    /// Simple commands with all their words, whose programs are all granted. Those with globs still need a shell.
    pub fn of(plain: Plain, granted: &[String]) -> Option<Self> {
        if plain.commands.iter().any(|simple| simple.argv.iter().any(|word| word.is_glob)) {
            return None;
        }
        let class = plain.class();
        let (list, programs) = (Vec::new(), Vec::new());
        let mut known = Self { list, programs, commands: None, packages: Vec::new(), named: None };
        let (mut paths, mut commands) = (Vec::new(), Vec::new());
        for (place, simple) in plain.commands.into_iter().enumerate() {
            let facts = simple.facts;
            commands.extend(facts.commands());
            known.packages.extend(facts.packages);
            for program in facts.wrapper.into_iter().chain([facts.program]) {
                if !known.programs.contains(&program) {
                    known.programs.push(program);
                }
            }
            let of = |access, words: Vec<Word>| words.into_iter().map(move |word| (place, access, word.text));
            paths.extend(of(Access::Read, facts.reads).chain(of(Access::Write, facts.writes)));
            let argv = simple.argv.into_iter().map(|word| word.text).collect();
            let redirects = simple.redirects.into_iter().map(redirect).collect();
            let variables = simple.variables.into_iter().map(|set| (set.name, set.value)).collect();
            known.list.push(Simple { joint: joint(simple.joint), variables, argv, redirects });
        }
        let is_granted = |program: &String| granted.iter().any(|name| name == program || name == "*");
        if !known.programs.iter().all(is_granted) {
            return None;
        }
        commands.sort();
        commands.dedup();
        known.packages.sort();
        known.packages.dedup();
        known.commands = Some(commands);
        known.named = (class < EffectClass::Execute).then_some(Named { class, paths });
        Some(known)
    }

    /// What the gate is told, and what the sandbox leaves open: a command that only reads finds nothing that can
    /// be written, whatever it is. `None` where it executes, or where one of its paths has no real one: then it
    /// may touch anything. Redirections lead to the real paths from here on.
    pub fn facts(&mut self, roots: &Roots, cwd: &str) -> Option<(Facts, Reach)> {
        let mut found = BTreeMap::new();
        let mut real = |access, path: &String| {
            found.entry((access, path.clone())).or_insert_with(|| real(roots, cwd, access, path)).clone()
        };
        for (access, path) in self.list.iter_mut().flat_map(|simple| &mut simple.redirects).filter_map(target) {
            if let Some((real, _)) = real(access, path) {
                *path = real;
            }
        }
        let named = self.named.as_ref()?;
        let (mut paths, mut places, mut more_paths) = (Vec::new(), Vec::new(), false);
        for (place, access, path) in &named.paths {
            let (real, is_directory) = real(*access, path)?;
            more_paths |= is_directory && *access == Access::Write;
            places.push(*place);
            paths.push(PathFact::new(*access, real));
        }
        if self.moves_what_was_judged(&places, &paths) {
            return None;
        }
        let mut reach = roots.reach();
        reach.write.retain(|root| paths.iter().any(|fact| fact.access == Access::Write && is_under(&fact.real, root)));
        if self.list.len() > 1 && reach.write.len() > 1 {
            // A link in one of them may lead into another.
            return None;
        }
        if paths.is_empty() {
            paths.push(PathFact::new(Access::Read, cwd.to_owned()));
        }
        Some((Facts { more_paths, ..Facts::new(named.class, paths) }, reach))
    }
}

impl Known {
    /// A command before may put a link, or another file, where the path of one behind it leads: it was looked at
    /// before the first of them ran.
    fn moves_what_was_judged(&self, places: &[usize], paths: &[PathFact]) -> bool {
        let makes_links = |place: usize| {
            let program = self.list.get(place).and_then(|simple| simple.argv.first());
            program.is_none_or(|program| !MAKE_NO_LINKS.contains(&program.as_str()))
        };
        let is_target = |place: usize, path: &str| {
            let redirects = self.list.get(place).map(|simple| simple.redirects.as_slice()).unwrap_or_default();
            redirects.iter().any(|redirect| match redirect {
                Redirect::Output { path: target, .. } | Redirect::Errors { path: target, .. } => target == path,
                Redirect::Input(_) | Redirect::ErrorsToOutput => false,
            })
        };
        let all = || places.iter().zip(paths);
        let made = all().filter(|(place, fact)| {
            fact.access == Access::Write && makes_links(**place) && !is_target(**place, &fact.real)
        });
        // Those of one pipe run at the same time.
        let pipe = |place: usize| {
            self.list.iter().take(place.saturating_add(1)).filter(|simple| simple.joint != Joint::Pipe).count()
        };
        let may_follow = |place: usize, other: usize| place != other && pipe(other) >= pipe(place);
        made.into_iter().any(|(place, made)| {
            all().any(|(other, fact)| {
                may_follow(*place, *other) && (is_under(&fact.real, &made.real) || is_under(&made.real, &fact.real))
            })
        })
    }
}

fn joint(joint: backstay_shell::Joint) -> Joint {
    match joint {
        backstay_shell::Joint::First | backstay_shell::Joint::Then => Joint::Then,
        backstay_shell::Joint::And => Joint::And,
        backstay_shell::Joint::Or => Joint::Or,
        backstay_shell::Joint::Pipe => Joint::Pipe,
    }
}

fn redirect(redirect: backstay_shell::Redirect) -> Redirect {
    match redirect {
        backstay_shell::Redirect::Input(path) => Redirect::Input(path),
        backstay_shell::Redirect::Output { stream: Stream::Output, is_append, path } => {
            Redirect::Output { path, is_append }
        }
        backstay_shell::Redirect::Output { stream: Stream::Errors, is_append, path } => {
            Redirect::Errors { path, is_append }
        }
        backstay_shell::Redirect::ErrorsToOutput => Redirect::ErrorsToOutput,
    }
}

/// As it is granted, and whether it is a directory. What the sandbox undoes is not what the words say.
fn real(roots: &Roots, cwd: &str, access: Access, path: &str) -> Option<(String, bool)> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    match access {
        Access::Read => roots.open_read(&path, OFlags::empty()).ok().map(|(_, real)| (real, false)),
        Access::Write => written(roots, &path).ok().filter(|(real, _)| !backstay_sandbox::is_protected(real)),
    }
}

fn target(redirect: &mut Redirect) -> Option<(Access, &mut String)> {
    match redirect {
        Redirect::Input(path) => Some((Access::Read, path)),
        Redirect::Output { path, .. } | Redirect::Errors { path, .. } => Some((Access::Write, path)),
        Redirect::ErrorsToOutput => None,
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
