//! The new root: an empty file system in memory in which only what was granted is hung up.
use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::pivot_root;
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use crate::helper::{Step, step, wall};
use crate::limits::{SHM_BYTES, TMP_BYTES, TMP_FILES_MAX};
use crate::profile::{Access, Base, Bind, Profile};
use crate::{exit, raw, tree};

/// Where the new root is built: there on every system, and nothing that is granted lies below it.
const BUILT_AT: &str = "/proc";
/// The root itself, bytes: directories and links.
const ROOT_BYTES: u64 = 8 << 20;

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// A root that still lacks what one command is granted.
pub struct Root {
    /// The machine's own is gone.
    is_alone: bool,
}

impl Root {
    /// Begins it, in a mount namespace that begins here. `trees` are those of its binds; without them they are cut loose
    /// here, and so are to be those of a command, for which the machine's root stays until then. What is no longer
    /// mounted there goes here as well.
    pub fn begin(base: &Base, trees: Option<Vec<OwnedFd>>) -> Step<Self> {
        raw::unshare(UnshareFlags::NEWNS).map_err(wall("mounts of its own"))?;
        propagate(MountPropagationFlags::DOWNSTREAM)?;
        let is_alone = trees.is_some();
        let trees = cut(&base.binds, trees)?;
        memory(BUILT_AT, ROOT_BYTES, "0755", PLAIN)?;
        std::env::set_current_dir(BUILT_AT).map_err(step("the new root"))?;
        let written = if base.execute_written { PLAIN } else { PLAIN | MountFlags::NOEXEC };
        for directory in ["proc", "tmp", "dev", "etc"] {
            directory_at(directory)?;
        }
        memory("tmp", TMP_BYTES, "1777", written)?;
        for directory in ["dev/pts", "dev/shm"] {
            directory_at(directory)?;
        }
        memory("dev/shm", SHM_BYTES, "1777", written)?;
        special("devpts", "dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, "newinstance,ptmxmode=0666,mode=0620")?;
        special("proc", "proc", PLAIN | MountFlags::NOEXEC | MountFlags::RDONLY, "")?;
        for (path, text) in [("etc/passwd", "agent:x:1000:1000::/tmp:/bin/sh\n"), ("etc/group", "agent:x:1000:\n")] {
            std::fs::write(path, text).map_err(step(path))?;
        }
        hang(&base.binds, &trees)?;
        for (at, says) in &base.links {
            let at = inside(at);
            parents(&at)?;
            symlink(says, &at).map_err(step(&at))?;
        }
        sethostname(b"sandbox").map_err(wall("a name of its own"))?;
        if is_alone {
            leave()?;
        }
        Ok(Self { is_alone })
    }

    /// Grants the rest; from then on it is the only root, and read-only.
    pub fn finish(self, profile: &Profile, trees: Option<Vec<OwnedFd>>) -> Step<()> {
        if !self.is_alone {
            propagate(MountPropagationFlags::PRIVATE)?;
        }
        let trees = cut(&profile.binds, trees)?;
        if let Some(certificates) = &profile.certificates {
            let at = inside(exit::CERTIFICATES);
            parents(&at)?;
            std::fs::write(&at, certificates).map_err(step(&at))?;
        }
        hang(&profile.binds, &trees)?;
        for path in &profile.masked {
            mask(&inside(path))?;
        }
        let top = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let top = top.map_err(step("the new root"))?;
        raw::restrict_mount(top.as_fd(), libc::MOUNT_ATTR_RDONLY).map_err(wall("a read-only root"))?;
        if self.is_alone { Ok(()) } else { leave() }
    }
}

fn propagate(how: MountPropagationFlags) -> Step<()> {
    mount_change("/", how | MountPropagationFlags::REC).map_err(wall("mounts of its own"))
}

fn cut(binds: &[Bind], trees: Option<Vec<OwnedFd>>) -> Step<Vec<OwnedFd>> {
    trees.map_or_else(|| binds.iter().map(tree::cut).collect(), Ok)
}

fn hang(binds: &[Bind], trees: &[OwnedFd]) -> Step<()> {
    binds.iter().zip(trees).try_for_each(|(bind, tree)| hang_one(bind, tree))
}

fn hang_one(bind: &Bind, tree: &OwnedFd) -> Step<()> {
    let at = inside(&bind.to);
    if tree::is_directory(tree).map_err(step(&at))? {
        directory_at(&at)?;
    } else {
        parents(&at)?;
        if !Path::new(&at).exists() {
            std::fs::write(&at, b"").map_err(step(&at))?;
        }
    }
    tree::hang(tree, &at).map_err(wall(&format!("granting {}", bind.from)))
}

/// Leads nowhere and shows nothing, whatever is beneath.
fn mask(at: &str) -> Step<()> {
    match std::fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => memory(at, 4096, "0000", PLAIN | MountFlags::NOEXEC | MountFlags::RDONLY),
        Ok(_) => {
            let (from, to) = ("dev/null".to_owned(), at.to_owned());
            let nothing = tree::cut(&Bind { from, to, access: Access::ReadOnly, execute: false })?;
            tree::hang(&nothing, at).map_err(step(&format!("hiding {at}")))
        }
        Err(error) => Err(format!("hiding {at}: {error}").into()),
    }
}

/// The new root becomes the root; the old one is gone.
fn leave() -> Step<()> {
    pivot_root(".", ".").map_err(wall("the new root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("leaving the old root"))?;
    rustix::process::chdir("/").map_err(step("the new root"))
}

fn memory(at: &str, bytes: u64, mode: &str, flags: MountFlags) -> Step<()> {
    special("tmpfs", at, flags, &format!("size={bytes},nr_inodes={TMP_FILES_MAX},mode={mode}"))
}

fn special(kind: &str, at: &str, flags: MountFlags, options: &str) -> Step<()> {
    let options = CString::new(options).map_err(step(at))?;
    mount(kind, at, kind, flags, options.as_c_str()).map_err(wall(&format!("{kind} at {at}")))
}

fn directory_at(path: &str) -> Step<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(step(path))
}

fn parents(path: &str) -> Step<()> {
    Path::new(path).parent().and_then(Path::to_str).filter(|parent| !parent.is_empty()).map_or(Ok(()), directory_at)
}

/// A path of the command's, as it is reached while the root is being built.
fn inside(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}
