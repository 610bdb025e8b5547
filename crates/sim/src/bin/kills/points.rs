//! Where a process can be cut: every write system call that an uncut run makes, told apart by the
//! file that it is about.
//!
//! A tracer's counter is one per system call and thread, so a plain "the third pwrite64" always lands
//! in the thread that gets there first, mostly in shared memory. With a file in the condition there is
//! a count for each (call, file), and the writes of the log, of the database and of a tool's file are
//! all reached.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// System calls that change something on disk, or tell somebody.
const WRITES: &[&str] = &[
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "openat",
    "openat2",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "copy_file_range",
    "sendfile",
];

/// The `n`-th `call` about `file`, from 1, in the thread that gets there first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    pub call: &'static str,
    /// Below the house; none for sockets and pipes.
    pub file: Option<String>,
    pub n: u64,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.call, self.n, self.file.as_deref().unwrap_or("a socket or pipe"))
    }
}

/// A tracer around the command that ends with it, log in `log`.
fn tracer(log: &Path) -> Vec<String> {
    // A cut process that hangs is a process that an operator kills.
    let words = ["timeout", "-s", "KILL", "60", "strace", "-f", "-qq", "-o"];
    let mut line: Vec<String> = words.map(str::to_owned).to_vec();
    line.push(log.display().to_string());
    line
}

/// To count by.
pub fn counting(log: &Path) -> Vec<String> {
    let mut line = tracer(log);
    line.extend([
        "-y".to_owned(),
        "-e".to_owned(),
        format!("trace={},{},{}", WRITES.join(","), EXECUTES.join(","), STARTS.join(",")),
    ]);
    line
}

/// System calls that start a thread or a process.
const STARTS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

/// System calls by which a process becomes another program.
const EXECUTES: [&str; 2] = ["execve", "execveat"];

/// The threads of other programs than the one that was begun with.
fn others(log: &str) -> BTreeSet<&str> {
    let lines = || log.lines().filter_map(|line| line.split_once(' '));
    let is_one = |rest: &str| EXECUTES.iter().any(|call| rest.trim_start().starts_with(&format!("{call}(")));
    let executes = lines().filter(|(_, rest)| is_one(rest)).map(|(thread, _)| thread);
    let first = lines().next().map(|(thread, _)| thread);
    let mut others: BTreeSet<&str> = executes.filter(|thread| Some(*thread) != first).collect();
    loop {
        let started = lines().filter(|(thread, rest)| {
            others.contains(thread) && STARTS.iter().any(|call| rest.contains(call)) && rest.contains(" = ")
        });
        let more: Vec<&str> = started.filter_map(|(_, rest)| rest.rsplit(' ').next()).collect();
        let before = others.len();
        others.extend(more);
        if others.len() == before {
            return others;
        }
    }
}

impl Point {
    /// The tracer that cuts here.
    pub fn cutting(&self, log: &Path, house: &Path, injection: &str) -> Vec<String> {
        let mut line = tracer(log);
        if injection.starts_with("error") {
            // Only what is traced stops: twice as fast. A signal cannot be injected there.
            line.push("--seccomp-bpf".to_owned());
        }
        if let Some(file) = &self.file {
            line.extend(["-P".to_owned(), house.join(file).display().to_string()]);
        }
        let (call, n) = (self.call, self.n);
        line.extend(["-e".to_owned(), format!("trace={call}")]);
        line.extend(["-e".to_owned(), format!("inject={call}:{injection}:when={n}")]);
        line
    }
}

/// The points in the log of a counting tracer.
pub fn read(log: &str, house: &Path) -> BTreeSet<Point> {
    let mut counts: BTreeMap<(&str, &str, Option<&str>), u64> = BTreeMap::new();
    let (mut points, mut of_others) = (BTreeSet::new(), BTreeSet::new());
    let others = others(log);
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
        let Some(call) = WRITES.iter().copied().find(|known| *known == name) else { continue };
        let subject = subject(arguments);
        let file = Path::new(subject).strip_prefix(house).ok().and_then(Path::to_str).filter(|file| !file.is_empty());
        let in_all = counts.entry((thread, call, None)).or_default();
        *in_all += 1;
        let n = match file {
            None => *in_all,
            Some(file) => {
                let of_file = counts.entry((thread, call, Some(file))).or_default();
                *of_file += 1;
                *of_file
            }
        };
        // An eventfd wakes a thread of the same process. A file elsewhere is none of ours.
        let is_outside = file.is_none() && (subject.starts_with('/') || subject.contains("[eventfd]"));
        let only_reads = call.starts_with("openat") && !arguments.contains("O_CREAT");
        if !is_outside && !only_reads {
            let whose = if others.contains(thread) { &mut of_others } else { &mut points };
            whose.insert(Point { call, file: file.map(str::to_owned), n });
        }
    }
    // What the runtime has started would be cut there too, and perhaps alone: that is no cut of the runtime.
    points.retain(|point| !of_others.contains(point));
    points
}

/// What a call is about: `9</path>, …`, `AT_FDCWD</cwd>, "/path", …` or `"/path", …`.
fn subject(arguments: &str) -> &str {
    let between = |from: char, to: char| {
        let (_, rest) = arguments.split_once(from)?;
        Some(rest.split_once(to)?.0)
    };
    let is_descriptor = arguments.starts_with(|c: char| c.is_ascii_digit());
    if is_descriptor { between('<', '>') } else { between('"', '"') }.unwrap_or_default()
}
