//! Requests to models: rendered from the session's window, sent as bytes, stored as their delta.
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use backstay_kernel::Session;
use backstay_kernel::context::Item;
use backstay_kernel::id::{BodyRef, Digest, EffectId};
use backstay_kernel::label::Label;
use backstay_kernel::policy::{Grants, Policy};
use backstay_kernel::request::{Piece, Request, Rope, digest, fragment_digest};
use backstay_store::StoreError;

use crate::bodies::Bodies;
use crate::limits::ROPE_DEPTH_MAX;
use crate::world::{Bytes, World};

/// A fragment with its digest, rendered once. A session that waits for its next message is mostly
/// these, so they take no byte more than they hold.
struct Part {
    wire: Box<str>,
    pieces: Vec<Piece>,
    digest: Digest,
}

impl Part {
    fn new(wire: String, mut pieces: Vec<Piece>) -> Arc<Self> {
        let digest = fragment_digest(wire.as_bytes());
        for piece in &mut pieces {
            if let Piece::Text(text) = piece {
                text.shrink_to_fit();
            }
        }
        pieces.shrink_to_fit();
        Arc::new(Self { wire: wire.into(), pieces, digest })
    }

    fn text(wire: String) -> Arc<Self> {
        Self::new(wire.clone(), vec![Piece::Text(wire)])
    }
}

/// What stands around the items, the same from request to request.
struct Around {
    output_tokens_max: u64,
    before: Vec<Arc<Part>>,
    after: Arc<Part>,
}

/// The request before, which the next one grows from.
struct Last {
    effect: EffectId,
    parts: Vec<Arc<Part>>,
    bytes: u64,
    depth: u32,
}

/// What a request is rendered for.
pub struct Target<'a> {
    pub world: &'a dyn World,
    pub policy: &'a Policy,
    pub model: &'a str,
    pub output_tokens_max: u64,
}

/// Why there is no request.
pub enum Unrendered {
    Erased(BodyRef),
    /// Now: it may be there.
    Unread(StoreError),
}

#[derive(Default)]
pub struct Requests {
    /// Rendered items of the window, by their number in the session, and for which model.
    items: HashMap<u64, Arc<Part>>,
    around: Option<Around>,
    rendered_for: (u64, String),
    last: Option<Last>,
    /// Prepared, and not in the journal yet.
    next: Option<Last>,
    /// Bytes to send, until their call has ended.
    ready: HashMap<EffectId, Bytes>,
}

impl Requests {
    /// Renders and stores the request of a planned model call.
    ///
    /// # Errors
    /// Why a body that it needs is not there.
    pub fn prepare(
        &mut self,
        target: &Target<'_>,
        session: &Session,
        bodies: &mut Bodies,
        effect: EffectId,
    ) -> Result<Request, Unrendered> {
        let parts = self.render(target, session, bodies)?;
        let wire = join(&parts);
        let bytes = wire.len() as u64;
        let kept = self
            .last
            .as_ref()
            .map_or(0, |last| last.parts.iter().zip(&parts).take_while(|(old, new)| old.digest == new.digest).count());
        let billed = session.billed.map(|billed| billed.bytes);
        let unchanged = self.last.as_ref().filter(|last| Some(last.bytes) == billed);
        let bytes_unchanged = unchanged.map_or(0, |_| parts.iter().take(kept).map(|p| p.wire.len() as u64).sum());
        let rope = self.rope(&parts, kept);
        let depth = if rope.base.is_some() { self.last.as_ref().map_or(0, |l| l.depth + 1) } else { 0 };
        let stored = serde_json::to_vec(&rope).unwrap_or_default();
        let request = Request {
            rope: bodies.seal(stored),
            digest: digest(parts.iter().map(|part| &part.digest)),
            bytes,
            bytes_unchanged,
        };
        self.next = Some(Last { effect, parts, bytes, depth });
        self.ready.insert(effect, wire);
        Ok(request)
    }

    /// The same of a model call that plans: instructions of its own, these texts of the person and nothing else. No other
    /// request grows from it.
    ///
    /// # Errors
    /// Why a body that it needs is not there.
    pub fn prepare_plan(
        &mut self,
        target: &Target<'_>,
        agent: &str,
        (instructions, texts): (String, Vec<BodyRef>),
        bodies: &mut Bodies,
        effect: EffectId,
    ) -> Result<Request, Unrendered> {
        let mut planner = target.policy.clone();
        if let Some(agent) = planner.agents.get_mut(agent) {
            (agent.instructions, agent.grants) = (instructions, Grants::default());
        }
        let target = Target { policy: &planner, ..*target };
        let around = around_of(&target, agent, bodies);
        let mut parts = around.before;
        for body in texts {
            parts.push(part(&target, bodies, &Item::User { body, label: Label::TYPED })?);
        }
        parts.push(around.after);
        let rope = Rope { added: parts.iter().map(|part| part.pieces.clone()).collect(), ..Rope::default() };
        let wire = join(&parts);
        let request = Request {
            rope: bodies.seal(serde_json::to_vec(&rope).unwrap_or_default()),
            digest: digest(parts.iter().map(|part| &part.digest)),
            bytes: wire.len() as u64,
            bytes_unchanged: 0,
        };
        self.ready.insert(effect, wire);
        Ok(request)
    }

    pub fn wire(&self, effect: EffectId) -> Option<Bytes> {
        self.ready.get(&effect).map(Arc::clone)
    }

    /// The start of the prepared call is in the journal: later requests may refer to it.
    pub fn committed(&mut self) {
        self.last = self.next.take().or_else(|| self.last.take());
    }

    /// The prepared call was not started, or its start is not in the journal.
    pub fn withdrawn(&mut self, effect: EffectId) {
        self.next = self.next.take().filter(|next| next.effect != effect);
        self.ready.remove(&effect);
    }

    /// The session was folded anew: what was rendered may show what did not get into the journal.
    pub fn refolded(&mut self) {
        self.next = None;
        self.around = None;
        self.items.clear();
    }

    /// Lets go of the bytes of calls that are over.
    pub fn retain(&mut self, open: impl Fn(EffectId) -> bool) {
        self.ready.retain(|effect, _| open(*effect));
    }

    fn rope(&self, parts: &[Arc<Part>], kept: usize) -> Rope {
        let base = self.last.as_ref().filter(|last| kept > 1 && last.depth < ROPE_DEPTH_MAX);
        let kept = if base.is_some() { kept } else { 0 };
        let upto = u32::try_from(kept).unwrap_or(0);
        Rope {
            base: base.map(|last| last.effect),
            kept: if upto > 0 { vec![(0, upto)] } else { Vec::new() },
            added: parts.iter().skip(kept).map(|part| part.pieces.clone()).collect(),
        }
    }

    fn render(
        &mut self,
        target: &Target<'_>,
        session: &Session,
        bodies: &mut Bodies,
    ) -> Result<Vec<Arc<Part>>, Unrendered> {
        let key = (target.policy.epoch, target.model.to_owned());
        if self.rendered_for != key {
            self.items.clear();
            self.around = None;
            self.rendered_for = key;
        }
        self.items.retain(|number, _| *number >= session.first_item);
        let around = self.around.take().filter(|around| around.output_tokens_max == target.output_tokens_max);
        let around = around.unwrap_or_else(|| around_of(target, &session.agent, bodies));
        let mut parts = around.before.clone();
        let after = Arc::clone(&around.after);
        self.around = Some(around);
        let before = session.before_items().count();
        for (place, item) in session.context().enumerate() {
            let number = place.checked_sub(before).filter(|number| *number < session.items.len());
            let number = number.map(|number| session.first_item + number as u64);
            parts.push(self.part(target, bodies, number, item)?);
        }
        parts.push(after);
        Ok(parts)
    }

    fn part(
        &mut self,
        target: &Target<'_>,
        bodies: &Bodies,
        number: Option<u64>,
        item: &Item,
    ) -> Result<Arc<Part>, Unrendered> {
        if let Some(part) = number.and_then(|number| self.items.get(&number)) {
            return Ok(Arc::clone(part));
        }
        let part = part(target, bodies, item)?;
        if let Some(number) = number {
            self.items.insert(number, Arc::clone(&part));
        }
        Ok(part)
    }
}

fn part(target: &Target<'_>, bodies: &Bodies, item: &Item) -> Result<Arc<Part>, Unrendered> {
    let unread = RefCell::new(None);
    let get = |body: &BodyRef| {
        bodies.get(body).unwrap_or_else(|error| {
            unread.replace(Some(error));
            None
        })
    };
    let fragment = target.world.item(target.policy, target.model, item, &get);
    let fragment = fragment.map_err(|body| unread.take().map_or(Unrendered::Erased(body), Unrendered::Unread))?;
    Ok(Part::new(fragment.wire, fragment.pieces))
}

fn around_of(target: &Target<'_>, agent: &str, bodies: &mut Bodies) -> Around {
    let envelope = target.world.envelope(target.policy, agent, target.model, target.output_tokens_max);
    let before = [Some(envelope.head), envelope.lead].into_iter().flatten().map(|wire| {
        let piece = Piece::Raw(bodies.seal_shared(wire.as_bytes()));
        Part::new(wire, vec![piece])
    });
    let before = before.collect();
    Around { output_tokens_max: target.output_tokens_max, before, after: Part::text(envelope.tail) }
}

fn join(parts: &[Arc<Part>]) -> Bytes {
    let wires: Vec<&str> = parts.iter().map(|part| &*part.wire).collect();
    join_wires(&wires).into()
}

/// The bytes of a request: its first fragment, the middle joined by commas, its last fragment. Part
/// of the stored format.
pub fn join_wires(wires: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wires.iter().map(|wire| wire.len() + 1).sum());
    let last = wires.len().saturating_sub(1);
    for (place, wire) in wires.iter().enumerate() {
        if place > 1 && place < last {
            out.push(b',');
        }
        out.extend_from_slice(wire.as_bytes());
    }
    out
}
