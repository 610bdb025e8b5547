//! Real sockets: caps, deadlines, the local door, and how listeners end.
use std::time::Duration;

use backstay_channels::{Listening, serve_local, serve_tcp};
use backstay_kernel::policy::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::house::{House, Line, slowly};

struct Listener {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn listen(house: &House) -> Listener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let proxies: [std::net::IpAddr; 1] = [[127, 0, 0, 9].into()];
    let listening = Listening { tls: None, trusted_proxies: proxies.into(), router: house.tcp.clone(), stopped };
    Listener { address, stop, task: tokio::spawn(serve_tcp(listener, listening)) }
}

/// All that comes back.
async fn all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get(house: &House, path: &str, close: bool) -> String {
    let close = if close { "connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n{close}\r\n", house.token("ann"))
}

#[tokio::test]
async fn a_request_over_tcp_is_answered() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    stream.write_all(get(&house, "/api/sessions", true).as_bytes()).await.unwrap();
    let told = all(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("{\"next\":null,\"sessions\":[]}"), "{told}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let head = format!("GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n", "x".repeat(65 * 1024));
    let _ = stream.write_all(head.as_bytes()).await;
    let told = all(&mut stream).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{told}");
}

#[tokio::test]
async fn a_head_may_have_32_kib_and_not_a_byte_more() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    for (bytes, status) in [(32 * 1024, "200"), (32 * 1024 + 1, "431"), (40_000, "431")] {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        let head = |x: &str| format!("GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx: {x}\r\n\r\n");
        let head = head(&"x".repeat(bytes - head("").len()));
        assert_eq!(head.len(), bytes);
        let _ = stream.write_all(head.as_bytes()).await;
        let told = all(&mut stream).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nx: ").await.unwrap();
    let before = tokio::time::Instant::now();
    all(&mut stream).await;
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(9) && waited < Duration::from_secs(12), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_without_an_end_is_cut_off_before_it_fills_memory() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let before = tokio::time::Instant::now();
    let _ = stream.write_all(format!("GET /live HTTP/1.1\r\nx: {}", "x".repeat(100_000)).as_bytes()).await;
    all(&mut stream).await;
    assert!(before.elapsed() < Duration::from_secs(5), "it was waited for: {:?}", before.elapsed());
}

#[tokio::test]
async fn strangers_are_bounded_and_those_who_are_known_are_not_counted() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut known = TcpStream::connect(listener.address).await.unwrap();
    known.write_all(get(&house, "/api/sessions", false).as_bytes()).await.unwrap();
    let mut chunk = [0; 4096];
    assert!(known.read(&mut chunk).await.unwrap() > 0);
    let mut strangers = Vec::new();
    for _ in 0..256 {
        strangers.push(TcpStream::connect(listener.address).await.unwrap());
    }
    let last = strangers.last_mut().unwrap();
    last.write_all(b"GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    assert!(last.read(&mut chunk).await.unwrap() > 0, "the known one takes no stranger's place");
    let mut one_more = TcpStream::connect(listener.address).await.unwrap();
    assert_eq!(all(&mut strangers[0]).await, "", "the oldest gives way");
    one_more.write_all(get(&house, "/api/sessions", false).as_bytes()).await.unwrap();
    assert!(one_more.read(&mut chunk).await.unwrap() > 0, "a valid token gets in from a crowded address");
    let second = &mut strangers[1];
    second.write_all(b"GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    assert!(second.read(&mut chunk).await.unwrap() > 0, "one gives way for one");
    known.write_all(get(&house, "/api/sessions", false).as_bytes()).await.unwrap();
    assert!(known.read(&mut chunk).await.unwrap() > 0);
}

#[tokio::test]
async fn the_local_socket_knows_its_owner() {
    let house = House::new(&[]).await;
    let path = house.place.path().join("test.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve_local(listener, house.local.clone(), stopped));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /api/tokens HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n").await.unwrap();
    let told = all(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("\"principal\":\"ann\""), "{told}");
}

#[tokio::test]
async fn streams_end_when_the_listener_does() {
    let house = House::new(&[slowly("first", Line::Say(""))]).await;
    let (session, _) = house.say("ann", "hi").await;
    let listener = listen(&house).await;
    let mut live = TcpStream::connect(listener.address).await.unwrap();
    live.write_all(get(&house, &format!("/api/sessions/{session}/events"), false).as_bytes()).await.unwrap();
    let mut chunk = [0; 4096];
    assert!(live.read(&mut chunk).await.unwrap() > 0);
    let mut waiting = TcpStream::connect(listener.address).await.unwrap();
    let body = "{\"model\":\"main\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    let call = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-backstay-session: {session}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        house.token("ann"),
        body.len()
    );
    let before =
        house.play.engine.store().head(backstay_kernel::id::SessionId::parse(&session).unwrap()).unwrap().unwrap().seq;
    waiting.write_all(call.as_bytes()).await.unwrap();
    let id = backstay_kernel::id::SessionId::parse(&session).unwrap();
    let mut events = house.play.engine.subscribe(Role::Owner, id).await.unwrap();
    while house.play.engine.store().head(backstay_kernel::id::SessionId::parse(&session).unwrap()).unwrap().unwrap().seq
        == before
    {
        let _ = events.recv().await;
    }
    listener.stop.send(true).unwrap();
    let (live, waiting) = tokio::join!(all(&mut live), all(&mut waiting));
    assert!(live.ends_with("0\r\n\r\n"), "the stream is closed and not cut: {live}");
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("\"draining\""), "{waiting}");
    listener.task.await.unwrap();
    assert!(TcpStream::connect(listener.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_closes_waits_for_nobody_for_long() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let call = get(&house, "/api/sessions", false).replace("GET", "POST");
    let (head, _) = call.split_once("\r\n\r\n").unwrap();
    stream.write_all(format!("{head}\r\ncontent-length: 16\r\nexpect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    // The call is under way: its body is asked for.
    let mut chunk = [0; 64];
    assert!(stream.read(&mut chunk).await.unwrap() > 0);
    let begun = tokio::time::Instant::now();
    listener.stop.send(true).unwrap();
    listener.task.await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
}

/// Begins a call on a connection of its own and reads what comes first.
async fn begin(listener: &Listener, call: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk).await.unwrap();
    (stream, String::from_utf8_lossy(&chunk[..count]).into_owned())
}

#[tokio::test]
async fn connections_of_one_principal_are_bounded_and_others_get_in() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let idle = get(&house, "/api/sessions", false);
    let mut held = Vec::new();
    for _ in 0..crate::house::CONNECTIONS {
        let (stream, told) = begin(&listener, &idle).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        held.push(stream);
    }
    let (mut refused, told) = begin(&listener, &idle).await;
    assert!(told.starts_with("HTTP/1.1 429") && told.contains("too_many_connections"), "{told}");
    assert_eq!(all(&mut refused).await, "", "and hung up on");
    let owner = idle.replace(house.token("ann"), house.token("owner"));
    assert!(begin(&listener, &owner).await.1.starts_with("HTTP/1.1 200"));
    // The same connection counts once, whoever speaks on it.
    let mut reused = held.pop().unwrap();
    reused.write_all(owner.as_bytes()).await.unwrap();
    let mut chunk = [0; 4096];
    assert!(reused.read(&mut chunk).await.unwrap() > 0);
    assert!(begin(&listener, &idle).await.1.starts_with("HTTP/1.1 200"), "its place is free");
}

#[tokio::test]
async fn a_full_listener_makes_room_for_who_comes() {
    let house = House::new(&[]).await;
    let listener = listen(&house).await;
    let socket = |n: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(std::net::SocketAddr::from(([127, 0, 0, n], 0))).unwrap();
        socket.connect(listener.address)
    };
    let mut strangers = Vec::new();
    for n in 0..1024 {
        let address = u8::try_from(n / 250).unwrap() + 2;
        strangers.push(socket(address).await.unwrap());
    }
    let owner = get(&house, "/api/sessions", true).replace(house.token("ann"), house.token("owner"));
    let mut late = socket(100).await.unwrap();
    late.write_all(owner.as_bytes()).await.unwrap();
    assert!(all(&mut late).await.starts_with("HTTP/1.1 200"));
    assert_eq!(all(&mut strangers[0]).await, "", "the oldest was hung up on");
    strangers[1].write_all(b"GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(all(&mut strangers[1]).await.starts_with("HTTP/1.1 200"), "and nobody else");
}

#[tokio::test]
async fn a_trusted_proxys_connections_are_its_own_affair_and_its_calls_are_counted() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(serde_json::json!({ "agent": "main" })).await;
    let events = format!("/api/sessions/{}/events", told.json["session"].as_str().unwrap());
    let listener = listen(&house).await;
    let proxied = |call: String| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        let connecting = socket.connect(listener.address);
        async move {
            let mut stream = connecting.await.unwrap();
            stream.write_all(call.as_bytes()).await.unwrap();
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            (stream, String::from_utf8_lossy(&chunk[..count]).into_owned())
        }
    };
    let mut pool = Vec::new();
    for _ in 0..=crate::house::CONNECTIONS {
        let (stream, told) = proxied(get(&house, "/api/sessions", false)).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        pool.push(stream);
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(proxied(get(&house, &events, false)).await);
    }
    let (_, told) = proxied(get(&house, &events, false)).await;
    assert!(told.starts_with("HTTP/1.1 429"), "{told}");
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_hung_up_on_and_blocks_nobody() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(serde_json::json!({ "agent": "main" })).await;
    let session = told.json["session"].as_str().unwrap().to_owned();
    let listener = listen(&house).await;
    let (mut stuck, _) = begin(&listener, &get(&house, &format!("/api/sessions/{session}/events"), false)).await;
    // More than sockets and queues hold on the way.
    let text = "x".repeat(1_000_000);
    for _ in 0..20 {
        let path = format!("/api/sessions/{session}/messages");
        let told = house.post("ann", &path).json(serde_json::json!({ "text": text, "mode": "queue" })).await;
        assert_eq!(told.status, http::StatusCode::ACCEPTED, "a session never waits for a reader: {}", told.text);
    }
    // Virtual time moves on its own once everybody waits.
    tokio::time::pause();
    let _ = tokio::time::timeout(Duration::from_secs(31), std::future::pending::<()>()).await;
    tokio::time::resume();
    let read = all(&mut stuck).await;
    assert!(!read.ends_with("0\r\n\r\n"), "cut, not ended");
    assert!(read.len() < 20_000_000);
}
