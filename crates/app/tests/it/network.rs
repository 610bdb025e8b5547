//! Requests of tools through the real binary: where they go, what asks, and what the journal knows of them.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::door::Door;
use crate::place::Place;
use crate::tls::certified;
use crate::vault;

/// Answers every request with `hello`, and keeps the first lines of them.
fn server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, heard) = (listener.local_addr().unwrap(), Arc::default());
    let all: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    // Ends with the test's process: nobody connects any more.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut first, mut line) = (String::new(), String::new());
            let _ = reader.read_line(&mut first);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            all.lock().unwrap().push(first.trim().to_owned());
            let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    });
    (at, heard)
}

fn home(hosts: &str, more: &str) -> Place {
    let place = Place::with_home();
    configure(&place, hosts, more);
    place
}

fn configure(place: &Place, hosts: &str, more: &str) {
    let tools = format!("tools = [\"web_fetch\", \"http_request\"]\nhosts = [{hosts}]");
    let line = |line: &str| if line.starts_with("tools = ") { tools.clone() } else { line.to_owned() };
    let config: Vec<String> = place.config().lines().map(line).collect();
    place.write_config(&format!("{}\n{more}", config.join("\n")));
}

pub fn rows(place: &Place, query: &str) -> Value {
    place.run(&["sql", query, "--json"]).json(0)["rows"].clone()
}

#[test]
fn a_request_goes_to_a_granted_host_and_the_journal_says_where_it_went() {
    let (at, heard) = server();
    let place =
        home(&format!("{{ host = \"{at}\", methods = [\"GET\", \"POST\"], allow_private = [\"127.0.0.1\"] }}"), "");
    place.run(&["run", &format!("/call web_fetch {{\"url\":\"http://{at}/a?b\"}}")]).expect(0);
    assert_eq!(*heard.lock().unwrap(), ["GET /a?b HTTP/1.1"]);
    let judged = "SELECT data ->> '$.facts.class', data ->> '$.facts.destination.host', data ->> '$.idempotency' \
                  FROM v_records WHERE kind = 'judged'";
    assert_eq!(rows(&place, judged)[0], json!(["read", "127.0.0.1", "idempotent"]));
    let connected = "SELECT data ->> '$.connections[0].address', data ->> '$.connections[0].port', \
                     data ->> '$.connections[0].sent' > 0 FROM v_records WHERE kind = 'connected'";
    assert_eq!(rows(&place, connected)[0], json!(["127.0.0.1", at.port(), 1]));
    let trace = place.run(&["trace"]).expect(0).stdout.clone();
    assert!(trace.contains(&format!("reached 127.0.0.1:{} at 127.0.0.1, ", at.port())), "{trace}");
    assert!(trace.contains(&format!("GET http://127.0.0.1:{}/a, ", at.port())), "{trace}");
    let traced = place.run(&["trace", "--json"]).json(0);
    let row = place.run(&["audit", "show", traced["touched"][0]["id"].as_str().unwrap(), "--json"]).json(0);
    assert_eq!(row["connected"][0]["port"], at.port(), "{row}");
    // What does more than ask is a person's to allow.
    place
        .run(&["run", &format!("/call http_request {{\"method\":\"POST\",\"url\":\"http://{at}/\",\"body\":\"x\"}}")])
        .expect(4);
    assert_eq!(heard.lock().unwrap().len(), 1);
    let waits = place.run(&["approvals"]).expect(0).stdout.clone();
    assert!(waits.contains(&format!("goes to POST http://127.0.0.1:{}/, ", at.port())), "{waits}");
}

#[test]
fn a_request_that_a_person_wrote_with_its_method_is_made_whatever_the_session_has_seen() {
    let (at, heard) = server();
    let rule = "[[agents.main.rules]]\nname = \"sends\"\nverdict = \"allow\"\nmatch = { class = \"send\" }\n";
    let host = "methods = [\"GET\", \"POST\"], allow_private = [\"127.0.0.1\"], audience = \"named\"";
    let place = home(&format!("{{ host = \"{at}\", {host} }}"), rule);
    place.write_config(&place.config().replace("127.0.0.1:7717", "127.0.0.1:0"));
    let door = Door::serve_to("human", &place, &[]);
    let (get, post) = (
        json!({ "url": format!("http://{at}/a") }),
        json!({ "method": "POST", "url": format!("http://{at}/b"), "body": "x" }),
    );
    // As a word, not in quotes.
    let post = post.to_string().replace("POST", "\\u0050OST");
    let task = format!("/call web_fetch {get}\n/then\n/call http_request {post}\n/then\n/say I did POST it");
    let (_, turn) = door.say(&task);
    let ended = loop {
        let view = door.get(&format!("/api/turns/{turn}")).json;
        assert_ne!(view["state"], "waiting", "{}", door.get("/api/approvals").text);
        if view["state"] == "ended" {
            break view;
        }
        std::thread::yield_now();
    };
    assert_eq!(ended["reply"], "I did POST it");
    assert_eq!(*heard.lock().unwrap(), ["GET /a HTTP/1.1", "POST /b HTTP/1.1"]);
}

#[test]
fn what_is_not_granted_or_not_public_is_not_reached() {
    let (at, heard) = server();
    let place = home(&format!("\"{at}\", \"127.0.0.1:80\""), "");
    // Granted, but nobody has said that this machine is meant.
    for url in
        [format!("https://{at}/"), format!("http://{at}/"), "http://127.0.0.1/".to_owned(), "http://[::1]/".to_owned()]
    {
        place.run(&["run", &format!("/call web_fetch {{\"url\":\"{url}\"}}")]).expect(0);
    }
    assert!(heard.lock().unwrap().is_empty());
    assert_eq!(rows(&place, "SELECT count(*) FROM v_records WHERE kind = 'connected'")[0][0], 0);
    let asked = place.run(&["policy", "explain", "web_fetch", "{\"url\":\"https://a.test/\"}"]);
    asked.expect(3);
}

#[test]
fn a_rule_may_forbid_what_a_grant_allows() {
    let (at, heard) = server();
    let rule = "[[agents.main.rules]]\nname = \"no admin\"\nverdict = \"deny\"\nmatch = { url_path = { under = \"/admin\" } }\n";
    let place = home(&format!("{{ host = \"{at}\", allow_private = [\"127.0.0.1\"] }}"), rule);
    for path in ["/admin/x", "/%61dmin", "/admin"] {
        place.run(&["run", &format!("/call web_fetch {{\"url\":\"http://{at}{path}\"}}")]).expect(0);
    }
    assert!(heard.lock().unwrap().is_empty());
    place.run(&["run", &format!("/call web_fetch {{\"url\":\"http://{at}/administration\"}}")]).expect(0);
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn a_file_of_authorities_that_holds_none_is_named_at_the_start() {
    let place = home("\"a.test:443\"", "[network]\nca = \"ca.pem\"\n");
    std::fs::write(place.home().join("ca.pem"), "none").unwrap();
    let said = place.run(&["run", "hello", "--json"]);
    assert!(said.stderr.contains("ca.pem") || said.stdout.contains("ca.pem"), "{} {}", said.stdout, said.stderr);
}

/// Says back, over TLS, the head of each request; ends with the test.
pub struct Echo {
    child: Child,
    pub port: u16,
}

impl Echo {
    pub fn start(cert: &Path, key: &Path) -> Self {
        const SERVER: &str = "import http.server, ssl, sys\n\
            class Echo(http.server.BaseHTTPRequestHandler):\n\
            \x20   def do_GET(self):\n\
            \x20       body = str(self.headers).encode()\n\
            \x20       self.send_response(200)\n\
            \x20       self.send_header('content-length', str(len(body)))\n\
            \x20       self.end_headers()\n\
            \x20       self.wfile.write(body)\n\
            server = http.server.HTTPServer(('127.0.0.1', 0), Echo)\n\
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            tls.load_cert_chain(sys.argv[1], sys.argv[2])\n\
            server.socket = tls.wrap_socket(server.socket, server_side=True)\n\
            print(server.server_port, flush=True)\n\
            server.serve_forever()\n";
        Self::running(SERVER, cert, key, Path::new("/"))
    }

    /// Another server: it is given its certificate and key, works in `directory`, and says its port.
    pub fn running(server: &str, cert: &Path, key: &Path, directory: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", server]).arg(cert).arg(key).current_dir(directory);
        python.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = python.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().unwrap() }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The header is set after the gate, over a connection whose certificate was checked, and what repeats it is not told.
#[test]
fn a_secret_is_sent_where_it_is_bound_and_nowhere_else_and_is_told_to_nobody() {
    const VALUE: &str = "Canary-Value-0123456789";
    let place = vault::home();
    let extensions = ["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"];
    let (cert, key) = certified(&place, "localhost", &extensions);
    let echo = Echo::start(&cert, &key);
    let port = echo.port;
    let more = format!(
        "[network]\nca = \"{}\"\n[secrets.crm]\nbind = {{ host = \"localhost\", port = {port}, method = [\"GET\"], \
         path_prefix = \"/v1\", query = \"page\", tools = \"web_fetch\", header = \"authorization\", scheme = \"Bearer\" }}\n",
        cert.display()
    );
    let grants =
        format!("{{ host = \"localhost:{port}\", allow_private = [\"127.0.0.1\", \"::1\"] }}]\nsecrets = [\"crm\"");
    configure(&place, &grants, &more);
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    let made = |call: &str| {
        place.run(&["run", &format!("/call {call}")]).expect(0);
        rows(&place, crate::sandboxed::LATEST)[0][0].as_str().unwrap().to_owned()
    };
    let told = |path: &str| made(&format!("web_fetch {{\"url\":\"https://localhost:{port}{path}\"}}"));
    let bound = told("/v1/a");
    assert!(bound.contains("authorization: [secret:crm]") && !bound.contains("Canary"), "{bound}");
    let door = Door::serve(&place, &[]);
    told("/v1/a");
    let metrics = door.get("/metrics").text;
    assert!(metrics.lines().any(|line| line == "backstay_redactions_total{name=\"crm\"} 1"), "{metrics}");
    assert_eq!(vault::told_of(&door.stop()), [("crm".to_owned(), 1)]);
    let beside = told("/v10");
    assert!(!beside.contains("authorization"), "{beside}");
    let listed = told("/v1/a?page=2");
    assert!(listed.contains("authorization: [secret:crm]"), "{listed}");
    // Of anything else at that place nothing is sent, and it says what to do.
    let fetch = |path: &str| format!("web_fetch {{\"url\":\"https://localhost:{port}{path}\"}}");
    let request = format!("http_request {{\"method\":\"GET\",\"url\":\"https://localhost:{port}/v1/a\"}}");
    for (call, next) in [
        (fetch("/v1/a?page=2&admin=1"), "adds \"admin\" to `query` in `[secrets.crm] bind`"),
        (fetch("/v1/a?p%61ge=2"), "write each key once and as it is"),
        (request, "adds \"http_request\" to `tools` in `[secrets.crm] bind`"),
    ] {
        let said = made(&call);
        assert!(said.contains(next) && said.contains("nothing was sent"), "{call}: {said}");
    }
    let connected = "SELECT data ->> '$.connections[0].secret' FROM v_records WHERE kind = 'connected' ORDER BY at";
    assert_eq!(rows(&place, connected), json!([["crm"], ["crm"], [null], ["crm"]]));
    let found = place.names().into_iter().filter(|name| {
        let path = place.home().join(name);
        path.is_file() && std::fs::read(path).unwrap().windows(VALUE.len()).any(|part| part == VALUE.as_bytes())
    });
    assert_eq!(found.collect::<Vec<_>>(), Vec::<String>::new());
}
