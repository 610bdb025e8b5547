//! Servers on loopback that answer what a test wants, and names that lead where a test wants.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::url::Url;
use bytes::Bytes;
use http::HeaderMap;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use crate::{Answer, Ask, Fault, Made, Network};

mod addresses;
mod pages;
mod parsers;
mod proxy;
mod requests;

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What was sent to a server, one text for each connection.
pub type Heard = Arc<Mutex<Vec<String>>>;

pub struct Server {
    pub at: SocketAddr,
    pub heard: Heard,
}

impl Server {
    /// Answers each connection with these bytes, once it has read a head and the body that is announced.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(None, move |_, stream| drop(stream.write_all(&bytes)))
    }

    pub fn ok(body: &str) -> Self {
        Self::answering(ok(body))
    }

    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str, &mut dyn std::io::Write) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let (at, heard) = (listener.local_addr().unwrap(), Heard::default());
        let all = Arc::clone(&heard);
        // Ends with the test's process: nobody connects any more.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                match &tls {
                    None => serve(stream, &all, &answer),
                    Some(tls) => {
                        let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                        serve(StreamOwned::new(tls, stream), &all, &answer);
                    }
                }
            }
        });
        Self { at, heard }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.at)
    }

    /// Lets everything be asked for there.
    pub fn grant(&self) -> HostGrant {
        grant("127.0.0.1", self.at.port())
    }
}

fn serve<S: std::io::Read + std::io::Write>(
    mut stream: S,
    all: &Heard,
    answer: &dyn Fn(&str, &mut dyn std::io::Write),
) {
    let mut text = Vec::new();
    let mut one = [0u8; 1];
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut one) {
            Ok(1) => text.push(one[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&text).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0u8; length.unwrap_or(0)];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    text.extend_from_slice(&body);
    let text = String::from_utf8_lossy(&text).into_owned();
    all.lock().unwrap().push(text.clone());
    answer(&text, &mut stream);
    let _ = stream.flush();
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub fn grant(host: &str, port: u16) -> HostGrant {
    HostGrant {
        host: host.to_owned(),
        port,
        methods: Method::ALL.to_vec(),
        path_prefix: "/".to_owned(),
        allow_private: vec![LOOPBACK],
        audience: Audience::Public,
        secrets: false,
        tunnel: false,
    }
}

pub fn network() -> Network {
    Network::new(None, Vec::new()).unwrap()
}

pub fn get(network: &Network, url: &str, grant: &HostGrant) -> Made {
    asking(network, Method::Get, url, "", grant)
}

pub fn asking(network: &Network, method: Method, url: &str, body: &str, grant: &HostGrant) -> Made {
    let url = Url::read(url).unwrap();
    network.ask(&Ask {
        url: &url,
        method,
        headers: &HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        idempotency_key: (!method.only_asks()).then_some("key-1"),
        credential: None,
        grant,
    })
}

#[track_caller]
pub fn answer(made: Made) -> Answer {
    made.answer.unwrap()
}

/// Why nothing was sent.
#[track_caller]
pub fn not_sent(made: Made) -> String {
    match made.answer {
        Err(Fault::NotSent(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A certificate in PEM that vouches for itself, and a server's side of TLS for `name` with it.
pub fn authority(name: &str) -> (String, Arc<ServerConfig>) {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&cert).unwrap()],
            PrivateKeyDer::from_pem_file(&key).unwrap(),
        )
        .unwrap();
    (std::fs::read_to_string(cert).unwrap(), Arc::new(config))
}

/// Whoever connects and says nothing.
pub fn silent() -> (SocketAddr, std::thread::JoinHandle<Option<TcpStream>>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    (at, std::thread::spawn(move || listener.accept().ok().map(|(stream, _)| stream)))
}
