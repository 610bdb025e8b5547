//! Where a browser ends that a person has logged in with: a port of this machine, for as long as that is waited for.
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use backstay_kernel::url::Url;
use backstay_mcp::oauth::{self, Drawn, Found, Returned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::{REDIRECT_BYTES_MAX, REDIRECT_TIME};

const PATH: &str = "/callback";

pub struct Redirect {
    /// As the authorization server is told.
    pub url: String,
    path: String,
    listener: TcpListener,
}

impl Redirect {
    /// At a URL of this machine; without one at a free port.
    pub async fn open(at: Option<&Url>) -> Result<Self, String> {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (host, port) = at.map_or((here, 0), |url| (url.host.address().unwrap_or(here), url.port));
        let failed = |error: std::io::Error| format!("nobody can be waited for at {host}:{port}: {error}");
        let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let url = at.map_or_else(|| format!("http://{here}:{port}{PATH}"), Url::text);
        Ok(Self { url, path: at.map_or_else(|| PATH.to_owned(), |url| url.path.clone()), listener })
    }
}

/// The code of this login; what is of another is told and not taken.
///
/// # Errors
/// The authorization server says no; with `only_pasted`, nothing more is typed.
pub async fn code(
    redirect: &Redirect,
    mut pasted: mpsc::Receiver<String>,
    only_pasted: bool,
    found: &Found,
    drawn: &Drawn,
    warn: impl Fn(&str),
) -> Result<String, String> {
    let known = Arc::new((redirect.path.clone(), found.clone(), drawn.clone()));
    let (send, mut came) = mpsc::channel(8);
    let mut types = true;
    loop {
        let returned = tokio::select! {
            accepted = redirect.listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // A browser opens connections ahead, and says nothing on them.
                let (send, known) = (send.clone(), Arc::clone(&known));
                tokio::spawn(async move {
                    if let Ok(Some(returned)) = timeout(REDIRECT_TIME, answered(stream, &known)).await {
                        let _ = send.send(returned).await;
                    }
                });
                continue;
            }
            returned = came.recv() => returned,
            line = pasted.recv(), if types => match line {
                Some(line) => {
                    let query = line.trim().split_once('?').map_or("", |(_, query)| query);
                    Some(oauth::returned(query.split('#').next().unwrap_or_default(), found, drawn))
                }
                None if only_pasted => return Err("no address was pasted".to_owned()),
                None => {
                    types = false;
                    None
                }
            },
        };
        match returned {
            Some(Returned::Code(code)) => return Ok(code),
            Some(Returned::Refused(why)) => return Err(why),
            Some(Returned::Foreign(why)) => warn(&format!("what came back is not taken: {why}")),
            None => {}
        }
    }
}

/// What one request brought, which is told what to do next.
async fn answered(mut stream: TcpStream, known: &(String, Found, Drawn)) -> Option<Returned> {
    let (path, found, drawn) = known;
    let head = head(&mut stream).await?;
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let (at, query) = target.split_once('?').unwrap_or((target, ""));
    let returned = (at == path).then(|| oauth::returned(query, found, drawn));
    let (status, text) = match &returned {
        Some(Returned::Code(_)) => ("200 OK", "Backstay has what it needs. You can close this page."),
        Some(Returned::Refused(_)) => ("200 OK", "Nobody is logged in. See what Backstay says."),
        Some(Returned::Foreign(_)) => ("400 Bad Request", "This is not of the login that Backstay waits for."),
        None => ("404 Not Found", "There is nothing here."),
    };
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{text}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    returned
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = vec![0u8; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(buffer.get(..length)?);
        if head.len() > REDIRECT_BYTES_MAX {
            return None;
        }
    }
    String::from_utf8(head).ok()
}
