//! The granted directories, held open from the start: a path is looked for beneath their
//! descriptors, so that renaming or linking around them changes nothing.
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_kernel::facts::{Access, Invalid};
use backstay_kernel::rule::{Test, is_under};
use backstay_sandbox::Reach;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use crate::command::Commands;
use crate::declared::Declared;
use crate::fetch::Hosts;
use crate::limits;
use crate::open::{Links, NO_OPENAT2, beneath, real_path, refused};
use crate::own::Own;
use crate::prepare::Refused;
use crate::serve::Serving;
use crate::text::plain;

/// Why the granted directories cannot be held open; nothing runs without them.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("{}", NO_OPENAT2)]
    NoOpenat2,
    #[error("the granted directory `{}` is not an absolute path", .0.display())]
    NotAbsolute(PathBuf),
    #[error("the granted directory `{}` has a path that is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    #[error("the granted directory `{}` cannot be opened: {why}", .path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("the granted directory `{}` is a file, or is reached by a link", .0.display())]
    Replaced(PathBuf),
}

/// What one agent may reach, as open descriptors.
#[derive(Debug)]
pub struct Roots {
    /// Where relative paths begin; real.
    workspace: String,
    read: Vec<Root>,
    write: Vec<Root>,
    /// Granted paths at which no directory is any more.
    void: Vec<PathBuf>,
    hidden: Vec<Test>,
    /// How commands are run; absent where no grant asks for any.
    commands: Option<Commands>,
    /// Tools that are not built in, of those that are granted.
    declared: Vec<Arc<Declared>>,
    /// Where requests may go; absent where no grant names a host.
    hosts: Option<Hosts>,
    /// What calls tools of servers; absent where none is granted.
    serving: Option<Serving>,
    /// Whose own files no grant covers.
    home: Option<OwnedFd>,
}

#[derive(Debug)]
pub struct Root {
    real: String,
    pub dir: OwnedFd,
}

/// A place beneath a granted directory, by name only; opening decides.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub root: &'a Root,
    /// Components below the root; empty for the root itself.
    pub below: Vec<String>,
}

impl Roots {
    /// Opens the directories, and makes those that are missing. No link is followed to one that is granted: where
    /// another agent may write, it could have put it there, and the same of a file. Such a grant is void.
    ///
    /// # Errors
    /// The first directory that cannot be used, and why.
    pub fn open(workspace: &Path, read: &[PathBuf], write: &[PathBuf]) -> Result<Self, RootsError> {
        let mut void = Vec::new();
        let mut all = |dirs: &[PathBuf]| -> Result<Vec<Root>, RootsError> {
            let mut roots = Vec::new();
            for dir in dirs {
                match Root::open(dir, granted) {
                    Err(RootsError::Replaced(path)) => void.push(path),
                    root => roots.push(root?),
                }
            }
            Ok(roots)
        };
        Ok(Self {
            workspace: Root::open(workspace, anywhere)?.real,
            read: all(read)?,
            write: all(write)?,
            void,
            hidden: Vec::new(),
            commands: None,
            declared: Vec::new(),
            hosts: None,
            serving: None,
            home: None,
        })
    }

    /// Granted paths at which a link or a file is, so that nothing is granted there.
    #[must_use]
    pub fn void(&self) -> &[PathBuf] {
        &self.void
    }

    /// Keeps a search out of every real path that one of `tests` holds for. The gate judges the
    /// directory that a search begins at; what lies below it and is denied, or asked about, by a
    /// rule of its own must not be found by the way.
    #[must_use]
    pub fn hiding(mut self, tests: Vec<Test>) -> Self {
        self.hidden = tests;
        self
    }

    /// Lets commands run, in this sandbox and with these programs.
    #[must_use]
    pub fn commanding(mut self, commands: Commands) -> Self {
        self.commands = Some(commands);
        self
    }

    /// Lets these tools be called, beside the built-in ones.
    #[must_use]
    pub fn declaring(mut self, declared: Vec<Arc<Declared>>) -> Self {
        self.declared = declared;
        self
    }

    /// Lets tools of servers be called.
    #[must_use]
    pub fn serving_by(mut self, serving: Serving) -> Self {
        self.serving = Some(serving);
        self
    }

    pub fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    pub fn all_declared(&self) -> impl Iterator<Item = &Declared> {
        self.declared.iter().map(Arc::as_ref)
    }

    pub fn declared(&self, tool: &str) -> Option<&Declared> {
        self.declared.iter().find(|declared| declared.manifest().name == tool).map(Arc::as_ref)
    }

    /// Lets requests go to granted hosts.
    #[must_use]
    pub fn reaching(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    pub fn hosts(&self) -> Option<&Hosts> {
        self.hosts.as_ref()
    }

    pub fn commands(&self) -> Option<&Commands> {
        self.commands.as_ref()
    }

    /// What a command may reach: the granted directories, by their real paths.
    pub fn reach(&self) -> Reach {
        let of = |access| self.of(access).iter().map(|root| root.real.clone()).collect();
        Reach { read: of(Access::Read), write: of(Access::Write) }
    }

    /// Keeps every call from the files of `home`, whatever name leads to them.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn guarding(mut self, home: &Path) -> Result<Self, RootsError> {
        let dir = beneath(Root::open(home, anywhere)?.dir, ".", OFlags::DIRECTORY, Links::Refuse);
        self.home = Some(dir.map_err(|e| RootsError::Unusable { path: home.to_owned(), why: e.to_string() })?);
        Ok(self)
    }

    /// What no grant covers, as it is now. A home that cannot be read denies everything.
    pub fn own(&self) -> Result<Own, Refused> {
        let Some(home) = &self.home else { return Ok(Own::default()) };
        Own::of(home, &self.workspace).map_err(|errno| {
            Refused::new(Invalid::Unreadable, format!("the home cannot be looked at, so nothing is opened: {errno}"))
        })
    }

    #[cfg(test)]
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The real paths of the granted directories, as a policy's grants name them.
    #[cfg(test)]
    pub fn granted(&self, access: Access) -> Vec<String> {
        self.of(access).iter().map(|root| root.real.clone()).collect()
    }

    #[must_use]
    pub fn hides(&self, real: &str) -> bool {
        self.hidden.iter().any(|test| test.holds(real))
    }

    /// How a real path is shown to the model: as it would name it.
    pub fn shown(&self, real: &str) -> String {
        let inside = if is_under(real, &self.workspace) {
            real.strip_prefix(self.workspace.as_str()).map(|rest| rest.trim_start_matches('/'))
        } else {
            None
        };
        match inside {
            Some("") => ".".to_owned(),
            Some(rest) => plain(rest),
            None => plain(real),
        }
    }

    /// The granted directories that `path` could lie in, the innermost first.
    pub fn candidates(&self, access: Access, path: &str) -> Result<Vec<Candidate<'_>>, Refused> {
        let absolute = self.absolute(path)?;
        let mut found: Vec<Candidate<'_>> =
            self.of(access).iter().filter_map(|root| root.candidate(&absolute)).collect();
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.root.real.len()));
        if found.is_empty() {
            return Err(self.outside(access, path));
        }
        Ok(found)
    }

    /// Opens `path` for reading; the answer is its handle and its real path.
    pub fn open_read(&self, path: &str, kind: OFlags) -> Result<(OwnedFd, String), Refused> {
        self.opened(path, kind, Links::Follow)
    }

    /// Opens what has this real path: nothing is there where a link leads elsewhere.
    pub fn open_real(&self, real: &str, kind: OFlags) -> Result<OwnedFd, Refused> {
        let (fd, now) = self.opened(real, kind, Links::Refuse)?;
        is_itself(real, &now)?;
        Ok(fd)
    }

    fn opened(&self, path: &str, kind: OFlags, links: Links) -> Result<(OwnedFd, String), Refused> {
        let mut last = None;
        for candidate in self.candidates(Access::Read, path)? {
            match beneath(&candidate.root.dir, &candidate.joined(), kind, links) {
                // Out of this root may still be inside a wider one.
                Err(Errno::XDEV) => last = Some(refused(Errno::XDEV, path)),
                Err(errno) => return Err(refused(errno, path)),
                Ok(fd) => {
                    self.own()?.refuse(&fd, path)?;
                    let real = real_path(&fd)?;
                    self.check_under(Access::Read, path, &real)?;
                    return Ok((fd, real));
                }
            }
        }
        Err(last.unwrap_or_else(|| self.outside(Access::Read, path)))
    }

    /// A second look, at the path that the operating system gave: a directory that was moved out
    /// after it was opened is outside.
    pub fn check_under(&self, access: Access, path: &str, real: &str) -> Result<(), Refused> {
        if self.of(access).iter().any(|root| is_under(real, &root.real)) {
            return Ok(());
        }
        Err(self.outside(access, path))
    }

    fn of(&self, access: Access) -> &[Root] {
        match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        }
    }

    fn absolute(&self, path: &str) -> Result<Vec<String>, Refused> {
        let no = |what: &str| Err(Refused::new(Invalid::OutsideGrants, what));
        if path.is_empty() {
            return no("the path is empty");
        }
        if path.len() > limits::PATH_BYTES_MAX {
            return no("the path is too long");
        }
        if path.contains('\0') {
            return no("the path holds a NUL character");
        }
        let from = if path.starts_with('/') { "" } else { self.workspace.as_str() };
        let parts: Vec<String> = components(from).chain(components(path)).collect();
        if parts.iter().any(|part| part == "..") {
            return no("`..` is not taken in a path: name the file from the workspace");
        }
        if parts.len() > limits::PATH_COMPONENTS_MAX {
            return no("the path has too many components");
        }
        Ok(parts)
    }

    pub fn outside(&self, access: Access, path: &str) -> Refused {
        let granted: Vec<String> = self.of(access).iter().map(|root| self.shown(&root.real)).collect();
        let (verb, path) = (verb(access), plain(path));
        let detail = if granted.is_empty() {
            format!("`{path}`: no directory is granted for {verb}")
        } else {
            let granted = granted.join("`, `");
            format!("`{path}` is outside the directories granted for {verb}: `{granted}`")
        };
        Refused::new(Invalid::OutsideGrants, detail)
    }
}

impl Root {
    fn open(path: &Path, directory: impl Fn(&Path) -> Result<OwnedFd, Errno>) -> Result<Self, RootsError> {
        let unusable = |why: String| RootsError::Unusable { path: path.to_owned(), why };
        if !path.is_absolute() {
            return Err(RootsError::NotAbsolute(path.to_owned()));
        }
        let dir = match directory(path) {
            Ok(dir) => dir,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(RootsError::Replaced(path.to_owned())),
            Err(Errno::NOSYS) => return Err(RootsError::NoOpenat2),
            Err(errno) => return Err(unusable(errno.to_string())),
        };
        match beneath(&dir, ".", OFlags::DIRECTORY, Links::Refuse) {
            Ok(_) => {}
            Err(Errno::NOSYS) => return Err(RootsError::NoOpenat2),
            Err(errno) => return Err(unusable(errno.to_string())),
        }
        let real = real_path(&dir).map_err(|refused| unusable(refused.detail))?;
        Ok(Self { real, dir })
    }

    fn candidate(&self, path: &[String]) -> Option<Candidate<'_>> {
        let root: Vec<String> = components(&self.real).collect();
        let below = path.strip_prefix(root.as_slice())?;
        Some(Candidate { root: self, below: below.to_vec() })
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where the operator has put the home, links and all.
fn anywhere(path: &Path) -> Result<OwnedFd, Errno> {
    std::fs::create_dir_all(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

/// This very directory, made where it is missing.
fn granted(path: &Path) -> Result<OwnedFd, Errno> {
    let open = |at: BorrowedFd<'_>, path: &Path| openat2(at, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let (above, name) = match (open(CWD, path), path.parent(), path.file_name()) {
        (Err(Errno::NOENT), Some(above), Some(name)) => (granted(above)?, Path::new(name)),
        (found, ..) => return found,
    };
    match mkdirat(&above, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => open(above.as_fd(), name),
        Err(errno) => Err(errno),
    }
}

impl Candidate<'_> {
    /// As `openat2` takes it.
    pub fn joined(&self) -> String {
        joined(&self.below)
    }
}

/// What was judged by its path is at that path.
pub fn is_itself(path: &str, real: &str) -> Result<(), Refused> {
    if path == real {
        return Ok(());
    }
    let detail = format!(
        "`{}` leads over a symbolic link, which is not followed there: put the files themselves in its place",
        plain(path)
    );
    Err(Refused::new(Invalid::OutsideGrants, detail))
}

fn components(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

pub fn joined(parts: &[String]) -> String {
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reading",
        Access::Write => "writing",
    }
}
