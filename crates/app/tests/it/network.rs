//! Requests of tools through the real binary: where they go, what asks, and what the journal knows of them.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::place::Place;

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
    let tools = format!("tools = [\"web_fetch\", \"http_request\"]\nhosts = [{hosts}]");
    let line = |line: &str| if line.starts_with("tools = ") { tools.clone() } else { line.to_owned() };
    let config: Vec<String> = place.config().lines().map(line).collect();
    place.write_config(&format!("{}\n{more}", config.join("\n")));
    place
}

fn rows(place: &Place, query: &str) -> Value {
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
    // What does more than ask is a person's to allow.
    place
        .run(&["run", &format!("/call http_request {{\"method\":\"POST\",\"url\":\"http://{at}/\",\"body\":\"x\"}}")])
        .expect(4);
    assert_eq!(heard.lock().unwrap().len(), 1);
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
