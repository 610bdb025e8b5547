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
use crate::profile::{Access, Bind, Profile};
use crate::{exit, raw, tree};

/// Where the new root is built: there on every system, and cut loose before it is covered.
const BUILT_AT: &str = "/usr";
/// The root itself, bytes: directories and links.
const ROOT_BYTES: u64 = 8 << 20;

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Makes it the only one, in a mount namespace that begins here: as the machine's mounts are now. `trees` are those of
/// the profile's binds, or none where they are to be cut loose here.
pub fn make(profile: &Profile, trees: Vec<OwnedFd>) -> Step<()> {
    raw::unshare(UnshareFlags::NEWNS).map_err(wall("mounts of its own"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(wall("mounts of its own"))?;
    let trees = if trees.is_empty() { profile.binds.iter().map(tree::cut).collect::<Step<_>>()? } else { trees };
    memory(BUILT_AT, ROOT_BYTES, "0755", PLAIN)?;
    std::env::set_current_dir(BUILT_AT).map_err(step("the new root"))?;
    let written = if profile.execute_written { PLAIN } else { PLAIN | MountFlags::NOEXEC };
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
    if let Some(certificates) = &profile.certificates {
        let at = inside(exit::CERTIFICATES);
        parents(&at)?;
        std::fs::write(&at, certificates).map_err(step(&at))?;
    }
    for (bind, tree) in profile.binds.iter().zip(trees) {
        hang(bind, &tree)?;
    }
    for (at, says) in &profile.links {
        let at = inside(at);
        parents(&at)?;
        symlink(says, &at).map_err(step(&at))?;
    }
    for path in &profile.masked {
        mask(&inside(path))?;
    }
    close()
}

fn hang(bind: &Bind, tree: &OwnedFd) -> Step<()> {
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

/// The new root becomes the root, read-only; the old one is gone.
fn close() -> Step<()> {
    let top = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let top = top.map_err(step("the new root"))?;
    raw::restrict_mount(top.as_fd(), libc::MOUNT_ATTR_RDONLY).map_err(wall("a read-only root"))?;
    sethostname(b"sandbox").map_err(wall("a name of its own"))?;
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
