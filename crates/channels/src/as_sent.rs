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
use crate::limits::{FRAGMENT_BYTES, SENT_BYTES_MAX};

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
        if let Record::Planned(Planned::Model { turn: of, .. } | Planned::Scope { turn: of, .. }) = &placed.record
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

/// What a request may still come to. One of a session from another home may double from base to base.
struct Room(usize);

impl Room {
    fn take(&mut self, fragment: &str) -> Result<(), Problem> {
        let left = self.0.checked_sub(fragment.len().saturating_add(FRAGMENT_BYTES));
        let what = "this request is larger than any that is sent";
        let next = "look at the records that it was made from: backstay sessions export SESSION";
        self.0 = left.ok_or_else(|| Problem::new(Why::TooLarge, what, next))?;
        Ok(())
    }
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
            let mut room = Room(SENT_BYTES_MAX);
            let mut next = Vec::new();
            for (from, to) in &rope.kept {
                let range = usize::try_from(*from).unwrap_or(usize::MAX)..usize::try_from(*to).unwrap_or(usize::MAX);
                let kept =
                    fragments.get(range).ok_or_else(|| Problem::internal(&"a request keeps what its base lacks"))?;
                kept.iter().try_for_each(|kept| room.take(kept))?;
                next.extend_from_slice(kept);
            }
            for pieces in &rope.added {
                let mut wire = String::new();
                for piece in pieces {
                    let before = wire.len();
                    self.add(piece, &mut texts, &mut wire)?;
                    room.take(wire.get(before..).unwrap_or_default())?;
                }
                next.push(wire);
            }
            fragments = next;
        }
        Ok(fragments)
    }

    fn add(&self, piece: &Piece, texts: &mut HashMap<u64, String>, wire: &mut String) -> Result<(), Problem> {
        match piece {
            Piece::Text(text) => wire.push_str(text),
            Piece::Raw(body) => wire.push_str(self.text(body, texts)?),
            Piece::Escaped(body) => escape(self.text(body, texts)?, wire),
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use backstay_sim::setting;
    use backstay_sim::stage::{Line, Play};

    use super::*;

    #[tokio::test]
    async fn a_request_that_doubles_from_base_to_base_is_not_rebuilt() {
        const LAST: u64 = 22;
        let home = tempfile::tempdir().unwrap();
        let script = (0..LAST).map(|_| Line::Say("ok")).collect();
        let play = Play::begin(home.path(), setting::policy(&[]), script).await;
        let reload = Arc::new(|_, _| -> crate::door::Reloading { Box::pin(async { Err(String::new()) }) });
        let door = Door::new(play.engine.clone(), home.path().to_owned(), 1, reload);
        let rope = |n: u64| {
            let before = (0, 1 << n.saturating_sub(2));
            match n {
                1 => Rope { added: vec![vec![Piece::Text("ab".to_owned())]], ..Rope::default() },
                _ => Rope { base: Some(Seq(n - 1)), kept: vec![before, before], ..Rope::default() },
            }
        };
        let mut requests = Vec::new();
        for n in 1..=LAST {
            // A message is a body like any other.
            let said = play.say(None, &serde_json::to_string(&rope(n)).unwrap()).await;
            let records = play.ended(said).await.records;
            let admitted = |placed: &backstay_engine::Placed| {
                if let Record::Admitted(admitted) = &placed.record { Some(admitted.body) } else { None }
            };
            let body = records.iter().find_map(admitted);
            let (digest, bytes) = (Digest::default(), 1 << n);
            requests.push((Seq(n), Seq(n), Request { rope: body.unwrap(), digest, bytes, bytes_unchanged: 0 }));
        }
        let rebuild = |n: usize| {
            let (at, _, request) = &requests[n - 1];
            Rebuilding { door: &door, session: SessionId::HOME, requests: &requests }.fragments(*at, request)
        };
        assert_eq!(rebuild(3).unwrap(), ["ab"; 4]);
        let told = rebuild(requests.len()).unwrap_err();
        assert_eq!(told.why, Why::TooLarge, "{}", told.message);
    }
}
