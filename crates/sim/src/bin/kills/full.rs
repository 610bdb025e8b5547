//! A home on a disk of its own that fills up while turns run: a small tmpfs in a mount namespace.
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Tally;
use crate::house::House;
use crate::scenarios::waiting;
use crate::served::{Door, Served, Why, text};
use crate::{outcome, outward};

/// The disk, MiB: more than the 64 that stay free for admission and the 16 of the reserve.
const DISK_MIB: u64 = 112;
/// Left free where admission is closed and everything else has room, MiB.
const TIGHT_MIB: u64 = 30;
/// What a command must leave free, MiB, and what the disk is then: a fast one has written more when it is stopped.
const FLOOR_MIB: u64 = 160;
const ROOMY_MIB: u64 = 320;
const MIB: u64 = 1 << 20;
const BALLAST: &str = "state.ballast";

/// In a namespace of its own, since it mounts.
pub fn run(binary: &Path) -> Tally {
    let place = tempfile::tempdir().expect("a directory");
    let namespace = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let mut command = Command::new("unshare");
    command.arg(namespace).arg(std::env::current_exe().expect("this program"));
    let ended = command.arg(binary).arg("full-inside").arg(place.path()).status();
    let mut tally = Tally::default();
    tally.note(
        "the full disk",
        match ended {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("`unshare {namespace}` with a tmpfs inside: {other:?}")),
        },
    );
    tally
}

pub fn inside(binary: &Path, place: &Path) -> Tally {
    let mut tally = Tally::default();
    let size = format!("size={DISK_MIB}m");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place).status();
    if !mounted.as_ref().is_ok_and(std::process::ExitStatus::success) {
        tally.note("a disk of its own", Err(format!("mounting a tmpfs: {mounted:?}")));
        return tally;
    }
    let disk = Disk { place: place.to_owned(), house: House::below(binary, place) };
    disk.house.init();
    let log = || fs::read_to_string(disk.house.path().join("serve.log")).unwrap_or_default();
    tally.note("a disk that fills", disk.fills().map_err(|why| format!("{why}\n{}", log())));
    let size = format!("remount,size={ROOMY_MIB}m");
    let grown = Command::new("mount").args(["-o", &size]).arg(place).status();
    let filled = match grown {
        Ok(status) if status.success() => is_filled_by_a_command(binary, place),
        other => Err(format!("{size}: {other:?}")),
    };
    tally.note("a disk that a command fills", filled);
    tally
}

struct Disk {
    place: PathBuf,
    house: House,
}

impl Disk {
    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.place).expect("its figures");
        found.f_bavail * found.f_frsize
    }

    /// Takes room until `left` bytes are free.
    fn fill(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.place.join("filler")).expect("a file");
        while self.free() > left {
            let most = usize::try_from((self.free() - left).min(MIB)).expect("at most a MiB");
            if file.write_all(&vec![0; most]).is_err() {
                break;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.place.join("filler")).expect("the filler goes");
    }

    fn has_ballast(&self) -> bool {
        self.house.home().join(BALLAST).exists()
    }

    fn served(&self) -> Result<(Served, Door), String> {
        let served = Served::start(&self.house, &[]).map_err(|status| format!("it did not start: {status}"))?;
        Ok((served, Door::local(&self.house.home())))
    }

    fn fills(&self) -> Result<(), String> {
        let (home, (served, door)) = (self.house.home(), self.served()?);
        let told = |why: Why| why.to_string();
        // The later ones say more than the log has ever held: that does not fit into room that it has.
        let tight = Asked::new(&door, 1, 10).map_err(told)?;
        let reserve = Asked::new(&door, 2, 3_000_000).map_err(told)?;
        let nothing = Asked::new(&door, 3, 4_000_000).map_err(told)?;
        let restart = Asked::new(&door, 4, 4_000_000).map_err(told)?;
        ensure(self.has_ballast(), "there is no reserve to begin with")?;

        self.fill(TIGHT_MIB * MIB);
        refuses(&door, &tight.session)?;
        door.get(&format!("/api/sessions/{}", tight.session)).map_err(told)?;
        tight.approve(&door).map_err(told)?;
        tight.ended(&door, &home)?;
        ensure(self.has_ballast(), "the reserve was given up where there was room")?;

        self.fill(0);
        reserve.approve(&door).map_err(told)?;
        reserve.ended(&door, &home)?;
        ensure(!self.has_ballast(), "the outcome was written without the reserve")?;

        self.fill(0);
        // Written or not, nothing of it is lost; what cannot be written waits.
        let _ = nothing.try_to_approve(&door);
        refuses(&door, &nothing.session)?;
        self.make_room();
        nothing.approve(&door).map_err(told)?;
        nothing.ended(&door, &home)?;
        admits(&door, &nothing.session, "after")?;
        ensure(self.has_ballast(), "the reserve did not come back")?;

        self.fill(0);
        served.kill();
        let (served, door) = self.served()?;
        refuses(&door, &restart.session)?;
        self.make_room();
        restart.approve(&door).map_err(told)?;
        restart.ended(&door, &home)?;
        admits(&door, &restart.session, "at-last")?;
        ensure(served.stop().success(), "it did not stop cleanly")?;
        outcome::of(&self.house.home()).map(drop)
    }
}

/// A command writes without an end to the disk on which the home lies: it is stopped for that, its end is written, and
/// the next message is taken.
fn is_filled_by_a_command(binary: &Path, place: &Path) -> Result<(), String> {
    let house = House::below(binary, place);
    outward::prepare(&house);
    let workspace = house.home().join("workspace");
    outward::own(&workspace);
    let path = house.home().join("backstay.toml");
    let config = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    fs::write(&path, format!("{config}free_disk_mib = {FLOOR_MIB}\n")).map_err(|error| error.to_string())?;
    let told = |why: Why| why.to_string();
    let served = Served::start(&house, &[]).map_err(|status| format!("it did not start: {status}"))?;
    let door = Door::local(&house.home());
    let writes =
        "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do x=$x$x; done; while echo $x; do :; done > f";
    let call = json!({ "command": writes });
    let words = format!("/call run_command {call}\n/then\n/say it ended");
    let turn = door.say(&house.session(), "fill", &words).map_err(told)?;
    door.settle(&turn).map_err(told)?;
    let item = waiting(&door, "approvals", &turn).map_err(told)?.ok_or("nobody was asked")?;
    let yes = json!({ "decision": "approve", "digest": text(&item, "digest") });
    door.post(&format!("/api/approvals/{}", text(&item, "id")), "yes", &yes).map_err(told)?;
    let ended = door.settle(&turn).map_err(told)?;
    ensure(text(&ended, "reply") == "it ended", &format!("the turn came to {ended}"))?;
    let bytes = fs::metadata(workspace.join("f")).map_or(0, |found| found.len());
    ensure(bytes > 0, "it wrote nothing")?;
    let journal = String::from_utf8_lossy(&house.ok(&["sessions", "export", &house.session()])).into_owned();
    ensure(journal.contains("less was left free on the disk"), "it was not stopped for the disk")?;
    let left: Vec<_> = outward::processes(&house).into_iter().filter(|(_, line)| !line.contains("serve")).collect();
    ensure(left.is_empty(), &format!("{left:?} are left"))?;
    fs::remove_file(workspace.join("f")).map_err(|error| error.to_string())?;
    admits(&door, &house.session(), "after-the-command")?;
    ensure(served.stop().success(), "it did not stop cleanly")?;
    house.ok(&["audit", "verify"]);
    outcome::of(&house.home()).map(drop)
}

/// A turn that was begun while there was room, and waits for a yes.
struct Asked {
    session: String,
    turn: String,
    path: String,
    reply_bytes: usize,
}

impl Asked {
    fn new(door: &Door, n: u32, reply_bytes: usize) -> Result<Self, Why> {
        let path = format!("out/reports/{n}.md");
        let call = json!({ "path": path, "content": "the report" });
        let session = door.open_session(&format!("open-{n}"))?;
        let words = format!("/call write_file {call}\n/then\n/big {reply_bytes}");
        let turn = door.say(&session, &format!("say-{n}"), &words)?;
        door.settle(&turn)?;
        Ok(Self { session, turn, path, reply_bytes })
    }

    fn item(&self, door: &Door) -> Result<Option<Value>, Why> {
        let found = door.get("/api/approvals")?;
        let items = found.get("approvals").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(items.into_iter().find(|item| text(item, "turn") == self.turn))
    }

    fn try_to_approve(&self, door: &Door) -> Result<(), Why> {
        let Some(item) = self.item(door)? else { return Ok(()) };
        let yes = json!({ "decision": "approve", "digest": text(&item, "digest") });
        door.call("POST", &format!("/api/approvals/{}", text(&item, "id")), None, &yes).map(drop)
    }

    fn approve(&self, door: &Door) -> Result<(), Why> {
        let Some(item) = self.item(door)? else { return Ok(()) };
        let yes = json!({ "decision": "approve", "digest": text(&item, "digest") });
        door.post(&format!("/api/approvals/{}", text(&item, "id")), &self.path, &yes).map(drop)
    }

    fn ended(&self, door: &Door, home: &Path) -> Result<(), String> {
        let turn = door.settle(&self.turn).map_err(|why| why.to_string())?;
        let is_there = home.join("workspace").join(&self.path).exists();
        // The tool itself may have found no room: then it has said so.
        let has = |list: &str| turn.pointer(&format!("/completion/{list}/0")).is_some();
        let is_true = has("done") == is_there && has("failed") != is_there;
        let is_whole = text(&turn, "reply").len() == self.reply_bytes;
        ensure(is_true && is_whole, &format!("{} ended as {} {}", self.path, text(&turn, "reason"), turn["completion"]))
    }
}

fn ensure(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// Neither a message nor a session is taken, and readiness says so.
fn refuses(door: &Door, session: &str) -> Result<(), String> {
    let message = format!("/api/sessions/{session}/messages");
    for (path, body) in
        [(message.as_str(), json!({ "text": "/say no" })), ("/api/sessions", json!({ "agent": "main" }))]
    {
        match door.call("POST", path, None, &body) {
            Err(Why::Refused(503, answer)) if answer.pointer("/error/code") == Some(&json!("halted")) => {}
            other => return Err(format!("{path} on a full disk: {other:?}")),
        }
    }
    match door.call("GET", "/ready", None, &Value::Null) {
        Err(Why::Refused(503, _)) => Ok(()),
        other => Err(format!("/ready on a full disk: {other:?}")),
    }
}

/// By itself, without a restart.
fn admits(door: &Door, session: &str, key: &str) -> Result<(), String> {
    let said = door.say(session, key, "/say there is room").and_then(|turn| door.settle(&turn));
    let turn = said.map_err(|why| why.to_string())?;
    ensure(text(&turn, "reply") == "there is room", "the message after it was not answered")
}
