//! A yes, a command in the sandbox and a request to somebody else, cut anywhere: each happens once, none without
//! its record, and no process outlives the one that started it.
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::json;

use crate::house::House;
use crate::scenarios::{talk, waiting};
use crate::served::{Door, Said, Why, text};

/// Whom commands become where this runs as root: somebody who owns nothing else.
const NOBODYS_UID: u32 = 20_000;
/// What the command writes, in the workspace.
const WRITTEN: &str = "log.txt";

/// What came from each house, by its path; served by one thread until this process ends.
struct Receiver {
    port: u16,
    received: Mutex<BTreeMap<String, usize>>,
}

fn receiver() -> &'static Receiver {
    static RECEIVER: OnceLock<Receiver> = OnceLock::new();
    RECEIVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A sender that was killed says half of it.
                let _ = answer(stream);
            }
        });
        Receiver { port, received: Mutex::default() }
    })
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut bytes) = (String::new(), 0usize);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            bytes = value.trim().parse().map_err(|_| std::io::Error::other(name.to_owned()))?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0u8; bytes])?;
    let house = first.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    *receiver().received.lock().unwrap_or_else(PoisonError::into_inner).entry(house).or_default() += 1;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

fn received(house: &House) -> usize {
    let all = receiver().received.lock().unwrap_or_else(PoisonError::into_inner);
    all.get(&name(house)).copied().unwrap_or_default()
}

fn name(house: &House) -> String {
    house.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}

/// A home whose agent may run commands and send, with a yes.
pub fn prepare(house: &House) {
    talk(house);
    let path = house.home().join("backstay.toml");
    let config = fs::read_to_string(&path).expect("a config");
    let (before, after) = config.split_once("tools = [").expect("the config that `init` writes has changed");
    let hosts = format!(
        "hosts = [{{ host = \"localhost:{}\", methods = [\"POST\"], allow_private = [\"127.0.0.1\", \"::1\"] }}]\n",
        receiver().port
    );
    let uid = if rustix::process::geteuid().is_root() { format!("uid = {NOBODYS_UID}\n") } else { String::new() };
    let rule = "[[agents.main.rules]]\nname = \"commands\"\nverdict = \"ask\"\nmatch = { tool = \"run_command\" }\n";
    let config = format!(
        "{before}programs = [\"sh\"]\n{hosts}tools = [\"run_command\", \"http_request\", {after}\n{rule}\n[sandbox]\n{uid}"
    );
    fs::write(&path, config).expect("the config is written");
}

/// The command writes a line, and what is sent says which house it came from.
pub fn yes_run_send(door: &Door, house: &House) -> Said<()> {
    own(&house.home().join("workspace"));
    let command = json!({ "command": format!("for n in 1; do echo ran >> {WRITTEN}; done") });
    let url = format!("http://localhost:{}/{}", receiver().port, name(house));
    let request = json!({ "method": "POST", "url": url, "body": "sent" });
    let words = format!("/call run_command {command}\n/then\n/call http_request {request}\n/then\n/say done");
    let turn = door.say(&house.session(), "k1", &words)?;
    loop {
        let now = door.settle(&turn)?;
        if text(&now, "state") == "ended" {
            return Ok(());
        }
        if let Some(item) = waiting(door, "approvals", &turn)? {
            let (id, digest) = (text(&item, "id"), text(&item, "digest"));
            door.post(
                &format!("/api/approvals/{id}"),
                &format!("yes-{id}"),
                &json!({ "decision": "approve", "digest": digest }),
            )?;
        } else if let Some(item) = waiting(door, "doubts", &turn)? {
            let happened = if text(&item, "tool") == "run_command" {
                left_over(house);
                house.home().join("workspace").join(WRITTEN).exists()
            } else {
                received(house) > 0
            };
            let found = json!({ "outcome": if happened { "done" } else { "retry" }, "note": "somebody looked" });
            // Without a key: how often somebody had to look is no part of what the home came to.
            door.call("POST", &format!("/api/doubts/{}", text(&item, "id")), None, &found)?;
        } else {
            return Err(Why::Refused(0, now));
        }
    }
}

/// Once, and nobody is left.
pub fn once(house: &House) -> Result<(), String> {
    let (sent, lines) = (received(house), fs::read_to_string(house.home().join("workspace").join(WRITTEN)));
    let lines = match lines {
        Ok(lines) => lines,
        // Where the disk failed while the sandbox was tried, nothing was run, and it was said.
        Err(_) if crate::outcome::is_told(&house.home())? => "ran\n".to_owned(),
        Err(error) => return Err(error.to_string()),
    };
    let left = processes(house);
    if sent == 1 && lines == "ran\n" && left.is_empty() {
        return Ok(());
    }
    Err(format!("sent {sent} times, written {lines:?}, and {left:?} are left"))
}

/// Waits until nobody is left of a killed process: they are killed with it, and take a moment to go.
fn left_over(house: &House) {
    while !processes(house).iter().all(|(_, line)| line.contains("serve")) {
        std::thread::yield_now();
    }
}

/// Those whose directory is in the house's workspace, and their command lines.
pub fn processes(house: &House) -> Vec<(String, String)> {
    let workspace = house.home().join("workspace");
    let is_there = |path: &Path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&workspace));
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path()).filter(|path| is_there(path));
    all.map(|path| (path.display().to_string(), fs::read_to_string(path.join("cmdline")).unwrap_or_default())).collect()
}

/// Gives the workspace to whom commands run as.
pub fn own(workspace: &Path) {
    if rustix::process::geteuid().is_root() {
        let owner = Some(NOBODYS_UID);
        std::os::unix::fs::chown(workspace, owner, owner).expect("root may");
    }
}
