//! Messages as lines on the pipes of a server. A line that is too long or no message ends the conversation, with a
//! name for what it was: whoever waits for an answer is told at once.
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::limits::LINE_BYTES_MAX;

/// Why a server is not spoken to any more, once there is a reason.
#[derive(Clone, Debug, Default)]
pub struct Broken(Arc<Mutex<Option<String>>>);

impl Broken {
    pub fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

pub struct Lines {
    read: BufReader<Receiver>,
    /// The beginning of a line whose end has not come yet: a receive may be given up between.
    line: Vec<u8>,
    write: Arc<tokio::sync::Mutex<Option<Sender>>>,
    broken: Broken,
}

impl Lines {
    pub fn new(read: Receiver, write: Sender, broken: Broken) -> Self {
        let write = Arc::new(tokio::sync::Mutex::new(Some(write)));
        Self { read: BufReader::new(read), line: Vec::new(), write, broken }
    }

    /// `None` at the end, or where the line is too long.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let (taken, ends) = {
                let there = self.read.fill_buf().await.ok().filter(|there| !there.is_empty())?;
                let end = there.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(there.len(), |at| at.saturating_add(1));
                if self.line.len().saturating_add(taken) > LINE_BYTES_MAX {
                    self.broken.set(format!("it sent a line of more than {LINE_BYTES_MAX} bytes"));
                    return None;
                }
                self.line.extend_from_slice(there.get(..taken).unwrap_or_default());
                (taken, end.is_some())
            };
            self.read.consume(taken);
            if ends {
                return Some(std::mem::take(&mut self.line));
            }
        }
    }
}

impl Transport<RoleClient> for Lines {
    type Error = io::Error;

    fn send(&mut self, message: TxJsonRpcMessage<RoleClient>) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let write = Arc::clone(&self.write);
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut write = write.lock().await;
            write.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?.write_all(&line).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let line = self.line().await?;
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match serde_json::from_slice(text) {
                Ok(message) => return Some(message),
                Err(error) => {
                    self.broken.set(format!("it sent what is no message: {error}"));
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.write.lock().await.take();
        Ok(())
    }
}
