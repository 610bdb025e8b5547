//! Listeners: connections come in under caps and deadlines, are served, and end when told to.
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::auth::Peer;
use crate::crowd::{Crowd, Stranger};
use crate::door::Closing;
use crate::limits::{
    ACCEPT_PAUSE, BUFFER_BYTES_MAX, CLOSE_TIME_MAX, CONNECTIONS_MAX, HANDSHAKE_TIME_MAX, HEAD_TIME_MAX,
};
use crate::patient::Patient;
use crate::places::Seat;

/// Reads a certificate chain and its key, PEM.
///
/// # Errors
/// Which of the two cannot be used, and why.
pub fn tls(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let of = |path: &Path| path.display().to_string();
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| format!("{}: {error}", of(cert)))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", of(key)))?;
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = config.with_no_client_auth().with_single_cert(chain, secret);
    let mut config = config.map_err(|error| format!("{}: {error}", of(cert)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a TCP listener serves, and how.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The latest certificate with its key; absent for plain HTTP.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    pub trusted_proxies: Arc<[IpAddr]>,
    pub router: Router,
    pub stopped: watch::Receiver<bool>,
}

/// Serves TCP until it is told to stop, then lets open requests end.
pub async fn serve_tcp(listener: TcpListener, listening: Listening) {
    let crowd = Crowd::default();
    let mut connections = JoinSet::new();
    let mut stop = listening.stopped.clone();
    loop {
        tokio::select! {
            () = told(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Some((stream, peer)) = accept(accepted).await else { continue };
                if connections.len() >= CONNECTIONS_MAX && !crowd.make_room() {
                    continue;
                }
                let address = peer.ip().to_canonical();
                let is_proxy = listening.trusted_proxies.contains(&address);
                let stranger = if is_proxy { crowd.enter_by_proxy() } else { crowd.enter(address) };
                let seat = (!is_proxy).then(Seat::default);
                let known = Known { peer: Some((Peer(address), stranger)), seat, closing: Closing::new(stop.clone()) };
                connections.spawn(listening.clone().serve(stream, known));
            }
        }
    }
    drop(listener);
    finish(connections).await;
}

/// Serves the home's own user at a local socket; any other peer is hung up on.
pub async fn serve_local(listener: UnixListener, router: Router, stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            () = told(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Some((stream, _)) = accept(accepted).await else { continue };
                let is_owner = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
                if !is_owner || connections.len() >= CONNECTIONS_MAX {
                    continue;
                }
                let known = Known { peer: None, seat: None, closing: Closing::new(stopped.clone()) };
                connections.spawn(speak(Patient::new(stream), router.clone(), known, stopped.clone()));
            }
        }
    }
    drop(listener);
    finish(connections).await;
}

/// Ends when the listener is told to stop, or when nobody is left who could tell it.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// What was accepted; a failure of one connection, or a lack of descriptors, ends no listener.
async fn accept<T>(accepted: std::io::Result<T>) -> Option<T> {
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn finish(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_TIME_MAX, all).await.is_err() {
        tracing::warn!("connections were cut that did not end in time");
    }
}

impl Listening {
    /// One connection, until it ends or must make room for another.
    async fn serve(self, stream: TcpStream, known: Known) {
        // A token of a stream is a small write that must not wait for the next.
        let _ = stream.set_nodelay(true);
        let stranger = known.peer.as_ref().map(|(_, stranger)| stranger.clone());
        let hung_up = async {
            match &stranger {
                Some(stranger) => stranger.hung_up().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shake_hands(Patient::new(stream), known) => {}
            () = hung_up => tracing::debug!("a stranger was hung up on: another needs the place"),
        }
    }

    async fn shake_hands(self, stream: Patient<TcpStream>, known: Known) {
        let Some(tls) = &self.tls else { return speak(stream, self.router, known, self.stopped).await };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, self.router, known, self.stopped).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }
}

/// What a listener tells the doors of a connection, with every request.
struct Known {
    peer: Option<(Peer, Stranger)>,
    /// Absent where the connection is not one caller's: a proxy's, or at the local socket.
    seat: Option<Seat>,
    closing: Closing,
}

impl Known {
    fn tell<B>(&self, request: &mut Request<B>) {
        request.extensions_mut().insert(self.closing.clone());
        if let Some((peer, stranger)) = &self.peer {
            request.extensions_mut().insert(*peer);
            request.extensions_mut().insert(stranger.clone());
        }
        if let Some(seat) = &self.seat {
            request.extensions_mut().insert(seat.clone());
        }
    }
}

/// HTTP/1.1 on one connection.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    known: Known,
    mut stopped: watch::Receiver<bool>,
) {
    let doors = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        known.tell(&mut request);
        doors.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
