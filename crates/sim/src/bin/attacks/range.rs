//! A shooting range: namespaces that go away with it, and a root in memory with everything in it that an attack is
//! after, all of it open to whoever stands there. Controls are run in one, and so is the product, so that neither a
//! control nor an attack that gets out of the sandbox can touch the machine.
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::statvfs;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
use rustix::process::{chdir, geteuid, pivot_root};

use crate::fixture;

/// In every file that nobody was granted, and in the environment of whoever has one.
pub const SECRET: &str = "canary7d1f0b";
/// What an attack says that got where it should not.
pub const TOKEN: &str = "GOT-OUT";
pub const HOME: &str = "/srv/home";
pub const WORKSPACE: &str = "/srv/home/workspace";
pub const BACKSTAY: &str = "/opt/backstay";
/// Users that own nothing on any machine; one for each kind, since the kernel counts processes by user.
pub const CONTROLS_UID: u32 = 20_001;
pub const PRODUCT_UID: u32 = 20_002;
const COMMANDS_UID: u32 = 20_003;
/// The last of them, where the product is root.
pub const INNER_UID: u32 = 1_000;
/// What Docker leaves root of a container: nothing to make a namespace with.
const CAPABILITIES: &str = "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+mknod,+net_raw,+setgid,\
    +setuid,+setpcap,+setfcap,+net_bind_service,+sys_chroot,+audit_write";

/// How the product is to hold commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    Full,
    /// As root of a container does; only root can make one.
    Copy,
}

impl Tier {
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Copy => "copy",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        [Self::Full, Self::Copy].into_iter().find(|tier| tier.word() == word)
    }
}

/// A directory with copies of both programs, which any user may start.
///
/// # Errors
/// It cannot be made.
pub fn armoury(binary: &Path) -> io::Result<tempfile::TempDir> {
    let scratch = tempfile::Builder::new().prefix("attacks-").tempdir()?;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
    fs::copy(binary, scratch.path().join("backstay"))?;
    fs::copy(std::env::current_exe()?, scratch.path().join("attacks"))?;
    fs::create_dir(scratch.path().join("root"))?;
    fixture::make(&scratch.path().join("project"))?;
    Ok(scratch)
}

/// This program again, in namespaces of its own and as nobody outside of them.
pub fn enter(scratch: &Path, uid: u32, words: &[&str]) -> Command {
    let uid = uid.to_string();
    let mut line: Vec<&str> = Vec::new();
    if geteuid().is_root() {
        line.extend(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"]);
    }
    line.extend(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork"]);
    line.extend(["--kill-child", "--propagation", "private"]);
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).arg(scratch.join("attacks")).arg("inside").arg(scratch).args(words);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").stdin(Stdio::null());
    command
}

/// The same with a second user in it, whom the product's root can become. The maps of both can only be written from
/// outside, while the first program in it waits for a line.
///
/// # Errors
/// It cannot be started, or its users cannot be given to it.
pub fn enter_container(scratch: &Path, words: &[&str]) -> io::Result<Child> {
    let uid = PRODUCT_UID.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "unshare", "--user"]);
    command.args(["sh", "-c", "read line && exec \"$@\" < /dev/null", "sh"]);
    command.args([
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--propagation",
        "private",
    ]);
    command.arg(scratch.join("attacks")).arg("inside").arg(scratch).args(words);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    let (own, inner) = (of("self")?, child.id().to_string());
    while of(&inner)? == own {
        std::thread::yield_now();
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{inner}/{map}"), format!("0 {PRODUCT_UID} 1\n{INNER_UID} {COMMANDS_UID} 1\n"))?;
    }
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"\n"))?;
    Ok(child)
}

/// Builds the root and makes it the only one. The first thing that a process inside does.
///
/// # Errors
/// A step that failed.
pub fn build(scratch: &Path) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = scratch.join("root");
    mount("range", &root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"size=256m,mode=0755")?;
    chdir(&root)?;
    programs()?;
    devices()?;
    fs::create_dir("opt")?;
    fs::write("opt/backstay", "")?;
    hang(&scratch.join("backstay"), "opt/backstay")?;
    fs::create_dir("opt/project")?;
    hang(&scratch.join("project"), "opt/project")?;
    prizes()?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    loopback()
}

fn programs() -> io::Result<()> {
    for top in ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let real = Path::new("/").join(top);
        if let Ok(says) = fs::read_link(&real) {
            symlink(says, top)?;
        } else if real.is_dir() {
            fs::create_dir(top)?;
            hang(&real, top)?;
        }
    }
    // Attacks are written for bash, and on half of all systems `sh` is one.
    let sh = fs::canonicalize("bin/sh")?;
    if fs::metadata(&sh)?.len() != fs::metadata("/bin/bash")?.len() {
        hang(Path::new("/bin/bash"), &sh.to_string_lossy())?;
    }
    fs::create_dir_all("etc/alternatives")?;
    if Path::new("/etc/alternatives").is_dir() {
        hang(Path::new("/etc/alternatives"), "etc/alternatives")?;
    }
    fs::write("etc/ld.so.cache", fs::read("/etc/ld.so.cache").unwrap_or_default())
}

/// Read-only, with all that is mounted below.
fn hang(from: &Path, at: &str) -> io::Result<()> {
    mount_bind_recursive(from, at)?;
    let top = fs::canonicalize(at)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|path| Path::new(path).starts_with(&top));
    for path in below {
        let had = MountFlags::from_bits_truncate(u32::try_from(statvfs(path)?.f_flag.bits()).unwrap_or(0));
        let kept = had & (MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC);
        mount_remount(path, kept | MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}

fn devices() -> io::Result<()> {
    fs::create_dir_all("dev/pts")?;
    fs::create_dir_all("dev/shm")?;
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let at = format!("dev/{device}");
        fs::write(&at, "")?;
        mount_bind_recursive(format!("/{at}"), &at)?;
    }
    mount("devpts", "dev/pts", "devpts", MountFlags::NOSUID, c"newinstance,ptmxmode=0666")?;
    mount("shm", "dev/shm", "tmpfs", MountFlags::NOSUID, c"size=64m,mode=1777")?;
    symlink("pts/ptmx", "dev/ptmx")?;
    symlink("/proc/self/fd", "dev/fd")?;
    fs::create_dir("proc")?;
    Ok(mount("proc", "proc", "proc", MountFlags::NOSUID, None)?)
}

/// What an attack is after. All of it may be read and written by its user: only a sandbox keeps them apart.
fn prizes() -> io::Result<()> {
    let ann = "ann:x:1001:1001::/home/ann:/bin/sh";
    let files = [
        ("etc/passwd", format!("root:x:0:0:{SECRET}:/root:/bin/sh\n{ann}\n")),
        ("etc/group", "root:x:0:\nann:x:1001:\n".to_owned()),
        ("etc/shadow", format!("root:{SECRET}:1:0:99999:7:::\n")),
        ("etc/hosts", "127.0.0.1 localhost c.test ok.test\n".to_owned()),
        ("etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
        ("etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n".to_owned()),
        ("etc/cron.d/daily", "# nothing\n".to_owned()),
        ("root/id_rsa", format!("{SECRET}\n")),
        ("root/.ssh/id_rsa", format!("{SECRET}\n")),
        ("root/.bashrc", format!("# {SECRET}\n")),
        ("home/ann/.ssh/id_rsa", format!("{SECRET}\n")),
        ("home/ann/.netrc", format!("machine c.test login ann password {SECRET}\n")),
        ("home/ann/.bashrc", "# nothing\n".to_owned()),
        ("home/ann/.profile", "# nothing\n".to_owned()),
        ("home/ann/.env", format!("TOKEN={SECRET}\n")),
        ("home/ann/config.json", format!("{{\"token\": \"{SECRET}\"}}\n")),
        ("var/log/auth.log", format!("{SECRET}\n")),
        ("tmp/keep", "kept\n".to_owned()),
    ];
    for (path, text) in files {
        fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new(".")))?;
        fs::write(path, text)?;
    }
    fs::set_permissions("tmp", fs::Permissions::from_mode(0o1777))?;
    for directory in ["run".to_owned(), format!("home/{SECRET}"), WORKSPACE.trim_start_matches('/').to_owned()] {
        fs::create_dir_all(directory)?;
    }
    // Somebody who has nothing to do with it, and is named as one whom an attack looks for.
    symlink("/bin/sleep", "run/backstay")
}

/// Sets the one interface up: a message of route netlink, which is protocol 0: header and `ifinfomsg`.
fn loopback() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST: u16 = 1;
    const UP: u32 = 1;
    let kernel = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend([NEW_LINK.to_ne_bytes(), REQUEST.to_ne_bytes()].concat());
    message.extend([0u8; 8]);
    message.extend([0u8; 4]);
    message.extend(1i32.to_ne_bytes());
    message.extend([UP.to_ne_bytes(), UP.to_ne_bytes()].concat());
    send(kernel, &message, SendFlags::empty())?;
    Ok(())
}

/// The product's binary: as a user that is not the range's root, or as root of a container.
pub fn product(tier: Tier, words: &[&str]) -> Command {
    let mut command = match tier {
        Tier::Full => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user=1000", "--map-group=1000"]);
            command
        }
        Tier::Copy => {
            let mut command = Command::new("setpriv");
            command.args(["--inh-caps=-all", CAPABILITIES]);
            command
        }
    };
    command.args([BACKSTAY, "--home", HOME]).args(words);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/home/ann")
        .env("CANARY", SECRET)
        .stdin(Stdio::null());
    command
}
