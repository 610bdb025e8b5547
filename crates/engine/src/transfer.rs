//! Sessions on their way between homes: one as lines of JSON, and taken in again.
//!
//! The first line names the session and the end of its chain. Each entry stands on a line of its own as
//! it is stored and hashed; every body that it refers to has been on a line before it, with the salt
//! that its digest was made with. So whoever takes a file in can check every byte of it.
use std::borrow::Cow;

use backstay_kernel::id::{BodyRef, Digest, Seq, SessionId};
use backstay_kernel::request::{Piece, Rope};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod export;
mod import;

pub use export::Export;
pub use import::{ImportError, Imported};

/// Version of the lines.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Session(Header),
    #[serde(borrow)]
    Body(Text<'a>),
    #[serde(borrow)]
    Entry(Stored<'a>),
}

/// What the chain must come to.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u32,
    session: SessionId,
    seq: Seq,
    hash: Digest,
}

/// A body; without its content where that was erased.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    of: BodyRef,
    /// Sixteen bytes in hexadecimal.
    salt: Option<String>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    seq: Seq,
    lineage: u64,
    hash: Digest,
    #[serde(borrow)]
    stored: &'a RawValue,
}

/// The bodies that a request is made from.
fn pieces(rope: &[u8]) -> Result<Vec<BodyRef>, serde_json::Error> {
    let rope: Rope = serde_json::from_slice(rope)?;
    let body = |piece| match piece {
        Piece::Text(_) => None,
        Piece::Raw(body) | Piece::Escaped(body) => Some(body),
    };
    Ok(rope.added.into_iter().flatten().filter_map(body).collect())
}
