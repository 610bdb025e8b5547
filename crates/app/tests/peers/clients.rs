//! The official SDK as a client, also over a connection that breaks.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use crate::providers::model;
use crate::scripted::{Play, Scripted, says};
use crate::served::{Served, python, root};

#[test]
fn the_openai_sdk_works_against_an_agent() {
    let served = Served::start(None, &[]);
    let script = root().join("tests/peers/openai_sdk.py");
    let out = python().arg(script).args([&served.url, &served.token]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("held: ")).count(), 16, "{said}");
    let kept = served.home.path().join("home/workspace/out/sdk.txt");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "x");
}

/// Lets the model speak.
type Gate = Arc<(Mutex<bool>, Condvar)>;

/// Between the SDK and the product: the first answer is lost, when its turn has begun, and `answer` or
/// nothing comes in its place. The next request goes through, and the model may speak once the product
/// has taken it. The address, and the heads of the requests that came.
fn lose_one(
    product: &str,
    model: Arc<Scripted>,
    gate: Gate,
    answer: &'static str,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let (product, seen) = (product.trim_start_matches("http://").to_owned(), Arc::clone(&heads));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (mut back, mut upstream, head) = send_on(stream, &product);
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(head);
                seen.len()
            };
            if number == 1 {
                while model.heads().is_empty() {
                    std::thread::yield_now();
                }
                back.write_all(answer.as_bytes()).unwrap();
                continue;
            }
            let mut first = [0];
            upstream.read_exact(&mut first).unwrap();
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
            back.write_all(&first).unwrap();
            std::io::copy(&mut upstream, &mut back).unwrap();
        }
    });
    (url, heads)
}

/// Sends one request on to where it belongs; both connections, and its head.
fn send_on(stream: TcpStream, product: &str) -> (TcpStream, TcpStream, String) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let low = line.to_ascii_lowercase();
        if let Some(value) = low.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        match low.split(':').next() {
            Some("host") => head.push_str(&format!("Host: {product}\r\n")),
            Some("connection") => head.push_str("Connection: close\r\n"),
            _ => head.push_str(&line),
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut upstream = TcpStream::connect(product).unwrap();
    upstream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    (reader.into_inner(), upstream, head)
}

/// The SDK says by a header that it tries again, and has no key: the turn that its first try began
/// goes on, is not begun again, and its reply arrives.
#[test]
fn a_retry_of_the_sdk_does_not_run_the_turn_twice() {
    for answer in [
        "",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        let gate = Gate::default();
        let held = Arc::clone(&gate);
        let scripted = Arc::new(Scripted::start(move |_, _| {
            let open = held.1.wait_while(held.0.lock().unwrap(), |open| !*open).unwrap();
            drop(open);
            Play::Bytes(says("said once"))
        }));
        let provider = model("openai", scripted.url.trim_end_matches("/v1"), "/v1", "m", 64);
        let served = Served::start(Some(&provider), &[("PEER_KEY", "k")]);
        let (url, heads) = lose_one(&served.url, Arc::clone(&scripted), gate, answer);
        let out =
            python().arg(root().join("tests/peers/openai_retries.py")).args([&url, &served.token]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(said["text"], "said once", "{answer}");
        let heads = heads.lock().unwrap();
        assert_eq!(heads.len(), 2, "{answer}");
        assert!(heads[1].to_ascii_lowercase().contains("x-stainless-retry-count: 1"), "{}", heads[1]);
        assert!(!heads[1].to_ascii_lowercase().contains("idempotency-key"), "{}", heads[1]);
        let sessions = served.get("/api/sessions");
        assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
        let session = sessions["sessions"][0]["session"].as_str().unwrap();
        assert_eq!(said["turn"], format!("{session}.2"), "{sessions}");
        assert_eq!(served.get(&format!("/api/sessions/{session}/records"))["records"].as_array().unwrap().len(), 7);
        assert_eq!(scripted.bodies().len(), 1, "the model was asked again");
    }
}

#[test]
fn the_sdk_is_told_for_how_long_it_asked_too_often() {
    let served = Served::start(None, &[]);
    let config = served.home.path().join("home/backstay.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, written.replace("messages_per_minute = 6000", "messages_per_minute = 1")).unwrap();
    served.post("/api/reload", &serde_json::json!({}));
    let out =
        python().arg(root().join("tests/peers/openai_limited.py")).args([&served.url, &served.token]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seconds: u64 = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}
