//! One request to the host that it was judged for, and its answer, piece by piece, to the command.
use std::time::Duration;

use backstay_kernel::destination::Method;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Refused;
use super::wanted::Wanted;

/// Fields of an answer that speak of one connection, or of other ways to reach the host, or that a later request
/// could not give back.
const DROPPED: [HeaderName; 9] = [
    http::header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    http::header::PROXY_AUTHENTICATE,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    http::header::SET_COOKIE,
    http::header::ALT_SVC,
];

/// How an answer is given to the command.
#[derive(Clone, Copy)]
pub struct To {
    pub method: Method,
    pub is_one_one: bool,
    /// The connection stays.
    pub stays: bool,
}

pub async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    wanted: &Wanted,
    body: Bytes,
    patience: Duration,
) -> Result<Response<Incoming>, Refused> {
    let lost = |why: String| Refused::new(502, why);
    let default = wanted.port == wanted.scheme.port();
    let name = wanted.host.as_str();
    let host = if default { name.to_owned() } else { format!("{name}:{}", wanted.port) };
    let mut request = Request::builder().method(wanted.method.word()).uri(&wanted.target);
    if let Some(headers) = request.headers_mut() {
        headers.extend(wanted.headers.clone());
        headers.insert(HOST, HeaderValue::from_str(&host).map_err(|error| lost(error.to_string()))?);
    }
    let request = request.body(Full::new(body)).map_err(|error| lost(format!("cannot be sent: {error}")))?;
    sender.ready().await.map_err(|_| lost(format!("`{name}` has ended the connection")))?;
    let answer = timeout(patience, sender.send_request(request)).await;
    let answer =
        answer.map_err(|_| Refused::new(504, format!("no answer of `{name}` within {} s", patience.as_secs())))?;
    let answer = answer.map_err(|error| lost(format!("no answer of `{name}`: {error}")))?;
    if answer.status().is_informational() {
        return Err(lost(format!("`{name}` wants to speak something else")));
    }
    Ok(answer)
}

/// How long a body is, as the head says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// There is none.
    None,
    Known(u64),
    Pieces,
    /// To the end of the connection.
    Open,
}

/// False: the connection must not stay.
pub async fn tell<W: AsyncWrite + Unpin>(
    client: &mut W,
    answer: Response<Incoming>,
    to: To,
    patience: Duration,
) -> Result<bool, std::io::Error> {
    let (parts, mut body) = answer.into_parts();
    let has_none = to.method == Method::Head
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT);
    let length = match (has_none, body.size_hint().exact()) {
        (true, _) => Length::None,
        (false, Some(bytes)) => Length::Known(bytes),
        (false, None) if to.is_one_one => Length::Pieces,
        (false, None) => Length::Open,
    };
    let stays = to.stays && length != Length::Open;
    client.write_all(&head(parts.status, &parts.headers, length, stays)).await?;
    while let Some(frame) = timeout(patience, body.frame()).await.map_err(std::io::Error::other)? {
        let Ok(data) = frame.map_err(std::io::Error::other)?.into_data() else { continue };
        if data.is_empty() || length == Length::None {
            continue;
        }
        if length == Length::Pieces {
            client.write_all(format!("{:x}\r\n", data.len()).as_bytes()).await?;
        }
        client.write_all(&data).await?;
        if length == Length::Pieces {
            client.write_all(b"\r\n").await?;
        }
    }
    if length == Length::Pieces {
        client.write_all(b"0\r\n\r\n").await?;
    }
    client.flush().await?;
    Ok(stays)
}

fn head(status: StatusCode, headers: &HeaderMap, length: Length, stays: bool) -> Vec<u8> {
    let mut out = first_line(status).into_bytes();
    let mut field = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in headers {
        // Of an answer without a body it says how long that would be.
        let is_length = name == CONTENT_LENGTH && length != Length::None;
        if !is_length && !DROPPED.contains(name) {
            field(name.as_str(), value.as_bytes());
        }
    }
    match length {
        Length::Known(bytes) => field("content-length", bytes.to_string().as_bytes()),
        Length::Pieces => field("transfer-encoding", b"chunked"),
        Length::None | Length::Open => {}
    }
    if !stays {
        field("connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn first_line(status: StatusCode) -> String {
    format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("Unknown"))
}

/// Why a request was not passed on. Nothing more is read of that connection.
pub async fn refuse<W: AsyncWrite + Unpin>(client: &mut W, refused: &Refused) {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let body = format!("backstay: {}\n", refused.why);
    let head = format!(
        "{}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        first_line(status),
        body.len()
    );
    // Whoever does not listen is not told.
    let _ = client.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = client.shutdown().await;
}
