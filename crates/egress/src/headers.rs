//! The header fields that a call may choose, and those of an answer that are shown. What could name another
//! host, carry a credential or change the method is not among them.
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LINK, LOCATION, RETRY_AFTER,
};

use crate::limits::{HEADER_BYTES_MAX, HEADERS_BYTES_MAX};

const CHOSEN: [HeaderName; 7] =
    [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];
const SHOWN: [HeaderName; 6] = [CONTENT_TYPE, ETAG, LAST_MODIFIED, LINK, LOCATION, RETRY_AFTER];

/// Why a header is not sent; told to whoever chose it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadHeader {
    #[error("the header `{0}` is not a call's to choose; it may set {names}", names = names())]
    NotChosen(String),
    #[error("the header `{0}` holds a character that no header holds, or more than {HEADER_BYTES_MAX} bytes")]
    Value(String),
    #[error("the headers hold more than {HEADERS_BYTES_MAX} bytes, or one of them twice")]
    TooMany,
}

fn names() -> String {
    CHOSEN.map(|name| name.as_str().to_owned()).join(", ")
}

/// The fields to be sent, and how many bytes of them the call chose.
///
/// # Errors
/// The first that may not be sent.
pub fn chosen<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(HeaderMap, usize), BadHeader> {
    let (mut out, mut bytes) = (HeaderMap::new(), 0usize);
    for (name, value) in fields {
        let lower = name.to_ascii_lowercase();
        let Some(known) = CHOSEN.iter().find(|known| known.as_str() == lower) else {
            return Err(BadHeader::NotChosen(name.chars().take(64).collect()));
        };
        let is_plain = value.len() <= HEADER_BYTES_MAX && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let value = HeaderValue::from_str(value).ok().filter(|_| is_plain);
        bytes = bytes.saturating_add(known.as_str().len()).saturating_add(value.as_ref().map_or(0, HeaderValue::len));
        let Some(value) = value else { return Err(BadHeader::Value(known.as_str().to_owned())) };
        if bytes > HEADERS_BYTES_MAX || out.insert(known.clone(), value).is_some() {
            return Err(BadHeader::TooMany);
        }
    }
    Ok((out, bytes))
}

/// What of an answer's head says something to whoever asked.
pub fn is_shown(name: &str) -> bool {
    SHOWN.iter().any(|shown| shown.as_str() == name)
}

/// The first field of each name.
pub fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| {
        let part = value.as_bytes().get(..HEADER_BYTES_MAX).unwrap_or(value.as_bytes());
        String::from_utf8_lossy(part).into_owned()
    };
    let of = |name: &HeaderName| headers.get(name).map(|value| (name.as_str().to_owned(), text(value)));
    headers.keys().filter_map(of).collect()
}
