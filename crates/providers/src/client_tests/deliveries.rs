//! A line handed to whoever takes such: taken or not, and nothing else is asked of the other side.
use super::server::*;
use crate::Client;
use crate::limits::DELIVERY_MS;

async fn deliver(server: &Server) -> Result<(), String> {
    let headers = [("webhook-id", "one".to_owned())];
    Client::new().unwrap().deliver(&format!("{}/hook?team=1", server.url), "{}".to_owned(), &headers).await
}

fn head(status: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn what_is_answered_with_a_yes_is_taken_however_much_follows() {
    let endless = [head("200 OK", "content-length: 4294967296\r\n"), vec![b'x'; 65536]].concat();
    let server = Server::start(vec![endless], Then::Hang).await;
    assert_eq!(deliver(&server).await, Ok(()), "the rest is not waited for");
    let request = server.requests.lock().unwrap().remove(0).to_ascii_lowercase();
    assert!(request.starts_with("post /hook?team=1 ") && request.contains("\r\nwebhook-id: one\r\n"), "{request}");
    assert!(request.contains("\r\ncontent-type: application/json\r\n") && request.ends_with("{}"), "{request}");
}

#[tokio::test]
async fn a_redirect_is_a_no_and_is_not_followed() {
    let elsewhere = Server::start(vec![head("200 OK", "content-length: 0\r\n")], Then::Close).await;
    let to = format!("location: {}/hook\r\ncontent-length: 0\r\n", elsewhere.url);
    for status in ["301 Moved", "307 Moved"] {
        let server = Server::start(vec![head(status, &to)], Then::Close).await;
        assert!(deliver(&server).await.unwrap_err().contains(&status[..3]));
    }
    assert_eq!(*elsewhere.connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn whoever_says_nothing_is_given_up() {
    let server = Server::start(Vec::new(), Then::Hang).await;
    let asked = async {
        while server.requests.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // Nothing else goes on: the clock runs to the next thing that is waited for.
        tokio::time::pause();
    };
    let (told, ()) = tokio::join!(deliver(&server), asked);
    assert_eq!(told, Err(format!("no answer within {DELIVERY_MS} ms")));
}
