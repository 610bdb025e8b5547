//! Opening beneath a directory's descriptor, and asking the operating system what was opened.
//!
//! Names decide nothing here: `openat2` walks, refuses every way out of the directory, and the real
//! path is read back from the descriptor that the call goes on to use.
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use backstay_kernel::facts::Invalid;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;

use crate::limits;
use crate::prepare::Refused;
use crate::text::plain;

/// Nothing may block, become a terminal, or leak into a child.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Whether a relative symbolic link that stays beneath the directory is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    Follow,
    Refuse,
}

pub fn beneath(dir: impl AsFd, path: &str, kind: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..limits::OPEN_TRIES_MAX {
        match openat2(dir.as_fd(), path, READ | kind, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The path by which the operating system knows an open object.
pub fn real_path(fd: impl AsFd) -> Result<String, Refused> {
    let number = fd.as_fd().as_raw_fd();
    let path = std::fs::read_link(format!("/proc/self/fd/{number}")).map_err(|e| {
        let detail = format!("the real path cannot be read from /proc/self/fd: {e}");
        Refused::new(Invalid::Unreadable, detail)
    })?;
    path.into_os_string().into_string().map_err(|path| {
        let detail = format!("the real path `{}` is not UTF-8", plain(&path.to_string_lossy()));
        Refused::new(Invalid::OutsideGrants, detail)
    })
}

/// What was opened: a removed object has no path that could be judged.
pub fn stat(fd: impl AsFd, path: &str) -> Result<Stat, Refused> {
    let stat = fstat(fd.as_fd()).map_err(|e| refused(e, path))?;
    if stat.st_nlink == 0 {
        return Err(refused(Errno::NOENT, path));
    }
    Ok(stat)
}

pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Makes sure that `fd` is a regular file and no directory, FIFO, socket or device.
pub fn regular(fd: OwnedFd, path: &str) -> Result<(File, Stat), Refused> {
    let stat = stat(&fd, path)?;
    if kind(&stat) != FileType::RegularFile {
        let what = word(kind(&stat));
        let detail = format!("`{}` is {what}, not a regular file", plain(path));
        return Err(Refused::new(Invalid::WrongKind, detail));
    }
    Ok((File::from(fd), stat))
}

/// The whole of a file, which may grow while it is read.
pub fn contents(file: &mut File, path: &str) -> Result<Vec<u8>, Refused> {
    let limit = u64::try_from(limits::FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| Refused::new(Invalid::Unreadable, format!("`{}` cannot be read: {e}", plain(path))))?;
    if bytes.len() > limits::FILE_BYTES_MAX {
        let detail = format!("`{}` is larger than {limit} bytes", plain(path));
        return Err(Refused::new(Invalid::TooLarge, detail));
    }
    Ok(bytes)
}

/// What the operating system's "no" means to a call.
pub fn refused(errno: Errno, path: &str) -> Refused {
    let path = plain(path);
    let (why, detail) = match errno {
        Errno::NOENT => (Invalid::NotFound, format!("`{path}` is not there")),
        Errno::XDEV => (Invalid::OutsideGrants, format!("`{path}` leads out of the granted directory")),
        Errno::LOOP => (Invalid::OutsideGrants, format!("`{path}` has a symbolic link that is not followed")),
        Errno::NAMETOOLONG | Errno::INVAL => (Invalid::OutsideGrants, format!("`{path}` is no path: {errno}")),
        Errno::NOTDIR => (Invalid::WrongKind, format!("`{path}` is not a directory")),
        Errno::ISDIR => (Invalid::WrongKind, format!("`{path}` is a directory")),
        Errno::NXIO | Errno::NODEV => {
            (Invalid::WrongKind, format!("`{path}` is a socket or a device, not a regular file"))
        }
        Errno::NOSYS => (Invalid::Unreadable, NO_OPENAT2.to_owned()),
        other => (Invalid::Unreadable, format!("`{path}` cannot be opened: {other}")),
    };
    Refused::new(why, detail)
}

pub const NO_OPENAT2: &str = "this system has no openat2, without which no path is safe: Linux 5.6 or later is needed";

pub fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    }
}
