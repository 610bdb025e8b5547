//! From a host that was judged to a connection: looked up once, every answer checked, and connected to an
//! address that was checked, so that no second answer of a name server is ever asked for.
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backstay_kernel::destination::{Connection, HostGrant};
use backstay_kernel::url::Host;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::address::reserved;
use crate::count::{Count, Counted};
use crate::limits::{ADDRESSES_MAX, ASKED_MS, BODY_BYTES_MAX, CONNECT_MS, HEAD_MS, IDLE_MS, WHOLE_MS};

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// A file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no certificates can be read from it: {0}")]
pub struct BadAuthority(String);

/// The way out of this process. Clones share what it knows.
#[derive(Clone)]
pub struct Network {
    lookup: Arc<Lookup>,
    /// Certificates of authorities besides the public ones.
    authorities: Arc<[CertificateDer<'static>]>,
    /// Made when the first `https` host is called, and not before.
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    /// Where this process listens: no tool calls it, whatever is granted.
    own: Arc<[SocketAddr]>,
    pub(crate) times: Times,
    /// Of an answer's body, bytes.
    pub(crate) body_bytes_max: usize,
}

/// How long the parts of a request may take.
#[derive(Clone, Copy)]
pub struct Times {
    pub connect: Duration,
    pub head: Duration,
    pub whole: Duration,
    /// The head of a request that a command makes.
    pub asked: Duration,
    /// A connection of a command's on which nothing is asked for.
    pub idle: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let all = [CONNECT_MS, HEAD_MS, WHOLE_MS, ASKED_MS, IDLE_MS];
        let [connect, head, whole, asked, idle] = all.map(Duration::from_millis);
        Self { connect, head, whole, asked, idle }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The public authorities, and no listener.
impl Default for Network {
    fn default() -> Self {
        Self {
            lookup: Arc::new(system),
            authorities: Arc::new([]),
            tls: Arc::default(),
            own: Arc::new([]),
            times: Times::default(),
            body_bytes_max: BODY_BYTES_MAX,
        }
    }
}

/// An open connection, and what the record says of it.
pub struct Dialled {
    pub stream: TcpStream,
    pub count: Arc<Count>,
    host: String,
    address: SocketAddr,
}

impl Dialled {
    pub fn connection(host: &str, address: SocketAddr, count: &Count) -> Connection {
        Connection {
            host: host.to_owned(),
            port: address.port(),
            address: address.ip(),
            sent: count.sent(),
            received: count.received(),
            secret: None,
        }
    }

    /// The stream, and what will say of it how much went each way.
    pub fn open(self) -> (Counted, impl Fn() -> Connection + Send + 'static) {
        let Self { stream, count, host, address } = self;
        let counted = Counted::new(stream, Arc::clone(&count));
        (counted, move || Self::connection(&host, address, &count))
    }
}

impl Network {
    /// `authorities`: a PEM file of certificates that are trusted besides the public ones. `own`: where this
    /// process listens.
    ///
    /// # Errors
    /// The file holds no certificate, or one that is none.
    pub fn new(authorities: Option<&[u8]>, own: Vec<SocketAddr>) -> Result<Self, BadAuthority> {
        let bad = |error: &dyn fmt::Display| BadAuthority(error.to_string());
        let mut certificates = Vec::new();
        for certificate in authorities.into_iter().flat_map(CertificateDer::pem_slice_iter) {
            certificates.push(certificate.map_err(|error| bad(&error))?);
        }
        if authorities.is_some() && certificates.is_empty() {
            return Err(BadAuthority("it holds none in the form of PEM".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| bad(&error))?;
        }
        Ok(Self { authorities: certificates.into(), own: own.into(), ..Self::default() })
    }

    /// For requests whose answers take as long as this.
    #[must_use]
    pub fn patient(self, whole: Duration) -> Self {
        Self { times: Times { head: whole, whole, ..self.times }, ..self }
    }

    /// For answers that hold as much as this, bytes.
    #[must_use]
    pub fn taking(self, body_bytes_max: usize) -> Self {
        Self { body_bytes_max, ..self }
    }

    #[cfg(test)]
    pub fn hurried(self, times: Times) -> Self {
        Self { times, ..self }
    }

    #[cfg(test)]
    pub fn looking_up(self, lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
    }

    /// Connects to a granted host. Nothing was sent where it fails.
    pub async fn dial(&self, host: &Host, port: u16, grant: &HostGrant) -> Result<Dialled, String> {
        let addresses = match host.address() {
            Some(address) => vec![address],
            None => self.look_up(host).await?,
        };
        for address in &addresses {
            self.check(host, SocketAddr::new(*address, port), grant)?;
        }
        let mut last = format!("`{}` has no address", host.as_str());
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(address, port);
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    let host = host.as_str().to_owned();
                    return Ok(Dialled { stream, count: Arc::default(), host, address });
                }
                Err(error) => last = format!("`{}` cannot be reached at {address}: {error}", host.as_str()),
            }
        }
        Err(last)
    }

    async fn look_up(&self, host: &Host) -> Result<Vec<IpAddr>, String> {
        let (lookup, name) = (Arc::clone(&self.lookup), host.as_str().to_owned());
        let found = tokio::task::spawn_blocking(move || lookup(&name)).await;
        let failed = |error: &dyn fmt::Display| format!("`{}` cannot be looked up: {error}", host.as_str());
        found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    fn check(&self, host: &Host, address: SocketAddr, grant: &HostGrant) -> Result<(), String> {
        let (name, ip) = (host.as_str(), address.ip());
        // A listener on all addresses answers on every one of this machine's, so its port is refused on all
        // that are not public.
        let is_own = |own: &SocketAddr| {
            let anywhere = own.ip().is_unspecified() && reserved(ip).is_some();
            own.port() == address.port() && (own.ip() == ip || anywhere)
        };
        if self.own.iter().any(is_own) {
            return Err(format!("`{name}` leads to Backstay itself, which no tool may call"));
        }
        // What may be said to this machine alone is said by this name.
        if host.is_here() && !ip.is_loopback() {
            return Err(format!("`{name}` leads to {ip}, which is not this machine"));
        }
        match reserved(ip) {
            Some(what) if !grant.allow_private.contains(&ip) => Err(format!(
                "`{name}` leads to {ip}, {what}; where that is meant, an operator adds `allow_private = [\"{ip}\"]` to its grant"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Speaks TLS, as the host that was judged.
    pub async fn seal(&self, stream: Counted, host: &Host) -> Result<TlsStream<Counted>, String> {
        let name = match host.address() {
            Some(address) => ServerName::IpAddress(address.into()),
            None => ServerName::try_from(host.as_str().to_owned())
                .map_err(|_| format!("`{}` is no name that a certificate could bear", host.as_str()))?,
        };
        let sealed = TlsConnector::from(self.tls()?).connect(name, stream).await;
        sealed.map_err(|error| format!("no TLS with `{}`: {error}", host.as_str()))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in self.authorities.iter() {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }

    /// Connecting has a time of its own.
    pub async fn in_time<T>(&self, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let late = |_| format!("not connected within {} s", self.times.connect.as_secs());
        timeout(self.times.connect, what).await.map_err(late)?
    }
}

/// By the machine's own resolver.
fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    found.dedup();
    Ok(found)
}
