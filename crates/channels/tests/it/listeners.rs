//! Real sockets: caps, deadlines, the local door, and how listeners end.
use std::time::Duration;

use backstay_channels::{serve_local, serve_tcp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::house::{House, Line};

struct Listener {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn listen(house: &House) -> Listener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    Listener { address, stop, task: tokio::spawn(serve_tcp(listener, None, house.tcp.clone(), stopped)) }
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
    assert_eq!(all(&mut one_more).await, "", "hung up on at once");
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
    let house = House::new(&[Line::Slowly("first", "")]).await;
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
        house.token("owner"),
        body.len()
    );
    let before =
        house.engine.store().head(backstay_kernel::id::SessionId::parse(&session).unwrap()).unwrap().unwrap().seq;
    waiting.write_all(call.as_bytes()).await.unwrap();
    let mut events = house.engine.subscribe(backstay_kernel::id::SessionId::parse(&session).unwrap()).await.unwrap();
    while house.engine.store().head(backstay_kernel::id::SessionId::parse(&session).unwrap()).unwrap().unwrap().seq
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
