//! The way out of a command: it speaks to this proxy, and to nobody else. What it asks for is read, held to what
//! the call may reach, and asked for anew; of a host whose grant says so it is passed on sealed.
mod authority;
mod head;
mod relay;
mod serving;
mod wanted;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_kernel::destination::{Connection, HostGrant};
use backstay_kernel::url::Host;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::count::Counted;
use crate::dial::Network;
use crate::limits::{COMPOSED_BYTES_MAX, CONNECTIONS_MAX, MOVED_BYTES_MAX, REFUSAL_CHARS_MAX, REFUSALS_KEPT_MAX};
use crate::request::speaking;
use authority::Authority;
use head::{Head, Scan};
use wanted::{Wanted, asked, connected, not_granted};

pub use serving::Serving;

/// Why something was not passed on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    pub status: u16,
    pub why: String,
}

impl Refused {
    fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

/// What a head that a command might write comes to: the host, port, method and target of a request that is
/// granted, or of a tunnel.
///
/// # Errors
/// Why it is not passed on.
pub fn reading(bytes: &[u8], within: Option<(&Host, u16)>, open: &[HostGrant]) -> Result<String, Refused> {
    let mut scan = Scan::default();
    let mut read = Ok(None);
    for byte in bytes {
        read = scan.push(*byte);
        if !matches!(read, Ok(None)) {
            break;
        }
    }
    let head = read?.ok_or_else(|| Refused::new(400, "it does not end"))?;
    if within.is_none() && head.method == "CONNECT" {
        let (host, port) = connected(&head)?;
        let is_open = open.iter().any(|grant| grant.is_at(host.as_str(), port));
        return if is_open { Ok(format!("CONNECT {}:{port}", host.as_str())) } else { Err(not_granted("it")) };
    }
    let wanted = asked(&head, within, open)?;
    Ok(format!("{} {}:{} {}", wanted.method.word(), wanted.host.as_str(), wanted.port, wanted.target))
}

/// What one command may reach, and what it has reached.
pub struct Proxy {
    network: Network,
    open: Vec<HostGrant>,
    authority: Authority,
    /// Of URLs and header fields, bytes.
    composed: AtomicU64,
    moved: Arc<AtomicU64>,
    reached: Mutex<Vec<Box<dyn Fn() -> Connection + Send>>>,
    refused: Mutex<BTreeSet<String>>,
}

/// What a command did with its network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    pub connections: Vec<Connection>,
    /// What was not passed on, in words, each once.
    pub refused: Vec<String>,
}

impl Proxy {
    /// # Errors
    /// No key or certificate can be made.
    pub fn new(network: Network, open: Vec<HostGrant>, lifetime: Duration) -> Result<Arc<Self>, String> {
        let authority = Authority::new(&open, lifetime).map_err(|error| format!("no authority: {error}"))?;
        Ok(Arc::new(Self {
            network,
            open,
            authority,
            composed: AtomicU64::new(0),
            moved: Arc::default(),
            reached: Mutex::default(),
            refused: Mutex::default(),
        }))
    }

    /// Whom the command is to trust.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.authority.pem()
    }

    /// Everything that was reached until now.
    fn reached(&self) -> Reached {
        let connections = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = connections.iter().map(|connection| connection()).collect();
        Reached { connections, refused: refused.iter().cloned().collect() }
    }

    /// One connection of the command's, to its end.
    async fn serve(&self, stream: TcpStream) {
        let mut client = BufReader::new(stream);
        let Ok(Some(head)) = self.head(&mut client, self.network.times.asked).await else { return };
        let served =
            if head.method == "CONNECT" { self.connect(&head, client).await } else { self.plain(&head, client).await };
        if let Err((mut client, refused)) = served {
            self.note(&refused);
            relay::refuse(&mut client, &refused).await;
        }
    }

    fn note(&self, refused: &Refused) {
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < REFUSALS_KEPT_MAX {
            // Some of it is the command's own text.
            all.insert(refused.why.chars().take(REFUSAL_CHARS_MAX).collect());
        }
    }

    /// `None`: nothing more came. Its first byte may take this long; all of it has a time of its own.
    async fn head<S>(&self, client: &mut BufReader<S>, idle: Duration) -> Result<Option<Head>, ()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(Ok(first)) = timeout(idle, client.read_u8()).await else { return Ok(None) };
        let read = async {
            let (mut scan, mut byte) = (Scan::default(), first);
            loop {
                if let Some(head) = scan.push(byte)? {
                    return Ok(Some(head));
                }
                let next = client.read_u8().await;
                byte = next.map_err(|_| Refused::new(408, "the head of the request broke off"))?;
            }
        };
        let late = |_| Err(Refused::new(408, "the head of the request took too long"));
        let read = timeout(self.network.times.asked, read).await.unwrap_or_else(late);
        match read {
            Ok(head) => Ok(head),
            Err(refused) => {
                self.note(&refused);
                relay::refuse(client, &refused).await;
                Err(())
            }
        }
    }

    /// One request in clear text.
    async fn plain(
        &self,
        head: &Head,
        mut client: BufReader<TcpStream>,
    ) -> Result<(), (BufReader<TcpStream>, Refused)> {
        let answered = async {
            let wanted = asked(head, None, &self.open)?;
            let body = body(&mut client, &wanted, self.network.times.idle).await?;
            let stream = self.dial(&wanted.host, wanted.port).await?;
            let mut sender = speaking(stream).await.map_err(|why| Refused::new(502, why))?;
            self.answer(&mut sender, head, &wanted, body).await
        };
        match answered.await {
            Ok((answer, to)) => {
                let to = relay::To { stays: false, ..to };
                let _ = relay::tell(&mut client, answer, to, self.network.times.head).await;
                let _ = client.shutdown().await;
                Ok(())
            }
            Err(refused) => Err((client, refused)),
        }
    }

    /// A connection that the command takes for one to the host.
    async fn connect(
        &self,
        head: &Head,
        mut client: BufReader<TcpStream>,
    ) -> Result<(), (BufReader<TcpStream>, Refused)> {
        const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let dialled = async {
            let (host, port) = connected(head)?;
            if !client.buffer().is_empty() {
                return Err(Refused::new(400, "more was sent than CONNECT before it was answered"));
            }
            let is_tunnel = self.grants(&host, port)?.tunnel;
            let stream = self.dial(&host, port).await?;
            Ok((host, port, is_tunnel, stream))
        };
        let (host, port, is_tunnel, mut stream) = match dialled.await {
            Ok(dialled) => dialled,
            Err(refused) => return Err((client, refused)),
        };
        if is_tunnel {
            if client.write_all(CONNECTED).await.is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut stream).await;
            }
            return Ok(());
        }
        let sealed = async {
            let sealed = self.network.in_time(self.network.seal(stream, &host)).await?;
            let sender = speaking(sealed).await?;
            let server = self.authority.server(&host)?;
            Ok::<_, String>((sender, TlsAcceptor::from(Arc::new(server))))
        };
        let (sender, acceptor) = match sealed.await {
            Ok(sealed) => sealed,
            Err(why) => return Err((client, Refused::new(502, why))),
        };
        if client.write_all(CONNECTED).await.is_err() {
            return Ok(());
        }
        match timeout(self.network.times.asked, acceptor.accept(client.into_inner())).await {
            Ok(Ok(inner)) => self.converse(BufReader::new(inner), sender, (&host, port)).await,
            Ok(Err(error)) => {
                self.note(&Refused::new(400, format!("no TLS of the command for `{}`: {error}", host.as_str())));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Requests to one host, one after the other.
    async fn converse<S>(&self, mut client: BufReader<S>, mut sender: SendRequest<Full<Bytes>>, within: (&Host, u16))
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut idle = self.network.times.asked;
        while let Ok(Some(head)) = self.head(&mut client, idle).await {
            if sender.is_closed() {
                // As if the host had said so: whoever asks again is connected again.
                break;
            }
            let answered = async {
                let wanted = asked(&head, Some(within), &self.open)?;
                let body = body(&mut client, &wanted, self.network.times.idle).await?;
                self.answer(&mut sender, &head, &wanted, body).await
            };
            let (answer, to) = match answered.await {
                Ok(answered) => answered,
                Err(refused) => {
                    self.note(&refused);
                    return relay::refuse(&mut client, &refused).await;
                }
            };
            if !matches!(relay::tell(&mut client, answer, to, self.network.times.head).await, Ok(true)) {
                break;
            }
            idle = self.network.times.idle;
        }
        let _ = client.shutdown().await;
    }

    async fn answer(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        head: &Head,
        wanted: &Wanted,
        body: Bytes,
    ) -> Result<(http::Response<hyper::body::Incoming>, relay::To), Refused> {
        let before = self.composed.fetch_add(wanted.composed, Ordering::Relaxed);
        if before.saturating_add(wanted.composed) > COMPOSED_BYTES_MAX {
            let why = format!("the URLs and headers of one command hold at most {COMPOSED_BYTES_MAX} bytes");
            return Err(Refused::new(429, why));
        }
        let answer = relay::ask(sender, wanted, body, self.network.times.head).await?;
        let to = relay::To { method: wanted.method, is_one_one: head.is_one_one, stays: !head.says_close() };
        Ok((answer, to))
    }

    /// What is granted of a host, in one: it is a tunnel where one grant says so, and an address that is not public
    /// is good where all of them name it.
    fn grants(&self, host: &Host, port: u16) -> Result<HostGrant, Refused> {
        let mut all = self.open.iter().filter(|grant| grant.is_at(host.as_str(), port));
        let first = all.next().ok_or_else(|| not_granted(&format!("{}:{port}", host.as_str())))?;
        Ok(all.fold(first.clone(), |mut one, grant| {
            one.tunnel |= grant.tunnel;
            one.allow_private.retain(|address| grant.allow_private.contains(address));
            one
        }))
    }

    /// To a host that something is granted of.
    async fn dial(&self, host: &Host, port: u16) -> Result<Counted, Refused> {
        let grant = self.grants(host, port)?;
        if self.reached.lock().unwrap_or_else(PoisonError::into_inner).len() >= CONNECTIONS_MAX {
            return Err(Refused::new(429, format!("one command makes at most {CONNECTIONS_MAX} connections")));
        }
        let dialled = self.network.in_time(self.network.dial(host, port, &grant)).await;
        let (stream, connection) = dialled.map_err(|why| Refused::new(502, why))?.open();
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have connected meanwhile.
        if reached.len() >= CONNECTIONS_MAX {
            return Err(Refused::new(429, format!("one command makes at most {CONNECTIONS_MAX} connections")));
        }
        reached.push(Box::new(connection));
        Ok(stream.at_most(Arc::clone(&self.moved), MOVED_BYTES_MAX))
    }
}

/// The body that a head announces, as a whole.
async fn body<S: AsyncRead + Unpin>(
    client: &mut BufReader<S>,
    wanted: &Wanted,
    patience: Duration,
) -> Result<Bytes, Refused> {
    let mut body = vec![0u8; wanted.body_bytes];
    let read = timeout(patience, client.read_exact(&mut body)).await;
    match read {
        Ok(Ok(_)) => Ok(body.into()),
        Ok(Err(_)) | Err(_) => Err(Refused::new(408, "the body of the request broke off")),
    }
}
