//! Which system calls there are. A list of what is allowed: a call that this list does not know does
//! not exist (`ENOSYS`), one that it knows to lead out is refused (`EPERM`), and a call in another
//! machine's numbers ends the process.
use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::helper::{Step, step};

/// With the kernel's own number for it: `AUDIT_ARCH_*` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const ARCH: (TargetArch, u32) = (TargetArch::x86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: (TargetArch, u32) = (TargetArch::aarch64, 0xc000_00b7);
/// Where the kernel shows a filter the number and the machine: `struct seccomp_data` of `linux/seccomp.h`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calls {
    Command,
    /// It reaches one port of a network of its own.
    CommandWithExit,
    /// It stays, and rests in between.
    Server,
    /// Nothing but these and Landlock is between it and the machine.
    User,
}

/// One filter: what it says of a number, and behind that what it says of the words of some. The kernel takes as long to
/// set a filter as some thousand of its instructions to pass.
pub struct Filter {
    calls: Calls,
    program: BpfProgram,
}

impl Filter {
    pub fn of(calls: Calls) -> Step<Self> {
        let rules = rules(calls).map_err(step("system calls"))?;
        let mut program = by_number(calls, &rules)?;
        let no = SeccompAction::Errno(errno(libc::EPERM));
        let by_words = SeccompFilter::new(rules, SeccompAction::Allow, no, ARCH.0).and_then(BpfProgram::try_from);
        program.extend(by_words.map_err(step("system calls"))?);
        Ok(Self { calls, program })
    }

    /// This one, or that of other calls.
    pub fn or(self, calls: Calls) -> Step<Self> {
        if self.calls == calls { Ok(self) } else { Self::of(calls) }
    }

    pub fn apply(&self) -> Step<()> {
        apply_filter(&self.program).map_err(step("system calls"))
    }
}

/// What is answered to the number of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Allow,
    /// It depends on its words.
    Words,
    /// Refused with `EPERM`, which programs take for an answer.
    No,
    /// Lets a C library fall back to an older call.
    Absent,
    Kill,
}

impl Answer {
    /// `None`: what stands behind the numbers says it.
    fn code(self) -> Option<u32> {
        match self {
            Self::Allow => Some(libc::SECCOMP_RET_ALLOW),
            Self::Words => None,
            Self::No => Some(libc::SECCOMP_RET_ERRNO | errno(libc::EPERM)),
            Self::Absent => Some(libc::SECCOMP_RET_ERRNO | errno(libc::ENOSYS)),
            Self::Kill => Some(libc::SECCOMP_RET_KILL_PROCESS),
        }
    }
}

/// The numbers of x32, which pass for those of the machine itself. On other machines there are none as large.
const X32_BIT: u32 = 0x4000_0000;

/// A tree of comparisons over the spans of numbers that have one answer: the kernel walks it once for every number
/// when a filter is set, so that a list would cost each command more than its own start.
fn by_number(calls: Calls, rules: &Rules) -> Step<BpfProgram> {
    let mut answers: BTreeMap<u32, Answer> = BTreeMap::new();
    let mut answer = |numbers: &[i64], answer| {
        answers.extend(numbers.iter().filter_map(|number| u32::try_from(*number).ok()).map(|number| (number, answer)));
    };
    answer(ALLOWED, Answer::Allow);
    answer(OLDER, Answer::Allow);
    answer(REFUSED, Answer::No);
    match calls {
        Calls::Command => {}
        // Which sockets, is for its words to say.
        Calls::CommandWithExit => answer(&[libc::SYS_connect, libc::SYS_socket], Answer::Allow),
        // Programs that look for them find the older ways, whose signals wake nobody.
        Calls::Server => answer(WAKING, Answer::Absent),
        Calls::User => answer(SHARED, Answer::No),
    }
    for (number, answer) in &mut answers {
        if *answer == Answer::Allow && rules.contains_key(&i64::from(*number)) {
            *answer = Answer::Words;
        }
    }
    let mut spans = vec![(0, Answer::Absent)];
    let mut begin = |number: u32, answer: Answer| {
        if spans.last().is_none_or(|(_, last)| *last != answer) {
            spans.push((number, answer));
        }
    };
    let mut next = 0;
    for (number, answer) in answers {
        if number > next {
            begin(next, Answer::Absent);
        }
        begin(number, answer);
        next = number.saturating_add(1);
    }
    begin(next, Answer::Absent);
    begin(X32_BIT, Answer::Kill);
    let code = narrow(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS)?;
    let load = |k| sock_filter { code, jt: 0, jf: 0, k };
    let is_own = sock_filter { code: narrow(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K)?, jt: 1, jf: 0, k: ARCH.1 };
    let begin = [load(ARCH_AT), is_own, leaf(Answer::Kill)?, load(NUMBER_AT)];
    let mut program: BpfProgram = begin.into_iter().chain(tree(&spans)?).collect();
    let end = program.len();
    let onward = narrow(JUMP)?;
    for (at, jump) in program.iter_mut().enumerate().filter(|(_, found)| found.code == onward) {
        jump.k = u32::try_from(end.saturating_sub(at + 1)).map_err(step("system calls"))?;
    }
    Ok(program)
}

/// To what stands behind the numbers.
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;

fn leaf(answer: Answer) -> Step<sock_filter> {
    Ok(match answer.code() {
        Some(k) => sock_filter { code: narrow(libc::BPF_RET | libc::BPF_K)?, jt: 0, jf: 0, k },
        None => sock_filter { code: narrow(JUMP)?, jt: 0, jf: 0, k: 0 },
    })
}

/// Of spans by their first numbers, in order: half of them lie behind each comparison.
fn tree(spans: &[(u32, Answer)]) -> Step<BpfProgram> {
    let (before, after) = spans.split_at(spans.len() / 2);
    let (Some(_), Some((first, _))) = (before.first(), after.first()) else {
        return Ok(vec![leaf(spans.first().map_or(Answer::Kill, |(_, answer)| *answer))?]);
    };
    let (before, after) = (tree(before)?, tree(after)?);
    let over = u8::try_from(before.len()).map_err(step("system calls"))?;
    let code = narrow(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K)?;
    let compare = sock_filter { code, jt: over, jf: 0, k: *first };
    Ok(std::iter::once(compare).chain(before).chain(after).collect())
}

fn narrow(code: u32) -> Step<u16> {
    u16::try_from(code).map_err(step("system calls"))
}

/// By these a process sends itself any signal at a later time, the one that ends its rest too.
const WAKING: &[i64] = &[libc::SYS_timer_create, libc::SYS_mq_notify];

/// Of what stays and rests: that anything but an order wakes it. The signals that tell of input, of a child's
/// end and of a parent's are its own to choose otherwise.
fn no_waking(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    // As `asm-generic/fcntl.h` has them.
    const F_SETSIG: i32 = 10;
    const F_NOTIFY: i32 = 1026;
    rules.insert(libc::SYS_fcntl, any([F_SETSIG, F_NOTIFY].map(|command| when(1, Is::Eq, command)))?);
    let continues = SeccompRule::new(vec![when(0, Is::MaskedEq(0xff), libc::SIGCONT)?])?;
    rules.entry(libc::SYS_clone).or_default().push(continues);
    let orphaned = vec![when(0, Is::Eq, libc::PR_SET_PDEATHSIG)?, when(1, Is::Eq, libc::SIGCONT)?];
    rules.insert(libc::SYS_prctl, vec![SeccompRule::new(orphaned)?]);
    Ok(())
}

/// Calls that are one thing with these words and another with those: the words that are refused.
fn rules(calls: Calls) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::from([(libc::SYS_clone, namespaces()?)]);
    // Only pairs that know nobody else: a datagram socket can be sent elsewhere.
    let kinds = [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_DCCP];
    let mut pairs = any(kinds.map(|kind| when(1, Is::MaskedEq(0xf), kind)))?;
    pairs.push(SeccompRule::new(vec![when(0, Is::Ne, libc::AF_UNIX)?])?);
    rules.insert(libc::SYS_socketpair, pairs);
    // Typing into the terminal of somebody else.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD];
    rules.insert(libc::SYS_ioctl, any(typing.map(|request| when(1, Is::Eq, request)))?);
    // Another machine's ways; to ask for the present one is all ones.
    let other = SeccompRule::new(vec![when(0, Is::Ne, 0u32)?, when(0, Is::Ne, u32::MAX)?])?;
    rules.insert(libc::SYS_personality, vec![other]);
    match calls {
        Calls::Command => {}
        Calls::CommandWithExit => drop(rules.insert(libc::SYS_socket, all_but_tcp()?)),
        Calls::Server => no_waking(&mut rules)?,
        Calls::User => only_itself(&mut rules)?,
    }
    Ok(rules)
}

/// What a command with a way out does not need to take it.
fn all_but_tcp() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    // Of old, another way to write another family.
    const PACKET: i32 = 10;
    let family = vec![when(0, Is::Ne, libc::AF_INET)?, when(0, Is::Ne, libc::AF_INET6)?];
    let protocol = vec![when(2, Is::Ne, libc::IPPROTO_IP)?, when(2, Is::Ne, libc::IPPROTO_TCP)?];
    let kinds = [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, libc::SOCK_DCCP, PACKET];
    let mut rules = any(kinds.map(|kind| when(1, Is::MaskedEq(0xf), kind)))?;
    rules.extend([SeccompRule::new(family)?, SeccompRule::new(protocol)?]);
    Ok(rules)
}

/// Of what has other processes beside it: it looks to itself, and its pairs of sockets are pipes.
fn only_itself(rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    for number in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(number, vec![SeccompRule::new(vec![when(0, Is::Ne, 0u32)?])?]);
    }
    let other = SeccompRule::new(vec![when(1, Is::MaskedEq(0xf), libc::SOCK_SEQPACKET)?])?;
    rules.entry(libc::SYS_socketpair).or_default().push(other);
    Ok(())
}

fn namespaces() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let flags = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    any(flags.map(|flag| when(0, Is::MaskedEq(u64::from(flag.cast_unsigned())), flag)))
}

type Condition = Result<SeccompCondition, seccompiler::BackendError>;

/// The kernel reads the low half of these arguments only; so does the filter.
fn when(argument: u8, is: Is, value: impl TryInto<u64>) -> Condition {
    SeccompCondition::new(argument, Width::Dword, is, value.try_into().unwrap_or(u64::MAX))
}

fn any<const N: usize>(conditions: [Condition; N]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    conditions.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect()
}

fn errno(code: i32) -> u32 {
    code.cast_unsigned()
}

/// Known, and leading out or into parts of the kernel that no command needs.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    // Namespaces, mounts, roots
    libc::SYS_chroot, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fsopen, libc::SYS_fspick, libc::SYS_mount,
    libc::SYS_mount_setattr, libc::SYS_move_mount, libc::SYS_open_tree, libc::SYS_pivot_root, libc::SYS_setns,
    libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_umount2, libc::SYS_unshare,
    // The network: there is none
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_connect, libc::SYS_listen, libc::SYS_socket,
    // Other processes
    libc::SYS_kcmp, libc::SYS_migrate_pages, libc::SYS_move_pages, libc::SYS_pidfd_getfd, libc::SYS_process_madvise,
    libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_ptrace,
    // Files by another way than their name
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark, libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    // Large parts of the kernel
    libc::SYS_add_key, libc::SYS_bpf, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup,
    libc::SYS_keyctl, libc::SYS_perf_event_open, libc::SYS_request_key, libc::SYS_userfaultfd,
    // The machine
    libc::SYS_acct, libc::SYS_adjtimex, libc::SYS_clock_adjtime, libc::SYS_clock_settime, libc::SYS_delete_module,
    libc::SYS_finit_module, libc::SYS_init_module, libc::SYS_kexec_load, libc::SYS_reboot, libc::SYS_settimeofday,
    libc::SYS_swapoff, libc::SYS_swapon, libc::SYS_syslog, libc::SYS_vhangup,
    libc::SYS_seccomp,
];

/// Of the whole machine where there is no namespace for them: messages and semaphores that outlive their maker,
/// and word of what others do with files that may be seen.
#[rustfmt::skip]
const SHARED: &[i64] = &[
    libc::SYS_inotify_add_watch, libc::SYS_inotify_init1, libc::SYS_mq_getsetattr, libc::SYS_mq_notify,
    libc::SYS_mq_open, libc::SYS_mq_timedreceive, libc::SYS_mq_timedsend, libc::SYS_mq_unlink, libc::SYS_msgctl,
    libc::SYS_msgget, libc::SYS_msgrcv, libc::SYS_msgsnd, libc::SYS_semctl, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_semtimedop,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
];

/// What programs are made of. `clone3` is not here: its flags lie in memory, where no filter sees them;
/// nor is memory that no process has (`memfd_create`, `shmget`): nobody would count it.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Files
    libc::SYS_chdir, libc::SYS_close, libc::SYS_close_range, libc::SYS_copy_file_range, libc::SYS_dup, libc::SYS_dup3,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_fadvise64, libc::SYS_fallocate, libc::SYS_fchdir,
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchmodat2, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_fcntl,
    libc::SYS_fdatasync, libc::SYS_fgetxattr, libc::SYS_flistxattr, libc::SYS_flock, libc::SYS_fremovexattr,
    libc::SYS_fsetxattr, libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fsync, libc::SYS_ftruncate, libc::SYS_getcwd,
    libc::SYS_getdents64, libc::SYS_getxattr, libc::SYS_inotify_add_watch, libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch, libc::SYS_ioctl, libc::SYS_lgetxattr, libc::SYS_linkat, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_lremovexattr, libc::SYS_lseek, libc::SYS_lsetxattr, libc::SYS_mkdirat,
    libc::SYS_mknodat, libc::SYS_newfstatat, libc::SYS_openat, libc::SYS_openat2, libc::SYS_pread64, libc::SYS_preadv,
    libc::SYS_preadv2, libc::SYS_pwrite64, libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_read, libc::SYS_readahead,
    libc::SYS_readlinkat, libc::SYS_readv, libc::SYS_removexattr, libc::SYS_renameat, libc::SYS_renameat2,
    libc::SYS_sendfile, libc::SYS_setxattr, libc::SYS_splice, libc::SYS_statfs, libc::SYS_statx, libc::SYS_symlinkat,
    libc::SYS_sync, libc::SYS_sync_file_range, libc::SYS_syncfs, libc::SYS_tee, libc::SYS_truncate, libc::SYS_umask,
    libc::SYS_unlinkat, libc::SYS_utimensat, libc::SYS_vmsplice, libc::SYS_write, libc::SYS_writev,
    // Memory
    libc::SYS_brk, libc::SYS_get_mempolicy, libc::SYS_madvise, libc::SYS_mbind, libc::SYS_membarrier, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_mlockall, libc::SYS_mmap,
    libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_msync, libc::SYS_munlock, libc::SYS_munlockall, libc::SYS_munmap,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect, libc::SYS_set_mempolicy,
    // Processes, threads, signals
    libc::SYS_capget, libc::SYS_capset, libc::SYS_clone, libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_futex, libc::SYS_get_robust_list, libc::SYS_getcpu, libc::SYS_getegid,
    libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getgroups, libc::SYS_getpgid, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_getpriority, libc::SYS_getresgid, libc::SYS_getresuid, libc::SYS_getrusage, libc::SYS_getsid,
    libc::SYS_gettid, libc::SYS_getuid, libc::SYS_ioprio_get, libc::SYS_ioprio_set, libc::SYS_kill, libc::SYS_personality,
    libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_prctl, libc::SYS_prlimit64, libc::SYS_getrlimit,
    libc::SYS_setrlimit, libc::SYS_restart_syscall, libc::SYS_rseq, libc::SYS_rt_sigaction, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_sched_getaffinity, libc::SYS_sched_getattr, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_rr_get_interval, libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler, libc::SYS_sched_yield,
    libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_setfsgid, libc::SYS_setfsuid, libc::SYS_setgid,
    libc::SYS_setgroups, libc::SYS_setpgid, libc::SYS_setpriority, libc::SYS_setregid, libc::SYS_setresgid,
    libc::SYS_setresuid, libc::SYS_setreuid, libc::SYS_setsid, libc::SYS_setuid, libc::SYS_sigaltstack, libc::SYS_tgkill,
    libc::SYS_tkill, libc::SYS_wait4, libc::SYS_waitid,
    // Time and waiting
    libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_getitimer,
    libc::SYS_gettimeofday, libc::SYS_nanosleep, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_setitimer,
    libc::SYS_signalfd4, libc::SYS_timer_create, libc::SYS_timer_delete, libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime, libc::SYS_timer_settime, libc::SYS_timerfd_create, libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime, libc::SYS_times,
    // Between the command's own processes
    libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_mq_getsetattr, libc::SYS_mq_notify,
    libc::SYS_mq_open, libc::SYS_mq_timedreceive, libc::SYS_mq_timedsend, libc::SYS_mq_unlink, libc::SYS_msgctl,
    libc::SYS_msgget, libc::SYS_msgrcv, libc::SYS_msgsnd, libc::SYS_pipe2, libc::SYS_recvfrom, libc::SYS_recvmmsg,
    libc::SYS_recvmsg, libc::SYS_semctl, libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_sendmmsg,
    libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_setsockopt, libc::SYS_shutdown, libc::SYS_socketpair,
    // Of the system itself
    libc::SYS_getrandom, libc::SYS_sysinfo, libc::SYS_uname,
];

/// The same in the older forms that this machine still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[i64] = &[
    libc::SYS_access, libc::SYS_alarm, libc::SYS_arch_prctl, libc::SYS_chmod, libc::SYS_chown, libc::SYS_creat,
    libc::SYS_dup2, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_fork,
    libc::SYS_futimesat, libc::SYS_getdents, libc::SYS_getpgrp, libc::SYS_inotify_init, libc::SYS_lchown,
    libc::SYS_link, libc::SYS_lstat, libc::SYS_mkdir, libc::SYS_mknod, libc::SYS_open, libc::SYS_pause, libc::SYS_pipe,
    libc::SYS_poll, libc::SYS_readlink, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_select, libc::SYS_signalfd,
    libc::SYS_stat, libc::SYS_symlink, libc::SYS_time, libc::SYS_unlink, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel reads such a tree, behind the look at the machine. `None`: its words are looked at.
    fn answered(program: &BpfProgram, number: u32) -> Option<u32> {
        let mut at = 4;
        loop {
            let is_behind = number >= program[at].k;
            match u32::from(program[at].code) {
                libc::BPF_RET => return Some(program[at].k),
                JUMP => {
                    assert_eq!(at + 1 + program[at].k as usize, program.len());
                    return None;
                }
                _ if is_behind => at += usize::from(program[at].jt) + 1,
                _ => at += 1,
            }
        }
    }

    #[test]
    fn every_number_has_its_answer() {
        for calls in [Calls::Command, Calls::CommandWithExit, Calls::Server, Calls::User] {
            let rules = rules(calls).unwrap();
            let program = by_number(calls, &rules).unwrap();
            // The kernel looks at each of its numbers when this is set, by a path through these.
            assert!(program.len() < 256, "{} instructions", program.len());
            for number in (0..2_000).chain([X32_BIT - 1, X32_BIT, X32_BIT + 1, u32::MAX]) {
                let of = |list: &[i64]| list.contains(&i64::from(number));
                let has_way = calls == Calls::CommandWithExit && of(&[libc::SYS_connect, libc::SYS_socket]);
                let expected = match () {
                    () if number >= X32_BIT => Answer::Kill,
                    () if calls == Calls::Server && of(WAKING) => Answer::Absent,
                    () if calls == Calls::User && of(SHARED) => Answer::No,
                    () if (has_way || of(ALLOWED)) && rules.contains_key(&i64::from(number)) => Answer::Words,
                    () if has_way || of(ALLOWED) || of(OLDER) => Answer::Allow,
                    () if of(REFUSED) => Answer::No,
                    () => Answer::Absent,
                };
                assert_eq!(answered(&program, number), expected.code(), "{number} {calls:?}");
            }
            // Whatever has words is asked for them, or refused without.
            let open = |number: &i64| answered(&program, u32::try_from(*number).unwrap()) == Answer::Allow.code();
            assert!(!rules.keys().any(open), "{calls:?}");
        }
    }
}
