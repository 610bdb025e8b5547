//! What is sent, what is taken in, and how it ends.
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backstay_kernel::destination::{HostGrant, Method};
use backstay_kernel::url::Url;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{LOOPBACK, Server, answer, asking, authority, get, grant, network, not_sent, ok, silent};
use crate::dial::Times;
use crate::{Ask, BODY_BYTES_MAX, BadHeader, Credential, Fault, Network, Piece, Took, chosen};

#[test]
fn a_request_carries_what_was_judged_and_nothing_of_its_own() {
    let server = Server::ok("hello");
    let got = get(&network(), &server.url("/a%20b?q=1#part"), &plain(&server));
    let connection = got.connection.clone().unwrap();
    assert_eq!(answer(got).body, b"hello");
    let heard = server.heard();
    let host = server.at;
    assert_eq!(
        heard,
        [format!(
            "GET /a%20b?q=1 HTTP/1.1\r\nhost: {host}\r\nuser-agent: backstay/{}\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )]
    );
    assert_eq!((connection.host.as_str(), connection.port, connection.address), ("127.0.0.1", host.port(), LOOPBACK));
    assert_eq!((connection.sent, connection.received), (heard[0].len() as u64, ok("hello").len() as u64));
}

#[test]
fn what_does_more_than_ask_carries_the_key_of_its_effect() {
    let server = Server::ok("done");
    answer(asking(&network(), Method::Post, &server.url("/"), "{}", &plain(&server)));
    let heard = server.heard().remove(0);
    assert!(heard.starts_with("POST / HTTP/1.1\r\n") && heard.ends_with("\r\n\r\n{}"), "{heard}");
    assert!(heard.contains("idempotency-key: key-1\r\n") && heard.contains("content-length: 2\r\n"), "{heard}");
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::ok("secret");
    let server = Server::answering(format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url("/")
    ));
    let answer = answer(get(&network(), &server.url("/"), &plain(&server)));
    assert_eq!((answer.status, answer.header(&LOCATION)), (302, Some(elsewhere.url("/").as_str())));
    assert!(elsewhere.heard().is_empty() && server.heard().len() == 1);
}

#[test]
fn only_headers_that_say_something_are_taken_in() {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nset-cookie: id=1\r\nauthorization: Bearer x\r\ncontent-type: Text/HTML; charset=utf-8\r\ncontent-length: 0\r\n\r\n",
    );
    let answer = answer(get(&network(), &server.url("/"), &plain(&server)));
    assert_eq!(
        answer.shown().cloned().collect::<Vec<_>>(),
        [("content-type".to_owned(), "Text/HTML; charset=utf-8".to_owned())]
    );
    assert_eq!(answer.content_type().as_deref(), Some("text/html"));
}

#[test]
fn an_answer_without_end_is_cut_and_says_so() {
    let server = Server::start(None, |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    });
    let answer = answer(get(&network(), &server.url("/"), &plain(&server)));
    assert_eq!((answer.body.len(), answer.is_whole), (BODY_BYTES_MAX, false));
}

#[test]
fn a_body_that_breaks_off_is_told_from_one_that_ends() {
    let cut = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let answer = answer(get(&network(), &cut.url("/"), &plain(&cut)));
    assert_eq!((answer.body.as_slice(), answer.is_whole), (&b"half"[..], false));
}

/// Two lengths, a length that is none, a head that never ends, another protocol: no answer at all.
#[test]
fn an_answer_that_two_readers_would_read_differently_is_none() {
    let fields = "x: y\r\n".repeat(200);
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        "HTTP/0.9 hello",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "",
        &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
        &format!("HTTP/1.1 200 OK\r\n{long}\r\n"),
    ] {
        let server = Server::answering(bytes);
        let made = get(&network(), &server.url("/"), &plain(&server));
        assert!(matches!(made.answer, Err(Fault::Lost(_))), "{:.60}: {:?}", bytes, made.answer);
    }
}

#[test]
fn what_left_and_was_not_answered_is_told_from_what_never_left() {
    let short = Duration::from_millis(100);
    let hurried = network().hurried(Times { connect: short, head: short, whole: short * 2, asked: short, idle: short });
    let (at, held) = silent();
    let made = asking(&hurried, Method::Post, &format!("http://{at}/"), "x", &grant_at(at.port()));
    assert!(matches!(made.answer, Err(Fault::Lost(_))));
    drop(held.join().unwrap());
    // The listener is gone.
    assert!(
        not_sent(asking(&hurried, Method::Post, &format!("http://{at}/"), "x", &grant_at(at.port())))
            .contains("reached")
    );
    // TLS that is never spoken.
    let (at, held) = silent();
    let why = not_sent(asking(
        &hurried,
        Method::Post,
        &format!("https://127.0.0.1:{}/", at.port()),
        "x",
        &grant_at(at.port()),
    ));
    assert!(why.contains("not connected"), "{why}");
    drop(held.join().unwrap());
}

#[test]
fn tls_is_spoken_with_the_host_that_was_judged() {
    let (pem, config) = authority("a.test");
    let server = Server::start(Some(config), |_, stream| drop(stream.write_all(ok("sealed").as_bytes())));
    let port = server.at.port();
    let knowing = Network::new(Some(pem.as_bytes()), Vec::new()).unwrap().looking_up(|_| Ok(vec![LOOPBACK]));
    let sealed = get(&knowing, &format!("https://a.test:{port}/"), &grant("a.test", port));
    assert_eq!(answer(sealed).body, b"sealed");
    // Another name at the same address, and an authority that nobody named.
    let why = not_sent(get(&knowing, &format!("https://b.test:{port}/"), &grant("b.test", port)));
    assert!(why.contains("no TLS"), "{why}");
    let unknowing = network().looking_up(|_| Ok(vec![LOOPBACK]));
    assert!(not_sent(get(&unknowing, &format!("https://a.test:{port}/"), &grant("a.test", port))).contains("no TLS"));
    assert_eq!(server.heard().len(), 1);
}

/// The one request that a secret is bound to carries it, whatever the call wrote there, and nothing that repeats
/// it comes back.
#[test]
fn a_secret_goes_out_sealed_and_does_not_come_back() {
    let (pem, config) = authority("a.test");
    let server = Server::start(Some(config), |heard, stream| {
        let head = "HTTP/1.1 200 OK\r\netag: sesame-open\r\ncontent-type: text/plain\r\n\r\n";
        let _ = stream.write_all(format!("{head}{heard} sesame-open!").as_bytes());
    });
    let port = server.at.port();
    let network = Network::new(Some(pem.as_bytes()), Vec::new()).unwrap().looking_up(|_| Ok(vec![LOOPBACK]));
    let url = Url::read(&format!("https://a.test:{port}/")).unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let credential = || {
        let taken = Arc::clone(&taken);
        Credential {
            secret: "crm".to_owned(),
            header: HeaderName::from_static("authorization"),
            value: HeaderValue::from_static("Bearer sesame-open"),
            here: false,
            took: Took::new(move |times| {
                taken.fetch_add(times, Ordering::Relaxed);
            }),
        }
    };
    let granted = grant("a.test", port);
    let headers = HeaderMap::from_iter([(HeaderName::from_static("authorization"), HeaderValue::from_static("mine"))]);
    let made = network.ask(&Ask {
        url: &url,
        method: Method::Get,
        headers: &headers,
        body: Bytes::new(),
        idempotency_key: None,
        credential: Some(credential()),
        grant: &granted,
    });
    assert_eq!(made.connection.as_ref().unwrap().secret.as_deref(), Some("crm"));
    let answer = answer(made);
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("authorization: [secret:crm]") && body.ends_with("[secret:crm]!"), "{body}");
    assert!(!body.contains("sesame") && answer.headers.iter().all(|(_, value)| !value.contains("sesame")));
    // One field of the head, and what the body says twice.
    assert_eq!(taken.load(Ordering::Relaxed), 3);
    let heard = server.heard().remove(0);
    assert!(heard.contains("authorization: Bearer sesame-open\r\n") && !heard.contains("mine"), "{heard}");
    // The same in clear text is not sent at all.
    let plain = Server::ok("x");
    let url = Url::read(&plain.url("/")).unwrap();
    let granted = plain.grant();
    let made = network.ask(&Ask {
        url: &url,
        method: Method::Get,
        headers: &HeaderMap::new(),
        body: Bytes::new(),
        idempotency_key: None,
        credential: Some(credential()),
        grant: &granted,
    });
    assert!(not_sent(made).contains("clear text") && plain.heard().is_empty());
}

/// What may be said in clear text to this machine is said to nothing else: no name that only leads here, no neighbour
/// that may be called, and no other place that has this machine's name.
#[test]
fn a_secret_for_this_machine_goes_to_it_in_clear_text_and_nowhere_else() {
    let plain = Server::ok("x");
    let port = plain.at.port();
    let neighbour = IpAddr::from([10, 0, 0, 5]);
    let asked = |host: &str, here: bool, leads: IpAddr| {
        let url = Url::read(&format!("http://{host}:{port}/")).unwrap();
        let granted = HostGrant { allow_private: vec![LOOPBACK, neighbour], ..grant(host, port) };
        let credential = Credential {
            secret: "mcp.far".to_owned(),
            header: HeaderName::from_static("authorization"),
            value: HeaderValue::from_static("Bearer sesame-open"),
            here,
            took: Took::default(),
        };
        network().looking_up(move |_| Ok(vec![leads])).ask(&Ask {
            url: &url,
            method: Method::Get,
            headers: &HeaderMap::new(),
            body: Bytes::new(),
            idempotency_key: None,
            credential: Some(credential),
            grant: &granted,
        })
    };
    for (host, here, leads) in
        [("a.test", true, LOOPBACK), ("10.0.0.5", true, neighbour), ("localhost", false, LOOPBACK)]
    {
        assert!(not_sent(asked(host, here, leads)).contains("clear text"), "{host}");
    }
    for leads in [neighbour, IpAddr::from([93, 184, 216, 34])] {
        let why = not_sent(asked("localhost", true, leads));
        assert!(why.contains("which is not this machine"), "{why}");
    }
    assert!(plain.heard().is_empty());
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(answer(asked(host, true, LOOPBACK)).status, 200);
    }
    assert!(plain.heard().iter().all(|heard| heard.contains("authorization: Bearer sesame-open\r\n")));
}

/// Where a body was cut, what is left of the secret at its end goes too.
#[test]
fn the_beginning_of_a_secret_at_the_end_of_a_cut_body_is_not_shown() {
    let (pem, config) = authority("a.test");
    let server = Server::start(Some(config), |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nkey: sesame-o");
    });
    let port = server.at.port();
    let network = Network::new(Some(pem.as_bytes()), Vec::new()).unwrap().looking_up(|_| Ok(vec![LOOPBACK]));
    let url = Url::read(&format!("https://a.test:{port}/")).unwrap();
    let granted = grant("a.test", port);
    let made = network.ask(&Ask {
        url: &url,
        method: Method::Get,
        headers: &HeaderMap::new(),
        body: Bytes::new(),
        idempotency_key: None,
        credential: Some(Credential {
            secret: "crm".to_owned(),
            header: HeaderName::from_static("x-key"),
            value: HeaderValue::from_static("sesame-open"),
            here: false,
            took: Took::default(),
        }),
        grant: &granted,
    });
    assert_eq!(answer(made).body, b"key: ");
}

/// In chunks, each of which is a piece of its own: the secret is split over two of them, and no piece shows a part of it.
#[test]
fn a_secret_that_is_split_over_the_pieces_of_an_answer_is_taken_out_on_the_way() {
    let chunks = ["data: sesa", "me-", "open sesame", "-opal Bearer sesame-open\n", "Bearer ses"];
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    let (pem, config) = authority("a.test");
    let server = Server::start(Some(config), move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{body}0\r\n\r\n").as_bytes());
    });
    let port = server.at.port();
    let network = Network::new(Some(pem.as_bytes()), Vec::new()).unwrap().looking_up(|_| Ok(vec![LOOPBACK]));
    let url = Url::read(&format!("https://a.test:{port}/")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pieces = runtime.block_on(async {
        let ask = Ask {
            url: &url,
            method: Method::Get,
            headers: &HeaderMap::new(),
            body: Bytes::new(),
            idempotency_key: None,
            credential: Some(Credential {
                secret: "crm".to_owned(),
                header: HeaderName::from_static("authorization"),
                value: HeaderValue::from_static("Bearer sesame-open"),
                here: false,
                took: Took::default(),
            }),
            grant: &grant("a.test", port),
        };
        let mut coming = network.open(&ask, &mut |_| ()).await.unwrap();
        let mut pieces = Vec::new();
        loop {
            match coming.piece().await.unwrap() {
                Piece::Bytes(bytes) => pieces.push(String::from_utf8(bytes).unwrap()),
                Piece::End(bytes) => break pieces.push(String::from_utf8(bytes).unwrap()),
                Piece::Broken | Piece::TooLong => panic!("{pieces:?}"),
            }
        }
        pieces
    });
    // What only begins like it is itself.
    let expected = ["data: ", "", "[secret:crm] ", "sesame-opal [secret:crm]\n", "", "Bearer ses"];
    assert_eq!(pieces, expected);
}

/// What went over a connection is known before its request has ended, and whether it ends well or not.
#[test]
fn a_connection_is_told_as_soon_as_it_is_there() {
    let (at, _held) = silent();
    let url = Url::read(&format!("http://{at}/")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut told, network) = (Vec::new(), network());
    runtime.block_on(async {
        let (headers, grant) = (HeaderMap::new(), grant_at(at.port()));
        let body = Bytes::from_static(b"{}");
        let method = Method::Post;
        let ask =
            Ask { url: &url, method, headers: &headers, body, idempotency_key: None, credential: None, grant: &grant };
        let mut reached = |connection| told.push(connection);
        let asked = network.open(&ask, &mut reached);
        // Nobody ever answers.
        assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
    });
    let connection = told.remove(0)();
    assert_eq!((connection.port, connection.received), (at.port(), 0));
    assert!(connection.sent > 0 && told.is_empty());
}

/// Exactly as much as is taken is a whole answer.
#[test]
fn an_answer_that_fills_its_bound_is_whole() {
    for (bytes, is_whole) in [(100, true), (101, false)] {
        let body = "x".repeat(bytes);
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}"));
        let answer = answer(get(&network().taking(100), &server.url("/"), &plain(&server)));
        assert_eq!((answer.body.len(), answer.is_whole), (100, is_whole));
    }
}

#[test]
fn a_file_without_certificates_is_named() {
    for bytes in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Network::new(Some(bytes.as_bytes()), Vec::new()).is_err(), "{bytes}");
    }
}

#[test]
fn a_call_chooses_headers_from_a_list() {
    let one = |name, value| chosen([(name, value)].into_iter());
    let (headers, bytes) = one("Accept", "text/plain").unwrap();
    assert_eq!((headers.len(), bytes), (1, "accepttext/plain".len()));
    for name in [
        "authorization",
        "cookie",
        "host",
        "x-api-key",
        "x-auth-token",
        "proxy-authorization",
        "x-http-method-override",
        "x-original-url",
        "transfer-encoding",
        "content-length",
        "connection",
        "upgrade",
        "te",
        "expect",
        "forwarded",
        "user-agent",
        "",
    ] {
        assert!(matches!(one(name, "x"), Err(BadHeader::NotChosen(_))), "{name}");
    }
    for value in ["a\r\nhost: b", "a\0", "ü", "\t"] {
        assert!(matches!(one("accept", value), Err(BadHeader::Value(_))), "{value:?}");
    }
    assert_eq!(one("accept", &"x".repeat(1_025)), Err(BadHeader::Value("accept".into())));
    assert_eq!(chosen([("accept", "a"), ("Accept", "b")].into_iter()), Err(BadHeader::TooMany));
}

fn grant_at(port: u16) -> backstay_kernel::destination::HostGrant {
    grant("127.0.0.1", port)
}

/// Clear text to a port that is not 80.
fn plain(server: &Server) -> backstay_kernel::destination::HostGrant {
    server.grant()
}
