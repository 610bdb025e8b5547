//! A listener that is served until its command has ended, on a thread of its own: nothing of one command's network
//! is left when the next begins.
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot};

use super::{Proxy, Reached};
use crate::limits::CONNECTIONS_MAX;

/// Ends when this is dropped.
pub struct Serving {
    proxy: Arc<Proxy>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Serves whoever connects there.
    ///
    /// # Errors
    /// There is no thread or runtime for it.
    pub fn serve_at(self: &Arc<Self>, listener: TcpListener) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let proxy = Arc::clone(self);
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(&proxy, listener) => {}
                    _ = stopped => {}
                }
            });
            // What is open is cut; a lookup that hangs holds nobody.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("egress".to_owned()).spawn(work)?;
        Ok(Serving { proxy: Arc::clone(self), stop: Some(stop), thread: Some(thread) })
    }
}

/// Whoever connects beyond the bound waits until another has ended.
async fn accept(proxy: &Arc<Proxy>, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { return };
        // Answers are written as a head and pieces; none waits for the one before to arrive.
        let _ = stream.set_nodelay(true);
        let proxy = Arc::clone(proxy);
        tokio::spawn(async move {
            proxy.serve(stream).await;
            drop(place);
        });
    }
}

impl Serving {
    /// Cuts what is open, and says what was reached.
    #[must_use]
    pub fn end(mut self) -> Reached {
        self.cut();
        self.proxy.reached()
    }

    fn cut(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.cut();
    }
}
