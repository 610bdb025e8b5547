//! What waits is told to an address of the operator's: once, signed, later where nobody takes it, and without a word of
//! what it is about.
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::door::Door;
use crate::place::{Place, Ran, Served, interrupt, mode};
use crate::vault;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(60);
const ASK: &str = "[[agents.main.rules]]\nname = \"notes need a yes\"\nverdict = \"ask\"\nmatch = { tool = \"write_file\", path = { glob = \"workspace/out/notes/**\" } }\n";
/// In the arguments of a call.
const CANARY: &str = "Canary-4711";

#[derive(Clone, Copy)]
pub enum Answer {
    Plain(&'static str),
    /// To this address.
    Moved(u16),
    Hang,
    /// More than anybody would read.
    Endless,
}

pub struct Taken {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Taken {
    fn data(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap()["data"].clone()
    }
}

/// Answers requests in this order, and all others with 200.
pub struct Hook {
    pub port: u16,
    taken: Receiver<Taken>,
}

impl Hook {
    fn start(listener: TcpListener, answers: &[Answer]) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (tell, taken) = channel();
        let mut answers: VecDeque<Answer> = answers.iter().copied().collect();
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let request = read(&stream);
                let answer = answers.pop_front().unwrap_or(Answer::Plain("200 OK"));
                give(stream, answer, &mut hanging);
                if tell.send(request).is_err() {
                    return;
                }
            }
        });
        Self { port, taken }
    }

    pub fn new(answers: &[Answer]) -> Self {
        Self::start(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    pub fn next(&self) -> Taken {
        self.taken.recv_timeout(PATIENCE).unwrap()
    }
}

fn read(stream: &TcpStream) -> Taken {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}");
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    Taken { headers, body: String::from_utf8(body).unwrap() }
}

fn give(mut stream: TcpStream, answer: Answer, hanging: &mut Vec<TcpStream>) {
    let end = "content-length: 0\r\nconnection: close\r\n\r\n";
    match answer {
        Answer::Plain(status) => stream.write_all(format!("HTTP/1.1 {status}\r\n{end}").as_bytes()).unwrap(),
        Answer::Moved(port) => {
            let to = format!("HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{port}/hook\r\n{end}");
            stream.write_all(to.as_bytes()).unwrap();
        }
        Answer::Hang => hanging.push(stream),
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4294967296\r\n\r\n").unwrap();
            // Until the other side has had enough.
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
    }
}

fn home(port: u16) -> Place {
    let place = Place::with_home();
    let notify = format!("[notify]\nurl = \"http://127.0.0.1:{port}/hook\"\nkey_env = \"NOTIFY_KEY\"\n");
    place.write_config(&format!("{notify}{}\n{ASK}", place.config()));
    place
}

fn serving(place: &Place) -> Command {
    let mut command = place.command(&["serve", "--json"]);
    command.env("NOTIFY_KEY", KEY);
    command
}

fn serve(place: &Place) -> Served {
    Place::served(serving(place))
}

/// Something that waits for a yes: its session.
fn ask(place: &Place) -> String {
    let call = format!("/call write_file {{\"path\":\"out/notes/{CANARY}.md\",\"content\":\"{CANARY}\"}}");
    let waiting = place.run(&["run", &call, "--json"]).json(4);
    waiting["session"].as_str().unwrap().to_owned()
}

fn approvals(place: &Place) -> Vec<Value> {
    place.run(&["approvals", "--json"]).json(0)["approvals"].as_array().unwrap().clone()
}

fn approve(place: &Place, session: &str) {
    let item = approvals(place).into_iter().find(|item| item["session"] == session).unwrap();
    place.run(&["approve", item["id"].as_str().unwrap()]).expect(0);
}

/// What the status says once all was taken.
fn settled(place: &Place) -> Value {
    loop {
        let telling = place.run(&["status", "--json"]).json(0)["notify"].clone();
        if telling["untold"] == 0 {
            return telling;
        }
    }
}

/// As another program computes it.
fn signature(taken: &Taken) -> String {
    const PROGRAM: &str = "import base64, hashlib, hmac, sys\n\
        key = base64.b64decode(sys.argv[1].removeprefix('whsec_'))\n\
        print('v1,' + base64.b64encode(hmac.new(key, sys.stdin.buffer.read(), hashlib.sha256).digest()).decode())\n";
    let mut python = Command::new("python3");
    let mut child = python.args(["-c", PROGRAM, KEY]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let signed = format!("{}.{}.{}", taken.headers["webhook-id"], taken.headers["webhook-timestamp"], taken.body);
    child.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn what_waits_is_told_once_and_signed_and_nothing_of_what_it_is_about() {
    let hook = Hook::new(&[]);
    let place = home(hook.port);
    let served = serve(&place);
    place.run(&["run", "/say nobody is waited for"]).expect(0);
    let first = ask(&place);
    let taken = hook.next();
    assert_eq!(taken.headers["webhook-signature"], signature(&taken));
    assert_eq!(taken.headers["content-type"], "application/json");
    let (data, item) = (taken.data(), approvals(&place).remove(0));
    assert_eq!(taken.headers["webhook-id"], data["id"].as_str().unwrap());
    for (field, expected) in
        [("kind", "approval"), ("session", &first), ("agent", "main"), ("tool", "write_file"), ("class", "write")]
    {
        assert_eq!(data[field], expected, "{data}");
    }
    assert_eq!((&data["home"], &data["see"]), (&"home".into(), &"backstay approvals".into()));
    assert_eq!(data["expires_at"], item["expires_at"]);
    for hidden in [CANARY, KEY, item["digest"].as_str().unwrap(), item["id"].as_str().unwrap()] {
        assert!(!taken.body.contains(hidden), "{}", taken.body);
    }
    // Two more, one after the other: nothing comes twice in between.
    for session in [ask(&place), ask(&place)] {
        assert_eq!(hook.next().data()["session"], session.as_str());
    }
    assert_eq!(settled(&place), serde_json::json!({ "sent": 3, "failed": 0, "untold": 0, "last_error": null }));
    assert!(place.run(&["status"]).stdout.contains("notify    3 told"));
    served.stop();
    assert!(hook.taken.try_recv().is_err());
}

#[test]
fn a_receiver_that_takes_nothing_is_told_later_what_still_waits_and_not_what_it_has_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let place = home(address.port());
    let served = serve(&place);
    let (over, kept) = (ask(&place), ask(&place));
    let failing = loop {
        let status = place.run(&["status", "--json"]).json(0);
        if status["notify"]["last_error"].is_string() {
            break status["notify"].clone();
        }
    };
    assert!(failing["untold"].as_u64().unwrap() >= 1 && failing["sent"] == 0, "{failing}");
    assert!(place.run(&["status"]).stdout.contains("not told yet"));
    let found = place.run(&["doctor", "--json"]).json(1);
    let finding = found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "notify").unwrap();
    assert_eq!(finding["verdict"], "bad");
    approve(&place, &over);
    served.kill();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let moved = Answer::Moved(elsewhere.local_addr().unwrap().port());
    let answers = [Answer::Plain("503 Service Unavailable"), moved, Answer::Endless];
    let hook = Hook::start(TcpListener::bind(address).unwrap(), &answers);
    let served = serve(&place);
    let tries = [hook.next(), hook.next(), hook.next()];
    for again in &tries {
        assert_eq!(again.data()["session"], kept.as_str(), "what has ended is not told");
        assert_eq!((&again.body, &again.headers["webhook-id"]), (&tries[0].body, &tries[0].headers["webhook-id"]));
        assert_eq!(again.headers["webhook-signature"], signature(again));
    }
    assert!(elsewhere.accept().is_err(), "no redirect is followed");
    // The next one shows that the last was taken, however long its answer was.
    let next = ask(&place);
    assert_eq!(hook.next().data()["session"], next.as_str());
    settled(&place);
    served.kill();
    assert_eq!(mode(&place.home().join("state.notices")), 0o600);
    let served = serve(&place);
    let last = ask(&place);
    assert_eq!(hook.next().data()["session"], last.as_str(), "what was taken is not told again");
    served.stop();
    // Where it is lost what was taken, all that waits comes again, by the same id.
    std::fs::write(place.home().join("state.notices"), "damaged").unwrap();
    let served = serve(&place);
    assert_eq!(hook.next().headers["webhook-id"], tries[0].headers["webhook-id"]);
    served.stop();
}

#[test]
fn no_turn_waits_for_a_receiver_that_hangs_and_one_that_is_refused_keeps_no_other_from_being_told() {
    let hook = Hook::new(&[Answer::Plain("400 Bad Request"), Answer::Plain("200 OK"), Answer::Hang]);
    let place = home(hook.port);
    let served = serve(&place);
    let refused = ask(&place);
    assert_eq!(hook.next().data()["session"], refused.as_str());
    let other = ask(&place);
    assert_eq!(hook.next().data()["session"], other.as_str(), "before the one that was refused is tried again");
    assert_eq!(hook.next().data()["session"], refused.as_str());
    // That one hangs.
    place.run(&["run", "/say goes on"]).expect(0);
    let third = ask(&place);
    approve(&place, &third);
    assert_eq!(served.stop(), 0);
}

#[test]
fn without_its_key_nothing_is_served_and_the_error_says_what_is_missing() {
    let place = home(1);
    let said = |command: &mut Command| Ran::of(&command.output().unwrap()).error(2)["message"].to_string();
    assert!(said(&mut place.command(&["serve", "--json"])).contains("the environment has no `NOTIFY_KEY`"));
    let wrong = said(place.command(&["serve", "--json"]).env("NOTIFY_KEY", "a password"));
    assert!(wrong.contains("whsec_") && !wrong.contains("a password"), "{wrong}");
    let found = place.run(&["doctor", "--json"]).json(0);
    let finding = found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "notify").unwrap();
    assert_eq!(finding["verdict"], "notice", "{finding}");
    // Whoever only works in the home tells nobody, and needs no key for it.
    ask(&place);
}

#[test]
fn a_key_of_the_store_is_used_and_found_nowhere_else_and_the_metrics_count() {
    let hook = Hook::new(&[]);
    let place = vault::home();
    let notify = format!("[notify]\nurl = \"http://127.0.0.1:{}/hook\"\nkey_secret = \"hook\"\n", hook.port);
    place.write_config(&format!("{}\n{ASK}{notify}", place.config()));
    let missing = Ran::of(&place.command(&["serve", "--json"]).output().unwrap()).error(2);
    assert!(missing["message"].as_str().unwrap().contains("secrets set hook"), "{missing}");
    place.pipe(&["secrets", "set", "hook"], KEY).expect(0);
    let door = Door::serve(&place, &[]);
    ask(&place);
    let taken = hook.next();
    assert_eq!(taken.headers["webhook-signature"], signature(&taken));
    assert_eq!(settled(&place)["sent"], 1);
    let metrics = door.get("/metrics").text;
    for line in ["backstay_notices_sent_total 1", "backstay_notices_failed_total 0", "backstay_notices_untold 0"] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    place.write_config(&place.config().replace("/hook\"", "/other\""));
    assert_eq!(place.run(&["reload", "--json"]).json(0)["needs_restart"], serde_json::json!(["notify"]));
    for name in place.names() {
        let bytes = std::fs::read(place.home().join(&name)).unwrap_or_default();
        assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "{name}");
    }
}

/// `watch --json`, and its lines.
fn watch(place: &Place) -> (Child, impl Iterator<Item = Value> + use<>) {
    let mut command = place.command(&["watch", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

#[test]
fn watch_says_what_begins_to_wait_and_how_it_ended_until_ctrl_c() {
    let place = Place::with_home();
    place.write_config(&format!("{}\n{ASK}", place.config()));
    assert_eq!(place.run(&["watch", "--json"]).error(1)["code"], "not_running");
    let served = place.serve();
    let session = ask(&place);
    let (mut child, mut lines) = watch(&place);
    let waits = lines.next().unwrap();
    assert_eq!((&waits["event"], &waits["session"]), (&"waits".into(), &session.as_str().into()), "what waits already");
    assert!(!waits.to_string().contains(CANARY));
    let other = ask(&place);
    assert_eq!(lines.next().unwrap()["session"], other.as_str());
    let item = approvals(&place).into_iter().find(|item| item["session"] == session.as_str()).unwrap();
    place.run(&["deny", item["id"].as_str().unwrap()]).expect(0);
    let ended = lines.next().unwrap();
    assert_eq!((&ended["event"], &ended["how"], &ended["id"]), (&"ended".into(), &"denied".into(), &waits["id"]));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (child, mut lines) = watch(&place);
    lines.next().unwrap();
    served.stop();
    let ended = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.error(1)["code"], "gone");
}

#[test]
fn a_person_reads_lines() {
    let place = Place::with_home();
    place.write_config(&format!("{}\n{ASK}", place.config()));
    let served = place.serve();
    let session = ask(&place);
    let mut child = place.command(&["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with(&format!("waits  approval write_file (write) of main in {session}   since 20")), "{line}");
    assert!(line.ends_with("next: backstay approvals"), "{line}");
    approve(&place, &session);
    let line = lines.next().unwrap().unwrap();
    assert_eq!(line, format!("ended  approval write_file (write) of main in {session}: approved"));
    served.stop();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
