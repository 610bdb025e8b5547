//! The few system calls that no safe wrapper has. All `unsafe` of the sandbox is in this file; the
//! helper that calls it has one thread, from its first instruction to its end.
#![allow(unsafe_code)]
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

fn checked(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(result)
}

/// Every signal as it is at first, whatever the parent ignored.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no code of this process. Numbers that cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// `None` in the child.
pub fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: this process has one thread, so the child has no lock that nobody will open.
    let pid = checked(unsafe { libc::fork() }.into())?;
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

pub fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: no flag of ours is FILES, the one that can take descriptors from another thread.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }
}

/// Adds `set` (of `libc::MOUNT_ATTR_…`) to this mount.
pub fn restrict_mount(mount: BorrowedFd<'_>, set: u64) -> Result<(), Errno> {
    set_attributes(mount, 0, libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 })
}

/// The same of all that is mounted below it too. What is mounted there later, on the machine, is not seen.
pub fn restrict_tree(tree: BorrowedFd<'_>, set: u64) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    set_attributes(tree, libc::AT_RECURSIVE, attributes)
}

fn set_attributes(mount: BorrowedFd<'_>, flags: libc::c_int, attributes: libc::mount_attr) -> Result<(), Errno> {
    // SAFETY: the path is a literal with its NUL, the attributes outlive the call, the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(|_| ())
}

/// Turns on the interface by which the processes of a new network reach each other.
pub fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: i16::try_from(libc::IFF_UP).unwrap_or(1) },
    };
    for (at, letter) in request.ifr_name.iter_mut().zip(*b"lo") {
        *at = letter.cast_signed();
    }
    // SAFETY: the request is the one that this call reads, whole, and outlives it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    checked(result.into()).map(|_| ())
}

/// A signal to every process of this namespace but this one.
pub fn signal_all(signal: libc::c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed; in a namespace of its own, -1 reaches nobody outside of it.
    match checked(unsafe { libc::kill(-1, signal) }.into()) {
        Ok(_) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Closes every descriptor from `first` on, but for `kept`, which are in order.
pub fn close_but(first: u32, kept: &[u32]) -> Result<(), Errno> {
    let mut from = first;
    for to in kept.iter().map(|kept| kept.checked_sub(1)).chain([Some(u32::MAX)]) {
        if let Some(to) = to.filter(|to| from <= *to) {
            // SAFETY: whoever calls this owns no descriptor from `first` on, beside `kept`, that it will use or
            // close again: what follows is `exec`, or a loop that knows the ones below.
            checked(unsafe { libc::close_range(from, to, 0) }.into())?;
        }
        from = to.map_or(first, |to| to.saturating_add(2)).max(from);
    }
    Ok(())
}

/// Becomes the file that is open, and returns only with the reason why not.
pub fn exec(file: impl AsFd, argv: &[String], environment: &BTreeMap<String, String>) -> Errno {
    let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
    let words = |words: Vec<String>| words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let (Ok(argv), Ok(variables)) = (words(argv.to_vec()), words(variables.collect())) else { return Errno::INVAL };
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, pairs) = (pointers(&argv), pointers(&variables));
    // SAFETY: both lists end with a null pointer, and outlive the call with the texts that they point to, each with
    // its NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            words.as_ptr(),
            pairs.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    checked(result).err().unwrap_or(Errno::INVAL)
}

/// What the kernel says to one of [`REFUSED`] without arguments.
pub fn bare_call(number: libc::c_long) -> Option<Errno> {
    if !REFUSED.iter().chain(REFUSED_TO_A_USER).any(|(_, known)| *known == number) {
        return None;
    }
    // SAFETY: all arguments are zero, so the kernel is given no address of this process; and none of
    // these calls ends, copies or replaces the process.
    checked(unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) }).err()
}

/// Whether this number stands for an open file.
pub fn is_open(number: i32) -> bool {
    // SAFETY: no memory is passed, and nothing is changed.
    checked(unsafe { libc::fcntl(number, libc::F_GETFD) }.into()).is_ok()
}

/// The same of what is the whole machine's where there are no namespaces.
pub const REFUSED_TO_A_USER: &[(&str, libc::c_long)] = &[
    ("inotify_init1", libc::SYS_inotify_init1),
    ("mq_open", libc::SYS_mq_open),
    ("msgget", libc::SYS_msgget),
    ("semget", libc::SYS_semget),
];

/// Calls by which a process could reach out of a sandbox; each must be refused before its arguments
/// are looked at.
pub const REFUSED: &[(&str, libc::c_long)] = &[
    ("add_key", libc::SYS_add_key),
    ("bpf", libc::SYS_bpf),
    ("chroot", libc::SYS_chroot),
    ("fsopen", libc::SYS_fsopen),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("kexec_load", libc::SYS_kexec_load),
    ("keyctl", libc::SYS_keyctl),
    ("mount", libc::SYS_mount),
    ("move_mount", libc::SYS_move_mount),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("open_tree", libc::SYS_open_tree),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pivot_root", libc::SYS_pivot_root),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("ptrace", libc::SYS_ptrace),
    ("setns", libc::SYS_setns),
    ("socket", libc::SYS_socket),
    ("umount2", libc::SYS_umount2),
    ("unshare", libc::SYS_unshare),
    ("userfaultfd", libc::SYS_userfaultfd),
];
