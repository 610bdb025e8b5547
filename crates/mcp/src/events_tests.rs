//! Answers that break off, from a server that says what a test wants, one text for each connection.
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use backstay_egress::Network;
use backstay_kernel::destination::{Audience, HostGrant};
use backstay_kernel::url::Url;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{StreamableHttpClient as _, StreamableHttpPostResponse};

use super::*;
use crate::limits::ASKED_MAX;
use crate::remote::{At, Way};

const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n";
/// The first event of an answer that can be taken up, at once.
const FIRST: &str = "id: e1\nretry: 0\ndata:\n\n";
const OLDER: &str = "2025-11-25";
const MINUTE: Duration = Duration::from_secs(60);

/// An answer that ends where its text does.
fn events(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}")
}

/// One that has an end, which does not come.
fn cut(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999999\r\n\r\n{text}")
}

fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n")
}

struct Case {
    /// By connection; whoever connects more often gets the last again.
    answers: Vec<String>,
    version: &'static str,
    time: Duration,
    halt: Arc<AtomicBool>,
    /// Once so many requests were heard, whoever waits for the answer is stopped.
    stops: Option<usize>,
    credential: crate::CredentialOf,
}

impl Case {
    fn of(answers: impl IntoIterator<Item = String>) -> Self {
        Self {
            answers: answers.into_iter().collect(),
            version: OLDER,
            time: MINUTE,
            halt: Arc::default(),
            stops: None,
            credential: Arc::new(|_| Ok(None)),
        }
    }

    /// A call's request, and what comes of it.
    async fn called(self) -> Called {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (all, halt, stops, answers) = (Arc::clone(&heard), Arc::clone(&self.halt), self.stops, self.answers);
        // Ends with the test's process: nobody connects any more.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut text = vec![0u8; 64 << 10];
                let mut length = 0;
                while let Ok(read @ 1..) = stream.read(&mut text[length..]) {
                    length += read;
                    let text = String::from_utf8_lossy(&text[..length]).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let wanted =
                        head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                    if body.len() >= wanted.unwrap_or(0) {
                        break;
                    }
                }
                let mut all = all.lock().unwrap();
                all.push(String::from_utf8_lossy(&text[..length]).into_owned());
                if stops == Some(all.len()) {
                    halt.store(true, Ordering::Release);
                }
                let answer = &answers[(all.len() - 1).min(answers.len() - 1)];
                drop(all);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let url = Url::read(&format!("http://{at}/mcp")).unwrap();
        let grant = HostGrant {
            host: url.host.as_str().to_owned(),
            port: url.port,
            methods: vec![Method::Post, Method::Get],
            path_prefix: url.path.clone(),
            allow_private: vec![at.ip()],
            audience: Audience::default(),
            secrets: false,
            tunnel: false,
        };
        let way = Way { network: Network::default(), credential: self.credential, pass: None };
        let remote = Remote::new(At { url, grant }, way, Arc::default());
        let open = remote.open(Instant::now() + self.time, &self.halt);
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
        let message: ClientJsonRpcMessage = serde_json::from_str(call).unwrap();
        let version = HeaderName::from_static("mcp-protocol-version");
        let more = [(version, HeaderValue::from_static(self.version))].into_iter().collect();
        let sent = remote.post_message("".into(), message, Some("s1".into()), None, more).await;
        let messages = match sent {
            Ok(StreamableHttpPostResponse::Sse(stream, _)) => stream.collect::<Vec<_>>().await,
            Ok(_) | Err(_) => Vec::new(),
        };
        drop(open);
        let messages = messages.into_iter().map(|event| event.unwrap()).collect();
        let heard = heard.lock().unwrap().clone();
        Called { messages, heard, why: remote.why(), connections: remote.take_connections().len() }
    }
}

struct Called {
    messages: Vec<Sse>,
    heard: Vec<String>,
    why: Option<String>,
    connections: usize,
}

impl Called {
    fn is_answered(&self) -> bool {
        self.messages.iter().any(|event| event.data.as_deref().is_some_and(|data| data.contains("\"result\"")))
    }

    /// Why there is no answer, after so many requests.
    fn why_not(&self, requests: usize) -> &str {
        assert!(!self.is_answered());
        assert_eq!((self.heard.len(), self.connections), (requests, requests), "{:?}", self.heard);
        self.why.as_deref().unwrap()
    }
}

#[tokio::test]
async fn what_broke_off_is_taken_up_behind_its_last_event_and_nothing_is_asked_twice() {
    let half = format!(
        "{FIRST}id: e2\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":1,\"progress\":1}}}}\n\nid: e3\ndata: {{\"json"
    );
    for first in [events(&half), cut(&half)] {
        let called = Case::of([first, events(ANSWER)]).called().await;
        assert!(called.is_answered(), "{:?}", called.why);
        assert_eq!((called.messages.len(), called.connections), (2, 2));
        // What is handed on can be taken up by nobody else.
        assert!(called.messages.iter().all(|event| event.id.is_none() && event.retry.is_none()));
        let [asked, again] = &called.heard[..] else { panic!("{:?}", called.heard) };
        assert!(asked.starts_with("POST /mcp ") && asked.contains("tools/call"), "{asked}");
        let fields = ["last-event-id: e2\r\n", "mcp-session-id: s1\r\n", "mcp-protocol-version: 2025-11-25\r\n"];
        assert!(again.starts_with("GET /mcp ") && fields.iter().all(|field| again.contains(field)), "{again}");
        assert!(again.ends_with("\r\n\r\n") && again.contains("accept: text/event-stream\r\n"), "{again}");
    }
}

/// It may be taken up often: as long as each time brings something.
#[tokio::test]
async fn an_answer_may_break_off_more_often_than_requests_may_be_in_vain() {
    let again = std::iter::repeat_n(events(FIRST), FRUITLESS_MAX + 2);
    let called = Case::of(again.chain([events(ANSWER)])).called().await;
    assert!(called.is_answered());
    assert_eq!(called.heard.len(), FRUITLESS_MAX + 3);
}

#[tokio::test]
async fn what_has_no_id_or_is_of_the_newer_era_is_not_taken_up() {
    let ended = "its answer ended before it was whole";
    let called = Case::of([events("retry: 0\ndata:\n\n"), events(ANSWER)]).called().await;
    assert_eq!(called.why_not(1), ended);
    let called = Case { version: "2026-07-28", ..Case::of([events(FIRST), events(ANSWER)]) }.called().await;
    assert_eq!(called.why_not(1), ended);
    // An id that no header holds, none any more, and one that is too long.
    for id in ["\u{1}", "", &"x".repeat(EVENT_ID_BYTES_MAX + 1)] {
        let taken_back = events(&format!("{FIRST}id: {id}\ndata:\n\n"));
        let called = Case::of([taken_back, events(ANSWER)]).called().await;
        assert_eq!(called.why_not(1), ended, "{id:?}");
    }
    let longest = events(&format!("{FIRST}id: {}\ndata:\n\n", "x".repeat(EVENT_ID_BYTES_MAX)));
    assert!(Case::of([longest, events(ANSWER)]).called().await.is_answered());
}

#[tokio::test]
async fn a_server_that_does_not_know_the_rest_is_asked_no_more_and_one_that_is_down_not_for_ever() {
    for (no, words) in [(405, "it answered 405"), (404, "it answered 404"), (302, "it answered 302")] {
        let called = Case::of([events(FIRST), status(no), events(ANSWER)]).called().await;
        assert!(called.why_not(2).ends_with(words), "{:?}", called.why);
    }
    let plain = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_owned();
    assert!(Case::of([events(FIRST), plain, events(ANSWER)]).called().await.why_not(2).ends_with("it answered 200"));
    let called = Case::of([events(FIRST), status(503), status(429), events(ANSWER)]).called().await;
    assert!(called.is_answered() && called.heard.len() == 4);
    for down in [status(503), events("")] {
        let called = Case::of([events(FIRST), down]).called().await;
        let why = called.why_not(1 + FRUITLESS_MAX);
        assert!(why.ends_with("; 5 requests for the rest brought nothing"), "{why}");
    }
}

/// Each request is looked at as the first was.
#[tokio::test]
async fn nobody_is_asked_for_the_rest_who_may_not_be_asked_at_all() {
    let case = || Case::of([events(FIRST), events(ANSWER)]);
    let called = Case { stops: Some(1), ..case() }.called().await;
    assert_eq!(called.why_not(1), "it was stopped");
    let only_posts: crate::CredentialOf =
        Arc::new(|method| if method == Method::Post { Ok(None) } else { Err("the secret `crm` is gone".to_owned()) });
    let called = Case { credential: only_posts, ..case() }.called().await;
    assert_eq!(called.why_not(1), "the secret `crm` is gone; nothing was sent");
    // No time is left, or none once it is to be asked again.
    let called = Case { time: Duration::ZERO, ..case() }.called().await;
    assert_eq!(called.why_not(0), "it took too long");
    let late = events("id: e1\nretry: 60000\ndata:\n\n");
    let called = Case::of([late, events(ANSWER)]).called().await;
    assert!(called.why_not(1).ends_with("; the call's time is over before it wants to be asked again"));
}

#[tokio::test]
async fn an_answer_has_bounds_however_often_it_is_taken_up() {
    let half = |bytes: usize| events(&format!("{FIRST}: {}\n\n", "x".repeat(bytes)));
    let called = Case::of([half(LINE_BYTES_MAX / 2), half(LINE_BYTES_MAX / 2)]).called().await;
    assert_eq!(called.why_not(2), "its answer is longer than 4194304 bytes");
    let called = Case::of([half(LINE_BYTES_MAX + 1)]).called().await;
    assert_eq!(called.why_not(1), "its answer is longer than 4194304 bytes");
    let called = Case::of([half(LINE_BYTES_MAX / 2), events(ANSWER)]).called().await;
    assert!(called.is_answered());
    let many = |events: usize| format!("{FIRST}{}", "data:\n\n".repeat(events - 1));
    let called = Case::of([events(&many(EVENTS_MAX / 2)), events(&many(EVENTS_MAX / 2 + 1))]).called().await;
    assert_eq!(called.why_not(2), "its answer is more than 6000 events");
    let called = Case::of([events(&format!("{}{ANSWER}", many(EVENTS_MAX - 1)))]).called().await;
    assert!(called.is_answered());
    let called = Case::of([events("no event\n\n"), events(ANSWER)]).called().await;
    assert_eq!(called.why_not(1), "it sent what is no event: invalid line");
}

/// In the newer era a server has no business to ask, and is not answered.
#[tokio::test]
async fn what_a_server_asks_is_answered_so_often_and_no_more() {
    let asks = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n\n".repeat(ASKED_MAX + 1);
    for (version, asked) in [(OLDER, ASKED_MAX), ("2026-07-28", 0)] {
        let called = Case { version, ..Case::of([events(&format!("{asks}{ANSWER}"))]) }.called().await;
        assert!(called.is_answered());
        assert_eq!(called.messages.len(), asked + 1);
    }
}

#[tokio::test]
async fn only_the_answer_to_what_was_asked_ends_it_and_nothing_behind_it_is_heard() {
    let other = ANSWER.replace("\"id\":7", "\"id\":8");
    let as_text = ANSWER.replace("\"id\":7", "\"id\":\"7\"");
    let called = Case::of([events(&format!("{other}event: ping\n{ANSWER}{as_text}{ANSWER}"))]).called().await;
    assert_eq!(called.messages.len(), 1);
    assert!(called.messages[0].data.as_deref().unwrap().contains("\"7\""));
    let called = Case::of([events(&other)]).called().await;
    assert_eq!(called.why_not(1), "its answer ended before it was whole");
}

/// No server makes us hurry.
#[tokio::test]
async fn the_wait_is_what_the_server_says_and_never_less_than_ours() {
    let url = Url::read("http://127.0.0.1:9/mcp").unwrap();
    let grant = HostGrant {
        host: url.host.as_str().to_owned(),
        port: url.port,
        methods: Vec::new(),
        path_prefix: "/".to_owned(),
        allow_private: Vec::new(),
        audience: Audience::default(),
        secrets: false,
        tunnel: false,
    };
    let way = Way { network: Network::default(), credential: Arc::new(|_| Ok(None)), pass: None };
    let remote = Remote::new(At { url, grant }, way, Arc::default());
    let from = stream::empty().boxed();
    let mut events = Events::reading(remote, RequestId::Number(7), from, Arc::default(), None);
    for (said, wait) in [(None, RETRY), (Some(2_000), Duration::from_secs(2)), (Some(0), RETRY_MIN), (None, RETRY_MIN)]
    {
        events.hear(Sse { retry: said, ..Sse::default() }).unwrap();
        assert_eq!(events.wait, wait, "{said:?}");
    }
}
