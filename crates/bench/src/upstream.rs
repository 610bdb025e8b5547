//! A model API that never answers: it tells when a request came and what it said, and holds the
//! line. So turns stay open for as long as a case wants.
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Outcome;

pub struct Upstream {
    pub address: SocketAddr,
    calls: Receiver<Call>,
}

pub struct Call {
    pub at: Instant,
    pub body: Bytes,
}

/// Longer than any call takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(30);

impl Upstream {
    pub fn start() -> Outcome<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (sender, calls) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(serve(listener, sender)));
        Ok(Self { address, calls })
    }

    /// Waits for `count` calls.
    pub fn take(&self, count: usize) -> Outcome<Vec<Call>> {
        let call = |_| self.calls.recv_timeout(PATIENCE).map_err(|_| "a model call did not come".into());
        (0..count).map(call).collect()
    }

    /// How many have come that nobody waited for.
    pub fn surplus(&self) -> usize {
        self.calls.try_iter().count()
    }
}

async fn serve(listener: std::net::TcpListener, calls: Sender<Call>) {
    let hold = move |body: Bytes| {
        let _ = calls.send(Call { at: Instant::now(), body });
        std::future::pending::<()>()
    };
    let router = axum::Router::new().fallback(hold);
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
    }
}
