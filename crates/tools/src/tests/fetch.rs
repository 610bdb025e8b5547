//! What a request is before it is made, and what the model is told of what came back.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use backstay_egress::{BODY_BYTES_MAX, Network};
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::facts::Invalid;
use backstay_kernel::id::SessionId;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::tool::EffectClass;
use serde_json::{Value, json};

use super::{Home, KEY};
use crate::fetch::Hosts;
use crate::run::{Acted, Acting, Asked, Ran, act};

/// A home whose agent may call this address, and what it was sent.
fn calling(answer: impl Into<Vec<u8>>) -> (Home, String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, answer, heard) = (listener.local_addr().unwrap(), answer.into(), Arc::default());
    let all: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    // Ends with the test's process: nobody connects any more.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                head.push_str(&std::mem::take(&mut line));
            }
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = reader.read_exact(&mut body);
            all.lock().unwrap().push(head + &String::from_utf8_lossy(&body));
            let _ = reader.get_mut().write_all(&answer);
        }
    });
    let granted = HostGrant {
        host: "127.0.0.1".to_owned(),
        port: at.port(),
        methods: vec![Method::Get, Method::Post],
        path_prefix: "/v1".to_owned(),
        allow_private: vec![at.ip()],
        audience: Audience::Public,
        secrets: false,
        tunnel: false,
    };
    let Home { dir, roots } = Home::new();
    let (network, granted, repositories) = (Network::default(), vec![granted], Vec::new());
    let roots = roots.reaching(Hosts { network, granted, repositories, credentials: None });
    (Home { dir, roots }, format!("http://{at}/v1"), heard)
}

fn ok(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn acted(home: &Home, tool: &str, arguments: &Value) -> Acted {
    let facts = home.inspect(tool, arguments.clone()).unwrap();
    let call = Asked {
        principal: "owner",
        session: SessionId::default(),
        tool,
        arguments: &arguments.to_string(),
        as_values: false,
    };
    act(&KEY, Some(facts.digest()), Some(Acting::in_a_test()), &home.roots, call, &facts, &Arc::default())
}

#[test]
fn what_only_asks_reads_and_everything_else_sends() {
    let (home, url, _) = calling("");
    let asks =
        home.inspect("http_request", json!({ "method": "GET", "url": url, "headers": { "Accept": "a/b" } })).unwrap();
    let to = asks.destination.clone().unwrap();
    assert_eq!((asks.class, asks.bytes_out), (EffectClass::Read, Some(0)));
    assert_eq!((&*to.host, &*to.path, to.method), ("127.0.0.1", "/v1", Method::Get));
    assert_eq!(to.url_bytes, (url.len() + "accepta/b".len()) as u64);
    let sends = home.inspect("http_request", json!({ "method": "POST", "url": url, "body": "four" })).unwrap();
    assert_eq!((sends.class, sends.bytes_out), (EffectClass::Send, Some(4)));
    assert_eq!(home.inspect("web_fetch", json!({ "url": url })).unwrap().class, EffectClass::Read);
}

#[test]
fn what_deletes_cannot_be_taken_back_and_of_other_requests_nobody_knows_it() {
    for (method, reversible) in
        [(Method::Post, None), (Method::Put, None), (Method::Patch, None), (Method::Delete, Some(false))]
    {
        let (home, url, _) = calling("");
        let request = json!({ "method": method.word(), "url": url });
        let mut hosts = home.roots.hosts().unwrap().clone();
        hosts.granted[0].methods = vec![method];
        let home = Home { dir: home.dir, roots: home.roots.reaching(hosts) };
        assert_eq!(home.inspect("http_request", request).unwrap().reversible, reversible, "{method:?}");
    }
}

#[test]
fn what_is_not_granted_names_the_line_that_would_grant_it() {
    let (home, url, heard) = calling("");
    let refused = |tool, arguments| home.inspect(tool, arguments).unwrap_err();
    let elsewhere = refused("web_fetch", json!({ "url": "https://Bücher.example/a" }));
    assert_eq!(elsewhere.why, Invalid::OutsideGrants);
    assert!(elsewhere.detail.contains("by \"xn--bcher-kva.example:443\" in `hosts`"), "{}", elsewhere.detail);
    let deletes = refused("http_request", json!({ "method": "DELETE", "url": url }));
    assert!(deletes.detail.contains("methods = [\"DELETE\"]"), "{}", deletes.detail);
    for url in [url.replace("/v1", "/v10"), url.replace("/v1", "/v1/%2e%2e/x"), url.replace("http://", "ftp://")] {
        refused("web_fetch", json!({ "url": url }));
    }
    for (key, value) in
        [("body", json!("x")), ("headers", json!({ "Cookie": "x" })), ("method", json!("get")), ("proxy", json!("x"))]
    {
        let mut arguments = json!({ "method": "GET", "url": url });
        arguments[key] = value;
        assert_eq!(refused("http_request", arguments).why, Invalid::BadArguments, "{key}");
    }
    let nobody = Home::new().inspect("web_fetch", json!({ "url": url })).unwrap_err();
    assert_eq!(nobody.why, Invalid::OutsideGrants);
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn an_answer_is_told_as_data_and_its_connection_is_recorded() {
    let (home, url, heard) = calling(ok("application/json", b"{\"id\":7}"));
    let Acted { ran, connections, label, .. } =
        acted(&home, "http_request", &json!({ "method": "POST", "url": url, "body": "{}" }));
    let Ran::Done { text, spill: None } = ran else { panic!("{ran:?}") };
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said, json!({ "status": 200, "headers": { "content-type": "application/json" }, "body": "{\"id\":7}" }));
    let heard = heard.lock().unwrap().remove(0);
    assert!(
        heard.contains("content-type: application/json\r\n") && heard.contains(&format!("idempotency-key: {KEY}\r\n")),
        "{heard}"
    );
    assert_eq!((connections.len(), connections[0].address.to_string().as_str()), (1, "127.0.0.1"));
    assert!(connections[0].sent > 0 && connections[0].received > 0);
    assert_eq!(label, Label::of(Source::Tool), "what lies on no public address is internal");
}

#[test]
fn a_page_is_read_and_a_redirect_is_told() {
    let (home, url, _) = calling(ok("text/html; charset=utf-8", b"<title>T</title><p>Hi\x1b[2J<script>no</script>"));
    assert_eq!(home.done("web_fetch", json!({ "url": url })), format!("200 text/html {url}\n\nT\nHi\u{fffd}[2J"));
    let (home, url, heard) =
        calling("HTTP/1.1 302 Found\r\nlocation: https://c.test/?stolen\r\ncontent-length: 0\r\n\r\n");
    let text = home.done("web_fetch", json!({ "url": url }));
    assert!(text.contains("not followed: it leads to https://c.test/?stolen"), "{text}");
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn a_long_answer_is_cut_where_it_says_and_what_is_no_text_is_not_shown() {
    let (home, url, _) = calling(ok("text/plain", &vec![b'x'; 100_000]));
    let Ran::Done { text, spill } = home.call("web_fetch", json!({ "url": url })) else { panic!() };
    assert!(text.ends_with("[32768 of 100000 bytes are shown]"), "{}", &text[text.len() - 80..]);
    assert_eq!(spill.unwrap().len(), 100_000);
    let (home, url, _) = calling(ok("image/png", b"\x89PNG\0\0"));
    assert!(home.done("web_fetch", json!({ "url": url })).ends_with("[6 bytes that are no text (image/png)]"));
    let (home, url, _) = calling(ok("text/plain", &vec![b'x'; BODY_BYTES_MAX + 1]));
    assert!(
        home.done("web_fetch", json!({ "url": url })).contains("the body is longer; its first 1048576 bytes were read")
    );
    let (home, url, _) = calling("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let said = home.done("http_request", json!({ "method": "GET", "url": url }));
    assert!(said.contains("the body broke off after 4 bytes"), "{said}");
}

/// Whether a request that was cut off arrived, nobody can tell; one that only asked did nothing.
#[test]
fn a_send_without_an_answer_is_in_doubt_and_a_question_is_not() {
    let (home, url, heard) = calling("");
    assert_eq!(home.call("http_request", json!({ "method": "POST", "url": url, "body": "pay" })), Ran::Unknown);
    assert!(matches!(home.call("web_fetch", json!({ "url": url })), Ran::Failed { .. }));
    assert_eq!(heard.lock().unwrap().len(), 2);
}
