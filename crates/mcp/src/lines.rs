//! Messages as lines on the pipes of a server. A line that is too long or no message ends the conversation, with a
//! name for what it was: whoever waits for an answer is told at once.
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, ServerNotification};
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

    pub fn set(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

pub struct Lines {
    read: BufReader<Receiver>,
    /// The beginning of a line whose end has not come yet: a receive may be given up between.
    line: Vec<u8>,
    write: Arc<tokio::sync::Mutex<Option<Sender>>>,
    broken: Broken,
    /// It said that what it offers is other than it was. Set here, before any later line is handed on, since
    /// messages are handled apart from each other: an answer must not be seen before what was said ahead of it.
    changed: Arc<AtomicBool>,
}

impl Lines {
    pub fn new(read: Receiver, write: Sender, broken: Broken, changed: Arc<AtomicBool>) -> Self {
        let write = Arc::new(tokio::sync::Mutex::new(Some(write)));
        Self { read: BufReader::new(read), line: Vec::new(), write, broken, changed }
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
                Ok(message) => {
                    if says_changed(&message) {
                        self.changed.store(true, Ordering::Release);
                    }
                    return Some(message);
                }
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

pub fn says_changed(message: &RxJsonRpcMessage<RoleClient>) -> bool {
    let JsonRpcMessage::Notification(said) = message else { return false };
    matches!(said.notification, ServerNotification::ToolListChangedNotification(_))
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ClientNotification, JsonRpcMessage};
    use tokio::net::unix::pipe::pipe;

    use super::*;

    const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";

    /// What is received of these bytes, and why it ended.
    async fn received(bytes: &[u8]) -> (usize, Option<String>) {
        let (mut theirs, ours) = pipe().unwrap();
        let (unused, _) = pipe().unwrap();
        let broken = Broken::default();
        let mut lines = Lines::new(ours, unused, broken.clone(), Arc::default());
        let said = bytes.to_vec();
        let saying = tokio::spawn(async move { drop(theirs.write_all(&said).await) });
        let mut count = 0;
        while lines.receive().await.is_some() {
            count += 1;
        }
        drop(lines);
        saying.await.unwrap();
        (count, broken.why())
    }

    #[tokio::test]
    async fn messages_are_lines_and_an_end_in_the_middle_is_an_end() {
        let whole = [PING, b"\r\n\n", PING, b"\n"].concat();
        assert_eq!(received(&whole).await, (2, None));
        assert_eq!(received(&whole[..whole.len() - 2]).await, (1, None));
    }

    #[tokio::test]
    async fn what_is_no_message_or_too_long_is_the_last_that_is_heard() {
        for garbage in [&b"hello\n"[..], b"{}\n", b"[]\n", b"\xff\n", b"{\"jsonrpc\":\"1.0\",\"id\":1}\n"] {
            let (count, why) = received(&[PING, b"\n", garbage, PING, b"\n"].concat()).await;
            assert_eq!(count, 1);
            assert!(why.unwrap().contains("it sent what is no message"), "{garbage:?}");
        }
        let long = [PING, &vec![b' '; LINE_BYTES_MAX], b"\n"].concat();
        let (count, why) = received(&long).await;
        assert!(count == 0 && why.unwrap().contains("a line of more than 4194304 bytes"));
        let short = [PING, &vec![b' '; LINE_BYTES_MAX - PING.len() - 1], b"\n"].concat();
        assert_eq!(received(&short).await, (1, None));
    }

    #[tokio::test]
    async fn a_message_that_is_sent_is_one_line() {
        let (write, mut read) = pipe().unwrap();
        let (_theirs, ours) = pipe().unwrap();
        let mut lines = Lines::new(ours, write, Broken::default(), Arc::default());
        let notice = ClientNotification::InitializedNotification(Default::default());
        lines.send(JsonRpcMessage::notification(notice)).await.unwrap();
        lines.close().await.unwrap();
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut read, &mut said).await.unwrap();
        assert!(said.ends_with('\n') && said.lines().count() == 1 && said.contains("initialized"), "{said}");
    }

    /// However the answer behind it is handled.
    #[tokio::test]
    async fn what_changed_is_known_before_the_next_line_is() {
        let (mut theirs, ours) = pipe().unwrap();
        let (unused, _read) = pipe().unwrap();
        let changed = Arc::new(AtomicBool::new(false));
        let mut lines = Lines::new(ours, unused, Broken::default(), Arc::clone(&changed));
        let said = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
        theirs.write_all(&[PING, b"\n", said, PING, b"\n"].concat()).await.unwrap();
        for expected in [false, true, true] {
            assert!(lines.receive().await.is_some());
            assert_eq!(changed.load(Ordering::Acquire), expected);
        }
    }
}
