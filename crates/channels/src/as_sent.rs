//! Rebuilds a request to a model from the journal, and proves that it is the one that was sent.
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use backstay_engine::join_wires;
use backstay_kernel::id::{BodyRef, Digest, EffectId, Place, Seq, SessionId};
use backstay_kernel::record::{Planned, Record, Started};
use backstay_kernel::request::{Piece, Request, Rope, digest, escape, fragment_digest};

use crate::door::Door;
use crate::error::{Problem, Why};

/// A request as it went out.
#[derive(Debug)]
pub struct Sent {
    pub wire: Vec<u8>,
    pub digest: Digest,
}

/// The `number`-th request of a turn, counted from 1, attempts included.
///
/// # Errors
/// There is none, a body that it needs was erased, or it is not what the journal says was sent.
pub fn rebuild(door: &Door, turn: Place, number: usize) -> Result<Sent, Problem> {
    let all = requests(door, turn, number)?;
    let (at, _, request) = all.last().ok_or_else(|| Problem::not_found("request of this turn"))?;
    let fragments = Rebuilding { door, session: turn.session, requests: &all }.fragments(*at, request)?;
    let digests: Vec<Digest> = fragments.iter().map(|wire| fragment_digest(wire.as_bytes())).collect();
    if digest(digests.iter()) != request.digest {
        return Err(Problem::internal(&format!("request {number} of {turn} does not match its digest")));
    }
    let wires: Vec<&str> = fragments.iter().map(String::as_str).collect();
    Ok(Sent { wire: join_wires(&wires), digest: request.digest })
}

/// Every request of the session up to this one, which is none where there is no such: where it was
/// started, for which effect.
fn requests(door: &Door, turn: Place, number: usize) -> Result<Vec<(Seq, EffectId, Request)>, Problem> {
    let (mut all, mut own, mut left) = (Vec::new(), BTreeSet::new(), number);
    door.reader.each(turn.session, Seq(0), |placed| {
        if let Record::Planned(Planned::Model { turn: of, .. }) = &placed.record
            && *of == turn.seq
        {
            own.insert(placed.seq);
        }
        if let Record::Started(Started { effect, request: Some(request), .. }) = placed.record {
            all.push((placed.seq, effect, request));
            left -= usize::from(own.contains(&effect));
        }
        let is_over = matches!(&placed.record, Record::TurnEnded(ended) if ended.turn == turn.seq);
        Ok::<_, Problem>(if left == 0 || is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if left > 0 {
        all.clear();
    }
    Ok(all)
}

struct Rebuilding<'a> {
    door: &'a Door,
    session: SessionId,
    requests: &'a [(Seq, EffectId, Request)],
}

impl Rebuilding<'_> {
    /// The wire bytes of every fragment. A request grows from one that was started before it, so
    /// the walk down its bases ends.
    fn fragments(&self, at: Seq, request: &Request) -> Result<Vec<String>, Problem> {
        let mut ropes = Vec::new();
        let (mut at, mut request) = (at, *request);
        loop {
            let rope: Rope =
                serde_json::from_slice(&self.bytes(&request.rope)?).map_err(|error| Problem::internal(&error))?;
            let base = rope.base;
            ropes.push(rope);
            let Some(base) = base else { break };
            let before = self.requests.iter().rfind(|(seq, effect, _)| *effect == base && *seq < at);
            let (seq, _, found) =
                before.ok_or_else(|| Problem::internal(&format!("{}: a request's base is missing", self.session)))?;
            (at, request) = (*seq, *found);
        }
        let mut texts = HashMap::new();
        let mut fragments: Vec<String> = Vec::new();
        for rope in ropes.iter().rev() {
            let mut next = Vec::new();
            for (from, to) in &rope.kept {
                let range = usize::try_from(*from).unwrap_or(usize::MAX)..usize::try_from(*to).unwrap_or(usize::MAX);
                let kept =
                    fragments.get(range).ok_or_else(|| Problem::internal(&"a request keeps what its base lacks"))?;
                next.extend_from_slice(kept);
            }
            for pieces in &rope.added {
                next.push(self.fragment(pieces, &mut texts)?);
            }
            fragments = next;
        }
        Ok(fragments)
    }

    fn fragment(&self, pieces: &[Piece], texts: &mut HashMap<u64, String>) -> Result<String, Problem> {
        let mut wire = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => wire.push_str(text),
                Piece::Raw(body) => wire.push_str(self.text(body, texts)?),
                Piece::Escaped(body) => escape(self.text(body, texts)?, &mut wire),
            }
        }
        Ok(wire)
    }

    fn text<'t>(&self, body: &BodyRef, texts: &'t mut HashMap<u64, String>) -> Result<&'t str, Problem> {
        match texts.entry(body.id) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(place) => {
                let text = String::from_utf8(self.bytes(body)?).map_err(|error| Problem::internal(&error))?;
                Ok(place.insert(text))
            }
        }
    }

    fn bytes(&self, body: &BodyRef) -> Result<Vec<u8>, Problem> {
        let found = self.door.bytes(body)?;
        let next = "what was erased cannot be shown again";
        found.ok_or_else(|| Problem::new(Why::Erased, format!("body {} of this request was erased", body.id), next))
    }
}
