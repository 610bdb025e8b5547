//! A connection that counts what went each way, for the record of the call.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes on the wire, TLS included.
#[derive(Debug, Default)]
pub struct Count {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Count {
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    count: Arc<Count>,
    /// What it may move together with others, and what these have moved.
    bound: Option<(Arc<AtomicU64>, u64)>,
}

impl Counted {
    pub fn new(stream: TcpStream, count: Arc<Count>) -> Self {
        Self { stream, count, bound: None }
    }

    /// Breaks off once all that share `moved` have moved more than `bytes_max` bytes.
    pub fn at_most(self, moved: Arc<AtomicU64>, bytes_max: u64) -> Self {
        Self { bound: Some((moved, bytes_max)), ..self }
    }

    fn moves(&self, bytes: usize) -> io::Result<()> {
        let Some((moved, bytes_max)) = &self.bound else { return Ok(()) };
        add(moved, bytes);
        if moved.load(Ordering::Relaxed) > *bytes_max {
            return Err(io::Error::other(format!("one command moves at most {bytes_max} bytes")));
        }
        Ok(())
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        add(&self.count.received, bytes);
        self.moves(bytes)?;
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &polled {
            add(&self.count.sent, *bytes);
            self.moves(*bytes)?;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
