//! A command's way out: what it may ask, what of that is passed on, and what it comes to.
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backstay_kernel::destination::{HostGrant, Method};
use backstay_kernel::url::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, crypto};

use super::{LOOPBACK, Server, authority, grant, network, ok};
use crate::Network;
use crate::count::Counted;
use crate::dial::Times;
use crate::limits::{
    ASKED_BYTES_MAX, ASKED_FIELDS_MAX, COMPOSED_BYTES_MAX, CONNECTIONS_MAX, HEADER_BYTES_MAX, PUT_BYTES_MAX,
    REFUSAL_CHARS_MAX, REFUSALS_KEPT_MAX,
};
use crate::proxy::{Proxy, Reached, Serving, reading};

const HOUR: Duration = Duration::from_secs(3_600);

/// A proxy on a port of its own.
struct Door {
    at: std::net::SocketAddr,
    proxy: Arc<Proxy>,
    serving: Serving,
}

impl Door {
    fn open(network: Network, open: Vec<HostGrant>) -> Self {
        let proxy = Proxy::new(network, open, HOUR).unwrap();
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let serving = proxy.serve_at(listener).unwrap();
        Self { at, proxy, serving }
    }

    /// What is answered until the connection ends.
    fn says(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.at).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }

    fn connect(&self, host: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_nodelay(true).unwrap();
        write!(stream, "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        (head(&mut stream), stream)
    }

    /// Sealed, as whoever trusts this call's authority and names this host in TLS.
    fn sealed(&self, host: &str, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let (said, stream) = self.connect(host);
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        client(&self.proxy.certificate(), name, &[b"http/1.1"], stream)
    }

    fn end(self) -> Reached {
        self.serving.end()
    }
}

fn client(trusted: &str, name: &str, alpn: &[&[u8]], stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

fn head(stream: &mut impl std::io::Read) -> String {
    let mut said = Vec::new();
    let mut one = [0u8; 1];
    while !said.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut one), Ok(1)) {
        said.push(one[0]);
    }
    String::from_utf8(said).unwrap()
}

fn all(stream: &mut impl std::io::Read) -> String {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// Only asks, wherever its name leads to.
fn asking(host: &str, port: u16) -> HostGrant {
    HostGrant { methods: vec![Method::Get, Method::Head], ..grant(host, port) }
}

/// A server of `ok.test` and a network that knows its name and certificate.
fn ok_test(answer: impl Into<Vec<u8>>) -> (Server, Network) {
    let (pem, tls) = authority("ok.test");
    let answer = answer.into();
    let server = Server::start(Some(tls), move |_, stream| drop(stream.write_all(&answer)));
    (server, knowing(&pem))
}

fn knowing(pem: &str) -> Network {
    Network::new(Some(pem.as_bytes()), Vec::new()).unwrap().looking_up(|_| Ok(vec![LOOPBACK]))
}

#[test]
fn a_command_asks_a_granted_host_sealed_on_both_sides_and_carries_nothing_of_its_own_choice() {
    let (server, network) = ok_test(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nset-cookie: a=1\r\nalt-svc: h3=\":443\"\r\netag: \"e\"\r\n\r\nhello",
    );
    let (port, at) = (server.at.port(), format!("ok.test:{}", server.at.port()));
    let door = Door::open(network, vec![asking("ok.test", port)]);
    let mut stream = door.sealed(&at, "ok.test");
    write!(
        stream,
        "GET /a%20b?q=1 HTTP/1.1\r\nHost: {at}\r\nUser-Agent: curl/8\r\nAccept: */*\r\nAuthorization: Bearer x\r\nCookie: a=1\r\nX-Api-Key: k\r\nX-Auth-Token: t\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\nX-Forwarded-Host: evil.test\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nProxy-Authorization: Basic x\r\n\r\n"
    )
    .unwrap();
    let said = all(&mut stream);
    assert_eq!(said, "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    let heard = server.heard();
    let host = format!("host: {at}\r\n");
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("GET /a%20b?q=1 HTTP/1.1\r\n") && heard[0].contains(&host), "{heard:?}");
    let fields: Vec<&str> = heard[0].lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(fields, ["user-agent", "accept", "host"]);
    let reached = door.end();
    let [connection] = reached.connections.as_slice() else { panic!("{reached:?}") };
    assert_eq!((connection.host.as_str(), connection.port, connection.address), ("ok.test", port, LOOPBACK));
    assert!(connection.sent > 0 && connection.received > 0 && connection.secret.is_none());
    assert!(reached.refused.is_empty(), "{reached:?}");
}

#[test]
fn what_is_not_granted_is_never_looked_up_and_is_told() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let network = network().looking_up(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(vec![LOOPBACK])
    });
    let public = HostGrant { allow_private: Vec::new(), ..asking("ok.test", 443) };
    let door = Door::open(network, vec![public]);
    for place in [
        "evil.test:443",
        "ok.test:444",
        "a.ok.test:443",
        "okxtest:443",
        "127.0.0.1:443",
        "2130706433:443",
        "0x7f.1:443",
        "[::1]:443",
        "[::ffff:169.254.169.254]:80",
    ] {
        let (said, _) = door.connect(place);
        assert!(said.starts_with("HTTP/1.1 403") || said.starts_with("HTTP/1.1 400"), "{place}: {said}");
    }
    for url in ["http://evil.test/", "http://ok.test/", "http://ok.test:443/", "http://169.254.169.254/latest"] {
        let host = url.split('/').nth(2).unwrap();
        let said = door.says(&format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(said.starts_with("HTTP/1.1 403"), "{url}: {said}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let reached = door.end();
    assert!(reached.connections.is_empty());
    assert!(reached.refused.iter().any(|why| why.starts_with("evil.test:443 is not among")), "{reached:?}");
    assert_eq!(reached.refused.len(), REFUSALS_KEPT_MAX);
    let door = Door::open(Network::new(None, Vec::new()).unwrap(), Vec::new());
    let long = format!("http://evil.test/{}", "a".repeat(REFUSAL_CHARS_MAX));
    assert!(door.says(&format!("GET {long} HTTP/1.1\r\nHost: evil.test\r\n\r\n")).contains(&long));
    assert_eq!(door.end().refused[0].len(), REFUSAL_CHARS_MAX);
}

#[test]
fn where_nothing_is_granted_everything_is_refused() {
    let server = Server::ok("secret");
    let door = Door::open(network(), Vec::new());
    let said = door.says(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", server.url("/"), server.at));
    assert!(said.starts_with("HTTP/1.1 403") && server.heard().is_empty(), "{said}");
}

#[test]
fn a_name_that_leads_inside_and_the_runtimes_own_listener_are_refused() {
    let inside = network().looking_up(|_| Ok(vec![LOOPBACK]));
    let public = HostGrant { allow_private: Vec::new(), ..asking("ok.test", 443) };
    let door = Door::open(inside, vec![public]);
    let (said, mut stream) = door.connect("ok.test:443");
    assert!(said.starts_with("HTTP/1.1 502") && all(&mut stream).contains("this machine"), "{said}");
    assert!(door.end().connections.is_empty());
    let own = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
    let network = Network::new(None, vec![own]).unwrap();
    let door = Door::open(network, vec![grant("127.0.0.1", own.port())]);
    let said = door.says(&format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    assert!(said.starts_with("HTTP/1.1 502") && said.contains("Backstay itself"), "{said}");
}

/// Whichever way a head could be read in two ways, nothing of it leaves.
#[test]
fn no_request_hides_in_another() {
    let (server, network) = ok_test(ok("hello"));
    let at = format!("ok.test:{}", server.at.port());
    let door = Door::open(network, vec![grant("ok.test", server.at.port())]);
    let big = "x".repeat(HEADER_BYTES_MAX + 1);
    let many = "a: b\r\n".repeat(ASKED_FIELDS_MAX + 1);
    let heads = [
        "GET / HTTP/1.1\r\nHost: AT\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: AT\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: AT\r\nTransfer-Encoding : chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: AT\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: AT\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: AT\r\nContent-Length: +1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: AT\r\nContent-Length: 1, 1\r\n\r\na",
        "GET / HTTP/1.1\r\nHost: AT\r\nContent-Length: 1\r\n\r\na",
        "GET / HTTP/1.1\r\nHost: AT\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: AT\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\n\n",
        "GET / HTTP/1.1\nHost: AT\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nHost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ok.test:1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET https://evil.test/ HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET @evil.test/ HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: AT\r\n\r\n",
        "GET /\tx HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: AT\r\n\r\n",
        "get / HTTP/1.1\r\nHost: AT\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: AT\r\n\r\n",
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: AT\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nX\u{0}: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nX: a\u{0}b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nX: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\n: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nAccept: BIG\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: AT\r\nMANY\r\n\r\n",
    ];
    for head in heads {
        let mut stream = door.sealed(&at, "ok.test");
        let text = head.replace("AT", &at).replace("BIG", &big).replace("MANY", many.trim_end());
        let _ = stream.write_all(text.as_bytes());
        let said = all(&mut stream);
        let status: u16 = said.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
        assert!((400..=505).contains(&status) && status != 502, "{head:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 4").count() + said.matches("HTTP/1.1 5").count(), 1, "{head:?}: {said}");
    }
    assert!(server.heard().is_empty(), "{:?}", server.heard());
}

#[test]
fn a_name_in_tls_that_is_not_the_one_in_connect_gets_no_certificate() {
    let (server, network) = ok_test(ok("hello"));
    let at = format!("ok.test:{}", server.at.port());
    let door = Door::open(network, vec![asking("ok.test", server.at.port())]);
    for name in ["evil.test", "a.ok.test", "127.0.0.1"] {
        let mut stream = door.sealed(&at, name);
        assert!(write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\n\r\n").is_err(), "{name}");
    }
    let (_, stream) = door.connect(&at);
    let mut stream = client(&door.proxy.certificate(), "ok.test", &[b"h2"], stream);
    assert!(write!(stream, "PRI * HTTP/2.0\r\n\r\n").is_err());
    assert!(server.heard().is_empty());
    let reached = door.end();
    // It is not the command that finds the certificate to be another's: there is none.
    let why = "no server certificate chain resolved";
    assert!(reached.refused.iter().any(|refused| refused.ends_with(why)), "{reached:?}");
}

#[test]
fn the_authority_of_a_call_vouches_for_its_hosts_alone() {
    let proxy = |hosts: &[&str]| {
        let grants = hosts.iter().map(|host| asking(host, 443)).collect();
        Proxy::new(network(), grants, HOUR).unwrap()
    };
    let one = proxy(&["ok.test", "10.0.0.5"]);
    let text = shown(&one.certificate());
    for part in
        ["X509v3 Name Constraints: critical", "DNS:ok.test", "IP:10.0.0.5/255.255.255.255", "CA:TRUE, pathlen:0"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("Excluded") && text.contains("IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"), "{text}");
    // No name at all is permitted where only addresses are granted.
    assert!(shown(&proxy(&["10.0.0.5"]).certificate()).contains("Excluded:\n                  DNS:\n"));
    assert_ne!(one.certificate(), proxy(&["ok.test", "10.0.0.5"]).certificate());
}

fn shown(pem: &str) -> String {
    let mut openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-text"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn methods_and_paths_are_those_of_the_grant_and_a_body_goes_only_with_a_method_that_sends() {
    let (pem, tls) = authority("ok.test");
    let server = Server::start(Some(tls), |_, stream| drop(stream.write_all(ok("done").as_bytes())));
    let port = server.at.port();
    let at = format!("ok.test:{port}");
    let sends =
        HostGrant { methods: vec![Method::Post], path_prefix: "/acme/app.git".into(), ..grant("ok.test", port) };
    let reads = HostGrant { path_prefix: "/acme".into(), ..asking("ok.test", port) };
    let door = Door::open(knowing(&pem), vec![reads, sends]);
    let ask = |head: &str, body: &str| {
        let mut stream = door.sealed(&at, "ok.test");
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let _ = write!(stream, "{head} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{length}\r\n{body}");
        all(&mut stream).get(9..12).unwrap_or_default().to_owned()
    };
    assert_eq!(ask("GET /acme/x", ""), "200");
    assert_eq!(ask("POST /acme/app.git/git-upload-pack", "want"), "200");
    assert!(server.heard()[1].ends_with("content-length: 4\r\n\r\nwant"), "{:?}", server.heard());
    for head in ["GET /", "GET /acmes", "POST /acme/other.git", "PUT /acme/app.git", "DELETE /acme/x"] {
        assert_eq!(ask(head, ""), "403", "{head}");
    }
    // Where a prefix is granted, no path that some read as another one passes.
    let mut stream = door.sealed(&at, "ok.test");
    let length = PUT_BYTES_MAX + 1;
    write!(stream, "POST /acme/app.git HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n").unwrap();
    assert!(all(&mut stream).starts_with("HTTP/1.1 413"));
    for path in ["/acme/../x", "/acme/%2e%2e/x", "/acme%2fapp.git", "/acme//x", "/acme/x;y", "/acme\\x"] {
        assert!(matches!(ask(&format!("GET {path}"), "").as_str(), "403" | "400"), "{path}");
    }
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn where_every_path_is_granted_a_path_is_sent_as_it_was_written() {
    let (server, network) = ok_test(ok("hello"));
    let at = format!("ok.test:{}", server.at.port());
    let door = Door::open(network, vec![asking("ok.test", server.at.port())]);
    let mut stream = door.sealed(&at, "ok.test");
    write!(stream, "GET /@scope%2fname HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    assert!(all(&mut stream).ends_with("hello"));
    assert!(server.heard()[0].starts_with("GET /@scope%2fname HTTP/1.1\r\n"));
}

/// A server that keeps its connections, and says how many there were.
fn keeping(tls: Arc<ServerConfig>, answers: &'static [&'static str]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            connections.fetch_add(1, Ordering::Relaxed);
            stream.set_nodelay(true).unwrap();
            let tls = tokio_rustls::rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = StreamOwned::new(tls, stream);
            for answer in answers {
                if head(&mut stream).is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (port, count)
}

#[test]
fn a_connection_stays_for_the_next_request_and_every_form_of_an_answer_is_passed_on() {
    let (pem, tls) = authority("ok.test");
    let (port, connections) = keeping(
        tls,
        &[
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        ],
    );
    let door = Door::open(knowing(&pem), vec![asking("ok.test", port)]);
    let at = format!("ok.test:{port}");
    let mut stream = door.sealed(&at, "ok.test");
    let mut ask = |method: &str, body: &[u8]| {
        write!(stream, "{method} / HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
        let said = head(&mut stream);
        let mut got = vec![0u8; body.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, body, "{said}");
        said
    };
    assert_eq!(ask("GET", b"ab"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(ask("GET", b"3\r\nabc\r\n0\r\n\r\n"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(ask("HEAD", b""), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    assert_eq!(ask("GET", b""), "HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n");
    assert!(ask("GET", b"").starts_with("HTTP/1.1 502"));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(door.end().connections.len(), 1);
}

#[test]
fn a_tunnel_passes_on_what_it_cannot_read() {
    let (pem, tls) = authority("ok.test");
    let server = Server::start(Some(tls), |_, stream| drop(stream.write_all(ok("hello").as_bytes())));
    let port = server.at.port();
    let tunnel = HostGrant { tunnel: true, ..asking("ok.test", port) };
    let door = Door::open(network().looking_up(|_| Ok(vec![LOOPBACK])), vec![tunnel]);
    let (said, stream) = door.connect(&format!("ok.test:{port}"));
    assert_eq!(said, "HTTP/1.1 200 Connection established\r\n\r\n");
    // The host itself answers, by its own certificate.
    let mut stream = client(&pem, "ok.test", &[], stream);
    write!(stream, "PUT / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer y\r\n\r\n").unwrap();
    assert!(all(&mut stream).ends_with("hello"));
    assert!(server.heard()[0].contains("Bearer y"));
    assert!(door.end().connections[0].sent > 0);
}

#[test]
fn slow_heads_are_cut_and_long_ones_refused() {
    let short = Times { asked: Duration::from_millis(50), ..Times::default() };
    let door = Door::open(network().hurried(short), Vec::new());
    assert_eq!(door.says(""), "");
    assert!(door.says("GET / HT").starts_with("HTTP/1.1 408"));
    let door = Door::open(network(), Vec::new());
    let long = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(ASKED_BYTES_MAX));
    assert!(door.says(&long).starts_with("HTTP/1.1 431"));
    let early = "CONNECT ok.test:443 HTTP/1.1\r\nhost: ok.test:443\r\n\r\nearly";
    assert!(door.says(early).starts_with("HTTP/1.1 400"));
}

#[test]
fn a_connection_on_which_nothing_is_asked_for_is_cut() {
    let (pem, tls) = authority("ok.test");
    let (port, _) = keeping(tls, &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"; 2]);
    let idle = Times { idle: Duration::from_millis(50), ..Times::default() };
    let door = Door::open(knowing(&pem).hurried(idle), vec![asking("ok.test", port)]);
    let at = format!("ok.test:{port}");
    let mut stream = door.sealed(&at, "ok.test");
    write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
    assert_eq!(all(&mut stream), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn what_all_connections_of_a_command_move_is_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let mut moved = Arc::default();
        for (sends, is_within) in [(6, true), (4, true), (1, false)] {
            let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut counted = Counted::new(stream, Arc::default()).at_most(Arc::clone(&moved), 10);
            assert_eq!(counted.write_all(&vec![b'x'; sends]).await.is_ok(), is_within, "{sends}");
        }
        moved = Arc::default();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut counted = Counted::new(stream, Arc::default()).at_most(moved, 10);
        let mut other = listener.incoming().nth(3).unwrap().unwrap();
        other.write_all(&[b'x'; 11]).unwrap();
        assert!(counted.read_exact(&mut [0; 11]).await.is_err());
    });
}

#[test]
fn a_flood_of_connections_waits_and_those_to_hosts_are_counted() {
    let server = Server::ok("hello");
    let door = Door::open(network(), vec![server.grant()]);
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX * 3).map(|_| TcpStream::connect(door.at).unwrap()).collect();
    drop(silent);
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", server.url("/"), server.at);
    for _ in 0..CONNECTIONS_MAX {
        assert!(door.says(&request).ends_with("hello"));
    }
    let said = door.says(&request);
    assert!(said.starts_with("HTTP/1.1 429"), "{said}");
    assert_eq!(door.end().connections.len(), CONNECTIONS_MAX);
    assert_eq!(server.heard().len(), CONNECTIONS_MAX);
}

/// They are kept open, each with a request that is not whole yet.
#[test]
fn whoever_comes_beyond_the_bound_waits_and_is_served_once_another_has_gone() {
    let server = Server::ok("hello");
    let patient = Times { asked: HOUR, ..Times::default() };
    let door = Door::open(network().hurried(patient), vec![server.grant()]);
    let begun = |_| {
        let mut stream = TcpStream::connect(door.at).unwrap();
        stream.write_all(b"GET ").unwrap();
        stream
    };
    let mut held: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(begun).collect();
    let mut next = TcpStream::connect(door.at).unwrap();
    write!(next, "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.url("/"), server.at).unwrap();
    // It would be answered at once, and waits for as long as the others stay.
    next.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(next.read(&mut [0]).is_err() && server.heard().is_empty());
    drop(held.pop());
    next.set_read_timeout(None).unwrap();
    assert!(all(&mut next).ends_with("hello"));
    assert_eq!((server.heard().len(), held.len()), (1, CONNECTIONS_MAX - 1));
}

#[test]
fn what_urls_and_headers_can_carry_out_is_bounded() {
    let (pem, tls) = authority("ok.test");
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (port, _) = keeping(tls, &[OK; 300]);
    let at = format!("ok.test:{port}");
    let door = Door::open(knowing(&pem), vec![asking("ok.test", port)]);
    let mut stream = door.sealed(&at, "ok.test");
    let target = format!("/?{}", "a".repeat(1_022));
    let mut sent = 0;
    loop {
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
        let said = head(&mut stream);
        if !said.starts_with("HTTP/1.1 200") {
            assert!(said.starts_with("HTTP/1.1 429"), "{said}");
            break;
        }
        sent += target.len() as u64;
    }
    assert_eq!(sent, COMPOSED_BYTES_MAX);
}

#[test]
fn nothing_is_left_of_a_call_that_has_ended() {
    let door = Door::open(network(), Vec::new());
    let mut open = TcpStream::connect(door.at).unwrap();
    let at = door.at;
    let _ = door.end();
    assert_eq!(all(&mut open), "");
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn what_is_read_names_what_is_granted() {
    let open = [asking("ok.test", 443), asking("10.0.0.5", 80)];
    let read = |text: &str| reading(text.as_bytes(), None, &open).map_err(|refused| refused.status);
    assert_eq!(read("CONNECT OK.test.:443 HTTP/1.1\r\nHost: ok.test\r\n\r\n").unwrap(), "CONNECT ok.test:443");
    assert_eq!(read("CONNECT ok.test\0.evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"), Err(400));
    assert_eq!(read("CONNECT ok.test:443@evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n"), Err(400));
    assert_eq!(read("GET http://10.0.0.5/x HTTP/1.1\r\nHost: 10.0.0.5\r\n\r\n").unwrap(), "GET 10.0.0.5:80 /x");
    let host = Host::read("ok.test").unwrap();
    let inner = reading(b"GET /x HTTP/1.0\r\n\r\n", Some((&host, 443)), &open);
    assert_eq!(inner.unwrap(), "GET ok.test:443 /x");
}
