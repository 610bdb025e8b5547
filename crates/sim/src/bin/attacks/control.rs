//! What an attack does where nothing holds it: run once, in a range of its own, with limits, by a shell.
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cases::{Case, Kind, Sample};
use crate::range::{SECRET, WORKSPACE};
use crate::witness::Witness;
use crate::{fixture, range};

/// Long enough for the slowest program that ends by itself.
const PATIENCE: Duration = Duration::from_secs(4);
/// For what is meant never to end.
const ENDLESS: Duration = Duration::from_millis(1500);
/// What came of it, when its shell has ended, may come a little later.
const LATE: Duration = Duration::from_millis(300);
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// What counts as a flood of output, and as a disk that is being filled, bytes.
const FLOOD_BYTES: usize = 1 << 20;
const FILLED_BYTES: u64 = 16 << 20;
/// Processes beyond which something multiplies.
const MANY: usize = 100;

/// Runs inside of a range that this call builds; prints what the attack came to.
pub fn inside(scratch: &Path, case: &Case) -> Value {
    range::build(scratch).expect("a range");
    let directory = Path::new(WORKSPACE).join("r0");
    fixture::lay(&directory).expect("a workspace");
    let mut witness = Witness::new();
    witness.begin();
    let is_bomb = case.group == "resources";
    let patience = if is_bomb { ENDLESS } else { PATIENCE };
    let began = Instant::now();
    let mut child = start(&case.command, &directory);
    let said = Said::of(&mut child);
    let mut most = 0;
    while began.elapsed() < patience && !said.has_ended() {
        if is_bomb {
            most = most.max(witness.left().len());
        }
        if let Ok(Some(_)) = child.try_wait() {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let in_time = began.elapsed() < patience;
    let until = Instant::now() + LATE;
    let mut text = said.so_far();
    let mut harm = witness.harm(&text);
    while harm.is_empty() && Instant::now() < until && !(in_time && witness.left().is_empty() && said.has_ended()) {
        thread::sleep(Duration::from_millis(5));
        text = said.so_far();
        harm = witness.harm(&text);
    }
    if in_time && !witness.left().is_empty() && child.try_wait().is_ok_and(|ended| ended.is_some()) {
        harm.push("left processes behind".to_owned());
    }
    if is_bomb {
        harm.extend(bomb(in_time, &text, most, &directory));
    }
    json!({ "harm": harm, "said": cut(&text) })
}

fn start(command: &str, directory: &Path) -> Child {
    let mut limited = Command::new("prlimit");
    limited.args(["--nproc=256", "--fsize=67108864", "--data=1073741824", "--core=0", "--cpu=5", "--nofile=512"]);
    limited.args(["setsid", "sh", "-c", command]).current_dir(directory);
    limited.env_clear().envs([("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), ("HOME", "/root")]);
    limited.envs([("API_KEY", SECRET), ("LANG", "C.UTF-8"), ("TERM", "dumb")]);
    let piped = limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("prlimit runs")
}

fn bomb(in_time: bool, text: &str, most: usize, directory: &Path) -> Vec<String> {
    let mut harm = Vec::new();
    let mut note = |what: &str, is_so: bool| {
        if is_so {
            harm.push(what.to_owned());
        }
    };
    note("ran without end", !in_time);
    note("flooded its output", text.len() >= FLOOD_BYTES);
    note("multiplied", most >= MANY);
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    note("filled the disk", sizes.map(|stat| stat.len()).sum::<u64>() >= FILLED_BYTES);
    note("made files without end", fs::read_dir(directory).map_or(0, Iterator::count) >= 1_000);
    note("took all memory", text.contains("emory"));
    harm
}

/// Both streams of a process, as they come.
struct Said {
    text: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    open: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Said {
    fn of(child: &mut Child) -> Self {
        let said = Self { text: std::sync::Arc::default(), open: std::sync::Arc::new(2.into()) };
        said.take(child.stdout.take());
        said.take(child.stderr.take());
        said
    }

    fn take(&self, stream: Option<impl Read + Send + 'static>) {
        let (text, open) = (std::sync::Arc::clone(&self.text), std::sync::Arc::clone(&self.open));
        thread::spawn(move || {
            let mut stream = stream.map(|stream| stream.take(OUTPUT_BYTES_MAX));
            let mut buffer = vec![0; 1 << 16];
            while let Some(Ok(length @ 1..)) = stream.as_mut().map(|stream| stream.read(&mut buffer)) {
                text.lock().expect("nobody panics").extend(&buffer[..length]);
            }
            open.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        });
    }

    fn has_ended(&self) -> bool {
        self.open.load(std::sync::atomic::Ordering::SeqCst) == 0
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("nobody panics")).into_owned()
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(400)]
}

/// Runs the control of every case, one after the other; `tell` hears of each.
pub fn run(scratch: &Path, cases: &[Case], sample: Sample, tell: &Sender<(usize, Value)>) {
    for (at, case) in cases.iter().enumerate().filter(|(_, case)| case.kind != Kind::Benign) {
        let words = ["control", &case.name(), &sample.word()];
        let mut command = range::enter(scratch, range::CONTROLS_UID, &words);
        let came = deadline(command.stdout(Stdio::piped()).stderr(Stdio::piped()), PATIENCE * 5);
        if tell.send((at, came)).is_err() {
            return;
        }
    }
}

/// What it prints, as JSON; ended where it takes too long.
fn deadline(command: &mut Command, patience: Duration) -> Value {
    let mut child = command.spawn().expect("unshare runs");
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = out.map(|mut out| out.read_to_string(&mut text));
        let _ = tell.send(text);
    });
    let text = told.recv_timeout(patience).unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    serde_json::from_str(&text).unwrap_or_else(|_| {
        let mut why = String::new();
        let _ = err.map(|mut err| err.read_to_string(&mut why));
        json!({ "harm": [], "said": format!("the control itself failed: {why}") })
    })
}
